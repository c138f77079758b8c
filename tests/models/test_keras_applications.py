"""Networks of keras.applications, against Keras' own."""

import importlib
import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfnets.errors import InputError
from tfnets.models import keras_applications, layers, roles
from tfnets.models.keras_applications import keras_application

CLASSES = 7


def images(height, width, batch=6):
    """Patches of colour under noise, so that a network tells them apart."""
    random = np.random.default_rng(0)
    patches = random.integers(0, 256, (batch, 3, 3, 3)).astype(np.float32)
    noise = random.normal(0, 20, (batch, height, width, 3))
    smooth = tf.image.resize(patches, (height, width)).numpy()
    return np.clip(smooth + noise, 0, 255).astype(np.uint8)


def preprocessed(name, pixels):
    """The pixels as keras.applications wants them for this network."""
    module = importlib.import_module(getattr(keras.applications, name).__module__)
    return module.preprocess_input(pixels.astype(np.float32))


def original(name, height, width, classes=CLASSES):
    """Keras' own network for one size of images, no weight of which is left as it starts.

    Its moving statistics are those of the images, or its outputs would hardly depend on them.
    """
    keras.utils.set_random_seed(0)
    build = getattr(keras.applications, name)
    model = build(weights=None, classes=classes, input_shape=(height, width, 3))
    random = np.random.default_rng(1)
    for weight in model.weights:
        if weight.name in ('gamma', 'beta', 'bias'):
            weight.assign(weight + random.normal(0, 0.1, weight.shape).astype(np.float32))
    norms = [x for x in model.layers if isinstance(x, keras.layers.BatchNormalization)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    model(preprocessed(name, images(height, width)), training=True)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return model


def weights_of(model):
    return [layer.get_weights() for layer in roles.flat_layers(model) if layer.weights]


def assert_equal_weights(ours, theirs):
    for our, their in zip(ours, theirs, strict=True):
        for left, right in zip(our, their, strict=True):
            np.testing.assert_array_equal(left, right)


def assert_equals_original(name, height, width, folder, prepare=None):
    theirs = original(name, height, width)
    path = folder / f'{name}.weights.h5'
    theirs.save_weights(path)
    ours = keras_application(name, CLASSES, weights=str(path))
    path.unlink()
    pixels = images(height, width)
    prepared = prepare(ours, pixels) if prepare else preprocessed(name, pixels)
    expected = theirs(prepared).numpy()
    assert np.ptp(expected, axis=0).max() > 0.01, 'the outputs must tell the images apart'
    # With 'caffe' or no scaling the difference is 0. Not with 'tf': Keras divides by 127.5, we
    # multiply by 1 / 127.5, and the last bit grows through the layers.
    np.testing.assert_allclose(tf.nn.softmax(ours(pixels)), expected, atol=2e-5)
    assert_equal_weights(weights_of(ours), weights_of(theirs))


@pytest.fixture
def as_keras_rounds(monkeypatch):
    """Batch norms that round as those of Keras; through many layers the last bit would grow."""
    monkeypatch.setattr(layers.BatchNormalization, '_can_be_fused', lambda *_: False)


# A plain one; one whose padding depends on the size; one with its own scaling; one without batch
# norm, with models inside it.
@pytest.mark.parametrize('name', ['ResNet50', 'MobileNetV2', 'EfficientNetB0', 'ConvNeXtTiny'])
def test_equals_the_original_at_any_size(name, tmp_path, as_keras_rounds):
    assert_equals_original(name, 49, 64, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize('name', keras_applications.names())
def test_every_network_equals_the_original(name, tmp_path, as_keras_rounds):
    assert keras_applications.resolution(name) == _default_size(name)

    # In the deepest networks the last bit of the scaling grows to 1e-3, so they are compared behind
    # it; it has its own test.
    def scaled(ours, pixels):
        return ours.get_layer('scaling')(pixels)

    assert_equals_original(name, 97, 84, tmp_path, scaled)


def _default_size(name):
    build = getattr(keras.applications, name)
    return build(weights=None, classes=1).input_shape[1] or 224


def test_names_are_all_those_of_keras_but_vgg():
    offered = {
        name
        for name, item in inspect.getmembers(keras.applications, inspect.isfunction)
        if 'include_top' in inspect.signature(item).parameters
    }
    assert offered - set(keras_applications.names()) == {'VGG16', 'VGG19'}
    assert set(keras_applications.names()) <= offered


@pytest.mark.parametrize('name', keras_applications.names())
def test_scaling_is_that_of_the_family(name):
    mode = keras_applications._SCALING[keras_applications._family(name)]
    pixels = images(4, 5)
    ours = layers.PixelScaling(mode)(pixels)
    np.testing.assert_allclose(ours, preprocessed(name, pixels), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('name', ['MobileNetV3Small', 'EfficientNetB0'])
def test_layers_are_our_own(name):
    model = keras_application(name, CLASSES)
    kinds = {type(layer) for layer in model.layers}
    assert {layers.PixelScaling, layers.BatchNormalization, layers.Dropout} <= kinds
    assert not kinds & {keras.layers.BatchNormalization, keras.layers.Dropout}
    assert len(model.variables) == len(model.weights), 'no seed generators'
    assert model.input.dtype == 'uint8' and model.input.shape == (None, None, None, 3)


def test_drop_connect_keeps_whole_branches_of_single_examples():
    model = keras_application('EfficientNetB0', CLASSES)
    drop = model.get_layer('block6c_drop')
    assert drop.noise_shape == (None, 1, 1, 1) and 0 < drop.rate < 0.2
    assert model.get_layer('top_dropout').noise_shape is None


def test_training_depends_on_the_examples_seeds_only():
    model = keras_application('MobileNetV3Small', CLASSES)
    assert [x.name for x in model.layers if isinstance(x, layers.Dropout)] == ['dropout']
    pixels = images(32, 32)

    def train(first_seed):
        with layers.example_seeds(tf.constant([[first_seed, i] for i in range(len(pixels))])):
            return model(pixels, training=True).numpy()

    np.testing.assert_array_equal(train(0), train(0))
    assert np.abs(train(0) - train(1)).max() > 0


def test_names_are_the_same_for_the_second_network_of_a_process():
    first, second = [keras_application('MobileNetV3Small', CLASSES) for _ in range(2)]
    keras.layers.Dropout(0.1)
    names = [operation.name for operation in first.operations]
    assert names == [operation.name for operation in second.operations]
    assert {'activation', 're_lu', 'rescaling', 'dropout'} <= set(names)


@pytest.mark.parametrize('policy', ['float32', 'mixed_bfloat16'])
def test_precision_and_saved_model(policy, tmp_path):
    keras.config.set_dtype_policy(policy)
    try:
        model = keras_application('MobileNetV3Small', CLASSES)
    finally:
        keras.config.set_dtype_policy('float32')
    exact = [x.name for x in model.layers if x.compute_dtype == 'float32']
    if policy != 'float32':
        assert exact == ['scaling', 'rescaling', 'logits', 'flatten', 'predictions']
    pixels = images(45, 32)
    logits = model(pixels)
    assert logits.dtype == tf.float32 and logits.shape == (len(pixels), CLASSES)
    model.save(tmp_path / 'model.keras')
    loaded = keras.saving.load_model(tmp_path / 'model.keras')
    np.testing.assert_array_equal(loaded(pixels), logits)
    again = keras_application('MobileNetV3Small', CLASSES, weights=tmp_path / 'model.keras')
    assert_equal_weights(weights_of(again), weights_of(model))


@pytest.mark.parametrize('ending', ['.weights.h5', '.h5', '.keras'])
def test_another_number_of_classes_wants_a_new_head(ending, tmp_path):
    theirs = original('MobileNetV3Small', 32, 32)
    path = str(tmp_path / f'pretrained{ending}')
    (theirs.save_weights if ending == '.weights.h5' else theirs.save)(path)
    same = keras_application('MobileNetV3Small', CLASSES, weights=path)
    assert_equal_weights(weights_of(same), weights_of(theirs))
    with pytest.raises(InputError, match=f'it has {CLASSES} classes: .*new_head'):
        keras_application('MobileNetV3Small', 3, weights=path)
    ours = keras_application('MobileNetV3Small', 3, weights=path, new_head=True)
    assert_equal_weights(weights_of(ours)[:-1], weights_of(theirs)[:-1])
    assert weights_of(ours)[-1][0].shape == (1, 1, 1024, 3)


@pytest.mark.slow
def test_imagenet_weights_of_efficientnet_are_scaled_rightly(tmp_path, monkeypatch):
    theirs = original('EfficientNetB0', 64, 64, classes=1000)
    normalization = next(x for x in theirs.layers if isinstance(x, keras.layers.Normalization))
    # As in the published file: standard deviations in the place of the variances.
    means, deviations = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    normalization.set_weights([means, deviations, np.array(0)])
    path = str(tmp_path / 'efficientnetb0.h5')
    theirs.save(path)
    monkeypatch.setattr('keras.src.utils.file_utils.get_file', lambda *args, **kwargs: path)
    reference = keras.applications.EfficientNetB0(weights='imagenet')
    pixels = images(224, 224, batch=2)
    expected = reference(pixels.astype(np.float32))
    for weights in ('imagenet', path):
        ours = keras_application('EfficientNetB0', 1000, weights=weights)
        np.testing.assert_allclose(tf.nn.softmax(ours(pixels)), expected, atol=1e-5)


def test_normalization_reads_its_variables():
    layer = keras_applications.Normalization()
    layer.build((None, 3))
    compiled = tf.function(layer)
    pixels = tf.constant([[1.0, 2.0, 3.0]])
    np.testing.assert_array_equal(compiled(pixels), pixels)
    layer.adapt_mean.assign([1, 1, 1])
    layer.adapt_variance.assign([4, 4, 4])
    np.testing.assert_allclose(compiled(pixels), [[0, 0.5, 1]])


@pytest.mark.parametrize('size', [7, 8])
@pytest.mark.parametrize('kernel', [3, 5])
def test_same_padding_is_tensorflows(size, kernel):
    values = np.random.default_rng(0).normal(size=(2, size, size + 1, 3)).astype(np.float32)
    filters = np.random.default_rng(1).normal(size=(kernel, kernel, 3, 2)).astype(np.float32)
    layer = keras_applications.SamePadding2D(kernel)
    padded = layer(values)
    assert tuple(padded.shape) == layer.compute_output_shape(values.shape)
    ours = tf.nn.conv2d(padded, filters, 2, 'VALID')
    np.testing.assert_allclose(ours, tf.nn.conv2d(values, filters, 2, 'SAME'), atol=1e-5)


@pytest.mark.parametrize('name', ['VGG16', 'VGG19'])
def test_a_network_of_fixed_size_is_refused(name):
    with pytest.raises(InputError, match=f'keras:{name} takes images of one size only'):
        keras_application(name, CLASSES)


def test_an_unknown_network_is_refused():
    with pytest.raises(InputError, match="no network 'resnet50' .* known: .*ResNet50"):
        keras_application('resnet50', CLASSES)


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    """Files of weights of MobileNetV3Small, good and bad ones."""
    folder = tmp_path_factory.mktemp('files')
    build = keras.applications.MobileNetV3Small
    whole = build(weights=None, classes=CLASSES)
    headless = build(weights=None, include_top=False)
    for ending in ('.weights.h5', '.h5', '.keras'):
        for stem, model in {'whole': whole, 'notop': headless}.items():
            path = str(folder / (stem + ending))
            (model.save_weights if ending == '.weights.h5' else model.save)(path)
    (folder / 'broken.h5').write_text('nothing')
    (folder / 'broken.keras').write_text('nothing')
    return folder


@pytest.mark.parametrize(
    ('name', 'file', 'reason'),
    [
        ('MobileNetV3Small', 'missing.h5', 'no such file'),
        ('MobileNetV3Small', 'broken.h5', 'not a file of weights that Keras wrote'),
        ('MobileNetV3Small', 'broken.keras', 'not a file of weights that Keras wrote'),
        ('MobileNetV3Small', 'notop.weights.h5', '4 missing (conv_2/kernel, conv_2/bias, logits/'),
        ('MobileNetV3Small', 'notop.h5', '86 layers with weights, expected 88'),
        ('MobileNetV3Small', 'notop.keras', '4 missing (conv_2/kernel, conv_2/bias, logits/'),
        ('MobileNetV2', 'whole.weights.h5', 'not the weights of keras:MobileNetV2'),
        ('MobileNetV2', 'whole.h5', '88 layers with weights, expected 105'),
        ('MobileNetV2', 'whole.keras', '80 missing (block_11'),
    ],
)
def test_a_file_that_does_not_match_is_refused(name, file, reason, files):
    with pytest.raises(InputError) as error:
        keras_application(name, CLASSES, weights=str(files / file))
    message = str(error.value)
    assert str(files / file) in message and reason in message and '\n' not in message


def test_a_deeper_network_of_the_same_family_is_refused(tmp_path):
    path = str(tmp_path / 'b0.weights.h5')
    keras.applications.EfficientNetB0(weights=None, classes=CLASSES).save_weights(path)
    # B1 has the same widths, and so the same classifier.
    with pytest.raises(InputError, match='missing .*block'):
        keras_application('EfficientNetB1', CLASSES, weights=path)


def test_a_failed_download_says_what_to_do(monkeypatch):
    def unreachable(*args, **kwargs):
        raise OSError('URL fetch failure\nmore')

    monkeypatch.setattr('keras.src.utils.file_utils.get_file', unreachable)
    with pytest.raises(InputError, match=r'URL fetch failure\).*path of a file'):
        keras_application('MobileNetV3Small', 1000, weights='imagenet')
