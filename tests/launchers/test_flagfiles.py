"""The shipped flagfiles."""

import pathlib
import subprocess
import sys

import pytest

FLAGS = pathlib.Path(__file__).parents[2] / 'flags'

# Without TensorFlow: as a launcher does before it imports that.
CHECK = """
import importlib, sys
from absl import flags
from absl.testing import flagsaver

launcher, data_dir, *paths = sys.argv[1:]
module = importlib.import_module(f'tfnets.launchers.{launcher}')
check = getattr(module, 'check', None) or module.train_and_test.check
for path in paths:
    with flagsaver.flagsaver():
        flags.FLAGS(['', f'--flagfile={path}', f'--data_dir={data_dir}'])
        check()
    print(path)
"""


@pytest.mark.parametrize('folder', sorted(FLAGS.iterdir()), ids=lambda path: path.name)
def test_its_launcher_finds_nothing_wrong_with_a_flagfile(folder, tmp_path):
    paths = list(map(str, sorted(folder.glob('*.cfg'))))
    command = [sys.executable, '-c', CHECK, folder.name, str(tmp_path), *paths]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout.splitlines() == paths, done.stderr


@pytest.mark.parametrize('path', sorted(FLAGS.rglob('*.cfg')), ids=lambda path: path.name)
def test_a_flagfile_says_what_it_is(path):
    lines = path.read_text().splitlines()
    head = ' '.join(line.removeprefix('#').strip() for line in lines if line.startswith('#'))
    assert lines[0].startswith('# ')
    assert 'Meant for: ' in head
    assert 'Ours' in head
    assert any(line.startswith('--run_dir=runs/') for line in lines)
