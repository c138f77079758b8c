"""The shared building blocks."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfnets.models import layers, mbconv, roles


@pytest.mark.parametrize(
    ('mode', 'preprocess_input'),
    [
        ('caffe', keras.applications.resnet.preprocess_input),
        ('tf', keras.applications.resnet_v2.preprocess_input),
        ('torch', keras.applications.densenet.preprocess_input),
        ('none', keras.applications.efficientnet.preprocess_input),
        ('unit', lambda pixels: pixels / 255),
    ],
)
def test_pixel_scaling_is_that_of_keras_applications(mode, preprocess_input):
    pixels = np.random.default_rng(0).integers(0, 256, (2, 5, 4, 3), np.uint8)
    expected = preprocess_input(pixels.astype(np.float32))
    np.testing.assert_allclose(layers.PixelScaling(mode)(pixels), expected, rtol=1e-5, atol=1e-5)


def test_hash_is_uniform_and_the_same_under_xla():
    seeds = tf.constant([[0, 0], [0, 1], [1, 0], [2**31 - 1, -1]], tf.int32)
    numbers = layers.uniform_per_example(seeds, 7, [10_000])
    compiled = tf.function(
        lambda: layers.uniform_per_example(seeds, 7, [10_000]), jit_compile=True
    )()
    np.testing.assert_array_equal(numbers, compiled)
    assert np.min(numbers) >= 0 and np.max(numbers) < 1
    for row in numbers.numpy():
        counts = np.histogram(row, 20, (0, 1))[0]
        assert np.sum((counts - 500) ** 2 / 500) < 45  # chi-squared, 19 degrees: p = 0.0007
    assert np.abs(np.corrcoef(numbers) - np.eye(4)).max() < 0.04


def test_dropout_is_a_function_of_each_examples_seed():
    dropout = layers.Dropout(0.4, name='dropout')
    values = tf.ones([3, 50, 40])
    seeds = tf.constant([[1, 5], [1, 6], [1, 7]])
    with layers.example_seeds(seeds):
        first = dropout(values, training=True).numpy()
    with layers.example_seeds(seeds[::-1]):
        turned = dropout(values[:, :, :], training=True).numpy()
    np.testing.assert_array_equal(first, turned[::-1])
    assert set(np.unique(first)) == {np.float32(0), np.float32(1 / 0.6)}
    assert abs((first == 0).mean() - 0.4) < 0.02
    assert np.abs(np.corrcoef(first.reshape(3, -1)) - np.eye(3)).max() < 0.1


def test_dropout_needs_seeds_only_in_training():
    dropout = layers.Dropout(0.5)
    np.testing.assert_array_equal(dropout(tf.ones([2, 3]), training=False), np.ones([2, 3]))
    with pytest.raises(RuntimeError, match='example_seeds'):
        dropout(tf.ones([2, 3]), training=True)


def test_drop_connect_drops_whole_examples():
    layer = layers.Dropout(0.5, noise_shape=(None, 1, 1, 1))
    seeds = tf.stack([tf.zeros(200, tf.int32), tf.range(200)], 1)
    with layers.example_seeds(seeds):
        dropped = layer(tf.ones([200, 2, 2, 3]), training=True).numpy()
    assert (dropped.reshape(200, -1).std(1) == 0).all()
    assert 70 < (dropped[:, 0, 0, 0] == 0).sum() < 130


def test_batch_norm_in_inference_mode_leaves_its_statistics():
    layer = layers.BatchNormalization()
    values = np.random.default_rng(0).normal(3, 2, (64, 5)).astype(np.float32)
    layer.build(values.shape)
    layer.inference_mode = True
    np.testing.assert_array_equal(layer(values, training=True), layer(values, training=False))
    np.testing.assert_array_equal(layer.moving_mean, np.zeros(5))
    layer.inference_mode = False
    layer(values, training=True)
    np.testing.assert_allclose(layer.moving_mean, 0.01 * values.mean(0), rtol=1e-4)


def test_roles_of_a_hand_made_network():
    model = mbconv.hand_made('c', 2)
    assert roles.classifier(model).name == 'classifier'
    assert roles.last_batch_norm(model).name == 'head.norm'
    counts = {}
    for role in roles.variable_roles(model).values():
        counts[role] = counts.get(role, 0) + 1
    norms = len(roles.batch_norms(model))
    assert counts['scale'] == counts['offset'] == norms
    assert counts['kernel'] == counts['bias']


def test_last_batch_norm_of_resnet50_is_that_of_the_official_code():
    model = keras.applications.ResNet50(
        weights=None, input_shape=(32, 32, 3), include_top=False, pooling='avg'
    )
    assert roles.last_batch_norm(model).name == 'conv5_block3_3_bn'


def test_a_network_without_batch_norm_has_no_last_one():
    pixels = keras.Input((8, 8, 3))
    model = keras.Model(pixels, keras.layers.GlobalAveragePooling2D()(pixels))
    assert roles.last_batch_norm(model) is None


@pytest.mark.parametrize(
    ('size', 'wanted'), [((4, 3), (8, 6)), ((13, 5), (25, 9)), ((3, 4), (7, 4))]
)
@pytest.mark.parametrize('xla', [False, True])
def test_nearest_upsampling_and_its_gradient(size, wanted, xla):
    rng = np.random.default_rng(0)
    images = tf.constant(rng.standard_normal((2, *size, 3)), tf.float32)
    like = tf.zeros((2, *wanted, 1))
    weights = tf.constant(rng.standard_normal((2, *wanted, 3)), tf.float32)
    layer = layers.UpsampleLike('nearest')

    @tf.function(jit_compile=xla)
    def ours():
        with tf.GradientTape() as tape:
            tape.watch(images)
            made = layer([images, like])
            loss = tf.reduce_sum(made * weights)
        return made, tape.gradient(loss, images)

    made, gradient = ours()
    # torch's rule: floor(place * input size / output size).
    rows, columns = (np.arange(w) * s // w for s, w in zip(size, wanted, strict=True))
    np.testing.assert_array_equal(made, images.numpy()[:, rows][:, :, columns])
    expected = np.zeros(images.shape, np.float32)
    for (row, column), (y, x) in zip(
        np.ndindex(wanted), ((y, x) for y in rows for x in columns), strict=True
    ):
        expected[:, y, x] += weights[:, row, column]
    np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-5)


def test_pixels_are_normalised_by_statistics_of_ones_own(tmp_path):
    pixels = keras.Input((None, None, 3), dtype='uint8')
    scaling = layers.PixelScaling('torch')
    network = keras.Model(pixels, scaling(pixels))
    scaling.normalise_by([0.1, 0.2, 0.3], [0.5, 0.25, 0.125])
    image = np.random.default_rng(0).integers(0, 256, (1, 4, 5, 3), np.uint8)
    expected = (image / 255 - [0.1, 0.2, 0.3]) / [0.5, 0.25, 0.125]
    np.testing.assert_allclose(network(image), expected, atol=1e-5)
    network.save(tmp_path / 'x.keras')
    np.testing.assert_array_equal(
        keras.models.load_model(tmp_path / 'x.keras')(image), network(image)
    )


@pytest.mark.parametrize('native', [True, False])
@pytest.mark.parametrize('xla', [True, False])
def test_groups_are_convolved_as_keras_does(native, xla, monkeypatch):
    if native and not layers._computes_groups('float32'):
        pytest.skip('TensorFlow has no convolutions in groups here')
    monkeypatch.setattr(layers, '_computes_groups', lambda dtype: native)
    options = {'strides': 2, 'groups': 3, 'name': 'conv'}
    mine, theirs = layers.Conv2D(12, 3, **options), keras.layers.Conv2D(12, 3, **options)
    images = tf.random.stateless_normal((2, 9, 8, 6), (0, 1))
    for layer in (mine, theirs):
        layer.build(images.shape)
    mine.set_weights(theirs.get_weights())

    def outputs_and_gradients(layer):
        @tf.function(jit_compile=xla)
        def run():
            with tf.GradientTape() as tape:
                tape.watch(images)
                outputs = layer(images)
                loss = tf.reduce_sum(outputs**2)
            return outputs, *tape.gradient(loss, [images, *layer.trainable_variables])

        return run()

    values = zip(outputs_and_gradients(mine), outputs_and_gradients(theirs), strict=True)
    for one, other in values:
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


def test_whether_groups_can_be_convolved_is_found_out():
    # Of integers there are no convolutions anywhere.
    assert not layers._computes_groups('int32')


def test_files_of_weights_do_not_tell_whose_convolution_it_was(tmp_path):
    def network(kind):
        x = keras.Input((8, 8, 4))
        return keras.Model(x, kind(4, 3, groups=2)(x))

    mine, theirs = network(layers.Conv2D), network(keras.layers.Conv2D)
    theirs.save_weights(tmp_path / 'theirs.weights.h5')
    mine.load_weights(tmp_path / 'theirs.weights.h5')
    for one, other in zip(mine.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize('xla', [False, True])
@pytest.mark.parametrize('training', [False, True])
def test_batch_norm_is_that_of_keras_but_for_the_moving_variance(training, xla):
    mine, theirs = layers.BatchNormalization(), keras.layers.BatchNormalization()
    images = 3 + tf.random.stateless_normal((2, 5, 4, 6), (0, 1))
    rng = np.random.default_rng(0)
    for layer in (mine, theirs):
        layer.build(images.shape)
    theirs.set_weights([rng.uniform(0.5, 1.5, 6) for _ in range(4)])
    mine.set_weights(theirs.get_weights())
    before = theirs.moving_variance.numpy()

    def outputs_and_gradients(layer):
        @tf.function(jit_compile=xla)
        def run():
            with tf.GradientTape() as tape:
                tape.watch(images)
                outputs = layer(images, training=training)
                loss = tf.reduce_sum(outputs**3)
            return outputs, *tape.gradient(loss, [images, layer.gamma.value, layer.beta.value])

        return run()

    values = zip(outputs_and_gradients(mine), outputs_and_gradients(theirs), strict=True)
    for one, other in values:
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(mine.moving_mean, theirs.moving_mean, rtol=1e-6)
    # 40 numbers of each channel are a sample.
    grown, wanted = (layer.moving_variance - 0.99 * before for layer in (mine, theirs))
    np.testing.assert_allclose(grown, wanted * (40 / 39 if training else 1), rtol=1e-4)


@pytest.mark.parametrize('policy', ['mixed_bfloat16', 'mixed_float16', 'bfloat16', 'float64'])
def test_statistics_of_batch_norms_are_exact_in_any_precision(policy):
    layer = layers.BatchNormalization(momentum=0.0, dtype=policy)
    noise = tf.random.stateless_normal((16, 9, 9, 3), (0, 1))
    images = tf.cast(100 + noise, layer.compute_dtype)
    outputs = layer(images, training=True)
    assert outputs.dtype == layer.compute_dtype
    exact = tf.cast(images, tf.float32).numpy().reshape(-1, 3)
    rounding = 1e-2 if policy == 'bfloat16' else 1e-4
    np.testing.assert_allclose(layer.moving_mean, exact.mean(0), rtol=rounding)
    # In float64 it is Keras' own, of the batch.
    wanted = exact.var(0, ddof=0 if policy == 'float64' else 1)
    np.testing.assert_allclose(layer.moving_variance, wanted, rtol=rounding)
