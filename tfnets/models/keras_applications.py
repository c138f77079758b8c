"""Any classification network of keras.applications, pre-trained or not, for images of any size.

Keras builds these networks for one size of image, wants the pixels scaled by hand, and draws its
dropout masks from generators that no checkpoint holds. Here each is taken as Keras builds it, and
built again from the layers of this library: pixels come in as uint8, images may have any size,
logits come out in float32.
"""

import re

import keras
import tensorflow as tf

from tfnets.errors import InputError, one_line
from tfnets.models import layers, roles
from tfnets.models import weights as files

# How the pixels of each family were scaled when its weights were trained, by the module of
# keras.applications that builds it. 'none': the network holds its own scaling.
_SCALING = {
    'convnext': 'none',
    'densenet': 'torch',
    'efficientnet': 'none',
    'efficientnet_v2': 'none',
    'inception_resnet_v2': 'tf',
    'inception_v3': 'tf',
    'mobilenet': 'tf',
    'mobilenet_v2': 'tf',
    'mobilenet_v3': 'none',
    'nasnet': 'tf',
    'resnet': 'caffe',
    'resnet_v2': 'tf',
    'xception': 'tf',
}

# Side in pixels of the images for which keras.applications builds a network, where not 224.
_RESOLUTIONS = {
    'EfficientNetB1': 240,
    'EfficientNetB2': 260,
    'EfficientNetB3': 300,
    'EfficientNetB4': 380,
    'EfficientNetB5': 456,
    'EfficientNetB6': 528,
    'EfficientNetB7': 600,
    'EfficientNetV2B1': 240,
    'EfficientNetV2B2': 260,
    'EfficientNetV2B3': 300,
    'EfficientNetV2S': 384,
    'EfficientNetV2M': 480,
    'EfficientNetV2L': 480,
    'InceptionResNetV2': 299,
    'InceptionV3': 299,
    'NASNetLarge': 331,
    'Xception': 299,
}

# Their first dense layer has a weight for each place of the image.
_FIXED_SIZE = ('VGG16', 'VGG19')

# Families whose padding keras.applications computes from the size of the images.
_PADDED_BY_SIZE = ('efficientnet', 'mobilenet_v2', 'mobilenet_v3', 'nasnet')


def names():
    """Returns the names that `keras_application` takes, as a sorted tuple."""
    return tuple(
        name
        for name in sorted(dir(keras.applications))
        if name[0].isupper() and _family(name) in _SCALING
    )


def resolution(name):
    """Returns the side in pixels of the images that a network of `names()` is meant for."""
    _check_name(name)
    return _RESOLUTIONS.get(name, 224)


def keras_application(name, num_classes=1000, *, weights=None, new_head=False):
    """Builds a network of keras.applications, with its classifier, for images of any size.

    At every size it is the network that keras.applications builds for that size: where Keras
    fixes a padding that depends on the size, here it follows the images.

    Args:
        name: one of `names()`, as 'ResNet50'.
        num_classes: size of the output.
        weights: None (random), 'imagenet' (Keras downloads them), or the path of a file: the
            `.weights.h5` of Keras 3 or the older `.h5` of this very network of keras.applications,
            or a whole model of the same layers as `.keras`.
        new_head: whether the classifier stays random, so that the weights may be those of another
            number of classes.

    Returns:
        keras.Model from uint8 RGB pixels [batch, height, width, 3] to float32 logits
        [batch, num_classes]. Training needs `layers.example_seeds` where it has dropout.

    Raises:
        InputError: if the name is unknown, the network cannot take images of any size, or the
            weights cannot be had or are not those of this network.
    """
    _check_name(name)
    build = getattr(keras.applications, name)
    skeleton = build(weights=None, classes=num_classes, classifier_activation=None)
    model = _rebuild(skeleton, _family(name))
    options = {'new_head': new_head, 'name': f'keras:{name}'}
    if weights == 'imagenet':
        files.copy(_download(name), model, origin="weights='imagenet'", **options)
    elif weights is not None:
        files.load(model, weights, layout=skeleton, **options)
    _correct_normalization(model)
    return model


def _family(name):
    return getattr(keras.applications, name).__module__.rpartition('.')[2]


def _check_name(name):
    if name in _FIXED_SIZE:
        raise InputError(
            f'keras:{name} takes images of one size only, because its first dense layer has a '
            'weight for each place of the image; choose a network that averages over places'
        )
    if name not in names():
        raise InputError(
            f'keras.applications has no network {name!r} that can be used; known: '
            + ', '.join(names())
        )


# Building.


def _rebuild(net, family):
    """Builds `net` again, without its weights, for images of any size, from our own layers."""
    new_names = _fresh_names(net)
    classifier = roles.classifier(net)
    tail = net.layers[net.layers.index(classifier) :]
    pixels = keras.Input((None, None, 3), dtype='uint8', name='pixels')
    scaled = layers.PixelScaling(_SCALING[family], name='scaling')(pixels)

    def clone(operation):
        if isinstance(operation, keras.Sequential):
            return [clone(layer) for layer in operation.layers]
        config = operation.get_config()
        config['name'] = new_names.get(operation, operation.name)
        # Pixels are scaled, and logits computed, in float32 whatever the policy.
        exact = isinstance(operation, (keras.layers.Rescaling, keras.layers.Normalization))
        if exact or operation in tail:
            config['dtype'] = 'float32'
        return _our_layer(operation, config, family)

    def call(cloned, *args, **kwargs):
        args = [scaled if arg is pixels else arg for arg in args]
        if not isinstance(cloned, list):
            return cloned(*args, **kwargs)
        # A Sequential (in ConvNeXt) is laid out flat: each layer is then seen by whoever freezes
        # or counts layers.
        (x,) = args
        for layer in cloned:
            x = layer(x)
        return x

    return keras.models.clone_model(net, pixels, clone_function=clone, call_function=call)


