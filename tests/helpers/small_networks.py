"""A small network of each family, with a few units and channels: functions of the classes."""

import keras
import numpy as np

from tfnets.models import big_little, layers, mbconv, mbconv_config, preact_resnet, roles
from tfnets.models.big_little import BigLittleConfig
from tfnets.models.resnet import resnet


def small_big_little(classes=3, **options):
    config = BigLittleConfig((3, 2, 2, 1), **{'width': 8, 'beta': 2, **options})
    return big_little.big_little(config, classes)


def thin_resnet(classes=3):
    return resnet(14, 0.125, classes, block_width='all')


def plain_network():
    """A small network without batch norm."""
    pixels = keras.Input((None, None, 3), dtype='uint8')
    x = layers.PixelScaling('unit')(pixels)
    x = keras.layers.Conv2D(8, 3, strides=2, activation='relu')(x)
    x = keras.layers.Conv2D(8, 3, strides=2, activation='relu')(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(pixels, keras.layers.Dense(14, dtype='float32')(x))


SMALL = {
    'big_little': small_big_little,
    'grouped, squeezed': lambda classes=3: small_big_little(
        classes, squeeze=True, cardinality=4, basewidth=16, width=16
    ),
    'resnet': thin_resnet,
    'bn_conv_relu': lambda classes=3: preact_resnet.preact_resnet(
        '16x1,32x1', classes, unit='bn_conv_relu'
    ),
    'preact_resnet': lambda classes=3: preact_resnet.preact_resnet('16x1,32x1', classes),
    'mbconv': lambda classes=3: mbconv.hand_made('c', classes),
    'efficientnet': lambda classes=3: mbconv.mbconv(
        mbconv_config.scale(mbconv_config.CONFIGS['b0'], width=0.25, depth=0.2, resolution=32),
        classes,
    ),
}


def trainable(model):
    """The number of trainable parameters."""
    return sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)


def randomized(model, seed=0):
    """Gives a network weights between 0.1 and 1, so that no two of them are equal."""
    rng = np.random.default_rng(seed)
    for variable in model.weights:
        variable.assign(rng.uniform(0.1, 1, variable.shape))
    return model


def with_statistics(model, images=None):
    """Gives a network biases, scales and moving statistics that all matter.

    With images the statistics are those of the images, so that all that a network does to them can
    be seen in its output, however deep it is.
    """
    rng = np.random.default_rng(0)
    for variable in model.weights:
        if variable.name in ('gamma', 'moving_variance'):
            variable.assign(rng.uniform(0.5, 1.5, variable.shape))
        elif variable.name in ('beta', 'bias', 'moving_mean'):
            variable.assign(rng.normal(0, 0.3, variable.shape))
    if images is not None:
        norms = roles.batch_norms(model)
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.momentum = 0.0
        with layers.example_seeds(np.zeros((len(images), 2), np.int32)):
            model(images, training=True)
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
            # A channel that hardly varies among a few images would blow up what rounding leaves.
            variance = norm.moving_variance.numpy()
            norm.moving_variance.assign(variance + 0.1 * variance.mean())
    return model
