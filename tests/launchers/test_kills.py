"""A run that is killed again and again ends as one that is not."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from small_runs import untimed

FLAGS = [
    '--tune=all',
    '--train_preprocessing=decode_area_crop(resolution, 0.2, 0.7) | flip_lr | brightness(0.25) | '
    'saturation(0.5, 1.5)',
    '--epochs=20',
    '--finetune_epochs=4',
    '--evaluate_every=5',
    '--checkpoint_minutes=0',
]


@pytest.fixture
def start(tiny):
    """A function that starts the run in a folder; answers the process."""

    def begin(folder):
        command = [sys.executable, '-m', 'tfnets.launchers.fixres', *tiny, *FLAGS]
        return subprocess.Popen(
            [*command, f'--run_dir={folder}'],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, 'CUDA_VISIBLE_DEVICES': ''},
        )

    return begin


def weights(folder, phase):
    from tfnets.training.checkpoints import load_model

    network = load_model(folder / 'phases' / phase / 'network.keras')
    return [variable.numpy() for variable in network.variables]


def record(folder):
    lines = map(json.loads, (folder / 'metrics.jsonl').read_text().splitlines())
    return [untimed(line) for line in lines]


def progress(folder):
    """When a phase last wrote anything."""
    return max((path.stat().st_mtime_ns for path in folder.glob('phases/*/*')), default=0)


def ended_phases(folder):
    return len(list(folder.glob('phases/*/result.json')))


@pytest.mark.slow
def test_twenty_kills_change_nothing(tmp_path, start):
    undisturbed = tmp_path / 'undisturbed'
    began = time.monotonic()
    assert start(undisturbed).wait() == 0
    whole = time.monotonic() - began

    killed = tmp_path / 'killed'
    rng = random.Random(0)
    stages = set()
    for kill in range(20):
        process = start(killed)
        if kill < 6:  # at any moment of the start
            time.sleep(rng.uniform(0, whole / 4))
        else:  # once it has taken up what there was, and goes on; in each phase
            while process.poll() is None and ended_phases(killed) < kill // 7:
                time.sleep(0.02)
            seen = progress(killed)
            while process.poll() is None and progress(killed) == seen:
                time.sleep(0.02)
            time.sleep(rng.uniform(0, whole / 100))
        assert process.poll() is None, 'the run ended before it could be killed often enough'
        process.send_signal(signal.SIGKILL)
        process.wait()
        stages.add(ended_phases(killed))
    assert start(killed).wait() == 0
    assert len(stages) >= 2, 'all kills fell into one phase'

    for phase in ('train', 'finetune_all', 'control_all'):
        for one, other in zip(weights(undisturbed, phase), weights(killed, phase), strict=True):
            np.testing.assert_array_equal(one, other)
    assert record(killed) == record(undisturbed)
    reports = [json.loads((folder / 'report.json').read_text()) for folder in (undisturbed, killed)]
    for report in reports:
        del report['run']
        for row in report['results'] + report['curves']:
            del row['minutes']
    assert reports[0] == reports[1]


@pytest.mark.slow
def test_sigterm_ends_with_a_code_of_its_own(tmp_path, start):
    process = start(tmp_path / 'run')
    metrics = tmp_path / 'run' / 'metrics.jsonl'
    while not metrics.exists() or not metrics.read_text():
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 75
    assert list((tmp_path / 'run').glob('phases/train/checkpoints/step-*.index'))
