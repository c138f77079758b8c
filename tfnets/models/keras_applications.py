"""Any classification network of keras.applications, pre-trained or not, for images of any size.

Keras builds these networks for one size of image, wants the pixels scaled by hand, and draws its
dropout masks from generators that no checkpoint holds. Here each is taken as Keras builds it, and
built again from the layers of this library: pixels come in as uint8, images may have any size,
logits come out in float32.
"""

import pathlib
import re
import warnings

import h5py
import keras
import tensorflow as tf
from absl import logging

from tfnets.errors import InputError
from tfnets.models import layers, roles

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


def keras_application(name, num_classes, *, weights=None):
    """Builds a network of keras.applications, with its classifier, for images of any size.

    At every size it is the network that keras.applications builds for that size: where Keras
    fixes a padding that depends on the size, here it follows the images.

    Args:
        name: one of `names()`, as 'ResNet50'.
        num_classes: size of the output. If the weights were trained for another number of
            classes, all of them are loaded but the classifier's, which is new and random; a line
            of the log says so.
        weights: None (random), 'imagenet' (Keras downloads them), or the path of a file: the
            `.weights.h5` of Keras 3 or the older `.h5` of this very network of keras.applications,
            or a whole model of the same layers as `.keras`. How such a model scaled its pixels is
            not taken over.

    Returns:
        keras.Model from uint8 RGB pixels [batch, height, width, 3] to float32 logits
        [batch, num_classes]. Training needs `layers.example_seeds` where it has dropout.

    Raises:
        InputError: if the name is unknown, the network cannot take images of any size, or the
            weights cannot be had or are not those of this network.
    """
    _check_name(name)
    build = getattr(keras.applications, name)

    def original(classes):
        return build(weights=None, classes=classes, classifier_activation=None)

    skeleton = original(num_classes)
    model = _rebuild(skeleton, _family(name))
    if weights is None:
        source = skeleton
    elif weights == 'imagenet':
        source = _download(name)
    elif str(weights).endswith('.keras'):
        source = _load_keras(weights)
    else:
        classes = _classes_of_h5(weights, name, skeleton)
        source = skeleton if classes == num_classes else original(classes)
        _load_h5(weights, name, source)
    _copy_weights(source, model, f'keras:{name}', weights)
    # A recipe that fine-tunes what it is given can see whether there is anything to fine-tune.
    model.has_trained_classifier = weights is not None and (source.output_shape[-1] == num_classes)
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


# Weights.


def _weighted(model):
    return [layer for layer in roles.flat_layers(model) if layer.weights]


def _first_line(error):
    return str(error).strip().partition('\n')[0]


def _copy_weights(source, model, name, weights):
    """Copies all weights; the classifier keeps its own where the number of classes differs."""
    theirs, ours = _weighted(source), _weighted(model)
    if len(theirs) != len(ours):
        raise InputError(
            f'{weights}: not the weights of {name}: it has {len(theirs)} layers with weights, '
            f'expected {len(ours)}'
        )
    for their, our in zip(theirs, ours, strict=True):
        got = type(their).__name__, [tuple(weight.shape) for weight in their.weights]
        expected = type(our).__name__, [tuple(weight.shape) for weight in our.weights]
        if got == expected:
            our.set_weights(their.get_weights())
        elif our is ours[-1] and _but_classes(got) == _but_classes(expected):
            logging.info(
                '%s: new classifier of %d classes, because %s has %d; all other weights are loaded',
                *(name, expected[1][-1][-1], weights, got[1][-1][-1]),
            )
        else:
            raise InputError(
                f'{weights}: not the weights of {name}: where {our.name} stands it has '
                f'{_described(got)}, expected {_described(expected)}'
            )
    _correct_normalization(ours[0])


def _but_classes(kind):
    layer, shapes = kind
    return layer, [shape[:-1] for shape in shapes]


def _described(kind):
    layer, shapes = kind
    return f'{layer} {" ".join(map(str, shapes))}'


def _correct_normalization(layer):
    """Repairs the variance in the ImageNet weights of EfficientNet.

    The files hold ImageNet's standard deviations, not their squares. For weights='imagenet' alone
    Keras makes up for it by one more layer, so that the same file given by its path is scaled
    wrongly (github.com/tensorflow/tensorflow/issues/49930). With the right variance there is one
    network for all weights.
    """
    if not isinstance(layer, Normalization):
        return
    mean, variance, count = layer.get_weights()
    if abs(variance - (0.229, 0.224, 0.225)).max() < 1e-4:
        layer.set_weights([mean, variance**2, count])


