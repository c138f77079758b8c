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
    _check(depth, width_multiplier, block_width, stem)
    outer = width_multiplier if block_width == 'all' else 1
    pixels, x = blocks.pixels()
    x = _stem(x, _times(64, outer), stem)
    for stage, units in enumerate(UNITS[depth], 1):
        inner = _times(32 * 2**stage, width_multiplier)
        channels = _times(128 * 2**stage, outer)
        for unit in range(1, units + 1):
            last = unit == units
            stride = 2 if stage > 1 and unit == 1 else 1
            output = f'stage{stage}.output' if last else f'stage{stage}.unit{unit}.output'
            x = _unit(x, inner, channels, stride, f'stage{stage}.unit{unit}', output)
    return keras.Model(pixels, blocks.head(x, num_classes), name=f'resnet{depth}')


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


def _check(depth, width_multiplier, block_width, stem):
    if depth not in UNITS:
        raise InputError(f'depth must be one of {", ".join(map(str, UNITS))}, got {depth}')
    if not 0 < width_multiplier < float('inf'):
        raise InputError(f'width_multiplier must be above 0, got {width_multiplier}')
    if block_width not in BLOCK_WIDTHS:
        raise InputError(f'block_width must be one of {", ".join(BLOCK_WIDTHS)}, got {block_width}')
    if stem not in STEMS:
        raise InputError(f'stem must be one of {", ".join(STEMS)}, got {stem}')
