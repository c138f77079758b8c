"""Batches: their order, their seeds, padding, sharding by process, prefetching.

Training is one endless walk over the data set, a fresh permutation for each epoch. The example at
position i of that walk, and all randomness that is spent on it, are functions of (seed, i) alone:
neither the number of processes, nor of parallel calls, nor a restart in between can change them.
"""

import dataclasses
import zlib

import numpy as np
import tensorflow as tf

from tfnets.data.preprocessing import Preprocessing
from tfnets.data.sources import Source
from tfnets.errors import InputError


@dataclasses.dataclass(frozen=True, eq=False)
class Batches:
    """What is fed to a network: examples, what is done to them, how many at a time.

    Attributes:
        source: the examples.
        preprocessing: from an image file to pixels.
        batch_size: of all devices of all processes together.
        seed: int, of order and augmentation; not used by an evaluation.
        stream: a name that is mixed into the seed, so that two phases of one run differ.
    """

    source: Source
    preprocessing: Preprocessing
    batch_size: int
    seed: int = 0
    stream: str = ''

    @property
    def steps_per_epoch(self):
        """Batches in a walk over the whole data set, a broken number."""
        return len(self.source) / self.batch_size

    @property
    def evaluation_steps(self):
        """Batches that hold every example once, the last one padded."""
        return -(-len(self.source) // self.batch_size)


def training_dataset(batches, start, stop, context=None):
    """The batches of steps start to stop, as one process reads them.

    Args:
        batches: Batches; its preprocessing may be random.
        start: first step, counted from the beginning of training.
        stop: the step to stop before.
        context: tf.distribute.InputContext of the process, None for a single one.

    Returns:
        tf.data.Dataset of batches for one replica each, one replica after the other:
        {'image': uint8 [replica_batch, height, width, 3], 'label': int32 [replica_batch],
        'seed': int32 [replica_batch, 2]}.
    """
    share, first, replica_batch = _share(batches.batch_size, context)

    def example(number):
        position = number // share * batches.batch_size + first + number % share
        index, seed = _place(batches, position)
        return _example(batches, index, seed) | {'seed': seed}

    dataset = tf.data.Dataset.range(start * share, stop * share)
    dataset = dataset.map(example, num_parallel_calls=tf.data.AUTOTUNE)
    dataset = dataset.batch(replica_batch, drop_remainder=True)
    return _finished(dataset)


def evaluation_dataset(batches, context=None):
    """Every example once, in stored order; the last batch is padded.

    Args:
        batches: Batches; its preprocessing must not be random.
        context: tf.distribute.InputContext of the process, None for a single one.

    Returns:
        tf.data.Dataset of batches for one replica each, one replica after the other:
        {'image', 'label'} as for training, and 'index': int64 [replica_batch], the example's
        place in the source, -1 for padding.
    """
    share, first, replica_batch = _share(batches.batch_size, context)
    size = len(batches.source)

    def example(number):
        position = number // share * batches.batch_size + first + number % share
        index = tf.where(position < size, position, -1)
        # Padding repeats the last example: every batch has one shape, whatever stands in it.
        return _example(batches, tf.minimum(position, size - 1), None) | {'index': index}

    dataset = tf.data.Dataset.range(batches.evaluation_steps * share)
    dataset = dataset.map(example, num_parallel_calls=tf.data.AUTOTUNE)
    dataset = dataset.batch(replica_batch, drop_remainder=True)
    return _finished(dataset)


def damaged(source):
    """Finds the examples that do not decode, by decoding them all.

    Args:
        source: Source.

    Returns:
        List of indices into the source, ascending.
    """
    from tfnets.data import preprocessing

    def check(index):
        image = preprocessing.decode(source.read(index))
        # The image has to be looked at, or else it would not be decoded at all.
        return tf.where(tf.size(image) > 0, index, -1)

    dataset = tf.data.Dataset.range(len(source))
    dataset = dataset.map(check, num_parallel_calls=tf.data.AUTOTUNE).ignore_errors()
    sound = {int(index) for index in dataset.as_numpy_iterator()}
    return [index for index in range(len(source)) if index not in sound]


def crop_areas(batches):
    """The shares of their images that the crops of the first epoch of training cut out.

    Args:
        batches: Batches whose preprocessing begins with a random crop.

    Returns:
        float64 [examples] in (0, 1]: crop area / image area.

    Raises:
        InputError: if there is no random crop.
    """

    def share(position):
        index, seed = _place(batches, position)
        size, box = batches.preprocessing.crop_box(batches.source.read(index), seed)
        return tf.reduce_prod(box[2:]) / tf.reduce_prod(size)

    dataset = tf.data.Dataset.range(len(batches.source))
    dataset = dataset.map(share, num_parallel_calls=tf.data.AUTOTUNE)
    return np.fromiter(dataset.as_numpy_iterator(), np.float64)


def _place(batches, position):
    """Which example stands at a position of the walk, and its seed, int32 [2]."""
    key = [batches.seed & 0x7FFFFFFF, zlib.crc32(batches.stream.encode()) & 0x7FFFFFFF]
    size = len(batches.source)
    epoch_seed = tf.random.experimental.stateless_fold_in(key, position // size)
    index = tf.random.experimental.index_shuffle(position % size, epoch_seed, size - 1)
    return index, tf.random.experimental.stateless_fold_in(key, position)


def _example(batches, index, seed):
    image = batches.preprocessing(batches.source.read(index), seed)
    return {'image': image, 'label': tf.gather(batches.source.labels, index)}


def _share(batch_size, context):
    """Examples of each global batch for this process, the first of them, and for a replica."""
    context = context or tf.distribute.InputContext()
    replicas = context.num_replicas_in_sync
    if batch_size % replicas:
        raise InputError(
            f'--batch_size={batch_size} does not divide among {replicas} devices; '
            f'take a multiple of {replicas}, as {-(-batch_size // replicas) * replicas}'
        )
    share = batch_size // context.num_input_pipelines
    return share, share * context.input_pipeline_id, batch_size // replicas


def _finished(dataset):
    options = tf.data.Options()
    options.deterministic = True
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return dataset.with_options(options).prefetch(tf.data.AUTOTUNE)