def _download(name):
    try:
        build = getattr(keras.applications, name)
        return build(weights='imagenet', classifier_activation=None)
    except Exception as error:
        raise InputError(
            f"keras:{name}: weights 'imagenet' could not be downloaded ({_first_line(error)}); "
            'without a network give the path of a file instead'
        ) from error


def _load_keras(path):
    _check_exists(path)
    try:
        return keras.saving.load_model(path, compile=False)
    except Exception as error:
        reason = _first_line(error)
        raise InputError(f'{path}: not a model that Keras can load: {reason}') from error


def _check_exists(path):
    if not pathlib.Path(path).is_file():
        raise InputError(
            f"weights: no such file: {path}; expected 'imagenet' or a file that ends in "
            '.weights.h5, .h5 or .keras'
        )


def _classes_of_h5(path, name, net):
    """Returns for how many classes the weights in a file were trained.

    Args:
        path: of a `.weights.h5` or an older `.h5` file.
        name: of the network.
        net: the network of keras.applications, with any number of classes.
    """
    _check_exists(path)
    try:
        with h5py.File(path) as file:
            old = _is_old_format(file)
            shapes = _old_classifier(file) if old else _classifier(file, net)
    except OSError as error:
        raise InputError(f'{path}: not an HDF5 file: {_first_line(error)}') from error
    if old == str(path).endswith('.weights.h5'):
        raise InputError(
            f'{path}: rename it to end in {".h5, without .weights" if old else ".weights.h5"}: '
            'Keras knows by the name which of its two formats it is'
        )
    expected = [tuple(weight.shape) for weight in roles.classifier(net).weights]
    if [shape[:-1] for shape in shapes] != [shape[:-1] for shape in expected]:
        raise InputError(
            f'{path}: not the weights of keras:{name} with its classifier (a "notop" file has '
            f'none): found {shapes or "no such layer"}, expected {expected} but for the classes'
        )
    return shapes[-1][-1]


def _is_old_format(file):
    return 'model_weights' in file or any(key.startswith('layer_names') for key in file.attrs)


def _old_classifier(file):
    """Returns the shapes in the last layer with weights, in the format of Keras 2."""
    group = file.get('model_weights', file)
    # Keras splits a list that is too long for one attribute: layer_names0, layer_names1.
    listed = [key for key in group.attrs if key.startswith('layer_names')]
    for layer in reversed([layer for key in listed for layer in group.attrs[key]]):
        weights = group[layer].attrs.get('weight_names', ())
        if len(weights):
            return [group[layer][weight].shape for weight in weights]
    return []


def _classifier(file, net):
    """Returns the shapes of the classifier's weights, in the format of Keras 3.

    There a layer's place is its class and a number: layers/dense_3/vars/0.
    """
    classifier = roles.classifier(net)
    kind = type(classifier)
    number = [layer for layer in net.layers if type(layer) is kind].index(classifier)
    place = kind.__name__.lower() + (f'_{number}' if number else '')
    # The second is how TensorFlow 2.13 to 2.15 named it.
    for group in ('layers', '_layer_checkpoint_dependencies'):
        variables = file.get(f'{group}/{place}/vars')
        if variables is not None:
            return [variables[key].shape for key in sorted(variables)]
    return []


def _load_h5(path, name, net):
    """Loads a file into the network of keras.applications; all of one must be in the other."""
    # Of a file of Keras 3 Keras loads what it wants and ignores the rest.
    count = _parameters_of_h5(path) if str(path).endswith('.weights.h5') else net.count_params()
    if count != net.count_params():
        raise InputError(
            f'{path}: not the weights of keras:{name}: it holds {count} parameters, expected '
            f'{net.count_params()}'
        )
    try:
        with warnings.catch_warnings():
            # Before it raises, Keras warns of each of some hundred lists that it cannot fill.
            warnings.simplefilter('ignore')
            net.load_weights(path)
    except Exception as error:
        reason = ' '.join(str(error).split())[:300]
        raise InputError(f'{path}: not the weights of keras:{name}: {reason}') from error


def _parameters_of_h5(path):
    """Counts the parameters of a network in a file of Keras 3."""
    counted = []

    def count(place, item):
        # Not counted: an optimizer's variables and the states of Keras' random generators.
        if isinstance(item, h5py.Dataset) and 'layer' in place and 'seed_generator' not in place:
            counted.append(int(item.size))

    with h5py.File(path) as file:
        file.visititems(count)
    return sum(counted)
