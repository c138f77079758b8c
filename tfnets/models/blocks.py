"""Pieces of a functional graph that the residual families share.

Padding, initial weights and batch norm's constants are PyTorch's, in which the papers' official
code is written: a convolution pads k // 2 on every side, where TensorFlow's 'same' pads a strided
one more behind than before.
"""

import keras

from tfnets.models.layers import BatchNormalization, Conv2D, PixelScaling


def he_fan_out():
    """N(0, sqrt(2 / (kernel height * kernel width * output channels))), He et al. 2015.

    A new one for each layer: an initializer of Keras draws the same numbers whenever it is called.
    """
    return keras.initializers.VarianceScaling(2.0, 'fan_out', 'untruncated_normal')


def pixels(scaling='torch'):
    """The start of every network.

    Args:
        scaling: mode of `layers.PixelScaling`.

    Returns:
        The input, uint8 [batch, height, width, 3] of any size, and its pixels scaled, in float32.
    """
    entrance = keras.Input((None, None, 3), dtype='uint8', name='pixels')
    return entrance, PixelScaling(scaling, name='scaling')(entrance)


def convolution(x, channels, name, kernel=1, stride=1, groups=1, use_bias=False, initializer=None):
    """A convolution that pads kernel // 2 zeros on every side, whatever the stride."""
    if stride > 1 and kernel > 1:
        x = keras.layers.ZeroPadding2D(kernel // 2, name=f'{name}.padding')(x)
    kind = Conv2D if groups > 1 else keras.layers.Conv2D
    return kind(
        channels,
        kernel,
        strides=stride,
        padding='valid' if stride > 1 else 'same',
        groups=groups,
        use_bias=use_bias,
        kernel_initializer=initializer or he_fan_out(),
        name=name,
    )(x)


def batch_norm(x, name, gamma='ones'):
    """Batch normalization with PyTorch's constants (epsilon 1e-5, momentum 0.1 there, 0.9 here)."""
    return BatchNormalization(momentum=0.9, epsilon=1e-5, gamma_initializer=gamma, name=name)(x)


def relu(x, name):
    """max(x, 0)."""
    return keras.layers.ReLU(name=name)(x)


def conv_norm(x, channels, name, kernel=1, stride=1, groups=1, activate=True, suffix=''):
    """Convolution, batch norm and, unless told otherwise, ReLU: name.conv, name.norm, name.relu."""
    x = convolution(x, channels, f'{name}.conv{suffix}', kernel, stride, groups)
    x = batch_norm(x, f'{name}.norm{suffix}')
    return relu(x, f'{name}.relu{suffix}') if activate else x


def stem_pool(x):
    """3x3 max-pooling of stride 2 over an output of a ReLU, whose zeros around change nothing."""
    x = keras.layers.ZeroPadding2D(1, name='stem.padding')(x)
    return keras.layers.MaxPooling2D(3, 2, name='stem.pool')(x)


def bottleneck_branch(x, inner, outer, name, stride=1, groups=1):
    """1x1, 3x3 (with the stride, and in groups), 1x1, each with batch norm; no ReLU at the end.

    The last gamma starts at zero, so that a fresh unit is its shortcut (Goyal et al. 2017,
    section 5.1; IBM's blresnet.py does so too).
    """
    x = conv_norm(x, inner, name, suffix='1')
    x = conv_norm(x, inner, name, kernel=3, stride=stride, groups=groups, suffix='2')
    x = convolution(x, outer, f'{name}.conv3')
    return batch_norm(x, f'{name}.norm3', gamma='zeros')


def squeeze_excite(x, inner, name, activation='relu'):
    """Scales each channel by a number that all channels' means decide (Hu et al. 2018)."""
    channels = x.shape[-1]
    y = keras.layers.GlobalAveragePooling2D(keepdims=True, name=f'{name}.squeeze.pool')(x)
    y = convolution(y, inner, f'{name}.squeeze.conv', use_bias=True)
    y = keras.layers.Activation(activation, name=f'{name}.squeeze.{activation}')(y)
    y = convolution(y, channels, f'{name}.excite.conv', use_bias=True)
    y = keras.layers.Activation('sigmoid', name=f'{name}.excite.sigmoid')(y)
    return keras.layers.Multiply(name=f'{name}.excite.scale')([x, y])


def head(x, num_classes, kernel_initializer=None, bias_initializer=None):
    """Global average pooling and the classifier, whose logits are float32 under every policy.

    The classifier starts as PyTorch's linear layer does, uniform in +-1 / sqrt(inputs), kernel and
    bias alike, unless told otherwise.
    """
    bound = x.shape[-1] ** -0.5
    x = keras.layers.GlobalAveragePooling2D(name='head.pool')(x)
    return keras.layers.Dense(
        num_classes,
        kernel_initializer=kernel_initializer or keras.initializers.RandomUniform(-bound, bound),
        bias_initializer=bias_initializer or keras.initializers.RandomUniform(-bound, bound),
        dtype='float32',
        name='classifier',
    )(x)
