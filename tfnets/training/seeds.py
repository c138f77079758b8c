"""Networks that were trained alike but for the seed: what they came to, what tells two apart."""

import dataclasses
import statistics

from tfnets.training.evaluation import percent

# With two seeds the deviation itself is little more than chance.
SEEDS_FOR_A_CLAIM = 3

ABOUT_SPREAD = (
    'the spread is the larger of the standard deviation over the seeds and of the standard error '
    "of a binomial draw of so many photos, the networks' largest"
)
ABOUT_CLAIMS = (
    'Two are told apart where the difference of their means exceeds the spread of both, and each '
    f'has at least {SEEDS_FOR_A_CLAIM} seeds. That is no test of significance: with three seeds, '
    'of two that are equal one pair in five would be told apart so by chance.'
)


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

    def told_apart(self, other):
        """Whether the means differ by more than the spread of either; see ABOUT_CLAIMS."""
        if min(len(self.top1), len(other.top1)) < SEEDS_FOR_A_CLAIM:
            return False
        return abs(self.mean - other.mean) > max(self.spread, other.spread)

    def cells(self):
        """What tables show, in percent: mean and spread, what the spread is, each seed."""
        each = ', '.join(f'{seed}: {100 * top1:.2f}' for seed, top1 in self.top1.items())
        kind = 'deviation' if (self.deviation or 0.0) > self.binomial else 'binomial'
        return [percent(self.mean, self.spread), kind, each]

    def numbers(self):
        """The same for a JSON file, as shares."""
        return {
            'mean': self.mean,
            'spread': self.spread,
            'deviation': self.deviation,
            'binomial': self.binomial,
        }


# The headings of `Seeds.cells`.
CELLS = ('top-1 (%)', '± is', 'each seed (%)')
