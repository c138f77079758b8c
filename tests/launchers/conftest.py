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
    '--train_split=train[:57]',
    '--test_split=test[:57]',
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
        settings = {'timeout': 600, **settings}
        return subprocess.run(command, capture_output=True, text=True, env=environment, **settings)

    return run


@pytest.fixture
def photos(tmp_path):
    """A folder of three splits with six small photos of each of two classes."""
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    for split in ('train', 'validation', 'test'):
        for name in ('a', 'b'):
            folder = tmp_path / 'photos' / split / name
            folder.mkdir(parents=True)
            for number in range(6):
                pixels = rng.integers(0, 256, (40, 50, 3), np.uint8)
                Image.fromarray(pixels).save(folder / f'{number}.jpg')
    return tmp_path / 'photos'
