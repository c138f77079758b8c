"""Ranks by hand, and where successive halving compares."""

import pytest
from scaled_candidates import networks, scores

from tfnets.recipes import ranking
from tfnets.recipes.ranking import Standing
from tfnets.training.seeds import Seeds


def test_a_standing_by_hand():
    (one,) = networks(1)
    (standing,) = ranking.rank({one: scores(0.80, 0.84, 0.85, examples=100)})
    assert standing.seeds.top1 == {0: 0.80, 1: 0.84, 2: 0.85}
    # sqrt(0.8 * 0.2 / 100), of the largest; a minute each.
    assert standing.seeds.binomial == pytest.approx(0.04)
    assert standing.minutes == 1


def test_ranks_say_what_is_not_told_apart():
    one, two, three, four = networks(4)
    ranked = ranking.rank(
        {
            one: scores(0.79, 0.80, 0.81),
            two: scores(0.89, 0.90, 0.91),
            three: scores(0.885, 0.895, 0.905),
            four: scores(0.885, 0.885, 0.885),
        }
    )
    assert [standing.network for standing in ranked] == [two, three, four, one]
    # Means 0.90, 0.895, 0.885 and 0.80, deviations 0.01 but 0 for 0.885: 0.015 is told apart, 0.01
    # is not.
    ranks = [(standing.best_rank, standing.worst_rank) for standing in ranked]
    assert ranks == [(1, 2), (1, 3), (2, 3), (4, 4)]


def test_two_seeds_tell_nothing_apart():
    one, two = networks(2)
    ranked = ranking.rank({one: scores(0.5, 0.5), two: scores(0.9, 0.9)})
    assert [standing.network for standing in ranked] == [two, one]
    assert [(s.best_rank, s.worst_rank) for s in ranked] == [(1, 2), (1, 2)]


def test_equals_keep_their_order_and_those_without_scores_are_left_out():
    one, two, three = networks(3)
    ranked = ranking.rank({two: scores(0.5, 0.5), three: {}, one: scores(0.5, 0.5)})
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
    assert ranking.rungs(count, validations, factor) == expected


def test_survivors():
    standings = [Standing(network, Seeds({0: 0.5}, 0.1), 1.0) for network in networks(4)]
    assert ranking.survivors(standings, 3) == standings[:2]
    assert ranking.survivors(standings, 4) == standings[:1]
    assert ranking.survivors(standings, 4, least=3) == standings[:3]
