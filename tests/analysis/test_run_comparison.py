"""Runs side by side, of records written by hand."""

import json
import shutil

import numpy as np
import pytest

from tfnets.analysis import run_comparison
from tfnets.analysis.figures import drawing


def line(phase, split, step, **numbers):
    return {'phase': phase, 'split': split, 'step': step, **numbers}


def training(phase, steps, speed=100.0):
    """Lines of 10 steps each, of 20 steps an epoch."""
    return [
        line(phase, 'train', step, loss=1 / step, epoch=step / 20, learning_rate=0.1)
        | {'images_per_second': speed}
        for step in range(10, steps + 1, 10)
    ]


RECORD = [
    *training('train', 40),
    line('train', 'validation', 20, loss=0.5, top1=0.75),
    line('train', 'validation', 40, loss=0.6, top1=0.5),
    *training('finetune', 20, speed=50.0),
    line('finetune', 'validation', 20, loss=0.4, top1=0.7),
]


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / 'a'
    (path / 'phases' / 'train').mkdir(parents=True)
    flags = {'model': 'mbconv_c', 'phi': '1.0', 'batch_size': '15'}
    facts = {'trainable_parameters': 50252, 'multiply_adds': 3_900_000}
    (path / 'run.json').write_text(json.dumps({'flags': flags, **facts}))
    (path / 'metrics.jsonl').write_text(''.join(json.dumps(row) + '\n' for row in RECORD))
    (path / 'phases' / 'train' / 'result.json').write_text('{"minutes": 3.0}')
    return path


def cells(text):
    return [cell.strip() for cell in text.strip().strip('|').split('|')]


def test_a_run_in_progress(folder):
    record = run_comparison.read(folder)
    # Training says 3 minutes; fine-tuning made 20 steps of 15 images at 50 a second.
    assert [phase.minutes for phase in record.phases] == [3.0, pytest.approx(0.1)]
    row = cells(run_comparison.table([record]).splitlines()[2])
    assert row == [
        *('a (not finished)', 'mbconv_c:phi=1.0', '50,252', '3.9', '3', '3.1'),
        *('finetune', '70.00', '70.00', ''),
    ]
    rows = list(map(cells, run_comparison.phase_table(record).splitlines()[2:]))
    assert rows[0] == ['train', '2', '3.0', '75.00', '50.00', '0.6']
    assert rows[1] == ['finetune (not finished)', '1', '0.1', '70.00', '70.00', '0.4']


@pytest.mark.parametrize('key', ['phase', 'phases'])
def test_a_finished_run_shows_its_network_and_test(folder, key):
    rows = [
        {key: 'finetune', 'top1': 0.1, 'resolution': 64},
        {key: 'train', 'top1': 0.2, 'resolution': 32},
        {key: 'train', 'top1': 0.3, 'resolution': 64},
    ]
    report = {'deployed': 'train', 'results': rows}
    if key == 'phases':  # as of a recipe whose networks are made by several
        rows = [row | {key: ['first', row[key]]} for row in rows]
        report = {'deployed': 'train', 'rows': rows}
    (folder / 'report.json').write_text(json.dumps(report))
    (folder / 'inputs.json').write_text('{"resolution": 64}')
    row = cells(run_comparison.table([run_comparison.read(folder)]).splitlines()[2])
    assert row[0] == 'a'
    assert row[6:] == ['train', '75.00', '50.00', '30.00']


def test_phases_stand_one_after_the_other(folder):
    train, finetune = run_comparison.read(folder).phases
    epochs, values = train.curve('validation', 'top1')
    np.testing.assert_allclose(epochs, [1, 2])
    np.testing.assert_allclose(values, [0.75, 0.5])
    epochs, losses = finetune.curve('train', 'loss')
    np.testing.assert_allclose(epochs, [2.5, 3])
    np.testing.assert_allclose(losses, [1 / 10, 1 / 20])
    assert finetune.curve('train', 'top1')[0].size == 0


def test_many_lines_are_averaged(folder):
    lines = training('train', 10_000)
    (folder / 'metrics.jsonl').write_text(''.join(json.dumps(row) + '\n' for row in lines))
    (phase,) = run_comparison.read(folder).phases
    epochs, losses = phase.curve('train', 'loss')
    assert len(epochs) == 300
    assert losses.mean() == pytest.approx(np.mean([row['loss'] for row in lines]), rel=0.2)
    assert (np.diff(epochs) > 0).all()


def test_runs_of_one_name_are_told_apart(folder, tmp_path):
    other = shutil.copytree(folder, tmp_path / 'within' / 'a')
    third = shutil.copytree(folder, tmp_path / 'b')
    records = [run_comparison.read(path) for path in (folder, other, third)]
    assert run_comparison.names(records) == [str(folder), str(other), 'b']


def test_the_picture_has_all_runs(folder, tmp_path):
    records = [run_comparison.read(folder)] * 2
    with drawing(tmp_path / 'curves.png', (9, 10), panels=3) as panels:
        run_comparison.draw(panels, records)
    assert (tmp_path / 'curves.png').read_bytes().startswith(b'\x89PNG')
