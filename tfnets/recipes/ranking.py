"""Ranks of networks that were trained with several seeds: what is told apart, and what is not.

Networks are ranked by their accuracy on the validation split.
"""

import dataclasses
import math
import statistics

from tfnets.recipes.scaled_networks import Network
from tfnets.training.evaluation import binomial_error
from tfnets.training.seeds import Seeds


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
    def error(self):
        """Standard error of top1."""
        return binomial_error(self.top1, self.examples)


@dataclasses.dataclass(frozen=True)
class Standing:
    """Where a network stands among others that were trained alike.

    Attributes:
        network: Network.
        seeds: Seeds, what its trials came to.
        minutes: of training, mean over the seeds.
        best_rank: 1 + the networks that are better and told apart from it.
        worst_rank: the networks that are not worse and told apart from it.
    """

    network: Network
    seeds: Seeds
    minutes: float
    best_rank: int = 1
    worst_rank: int = 1


def rank(scored):
    """Ranks networks by the mean over their seeds.

    Args:
        scored: dict from a Network to a dict from a seed to its Score; those without are left out.

    Returns:
        List of Standing, the best first; of equals the one that was listed first.
    """
    standings = [_standing(network, scores) for network, scores in scored.items() if scores]
    standings.sort(key=lambda standing: -standing.seeds.mean)
    ranked = []
    for place, standing in enumerate(standings):
        apart = [standing.seeds.told_apart(other.seeds) for other in standings]
        worst = len(standings) - sum(apart[place + 1 :])
        ranks = {'best_rank': 1 + sum(apart[:place]), 'worst_rank': worst}
        ranked.append(dataclasses.replace(standing, **ranks))
    return ranked


def _standing(network, scores):
    seeds = Seeds(
        {seed: score.top1 for seed, score in scores.items()},
        max(score.error for score in scores.values()),
    )
    minutes = statistics.fmean(score.minutes for score in scores.values())
    return Standing(network, seeds, minutes)


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
