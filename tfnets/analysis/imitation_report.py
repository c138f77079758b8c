"""The report of Go Wide, Then Narrow: what the wide teacher gave its thin student."""

import dataclasses
import statistics

from matplotlib.ticker import LogLocator, NullFormatter

from tfnets.analysis import training_curves
from tfnets.analysis.figures import drawing
from tfnets.analysis.markdown import (
    ABOUT_CLAIMS,
    ABOUT_SPREAD,
    SEED_CELLS,
    head_lines,
    save,
    seed_cells,
    table,
)
from tfnets.training.record import read_metrics
from tfnets.training.seeds import SEEDS_FOR_A_CLAIM, Seeds

_BASELINES = {
    'alone': 'alone for as many epochs',
    'alone_as_long': 'alone for as many minutes',
    'distilled': 'distilled without imitation for as many epochs',
}
_TITLES = {'teacher': 'teacher', 'student': 'student', **_BASELINES}
_LOSSES = {
    'mse': 'mean squared error',
    'kl': 'divergence of the softmax over channels, in nats',
}


@dataclasses.dataclass(frozen=True)
class Arm:
    """What the networks of one arm came to.

    Attributes:
        name: as in the recipe's rows.
        seeds: Seeds, on the test split.
        epochs: mean over the seeds.
        minutes: mean over the seeds.
        top5: mean share with the right answer among the first five; None for ten classes or fewer.
    """

    name: str
    seeds: Seeds
    epochs: float
    minutes: float
    top5: float | None = None


@dataclasses.dataclass(frozen=True)
class Comparison:
    """The student against a baseline.

    Attributes:
        baseline: name of its arm.
        difference: of the means of top1, above 0 where the student is better.
        spread: the larger of both arms'.
        told_apart: whether the difference exceeds the spread.
    """

    baseline: str
    difference: float
    spread: float
    told_apart: bool


def write_report(folder, outcome, plan, head):
    """Writes report.md, report.json, loss_by_epoch.png and accuracy_by_epoch.png.

    Args:
        folder: pathlib.Path of the run, with its metrics.jsonl.
        outcome: what the recipe returned: rows, imitated, deployed.
        plan: the recipe's settings.
        head: dict of what the run was: flagfile, model, data, hardware and the like.

    Returns:
        The text of report.md.
    """
    lines = read_metrics(folder)
    with drawing(folder / 'loss_by_epoch.png') as axes:
        draw_losses(axes, lines, _first(outcome.rows, 'student'))
    with drawing(folder / 'accuracy_by_epoch.png') as axes:
        draw_accuracies(axes, lines, outcome.rows)
    arms = summarize(outcome.rows)
    comparisons = compare(arms)
    text = _markdown(outcome, plan, head, arms, comparisons)
    numbers = {
        'run': head,
        'deployed': outcome.deployed,
        'rows': [_row_numbers(row) for row in outcome.rows],
        'arms': [_arm_numbers(arm) for arm in arms],
        'comparisons': [dataclasses.asdict(comparison) for comparison in comparisons],
        'imitated': [dataclasses.asdict(stage) for stage in outcome.imitated],
        'copied_classifier': outcome.copied_classifier,
    }
    save(folder, text, numbers)
    return text


# ----------------------------------------------------------------------------------- numbers


def summarize(rows):
    """Puts the networks of each arm together.

    Args:
        rows: the recipe's, of one seed or several.

    Returns:
        List of Arm: the teacher, the student, and the baselines that were run.
    """
    return [
        _summary(name, own) for name in _TITLES if (own := [row for row in rows if row.arm == name])
    ]


def _summary(name, rows):
    top5 = [row.evaluation.top5 for row in rows]
    return Arm(
        name,
        Seeds(
            {row.seed: row.evaluation.top1 for row in rows},
            max(row.evaluation.top1_error for row in rows),
        ),
        epochs=statistics.fmean(row.epochs for row in rows),
        minutes=statistics.fmean(row.minutes for row in rows),
        top5=None if None in top5 else statistics.fmean(top5),
    )


