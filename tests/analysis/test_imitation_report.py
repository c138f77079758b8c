"""The report of Go Wide, Then Narrow: numbers computed by hand, and every kind of run."""

import dataclasses
import json

import pytest
from matplotlib.figure import Figure

from tfnets.analysis import imitation_report
from tfnets.recipes.imitation import Imitated, Outcome, Plan, Row
from tfnets.training.evaluation import Evaluation
from tfnets.training.phase import Course
from tfnets.training.seeds import Seeds

HEAD = {'model': 'thin', 'seed': 0}


def plan(*, imitation=2, distillation=3, finetuning=0, seeds=(0,), baselines=True):
    return Plan(
        resolution=32,
        teacher=Course(4, None, None),
        imitation=Course(imitation, None, None),
        distillation=Course(distillation, None, None),
        finetuning=Course(finetuning, None, None),
        alone=Course(0, None, None),
        seeds=seeds,
        baselines=baselines,
    )


def row(arm, top1, seed=0, phases=(), epochs=1.0, minutes=1.0, error=0.01, top5=None):
    evaluation = Evaluation(100, 1.5, top1, error, balanced=top1 - 0.01, top5=top5)
    return Row(arm, seed, list(phases), epochs, minutes, evaluation)


def outcome_of(settings):
    """What the recipe answers: 50 % alone for the first seed, a point more for each further."""
    stages = (1, 2) if settings.imitation.epochs else ()
    tuning = ['distill', 'finetune'] if settings.finetuning.epochs else ['distill']
    rows, imitated = [row('teacher', 0.9, phases=['teacher'])], []
    for number, seed in enumerate(settings.seeds):
        top1 = 0.5 + number / 100
        phases = [f'{name}.seed{seed}' for name in [*(f'imitate{s}' for s in stages), *tuning]]
        rows.append(row('student', top1 + 0.2, seed, phases, 7, 2))
        imitated += [Imitated(seed, stage, 8.0 / stage, 0.5 / stage) for stage in stages]
        if settings.baselines:
            names = ('alone', 'distilled', 'alone_as_long')
            rows += [row(name, top1, seed, [f'{name}.seed{seed}'], 7, 2) for name in names]
    return Outcome(rows, imitated, bool(stages), rows[1].phases[-1])


def write_metrics(folder, outcome):
    """A line of training and one of validation for each of two epochs of each phase."""
    with open(folder / 'metrics.jsonl', 'w') as file:
        for phase in (phase for row in outcome.rows for phase in row.phases):
            for epoch in (1, 2):
                top1 = {} if phase.startswith('imitate') else {'top1': epoch / 4}
                line = {'phase': phase, 'step': 10 * epoch, 'loss': 2.0 / epoch, **top1}
                file.write(json.dumps({**line, 'split': 'train', 'epoch': epoch}) + '\n')
                file.write(json.dumps({**line, 'split': 'validation'}) + '\n')


@pytest.fixture
def report(tmp_path):
    """A function that writes the report of a plan; answers its text and what is in report.json."""

    def write(settings, without=()):
        outcome = outcome_of(settings)
        write_metrics(tmp_path, outcome)
        path = tmp_path / 'metrics.jsonl'
        kept = [
            line for line in path.read_text().splitlines() if not any(w in line for w in without)
        ]
        path.write_text('\n'.join(kept))
        text = imitation_report.write_report(tmp_path, outcome, settings, HEAD)
        assert (tmp_path / 'report.md').read_text() == text
        for name in ('loss_by_epoch.png', 'accuracy_by_epoch.png'):
            assert (tmp_path / name).read_bytes().startswith(b'\x89PNG')
            assert f']({name})' in text
        return text, json.loads((tmp_path / 'report.json').read_text())

    return write


def cells(text, first):
    """The cells of the line of a table that begins so."""
    (line,) = (line for line in text.splitlines() if line.startswith(f'| {first}'))
    return [cell.strip() for cell in line.strip('|').split('|')]


# ----------------------------------------------------------------------------------- numbers


