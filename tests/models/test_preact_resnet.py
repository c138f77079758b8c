"""Pre-activation ResNets: order of operations, against a reference in plain ones."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_networks import trainable

from tfnets.errors import InputError
from tfnets.models.preact_resnet import (
    parse_stages,
    preact_resnet,
    preact_resnet_by_depth,
    preact_resnet_cifar,
)


@pytest.mark.parametrize(
    ('depth', 'classes', 'parameters'),
    [
        (164, 100, 1_726_388),
        pytest.param(1001, 100, 10_350_836, marks=pytest.mark.slow),
    ],
)
def test_parameters_of_the_cifar_networks(depth, classes, parameters):
    assert trainable(preact_resnet_cifar(depth, classes)) == parameters


@pytest.mark.parametrize(
    ('depth', 'parameters', 'statistics'),
    [
        (26, 3_770_758, 9_606),
        (20, 2_634_054, 6_150),
        (29, 4_051_590, 11_142),
        (38, 4_421_190, 13_830),
        (50, 24_047_366, 41_350),
    ],
)
def test_parameters_of_the_mini_projects(depth, parameters, statistics):
    model = preact_resnet_by_depth(depth, 256, unit='bn_conv_relu')
    assert trainable(model) == parameters
    assert sum(int(np.prod(v.shape)) for v in model.non_trainable_variables) == statistics


class Reference:
    """A network in plain operations, on the weights of ours."""

    def __init__(self, model):
        self.layers = {layer.name: layer for layer in model.layers}

    def norm_relu(self, x, name):
        norm = self.layers[name]
        x = (x - norm.moving_mean) / tf.sqrt(norm.moving_variance + 1e-5)
        return tf.nn.relu(x * norm.gamma + norm.beta)

    def norm(self, x, name):
        norm = self.layers[name]
        x = (x - norm.moving_mean) / tf.sqrt(norm.moving_variance + 1e-5)
        return x * norm.gamma + norm.beta

    def conv(self, x, name, stride=1):
        layer = self.layers[name]
        pad = layer.kernel.shape[0] // 2
        x = tf.pad(x, [(0, 0), (pad, pad), (pad, pad), (0, 0)])
        x = tf.nn.conv2d(x, layer.kernel, stride, 'VALID')
        return x + layer.bias if layer.use_bias else x

    def pool(self, x):
        # torch pads a maximum with minus infinity.
        x = tf.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)], constant_values=-np.inf)
        return tf.nn.max_pool2d(x, 3, 2, 'VALID')

    def classify(self, x):
        dense = self.layers['classifier']
        return tf.reduce_mean(x, [1, 2]) @ dense.kernel + dense.bias


def cifar_reference(net, x):
    """He's resnet-pre-act.lua: strides in the first 1x1, all first units project."""
    x = net.conv(x, 'stem.conv')
    for stage in (1, 2, 3):
        for unit in (1, 2):
            name, stride = f'stage{stage}.unit{unit}', 2 if stage > 1 and unit == 1 else 1
            y = net.norm_relu(x, f'{name}.norm1')
            shortcut = net.conv(y, f'{name}.shortcut.conv', stride) if unit == 1 else x
            y = net.conv(y, f'{name}.conv1', stride)
            y = net.conv(net.norm_relu(y, f'{name}.norm2'), f'{name}.conv2')
            x = net.conv(net.norm_relu(y, f'{name}.norm3'), f'{name}.conv3') + shortcut
    return net.classify(net.norm_relu(x, 'head.norm'))


def imagenet_reference(net, x):
    """fb.resnet.torch's preresnet.lua: strides in the 3x3, the first unit has no pre-activation."""
    x = net.pool(net.norm_relu(net.conv(x, 'stem.conv', 2), 'stem.norm'))
    for stage in (1, 2):
        for unit in (1, 2):
            name, stride = f'stage{stage}.unit{unit}', 2 if stage > 1 and unit == 1 else 1
            y = x if name == 'stage1.unit1' else net.norm_relu(x, f'{name}.norm1')
            shortcut = net.conv(y, f'{name}.shortcut.conv', stride) if unit == 1 else x
            y = net.norm_relu(net.conv(y, f'{name}.conv1'), f'{name}.norm2')
            y = net.norm_relu(net.conv(y, f'{name}.conv2', stride), f'{name}.norm3')
            x = net.conv(y, f'{name}.conv3') + shortcut
    return net.classify(net.norm_relu(x, 'head.norm'))


