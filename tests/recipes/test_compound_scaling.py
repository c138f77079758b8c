"""Compound scaling: candidates and the constraint, ranks by hand, stages with a fake training."""

import dataclasses
import itertools
import math
from fractions import Fraction

import pytest

from tfnets.errors import InputError, TrialsFailed
from tfnets.models import mbconv_config, registry
from tfnets.recipes import compound_scaling
from tfnets.recipes.compound_scaling import Coefficients, Network, Plan, Score, Standing

BASE = compound_scaling.base('mbconv_c')
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


# ------------------------------------------------------------------------------- candidates


@pytest.mark.parametrize(('step', 'tolerance'), [(0.1, 0.1), (0.05, 0.02), (0.25, 0.3)])
def test_a_grid_is_complete_without_repeats_and_close_to_two(step, tolerance):
    exact, close = Fraction(str(step)), Fraction(str(tolerance))
    values = [1 + number * exact for number in range(math.ceil(2 / exact))]
    expected = {
        tuple(map(float, triple))
        for triple in itertools.product(values, repeat=3)
        if abs(triple[0] * triple[1] ** 2 * triple[2] ** 2 - 2) <= close
    }
    found = compound_scaling.grid(step, tolerance)
    assert len(found) == len(set(found)) == len(expected)
    assert {dataclasses.astuple(one) for one in found} == expected
    for one in found:
        compound_scaling.check(one, tolerance)


def test_a_grid_of_none_or_too_many_is_refused():
    with pytest.raises(InputError, match='has 0 candidates'):
        compound_scaling.grid(0.9, 0.01)
    with pytest.raises(InputError, match='expected 1 to 1000'):
        compound_scaling.grid(0.01, 0.5)


@pytest.mark.parametrize(('numbers', 'phi', 'parameters'), [*SIX, PHI_FOUR])
def test_the_experiments_of_the_project(numbers, phi, parameters):
    coefficients = Coefficients(*numbers)
    compound_scaling.check(coefficients, 0.01)
    assert compound_scaling.scaled(BASE, coefficients, phi).cost(2).trainable == parameters


def test_efficientnets_coefficients_are_close_to_two_and_b1_to_b7_follow_from_their_factors():
    compound_scaling.check(Coefficients(1.2, 1.1, 1.15), 0.1)
    b0 = compound_scaling.base('efficientnet')
    # phi = 1 rounds to the channels and units of B2.
    scaled = compound_scaling.scaled(b0, Coefficients(1.2, 1.1, 1.15), 1)
    assert scaled.cost(1000).trainable == 9_109_994
    published = [7_794_184, 9_109_994, 12_233_232, 19_341_616, 30_389_784, 43_040_704, 66_347_960]
    for number, parameters in enumerate(published, 1):
        width, depth, resolution, _ = mbconv_config.VARIANTS[f'b{number}']
        config = mbconv_config.scale(b0.config, width=width, depth=depth, resolution=resolution)
        assert Network('efficientnet', config).cost(1000).trainable == parameters


def test_phi_zero_is_the_base_network():
    assert compound_scaling.scaled(BASE, Coefficients(1.4, 1.1, 1.1), 0) is BASE
    assert (BASE.label, BASE.options) == ('mbconv_c', {})


def test_a_resolution_of_ones_own_is_scaled_too():
    base = compound_scaling.base('mbconv_c', 32)
    assert compound_scaling.scaled(base, Coefficients(1.2, 1.05, 1.23), 4).config.resolution == 73


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
        compound_scaling.check(Coefficients(*numbers), 0.1)


def test_networks_that_rounding_makes_the_same_are_trained_once():
    # Two units times 1.1 or 1.2 are two.
    one, other, third = (
        compound_scaling.scaled(BASE, Coefficients(*numbers), 1)
        for numbers in [(1.2, 1.1, 1.2), (1.1, 1.1, 1.2), (1.4, 1, 1.2)]
    )
    assert compound_scaling.distinct([one, third, other]) == {other: [one], third: []}


def test_what_has_no_compound_scaling_is_refused_by_name():
    assert registry.scalable() == ['mbconv_a', 'mbconv_b', 'mbconv_c', 'efficientnet']
    for name in ('resnet50', 'keras:MobileNetV2'):
        with pytest.raises(InputError, match=f'--model={name}: it has no compound scaling.*mbconv'):
            compound_scaling.base(name)


