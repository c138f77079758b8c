"""Images of a batch mixed with one another, and their labels with them.

They need the labels, so they do not stand in a line of operations. An objective calls them on a
training batch, before its network:

    images, labels = mixup(batch['image'], tf.one_hot(batch['label'], classes), batch['seed'], 0.2)

and computes its loss from the labels that come back, as training.objectives.Classification does. An
image's partner is the one as far from the batch's end as it is from the beginning. All numbers are
drawn from the first example's seed, one for each example.
"""

import math

from tfnets.data.operations.base import as_float, as_uint8, tf


def mixup(images, labels, seeds, alpha):
    """Blends each image, and its label, with its partner's (Zhang et al., 2018).

    Args:
        images: uint8 or float32 [batch, height, width, 3], levels or normalized.
        labels: float32 [batch, classes], one-hot or smoothed.
        seeds: int32 [batch, 2], the examples' seeds.
        alpha: the own share is drawn from Beta(alpha, alpha), for each image.

    Returns:
        Images, of the same dtype, and labels.
    """
    share = _beta(seeds, alpha)
    levels = as_float(images)
    mixed = _mean(levels, _partners(levels), share[:, None, None, None])
    mixed = as_uint8(mixed) if images.dtype == tf.uint8 else mixed
    return mixed, _mean(labels, _partners(labels), share[:, None])


def cutmix(images, labels, seeds, alpha):
    """Replaces a rectangle of each image by its partner's (Yun et al., 2019).

    The rectangle has the image's aspect and its middle anywhere; what reaches out of the image is
    cut off. The label's share is the share of pixels that remain, after that.

    Args:
        images: uint8 or float32 [batch, height, width, 3], levels or normalized.
        labels: float32 [batch, classes], one-hot or smoothed.
        seeds: int32 [batch, 2], the examples' seeds.
        alpha: the share of pixels to remain is drawn from Beta(alpha, alpha), for each image.

    Returns:
        Images, of the same dtype, and labels.
    """
    side = tf.sqrt(1 - _beta(seeds, alpha))
    middle = _uniform(seeds, 1)
    rows = _stretch(tf.shape(images)[1], middle[0], side)
    columns = _stretch(tf.shape(images)[2], middle[1], side)
    pasted = rows[:, :, None] & columns[:, None, :]
    share = 1 - tf.reduce_mean(tf.cast(pasted, tf.float32), [1, 2])
    images = tf.where(pasted[..., None], _partners(images), images)
    return images, _mean(labels, _partners(labels), share[:, None])


def mixup_or_cutmix(images, labels, seeds, mixup_alpha, cutmix_alpha):
    """One of the two for the whole batch, by a toss, as torchvision's and timm's recipes have it.

    Args:
        images: uint8 or float32 [batch, height, width, 3], levels or normalized.
        labels: float32 [batch, classes], one-hot or smoothed.
        seeds: int32 [batch, 2], the examples' seeds.
        mixup_alpha: of `mixup`; 0 for cutmix alone.
        cutmix_alpha: of `cutmix`; 0 for mixup alone.

    Returns:
        Images, of the same dtype, and labels.
    """
    batch = (images, labels, seeds)
    if not cutmix_alpha:
        return mixup(*batch, mixup_alpha)
    if not mixup_alpha:
        return cutmix(*batch, cutmix_alpha)
    return tf.cond(
        _uniform(seeds, 2)[0, 0] < 0.5,
        lambda: mixup(*batch, mixup_alpha),
        lambda: cutmix(*batch, cutmix_alpha),
    )


def _stretch(length, middle, share):
    """Which of `length` places lie in each example's stretch; bool [batch, length]."""
    total = tf.cast(length, tf.float32)
    half = tf.floor(total * share) / 2
    begin = tf.floor(tf.floor(middle * total) - half)
    end = begin + 2 * half
    place = tf.range(total)
    return (place >= begin[:, None]) & (place < end[:, None])


def _partners(batch):
    """What belongs to each example's partner; [::-1] would take forty times as long on a CPU."""
    return tf.reverse(tf.convert_to_tensor(batch), [0])


def _mean(own, partner, share):
    return partner + share * (own - partner)


def _uniform(seeds, number):
    """Two numbers for each example, float32 [2, batch]; other ones for another `number`."""
    # By way of bits of a named generator: XLA has another one, and other floats from the same bits.
    seed = tf.random.experimental.stateless_fold_in(seeds[0], number, alg='philox')
    shape = [2, tf.shape(seeds)[0]]
    bits = tf.random.stateless_uniform(shape, seed, None, None, tf.uint32, alg='philox')
    return tf.cast(tf.bitwise.right_shift(bits, tf.constant(8, tf.uint32)), tf.float32) * 2.0**-24


def _beta(seeds, alpha):
    """One number for each example from Beta(alpha, alpha), float32 [batch].

    By way of Student's t (Bailey, 1994), since XLA has no gamma distribution.
    """
    draw = _uniform(seeds, 0)
    radius = tf.sqrt(tf.minimum(tf.math.expm1(-tf.math.log(draw[0]) / alpha), 1e30))
    student = radius * tf.cos(2 * math.pi * draw[1])
    root = tf.sqrt(1 + student**2)
    below_half = 0.5 / (root * (root + tf.abs(student)))
    return tf.where(student < 0, below_half, 1 - below_half)
