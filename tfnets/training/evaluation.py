"""Scoring a network on every example of a split, each counted once."""

import dataclasses
import math

import numpy as np


def binomial_error(share, count):
    """Standard error of a share of right answers, of a binomial draw of so many."""
    return math.sqrt(share * (1 - share) / count)


def count_validations(epochs, every):
    """How many validations a phase of so many epochs has, every so many; its end is one."""
    return math.ceil(epochs / every - 1e-9)


def percent(share, error):
    """A share of right answers and its error, as tables show them."""
    return f'{100 * share:.2f} ± {100 * error:.2f}'


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """How a network did on a split.

    Attributes:
        examples: how many were counted.
        loss: mean loss of the objective; for a classification cross entropy in nats.
        top1: share of right answers; None, as all below, where the objective gives no answers.
        top1_error: standard error of top1, of a binomial draw of that many examples.
        balanced: mean over the classes of their share of right answers.
        top5: share with the right answer among the first five, None for ten classes or fewer.
    """

    examples: int
    loss: float
    top1: float | None = None
    top1_error: float | None = None
    balanced: float | None = None
    top5: float | None = None

    def __str__(self):
        top1 = '' if self.top1 is None else f'top-1 {percent(self.top1, self.top1_error)} %, '
        return f'{top1}loss {self.loss:.4f}'

    def numbers(self):
        """The fields as a dict, without those that are None."""
        return {k: v for k, v in dataclasses.asdict(self).items() if v is not None}


def collect(batches, scores):
    """Puts the scores of every example in the order of the source.

    Args:
        batches: the Batches that were evaluated.
        scores: iterable of dicts of arrays [n]: 'index' (-1 for padding), 'label', 'loss', maybe
            'top1', 'top5' and 'predicted'.

    Returns:
        Dict of arrays [examples], without 'index'.

    Raises:
        RuntimeError: if an example was counted twice or not at all.
    """
    rows = list(scores)
    columns = {name: np.concatenate([np.asarray(row[name]) for row in rows]) for name in rows[0]}
    index = columns.pop('index')
    order = np.argsort(index)[np.count_nonzero(index < 0) :]
    size = len(batches.source)
    if not np.array_equal(index[order], np.arange(size)):
        raise RuntimeError(f'evaluation counted {len(order)} examples of {size}, or one twice')
    return {name: column[order] for name, column in columns.items()}


def summarize(columns):
    """Makes an Evaluation of what `collect` answered."""
    size = len(columns['label'])
    loss = float(columns['loss'].astype(np.float64).mean())
    if 'top1' not in columns:
        return Evaluation(size, loss)
    right = columns['top1'].astype(np.float64)
    labels = columns['label']
    per_class = [right[labels == label].mean() for label in np.unique(labels)]
    top1 = float(right.mean())
    return Evaluation(
        examples=size,
        loss=loss,
        top1=top1,
        top1_error=binomial_error(top1, size),
        balanced=float(np.mean(per_class)),
        top5=float(columns['top5'].mean()) if 'top5' in columns else None,
    )
