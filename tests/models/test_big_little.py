"""Big-Little networks against the official PyTorch code: counts, and logits of the same weights."""

import json
import pathlib

import keras
import numpy as np
import pytest
from small_networks import trainable

from tfnets.errors import InputError
from tfnets.models import big_little
from tfnets.models.big_little import BigLittleConfig, bl_resnet, bl_resnext, bl_seresnext

GOLDEN = json.loads((pathlib.Path(__file__).parent / 'golden' / 'big_little.json').read_text())
BUILDERS = {'bl_resnet': bl_resnet, 'bl_resnext': bl_resnext, 'bl_seresnext': bl_seresnext}


def in_order_of_execution(model):
    """Names of the layers with weights, in the order in which the golden weights are drawn."""
    there = {layer.name for layer in model.layers if layer.weights}

    def pairs(name, *suffixes):
        return [f'{name}.{kind}{suffix}' for suffix in suffixes for kind in ('conv', 'norm')]

    def branch(name):
        names = []
        for unit in range(1, 31):
            names += pairs(f'{name}.unit{unit}', 1, 2, 3)
            names += [f'{name}.unit{unit}.squeeze.conv', f'{name}.unit{unit}.excite.conv']
            names += pairs(f'{name}.unit{unit}.shortcut', '')
        return names

    names = pairs('stem', '') + pairs('stem.big', '') + pairs('stem.little', 1, 2, 3)
    names += pairs('stem.init', '')
    for stage in ('stage1', 'stage2', 'stage3'):
        names += branch(f'{stage}.big') + branch(f'{stage}.little')
        names += pairs(f'{stage}.little.expansion', '') + branch(f'{stage}.fusion')
    names += branch('stage4') + ['classifier']
    names = [name for name in names if name in there]
    assert set(names) == there
    return names


def draw(layer, rng):
    """A layer's weights by the rule of the golden file."""
    if isinstance(layer, keras.layers.BatchNormalization):
        channels = layer.gamma.shape[0]
        values = [rng.uniform(0.5, 1.0, channels)]
        values += [0.1 * rng.standard_normal(channels) for _ in range(2)]
        values += [rng.uniform(0.5, 1.5, channels)]
    else:
        shape = tuple(layer.kernel.shape)
        dense = isinstance(layer, keras.layers.Dense)
        scale = np.sqrt(1 / shape[0]) if dense else np.sqrt(2 / np.prod(shape[:3]))
        values = [rng.standard_normal(shape) * scale]
        if layer.use_bias:
            values += [0.1 * rng.standard_normal(shape[-1])]
    return [value.astype(np.float32) for value in values]


@pytest.mark.parametrize(
    'case', GOLDEN['cases'], ids=lambda case: f'{case["model"]}{case["args"]}{case["size"]}'
)
def test_logits_are_those_of_the_official_code(case):
    model = BUILDERS[case['model']](num_classes=GOLDEN['classes'], **case['args'])
    assert trainable(model) == case['params']
    rng = np.random.Generator(np.random.PCG64(GOLDEN['seed']))
    kinds = {'Conv2d': keras.layers.Conv2D, 'Linear': keras.layers.Dense}
    kinds['BatchNorm2d'] = keras.layers.BatchNormalization
    names = in_order_of_execution(model)
    for name, kind in zip(names, case['modules'], strict=True):
        layer = model.get_layer(name)
        assert isinstance(layer, kinds[kind])
        layer.set_weights(draw(layer, rng))
    size = case['size']
    random = np.random.Generator(np.random.PCG64(GOLDEN['seed'] + size))
    images = random.standard_normal((2, size, size, 3)).astype(np.float32)
    behind_scaling = keras.Model(model.get_layer('scaling').output, model.output)
    logits = behind_scaling(images).numpy()
    expected = np.asarray(case['logits'])
    np.testing.assert_allclose(logits, expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize(
    ('alpha', 'beta', 'convolutions', 'statistics'),
    [(2, 2, 74, 61_696), (2, 4, 71, 60_160), (4, 2, 75, 60_032), (4, 4, 72, 59_264)],
)
def test_convolutions_and_moving_statistics(alpha, beta, convolutions, statistics):
    model = bl_resnet(50, alpha, beta)
    kinds = [type(layer).__name__ for layer in model.layers]
    assert kinds.count('Conv2D') == kinds.count('BatchNormalization') == convolutions
    assert sum(int(np.prod(v.shape)) for v in model.non_trainable_variables) == statistics


def small(**options):
    return BigLittleConfig((2, 2, 2, 1), **{'beta': 2, 'width': 8, **options})


def test_initial_weights():
    model = big_little.big_little(small(width=32), 10)
    last = [layer for layer in model.layers if layer.name.endswith('.norm3')]
    assert len([layer for layer in last if not layer.name.startswith('stem')]) == 10
    for layer in last:
        expected = 1.0 if layer.name.startswith('stem') else 0.0
        np.testing.assert_array_equal(layer.gamma, expected)
    kernel = model.get_layer('stage3.fusion.unit1.conv2').kernel.numpy()
    assert kernel.std() == pytest.approx((2 / (9 * kernel.shape[-1])) ** 0.5, rel=0.02)
    bound = model.get_layer('classifier').kernel.shape[0] ** -0.5
    assert abs(np.abs(model.get_layer('classifier').kernel).max() - bound) < 0.01 * bound


@pytest.mark.parametrize('upsampling', ['nearest', 'bilinear'])
def test_any_size_and_a_saved_file(upsampling, tmp_path):
    model = big_little.big_little(small(upsampling=upsampling), 3)
    model.save(tmp_path / 'network.keras')
    loaded = keras.saving.load_model(tmp_path / 'network.keras')
    for height, width in ((33, 64), (47, 35)):
        pixels = np.random.default_rng(0).integers(0, 256, (2, height, width, 3), np.uint8)
        np.testing.assert_array_equal(model(pixels), loaded(pixels))


@pytest.mark.parametrize(
    ('arguments', 'reason'),
    [
        ((34,), 'depth must be one of 26, 50, 101, 152, got 34'),
        ((50, 3), 'alpha must divide the width of 64, got 3'),
        ((50, 0), 'alpha must be a positive whole number, got 0'),
        ((50, float('nan')), 'alpha must be a positive whole number, got nan'),
        ((50, 2, 1.5), 'beta must be a positive whole number, got 1.5'),
    ],
)
def test_bad_arguments_are_refused_by_name(arguments, reason):
    with pytest.raises(InputError, match=reason):
        bl_resnet(*arguments)


def test_alpha_must_divide_the_groups():
    with pytest.raises(InputError, match='alpha must divide the cardinality of 6, got 4'):
        bl_resnext(50, cardinality=6, alpha=4)


def test_squeeze_excite_needs_a_channel():
    with pytest.raises(InputError, match='alpha of 32 leaves no channel'):
        bl_seresnext(50, alpha=32)
