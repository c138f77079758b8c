"""Folded networks answer as those that they were made of, with fewer layers."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_networks import SMALL, with_statistics

from tfnets.errors import InputError
from tfnets.models import folding, keras_applications, layers, roles

# Of these the batch norms stay that no convolution precedes: a unit's first, and the last of all.
# In bn_conv_relu that is each of them; what 'preact_resnet' lacks is the stem's and all second and
# third ones; its first unit has none, for the stem's is there.
STAYING = {
    'preact_resnet': {'stage2.unit1.norm1', 'head.norm'},
    'bn_conv_relu': {
        'stem.norm',
        *(f'stage{stage}.unit1.norm{norm}' for stage in (1, 2) for norm in (1, 2, 3)),
    },
}


def images(height, width):
    """A bright one and a dark one."""
    noise = np.random.default_rng(0).integers(0, 256, (2, height, width, 3), np.uint8)
    return noise // np.array([1, 5], np.uint8)[:, None, None, None]


def names_of(model, kinds):
    return {layer.name for layer in model.layers if isinstance(layer, kinds)}


def batch_norms(model):
    return names_of(model, keras.layers.BatchNormalization)


def assert_equal(network, folded, values, tolerance=1e-4):
    """Both give the same, which depends on the images."""
    expected = network(values, training=False).numpy()
    assert np.ptp(expected, axis=0).max() > 10 * tolerance * np.abs(expected).max()
    np.testing.assert_allclose(folded(values), expected, atol=tolerance * np.abs(expected).max())


@pytest.mark.parametrize('family', SMALL)
def test_every_family(family, tmp_path):
    network = with_statistics(SMALL[family](3), images(32, 32))
    weights = network.get_weights()
    folded = folding.fold(network)
    for size in ((32, 32), (45, 37)):
        assert_equal(network, folded, images(*size))
    assert batch_norms(folded) == STAYING.get(family, set())
    assert not names_of(folded, layers.Dropout)
    assert {layer.compute_dtype for layer in folded.layers[1:]} == {'float32'}
    convolutions = keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.Dense
    assert names_of(folded, convolutions) == names_of(network, convolutions)

    folded.save(tmp_path / 'folded.keras')
    loaded = keras.saving.load_model(tmp_path / 'folded.keras')
    np.testing.assert_array_equal(loaded(images(32, 32)), folded(images(32, 32)))
    # The network is as it was, and shares nothing with what was made of it.
    for variable in folded.weights:
        variable.assign(tf.zeros_like(variable))
    for before, after in zip(weights, network.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize('policy', ['mixed_bfloat16', 'bfloat16'])
@pytest.mark.parametrize('family', ['big_little', 'efficientnet'])
def test_float32_whatever_the_policy(family, policy):
    keras.config.set_dtype_policy(policy)
    try:
        network = with_statistics(SMALL[family](3), images(32, 45))
    finally:
        keras.config.set_dtype_policy('float32')
    exact = SMALL[family](3)
    exact.set_weights([np.asarray(weight, np.float32) for weight in network.get_weights()])
    folded = folding.fold(network)
    assert {layer.dtype_policy.name for layer in folded.layers[1:]} == {'float32'}
    assert_equal(exact, folded, images(32, 45))


def test_networks_of_keras_applications():
    pixels = images(64, 64)
    network = keras_applications.keras_application('MobileNetV3Small', 5)
    network = with_statistics(network, pixels)
    folded = folding.fold(network)
    assert_equal(network, folded, pixels)
    assert not batch_norms(folded)
    theirs = keras.applications.EfficientNetB0(
        weights=None, classes=5, classifier_activation=None, input_shape=(64, 64, 3)
    )
    # Keras numbers its name, by how many there were before.
    (normalization,) = (
        layer for layer in theirs.layers if isinstance(layer, keras.layers.Normalization)
    )
    normalization.set_weights([np.full(3, 0.4), np.full(3, 0.05), np.zeros(())])
    normalization.finalize_state()
    theirs = with_statistics(theirs, pixels.astype(np.float32))
    folded = folding.fold(theirs)
    assert_equal(theirs, folded, pixels.astype(np.float32))
    assert not batch_norms(folded)


@pytest.mark.slow
@pytest.mark.parametrize('name', keras_applications.names())
def test_every_network_of_keras_applications(name):
    keras.utils.set_random_seed(0)
    network = keras_applications.keras_application(name, 5)
    network = with_statistics(network, images(97, 84))
    folded = folding.fold(network)
    before = len(roles.batch_norms(network))
    assert len(batch_norms(folded)) < before or not before
    # As many as 150 layers lift what rounding leaves.
    assert_equal(network, folded, images(97, 84), tolerance=5e-4)


# What is folded, one layer at a time.


def chain(*between, shape=(9, 8, 6)):
    """A network of these layers, one after the other, with statistics that matter."""
    x = entrance = keras.Input(shape)
    for layer in between:
        x = layer(x)
    return with_statistics(keras.Model(entrance, x))


def noise(*shape):
    return np.random.default_rng(1).standard_normal(shape).astype(np.float32)


KERAS = keras.layers


@pytest.mark.parametrize('bias', [False, True])
@pytest.mark.parametrize(
    'make',
    [
        lambda **options: KERAS.Conv2D(4, 3, strides=2, padding='same', **options),
        lambda **options: KERAS.Conv2D(6, 3, groups=3, padding='same', **options),
        lambda **options: KERAS.DepthwiseConv2D(3, depth_multiplier=2, **options),
        lambda **options: KERAS.SeparableConv2D(4, 3, depth_multiplier=2, **options),
        lambda **options: KERAS.Dense(4, **options),
    ],
    ids=['strided', 'groups', 'depthwise', 'separable', 'dense'],
)
@pytest.mark.parametrize('norm', [{}, {'scale': False, 'center': False, 'epsilon': 0.5}])
def test_each_kind_of_layer(make, norm, bias):
    network = chain(make(use_bias=bias, name='conv'), KERAS.BatchNormalization(**norm))
    folded = folding.fold(network)
    assert [layer.name for layer in folded.layers[1:]] == ['conv']
    assert_equal(network, folded, noise(2, 9, 8, 6))


def test_the_arithmetic():
    network = chain(KERAS.Dense(4, name='dense'), layers.BatchNormalization(epsilon=1e-3))
    # Where float32 has no digits left for the difference of both.
    network.get_layer('dense').bias.assign([1e4 + 1e-3, 1, 1, 1])
    norm = network.layers[-1]
    norm.moving_mean.assign([1e4, 0, 0, 0])
    norm.moving_variance.assign([1e-8, 1, 1e8, 1])
    (kernel, bias), statistics = [
        [weight.astype(np.float64) for weight in layer.get_weights()]
        for layer in network.layers[1:]
    ]
    gamma, beta, mean, variance = statistics
    factors = gamma / np.sqrt(variance + 1e-3)
    folded = folding.fold(network).get_layer('dense').get_weights()
    np.testing.assert_allclose(folded[0], kernel * factors, rtol=1e-7)
    np.testing.assert_allclose(folded[1], (bias - mean) * factors + beta, rtol=1e-7)


# What is not.


class OwnConvolution(KERAS.Conv2D):
    def call(self, inputs):
        return super().call(inputs) ** 2


def with_lora():
    network = chain(KERAS.Dense(4, name='dense'), KERAS.BatchNormalization())
    network.get_layer('dense').enable_lora(2, b_initializer='ones')
    return network


@pytest.mark.parametrize(
    'build',
    [
        lambda: chain(KERAS.Conv2D(4, 3, activation='relu'), KERAS.BatchNormalization()),
        lambda: chain(KERAS.Conv2D(4, 3), KERAS.ZeroPadding2D(1), KERAS.BatchNormalization()),
        lambda: chain(KERAS.Conv2D(4, 3), KERAS.ReLU(), KERAS.BatchNormalization()),
        lambda: chain(KERAS.Conv2D(4, 3), KERAS.BatchNormalization(axis=1)),
        lambda: chain(OwnConvolution(4, 3), KERAS.BatchNormalization()),
        lambda: chain(KERAS.Conv2DTranspose(4, 3), KERAS.BatchNormalization()),
        lambda: chain(KERAS.BatchNormalization(), KERAS.Conv2D(4, 3, padding='same')),
        with_lora,
    ],
    ids=['activation', 'padding', 'relu', 'axis', 'subclass', 'transposed', 'before', 'lora'],
)
def test_other_batch_norms_stay(build):
    network = build()
    folded = folding.fold(network)
    assert len(folded.layers) == len(network.layers)
    assert_equal(network, folded, noise(2, 9, 8, 6))


def test_a_layer_that_something_else_reads_stays():
    entrance = keras.Input((9, 8, 6))
    x = KERAS.Conv2D(4, 3, name='conv')(entrance)
    network = keras.Model(entrance, KERAS.Add()([x, layers.BatchNormalization(name='norm')(x)]))
    folded = folding.fold(with_statistics(network))
    assert batch_norms(folded) == {'norm'}
    assert_equal(network, folded, noise(2, 9, 8, 6))


def test_a_layer_that_is_an_output_stays():
    entrance = keras.Input((9, 8, 6))
    x = KERAS.Conv2D(4, 3, name='conv')(entrance)
    network = keras.Model(entrance, [x, layers.BatchNormalization(name='norm')(x)])
    folded = folding.fold(with_statistics(network))
    assert batch_norms(folded) == {'norm'}
    values = noise(2, 9, 8, 6)
    for mine, theirs in zip(folded(values), network(values), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5)


def test_dropout_vanishes_also_from_between():
    network = chain(
        KERAS.Conv2D(4, 3, name='conv'),
        layers.Dropout(0.5),
        KERAS.BatchNormalization(),
        KERAS.SpatialDropout2D(0.5),
        KERAS.GaussianNoise(1.0),
    )
    folded = folding.fold(network)
    assert [layer.name for layer in folded.layers[1:]] == ['conv']
    assert_equal(network, folded, noise(2, 9, 8, 6))


# Layers and models that are used twice.


def test_a_layer_with_several_batch_norms():
    entrance = keras.Input((9, 8, 6))
    conv = KERAS.Conv2D(6, 3, padding='same', name='conv')
    norms = [layers.BatchNormalization(name=f'norm{number}') for number in (1, 2)]
    first = norms[0](conv(entrance))
    outputs = [norms[1](conv(first)), norms[0](conv(first)), conv(first)]
    network = with_statistics(keras.Model(entrance, KERAS.Concatenate(name='all')(outputs)))
    folded = folding.fold(network)
    assert not batch_norms(folded)
    # With the first norm, used twice; with the second; and alone.
    assert names_of(folded, KERAS.Conv2D) == {'conv', 'conv_1', 'conv_2'}
    assert_equal(network, folded, noise(2, 9, 8, 6))


def test_a_model_inside_is_laid_out():
    inner = chain(KERAS.Conv2D(6, 3, padding='same', name='conv'), KERAS.BatchNormalization())
    inner.name = 'inner'
    tail = keras.Sequential([KERAS.ReLU(), KERAS.Conv2D(4, 1, name='conv')], name='tail')
    entrance = keras.Input((9, 8, 6))
    x = inner(inner(entrance, training=True))
    x = layers.BatchNormalization(name='norm')(tail(x))
    network = with_statistics(keras.Model(entrance, x, name='outer'))
    folded = folding.fold(network)
    assert names_of(folded, KERAS.Conv2D) == {'inner.conv', 'tail.conv'}
    assert not batch_norms(folded)
    assert not [layer for layer in folded.layers if isinstance(layer, keras.Model)]
    # The first training=True does not count where the network is asked for inference.
    assert_equal(network, folded, noise(2, 9, 8, 6))
    np.testing.assert_array_equal(
        folded(noise(2, 9, 8, 6)), folded(noise(2, 9, 8, 6), training=False)
    )


def test_a_model_inside_that_wants_floats_gets_them():
    inner = chain(KERAS.Conv2D(4, 3), KERAS.BatchNormalization(), shape=(9, 8, 3))
    pixels = keras.Input((9, 8, 3), dtype='uint8')
    network = keras.Model(pixels, inner(pixels))
    folded = folding.fold(network)
    assert folded.input.dtype == 'uint8'
    assert_equal(network, folded, images(9, 8))


def test_several_inputs_by_name():
    left, right = [keras.Input((6,), name=name) for name in ('left', 'right')]
    x = KERAS.BatchNormalization()(KERAS.Dense(4)(left)) - KERAS.Dense(4)(right)
    network = with_statistics(keras.Model({'right': right, 'left': left}, {'difference': x}))
    folded = folding.fold(network)
    assert not batch_norms(folded)
    values = {'left': noise(2, 6), 'right': 2 * noise(2, 6)}
    expected = network(values)['difference']
    np.testing.assert_allclose(folded(values)['difference'], expected, rtol=1e-5)


def test_a_network_without_a_graph_is_refused():
    class Own(keras.Model):
        pass

    with pytest.raises(InputError, match='own: not a functional model'):
        folding.fold(Own(name='own'))