def test_the_networks_of_an_arm_are_put_together():
    rows = [
        row('teacher', 0.9, seed=4, error=0.03),
        row('alone_as_long', 0.80, 0, epochs=6, minutes=2, error=0.02),
        row('student', 0.7, 0, top5=0.9),
        row('student', 0.7, 1, top5=0.8),
        row('alone_as_long', 0.82, 1, epochs=8, minutes=3, error=0.05),
        row('alone_as_long', 0.87, 2, epochs=10, minutes=7, error=0.04),
    ]
    teacher, student, alone = imitation_report.summarize(rows)
    assert (teacher.name, teacher.seeds) == ('teacher', Seeds({4: 0.9}, 0.03))
    assert (student.name, student.top5, teacher.top5) == ('student', pytest.approx(0.85), None)
    assert alone.seeds == Seeds({0: 0.80, 1: 0.82, 2: 0.87}, 0.05)
    assert (alone.epochs, alone.minutes) == (8, 4)


def arm(name, mean, binomial=0.01, seeds=3):
    """Of seeds whose deviation is 0.02."""
    top1 = {seed: mean + 0.02 * (seed - 1) for seed in range(seeds)}
    return imitation_report.Arm(name, Seeds(top1, binomial), 1.0, 1.0)


@pytest.mark.parametrize(
    ('student', 'alone', 'difference', 'spread', 'told_apart'),
    [
        ((0.75, 0.01), (0.5, 0.01), 0.25, 0.02, True),
        ((0.75, 0.01), (0.5, 0.125), 0.25, 0.125, True),
        ((0.75, 0.26), (0.5, 0.125), 0.25, 0.26, False),
        ((0.5, 0.01), (0.75, 0.01), -0.25, 0.02, True),
    ],
)
def test_the_student_is_set_against_a_baseline(student, alone, difference, spread, told_apart):
    (found,) = imitation_report.compare([arm('student', *student), arm('alone', *alone)])
    assert (found.baseline, found.told_apart) == ('alone', told_apart)
    assert (found.difference, found.spread) == (
        pytest.approx(difference),
        pytest.approx(spread),
    )


def test_two_seeds_allow_no_comparison():
    two = [arm(name, 0.5, seeds=2) for name in ('student', 'alone')]
    assert imitation_report.compare(two) == []


def test_only_what_was_run_is_compared_with():
    arms = [arm(name, 0.5) for name in ('teacher', 'student', 'distilled')]
    assert [one.baseline for one in imitation_report.compare(arms)] == ['distilled']


# ---------------------------------------------------------------------------------- the report


def test_one_seed_has_a_binomial_error_and_no_claim(report):
    text, saved = report(plan())
    assert '- model: thin\n- seed: 0\n' in text
    assert cells(text, 'student') == [
        *('student: imitation, then distillation', '70.00 ± 1.00', 'binomial'),
        *('0: 70.00', '7', '2.0'),
    ]
    assert 'minutes of the teacher are not in those of the student' in text
    assert 'model.keras is the student at the end of distill.seed0.' in text
    assert cells(text, '2 ') == ['2', '4 → 0.25']
    assert 'fewer than 3 seeds' in text
    assert 'no claim is made' in text
    assert 'told apart' not in text
    assert saved['comparisons'] == []


def test_three_seeds_are_compared_with_every_baseline(report):
    text, saved = report(plan(seeds=(0, 1, 5)))
    assert cells(text, 'student')[1:4] == [
        *('71.00 ± 1.00', 'deviation', '0: 70.00, 1: 71.00, 5: 72.00')
    ]
    assert 'at the end of distill.seed0, of all seeds the one that does best' in text
    assert cells(text, 'teacher')[1:3] == ['90.00 ± 1.00', 'binomial']
    assert cells(text, 'stage') == ['stage', 'seed 0', 'seed 1', 'seed 5']
    assert cells(text, '1 ') == ['1', *['8 → 0.5'] * 3]
    for name in ('alone for as many epochs', 'alone for as many minutes', 'distilled without'):
        assert cells(text, name)[1] == '51.00 ± 1.00'
        (claim,) = (
            line for line in text.splitlines() if line.startswith('- student') and name in line
        )
        assert 'above' in claim
        assert claim.endswith('by 20.00 points, spread 1.00 points: told apart')
    assert 'no claim' not in text
    assert [one['baseline'] for one in saved['comparisons']] == [
        *('alone', 'alone_as_long', 'distilled')
    ]


def test_a_student_that_is_worse_is_said_to_be():
    arms = [arm('student', 0.50, 0.03), arm('alone', 0.52, 0.03)]
    (line, *_) = imitation_report._conclusion(arms, imitation_report.compare(arms))
    assert line == (
        '- student below *alone for as many epochs* by 2.00 points, spread 3.00 points: '
        'not told apart'
    )


