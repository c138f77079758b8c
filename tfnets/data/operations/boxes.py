"""Rectangles in an image, drawn at random: int32 [4], top, left, height, width."""

from tfnets.data.operations.base import tf


def area_box(size, seed, low, high):
    """Draws the square of `decode_area_crop`.

    Args:
        size: int32 [2], height and width.
        seed: int32 [2].
        low: least share of the area.
        high: greatest share of the area.

    Returns:
        int32 [4].
    """
    sides = tf.cast(size, tf.float32)
    most = tf.reduce_min(sides) / tf.reduce_max(sides)
    draw = tf.random.stateless_uniform([3], seed)
    low, high = tf.minimum(low, most), tf.minimum(high, most)
    share = low + draw[0] * (high - low)
    side = tf.round(tf.sqrt(share * sides[0] * sides[1]))
    side = tf.clip_by_value(side, 1.0, tf.reduce_min(sides))
    return _box(_anywhere(draw[1:], sides, side), [side, side])


def inception_box(size, seed, area, ratio):
    """Draws the rectangle of `decode_inception_crop`: the first of ten tries that fits.

    If none fits, it is the largest one in the middle whose ratio is allowed.

    Args:
        size: int32 [2], height and width.
        seed: int32 [2].
        area: least and greatest share of the area.
        ratio: least and greatest width over height.

    Returns:
        int32 [4].
    """
    sides = tf.cast(size, tf.float32)
    tries, places = _tries(sides, seed, area, ratio)
    fits = tf.reduce_all((tries > 0) & (tries <= sides[:, None]), 0)
    own = sides[1] / sides[0]
    wide = tf.stack([sides[0], tf.round(sides[0] * ratio[1])])
    tall = tf.stack([tf.round(sides[1] / ratio[0]), sides[1]])
    fallback = tf.where(own < ratio[0], tall, tf.where(own > ratio[1], wide, sides))
    first = tf.argmax(tf.cast(fits, tf.int32))
    found = tf.reduce_any(fits)
    box = tf.where(found, tries[:, first], fallback)
    anywhere = _anywhere(places[:, first], sides, box)
    return _box(tf.where(found, anywhere, (sides - box) // 2), box)


def erased_box(size, seed, area, ratio):
    """Draws the rectangle of `random_erasing`: the first of ten tries that fits, else an empty one.

    Args:
        size: int32 [2], height and width.
        seed: int32 [2].
        area: least and greatest share of the area.
        ratio: least and greatest width over height.

    Returns:
        int32 [4].
    """
    sides = tf.cast(size, tf.float32)
    tries, places = _tries(sides, seed, area, ratio)
    fits = tf.reduce_all(tries < sides[:, None], 0)
    first = tf.argmax(tf.cast(fits, tf.int32))
    box = tf.where(tf.reduce_any(fits), tries[:, first], 0.0)
    return _box(_anywhere(places[:, first], sides, box), box)


def _tries(sides, seed, area, ratio):
    """Ten heights and widths, and as many pairs of shares for their places; each float32 [2, 10].

    Areas are uniform, ratios uniform in their logarithm.
    """
    draw = tf.random.stateless_uniform([4, 10], seed)
    target = (area[0] + draw[0] * (area[1] - area[0])) * sides[0] * sides[1]
    low, high = tf.math.log(ratio[0]), tf.math.log(ratio[1])
    aspect = tf.exp(low + draw[1] * (high - low))
    tries = tf.round(tf.stack([tf.sqrt(target / aspect), tf.sqrt(target * aspect)]))
    return tries, draw[2:]


def _anywhere(draw, sides, box):
    """The corner of a box of this size, uniform over where it fits."""
    return tf.minimum(tf.floor(draw * (sides - box + 1)), sides - box)


def _box(corner, size):
    return tf.cast(tf.concat([corner, size], 0), tf.int32)