def compare(arms):
    """Sets the student against each baseline that was run.

    Args:
        arms: list of Arm.

    Returns:
        List of Comparison; empty with fewer than three seeds, which allow no claim.
    """
    named = {arm.name: arm for arm in arms}
    student = named['student']
    if len(student.seeds.top1) < SEEDS_FOR_A_CLAIM:
        return []
    return [_against(student, named[name]) for name in _BASELINES if name in named]


def _against(student, other):
    return Comparison(
        other.name,
        difference=student.seeds.mean - other.seeds.mean,
        spread=student.seeds.spread_with(other.seeds),
        told_apart=student.seeds.told_apart(other.seeds),
    )


def _row_numbers(row):
    return {
        'arm': row.arm,
        'seed': row.seed,
        'phases': row.phases,
        'epochs': row.epochs,
        'minutes': round(row.minutes, 2),
        **row.evaluation.numbers(),
    }


def _arm_numbers(arm):
    return {**dataclasses.asdict(arm), 'seeds': arm.seeds.top1, **arm.seeds.numbers()}


# ---------------------------------------------------------------------------------- pictures


def draw_losses(axes, lines, row):
    """Draws a student's training loss; each phase has a loss of its own, so the line breaks.

    Args:
        axes: matplotlib.axes.Axes.
        lines: of metrics.jsonl.
        row: the recipe's, of that student.
    """
    phases = row.phases
    axes.set_yscale('log')
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    points = training_curves.curve(lines, phases, 'train', 'loss')
    for stretch in training_curves.stretches(lines, phases):
        if stretch.start == stretch.end:
            continue
        own = [point for point in points if stretch.start < point[0] <= stretch.end]
        marker = '.' if len(own) == 1 else ''  # a line of one point is not seen
        axes.plot(*zip(*own, strict=True), color='C0', linewidth=1, marker=marker)
        axes.axvline(stretch.start, color='grey', linewidth=0.8, linestyle=':')
        axes.text(
            stretch.start,
            1.01,
            _phase_title(stretch.phase),
            transform=axes.get_xaxis_transform(),
            rotation=45,
            fontsize='small',
        )
    axes.set_xlabel(f'training epochs of the student, seed {row.seed}')
    axes.set_ylabel("training loss, each phase's own")
    axes.yaxis.set_major_formatter('{x:g}')
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.grid(alpha=0.3)


def draw_accuracies(axes, lines, rows):
    """Draws top-1 on the validation split against training epochs, all seeds and their mean.

    The epochs of a student's imitation are shaded: it gives no answers in them.

    Args:
        axes: matplotlib.axes.Axes.
        lines: of metrics.jsonl.
        rows: the recipe's.
    """
    colors = {arm: f'C{number}' for number, arm in enumerate(('student', *_BASELINES))}
    for arm, color in colors.items():
        curves = [_accuracy(lines, row) for row in rows if row.arm == arm]
        if curves and all(curves):
            training_curves.draw_accuracies(axes, curves, _TITLES[arm], color)
    teacher = _accuracy(lines, _first(rows, 'teacher'))
    if teacher:
        end = 100 * teacher[-1][1]
        axes.axhline(end, color='grey', linestyle=':', label='teacher, at its end')
    imitation = _end_of_imitation(lines, _first(rows, 'student').phases)
    if imitation:
        axes.axvspan(0, imitation, color=colors['student'], alpha=0.12, label="student's imitation")
    axes.set_xlabel('training epochs, over all phases of a network')
    axes.figure.legend(loc='outside lower center', ncols=2, fontsize='small')


def _first(rows, arm):
    return next(row for row in rows if row.arm == arm)


def _accuracy(lines, row):
    return training_curves.curve(lines, row.phases, 'validation', 'top1')


