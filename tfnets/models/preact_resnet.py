"""ResNet with identity mappings (He et al., ECCV 2016): batch norm and ReLU before convolutions.

A unit adds to its input and does nothing afterwards, so that the sum runs through the network
unchanged. Where a unit changes the number of channels or strides, one shared BN-ReLU feeds both its
branch and its projection, which has no batch norm (official code: resnet-pre-act.lua and
fb.resnet.torch's preresnet.lua, 'both_preact').
"""

import re

import keras

from tfnets.errors import InputError
from tfnets.models import blocks
from tfnets.models.layers import BatchNormalization

# (width, units) of each stage, by the name that the DeepLearning_MiniProjects give the network:
# the stem, three convolutions a unit, and the classifier.
STAGES = {
    20: ((128, 1), (256, 2), (512, 2), (1024, 1)),
    26: ((128, 2), (256, 2), (512, 2), (1024, 2)),
    29: ((128, 2), (256, 2), (512, 3), (1024, 2)),
    38: ((128, 3), (256, 3), (512, 4), (1024, 2)),
    50: ((256, 3), (512, 4), (1024, 6), (2048, 3)),
}
UNIT_ORDERS = ('bn_relu_conv', 'bn_conv_relu')
STEMS = ('imagenet', 'cifar')
INITIALIZERS = ('he', 'xavier')


def preact_resnet(
    stages=STAGES[26],
    num_classes=1000,
    *,
    stem='imagenet',
    unit='bn_relu_conv',
    initializer=None,
):
    """Pre-activation bottleneck ResNet of any number of stages.

    Args:
        stages: (width, units) of each stage, where width is that of a unit's output, its inner
            convolutions having a quarter of it; or the same as text, '128x2,256x2'. The first unit
            of each stage but the first strides.
        num_classes: size of the output.
        stem: 'imagenet' (7x7 of stride 2, BN, ReLU, 3x3 max-pooling of stride 2; the first unit
            then has no pre-activation of its own, as in fb.resnet.torch) or 'cifar' (3x3 of 16
            channels, nothing behind).
        unit: 'bn_relu_conv', He's order, or 'bn_conv_relu', that of the DeepLearning_MiniProjects,
            here for comparison: see `_bn_conv_relu_network` for what it is.
        initializer: of the convolutions: 'he' (N(0, sqrt(2 / fan out)), the official code) or
            'xavier' (Glorot's normal, the DeepLearning_MiniProjects); None for that of the unit.

    Returns:
        keras.Model from uint8 pixels [batch, height, width, 3] of any size to float32 logits
        [batch, num_classes].

    Raises:
        InputError: if an argument is out of its range.
    """
    stages = parse_stages(stages)
    if stem not in STEMS:
        raise InputError(f'stem must be one of {", ".join(STEMS)}, got {stem}')
    if unit not in UNIT_ORDERS:
        raise InputError(f'unit must be one of {", ".join(UNIT_ORDERS)}, got {unit}')
    if initializer not in (None, *INITIALIZERS):
        raise InputError(f'initializer must be one of {", ".join(INITIALIZERS)}, got {initializer}')
    if unit == 'bn_conv_relu':
        network = _bn_conv_relu_network(stages, num_classes, stem)
    else:
        # fb.resnet.torch strides in the 3x3 convolution, resnet-pre-act.lua in the first 1x1.
        stride_in = 2 if stem == 'imagenet' else 1
        network = _network(stages, num_classes, stem, stride_in)
    if initializer:
        _initialize(network, initializer)
    return network


def preact_resnet_cifar(depth, num_classes=10, *, initializer=None):
    """He's networks for CIFAR: three stages of (depth - 2) / 9 units, 64, 128 and 256 wide.

    Args:
        depth: 9n + 2: 164 and 1001 in the paper (table 4).
        num_classes: size of the output.
        initializer: as of `preact_resnet`.

    Returns:
        keras.Model as `preact_resnet`.

    Raises:
        InputError: if the depth is not 9n + 2.
    """
    units, rest = divmod(depth - 2, 9)
    if rest or units < 1:
        raise InputError(f'depth must be 9n + 2, as 164 or 1001, got {depth}')
    stages = ((64, units), (128, units), (256, units))
    return preact_resnet(stages, num_classes, stem='cifar', initializer=initializer)


def preact_resnet_by_depth(depth, num_classes=1000, *, unit='bn_relu_conv', initializer=None):
    """The networks of the DeepLearning_MiniProjects by name: 20, 26, 29, 38 or 50 layers.

    20 is as that project's README describes it; its code has other widths.
    """
    if depth not in STAGES:
        raise InputError(f'depth must be one of {", ".join(map(str, STAGES))}, got {depth}')
    return preact_resnet(STAGES[depth], num_classes, unit=unit, initializer=initializer)


def parse_stages(stages):
    """Reads '128x2,256x2' as ((128, 2), (256, 2)); pairs are taken as they are.

    Raises:
        InputError: if it is neither, or a width is not a multiple of 4.
    """
    if isinstance(stages, str):
        matches = [re.fullmatch(r'\s*(\d+)x(\d+)\s*', part) for part in stages.split(',')]
        pairs = [match.groups() if match else (0, 0) for match in matches]
    else:
        pairs = stages
    pairs = tuple((int(width), int(units)) for width, units in pairs)
    if not pairs or any(width < 4 or width % 4 or units < 1 for width, units in pairs):
        raise InputError(
            f'stages={stages}: expected the width of the output, a multiple of 4, and the number '
            'of units of each stage, as 128x2,256x2,512x2,1024x2'
        )
    return pairs


