"""What an MBConv network is, as plain data, and its compound scaling; imports no TensorFlow.

`mbconv` builds networks of these configs, `mbconv_cost` counts what they cost.
"""

import dataclasses
import math

from tfnets.errors import InputError


@dataclasses.dataclass(frozen=True)
class Stage:
    """A run of equal MBConv units.

    Attributes:
        channels: output channels of each unit.
        units: how many; the first one has the stride.
        kernel: side of the depthwise kernel.
        stride: of the first unit, 1 or 2.
        expansion: channels of the depthwise convolution over input or output channels.
        scale_depth: whether compound scaling adds units. (The hand-made networks' project never
            deepens its first stage.)
    """

    channels: int
    units: int
    kernel: int
    stride: int
    expansion: int
    scale_depth: bool = True


@dataclasses.dataclass(frozen=True)
class Style:
    """How the parts of an MBConv network are made.

    Attributes:
        activation: 'relu6' or 'swish'.
        squeeze: channels inside squeeze-excite over the unit's *input* channels; 0 for none.
        expand_inputs: whether a unit expands its input channels, and not at all where the expansion
            is 1; or else its output channels, always.
        stride_first: whether the stride is in the expanding convolution, not in the depthwise one.
        project_shortcut: whether a convolution makes a shortcut where shapes differ; or else such
            units have none.
        use_bias: whether convolutions have biases.
        stem_kernel: side of the stem's kernel, of stride 2.
        stem_activates: whether batch norm and activation follow the stem's convolution.
        stem_pools: whether a 2x2 max-pooling of stride 2 ends the stem.
        head_activates: whether an activation follows the head's batch norm.
        widens_ends: whether compound scaling widens stem and head.
        multiple: compound scaling makes channels a multiple of it.
        he_kernels: whether kernels start as He's, and the classifier uniform in +-1 / sqrt(classes)
            (efficientnet_model.py); or else as Keras has them.
        scaling: of pixels, see `layers.PixelScaling`.
    """

    activation: str
    squeeze: float
    expand_inputs: bool
    stride_first: bool
    project_shortcut: bool
    use_bias: bool
    stem_kernel: int
    stem_activates: bool
    stem_pools: bool
    head_activates: bool
    widens_ends: bool
    multiple: int
    he_kernels: bool
    scaling: str


EFFICIENTNET = Style(
    activation='swish',
    squeeze=0.25,
    expand_inputs=True,
    stride_first=False,
    project_shortcut=False,
    use_bias=False,
    stem_kernel=3,
    stem_activates=True,
    stem_pools=False,
    head_activates=True,
    widens_ends=True,
    multiple=8,
    he_kernels=True,
    scaling='torch',
)

# That project's code (tf_models.py); its README leaves the max-pooling out.
HAND_MADE = Style(
    activation='relu6',
    squeeze=0.0,
    expand_inputs=False,
    stride_first=True,
    project_shortcut=True,
    use_bias=True,
    stem_kernel=7,
    stem_activates=False,
    stem_pools=True,
    head_activates=False,
    widens_ends=False,
    multiple=1,
    he_kernels=False,
    scaling='unit',
)


@dataclasses.dataclass(frozen=True)
class MBConvConfig:
    """A network of MBConv stages between a strided stem and a 1x1 head.

    Attributes:
        stem_channels: of the first convolution.
        stages: from input to output.
        head_channels: of the last 1x1 convolution.
        resolution: side of the training images in pixels.
        style: how its parts are made.
        dropout: rate before the classifier.
        drop_connect: rate at which the last unit's branch is dropped; it grows linearly from 0.
    """

    stem_channels: int
    stages: tuple[Stage, ...]
    head_channels: int
    resolution: int
    style: Style
    dropout: float = 0.0
    drop_connect: float = 0.0


def _hand_made(stem, channels, units, expansions, kernels, strides):
    rows = zip(channels, units, kernels, strides, expansions, strict=True)
    stages = [Stage(*row, scale_depth=index > 0) for index, row in enumerate(rows)]
    return MBConvConfig(stem, tuple(stages), 40, 64, HAND_MADE)