def _end_of_imitation(lines, phases):
    imitation = [phase for phase in phases if phase.startswith('imitate')]
    return training_curves.stretches(lines, imitation)[-1].end if imitation else 0.0


def _phase_title(phase):
    kind = phase.partition('.')[0]
    if kind.startswith('imitate'):
        return f'stage {kind.removeprefix("imitate")}'
    return {'distill': 'distillation', 'finetune': 'fine-tuning'}[kind]


# -------------------------------------------------------------------------------------- text


def _markdown(outcome, plan, head, arms, comparisons):
    examples = outcome.rows[0].evaluation.examples
    which = ', of all seeds the one that does best on validation' if len(plan.seeds) > 1 else ''
    lines = ['# Go Wide, Then Narrow', '', *head_lines(head), '', _table_of_arms(arms, plan), '']
    lines += [
        f'Accuracies are on the test split of {examples} photos. {ABOUT_SPREAD} '
        'Epochs and minutes are those of all phases together, means over the seeds. The minutes of '
        'the teacher are not in those of the student, nor of the distilled network. '
        f'model.keras is the student at the end of {outcome.deployed}{which}.',
        '',
    ]
    if outcome.imitated:
        lines += [
            '## Imitation',
            '',
            f'Loss on the validation split ({_LOSSES[plan.imitation_loss]}), before and after:',
            '',
            _table_of_stages(outcome.imitated),
            '',
            "After it the student took over the teacher's classifier."
            if outcome.copied_classifier
            else "The student's classifier was not copied from the teacher.",
            '',
        ]
    lines += ['## Conclusion', '', *_conclusion(arms, comparisons), '']
    lines += [
        '![training loss of the student](loss_by_epoch.png)',
        '',
        '![accuracy against training epochs](accuracy_by_epoch.png)',
        '',
    ]
    return '\n'.join(lines)


def _table_of_arms(arms, plan):
    top5 = all(arm.top5 is not None for arm in arms)
    rows = [['network', *SEED_CELLS, *['top-5 (%)'] * top5, 'epochs', 'minutes']]
    for arm in arms:
        rows.append(
            [
                _student_title(plan) if arm.name == 'student' else _TITLES[arm.name],
                *seed_cells(arm.seeds),
                *([f'{100 * arm.top5:.2f}'] if top5 else []),
                f'{arm.epochs:.4g}',
                f'{arm.minutes:.1f}',
            ]
        )
    return table(rows)


def _student_title(plan):
    courses = {
        'imitation': plan.imitation,
        'distillation': plan.distillation,
        'fine-tuning': plan.finetuning,
    }
    done = [name for name, course in courses.items() if course.epochs]
    return f'student: {", then ".join(done)}'


def _table_of_stages(imitated):
    losses = {(one.stage, one.seed): f'{one.before:.4g} → {one.after:.4g}' for one in imitated}
    stages, seeds = ({key[place]: None for key in losses} for place in (0, 1))
    rows = [['stage', *(f'seed {seed}' for seed in seeds)]]
    rows += [[str(stage), *(losses[stage, seed] for seed in seeds)] for stage in stages]
    return table(rows)


def _conclusion(arms, comparisons):
    if not any(arm.name in _BASELINES for arm in arms):
        return ['No baseline was trained (--baseline), so that no claim is made.']
    if not comparisons:
        return [
            f'There are fewer than {SEEDS_FOR_A_CLAIM} seeds (--student_seeds), so that no claim '
            'is made.'
        ]
    lines = [
        f'- student {"below" if one.difference < 0 else "above"} *{_TITLES[one.baseline]}* by '
        f'{100 * abs(one.difference):.2f} points, spread {100 * one.spread:.2f} points: '
        f'{"told apart" if one.told_apart else "not told apart"}'
        for one in comparisons
    ]
    teacher = 'All seeds have the same teacher: what another one would change is not in it.'
    return [*lines, '', f'{ABOUT_CLAIMS} {teacher}']
