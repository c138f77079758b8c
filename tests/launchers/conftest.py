"""Launchers are tested as a user starts them: as processes."""

import os
import subprocess
import sys

import pytest

_TINY = [
    '--model=mbconv_c',
    '--resolution=32',
    '--train_preprocessing=decode_area_crop(resolution, 0.2, 0.7) | flip_lr',
    '--eval_preprocessing=resize_short_side(resolution * 72 / 64) | center_crop(resolution)',
    '--train_split=validation',
    '--test_split=validation',
    '--epochs=2',
    '--finetune_epochs=1',
    '--batch_size=16',
    '--resolutions=40',
    '--steps_per_call=2',
]


@pytest.fixture(scope='session')
def tiny():
    """Flags of a FixRes run on 57 photos that takes some seconds."""
    return _TINY


@pytest.fixture(scope='session')
def launch():
    """A function that runs a launcher with flags to its end; answers the finished process."""

    def run(name, *flags, **settings):
        command = [sys.executable, '-m', f'tfnets.launchers.{name}', *flags]
        environment = {**os.environ, 'CUDA_VISIBLE_DEVICES': ''}
        return subprocess.run(
            command, capture_output=True, text=True, timeout=300, env=environment, **settings
        )

    return run