def test_the_json_holds_all_numbers(report):
    settings = plan()
    _, saved = report(settings)
    assert saved['run'] == HEAD
    assert saved['deployed'] == 'distill.seed0'
    (student,) = (row for row in saved['rows'] if row['arm'] == 'student')
    assert student == {
        'arm': 'student',
        'seed': 0,
        'phases': ['imitate1.seed0', 'imitate2.seed0', 'distill.seed0'],
        'epochs': 7,
        'minutes': 2,
        **Evaluation(100, 1.5, 0.7, 0.01, balanced=0.69).numbers(),
    }
    assert saved['imitated'] == [
        dataclasses.asdict(stage) for stage in outcome_of(settings).imitated
    ]


@pytest.mark.parametrize(
    ('changes', 'without', 'title'),
    [
        ({'baselines': False}, (), 'student: imitation, then distillation'),
        ({'imitation': 0}, (), 'student: distillation'),
        ({'finetuning': 1}, (), 'student: imitation, then distillation, then fine-tuning'),
        ({'distillation': 0}, ('"distill.',), 'student: imitation'),
        ({'distillation': 0, 'baselines': False}, ('"distill.',), 'student: imitation'),
        ({}, ('"teacher"',), 'student: imitation, then distillation'),
        ({'seeds': (3, 4)}, (), 'student: imitation, then distillation'),
    ],
)
def test_every_kind_of_run_has_a_report(report, changes, without, title):
    text, _ = report(plan(**changes), without)
    assert cells(text, 'student')[0] == title
    assert ('## Imitation' in text) == (changes.get('imitation') != 0)
    assert ('No baseline was trained' in text) == (changes.get('baselines') is False)
    assert 'no claim is made' in text


# ---------------------------------------------------------------------------------- pictures


@pytest.fixture
def drawn(tmp_path):
    """A function that draws by another, of axes, lines and an outcome; answers the axes."""

    def draw(settings, drawing):
        outcome = outcome_of(settings)
        write_metrics(tmp_path, outcome)
        axes = Figure().subplots()
        drawing(axes, imitation_report.read_metrics(tmp_path), outcome)
        return axes

    return draw


def test_the_losses_of_the_phases_stand_one_after_the_other(drawn):
    axes = drawn(
        plan(finetuning=1),
        lambda axes, lines, outcome: imitation_report.draw_losses(axes, lines, outcome.rows[1]),
    )
    assert axes.get_yscale() == 'log'
    curves, boundaries = axes.lines[::2], axes.lines[1::2]
    assert [list(curve.get_xdata()) for curve in curves] == [[1, 2], [3, 4], [5, 6], [7, 8]]
    assert all(list(curve.get_ydata()) == [2, 1] for curve in curves)
    assert [line.get_xdata()[0] for line in boundaries] == [0, 2, 4, 6]
    titles = [text.get_text().strip() for text in axes.texts]
    assert titles == ['stage 1', 'stage 2', 'distillation', 'fine-tuning']


def test_accuracies_are_drawn_by_seed_and_as_their_mean(drawn):
    axes = drawn(
        plan(seeds=(0, 1)),
        lambda axes, lines, outcome: imitation_report.draw_accuracies(axes, lines, outcome.rows),
    )
    labelled = {line.get_label(): line for line in axes.lines if line.get_label()[0] != '_'}
    assert list(labelled['student'].get_xdata()) == [5, 6]  # behind two stages of two epochs
    assert list(labelled['student'].get_ydata()) == [25, 50]
    assert list(labelled['alone for as many epochs'].get_xdata()) == [1, 2]
    assert set(labelled['teacher, at its end'].get_ydata()) == {50}
    assert len(axes.lines) == 4 * (1 + 2) + 1
    (imitation,) = axes.patches
    assert (imitation.get_x(), imitation.get_width()) == (0, 4)


def test_without_imitation_nothing_is_shaded(drawn):
    axes = drawn(
        plan(imitation=0, baselines=False),
        lambda axes, lines, outcome: imitation_report.draw_accuracies(axes, lines, outcome.rows),
    )
    assert not axes.patches
    assert [line.get_label() for line in axes.lines] == ['student', 'teacher, at its end']
