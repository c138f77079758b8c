"""Image files that belong to no data set, prepared for a network."""

import os

import tensorflow as tf

from tfnets.data import faults, headers


def batches(paths, preprocessing, batch_size):
    """The images of files, prepared in parallel; files that cannot be are left out.

    Args:
        paths: list of paths, str.
        preprocessing: Preprocessing, not random.
        batch_size: images at once, the last batch may have fewer.

    Returns:
        tf.data.Dataset of {'index': int64 [batch], place in `paths`, ascending; 'image': uint8
        [batch, height, width, 3]}.
    """

    def prepare(index, path):
        encoded = tf.io.read_file(path)
        with tf.control_dependencies([tf.debugging.Assert(headers.fits(encoded), [path])]):
            encoded = tf.identity(encoded)
        return {'index': index, 'image': preprocessing(encoded)}

    table = tf.constant([os.fsencode(path) for path in paths], tf.string)
    dataset = tf.data.Dataset.from_tensor_slices(table).enumerate()
    dataset = dataset.map(prepare, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return dataset.ignore_errors().batch(batch_size).prefetch(tf.data.AUTOTUNE)


def fault(path, preprocessing):
    """What keeps an image file from being prepared, as one line.

    Args:
        path: str, of a file that `batches` left out.
        preprocessing: Preprocessing.
    """
    try:
        encoded = tf.io.read_file(os.fsencode(path))
        complaint = headers.complaint(encoded.numpy())
        if complaint:
            return complaint
        preprocessing(encoded)
    except tf.errors.OpError as error:
        return faults.reason(error)
    return 'could not be read'
