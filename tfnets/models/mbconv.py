"""Networks of inverted residual units (MBConv).

Two kinds are made of the same unit:

- EfficientNet B0 to B7 (Tan & Le 2019; official code: tensorflow/tpu,
  models/official/efficientnet).
- The hand-made networks A, B and C of the project 'Efficient Network Scaling with Test Resolution
  Fine-Tuning' (AdamStein97), of some 50,000 parameters each, for small images of two classes. What
  its units do otherwise than EfficientNet's is said by `mbconv_config.HAND_MADE`.

What a network is made of, and how it is scaled, is plain data: `mbconv_config`.
"""

import keras

from tfnets.models import blocks, mbconv_config
from tfnets.models.layers import BatchNormalization, Dropout


def mbconv(config, num_classes, name='mbconv'):
    """Builds the network of a config, for images of any size.

    Args:
        config: MBConvConfig.
        num_classes: size of the output.
        name: of the model.

    Returns:
        keras.Model from uint8 pixels [batch, height, width, 3] to float32 logits
        [batch, num_classes]. Training needs `layers.example_seeds` where it has dropout.
    """
    style = config.style
    pixels, x = blocks.pixels(style.scaling)
    x = _stem(x, config)
    units = sum(stage.units for stage in config.stages)
    done = 0
    for number, stage in enumerate(config.stages, 2):  # the paper counts the stem as stage 1
        for unit in range(stage.units):
            stride = stage.stride if unit == 0 else 1
            rate = config.drop_connect * done / units
            x = _unit(x, stage, style, stride, rate, f'stage{number}.unit{unit + 1}')
            done += 1
    x = _conv(x, config.head_channels, style, 'head.conv')
    x = _norm(x, 'head.norm', style.activation if style.head_activates else None)
    x = keras.layers.GlobalAveragePooling2D(name='head.pool')(x)
    if config.dropout:
        x = Dropout(config.dropout, name='head.dropout')(x)
    return keras.Model(pixels, _classifier(x, num_classes, style), name=name)


def hand_made(letter, num_classes=2, *, alpha=1.0, beta=1.0, gamma=1.0, phi=0.0):
    """Builds network 'a', 'b' or 'c', scaled by phi; see `mbconv_config.compound_scale`."""
    config = mbconv_config.hand_made(letter, alpha=alpha, beta=beta, gamma=gamma, phi=phi)
    return mbconv(config, num_classes, f'mbconv_{letter}')


def efficientnet(variant, num_classes=1000):
    """Builds a published EfficientNet: 'b0' to 'b7'; see `mbconv_config.VARIANTS`."""
    config = mbconv_config.efficientnet(variant)
    return mbconv(config, num_classes, f'efficientnet_{variant}')


def efficientnet_phi(num_classes=1000, *, alpha=1.2, beta=1.1, gamma=1.15, phi=0.0):
    """Builds EfficientNet-B0 scaled by phi; see `mbconv_config.efficientnet_phi`."""
    config = mbconv_config.efficientnet_phi(alpha=alpha, beta=beta, gamma=gamma, phi=phi)
    return mbconv(config, num_classes, 'efficientnet')


def _stem(x, config):
    style = config.style
    x = _conv(x, config.stem_channels, style, 'stem.conv', style.stem_kernel, stride=2)
    if style.stem_activates:
        x = _norm(x, 'stem.norm', style.activation)
    return keras.layers.MaxPooling2D(2, name='stem.pool')(x) if style.stem_pools else x


def _unit(x, stage, style, stride, drop_rate, name):
    """One inverted residual unit: expand, depthwise, squeeze and excite, project, add."""
    inputs = x.shape[-1]
    wide = stage.expansion * (inputs if style.expand_inputs else stage.channels)
    first, second = (stride, 1) if style.stride_first else (1, stride)
    y = x
    if stage.expansion > 1 or not style.expand_inputs:
        y = _conv(y, wide, style, f'{name}.expand.conv', stride=first)
        y = _norm(y, f'{name}.expand.norm', style.activation)
    y = keras.layers.DepthwiseConv2D(
        stage.kernel,
        second,
        'same',
        use_bias=style.use_bias,
        depthwise_initializer=_kernels(style),
        name=f'{name}.depthwise.conv',
    )(y)
    y = _norm(y, f'{name}.depthwise.norm', style.activation)
    if style.squeeze:
        y = blocks.squeeze_excite(y, max(1, int(inputs * style.squeeze)), name, style.activation)
    y = _conv(y, stage.channels, style, f'{name}.project.conv')
    y = _norm(y, f'{name}.project.norm')
    if stride > 1 or inputs != stage.channels:
        if not style.project_shortcut:
            return y
        x = _conv(x, stage.channels, style, f'{name}.shortcut.conv', stride=stride)
    if drop_rate:
        y = Dropout(drop_rate, (None, 1, 1, 1), name=f'{name}.drop_connect')(y)
    return keras.layers.Add(name=f'{name}.add')([y, x])


def _conv(x, channels, style, name, kernel=1, stride=1):
    # TensorFlow's own padding, as both official codes have it.
    return keras.layers.Conv2D(
        channels,
        kernel,
        stride,
        'same',
        use_bias=style.use_bias,
        kernel_initializer=_kernels(style),
        name=name,
    )(x)


def _norm(x, name, activation=None):
    # Keras' constants are those of both official codes: momentum 0.99, epsilon 1e-3.
    x = BatchNormalization(name=name)(x)
    prefix = name.removesuffix('.norm')
    if activation == 'relu6':
        return keras.layers.ReLU(6, name=f'{prefix}.relu')(x)
    return (
        keras.layers.Activation(activation, name=f'{prefix}.{activation}')(x) if activation else x
    )


def _kernels(style):
    return blocks.he_fan_out() if style.he_kernels else 'glorot_uniform'


def _classifier(x, num_classes, style):
    uniform = keras.initializers.VarianceScaling(1 / 3, 'fan_out', 'uniform')
    return keras.layers.Dense(
        num_classes,
        kernel_initializer=uniform if style.he_kernels else 'glorot_uniform',
        dtype='float32',
        name='classifier',
    )(x)