CONFIGS = {
    'a': _hand_made(10, (12, 12, 18, 24), (1, 3, 3, 2), (1, 6, 6, 6), (3, 5, 3, 3), (2, 1, 1, 2)),
    'b': _hand_made(
        8, (12, 16, 20, 28, 32), (1,) * 5, (1, 6, 6, 6, 6), (3, 7, 5, 5, 3), (2, 1, 1, 1, 2)
    ),
    'c': _hand_made(12, (16, 22, 26, 32), (1, 1, 2, 1), (1, 6, 6, 6), (3, 5, 3, 3), (2, 1, 1, 2)),
    # Paper, table 1.
    'b0': MBConvConfig(
        32,
        (
            Stage(16, 1, 3, 1, 1),
            Stage(24, 2, 3, 2, 6),
            Stage(40, 2, 5, 2, 6),
            Stage(80, 3, 3, 2, 6),
            Stage(112, 3, 5, 1, 6),
            Stage(192, 4, 5, 2, 6),
            Stage(320, 1, 3, 1, 6),
        ),
        1280,
        224,
        EFFICIENTNET,
        dropout=0.2,
        drop_connect=0.2,
    ),
}

# Width, depth, resolution and dropout of the published networks (efficientnet_builder.py). They
# were rounded by hand: no phi gives them exactly.
VARIANTS = {
    'b0': (1.0, 1.0, 224, 0.2),
    'b1': (1.0, 1.1, 240, 0.2),
    'b2': (1.1, 1.2, 260, 0.3),
    'b3': (1.2, 1.4, 300, 0.3),
    'b4': (1.4, 1.8, 380, 0.4),
    'b5': (1.6, 2.2, 456, 0.4),
    'b6': (1.8, 2.6, 528, 0.5),
    'b7': (2.0, 3.1, 600, 0.5),
}


def compound_scale(config, *, alpha, beta, gamma, phi):
    """Deepens, widens and enlarges a network together (Tan & Le 2019, section 3.3).

    Depth grows by alpha**phi, width by beta**phi and resolution by gamma**phi, rounded as the
    config's style has it: see `scale`.

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
    if not 0 <= phi < float('inf'):
        raise InputError(f'phi must be at least 0, got {phi}: 0 is the base network itself')
    for name, value in {'alpha': alpha, 'beta': beta, 'gamma': gamma}.items():
        if not 0 < value < float('inf'):
            raise InputError(f'{name} must be above 0, got {value}: it is a growth factor')
    try:
        width, depth = beta**phi, alpha**phi
        resolution = round(config.resolution * gamma**phi)
    except OverflowError:
        raise InputError(f'phi = {phi:g}: a network so large has no size') from None
    return scale(config, width=width, depth=depth, resolution=resolution)


def scale(config, *, width, depth, resolution):
    """Multiplies the channels and the units of every stage.

    The hand-made networks round both to the nearest integer, halves to even, and leave stem and
    head as they are. EfficientNet rounds channels to a multiple of 8, never more than a tenth down,
    and units up (efficientnet_model.py: round_filters, round_repeats).

    Args:
        config: MBConvConfig.
        width: factor of the channels, above 0.
        depth: factor of the units, above 0.
        resolution: of the new config, in pixels.

    Returns:
        MBConvConfig.
    """
    style = config.style

    def channels(count):
        return max(1, _to_multiple(count * width, style.multiple))

    def scaled(stage):
        units = stage.units * depth
        units = math.ceil(units) if style.expand_inputs else max(1, round(units))
        return dataclasses.replace(
            stage,
            channels=channels(stage.channels),
            units=units if stage.scale_depth else stage.units,
        )

    ends = {}
    if style.widens_ends:
        ends = {
            name: channels(getattr(config, name)) for name in ('stem_channels', 'head_channels')
        }
    stages = tuple(scaled(stage) for stage in config.stages)
    return dataclasses.replace(config, stages=stages, resolution=resolution, **ends)


def _to_multiple(channels, multiple):
    if multiple == 1:
        return round(channels)
    rounded = max(multiple, int(channels + multiple / 2) // multiple * multiple)
    return rounded + multiple if rounded < 0.9 * channels else rounded


def hand_made(letter, *, alpha=1.0, beta=1.0, gamma=1.0, phi=0.0):
    """The config of network 'a', 'b' or 'c', scaled by phi; see `compound_scale`."""
    return compound_scale(CONFIGS[letter], alpha=alpha, beta=beta, gamma=gamma, phi=phi)


def efficientnet(variant):
    """The config of a published EfficientNet: 'b0' to 'b7'; see `VARIANTS`."""
    if variant not in VARIANTS:
        raise InputError(f'variant must be one of {", ".join(VARIANTS)}, got {variant}')
    width, depth, resolution, dropout = VARIANTS[variant]
    config = scale(CONFIGS['b0'], width=width, depth=depth, resolution=resolution)
    return dataclasses.replace(config, dropout=dropout)


def efficientnet_phi(*, alpha=1.2, beta=1.1, gamma=1.15, phi=0.0):
    """The config of EfficientNet-B0 scaled by phi (coefficients: paper, section 4)."""
    return compound_scale(CONFIGS['b0'], alpha=alpha, beta=beta, gamma=gamma, phi=phi)
