"""What cannot be read or decoded, and how it is named."""

import contextlib
import re

import numpy as np
import tensorflow as tf
from absl import logging

from tfnets.data import headers, operations
from tfnets.data.source import StreamedSource
from tfnets.errors import InputError, few


def damaged(source):
    """Finds the examples that do not decode or are too large to, by decoding all others.

    Args:
        source: Source or StreamedSource.

    Returns:
        List of indices into the source in stored order, ascending.

    Raises:
        InputError: names the first record of a stream that cannot be read at all, as in a file that
            is cut short, or whose label has no class.
    """
    streamed = isinstance(source, StreamedSource)

    def check(index, example):
        encoded = example['image'] if streamed else source.read(index)
        decoded = tf.cond(headers.fits(encoded), lambda: operations.decode(encoded), _nothing)
        # The image has to be looked at, or else it would not be decoded at all.
        return tf.where(tf.size(decoded) > 0, index, -1)

    numbers = tf.data.Dataset.range(len(source))
    dataset = tf.data.Dataset.zip(numbers, source.stored() if streamed else numbers)
    dataset = dataset.map(check, num_parallel_calls=tf.data.AUTOTUNE)
    sound = np.zeros(len(source), bool)
    try:
        _mark(sound, dataset if streamed else dataset.ignore_errors())
    except tf.errors.OpError:
        raise_fault(source)
        # All of them can be read, so that each error is left out under its own number.
        _mark(sound, dataset.ignore_errors())
    return np.flatnonzero(~sound).tolist()


@contextlib.contextmanager
def naming_undecodable(source):
    """Says which examples it was where a batch could not be made.

    Args:
        source: Source or StreamedSource of the batches; on an error of theirs all of it is looked
            through.

    Raises:
        InputError: names the examples, or the record that cannot be read.
    """
    try:
        yield
    except tf.errors.OpError as error:
        ours = (
            tf.errors.InvalidArgumentError,
            tf.errors.DataLossError,
            tf.errors.NotFoundError,
            tf.errors.FailedPreconditionError,  # fewer records than there should be
        )
        if not isinstance(error, ours) or 'GetNext' not in error.message:  # not from the data
            raise
        logging.info('a photo cannot be read; looking through all %d of them', len(source))
        bad = damaged(source)
        if not bad:
            raise
        raise InputError(
            f'--dataset={source.name}, {source.split}: {len(bad)} of {len(source)} photos do not '
            f'decode or are too large to ({few(source.ids[bad].tolist())}); mend '
            'or remove them, or leave them out by --skip_damaged, in training from its beginning'
        ) from None


def _mark(sound, dataset):
    for indices in dataset.batch(1024).as_numpy_iterator():
        sound[indices[indices >= 0]] = True


def _nothing():
    return tf.zeros([0, 0, 3], tf.uint8)


@contextlib.contextmanager
def naming_unreadable(source):
    """Says which example it was if a source's files could not be read.

    Args:
        source: Source or StreamedSource; on an error it is read once more, to the first fault.

    Raises:
        InputError: names the example, whose name begins with that of its file, and the fault.
    """
    try:
        yield
    except tf.errors.OpError:
        raise_fault(source)
        raise


def raise_fault(source):
    """Reads a source up to the first example that cannot be read; decodes nothing.

    Args:
        source: Source or StreamedSource.

    Raises:
        InputError: if there is one; names it.
    """
    sound = 0
    try:
        for _ in source.stored().map(lambda example: example['label']):
            sound += 1
    except tf.errors.OpError as error:
        raise InputError(
            f'--dataset={source.name}, {source.split}: {source.ids[sound]} cannot be read '
            f'({reason(error)}); mend it, or get or prepare the data set anew'
        ) from None


def reason(error):
    """What a TensorFlow error says, without the names of its operations; one line."""
    text = re.sub(r' \[\[.*| \[Op:.*', '', ' '.join(error.message.split()))
    for head in (r'\{\{.*?\}\} ', r'Error in user-defined function .*? iterator: \S+ '):
        text = re.sub(f'^{head}', '', text)
    label = re.match(r'indices.* = (-?\d+) is not in \[0, (\d+)\)', text)
    if label:
        return f'label {label[1]}, expected 0 to {int(label[2]) - 1}'
    return text or type(error).__name__
