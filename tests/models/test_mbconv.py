"""The hand-made networks against the counts of the project that they come from."""

import keras
import numpy as np
import pytest
from small_networks import trainable

from tfnets.errors import InputError
from tfnets.models import mbconv, mbconv_config


def moving(model):
    return sum(int(np.prod(variable.shape)) for variable in model.non_trainable_variables)


@pytest.mark.parametrize(
    ('letter', 'parameters', 'statistics'),
    [('a', 49_394, 3_740), ('b', 49_262, 2_648), ('c', 49_760, 2_932)],
)
def test_parameters_of_the_base_networks(letter, parameters, statistics):
    model = mbconv.hand_made(letter, 2)
    assert (trainable(model), moving(model)) == (parameters, statistics)


@pytest.mark.parametrize(
    ('alpha', 'beta', 'gamma', 'channels', 'units', 'resolution', 'parameters'),
    [
        (1.2, 1.05, 1.23, (17, 23, 27, 34), (1, 1, 2, 1), 79, 53_715),
        (1.2, 1.23, 1.05, (20, 27, 32, 39), (1, 1, 2, 1), 67, 70_074),
        (1.4, 1.02, 1.17, (16, 22, 27, 33), (1, 1, 3, 1), 75, 63_251),
        (1.4, 1.05, 1.14, (17, 23, 27, 34), (1, 1, 3, 1), 73, 64_974),
        (1.4, 1.14, 1.05, (18, 25, 30, 36), (1, 1, 3, 1), 67, 75_536),
        (1.4, 1.17, 1.02, (19, 26, 30, 37), (1, 1, 3, 1), 65, 77_412),
    ],
)
def test_the_six_scaling_experiments(alpha, beta, gamma, channels, units, resolution, parameters):
    config = mbconv_config.compound_scale(
        mbconv_config.CONFIGS['c'], alpha=alpha, beta=beta, gamma=gamma, phi=1
    )
    assert tuple(stage.channels for stage in config.stages) == channels
    assert tuple(stage.units for stage in config.stages) == units
    assert config.resolution == resolution
    assert trainable(mbconv.mbconv(config, 2)) == parameters


def test_phi_four():
    config = mbconv_config.compound_scale(
        mbconv_config.CONFIGS['c'], alpha=1.2, beta=1.05, gamma=1.23, phi=4
    )
    assert [stage.channels for stage in config.stages] == [19, 27, 32, 39]
    assert [stage.units for stage in config.stages] == [1, 2, 4, 2]
    assert config.resolution == 146
    assert trainable(mbconv.mbconv(config, 2)) == 136_061


def test_phi_zero_is_the_base_network():
    config = mbconv_config.compound_scale(
        mbconv_config.CONFIGS['c'], alpha=1.7, beta=1.3, gamma=1.2, phi=0
    )
    assert config == mbconv_config.CONFIGS['c']


@pytest.mark.parametrize('bad', [{'phi': -1}, {'alpha': 0}, {'phi': float('nan')}])
def test_bad_coefficients_are_refused_by_name(bad):
    given = {'alpha': 1.2, 'beta': 1.1, 'gamma': 1.1, 'phi': 1, **bad}
    with pytest.raises(InputError, match=next(iter(bad))):
        mbconv_config.compound_scale(mbconv_config.CONFIGS['c'], **given)


def test_any_resolution_and_a_saved_file(tmp_path):
    model = mbconv.hand_made('b', 3)
    model.save(tmp_path / 'network.keras')
    loaded = keras.saving.load_model(tmp_path / 'network.keras')
    for side in (32, 45):
        pixels = np.random.default_rng(0).integers(0, 256, (2, side, side, 3), np.uint8)
        logits = model(pixels)
        assert logits.shape == (2, 3)
        assert logits.dtype == 'float32'
        np.testing.assert_array_equal(logits, loaded(pixels))