# ---------------------------------------------------------------------------------- ranking


def networks(count):
    numbers = [(1.2, 1.05, 1.23), (1.2, 1.23, 1.05), (1.4, 1.02, 1.17), (1.4, 1.05, 1.14)]
    return [compound_scaling.scaled(BASE, Coefficients(*numbers), 1) for numbers in numbers[:count]]


def scores(*top1, examples=10_000):
    return {seed: Score(value, examples, 1.0) for seed, value in enumerate(top1)}


def test_a_standing_by_hand():
    (one,) = networks(1)
    (standing,) = compound_scaling.rank({one: scores(0.80, 0.84, 0.85, examples=100)})
    assert standing.mean == pytest.approx(0.83)
    # sqrt((0.03**2 + 0.01**2 + 0.02**2) / 2); sqrt(0.8 * 0.2 / 100)
    assert standing.deviation == pytest.approx(0.0264575, abs=1e-7)
    assert standing.binomial == pytest.approx(0.04)
    assert standing.spread == standing.binomial
    (standing,) = compound_scaling.rank({one: scores(0.80, 0.84, 0.85, examples=10_000)})
    assert standing.spread == standing.deviation


def test_ranks_say_what_is_not_told_apart():
    one, two, three, four = networks(4)
    ranked = compound_scaling.rank(
        {
            one: scores(0.79, 0.81),
            two: scores(0.89, 0.91),
            three: scores(0.88, 0.90),
            four: scores(0.875, 0.885),
        }
    )
    assert [standing.network for standing in ranked] == [two, three, four, one]
    # Means 0.90, 0.89, 0.88 and 0.80, spreads 0.0141 but 0.0071 for 0.88: 0.02 is told apart, 0.01
    # is not.
    ranks = [(standing.best_rank, standing.worst_rank) for standing in ranked]
    assert ranks == [(1, 2), (1, 3), (2, 3), (4, 4)]


def test_one_seed_tells_nothing_apart():
    one, two = networks(2)
    ranked = compound_scaling.rank({one: scores(0.5), two: scores(0.9)})
    assert [standing.network for standing in ranked] == [two, one]
    assert [(s.best_rank, s.worst_rank) for s in ranked] == [(1, 2), (1, 2)]
    assert ranked[0].deviation is None


def test_equals_keep_their_order_and_those_without_scores_are_left_out():
    one, two, three = networks(3)
    ranked = compound_scaling.rank({two: scores(0.5, 0.5), three: {}, one: scores(0.5, 0.5)})
    assert [standing.network for standing in ranked] == [two, one]


# ---------------------------------------------------------------------------------- halving


@pytest.mark.parametrize(
    ('count', 'validations', 'factor', 'expected'),
    [
        (9, 9, 3, [1, 3]),
        (27, 27, 3, [1, 3, 9]),
        (6, 8, 3, [3]),
        (8, 20, 2, [3, 5, 10]),
        (2, 8, 3, []),
        (9, 1, 3, []),
    ],
)
def test_rungs(count, validations, factor, expected):
    assert compound_scaling.rungs(count, validations, factor) == expected


def test_survivors():
    standings = [Standing(network, {}, 0.0, None, 0.0) for network in networks(4)]
    assert compound_scaling.survivors(standings, 3) == standings[:2]
    assert compound_scaling.survivors(standings, 4) == standings[:1]
    assert compound_scaling.survivors(standings, 4, least=3) == standings[:3]


# ----------------------------------------------------------------------------------- stages


def plan(**changes):
    candidates = {network: [] for network in networks(4)}
    settings = {
        'bases': [compound_scaling.base(name) for name in ('mbconv_a', 'mbconv_c')],
        'base': BASE,
        'candidates': candidates,
        'phi': 4.0,
        'coefficients': None,
        'compare_epochs': 10.0,
        'search_epochs': 4.0,
        'final_epochs': 8.0,
        'scale_epochs': 6.0,
        'compare_seeds': (0, 1),
        'search_seeds': (0, 1, 2),
        'scale_seeds': (7,),
        'validations': 4,
    }
    return Plan(**{**settings, **changes})


