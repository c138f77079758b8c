"""Weights of the official PyTorch code, from the command line into a Keras file."""

import numpy as np
import pytest
import torch_format
from small_networks import randomized, thin_resnet

from tfnets.models import weights


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    """A thin torchvision ResNet, as torch.nn.DataParallel would have saved it, and the network."""
    model = randomized(thin_resnet(5))
    tensors = {f'module.{name}': array for name, array in torch_format.state_dict(model).items()}
    path = tmp_path_factory.mktemp('torch') / 'thin.pth.tar'
    torch_format.write(path, tensors, wrap='state_dict', epoch=3)
    return path, model


THIN = ['--model=resnet14', '--width_multiplier=0.125', '--block_width=all']


def test_converted_weights_are_those_of_the_checkpoint(launch, checkpoint, tmp_path):
    source, model = checkpoint
    output = tmp_path / 'thin.weights.h5'
    command = [*THIN, '--num_classes=5', f'--source={source}', f'--output={output}']
    done = launch('convert', *command)
    assert done.returncode == 0, done.stderr
    assert 'resnet14, 87 tensors' in done.stdout
    loaded = thin_resnet(5)
    weights.load(loaded, output)
    for ours, theirs in zip(loaded.weights, model.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_what_does_not_fit_is_one_line_and_leaves_nothing(launch, checkpoint, tmp_path):
    source, _ = checkpoint
    output = tmp_path / 'thin.weights.h5'
    refused = launch('convert', *THIN, f'--source={source}', f'--output={output}')
    assert refused.returncode == 2
    assert 'it has 5 classes: build the network for as many (num_classes)' in refused.stderr
    assert refused.stderr.count('\n') == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ('flags', 'text'),
    [
        (['--source=/no/such/file', '--output=x.weights.h5'], '--source=/no/such/file'),
        (['--output=x.weights.h5'], '--source=None'),
        (['--source=setup.cfg', '--output=x.h5'], 'ends in .weights.h5 or .keras'),
        (['--source=setup.cfg', '--output=x.keras', '--width_multiplier=nan'], 'finite'),
    ],
)
def test_bad_flags_are_one_line(launch, flags, text):
    refused = launch('convert', '--model=resnet50', *flags)
    assert refused.returncode == 2
    assert text in refused.stderr
    assert refused.stderr.count('\n') == 1
