"""Networks of inverted residual units (MBConv) and their compound scaling.

Here: the hand-made networks A, B and C of the project 'Efficient Network Scaling with Test
Resolution Fine-Tuning' (AdamStein97), of some 50,000 parameters each, for small images of two
classes. They differ from EfficientNet: the stride is in the expanding convolution, which widens the
*output* channels, every convolution has a bias, shortcuts are projected where shapes differ, and
there is neither squeeze-excite nor drop-connect.
"""

import dataclasses

import keras

from tfnets.errors import InputError
from tfnets.models.layers import BatchNormalization, PixelScaling


@dataclasses.dataclass(frozen=True)
class Stage:
    """A run of equal MBConv units.

    Attributes:
        channels: output channels of each unit.
        units: how many; the first one has the stride.
        kernel: side of the depthwise kernel.
        stride: of the first unit, 1 or 2.
        expansion: channels of the depthwise convolution over output channels.
        scale_depth: whether compound scaling adds units. (That project never deepens its first
            stage.)
    """

    channels: int
    units: int
    kernel: int
    stride: int
    expansion: int
    scale_depth: bool = True


@dataclasses.dataclass(frozen=True)
class MBConvConfig:
    """A network of MBConv stages between a strided stem and a 1x1 head.

    Attributes:
        stem_channels: of the 7x7 convolution of stride 2 before a 2x2 max-pooling.
        stages: from input to output.
        head_channels: of the last 1x1 convolution.
        resolution: side of the training images in pixels.
    """

    stem_channels: int
    stages: tuple[Stage, ...]
    head_channels: int = 40
    resolution: int = 64


def _hand_made(stem, channels, units, expansions, kernels, strides):
    rows = zip(channels, units, kernels, strides, expansions, strict=True)
    stages = [Stage(*row, scale_depth=index > 0) for index, row in enumerate(rows)]
    return MBConvConfig(stem, tuple(stages))


CONFIGS = {
    'a': _hand_made(10, (12, 12, 18, 24), (1, 3, 3, 2), (1, 6, 6, 6), (3, 5, 3, 3), (2, 1, 1, 2)),
    'b': _hand_made(
        8, (12, 16, 20, 28, 32), (1,) * 5, (1, 6, 6, 6, 6), (3, 7, 5, 5, 3), (2, 1, 1, 1, 2)
    ),
    'c': _hand_made(12, (16, 22, 26, 32), (1, 1, 2, 1), (1, 6, 6, 6), (3, 5, 3, 3), (2, 1, 1, 2)),
}


def compound_scale(config, *, alpha, beta, gamma, phi):
    """Deepens, widens and enlarges a network together (Tan & Le 2019, section 3.3).

    Depth grows by alpha**phi, width by beta**phi and resolution by gamma**phi, each rounded to the
    nearest integer, halves to even, as that project does. Stem and head keep their width.

    Args:
        config: MBConvConfig of the base network.
        alpha: depth coefficient, above 0.
        beta: width coefficient, above 0.
        gamma: resolution coefficient, above 0.
        phi: compound coefficient, at least 0; 0 gives the base network itself.

    Returns:
        The scaled MBConvConfig.

    Raises:
        InputError: if a coefficient is out of its range.
    """
    if not phi >= 0:
        raise InputError(f'phi must be at least 0, got {phi}: 0 is the base network itself')
    for name, value in {'alpha': alpha, 'beta': beta, 'gamma': gamma}.items():
        if not value > 0:
            raise InputError(f'{name} must be above 0, got {value}: it is a growth factor')

    def scaled(stage):
        units = max(1, round(stage.units * alpha**phi)) if stage.scale_depth else stage.units
        channels = max(1, round(stage.channels * beta**phi))
        return dataclasses.replace(stage, units=units, channels=channels)

    return dataclasses.replace(
        config,
        stages=tuple(scaled(stage) for stage in config.stages),
        resolution=round(config.resolution * gamma**phi),
    )


def mbconv(config, num_classes):
    """Builds the network of a config, for images of any size.

    Args:
        config: MBConvConfig.
        num_classes: size of the output.

    Returns:
        keras.Model from uint8 pixels [batch, height, width, 3] to float32 logits
        [batch, num_classes].
    """
    pixels = keras.Input((None, None, 3), dtype='uint8', name='pixels')
    x = PixelScaling('unit', name='scaling')(pixels)
    x = _conv(x, config.stem_channels, 'stem.conv', kernel=7, stride=2)
    x = keras.layers.MaxPooling2D(2, name='stem.pool')(x)
    for number, stage in enumerate(config.stages, 2):
        for unit in range(stage.units):
            stride = stage.stride if unit == 0 else 1
            x = _unit(x, stage, stride, f'stage{number}.unit{unit + 1}')
    x = _conv(x, config.head_channels, 'head.conv')
    x = BatchNormalization(name='head.norm')(x)
    x = keras.layers.GlobalAveragePooling2D(name='head.pool')(x)
    logits = keras.layers.Dense(num_classes, dtype='float32', name='classifier')(x)
    return keras.Model(pixels, logits)


def hand_made(letter, num_classes, *, alpha=1.0, beta=1.0, gamma=1.0, phi=0.0):
    """Builds network 'a', 'b' or 'c', scaled by phi; see `compound_scale` and `mbconv`."""
    config = compound_scale(CONFIGS[letter], alpha=alpha, beta=beta, gamma=gamma, phi=phi)
    return mbconv(config, num_classes)


def hand_made_resolution(letter, *, alpha=1.0, beta=1.0, gamma=1.0, phi=0.0):
    """The side in pixels of the training images of network 'a', 'b' or 'c', scaled by phi."""
    config = compound_scale(CONFIGS[letter], alpha=alpha, beta=beta, gamma=gamma, phi=phi)
    return config.resolution


def _unit(x, stage, stride, name):
    """One inverted residual unit: expand (with the stride), depthwise, project, add."""
    wide = stage.channels * stage.expansion
    y = _conv(x, wide, f'{name}.expand.conv', stride=stride)
    y = BatchNormalization(name=f'{name}.expand.norm')(y)
    y = keras.layers.ReLU(6, name=f'{name}.expand.relu')(y)
    y = keras.layers.DepthwiseConv2D(stage.kernel, padding='same', name=f'{name}.depthwise.conv')(y)
    y = BatchNormalization(name=f'{name}.depthwise.norm')(y)
    y = keras.layers.ReLU(6, name=f'{name}.depthwise.relu')(y)
    y = _conv(y, stage.channels, f'{name}.project.conv')
    y = BatchNormalization(name=f'{name}.project.norm')(y)
    if stride != 1 or x.shape[-1] != stage.channels:
        x = _conv(x, stage.channels, f'{name}.shortcut.conv', stride=stride)
    return keras.layers.Add(name=f'{name}.add')([y, x])


def _conv(x, channels, name, kernel=1, stride=1):
    conv = keras.layers.Conv2D(channels, kernel, strides=stride, padding='same', name=name)
    return conv(x)
