"""Stages of networks, and bridges between them that can be merged away exactly."""

import keras
import numpy as np
import pytest
from small_networks import randomized, trainable

from tfnets.errors import InputError
from tfnets.models import stages
from tfnets.models.preact_resnet import preact_resnet
from tfnets.models.resnet import resnet


def noise(height, width):
    return np.random.default_rng(0).integers(0, 256, (2, height, width, 3), np.uint8)


def scrambled(model):
    """The network with weights all of which matter."""
    rng = np.random.default_rng(0)
    for variable in randomized(model).weights:
        if variable.ndim > 1:
            shape = variable.shape
            variable.assign(rng.standard_normal(shape) / np.prod(shape[:-1]) ** 0.5)
    return model


def test_stages_in_a_chain_are_the_network():
    model = scrambled(resnet(14, 0.125, 5, block_width='all', stem='cifar'))
    assert stages.names(model) == [f'stage{number}.output' for number in (1, 2, 3, 4)]
    x = pixels = noise(32, 40)
    parts = stages.cut(model)
    assert len(parts) == 5
    for part in parts:
        x = part(x)
    np.testing.assert_allclose(x, model(pixels), rtol=1e-5, atol=1e-5)
    variables = [id(variable) for part in parts for variable in part.trainable_variables]
    assert sorted(variables) == sorted(id(variable) for variable in model.trainable_variables)


@pytest.mark.parametrize('stem', ['imagenet', 'cifar', 'cifar_pool'])
@pytest.mark.parametrize('size', [(32, 32), (45, 37)])
def test_a_bridge_is_first_the_identity_and_then_merged_exactly(stem, size):
    student = scrambled(resnet(14, 0.125, 5, block_width='all', stem=stem))
    pixels = noise(*size)
    alone = student(pixels).numpy()
    # The third stage's output is as wide as the teacher's: it has no bridge.
    model = stages.bridged(student, [64, 96, 128, 300])
    *outputs, logits = model(pixels)
    assert [output.shape[-1] for output in outputs] == [64, 96, 128, 300]
    np.testing.assert_allclose(logits, alone, atol=1e-5 * np.abs(alone).max())
    bridges = [layer for layer in model.layers if layer.name.startswith('bridge')]
    assert len(bridges) == 6
    rng = np.random.default_rng(1)
    for layer in bridges:
        layer.kernel.assign(rng.standard_normal(layer.kernel.shape) / layer.kernel.shape[2] ** 0.5)
    before = model(pixels)[-1].numpy()
    assert np.abs(before - alone).max() > 0.1 * np.abs(alone).max()
    parameters = trainable(student)
    stages.merge_bridges(model, student)
    after = student(pixels).numpy()
    np.testing.assert_allclose(after, before, atol=1e-5 * np.abs(before).max())
    assert trainable(student) == parameters


def chain(middle):
    """A network of two stages with something in between."""
    pixels = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(4, 3, name='stage1.output')(pixels)
    x = keras.layers.Conv2D(4, 1, name='stage2.output')(middle(x))
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(pixels, keras.layers.Dense(2)(x), name='chain')


def test_a_biased_3x3_behind_a_padding_is_merged_exactly():
    def middle(x):
        x = keras.layers.ZeroPadding2D(1)(x)
        return keras.layers.Conv2D(6, 3, strides=2, use_bias=True, name='reader')(x)

    student = scrambled(chain(middle))
    model = stages.bridged(student, [7, 4])
    for layer in model.layers:
        if layer.name.startswith('bridge'):
            layer.kernel.assign(np.random.default_rng(2).standard_normal(layer.kernel.shape))
    pixels = np.random.default_rng(3).standard_normal((2, 11, 12, 3)).astype(np.float32)
    before = model(pixels)[-1].numpy()
    stages.merge_bridges(model, student)
    np.testing.assert_allclose(student(pixels), before, atol=1e-5 * np.abs(before).max())


@pytest.mark.parametrize(
    ('build', 'reason'),
    [
        (
            lambda: preact_resnet('16x1,32x1', 5),
            r'behind stage1.output cannot be merged exactly, for stage2.unit1.norm1 \(BatchNorm',
        ),
        (lambda: chain(keras.layers.MaxPooling2D(2, name='pool')), r'for pool \(MaxPooling2D\)'),
        (lambda: chain(keras.layers.ReLU(name='relu')), r'for relu \(ReLU\)'),
        (
            lambda: chain(keras.layers.DepthwiseConv2D(3, name='depthwise')),
            r'for depthwise \(DepthwiseConv2D\)',
        ),
        (
            lambda: chain(keras.layers.Conv2D(4, 3, activation='relu', name='conv')),
            r'for conv \(Conv2D\)',
        ),
        (
            lambda: chain(lambda x: keras.layers.Conv2D(4, 1, name='conv')(x) + x),
            r'for add\w* \(Add\)',
        ),
    ],
)
def test_what_cannot_be_merged_is_refused_by_name(build, reason):
    with pytest.raises(InputError, match=reason):
        stages.bridged(build(), [64, 64])


def test_as_many_stages_are_needed():
    with pytest.raises(InputError, match='has 4 stages, its teacher 3'):
        stages.bridged(resnet(14, 0.125, 5), [64, 64, 64])


def test_a_teacher_must_not_be_narrower():
    with pytest.raises(InputError, match='stage1.output has 32 channels, its teacher 16'):
        stages.bridged(resnet(14, 0.125, 5, block_width='all'), [16, 64, 128, 256])


def test_a_stage_may_end_in_an_operation():
    pixels = keras.Input((4, 4, 3))
    x = keras.layers.Conv2D(3, 1)(pixels)
    model = keras.Model(pixels, keras.layers.Dense(2)(x + pixels))
    (end,) = [operation.name for operation in model.operations if 'add' in operation.name]
    assert stages.output(model, end).shape == (None, 4, 4, 3)
    assert stages.readers(model, end) == [model.layers[-1]]
    with pytest.raises(InputError, match=f'no layer or operation {end}x; there are {end}'):
        stages.output(model, f'{end}x')


def test_a_network_without_named_stages_says_so():
    with pytest.raises(InputError, match='no layers named stage1.output'):
        stages.names(keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)]))
