"""Big-Little Net (Chen et al., ICLR 2019): two branches at two resolutions in every stage.

The big branch sees half the resolution with all channels and most units; the little branch sees the
full one with 1 / alpha of the channels and about 1 / beta of the units. The big branch's output is
enlarged, both are added, and a fusion unit follows.

The networks are those of the official code (IBM/BigLittleNet, models/blresnet.py, blresnext.py and
blseresnext.py), which differs from the paper's text in the enlarging: nearest, not bilinear.
"""

import dataclasses
import math

import keras

from tfnets.errors import InputError
from tfnets.models import blocks
from tfnets.models.layers import UpsampleLike

# Units of the four stages in the official code. 101 and 152 are not ResNet's (3, 4, 23, 3) and
# (3, 8, 36, 3). 26 is for small machines and images; neither paper nor official code has it.
UNITS = {26: (2, 2, 2, 2), 50: (3, 4, 6, 3), 101: (4, 8, 18, 3), 152: (5, 12, 30, 3)}
STEMS = ('imagenet', 'cifar')


@dataclasses.dataclass(frozen=True)
class BigLittleConfig:
    """A Big-Little network.

    Attributes:
        units: of each of the four stages. In the first three one of them is the fusion unit, the
            others make the big branch, whose last one has no ReLU (with 2 units there is one alone,
            and the official code, which has no such network, would keep its ReLU).
        alpha: channels of the big branch over those of the little one.
        beta: units of a stage over those of its little branch, one more: there are
            max(1, units // beta - 1), rounded down as in the official code.
        cardinality: groups of the 3x3 convolutions; the little branch has 1 / alpha of them.
        basewidth: inner channels of a unit are output channels / 64 * basewidth // 4 *
            cardinality: 64 for ResNet, 4 for 32x4d.
        squeeze: whether units have squeeze-excite, to a 16th of their channels.
        upsampling: 'nearest' (official code) or 'bilinear' (paper's text).
        width: channels of the stem; the stages give 4, 8, 16 and 32 times as many.
        stem: 'imagenet' (both branches, down to a quarter of the side), or 'cifar' for images of 32
            pixels: one 3x3 convolution of stride 1, so that the stages' big branches see 16, 8, 4
            and their little ones 32, 16, 8 pixels a side.
    """

    units: tuple[int, int, int, int]
    alpha: int = 2
    beta: int = 4
    cardinality: int = 1
    basewidth: int = 64
    squeeze: bool = False
    upsampling: str = 'nearest'
    width: int = 64
    stem: str = 'imagenet'


def bl_resnet(
    depth,
    alpha=2,
    beta=4,
    num_classes=1000,
    *,
    upsampling='nearest',
    width_multiplier=1.0,
    stem='imagenet',
):
    """Big-Little ResNet of depth 50, 101 or 152 (paper, section 3; official blresnet.py).

    For CIFAR's images of 32 pixels, of which the paper has no row, there are a depth of 26 and a
    stem without strides; `resnet(26, width, stem='cifar', block_width='all')` is the plain network
    of that depth and width.

    Args:
        depth: 50, 101 or 152; or 26.
        alpha: channels of the big branch over those of the little one, an integer that divides 64.
        beta: units of a stage over those of its little branch, a positive integer.
        num_classes: size of the output.
        upsampling: 'nearest' (official code) or 'bilinear' (paper's text).
        width_multiplier: factor of all numbers of channels.
        stem: 'imagenet' or 'cifar', see `BigLittleConfig`.

    Returns:
        keras.Model from uint8 pixels [batch, height, width, 3] of any size to float32 logits
        [batch, num_classes].

    Raises:
        InputError: if an argument is out of its range.
    """
    if not 0 < width_multiplier < float('inf'):
        raise InputError(f'width_multiplier must be above 0, got {width_multiplier}')
    width = max(1, round(64 * width_multiplier))
    config = BigLittleConfig(
        _units(depth), alpha, beta, upsampling=upsampling, width=width, stem=stem
    )
    return big_little(config, num_classes, f'bl_resnet{depth}')


def bl_resnext(
    depth,
    basewidth=4,
    cardinality=32,
    alpha=2,
    beta=4,
    num_classes=1000,
    *,
    upsampling='nearest',
):
    """Big-Little ResNeXt (paper, section 4; official blresnext.py); see `bl_resnet`.

    Args:
        depth: 50, 101 or 152; or 26.
        basewidth: channels of a group in the first stage: 4 in 32x4d.
        cardinality: groups of the 3x3 convolutions: 32 in 32x4d; alpha divides it.
        alpha: as in `bl_resnet`.
        beta: as in `bl_resnet`.
        num_classes: as in `bl_resnet`.
        upsampling: as in `bl_resnet`.

    Returns:
        keras.Model as `bl_resnet`.

    Raises:
        InputError: if an argument is out of its range.
    """
    shape = (_units(depth), alpha, beta, cardinality, basewidth)
    name = f'bl_resnext{depth}_{cardinality}x{basewidth}d'
    return big_little(BigLittleConfig(*shape, upsampling=upsampling), num_classes, name)


def bl_seresnext(
    depth,
    basewidth=4,
    cardinality=32,
    alpha=2,
    beta=4,
    num_classes=1000,
    *,
    upsampling='nearest',
):
    """Big-Little ResNeXt with squeeze-excite (official blseresnext.py); see `bl_resnext`."""
    shape = (_units(depth), alpha, beta, cardinality, basewidth)
    name = f'bl_seresnext{depth}_{cardinality}x{basewidth}d'
    config = BigLittleConfig(*shape, squeeze=True, upsampling=upsampling)
    return big_little(config, num_classes, name)


