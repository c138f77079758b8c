"""The hand-made networks against the counts of the project that they come from."""

import keras
import numpy as np
import pytest

from tfnets.errors import InputError
from tfnets.models import mbconv


def trainable(model):
    return sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)


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
    config = mbconv.compound_scale(mbconv.CONFIGS['c'], alpha=alpha, beta=beta, gamma=gamma, phi=1)
    assert tuple(stage.channels for stage in config.stages) == channels
    assert tuple(stage.units for stage in config.stages) == units
    assert config.resolution == resolution
    assert trainable(mbconv.mbconv(config, 2)) == parameters


def test_phi_four():
    config = mbconv.compound_scale(mbconv.CONFIGS['c'], alpha=1.2, beta=1.05, gamma=1.23, phi=4)
    assert [stage.channels for stage in config.stages] == [19, 27, 32, 39]
    assert [stage.units for stage in config.stages] == [1, 2, 4, 2]
    assert config.resolution == 146
    assert trainable(mbconv.mbconv(config, 2)) == 136_061


def test_phi_zero_is_the_base_network():
    config = mbconv.compound_scale(mbconv.CONFIGS['c'], alpha=1.7, beta=1.3, gamma=1.2, phi=0)
    assert config == mbconv.CONFIGS['c']


@pytest.mark.parametrize('bad', [{'phi': -1}, {'alpha': 0}, {'phi': float('nan')}])
def test_bad_coefficients_are_refused_by_name(bad):
    given = {'alpha': 1.2, 'beta': 1.1, 'gamma': 1.1, 'phi': 1, **bad}
    with pytest.raises(InputError, match=next(iter(bad))):
        mbconv.compound_scale(mbconv.CONFIGS['c'], **given)


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