def test_logits_of_b0_are_those_of_keras_applications():
    keras.utils.set_random_seed(0)
    theirs = keras.applications.EfficientNetB0(
        weights=None, classes=10, classifier_activation=None, input_shape=(96, 64, 3)
    )
    ours = mbconv.efficientnet('b0', 10)
    rng = np.random.default_rng(0)
    patches = rng.integers(0, 256, (6, 3, 2, 3), np.uint8)
    pixels = np.kron(patches, np.ones((1, 32, 32, 1), np.uint8))
    scaled = ours.get_layer('scaling')(pixels)
    # Moving statistics become those of the images, or outputs would hardly depend on them.
    layers = [layer for layer in theirs.layers if layer.weights][1:]
    for layer in layers:
        for weight in layer.trainable_weights:
            if weight.name != 'kernel':
                weight.assign(weight + rng.normal(0, 0.1, weight.shape))
        layer.momentum = 0.0
    (normalization,) = [
        layer for layer in theirs.layers if isinstance(layer, keras.layers.Normalization)
    ]
    behind_scaling = keras.Model(normalization.output, theirs.output)
    behind_scaling(scaled, training=True)
    values = {keras_to_ours(layer.name): layer.get_weights() for layer in layers}
    weighted = [layer for layer in ours.layers if layer.weights]
    assert {layer.name for layer in weighted} == set(values)
    for layer in weighted:
        layer.set_weights(values[layer.name])
    expected = behind_scaling(scaled).numpy()
    assert np.ptp(expected, axis=0).max() > 0.1
    np.testing.assert_allclose(ours(pixels), expected, atol=1e-5 * np.abs(expected).max())


def keras_to_ours(name):
    """The name here of a layer of keras.applications' EfficientNet: block2a_se_reduce."""
    fixed = {
        'stem_conv': 'stem.conv',
        'stem_bn': 'stem.norm',
        'top_conv': 'head.conv',
        'top_bn': 'head.norm',
        'predictions': 'classifier',
    }
    if name in fixed:
        return fixed[name]
    block, _, part = name.partition('_')
    parts = {
        'expand_conv': 'expand.conv',
        'expand_bn': 'expand.norm',
        'dwconv': 'depthwise.conv',
        'bn': 'depthwise.norm',
        'se_reduce': 'squeeze.conv',
        'se_expand': 'excite.conv',
        'project_conv': 'project.conv',
        'project_bn': 'project.norm',
    }
    stage, unit = int(block[5]) + 1, ord(block[6]) - ord('a') + 1
    return f'stage{stage}.unit{unit}.{parts[part]}'


@pytest.mark.parametrize(
    ('channels', 'rounded'), [(32 * 1.1, 32), (16 * 1.1, 16), (40 * 1.1, 48), (24 * 1.4, 32)]
)
def test_efficientnet_rounds_channels_to_eights(channels, rounded):
    assert mbconv_config._to_multiple(channels, 8) == rounded


def test_drop_connect_grows_with_depth():
    model = mbconv.efficientnet('b0', 10)
    rates = [
        (layer.name, layer.rate) for layer in model.layers if layer.name.endswith('drop_connect')
    ]
    # Units without a shortcut drop nothing; the first of all 16 has a rate of 0.
    assert len(rates) == 9
    assert dict(rates)['stage7.unit4.drop_connect'] == pytest.approx(0.2 * 14 / 16)


def test_efficientnet_by_phi():
    assert mbconv_config.efficientnet_phi(phi=1).resolution == 258
    assert trainable(mbconv.efficientnet_phi(10)) == trainable(mbconv.efficientnet('b0', 10))
    config = mbconv_config.compound_scale(
        mbconv_config.CONFIGS['b0'], alpha=1.2, beta=1.1, gamma=1.15, phi=1
    )
    b2 = mbconv_config.efficientnet('b2')
    assert [stage.units for stage in config.stages] == [stage.units for stage in b2.stages]
    assert [stage.channels for stage in config.stages] == [stage.channels for stage in b2.stages]
