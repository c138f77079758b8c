"""Batches: their order, their seeds, padding, sharding by process, prefetching.

Training is one endless walk over the data set, a fresh permutation for each epoch. The example at
position i of that walk, and all randomness that is spent on it, are functions of (seed, i) alone:
neither the number of processes, nor of parallel calls, nor a restart in between can change them.
(Colours that end a line are compiled for the batch of one device: for another number of examples
there a pixel may be rounded otherwise, to the next level.)
"""

import dataclasses
import zlib

import numpy as np
import tensorflow as tf

from tfnets.data import faults
from tfnets.data.compiling import compiled
from tfnets.data.preprocessing import Preprocessing
from tfnets.data.source import Source, StreamedSource
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
        colours_on_device: whether the operations of colour that end a training line are only drawn
            here, and done by `finish` where the network is.
        service: address of a tf.data service whose workers prepare the training batches (grpc://
            host:port), of a Source that they can read too; see `_served`.
    """

    source: Source | StreamedSource
    preprocessing: Preprocessing
    batch_size: int
    seed: int = 0
    stream: str = ''
    colours_on_device: bool = False
    service: str | None = None

    def finish(self, batch):
        """What is left to be done to a training batch: its colours, if they are the device's.

        Args:
            batch: an element of `training_dataset`.

        Returns:
            The batch, its images as the network is to see them.
        """
        if 'colours' not in batch:
            return batch
        rest = {name: value for name, value in batch.items() if name != 'colours'}
        return rest | {'image': self.preprocessing.apply_colours(batch['image'], batch['colours'])}

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
        'seed': int32 [replica_batch, 2]}, and 'colours': float32 [replica_batch, k], what
        `finish` needs, where colours are left to the device.
    """
    share = _Share(batches.batch_size, context)
    dataset, locate = _walk(batches, share, start, stop)
    if batches.service:
        dataset = _by_step(share, start, stop)

    def prepared(*element):
        position, example = locate(*element)
        seed = _seed(batches, position)
        return example | _pixels(batches, example['image'], seed) | {'seed': seed}

    dataset = dataset.map(prepared, num_parallel_calls=tf.data.AUTOTUNE)
    dataset = _batched(dataset, share, _painted(batches))
    return _served(dataset, batches.service) if batches.service else dataset


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
    share = _Share(batches.batch_size, context)
    size = len(batches.source)

    if isinstance(batches.source, StreamedSource):
        stored = batches.source.stored()
        # Padding repeats an example: every batch has one shape, whatever stands in it.
        padding = stored.take(1).repeat(batches.evaluation_steps * batches.batch_size - size)
        dataset = stored.concatenate(padding).enumerate().filter(share.holds)
        locate = _as_is
    else:
        dataset = share.positions(0, batches.evaluation_steps)
        locate = lambda position: (  # noqa: E731
            position,
            batches.source.example(tf.minimum(position, size - 1)),
        )

    def prepared(*element):
        position, example = locate(*element)
        index = tf.where(position < size, position, -1)
        return example | {'image': batches.preprocessing(example['image']), 'index': index}

    dataset = dataset.map(prepared, num_parallel_calls=tf.data.AUTOTUNE)
    return _batched(dataset, share)


def examples(batches, prepare, count):
    """The first examples of training one by one, prepared in parallel.

    Args:
        batches: Batches; its preprocessing is not used.
        prepare: from a scalar string, an image file, and its seed, int32 [2], to anything.
        count: how many.

    Returns:
        tf.data.Dataset of what `prepare` gives.
    """
    one_by_one = dataclasses.replace(batches, batch_size=1)
    dataset, locate = _walk(one_by_one, _Share(1, None), 0, count)

    def prepared(*element):
        position, example = locate(*element)
        return prepare(example['image'], _seed(batches, position))

    return dataset.map(prepared, num_parallel_calls=tf.data.AUTOTUNE)


def crop_areas(batches, most=20_000):
    """The shares of their images that the first crops of training cut out.

    Args:
        batches: Batches whose preprocessing begins with a random crop.
        most: how many examples to look at; the first epoch has as many as the source.

    Returns:
        float64 [examples] in (0, 1]: crop area / image area.

    Raises:
        InputError: if there is no random crop.
    """

    def area(encoded, seed):
        size, box = batches.preprocessing.crop_box(encoded, seed)
        return tf.reduce_prod(box[2:]) / tf.reduce_prod(size)

    dataset = examples(batches, area, min(most, len(batches.source)))
    with faults.naming_undecodable(batches.source):
        return np.fromiter(dataset.as_numpy_iterator(), np.float64)


