"""The mean and deviation of red, green and blue over photos, exact in whole numbers."""

import math

import numpy as np
import tensorflow as tf

from tfnets.data.operations.decoding import decode
from tfnets.errors import InputError


def measure(source):
    """Looks through a split once.

    Every pixel of every photo counts once, at the photo's own size.

    Args:
        source: Source or StreamedSource.

    Returns:
        Two lists of three floats from 0 to 1: mean and standard deviation.

    Raises:
        InputError: if all pixels are the same in a channel, so that nothing can be divided by it.
    """
    dataset = source.stored().map(
        lambda example: sums(decode(example['image'])), num_parallel_calls=tf.data.AUTOTUNE
    )
    mean, deviation = of_sums(dataset.as_numpy_iterator())[1:]
    for channel, value in zip(('red', 'green', 'blue'), deviation, strict=True):
        if not value:
            raise InputError(
                f'--pixel_statistics=training: {source.name}, {source.split}: all pixels have the '
                f'same {channel}, so that nothing can be divided by its deviation; take '
                '--pixel_statistics=imagenet'
            )
    return [value / 255 for value in mean], [value / 255 for value in deviation]


def sums(image):
    """What the statistics of an image are made of.

    Args:
        image: uint8 [height, width, 3], at most 16384 pixels high.

    Returns:
        int64 [3, 3], for red, green and blue in columns: the number of pixels, their sum and the
        sum of their squares.
    """
    # The squares of a column of 16384 pixels fit into 32 bits, which are faster to add up.
    values = tf.cast(image, tf.int32)
    columns = [tf.reduce_sum(each, 0) for each in (values, values**2)]
    totals = [tf.reduce_sum(tf.cast(column, tf.int64), 0) for column in columns]
    return tf.stack([tf.fill([3], tf.size(image, tf.int64) // 3), *totals])


def of_sums(parts):
    """The statistics of all images together, whatever order they come in.

    Args:
        parts: iterable of what `sums` answered for each of them, as integers.

    Returns:
        The number of pixels; two lists of three floats from 0 to 255, mean and standard deviation.
    """
    total = np.zeros([3, 3], object)  # Python's whole numbers, which have no end
    for part in parts:
        total += np.asarray(part, object)
    (count, *_), first, second = total.tolist()
    deviation = [
        math.sqrt(count * square - part**2) / count
        for part, square in zip(first, second, strict=True)
    ]
    return count, [part / count for part in first], deviation
