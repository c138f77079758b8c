"""Bottleneck ResNets of any width. (Costs: see test_registry; logits: see test_weights.)"""

import keras
import numpy as np
import pytest
from small_networks import trainable

from tfnets.errors import InputError
from tfnets.models.resnet import resnet


@pytest.mark.parametrize(('multiplier', 'parameters'), [(1, 23_520_842), (0.5, 10_345_674)])
@pytest.mark.parametrize('stem', ['cifar', 'cifar_pool'])
def test_parameters_of_the_ceng501_project(multiplier, parameters, stem):
    assert trainable(resnet(50, multiplier, 10, stem=stem)) == parameters


@pytest.mark.parametrize(('stem', 'sides'), [('imagenet', (8, 4, 2, 1)), ('cifar', (32, 16, 8, 4))])
@pytest.mark.parametrize('block_width', ['inner', 'all'])
def test_outputs_of_stages_have_names(stem, sides, block_width):
    model = resnet(14, 0.25, 10, stem=stem, block_width=block_width)
    outputs = [model.get_layer(f'stage{stage}.output').output for stage in (1, 2, 3, 4)]
    pixels = np.zeros((1, 32, 32, 3), np.uint8)
    shapes = [output.shape for output in keras.Model(model.input, outputs)(pixels)]
    width = 64 if block_width == 'all' else 256
    assert shapes == [(1, side, side, width * 2**stage) for stage, side in enumerate(sides)]


@pytest.mark.parametrize(
    ('arguments', 'options', 'reason'),
    [
        ((34,), {}, 'depth must be one of 14, 26, 50, 101, 152, got 34'),
        ((50, 0), {}, 'width_multiplier must be above 0, got 0'),
        ((50,), {'block_width': 'some'}, 'block_width must be one of inner, all, got some'),
        ((50,), {'stem': 'mnist'}, 'stem must be one of imagenet, cifar, cifar_pool, got mnist'),
    ],
)
def test_bad_arguments_are_refused_by_name(arguments, options, reason):
    with pytest.raises(InputError, match=reason):
        resnet(*arguments, **options)
