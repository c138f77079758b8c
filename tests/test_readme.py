"""What the README says can be run."""

import functools
import pathlib
import re
import shlex
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
README = (ROOT / 'README.md').read_text()


def commands():
    blocks = re.findall(r'```bash\n(.*?)```', README, re.DOTALL)
    joined = '\n'.join(blocks).replace('\\\n', ' ')
    return [part.strip() for line in joined.splitlines() for part in line.split('&&')]


@pytest.mark.parametrize('path', sorted(set(re.findall(r'\]\(([^)#]+)\)', README))))
def test_links_lead_somewhere(path):
    assert path.startswith('https://') or (ROOT / path).exists()


def test_there_are_two_lines_of_set_up():
    lines = [line for line in README.splitlines() if line.startswith('pip install ')]
    assert len(lines) == 2
    assert lines[1].endswith('&& pytest -n 2')


@functools.cache
def flags_of(launcher):
    """The names of a launcher's flags; in a process of its own, for launchers share names."""
    code = f'import tfnets.launchers.{launcher}; from absl import flags; print(*flags.FLAGS)'
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    return {*done.stdout.split()}


@pytest.mark.parametrize('command', [c for c in commands() if c.startswith('python -m tfnets')])
def test_commands_have_flags_that_exist(command):
    words = shlex.split(command)
    launcher = words[2].rpartition('.')[2]
    names = {
        word.partition('=')[0].removeprefix('--') for word in words[3:] if word.startswith('--')
    }
    assert names - flags_of(launcher) == {'flagfile'} & names


def test_nothing_is_left_to_be_filled_in():
    assert '@@' not in README


def test_the_lines_that_classify_a_photo(tmp_path, monkeypatch, capsys):
    import numpy as np
    import torch_format
    from PIL import Image

    from tfnets.models.big_little import bl_resnet

    (code,) = [
        block
        for block in re.findall(r'```python\n(.*?)```', README, re.DOTALL)
        if 'bl_resnet' in block
    ]
    assert len([line for line in code.splitlines() if line]) <= 10
    pixels = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / 'photo.jpg')
    tensors = torch_format.state_dict(bl_resnet(50, alpha=2, beta=4))
    tensors = {f'module.{name}': tensor for name, tensor in tensors.items()}
    path = tmp_path / 'ImageNet-bLResNet-50-a2-b4.pth.tar'
    torch_format.write(path, tensors, wrap='state_dict', epoch=110, arch='bLResNet')
    monkeypatch.chdir(tmp_path)
    exec(code, {})
    number, probability = capsys.readouterr().out.split()
    assert 0 <= int(number) < 1000
    assert 0 < float(probability) <= 1
