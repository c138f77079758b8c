"""Curves out of metrics.jsonl: the phases of a network one after the other, its seeds together."""

import dataclasses
import statistics


@dataclasses.dataclass(frozen=True)
class Stretch:
    """Where a phase lies among those that made one network.

    Attributes:
        phase: its name.
        start: epochs before it, over all phases.
        end: epochs up to its end.
    """

    phase: str
    start: float
    end: float


def stretches(lines, phases):
    """Lays phases one after the other.

    Args:
        lines: of a run, as `training.record.read_metrics` answers them.
        phases: names of the phases that made one network, in order.

    Returns:
        List of Stretch; that of a phase without steps has no length.
    """
    lengths = {line['phase']: line['epoch'] for line in lines if line['split'] == 'train'}
    laid, start = [], 0.0
    for phase in phases:
        laid.append(Stretch(phase, start, start + lengths.get(phase, 0.0)))
        start = laid[-1].end
    return laid


def curve(lines, phases, split, name):
    """Follows one number through the phases of a network.

    Args:
        lines: of a run, as `training.record.read_metrics` answers them.
        phases: names of the phases that made one network, in order.
        split: 'train' or 'validation'.
        name: of the number: 'loss', 'top1'.

    Returns:
        List of (epoch over all phases, value); empty where no phase has that number.
    """
    # Lines of an evaluation know their step only; each but that before the first step follows a
    # line of training.
    epochs = {(line['phase'], line['step']): line['epoch'] for line in lines if 'epoch' in line}
    points = []
    for stretch in stretches(lines, phases):
        for line in lines:
            if (line['phase'], line['split']) == (stretch.phase, split) and name in line:
                epoch = epochs[stretch.phase, line['step']] if line['step'] else 0.0
                points.append((stretch.start + epoch, line[name]))
    return points


def mean(curves):
    """The mean of curves, at the epochs that all of them have; where they end apart, of the ends.

    Args:
        curves: list of what `curve` answers, at least one, none empty.

    Returns:
        List of (epoch, value); its last point is the mean of the curves' last ones.
    """
    columns = [dict(points) for points in curves]
    shared = [epoch for epoch in columns[0] if all(epoch in column for column in columns)]
    found = [(epoch, statistics.fmean(column[epoch] for column in columns)) for epoch in shared]
    epochs, values = zip(*(points[-1] for points in curves), strict=True)
    if len({*epochs}) > 1:
        found.append((statistics.fmean(epochs), statistics.fmean(values)))
    return found


def draw_accuracies(axes, curves, title, color):
    """Draws the mean of the accuracies of several seeds and, if there are several, each of them.

    Args:
        axes: matplotlib.axes.Axes; its vertical axis is percent.
        curves: list of what `curve` answers of a share, at least one.
        title: for the legend.
        color: of the lines.
    """
    thin = {'linewidth': 0.6, 'alpha': 0.5, 'marker': '.', 'markersize': 3}
    several = [(points, thin) for points in curves if len(curves) > 1]
    average = (mean(curves), {'label': title, 'marker': 'o', 'markersize': 3})
    for points, style in [*several, average]:
        epochs, shares = [epoch for epoch, _ in points], [100 * share for _, share in points]
        axes.plot(epochs, shares, color=color, **style)
    axes.set_ylabel('top-1 accuracy on the validation split (%)')
    axes.grid(alpha=0.3)
