"""Operations that cover a part of an image."""

from tfnets.data.operations.base import as_uint8, operation, ratios, shares, tf
from tfnets.data.operations.boxes import erased_box
from tfnets.data.operations.chance import level, probability, sometimes

# Of ImageNet, in levels: with these, noise is standard normal once the network has normalized it.
_MEAN = (123.675, 116.28, 103.53)
_DEVIATION = (58.395, 57.12, 57.375)


def filling(value):
    """Accepts 'noise', a level from 0 to 255, or three of them."""
    if value == 'noise':
        return value
    if isinstance(value, tuple) and len(value) == 3:
        return tuple(map(level, value))
    return level(value)


@operation
def random_erasing(
    image,
    seed,
    probability: probability = 0.25,
    area: shares = (0.02, 1 / 3),
    ratio: ratios = (0.3, 3.3),
    fill: filling = 0.0,
):
    """Covers a random rectangle of some images, torchvision's and timm's RandomErasing.

    Theirs stand behind the normalization, so their 0 is the mean colour, here (124, 116, 104).

    Args:
        image: uint8 or float32 [height, width, 3].
        seed: int32 [2].
        probability: of covering anything.
        area: least and greatest share of the image's area.
        ratio: least and greatest height over width, drawn uniformly in its logarithm.
        fill: the level, the three levels, or 'noise', drawn for each value: normal, with
            ImageNet's mean and deviation.

    Returns:
        The image, of its dtype.
    """
    once, where, noise = tf.unstack(tf.random.experimental.stateless_split(seed, 3))

    def change(image):
        shape = tf.shape(image)
        levels = fill
        if fill == 'noise':
            levels = _MEAN + _DEVIATION * tf.random.stateless_normal(shape, noise)
            levels = tf.clip_by_value(levels, 0.0, 255.0)
        # Both projects draw height over width.
        box = erased_box(shape[:2], where, area, (1 / ratio[1], 1 / ratio[0]))
        return covered(image, box, levels)

    return sometimes(change, image, once, probability)


def covered(image, box, levels):
    """Replaces a rectangle (top, left, height, width) by levels that broadcast to the image."""
    levels = tf.cast(levels, tf.float32)
    levels = as_uint8(levels) if image.dtype == tf.uint8 else levels
    return tf.where(_within(tf.shape(image)[:2], box), levels, image)


def _within(size, box):
    """Which pixels lie in a rectangle that may reach out of the image; bool [height, width, 1]."""
    inside = [
        (tf.range(size[axis]) >= box[axis]) & (tf.range(size[axis]) < box[axis] + box[2 + axis])
        for axis in range(2)
    ]
    return (inside[0][:, None] & inside[1])[..., None]
