"""The mean and deviation of red, green and blue over the photos of a split."""

import numpy as np
import tensorflow as tf

from tfnets.data.operations.decoding import decode


def measure(source):
    """Looks through a split once.

    Every pixel of every photo counts once, at the photo's own size.

    Args:
        source: Source or StreamedSource.

    Returns:
        Two lists of three floats from 0 to 1: mean and standard deviation.
    """

    def sums(example):
        pixels = tf.reshape(tf.cast(decode(example['image']), tf.float64), [-1, 3]) / 255
        count = tf.cast(tf.shape(pixels)[0], tf.float64)
        return count, tf.reduce_sum(pixels, 0), tf.reduce_sum(pixels**2, 0)

    # Added up in stored order, so that it comes out the same to the bit each time.
    dataset = source.stored().map(sums, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    totals = [np.zeros(()), np.zeros(3), np.zeros(3)]
    for parts in dataset.as_numpy_iterator():
        totals = [total + part for total, part in zip(totals, parts, strict=True)]
    count, first, second = totals
    mean = first / count
    return mean.tolist(), np.sqrt(second / count - mean**2).tolist()