def mini_projects_reference(net, x):
    """The DeepLearning_MiniProjects: BN, convolution, ReLU; shortcuts from the raw input."""
    x = net.pool(tf.nn.relu(net.conv(net.norm(x, 'stem.norm'), 'stem.conv', 2)))
    for stage in (1, 2):
        for unit in (1, 2):
            name, stride = f'stage{stage}.unit{unit}', 2 if stage > 1 and unit == 1 else 1
            shortcut = net.conv(x, f'{name}.shortcut.conv', stride) if unit == 1 else x
            y = tf.nn.relu(net.conv(net.norm(x, f'{name}.norm1'), f'{name}.conv1'))
            y = tf.nn.relu(net.conv(net.norm(y, f'{name}.norm2'), f'{name}.conv2', stride))
            y = tf.nn.relu(net.conv(net.norm(y, f'{name}.norm3'), f'{name}.conv3'))
            x = y + shortcut
    return net.classify(x)


@pytest.mark.parametrize(
    ('build', 'reference'),
    [
        (lambda: preact_resnet_cifar(20), cifar_reference),
        (lambda: preact_resnet('16x2,32x2', 10), imagenet_reference),
        (lambda: preact_resnet('16x2,32x2', 10, unit='bn_conv_relu'), mini_projects_reference),
    ],
)
@pytest.mark.parametrize('side', [32, 45])
def test_logits_are_those_of_the_reference(build, reference, side):
    model = build()
    rng = np.random.default_rng(0)
    for variable in model.weights:
        if variable.ndim == 1:
            variable.assign(rng.uniform(0.2, 1, variable.shape))
    images = rng.standard_normal((2, side, side, 3)).astype(np.float32)
    logits = keras.Model(model.get_layer('scaling').output, model.output)(images)
    expected = reference(Reference(model), images).numpy()
    np.testing.assert_allclose(logits, expected, atol=1e-5 * np.abs(expected).max())


def test_stages_as_text():
    assert parse_stages('128x2, 256x1') == ((128, 2), (256, 1))
    assert parse_stages([(128, 2)]) == ((128, 2),)


@pytest.mark.parametrize('stages', ['', '128', '128x0', '130x2', '128x2,', '128x2;256x2', []])
def test_bad_stages_are_refused(stages):
    with pytest.raises(InputError, match='as 128x2,256x2'):
        preact_resnet(stages)


@pytest.mark.parametrize(
    ('build', 'reason'),
    [
        (lambda: preact_resnet_cifar(100), '9n [+] 2, as 164 or 1001, got 100'),
        (lambda: preact_resnet_by_depth(34), 'depth must be one of 20, 26, 29, 38, 50, got 34'),
        (lambda: preact_resnet('64x1', unit='relu'), 'unit must be one of'),
        (lambda: preact_resnet('64x1', stem='mnist'), 'stem must be one of'),
    ],
)
def test_bad_arguments_are_refused_by_name(build, reason):
    with pytest.raises(InputError, match=reason):
        build()


def test_kernels_are_drawn_as_asked():
    deviation = {}
    for initializer in (None, 'he', 'xavier'):
        keras.utils.set_random_seed(0)
        network = preact_resnet('64x1,128x1', 5, initializer=initializer)
        kernel = network.get_layer('stage2.unit1.conv2').kernel.numpy()
        deviation[initializer] = kernel.std() * np.sqrt(9 * 32)
    assert deviation[None] == pytest.approx(2**0.5, rel=0.05)
    assert deviation['he'] == pytest.approx(2**0.5, rel=0.05)
    assert deviation['xavier'] == pytest.approx(1, rel=0.05)
    with pytest.raises(InputError, match='initializer must be one of he, xavier, got h'):
        preact_resnet('64x1', 5, initializer='h')
