"""What operations share that are done to some images only, or fill in pixels that are missing."""

from tfnets.data.operations.base import number, tf


def probability(value):
    """Accepts a probability, 0 to 1."""
    if not 0 <= number(value) <= 1:
        raise ValueError
    return float(value)


def level(value):
    """Accepts a level, 0 (black) to 255."""
    if not 0 <= number(value) <= 255:
        raise ValueError
    return float(value)


def sometimes(change, image, seed, probability):
    """Returns change(image) with a probability, else the image, which must be of the same dtype."""
    draw = tf.random.stateless_uniform([], seed)
    changed = tf.cond(draw < probability, lambda: change(image), lambda: image)
    changed.set_shape(image.shape)
    return changed
