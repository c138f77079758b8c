"""Networks by compound coefficients: the constraint, candidates, and the papers' sizes."""

import dataclasses
import itertools
import math
from fractions import Fraction

import pytest

from tfnets.errors import InputError
from tfnets.models import mbconv_config, registry
from tfnets.recipes import scaled_networks
from tfnets.recipes.scaled_networks import Coefficients, Network

BASE = scaled_networks.base('mbconv_c')
# The six experiments of AdamStein97 and phi = 4: coefficients, phi, trainable parameters.
SIX = [
    ((1.2, 1.05, 1.23), 1, 53_715),
    ((1.2, 1.23, 1.05), 1, 70_074),
    ((1.4, 1.02, 1.17), 1, 63_251),
    ((1.4, 1.05, 1.14), 1, 64_974),
    ((1.4, 1.14, 1.05), 1, 75_536),
    ((1.4, 1.17, 1.02), 1, 77_412),
]
PHI_FOUR = ((1.2, 1.05, 1.23), 4, 136_061)


@pytest.mark.parametrize(('step', 'tolerance'), [(0.1, 0.1), (0.05, 0.02), (0.25, 0.3)])
def test_a_grid_is_complete_without_repeats_and_close_to_two(step, tolerance):
    exact, close = Fraction(str(step)), Fraction(str(tolerance))
    values = [1 + number * exact for number in range(math.ceil(2 / exact))]
    expected = {
        tuple(map(float, triple))
        for triple in itertools.product(values, repeat=3)
        if abs(triple[0] * triple[1] ** 2 * triple[2] ** 2 - 2) <= close
    }
    found = scaled_networks.grid(step, tolerance)
    assert len(found) == len(set(found)) == len(expected)
    assert {dataclasses.astuple(one) for one in found} == expected
    for one in found:
        scaled_networks.check(one, tolerance)


def test_a_grid_of_none_or_too_many_is_refused():
    with pytest.raises(InputError, match='has 0 candidates'):
        scaled_networks.grid(0.9, 0.01)
    with pytest.raises(InputError, match='expected 1 to 1000'):
        scaled_networks.grid(0.01, 0.5)


@pytest.mark.parametrize(('numbers', 'phi', 'parameters'), [*SIX, PHI_FOUR])
def test_the_experiments_of_the_project(numbers, phi, parameters):
    coefficients = Coefficients(*numbers)
    scaled_networks.check(coefficients, 0.01)
    assert scaled_networks.scaled(BASE, coefficients, phi).cost(2).trainable == parameters


def test_efficientnets_coefficients_are_close_to_two_and_b1_to_b7_follow_from_their_factors():
    scaled_networks.check(Coefficients(1.2, 1.1, 1.15), 0.1)
    b0 = scaled_networks.base('efficientnet')
    # phi = 1 rounds to the channels and units of B2.
    scaled = scaled_networks.scaled(b0, Coefficients(1.2, 1.1, 1.15), 1)
    assert scaled.cost(1000).trainable == 9_109_994
    published = [7_794_184, 9_109_994, 12_233_232, 19_341_616, 30_389_784, 43_040_704, 66_347_960]
    for number, parameters in enumerate(published, 1):
        width, depth, resolution, _ = mbconv_config.VARIANTS[f'b{number}']
        config = mbconv_config.scale(b0.config, width=width, depth=depth, resolution=resolution)
        assert Network('efficientnet', config).cost(1000).trainable == parameters


def test_phi_zero_is_the_base_network():
    assert scaled_networks.scaled(BASE, Coefficients(1.4, 1.1, 1.1), 0) is BASE
    assert (BASE.label, BASE.options) == ('mbconv_c', {})


def test_a_resolution_of_ones_own_is_scaled_too():
    base = scaled_networks.base('mbconv_c', 32)
    assert scaled_networks.scaled(base, Coefficients(1.2, 1.05, 1.23), 4).config.resolution == 73


@pytest.mark.parametrize(
    ('numbers', 'reason'),
    [
        ((1.2, 1.2, 1.2), 'is 2.488'),
        ((0.9, 1.2, 1.25), 'at least 1'),
        ((math.nan, 1, 1), 'at least 1'),
    ],
)
def test_other_coefficients_are_refused(numbers, reason):
    with pytest.raises(InputError, match=reason):
        scaled_networks.check(Coefficients(*numbers), 0.1)


def test_networks_that_rounding_makes_the_same_are_trained_once():
    # Two units times 1.1 or 1.2 are two.
    one, other, third = (
        scaled_networks.scaled(BASE, Coefficients(*numbers), 1)
        for numbers in [(1.2, 1.1, 1.2), (1.1, 1.1, 1.2), (1.4, 1, 1.2)]
    )
    assert scaled_networks.distinct([one, third, other]) == {other: [one], third: []}


def test_what_has_no_compound_scaling_is_refused_by_name():
    assert registry.scalable() == ['mbconv_a', 'mbconv_b', 'mbconv_c', 'efficientnet']
    for name in ('resnet50', 'keras:MobileNetV2'):
        with pytest.raises(InputError, match=f'--model={name}: it has no compound scaling.*mbconv'):
            scaled_networks.base(name)
