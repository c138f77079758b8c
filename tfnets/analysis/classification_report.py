"""The report of a network that was trained on labels and tested."""

import dataclasses

from tfnets.analysis import training_curves
from tfnets.analysis.figures import drawing
from tfnets.analysis.markdown import head_lines, save, scores
from tfnets.training.evaluation import percent
from tfnets.training.record import read_metrics


def write_report(run_dir, outcome, plan, head):
    """Writes report.md, report.json and accuracy_by_epoch.png into a run's folder.

    Args:
        run_dir: pathlib.Path.
        outcome: what the recipe returned.
        plan: the recipe's settings.
        head: dict of what the run was: flagfile, model, data, hardware and the like.

    Returns:
        The text of report.md.
    """
    results = [
        {
            'phase': outcome.deployed,
            'split': 'test',
            'resolution': row.resolution,
            **row.evaluation.numbers(),
        }
        for row in outcome.rows
    ]
    with drawing(run_dir / 'accuracy_by_epoch.png') as axes:
        draw_accuracy(axes, read_metrics(run_dir), outcome.deployed)
    text = _markdown(outcome, plan, head, results)
    numbers = {
        'run': head,
        'deployed': outcome.deployed,
        'epochs': outcome.epochs,
        'minutes': outcome.minutes,
        'validation': dataclasses.asdict(outcome.validation),
        'results': results,
    }
    save(run_dir, text, numbers)
    return text


def draw_accuracy(axes, lines, phase):
    """Draws top-1 of the training and the validation split against epochs.

    Args:
        axes: matplotlib.axes.Axes.
        lines: of metrics.jsonl.
        phase: whose.
    """
    for split in ('train', 'validation'):
        points = training_curves.curve(lines, [phase], split, 'top1')
        axes.plot(
            [epoch for epoch, _ in points],
            [100 * top1 for _, top1 in points],
            label=split,
            linewidth=0.8 if split == 'train' else 1.5,
            marker='o' if split == 'validation' else None,
            markersize=3,
        )
    axes.set_xlabel('epochs')
    axes.set_ylabel('top-1 accuracy (%)')
    axes.grid(alpha=0.3)
    axes.legend(fontsize='small')


def _markdown(outcome, plan, head, results):
    validation = outcome.validation
    lines = [f'# {head["model"].split(",")[0]}', '', *head_lines(head), '']
    if results:
        lines += [scores(results, {'tested at (px)': 'resolution'}), '']
    lines += [
        f'{outcome.epochs:.4g} epochs at {plan.resolution} px in {outcome.minutes:.1f} minutes of '
        f'training; on the validation split of {validation.examples} photos top-1 is '
        f'{percent(validation.top1, validation.top1_error)} % at the end. '
        + ('Other accuracies are on the test split; ' if results else '')
        + '± is one standard error of a binomial draw.'
        + ('' if results else ' The test split was not looked at (--notest).'),
        '',
        '![accuracy against epochs](accuracy_by_epoch.png)',
        '',
    ]
    return '\n'.join(lines)
