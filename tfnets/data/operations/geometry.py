"""Operations that move pixels: resizing, cropping, mirroring."""

from tfnets.data.operations.base import boolean, interpolation_name, operation, pixels, tf


@operation
def resize_short_side(
    image, size: pixels, interpolation: interpolation_name = 'bilinear', antialias: boolean = True
):
    """Resizes so that the shorter side has `size` pixels and the aspect is kept.

    The longer side is cut to a whole number of pixels, as torchvision does.
    """
    sides = tf.shape(image)[:2]
    scaled = sides * size // tf.reduce_min(sides)
    return resized(image, scaled, interpolation, antialias)


@operation
def resize(
    image, size: pixels, interpolation: interpolation_name = 'bilinear', antialias: boolean = True
):
    """Resizes to a square of `size` pixels; the aspect is lost."""
    return resized(image, (size, size), interpolation, antialias)


@operation
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


@operation
def flip_lr(image, seed):
    """Mirrors half of the images, left to right."""
    draw = tf.random.stateless_uniform([], seed)
    return tf.cond(draw < 0.5, lambda: tf.reverse(image, [1]), lambda: image)


def resized(image, size, interpolation, antialias):
    """Resizes to (height, width); float32 [height, width, 3] from 0 to 255."""
    image = tf.image.resize(image, size, method=interpolation, antialias=antialias)
    overshoots = interpolation not in ('nearest', 'bilinear', 'area')
    return tf.clip_by_value(image, 0.0, 255.0) if overshoots else image
