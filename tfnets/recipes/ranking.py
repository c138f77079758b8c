"""Ranks of networks that were trained with several seeds: what is told apart, and what is not.

Networks are ranked by their accuracy on the validation split, and told apart only where a
difference exceeds what another seed, or other photos, would change.
"""

import dataclasses
import math
import statistics

from tfnets.recipes.scaled_networks import Network

# One seed alone does not tell what another one would change.
SEEDS_FOR_A_CLAIM = 2


@dataclasses.dataclass(frozen=True)
class Score:
    """What a trial came to on the validation split.

    Attributes:
        top1: share of right answers, the mean of the last validations.
        examples: photos of the split.
        minutes: of training.
    """

    top1: float
    examples: int
    minutes: float

    @property
    def binomial(self):
        """Standard error of top1, of a binomial draw of so many photos."""
        return math.sqrt(self.top1 * (1 - self.top1) / self.examples)


@dataclasses.dataclass(frozen=True)
class Standing:
    """Where a network stands among others that were trained alike.

    Attributes:
        network: Network.
        scores: dict from a seed to its Score.
        mean: of top1 over the seeds.
        deviation: sample standard deviation over the seeds; None with one seed.
        binomial: standard error of one network's top1, the largest among them.
        best_rank: 1 + the networks that are better and told apart from it.
        worst_rank: the networks that are not worse and told apart from it.
    """

    network: Network
    scores: dict[int, Score]
    mean: float
    deviation: float | None
    binomial: float
    best_rank: int = 1
    worst_rank: int = 1

    @property
    def spread(self):
        """The larger of the deviation and the binomial error: what chance alone may change."""
        return max(self.deviation or 0.0, self.binomial)

    @property
    def minutes(self):
        """Of training, mean over the seeds."""
        return statistics.fmean(score.minutes for score in self.scores.values())


def told_apart(one, other):
    """Whether two networks differ by more than the spread of either.

    Args:
        one: Standing.
        other: Standing.

    Returns:
        bool; always False where one of them has fewer seeds than a claim needs.
    """
    if min(len(one.scores), len(other.scores)) < SEEDS_FOR_A_CLAIM:
        return False
    return abs(one.mean - other.mean) > max(one.spread, other.spread)


def rank(scored):
    """Ranks networks by the mean over their seeds.

    Args:
        scored: dict from a Network to a dict from a seed to its Score; those without are left out.

    Returns:
        List of Standing, the best first; of equals the one that was listed first.
    """
    standings = [_standing(network, scores) for network, scores in scored.items() if scores]
    standings.sort(key=lambda standing: -standing.mean)
    ranked = []
    for place, standing in enumerate(standings):
        better = sum(told_apart(standing, other) for other in standings[:place])
        worse = sum(told_apart(standing, other) for other in standings[place + 1 :])
        ranks = {'best_rank': 1 + better, 'worst_rank': len(standings) - worse}
        ranked.append(dataclasses.replace(standing, **ranks))
    return ranked


def _standing(network, scores):
    top1 = [score.top1 for score in scores.values()]
    return Standing(
        network,
        scores,
        mean=statistics.fmean(top1),
        deviation=statistics.stdev(top1) if len(top1) > 1 else None,
        binomial=max(score.binomial for score in scores.values()),
    )


# ---------------------------------------------------------------------------------- halving


def rungs(count, validations, factor):
    """Where successive halving compares candidates (Jamieson & Talwalkar 2016).

    Args:
        count: candidates at the beginning.
        validations: of a trial that is trained to its end.
        factor: one candidate in so many goes on behind each rung, which is so many times as long as
            the rung before; at least 2.

    Returns:
        List of int, validations behind which candidates are compared; the end is not among them.
    """
    found, left = [], count
    for power in range(int(math.log(count, factor) + 1e-9), 0, -1):
        rung = math.ceil(validations / factor**power)
        if rung < validations and left > 1 and rung not in found:
            found.append(rung)
            left = math.ceil(left / factor)
    return found


def survivors(standings, factor, least=1):
    """Those that go on behind a rung: one in `factor`, the best, and not fewer than `least`."""
    return standings[: max(math.ceil(len(standings) / factor), least)]