def _walk(batches, share, start, stop):
    """The encoded examples of steps start to stop.

    Returns:
        A tf.data.Dataset, and a function from its elements to the position in the walk and the
        encoded example. They are apart so that the function runs in the parallel map that decodes.
    """
    source = batches.source
    if isinstance(source, StreamedSource):
        # Whole epochs are left out unread, and records passed over before any of them is parsed.
        epoch, within = divmod(start * batches.batch_size, len(source))
        dataset = source.shuffled(_key(batches), epoch)
        dataset = dataset.enumerate(epoch * len(source)).skip(within)
        dataset = dataset.take((stop - start) * batches.batch_size).filter(share.holds)
        return dataset, lambda position, record: (position, source.parse(record))

    def locate(position):
        return position, source.example(_index(batches, position))

    return share.positions(start, stop), locate


def _by_step(share, start, stop):
    """The positions of this process, in pieces of a step each, which workers share out."""
    steps = tf.data.Dataset.range(start, stop)
    return steps.flat_map(lambda step: share.positions(step, step + 1))


def _served(dataset, address):
    """Has workers on other hosts prepare the batches.

    Each batch is prepared by one worker and is the very batch that it would be here, but batches
    come in the order in which the workers finish them: such a run is not repeated to the bit.
    """
    service = tf.data.experimental.service
    policy = service.ShardingPolicy.DYNAMIC
    return dataset.apply(service.distribute(policy, address)).prefetch(tf.data.AUTOTUNE)


def _pixels(batches, encoded, seed):
    """An example's pixels, and what was drawn for the operations of colour that end the line."""
    line = batches.preprocessing
    pixels = {'image': line.before_colours(encoded, seed)}
    return pixels | {'colours': line.draw_colours(seed)} if line.colours else pixels


def _painted(batches):
    """What does the colours of a whole batch here; None if there is nothing to be done.

    Compiled, it is one loop over the pixels instead of one for each addition and multiplication; on
    a batch, because calling something compiled takes as long as the colours of some images.
    """
    if batches.colours_on_device or not batches.preprocessing.colours:
        return None
    return compiled(batches.finish)


def _as_is(*element):
    return element


def replica_batch(batch_size, replicas):
    """The examples of a global batch for each replica.

    Raises:
        InputError: if the batch does not divide.
    """
    if batch_size % replicas:
        raise InputError(
            f'--batch_size={batch_size} does not divide among {replicas} devices; '
            f'take a multiple of {replicas}, as {-(-batch_size // replicas) * replicas}'
        )
    return batch_size // replicas


def _key(batches):
    """The seed of a walk, two ints."""
    return [batches.seed & 0x7FFFFFFF, zlib.crc32(batches.stream.encode()) >> 1]


def _index(batches, position):
    """Which example stands at a position of the walk: a permutation for each epoch."""
    size = len(batches.source)
    seed = tf.random.experimental.stateless_fold_in(_key(batches), position // size)
    # The public index_shuffle looks at so few bits of a seed that orders repeat after 256 epochs.
    bits = tf.random.stateless_uniform([3], seed, None, None, tf.int64)
    last = tf.constant(size - 1, tf.int64)
    return tf.raw_ops.RandomIndexShuffle(index=position % size, seed=bits, max_index=last, rounds=8)


def _seed(batches, position):
    """The seed of the example at a position of the walk, int32 [2]."""
    return tf.cast(tf.random.experimental.stateless_fold_in(_key(batches), position), tf.int32)


class _Share:
    """The part of each global batch that belongs to one process.

    Args:
        batch_size: of all processes together.
        context: tf.distribute.InputContext, or None for a single process.
    """

    def __init__(self, batch_size, context):
        context = context or tf.distribute.InputContext()
        self._batch_size = batch_size
        self._size = batch_size // context.num_input_pipelines
        self._first = self._size * context.input_pipeline_id
        self.replica_batch = replica_batch(batch_size, context.num_replicas_in_sync)

    def positions(self, start, stop):
        """The positions of this process in the batches start to stop, as a dataset of int64."""
        dataset = tf.data.Dataset.range(start * self._size, stop * self._size)
        return dataset.map(
            lambda number: (
                number // self._size * self._batch_size + self._first + number % self._size
            )
        )

    def holds(self, position, _):
        """Whether an enumerated element belongs to this process."""
        place = position % self._batch_size
        return (place >= self._first) & (place < self._first + self._size)


def _batched(dataset, share, finish=None):
    dataset = dataset.batch(share.replica_batch, drop_remainder=True)
    if finish:
        dataset = dataset.map(finish, num_parallel_calls=tf.data.AUTOTUNE)
    options = tf.data.Options()
    options.deterministic = True
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return dataset.with_options(options).prefetch(tf.data.AUTOTUNE)
