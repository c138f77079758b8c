"""Compound scaling: its stages, with a fake training."""

import pytest
from scaled_candidates import BASE, networks

from tfnets.errors import TrialsFailed
from tfnets.recipes import compound_scaling, scaled_networks
from tfnets.recipes.compound_scaling import Plan
from tfnets.recipes.ranking import Score


def plan(**changes):
    candidates = {network: [] for network in networks(4)}
    settings = {
        'bases': [scaled_networks.base(name) for name in ('mbconv_a', 'mbconv_c')],
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
    assert search.best.seeds.mean == pytest.approx(0.901)
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
    of_rung = rung.trials_of(rung.best)
    names = [trial.name for trial in search.trials_of(search.best)]
    assert [trial.name for trial in of_rung] == names
    stages = compound_scaling.search(FakeTraining(), plan(halving=3, finalists=3))
    assert [len(stage.standings) for stage in stages] == [4, 3, 3]


def test_what_fails_is_told_and_does_not_stop_the_others():
    first = 'search.mbconv_c.phi1.a1.4_b1.02_g1.17.seed0'
    (search,) = compound_scaling.search(FakeTraining([first]), plan())
    assert {trial.name: reason for trial, reason in search.failed.items()} == {first: 'exit code 1'}
    assert list(search.best.seeds.top1) == [1, 2]
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
    names = [trial.name for stage, standing in tested for trial in stage.trials_of(standing)]
    # The best base network, the one that is scaled, the best finalist, the scaled network.
    assert names == [
        *(f'compare.mbconv_a.seed{seed}' for seed in (0, 1)),
        *(f'compare.mbconv_c.seed{seed}' for seed in (0, 1)),
        *(f'final.mbconv_c.phi1.a1.4_b1.02_g1.17.seed{seed}' for seed in (0, 1, 2)),
        'scale.mbconv_c.phi4.a1.4_b1.02_g1.17.seed7',
    ]