def _our_layer(operation, config, family):
    """Returns a new operation like the given one, of our own kind where we have one."""
    if isinstance(operation, keras.layers.BatchNormalization):
        return layers.BatchNormalization.from_config(config)
    if isinstance(operation, keras.layers.Dropout):
        kept = ('name', 'trainable', 'dtype', 'rate', 'noise_shape')
        return layers.Dropout.from_config({key: config[key] for key in kept})
    if isinstance(operation, keras.layers.Normalization) and operation.input_mean is None:
        return Normalization.from_config(config)
    # The paddings without a name of their own (in NASNet) do not depend on the size.
    named = not operation.name.startswith('zero_padding2d')
    if isinstance(operation, keras.layers.ZeroPadding2D) and family in _PADDED_BY_SIZE and named:
        after = operation.padding[0][1]
        return SamePadding2D(2 * after + 1, name=config['name'], dtype=config['dtype'])
    return type(operation).from_config(config)


def _fresh_names(net):
    """Maps operations that Keras numbered to the names that they have in a new process.

    Keras counts through all networks of a process: the second one's first dropout may be called
    'dropout_3'. The mask of our dropout depends on its name, so this must not be.
    """
    numbered = {}
    for operation in net.operations:
        base, number = re.fullmatch(r'(.+?)(?:_(\d+))?', operation.name).groups()
        if base.replace('_', '') == type(operation).__name__.lower():
            numbered.setdefault(base, []).append((int(number or 0), operation))
    return {
        operation: f'{base}_{index}' if index else base
        for base, operations in numbered.items()
        for index, (_, operation) in enumerate(sorted(operations, key=lambda pair: pair[0]))
    }


@keras.saving.register_keras_serializable('tfnets')
class SamePadding2D(keras.layers.Layer):
    """Zeros around an image before a kernel of stride 2, as TensorFlow's 'same' sets them.

    keras.applications computes this padding once, from the size for which a network is built.

    Args:
        kernel_size: side of the kernel, odd.
    """

    def __init__(self, kernel_size, **kwargs):
        super().__init__(**kwargs)
        self.kernel_size = kernel_size

    def _before_and_after(self, size):
        return self.kernel_size // 2 - 1 + size % 2, self.kernel_size // 2

    def call(self, inputs):
        """Pads inputs, shape [batch, height, width, channels]."""
        _, height, width, _ = keras.ops.shape(inputs)
        rows, columns = self._before_and_after(height), self._before_and_after(width)
        return tf.pad(inputs, [(0, 0), rows, columns, (0, 0)])

    def compute_output_shape(self, input_shape):
        """Returns the padded shape; a size that is not known stays so."""
        batch, height, width, channels = input_shape
        if height is not None:
            height += sum(self._before_and_after(height))
        if width is not None:
            width += sum(self._before_and_after(width))
        return batch, height, width, channels

    def get_config(self):
        """Returns what rebuilds the layer."""
        return {**super().get_config(), 'kernel_size': self.kernel_size}


@keras.saving.register_keras_serializable('tfnets')
class Normalization(keras.layers.Normalization):
    """Keras' normalization of the input by a mean and a variance that come with the weights.

    Keras copies both into constants when a layer is built, so that restoring a checkpoint would
    leave the old ones in use. Here the variables themselves are read.
    """

    def call(self, inputs):
        """Normalises inputs, shape [..., channels]."""
        deviation = keras.ops.sqrt(keras.ops.convert_to_tensor(self.adapt_variance))
        shift = keras.ops.convert_to_tensor(self.adapt_mean)
        return (inputs - shift) / keras.ops.maximum(deviation, keras.config.epsilon())


def _correct_normalization(model):
    """Repairs the variance in the ImageNet weights of EfficientNet.

    The files hold ImageNet's standard deviations, not their squares. For weights='imagenet' alone
    Keras makes up for it by one more layer, so that the same file given by its path is scaled
    wrongly (github.com/tensorflow/tensorflow/issues/49930). With the right variance there is one
    network for all weights.
    """
    for layer in model.layers:
        if isinstance(layer, Normalization) and layer.weights:
            mean, variance, count = layer.get_weights()
            if abs(variance - (0.229, 0.224, 0.225)).max() < 1e-4:
                layer.set_weights([mean, variance**2, count])


def _download(name):
    try:
        build = getattr(keras.applications, name)
        return build(weights='imagenet', classifier_activation=None)
    except Exception as error:
        raise InputError(
            f"keras:{name}: weights 'imagenet' could not be downloaded ({one_line(error)}); "
            'without a network give the path of a file instead'
        ) from error