def big_little(config, num_classes, name='big_little'):
    """Builds the network of a config.

    Args:
        config: BigLittleConfig.
        num_classes: size of the output.
        name: of the model.

    Returns:
        keras.Model from uint8 pixels [batch, height, width, 3] of any size to float32 logits
        [batch, num_classes].

    Raises:
        InputError: if alpha does not divide the channels or groups, or a number is not positive.
    """
    config = _checked(config)
    pixels, x = blocks.pixels()
    x = _stem(x, config)
    for stage, stride in enumerate((2, 2, 1), 1):
        x = _big_little_stage(x, config, stage, stride)
    for unit in range(1, config.units[3] + 1):
        stride = 2 if unit == 1 else 1
        x = _unit(x, 32 * config.width, config, f'stage4.unit{unit}', stride)
    return keras.Model(pixels, blocks.head(x, num_classes), name=name)


def _stem(x, config):
    """From the image to a quarter of its side: a strided convolution, then two branches."""
    width, narrow = config.width, config.width // config.alpha
    if config.stem == 'cifar':
        return blocks.conv_norm(x, width, 'stem', kernel=3)
    x = blocks.conv_norm(x, width, 'stem', kernel=7, stride=2)
    big = blocks.conv_norm(x, width, 'stem.big', kernel=3, stride=2, activate=False)
    little = blocks.conv_norm(x, narrow, 'stem.little', kernel=3, suffix='1')
    little = blocks.conv_norm(little, narrow, 'stem.little', kernel=3, stride=2, suffix='2')
    little = blocks.conv_norm(little, width, 'stem.little', activate=False, suffix='3')
    x = keras.layers.Add(name='stem.merge.add')([big, little])
    x = blocks.relu(x, 'stem.merge.relu')
    return blocks.conv_norm(x, width, 'stem.init')


def _big_little_stage(x, config, stage, stride):
    """Both branches, their merge, and the fusion unit, which has the stage's stride."""
    channels = config.width * 2 ** (stage + 1)
    units = config.units[stage - 1]
    name = f'stage{stage}'

    big = little = x
    for unit in range(1, units):
        # The last unit ends without a ReLU: it comes after the merge.
        options = {'stride': 2 if unit == 1 else 1, 'activate': unit < units - 1}
        big = _unit(big, channels, config, f'{name}.big.unit{unit}', **options)
    narrow = _little(config)
    for unit in range(1, max(1, units // config.beta - 1) + 1):
        little = _unit(little, channels // config.alpha, narrow, f'{name}.little.unit{unit}')
    little = blocks.conv_norm(little, channels, f'{name}.little.expansion', activate=False)

    big = UpsampleLike(config.upsampling, name=f'{name}.merge.upsample')([big, little])
    x = keras.layers.Add(name=f'{name}.merge.add')([big, little])
    x = blocks.relu(x, f'{name}.merge.relu')
    return _unit(x, channels, config, f'{name}.fusion.unit1', stride)


def _little(config):
    """The little branch's groups: fewer and wider ones."""
    if config.cardinality == 1:
        return config
    return dataclasses.replace(
        config,
        cardinality=config.cardinality // config.alpha,
        basewidth=config.basewidth * config.alpha,
    )


def _unit(x, channels, config, name, stride=1, activate=True):
    """A bottleneck whose shortcut pools where it strides and projects only where it widens."""
    inner = int(channels * config.basewidth / 64) // 4 * config.cardinality
    y = blocks.bottleneck_branch(x, inner, channels, name, stride, config.cardinality)
    if config.squeeze:
        y = blocks.squeeze_excite(y, channels // 16, name)
    y = keras.layers.Add(name=f'{name}.add')([y, _shortcut(x, channels, stride, name)])
    return blocks.relu(y, f'{name}.relu3') if activate else y


def _shortcut(x, channels, stride, name):
    inputs = x.shape[-1]
    if stride > 1:
        # torch's AvgPool2d(3, stride=2, padding=1) counts the zeros: it always divides by 9.
        x = keras.layers.ZeroPadding2D(1, name=f'{name}.shortcut.padding')(x)
        x = keras.layers.AveragePooling2D(3, stride, name=f'{name}.shortcut.pool')(x)
    if inputs != channels:
        x = blocks.conv_norm(x, channels, f'{name}.shortcut', activate=False)
    return x


def _units(depth):
    if depth not in UNITS:
        raise InputError(f'depth must be one of {", ".join(map(str, UNITS))}, got {depth}')
    return UNITS[depth]


def _checked(config):
    """The config with whole numbers, as a flag may have given them as 2.0."""
    numbers = {}
    for name in ('alpha', 'beta', 'cardinality', 'basewidth'):
        value = getattr(config, name)
        if not math.isfinite(value) or value != int(value) or value < 1:
            raise InputError(f'{name} must be a positive whole number, got {value}')
        numbers[name] = int(value)
    config = dataclasses.replace(config, **numbers)
    for name in ('width', 'cardinality'):
        if name == 'cardinality' and config.cardinality == 1:
            continue
        if getattr(config, name) % config.alpha:
            raise InputError(
                f'alpha must divide the {name} of {getattr(config, name)}, got {config.alpha}'
            )
    if config.squeeze and 4 * config.width // config.alpha < 16:
        raise InputError(
            f'alpha of {config.alpha} leaves no channel to squeeze-excite, which has a 16th; take '
            'a smaller one'
        )
    if config.stem not in STEMS:
        raise InputError(f'stem must be one of {", ".join(STEMS)}, got {config.stem}')
    if config.upsampling not in ('nearest', 'bilinear'):
        raise InputError(f"upsampling must be 'nearest' or 'bilinear', got {config.upsampling!r}")
    return config
