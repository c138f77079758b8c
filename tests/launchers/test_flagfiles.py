"""The shipped flagfiles."""

import pathlib

import pytest

FLAGS = pathlib.Path(__file__).parents[2] / 'flags'


@pytest.mark.parametrize('path', sorted(FLAGS.rglob('*.cfg')), ids=lambda path: path.name)
def test_every_flagfile_is_understood(launch, path):
    """Reads each shipped flagfile; a model that is not there stops it before anything is done."""
    refused = launch(path.parent.name, f'--flagfile={path}', '--model=none_such')
    assert refused.returncode == 2
    assert refused.stderr.startswith('error: --model=none_such')
    text = path.read_text()
    assert text.startswith('#')
    assert '--run_dir=runs/' in text