class FakeTraining:
    """Trains nothing: the third candidate is the best, the first fails where it is told to."""

    def __init__(self, fails=()):
        self.asked, self._fails = [], fails

    def __call__(self, trials, rung):
        self.asked.append(([trial.name for trial in trials], rung))
        order = networks(4)
        failed = {trial: 'exit code 1' for trial in trials if trial.name in self._fails}
        scored = {}
        for trial in trials:
            if trial not in failed:
                at = order.index(trial.network) if trial.network in order else 0
                top1 = [0.5, 0.6, 0.9, 0.7][at] + 0.001 * trial.seed
                scored[trial] = Score(top1, 10_000, 2.0)
        return scored, failed


def test_all_candidates_with_one_seed_then_with_the_next():
    names = [trial.name for trial in compound_scaling.candidate_trials(plan())]
    assert len(set(names)) == len(names) == 12
    assert names[0] == 'search.mbconv_c.phi1.a1.2_b1.05_g1.23.seed0'
    assert [name[-1] for name in names] == list('000011112222')


def test_a_search_with_finals():
    train = FakeTraining()
    search, final = compound_scaling.search(train, plan(finalists=2))
    third, fourth = networks(4)[2:]
    assert [standing.network for standing in search.standings][:2] == [third, fourth]
    assert search.best.mean == pytest.approx(0.901)
    assert [standing.network for standing in final.standings] == [third, fourth]
    assert (search.epochs, final.epochs) == (4, 8)
    assert len(train.asked[1][0]) == 6
    assert compound_scaling.winner([search, final]) == third.coefficients


def test_a_search_by_halving_trains_only_the_best_to_the_end():
    train = FakeTraining()
    rung, search = compound_scaling.search(train, plan(halving=3))
    assert (rung.name, rung.epochs, len(rung.standings)) == ('rung', 2, 4)
    assert [(len(names), at) for names, at in train.asked] == [(12, 2), (6, 0)]
    assert {standing.network for standing in search.standings} == set(networks(4)[2:])
    # What is compared on the way are the search's own trials.
    of_rung = compound_scaling.trials_of(rung, rung.best)
    names = [trial.name for trial in compound_scaling.trials_of(search, search.best)]
    assert [trial.name for trial in of_rung] == names
    stages = compound_scaling.search(FakeTraining(), plan(halving=3, finalists=3))
    assert [len(stage.standings) for stage in stages] == [4, 3, 3]


def test_what_fails_is_told_and_does_not_stop_the_others():
    first = 'search.mbconv_c.phi1.a1.4_b1.02_g1.17.seed0'
    (search,) = compound_scaling.search(FakeTraining([first]), plan())
    assert {trial.name: reason for trial, reason in search.failed.items()} == {first: 'exit code 1'}
    assert list(search.best.scores) == [1, 2]
    every = [trial.name for trial in compound_scaling.compare_trials(plan())]
    with pytest.raises(TrialsFailed, match='compare: all 4 trials failed: exit code 1'):
        compound_scaling.compare(FakeTraining(every), plan())


def test_the_scaled_network_and_what_is_tested():
    settings, train = plan(finalists=1), FakeTraining()
    found = compound_scaling.search(train, settings)
    stages = {
        'compare': compound_scaling.compare(train, settings),
        'search': found,
        'scale': compound_scaling.scale(train, settings, compound_scaling.winner(found)),
    }
    (scaled,) = stages['scale'][0].standings
    assert (scaled.network.phi, scaled.network.config.resolution) == (4, round(64 * 1.17**4))
    tested = compound_scaling.tested(stages, settings)
    names = [
        trial.name
        for stage, standing in tested
        for trial in compound_scaling.trials_of(stage, standing)
    ]
    # The best base network, the one that is scaled, the best finalist, the scaled network.
    assert names == [
        *(f'compare.mbconv_a.seed{seed}' for seed in (0, 1)),
        *(f'compare.mbconv_c.seed{seed}' for seed in (0, 1)),
        *(f'final.mbconv_c.phi1.a1.4_b1.02_g1.17.seed{seed}' for seed in (0, 1, 2)),
        'scale.mbconv_c.phi4.a1.4_b1.02_g1.17.seed7',
    ]
