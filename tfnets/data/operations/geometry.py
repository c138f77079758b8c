"""Operations that move pixels: resizing, cropping, mirroring."""

from tfnets.data.operations.base import (
    as_float,
    as_uint8,
    boolean,
    interpolation_name,
    number,
    operation,
    pixels,
    tf,
)
from tfnets.data.operations.chance import level


def margin(value):
    """Accepts a margin in pixels, 0 to 16384, rounded to the nearest."""
    return round(number(value)) and pixels(value)


def padding_name(value):
    """Accepts 'constant' or 'reflect'."""
    if value not in ('constant', 'reflect'):
        raise ValueError
    return value


@operation(makes='any')
def resize_short_side(
    image, size: pixels, interpolation: interpolation_name = 'bilinear', antialias: boolean = True
):
    """Resizes so that the shorter side has `size` pixels and the aspect is kept.

    The longer side is cut to a whole number of pixels, as torchvision does.
    """
    sides = tf.shape(image)[:2]
    scaled = sides * size // tf.reduce_min(sides)
    return resized(image, scaled, interpolation, antialias)


@operation(makes='square')
def resize(
    image, size: pixels, interpolation: interpolation_name = 'bilinear', antialias: boolean = True
):
    """Resizes to a square of `size` pixels; the aspect is lost."""
    return resized(image, (size, size), interpolation, antialias)


@operation(makes='square')
def center_crop(image, size: pixels):
    """Cuts a square of `size` pixels out of the middle; pads with black where there is less.

    An odd margin is split as torchvision does it: half of it, rounded to the even number.
    """
    missing = tf.maximum(size - tf.shape(image)[:2], 0)
    before = missing // 2
    padding = tf.stack([before, missing - before], 1)
    image = tf.pad(image, tf.concat([padding, tf.zeros([1, 2], tf.int32)], 0))
    margin = tf.cast(tf.shape(image)[:2] - size, tf.float32)
    corner = tf.cast(tf.round(margin / 2), tf.int32)
    return tf.slice(image, [corner[0], corner[1], 0], [size, size, 3])


@operation(makes='square')
def random_crop(
    image,
    seed,
    size: pixels,
    padding: margin = 0,
    border: padding_name = 'constant',
    fill: level = 0.0,
):
    """Cuts out a square at a random place, torchvision's RandomCrop.

    CIFAR's is `random_crop(32, 4)`.

    Args:
        image: uint8 or float32 [height, width, 3].
        seed: int32 [2].
        size: side of the result in pixels.
        padding: pixels that are added on each side before. An image smaller than the square is
            padded further, as by `center_crop`.
        border: what is added: 'constant', or 'reflect', the image mirrored at its outermost pixels,
            for which it must be wider than the padding.
        fill: the level that 'constant' means, black unless told.

    Returns:
        [size, size, 3] of the image's dtype.
    """
    missing = tf.maximum(size - tf.shape(image)[:2] - 2 * padding, 0)
    before = padding + missing // 2
    around = tf.stack([before, 2 * padding + missing - before], 1)
    around = tf.concat([around, tf.zeros([1, 2], tf.int32)], 0)
    image = tf.pad(image, around, border, tf.cast(fill, image.dtype))
    free = tf.cast(tf.shape(image)[:2] - size, tf.float32)
    draw = tf.random.stateless_uniform([2], seed)
    corner = tf.cast(tf.minimum(tf.floor(draw * (free + 1)), free), tf.int32)
    return tf.slice(image, [corner[0], corner[1], 0], [size, size, 3])


@operation
def flip_lr(image, seed):
    """Mirrors half of the images, left to right."""
    draw = tf.random.stateless_uniform([], seed)
    return tf.cond(draw < 0.5, lambda: tf.reverse(image, [1]), lambda: image)


@operation
def flip_ud(image, seed):
    """Mirrors half of the images, top to bottom."""
    draw = tf.random.stateless_uniform([], seed)
    return tf.cond(draw < 0.5, lambda: tf.reverse(image, [0]), lambda: image)


def resized(image, size, interpolation, antialias):
    """Resizes to (height, width); uint8 [height, width, 3], as Pillow's images are."""
    if interpolation == 'bilinear' and not antialias:
        image = as_float(image)  # TensorFlow's loop over floats is the faster one
    image = tf.image.resize(image, size, method=interpolation, antialias=antialias)
    overshoots = interpolation not in ('nearest', 'bilinear', 'area')
    return as_uint8(image) if overshoots else tf.cast(tf.round(image), tf.uint8)
