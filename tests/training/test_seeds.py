"""Spreads by hand, and how often the rule claims what is not there."""

import numpy as np
import pytest

from tfnets.training.seeds import Seeds


def seeds(*top1, binomial=0.0):
    return Seeds(dict(enumerate(top1)), binomial)


def test_by_hand():
    found = seeds(0.80, 0.84, 0.85, binomial=0.04)
    assert found.mean == pytest.approx(0.83)
    # sqrt((0.03**2 + 0.01**2 + 0.02**2) / 2)
    assert found.deviation == pytest.approx(0.0264575, abs=1e-7)
    assert found.spread == 0.04
    assert seeds(0.80, 0.84, 0.85, binomial=0.02).spread == found.deviation


def test_one_seed_has_a_binomial_error_alone():
    found = seeds(0.8, binomial=0.01)
    assert found.deviation is None
    assert found.spread == 0.01


@pytest.mark.parametrize(
    ('one', 'other', 'apart'),
    [
        ((0.72, 0.75, 0.78), (0.48, 0.50, 0.52), True),  # deviations 0.03, 0.02
        ((0.72, 0.75, 0.78), (0.69, 0.72, 0.75), False),  # 0.03 by 0.03
        ((0.72, 0.75, 0.78), (0.30, 0.50, 0.82), False),  # deviation 0.26
        ((0.50, 0.50), (0.90, 0.90), False),  # two seeds
    ],
)
def test_apart_is_what_exceeds_both_spreads(one, other, apart):
    assert seeds(*one).told_apart(seeds(*other)) is apart
    assert seeds(*other).told_apart(seeds(*one)) is apart


def test_the_binomial_error_counts():
    assert seeds(0.7, 0.7, 0.7, binomial=0.01).told_apart(seeds(0.8, 0.8, 0.8, binomial=0.09))
    assert not seeds(0.7, 0.7, 0.7, binomial=0.01).told_apart(seeds(0.8, 0.8, 0.8, binomial=0.11))


def test_of_equals_one_pair_in_five_is_told_apart():
    """Which is what reports say; exactly, 1 - 2 / sqrt(7 / 3) + 1 / sqrt(11 / 3) = 0.213."""
    draws = np.random.default_rng(0).normal(size=(2000, 2, 3))
    told = [seeds(*one).told_apart(seeds(*other)) for one, other in draws]
    assert np.mean(told) == pytest.approx(0.213, abs=0.03)
