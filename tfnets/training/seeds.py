"""Networks that were trained alike but for the seed: what they came to, what tells two apart."""

import dataclasses
import statistics

# With two seeds the deviation itself is little more than chance.
SEEDS_FOR_A_CLAIM = 3


@dataclasses.dataclass(frozen=True)
class Seeds:
    """Top-1 of networks that were trained alike but for the seed.

    Attributes:
        top1: dict from a seed to the share of right answers.
        binomial: standard error of one network's top1, the largest among them.
    """

    top1: dict[int, float]
    binomial: float

    @property
    def mean(self):
        """Over the seeds."""
        return statistics.fmean(self.top1.values())

    @property
    def deviation(self):
        """Sample standard deviation over the seeds; None with one seed."""
        return statistics.stdev(self.top1.values()) if len(self.top1) > 1 else None

    @property
    def spread(self):
        """The larger of the deviation and the binomial error: what chance alone may change."""
        return max(self.deviation or 0.0, self.binomial)

    def spread_with(self, other):
        """The spread of either, whichever is larger."""
        return max(self.spread, other.spread)

    def told_apart(self, other):
        """Whether the means differ by more than the spread of either, and seeds are enough.

        That is no test of significance: of two that are equal, with three seeds each, one pair in
        five would be told apart so by chance.
        """
        if min(len(self.top1), len(other.top1)) < SEEDS_FOR_A_CLAIM:
            return False
        return abs(self.mean - other.mean) > self.spread_with(other)

    def numbers(self):
        """For a JSON file, as shares of right answers."""
        return {
            'mean': self.mean,
            'spread': self.spread,
            'deviation': self.deviation,
            'binomial': self.binomial,
        }
