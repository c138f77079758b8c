"""Networks by the names that flags give them."""

import importlib
import inspect

import numpy as np
import pytest

from tfnets.analysis import flops
from tfnets.errors import InputError
from tfnets.models import registry

# Trainable parameters and multiply-adds (millions) at 224 px, for 1,000 classes: counted on the
# official PyTorch code, with hooks on convolutions and dense layers.
RESIDUAL = [
    ('bl_resnet50', {'alpha': 2, 'beta': 2}, 26_974_632, 2910.7),
    ('bl_resnet50', {'alpha': 2, 'beta': 4}, 26_694_568, 2856.1),
    ('bl_resnet50', {'alpha': 4.0, 'beta': 2.0}, 26_306_856, 2490.8),
    ('bl_resnet50', {'alpha': 4, 'beta': 4}, 26_236_456, 2477.1),
    ('bl_resnet101', {'alpha': 2, 'beta': 2}, 43_392_680, 4275.4),
    ('bl_resnet101', {}, 41_851_560, 3893.3),
    ('bl_resnet101', {'alpha': 4, 'beta': 2}, 41_361_704, 3528.0),
    ('bl_resnet101', {'alpha': 4}, 40_974_120, 3432.5),
    ('bl_resnet152', {'beta': 2}, 59_810_728, 5640.2),
    ('bl_resnet152', {}, 57_359_016, 5039.7),
    ('bl_resnet152', {'alpha': 4, 'beta': 2}, 56_416_552, 4565.3),
    ('bl_resnet152', {'alpha': 4}, 55_799_976, 4415.1),
    ('bl_resnext50_32x4d', {}, 26_192_168, 3027.1),
    ('bl_resnext101_32x4d', {}, 41_512_744, 4079.1),
    ('bl_resnext101_64x4d', {}, 77_355_816, 7142.3),
    ('bl_seresnext50_32x4d', {}, 28_767_120, 3029.6),
    ('bl_seresnext101_32x4d', {}, 45_881_952, 4083.5),
    ('resnet50', {}, 25_557_032, 4089),
    ('resnet50', {'width_multiplier': 0.25}, 7_916_264, 1035),
    ('resnet50', {'width_multiplier': 0.5}, 12_381_864, 1822),
    ('resnet50', {'width_multiplier': 2}, 68_883_240, 11398),
    ('resnet50', {'width_multiplier': 0.5, 'block_width': 'all'}, 6_917_640, 1052),
    ('resnet50', {'width_multiplier': 0.25, 'block_width': 'all'}, 1_993_976, 278),
    ('resnet101', {'width_multiplier': 0.25}, 10_810_344, None),
    ('resnet101', {'width_multiplier': 0.5}, 19_388_584, None),
    ('resnet101', {}, 44_549_160, None),
    ('resnet101', {'width_multiplier': 2}, 126_886_696, None),
    # These take gigabytes.
    pytest.param(
        *('resnet50', {'width_multiplier': 4}, 223_439_144, 37114), marks=pytest.mark.slow
    ),
    pytest.param(
        *('resnet101', {'width_multiplier': 4}, 419_627_304, None), marks=pytest.mark.slow
    ),
]
# For 256 classes.
PRE_ACTIVATION = [
    ('preact_resnet20', 2_630_080, 581),
    ('preact_resnet26', 3_765_056, 690),
    ('preact_resnet29', 4_045_120, 744),
    ('preact_resnet38', 4_413_376, 908),
    ('preact_resnet50', 24_024_896, 4088),
]
# He's networks for CIFAR-10, at 32 px; multiply-adds as this library counts them.
CIFAR = [
    ('preact_resnet164', 1_703_258, 244.501),
    pytest.param('preact_resnet1001', 10_327_706, 1487.850, marks=pytest.mark.slow),
]
# At the resolution of each.
EFFICIENTNET = [
    ('efficientnet_b0', 5_288_548, 386),
    ('efficientnet_b1', 7_794_184, 687),
    ('efficientnet_b2', 9_109_994, 994),
    ('efficientnet_b3', 12_233_232, 1827),
    ('efficientnet_b4', 19_341_616, 4394),
    ('efficientnet_b5', 30_389_784, 10266),
    ('efficientnet_b6', 43_040_704, 19070),
    pytest.param('efficientnet_b7', 66_347_960, 37750, marks=pytest.mark.slow),
]


def assert_costs(model, resolution, parameters, macs):
    cost = flops.cost(model, resolution)
    assert cost.trainable == parameters
    assert macs is None or cost.macs / 1e6 == pytest.approx(macs, rel=1e-3)


@pytest.mark.parametrize(('name', 'options', 'parameters', 'macs'), RESIDUAL)
def test_costs_of_residual_networks(name, options, parameters, macs):
    assert_costs(registry.build(name, 1000, **options), 224, parameters, macs)


@pytest.mark.parametrize(('name', 'parameters', 'macs'), PRE_ACTIVATION)
def test_costs_of_preactivation_networks(name, parameters, macs):
    assert_costs(registry.build(name, 256), 224, parameters, macs)


@pytest.mark.parametrize(('name', 'parameters', 'macs'), CIFAR)
def test_costs_of_cifar_networks(name, parameters, macs):
    assert_costs(registry.build(name, 10), 32, parameters, macs)


@pytest.mark.parametrize(('name', 'parameters', 'macs'), EFFICIENTNET)
def test_costs_of_efficientnets(name, parameters, macs):
    assert_costs(registry.build(name, 1000), registry.resolution(name), parameters, macs)


def test_resolutions():
    resolutions = [registry.resolution(f'efficientnet_b{number}') for number in range(8)]
    assert resolutions == [224, 240, 260, 300, 380, 456, 528, 600]
    assert registry.resolution('bl_resnet50', alpha=2) == 224
    assert registry.resolution('preact_resnet164') == 32
    assert registry.resolution('mbconv_c', gamma=1.23, phi=4.0) == 146
    assert registry.resolution('keras:Xception') == 299


@pytest.mark.parametrize('name', ['mbconv_a', 'preact_resnet', 'keras:MobileNetV3Small'])
def test_builds_by_name(name):
    options = {'stages': '16x1,32x1'} if name == 'preact_resnet' else {}
    model = registry.build(name, 7, alpha=None, **options)
    assert model(np.zeros((1, 40, 40, 3), np.uint8)).shape == (1, 7)


@pytest.mark.parametrize(
    ('name', 'options', 'reason'),
    [
        ('resnet51', {}, 'no such network; there are .*bl_resnet50.*keras:NAME'),
        ('resnet14:stem=cifar', {}, 'expected the name alone, --model=resnet14; its .*--stem'),
        ('resnet50', {'alpha': 2}, '--alpha=2: network resnet50 has no such option; it has width'),
        ('keras:ResNet50', {'stem': 'cifar'}, '--stem=cifar: .* it has none'),
        ('efficientnet_b0', {'phi': 1}, 'no such option; it has none'),
        ('bl_resnet50', {'alpha': 3}, 'alpha must divide'),
    ],
)
def test_what_does_not_exist_is_refused(name, options, reason):
    with pytest.raises(InputError, match=reason):
        registry.build(name, 10, **options)


@pytest.mark.parametrize('name', registry.MODELS)
def test_options_are_those_of_the_builder(name):
    entry = registry.MODELS[name]
    for path in (entry.builder, entry.config):
        if path:
            module, function = path.split(':')
            function = getattr(importlib.import_module(module), function)
            known = set(inspect.signature(function).parameters) - {'num_classes'}
            assert known == {*entry.arguments, *entry.options}