def _network(stages, num_classes, stem, stride_in):
    pixels, x = blocks.pixels()
    if stem == 'imagenet':
        x = blocks.stem_pool(blocks.conv_norm(x, 64, 'stem', kernel=7, stride=2))
    else:
        x = blocks.convolution(x, 16, 'stem.conv', kernel=3)
    for name, output, width, stride in _units(stages):
        bare = stem == 'imagenet' and name == 'stage1.unit1'
        x = _unit(x, width, stride, stride_in, name, output, preactivate=not bare)
    x = _batch_norm_relu(x, 'head')
    logits = blocks.head(x, num_classes, bias_initializer='zeros')  # as both official codes
    return keras.Model(pixels, logits, name='preact_resnet')


def _initialize(network, initializer):
    """Draws the kernels of all convolutions anew."""
    for layer in network.layers:
        if isinstance(layer, keras.layers.Conv2D):
            draw = (
                keras.initializers.GlorotNormal()
                if initializer == 'xavier'
                else blocks.he_fan_out()
            )
            layer.kernel.assign(draw(layer.kernel.shape))


def _units(stages):
    """Yields the name of each unit, that of its output, its width and its stride."""
    for stage, (width, units) in enumerate(stages, 1):
        for unit in range(1, units + 1):
            name = f'stage{stage}.unit{unit}'
            output = f'stage{stage}.output' if unit == units else f'{name}.output'
            yield name, output, width, 2 if stage > 1 and unit == 1 else 1


def _unit(x, width, stride, stride_in, name, output, preactivate):
    """He's unit (paper, figure 1b): three times BN-ReLU-convolution, added to the input."""
    y = _batch_norm_relu(x, name, '1') if preactivate else x
    # Both ways read the same pre-activation where the shape changes; else the input goes on as is.
    changes = stride > 1 or x.shape[-1] != width
    shortcut = blocks.convolution(y, width, f'{name}.shortcut.conv', 1, stride) if changes else x
    strides = {stride_in: stride}
    y = blocks.convolution(y, width // 4, f'{name}.conv1', 1, strides.get(1, 1))
    y = _batch_norm_relu(y, name, '2')
    y = blocks.convolution(y, width // 4, f'{name}.conv2', 3, strides.get(2, 1))
    y = _batch_norm_relu(y, name, '3')
    y = blocks.convolution(y, width, f'{name}.conv3')
    return keras.layers.Add(name=output)([y, shortcut])


def _batch_norm_relu(x, name, suffix=''):
    return blocks.relu(blocks.batch_norm(x, f'{name}.norm{suffix}'), f'{name}.relu{suffix}')


def _bn_conv_relu_network(stages, num_classes, stem):
    """The network of the DeepLearning_MiniProjects (ResNet/model.py), which is not He's.

    Its convolutions, with biases, stand between BN and ReLU; the projection reads the raw input,
    and is there in the first unit and in those that stride; nothing normalises what reaches the
    pooling. As a branch ends with a ReLU, what it adds is never negative, and the sum can only
    grow from unit to unit: what the paper's section 4 argues against. The image itself is
    normalised by a BN over its three channels, and the moving statistics follow each batch at 0.9
    (momentum 0.1 in Keras' terms), as in that project's code. So are the initial weights: Xavier's
    normal kernels, N(0, 0.01) in the classifier, no bias.
    """
    pixels, x = blocks.pixels()
    if stem == 'imagenet':
        x = blocks.stem_pool(_norm_conv_relu(x, 64, 'stem', kernel=7, stride=2))
    else:
        x = _norm_conv_relu(x, 16, 'stem', kernel=3)
    for name, output, width, stride in _units(stages):
        shortcut = x
        if stride > 1 or name == 'stage1.unit1':
            shortcut = _biased(x, width, f'{name}.shortcut.conv', 1, stride)
        y = _norm_conv_relu(x, width // 4, name, suffix='1')
        y = _norm_conv_relu(y, width // 4, name, kernel=3, stride=stride, suffix='2')
        y = _norm_conv_relu(y, width, name, suffix='3')
        x = keras.layers.Add(name=output)([y, shortcut])
    kernels = keras.initializers.RandomNormal(stddev=0.01)
    logits = blocks.head(x, num_classes, kernels, 'zeros')
    return keras.Model(pixels, logits, name='bn_conv_relu_resnet')


def _norm_conv_relu(x, channels, name, kernel=1, stride=1, suffix=''):
    x = BatchNormalization(momentum=0.1, epsilon=1e-5, name=f'{name}.norm{suffix}')(x)
    x = _biased(x, channels, f'{name}.conv{suffix}', kernel, stride)
    return blocks.relu(x, f'{name}.relu{suffix}')


def _biased(x, channels, name, kernel, stride):
    xavier = keras.initializers.GlorotNormal()
    return blocks.convolution(x, channels, name, kernel, stride, 1, True, xavier)
