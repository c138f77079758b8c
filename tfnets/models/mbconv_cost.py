"""What an MBConv network costs, by arithmetic on its config: nothing is built, no TensorFlow.

The same numbers as `analysis.flops.cost` counts in the built network, by the same rules: trainable
parameters, and multiply-adds of convolutions and dense layers for one image.
"""

import dataclasses
import math


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a network costs.

    Attributes:
        resolution: side of the image in pixels.
        trainable: parameters that training may change.
        macs: multiply-adds of one image.
    """

    resolution: int
    trainable: int
    macs: int


def cost(config, num_classes):
    """Counts parameters, and multiply-adds at the config's own resolution.

    Args:
        config: mbconv_config.MBConvConfig.
        num_classes: size of the output.

    Returns:
        Cost.
    """
    style, tally = config.style, _Tally(config.style.use_bias)
    side = math.ceil(config.resolution / 2)
    tally.convolution(3, config.stem_channels, side, style.stem_kernel, norm=style.stem_activates)
    if style.stem_pools:
        side //= 2
    channels = config.stem_channels
    for stage in config.stages:
        for unit in range(stage.units):
            stride = stage.stride if unit == 0 else 1
            side = _unit(tally, stage, style, stride, channels, side)
            channels = stage.channels
    tally.convolution(channels, config.head_channels, side)
    tally.convolution(config.head_channels, num_classes, 1, norm=False, bias=True)
    return Cost(config.resolution, tally.trainable, tally.macs)


class _Tally:
    """Adds up convolutions; a dense layer is one of a single place."""

    def __init__(self, use_bias):
        self._use_bias = use_bias
        self.trainable = self.macs = 0

    def convolution(self, inputs, outputs, side, kernel=1, *, norm=True, bias=None):
        """Counts one, and the scales and offsets of its batch norm.

        Args:
            inputs: channels that each output sees; 1 for a depthwise one.
            outputs: channels.
            side: of what comes out, in pixels.
            kernel: side of the kernel.
            norm: whether batch norm follows.
            bias: whether it has biases; None for as the network's style has it.
        """
        weights = kernel**2 * inputs * outputs
        biased = self._use_bias if bias is None else bias
        self.trainable += weights + outputs * (biased + 2 * norm)
        self.macs += weights * side**2


def _unit(tally, stage, style, stride, inputs, side):
    """Counts one unit, as `mbconv` builds it; answers the side of what comes out."""
    wide = stage.expansion * (inputs if style.expand_inputs else stage.channels)
    first, second = (stride, 1) if style.stride_first else (1, stride)
    inside = math.ceil(side / first)
    if stage.expansion > 1 or not style.expand_inputs:
        tally.convolution(inputs, wide, inside)
    inside = math.ceil(inside / second)
    tally.convolution(1, wide, inside, stage.kernel)
    if style.squeeze:
        squeezed = max(1, int(inputs * style.squeeze))
        tally.convolution(wide, squeezed, 1, norm=False, bias=True)
        tally.convolution(squeezed, wide, 1, norm=False, bias=True)
    tally.convolution(wide, stage.channels, inside)
    if style.project_shortcut and (stride > 1 or inputs != stage.channels):
        tally.convolution(inputs, stage.channels, inside, norm=False)
    return inside
