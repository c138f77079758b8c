"""Curves of several phases and seeds out of the lines of a run."""

import pytest

from tfnets.analysis import training_curves
from tfnets.analysis.training_curves import Stretch


def line(phase, split, step, **numbers):
    """A line as the Trainer writes it: four steps an epoch, which evaluations do not say."""
    epoch = {'epoch': step / 4} if split == 'train' else {}
    return {'phase': phase, 'split': split, 'step': step, **numbers, **epoch}


LINES = [
    line('first', 'validation', 0, loss=9.0),
    line('first', 'train', 4, loss=8.0),
    line('first', 'train', 6, loss=7.0),
    line('first', 'validation', 6, loss=7.5),
    line('another', 'train', 40, loss=1.0, top1=0.1),
    line('second', 'train', 4, loss=3.0, top1=0.25),
    line('second', 'validation', 4, loss=3.5, top1=0.5),
    line('second', 'train', 8, loss=2.0, top1=0.75),
    line('second', 'validation', 8, loss=2.5, top1=0.625),
]


def test_phases_lie_one_after_the_other():
    assert training_curves.stretches(LINES, ['first', 'without steps', 'second']) == [
        Stretch('first', 0.0, 1.5),
        Stretch('without steps', 1.5, 1.5),
        Stretch('second', 1.5, 3.5),
    ]


@pytest.mark.parametrize(
    ('split', 'name', 'expected'),
    [
        ('train', 'loss', [(1.0, 8.0), (1.5, 7.0), (2.5, 3.0), (3.5, 2.0)]),
        ('validation', 'loss', [(0.0, 9.0), (1.5, 7.5), (2.5, 3.5), (3.5, 2.5)]),
        ('validation', 'top1', [(2.5, 0.5), (3.5, 0.625)]),
        ('validation', 'top5', []),
    ],
)
def test_a_number_is_followed_through_the_phases(split, name, expected):
    assert training_curves.curve(LINES, ['first', 'second'], split, name) == expected


def test_a_phase_without_lines_has_no_points():
    assert training_curves.curve(LINES, ['without steps'], 'validation', 'top1') == []


def test_the_mean_is_taken_where_all_curves_have_a_value_and_of_their_ends():
    longer = [(1.0, 0.25), (2.0, 0.5), (2.5, 1.0)]
    shorter = [(1.0, 0.75), (2.0, 1.0), (2.25, 0.0)]
    assert training_curves.mean([longer, shorter]) == [
        *[(1.0, 0.5), (2.0, 0.75)],
        (2.375, 0.5),
    ]
    assert training_curves.mean([longer, longer, longer]) == longer
    assert training_curves.mean([longer]) == longer
