"""Bottleneck ResNet (He et al., CVPR 2016), as wide as one likes: teachers, and their thin nets.

These are the networks of torchvision (stride in the 3x3 convolution, 'v1.5'; Wide ResNet's
widening of the 3x3 alone), in which Go Wide, Then Narrow and FixRes were written. One thing starts
otherwise: the last gamma of each unit is zero, as in Big-Little's official code.
keras.applications' ResNet is another network: stride in the first 1x1, biases, other scaling.
"""

import keras

from tfnets.errors import InputError
from tfnets.models import blocks

# Units of the four stages. 14 and 26 are for small machines and tests; the paper begins at 50.
UNITS = {
    14: (1, 1, 1, 1),
    26: (2, 2, 2, 2),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}
STEMS = ('imagenet', 'cifar', 'cifar_pool')
BLOCK_WIDTHS = ('inner', 'all')


def resnet(
    depth,
    width_multiplier=1.0,
    num_classes=1000,
    *,
    block_width='inner',
    stem='imagenet',
):
    """Bottleneck ResNet of four stages.

    The output of stage i is the layer named 'stage{i}.output': model.get_layer('stage2.output').

    Args:
        depth: 14, 26, 50, 101 or 152.
        width_multiplier: factor of the number of channels, above 0; see block_width.
        num_classes: size of the output.
        block_width: which channels it multiplies: 'inner', those of the 3x3 convolutions (as Wide
            ResNet and Go Wide, Then Narrow do, so that all stages' outputs keep their width), or
            'all' of them, stem and outputs too.
        stem: 'imagenet' (7x7 of stride 2, 3x3 max-pooling of stride 2), 'cifar' (3x3 of stride 1)
            or 'cifar_pool' (3x3 of stride 1 and the max-pooling, as the CENG501 project has it).

    Returns:
        keras.Model from uint8 pixels [batch, height, width, 3] of any size to float32 logits
        [batch, num_classes].

    Raises:
        InputError: if an argument is out of its range.
    """
    if depth not in UNITS:
        raise InputError(f'depth must be one of {", ".join(map(str, UNITS))}, got {depth}')
    if stem not in STEMS:
        raise InputError(f'stem must be one of {", ".join(STEMS)}, got {stem}')
    return _network(
        f'resnet{depth}', UNITS[depth], 64, stem, width_multiplier, block_width, num_classes
    )


def cifar_resnet(depth, width_multiplier=1.0, num_classes=10, *, block_width='inner'):
    """Bottleneck ResNet of three stages for images of 32 pixels (He et al., ECCV 2016, section 4).

    A 3x3 convolution of 16 channels, then stages whose 3x3 convolutions have 16, 32 and 64
    channels and whose outputs have four times as many, at strides 1, 2 and 4. The order within a
    unit is that of `resnet`; He's own with pre-activation is `preact_resnet_cifar`.

    Args:
        depth: 9 n + 2, at least 11: n units a stage.
        width_multiplier: as of `resnet`.
        num_classes: size of the output.
        block_width: as of `resnet`.

    Returns:
        keras.Model, as of `resnet`.

    Raises:
        InputError: if an argument is out of its range.
    """
    units, rest = divmod(depth - 2, 9)
    if rest or units < 1:
        raise InputError(f'depth must be 9 n + 2 for a whole n above 0, got {depth}')
    return _network(
        f'cifar_resnet{depth}',
        (units,) * 3,
        16,
        'cifar',
        width_multiplier,
        block_width,
        num_classes,
    )


def _network(name, units, base, stem, width_multiplier, block_width, num_classes):
    """Stages of so many units, on a stem of `base` channels."""
    if not 0 < width_multiplier < float('inf'):
        raise InputError(f'width_multiplier must be above 0, got {width_multiplier}')
    if block_width not in BLOCK_WIDTHS:
        raise InputError(f'block_width must be one of {", ".join(BLOCK_WIDTHS)}, got {block_width}')
    outer = width_multiplier if block_width == 'all' else 1
    pixels, x = blocks.pixels()
    x = _stem(x, _times(base, outer), stem)
    for stage, count in enumerate(units, 1):
        inner = _times(base * 2 ** (stage - 1), width_multiplier)
        channels = _times(4 * base * 2 ** (stage - 1), outer)
        for unit in range(1, count + 1):
            last = unit == count
            stride = 2 if stage > 1 and unit == 1 else 1
            output = f'stage{stage}.output' if last else f'stage{stage}.unit{unit}.output'
            x = _unit(x, inner, channels, stride, f'stage{stage}.unit{unit}', output)
    return keras.Model(pixels, blocks.head(x, num_classes), name=name)


def _stem(x, channels, kind):
    if kind == 'imagenet':
        x = blocks.conv_norm(x, channels, 'stem', kernel=7, stride=2)
    else:
        x = blocks.conv_norm(x, channels, 'stem', kernel=3)
    return x if kind == 'cifar' else blocks.stem_pool(x)


def _unit(x, inner, channels, stride, name, output):
    y = blocks.bottleneck_branch(x, inner, channels, name, stride)
    if stride > 1 or x.shape[-1] != channels:
        x = blocks.conv_norm(x, channels, f'{name}.shortcut', stride=stride, activate=False)
    return blocks.relu(keras.layers.Add(name=f'{name}.add')([y, x]), output)


def _times(channels, factor):
    return max(1, round(channels * factor))
