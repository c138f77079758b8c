"""Operations on images, of which one-line pipelines are made (see preprocessing.py).

An operation's first parameter is `encoded`, the bytes of an image file, or `image`, float32
[height, width, 3] from 0 to 255. A random one has a parameter `seed`, int32 [2]. The others are
annotated with what they accept: one of the functions below, which answer the value as the operation
wants it, or raise ValueError.
"""

import math


class _TensorFlow:
    """Imports TensorFlow when it is first used, so that a line can be checked long before."""

    def __getattr__(self, name):
        import tensorflow

        return getattr(tensorflow, name)


tf = _TensorFlow()

OPERATIONS = {}


def _operation(function):
    OPERATIONS[function.__name__] = function
    return function


# ------------------------------------------------------------------------------- what is accepted


def number(value):
    """Accepts a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError
    return value


def pixels(value):
    """Accepts a length in pixels, 1 to 16384, rounded to the nearest."""
    rounded = round(number(value))
    if not 1 <= rounded <= 16384:
        raise ValueError
    return rounded


def share(value):
    """Accepts a share, above 0 and at most 1."""
    if not 0 < number(value) <= 1:
        raise ValueError
    return float(value)


def factor(value):
    """Accepts a number that is not negative."""
    if number(value) < 0:
        raise ValueError
    return float(value)


def shares(value):
    """Accepts two shares, the smaller first."""
    low, high = map(share, _pair(value))
    if low > high:
        raise ValueError
    return low, high


def ratios(value):
    """Accepts two numbers above 0, the smaller first."""
    low, high = map(factor, _pair(value))
    if not 0 < low <= high:
        raise ValueError
    return low, high


def boolean(value):
    """Accepts True or False."""
    if not isinstance(value, bool):
        raise ValueError
    return value


def interpolation_name(value):
    """Accepts 'nearest', 'bilinear', 'bicubic', 'area', 'lanczos3' or 'lanczos5'."""
    if value not in ('nearest', 'bilinear', 'bicubic', 'area', 'lanczos3', 'lanczos5'):
        raise ValueError
    return value


def _pair(value):
    if not isinstance(value, tuple) or len(value) != 2:
        raise ValueError
    return value


# ------------------------------------------------------------------------------------- decoding


@_operation
def decode(encoded):
    """Decodes a JPEG, PNG, GIF or BMP file whole, to three channels."""
    image = tf.io.decode_image(encoded, channels=3, expand_animations=False)
    image.set_shape([None, None, 3])
    return tf.cast(image, tf.float32)


@_operation
def decode_area_crop(
    encoded,
    seed,
    size: pixels,
    low: share,
    high: share,
    interpolation: interpolation_name = 'bilinear',
    antialias: boolean = True,
):
    """Cuts out a random square by its share of the area, and resizes it (AdamStein97's crop).

    The share is uniform from `low` to `high`, both held below short side / long side, so that the
    square fits.

    Args:
        encoded: scalar string, an image file.
        seed: int32 [2].
        size: side of the result in pixels.
        low: least share of the image's area, in (0, 1].
        high: greatest share of the image's area, in (0, 1].
        interpolation: as tf.image.resize names it.
        antialias: whether shrinking averages over all pixels that it covers.

    Returns:
        float32 [size, size, 3].
    """
    box = area_box(image_size(encoded), seed, low, high)
    return _resize(_decode_box(encoded, box), (size, size), interpolation, antialias)


@_operation
def decode_inception_crop(
    encoded,
    seed,
    size: pixels,
    area: shares = (0.08, 1.0),
    ratio: ratios = (3 / 4, 4 / 3),
    interpolation: interpolation_name = 'bilinear',
    antialias: boolean = True,
):
    """Cuts out a random rectangle and resizes it to a square, as torchvision's RandomResizedCrop.

    Args:
        encoded: scalar string, an image file.
        seed: int32 [2].
        size: side of the result in pixels.
        area: least and greatest share of the image's area.
        ratio: least and greatest width over height, drawn uniformly in its logarithm.
        interpolation: as tf.image.resize names it.
        antialias: whether shrinking averages over all pixels that it covers.

    Returns:
        float32 [size, size, 3].
    """
    box = inception_box(image_size(encoded), seed, area, ratio)
    return _resize(_decode_box(encoded, box), (size, size), interpolation, antialias)


def image_size(encoded):
    """Returns int32 [2], height and width of an image file; of a JPEG without decoding it."""
    return tf.cond(
        tf.io.is_jpeg(encoded),
        lambda: tf.io.extract_jpeg_shape(encoded)[:2],
        lambda: tf.shape(tf.io.decode_image(encoded, channels=3, expand_animations=False))[:2],
    )


def area_box(size, seed, low, high):
    """Draws the square of `decode_area_crop`.

    Args:
        size: pixels32 [2], height and width.
        seed: int32 [2].
        low: least share of the area.
        high: greatest share of the area.

    Returns:
        int32 [4]: top, left, height, width.
    """
    sides = tf.cast(size, tf.float32)
    most = tf.reduce_min(sides) / tf.reduce_max(sides)
    draw = tf.random.stateless_uniform([3], seed)
    low, high = tf.minimum(low, most), tf.minimum(high, most)
    share = low + draw[0] * (high - low)
    side = tf.round(tf.sqrt(share * sides[0] * sides[1]))
    side = tf.clip_by_value(side, 1.0, tf.reduce_min(sides))
    corner = tf.floor(draw[1:] * (sides - side + 1))
    corner = tf.minimum(corner, sides - side)
    return tf.cast(tf.concat([corner, [side, side]], 0), tf.int32)


def inception_box(size, seed, area, ratio):
    """Draws the rectangle of `decode_inception_crop`: the first of ten tries that fits.

    If none fits, it is the largest one in the middle whose ratio is allowed.

    Args:
        size: pixels32 [2], height and width.
        seed: int32 [2].
        area: least and greatest share of the area.
        ratio: least and greatest width over height.

    Returns:
        int32 [4]: top, left, height, width.
    """
    sides = tf.cast(size, tf.float32)
    draw = tf.random.stateless_uniform([4, 10], seed)
    target = (area[0] + draw[0] * (area[1] - area[0])) * sides[0] * sides[1]
    low, high = tf.math.log(ratio[0]), tf.math.log(ratio[1])
    aspect = tf.exp(low + draw[1] * (high - low))
    tries = tf.round(tf.stack([tf.sqrt(target / aspect), tf.sqrt(target * aspect)]))
    fits = tf.reduce_all((tries > 0) & (tries <= sides[:, None]), 0)
    own = sides[1] / sides[0]
    wide = tf.stack([sides[0], tf.round(sides[0] * ratio[1])])
    tall = tf.stack([tf.round(sides[1] / ratio[0]), sides[1]])
    fallback = tf.where(own < ratio[0], tall, tf.where(own > ratio[1], wide, sides))
    first = tf.argmax(tf.cast(fits, tf.int32))
    found = tf.reduce_any(fits)
    box = tf.where(found, tries[:, first], fallback)
    anywhere = tf.minimum(tf.floor(draw[2:, first] * (sides - box + 1)), sides - box)
    corner = tf.where(found, anywhere, (sides - box) // 2)
    return tf.cast(tf.concat([corner, box], 0), tf.int32)


def _decode_box(encoded, box):
    """Decodes one rectangle; of a JPEG only the blocks that it touches."""
    image = tf.cond(
        tf.io.is_jpeg(encoded),
        lambda: tf.image.decode_and_crop_jpeg(encoded, box, channels=3),
        lambda: tf.slice(
            tf.io.decode_image(encoded, channels=3, expand_animations=False),
            [box[0], box[1], 0],
            [box[2], box[3], 3],
        ),
    )
    image.set_shape([None, None, 3])
    return tf.cast(image, tf.float32)


# ------------------------------------------------------------------------------------- geometry


@_operation
def resize_short_side(
    image, size: pixels, interpolation: interpolation_name = 'bilinear', antialias: boolean = True
):
    """Resizes so that the shorter side has `size` pixels and the aspect is kept.

    The longer side is cut to a whole number of pixels, as torchvision does.
    """
    sides = tf.shape(image)[:2]
    scaled = sides * size // tf.reduce_min(sides)
    return _resize(image, scaled, interpolation, antialias)


@_operation
def resize(
    image, size: pixels, interpolation: interpolation_name = 'bilinear', antialias: boolean = True
):
    """Resizes to a square of `size` pixels; the aspect is lost."""
    return _resize(image, (size, size), interpolation, antialias)


@_operation
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


@_operation
def flip_lr(image, seed):
    """Mirrors half of the images, left to right."""
    draw = tf.random.stateless_uniform([], seed)
    return tf.cond(draw < 0.5, lambda: tf.reverse(image, [1]), lambda: image)


def _resize(image, size, interpolation, antialias):
    image = tf.image.resize(image, size, method=interpolation, antialias=antialias)
    return tf.clip_by_value(image, 0.0, 255.0)  # bicubic overshoots


# --------------------------------------------------------------------------------------- colour


@_operation
def brightness(image, seed, amount: factor):
    """Adds one number to all pixels, uniform within +-`amount` of the full range."""
    delta = tf.random.stateless_uniform([], seed, -amount, amount)
    return tf.clip_by_value(image + 255 * delta, 0.0, 255.0)


@_operation
def contrast(image, seed, low: factor, high: factor):
    """Scales the distance from each channel's mean by a factor uniform from `low` to `high`."""
    factor = tf.random.stateless_uniform([], seed, low, high)
    return tf.clip_by_value(tf.image.adjust_contrast(image, factor), 0.0, 255.0)


@_operation
def saturation(image, seed, low: factor, high: factor):
    """Multiplies the saturation (of hue, saturation, value) by a factor from `low` to `high`."""
    factor = tf.random.stateless_uniform([], seed, low, high)
    return tf.image.adjust_saturation(image, factor)
