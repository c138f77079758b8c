"""python -m tfnets.launchers.prepare: whole, killed and gone on with, and what it refuses."""

import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from tfnets.data import sources

FLAGS = ['--test_split=0.25', '--short_side=64', '--shard_images=12']


@pytest.fixture(scope='module')
def caltech(tmp_path_factory):
    """A folder as Caltech's: two classes of 60 photos, clutter, and a damaged file."""
    root = tmp_path_factory.mktemp('input') / '256_ObjectCategories'
    rng = np.random.default_rng(0)
    for folder, count in (('001.ak47', 60), ('002.american-flag', 60), ('257.clutter', 2)):
        (root / folder).mkdir(parents=True)
        for number in range(count):
            pixels = rng.integers(0, 256, (150, 200, 3), np.uint8)
            Image.fromarray(pixels).save(root / folder / f'{folder[:3]}_{number:04d}.jpg')
    (root / '001.ak47' / '001_9999.jpg').write_bytes(b'no photo')
    return root


def contents(output):
    return {path.name: path.read_bytes() for path in output.glob('*/1.0.0/*')}


@pytest.fixture(scope='module')
def finished(caltech, launch, tmp_path_factory):
    output = tmp_path_factory.mktemp('prepared')
    done = launch('prepare', f'--input_dir={caltech}', f'--output_dir={output}', *FLAGS)
    assert done.returncode == 0, done.stderr
    return output, done


def test_a_whole_run(finished, launch, tiny, tmp_path):
    output, done = finished
    assert '257.clutter: left out, 2 files; --keep_clutter keeps it' in done.stdout
    assert 'damaged and left out, see damaged.txt: 1 (001.ak47/001_9999.jpg (no JPEG' in done.stdout
    counts = re.search('2 classes; train (.*), validation (.*), test (.*)', done.stdout).groups()
    counts = list(map(int, counts))
    assert sum(counts) == 120
    # A quarter and a fifth of 60 and of 61 files, one of which is damaged.
    assert np.abs(np.subtract(counts, [66, 24, 30])).max() <= 1
    assert 'training pixels, R/G/B from 0 to 255: mean 12' in done.stdout
    assert done.stdout.splitlines()[-1] == (
        f'read it by --dataset=object_categories_256 --data_dir={output}'
    )
    train = sources.load('object_categories_256', 'train', output)
    assert train.class_names == ('ak47', 'american-flag')
    assert len(train) == counts[0]
    flags = [flag for flag in tiny if '_split' not in flag]
    named = ['--dataset=object_categories_256', f'--data_dir={output}', '--dry_run']
    planned = launch('fixres', *flags, *named, f'--run_dir={tmp_path / "run"}')
    assert planned.returncode == 0, planned.stderr


def test_a_finished_one_says_so_and_keeps_to_its_flags(finished, caltech, launch):
    output, first = finished
    before = contents(output)
    command = [f'--input_dir={caltech}', f'--output_dir={output}', *FLAGS]
    again = launch('prepare', *command, '--workers=1')
    assert again.returncode == 0
    assert 'prepared already' in again.stdout
    assert again.stdout.splitlines()[-4:] == first.stdout.splitlines()[-4:]
    refused = launch('prepare', *command, '--short_side=32', '--seed=5')
    assert refused.returncode == 2
    assert '--seed was 0, is 5; --short_side was 64, is 32; name another' in refused.stderr
    assert refused.stderr.count('\n') == 1
    assert contents(output) == before


@pytest.mark.slow
def test_kills_change_nothing(finished, caltech, launch, tmp_path):
    command = [f'--input_dir={caltech}', f'--output_dir={tmp_path}', *FLAGS]
    files = 0
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, '-m', 'tfnets.launchers.prepare', *command, '--workers=1'],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, 'CUDA_VISIBLE_DEVICES': ''},
        )
        while process.poll() is None and len(list(tmp_path.glob('*/1.0.0/*.tfrecord*'))) <= files:
            time.sleep(0.001)
        assert process.poll() is None, 'it ended before it could be killed'
        process.send_signal(signal.SIGKILL)
        process.wait()
        files = len(list(tmp_path.glob('*/1.0.0/*.tfrecord*')))
    assert files >= 3
    assert not list(tmp_path.glob('*/1.0.0/*.json'))
    done = launch('prepare', *command)
    assert done.returncode == 0, done.stderr
    assert 'images are there from before' in done.stderr
    assert contents(tmp_path) == contents(finished[0])


@pytest.mark.parametrize(
    ('flags', 'text'),
    [
        ('--output_dir={0}/out', '--input_dir: expected a folder'),
        ('--input_dir={0}', '--output_dir: expected a folder'),
        ('--input_dir={0}/none --output_dir={0}/out', 'none: there is no such folder'),
        ('--input_dir={0}/photos --output_dir={0}/photos', 'it lies in --input_dir'),
        ('--input_dir={0}/photos/a --output_dir={0}/out', 'two class folders, found none'),
        ('--input_dir={0}/photos --output_dir={0}/out --validation_split=1', 'below 1'),
        ('--input_dir={0}/photos --output_dir={0}/out --name=My', 'expected lower-case letters'),
        ('--input_dir={0}/photos --output_dir={0}/out --name=cifar10', 'another data set has'),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(launch, tmp_path, flags, text):
    for name in ('a', 'b'):
        (tmp_path / 'photos' / name).mkdir(parents=True)
        (tmp_path / 'photos' / name / '0.jpg').touch()
    refused = launch('prepare', *flags.format(tmp_path).split())
    assert refused.returncode == 2
    assert text in refused.stderr
    assert refused.stderr.count('\n') == 1
    assert [path.name for path in tmp_path.iterdir()] == ['photos']
