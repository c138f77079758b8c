"""What a source of encoded examples is: one split of a data set, before anything is decoded."""

import dataclasses
import os
from collections.abc import Callable

import numpy as np
import tensorflow as tf

SPLITS = ('train', 'validation', 'test')


@dataclasses.dataclass(frozen=True, eq=False)
class Source:
    """One split of a data set, read by index, so that its order can be any permutation.

    Attributes:
        name: of the data set.
        split: of the data set, as it can be asked for again.
        class_names: one for each label, in the order of labels.
        labels: int32 [examples].
        ids: str [examples]; stable names of the examples (a TFDS id, or a file's path).
        num_bytes: of all image files together.
        identity: text that differs when the photos do; a run keeps to it.
        location: text that differs when they lie elsewhere or were written anew; with the identity
            a cache goes by it.
        read: from a scalar int64 index to a scalar string, the bytes of an image file. Made of
            TensorFlow operations.
    """

    name: str
    split: str
    class_names: tuple[str, ...]
    labels: np.ndarray
    ids: np.ndarray
    num_bytes: int
    identity: str
    location: str
    read: Callable[[tf.Tensor], tf.Tensor]

    def __len__(self):
        return len(self.labels)

    @property
    def num_classes(self):
        """How many classes there are, whether or not this split has examples of each."""
        return len(self.class_names)

    def example(self, index):
        """Returns {'image': scalar string, 'label': scalar int32} of a scalar int64 index."""
        return {'image': self.read(index), 'label': tf.gather(self.labels, index)}

    def stored(self):
        """All examples in stored order, as a tf.data.Dataset."""
        dataset = tf.data.Dataset.range(len(self))
        return dataset.map(self.example, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)

    def for_few(self, count):
        """The same, for who wants but the first `count` examples of a walk."""
        return self

    def take(self, indices):
        """Returns a source of these examples alone; `indices` is an integer array."""
        kept = tf.constant(np.asarray(indices, np.int64))
        return dataclasses.replace(
            self,
            labels=self.labels[indices],
            ids=self.ids[indices],
            read=lambda index: self.read(kept[index]),
        )


@dataclasses.dataclass(frozen=True, eq=False)
class StreamedSource:
    """One split of a data set that is too large to be held, read in passing from its files.

    Its order in training is a function of the seed: a permutation of
    the files for each epoch, a few of them read in turn, and a buffer that is drawn from.

    Attributes:
        name: of the data set.
        split: of the data set, as it can be asked for again.
        class_names: one for each label, in the order of labels.
        files: dict of equally long columns, one row for each file or stretch of one: 'filename',
            'skip' and 'take', its first record and the number of them.
        size: number of examples.
        num_bytes: of all image files together.
        identity: text that differs when the photos do; a run keeps to it.
        location: text that differs when they lie elsewhere; with the identity a cache goes by it.
        records: from a row of `files` to a tf.data.Dataset of its records; fails if there are fewer
            than the row says.
        parse: from a record to {'image': scalar string, 'label': scalar int32}; fails if there is
            no class of that label.
        buffer: examples that the next one is drawn from.
        cycle: files that are read in turn.
    """

    name: str
    split: str
    class_names: tuple[str, ...]
    files: dict
    size: int
    num_bytes: int
    identity: str
    location: str
    records: Callable[[dict], tf.data.Dataset]
    parse: Callable[[tf.Tensor], dict]
    buffer: int = 16384
    cycle: int = 16

    def __len__(self):
        return self.size

    @property
    def num_classes(self):
        """How many classes there are, whether or not this split has examples of each."""
        return len(self.class_names)

    def shuffled(self, key, first=0):
        """An endless walk over the records; the files are in a new order for each epoch.

        Args:
            key: two ints, the seed.
            first: epoch to begin with.

        Returns:
            tf.data.Dataset of records, not parsed.
        """

        def epoch(number):
            seed = tf.random.experimental.stateless_fold_in(key, number)
            bits = tf.random.stateless_uniform([2], seed, None, None, tf.int64)
            order = tf.range(len(self.files['filename']))
            order = tf.random.experimental.stateless_shuffle(order, seed)
            dataset = tf.data.Dataset.from_tensor_slices(
                {name: tf.gather(column, order) for name, column in self.files.items()}
            )
            dataset = dataset.interleave(
                self.records,
                cycle_length=self.cycle,
                num_parallel_calls=tf.data.AUTOTUNE,
                deterministic=True,
            )
            return _shuffled(dataset, self.buffer, bits)

        return tf.data.Dataset.counter(first).flat_map(epoch)

    def stored(self):
        """All examples in stored order, as a tf.data.Dataset."""
        dataset = tf.data.Dataset.from_tensor_slices(self.files).flat_map(self.records)
        return dataset.map(self.parse, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)

    def for_few(self, count):
        """One with a small buffer, for who wants but the first `count` examples of a walk.

        All else that the buffer holds would be read in vain. They are other examples.
        """
        return dataclasses.replace(self, buffer=min(self.buffer, 4 * count))

    def take(self, indices):
        """Returns a source of these examples alone; `indices` is an ascending integer array.

        Each stretch of neighbours becomes a row of `files`, so it is meant for leaving out a few.
        """
        kept = np.asarray(indices, np.int64)
        behind = np.cumsum(self.files['take'])
        row = np.searchsorted(behind, kept, side='right')
        place = kept - (behind - self.files['take'])[row] + self.files['skip'][row]
        starts = np.flatnonzero((np.diff(row, prepend=-1) != 0) | (np.diff(place, prepend=-2) != 1))
        files = {name: column[row[starts]] for name, column in self.files.items()}
        files['skip'] = place[starts]
        files['take'] = np.diff(starts, append=len(kept))
        return dataclasses.replace(self, files=files, size=len(kept))

    @property
    def ids(self):
        """Str [examples] in stored order: file and place, as TFDS names them."""
        columns = (self.files[name] for name in ('filename', 'skip', 'take'))
        return np.asarray(
            [
                f'{os.path.basename(file)}__{place}'
                for file, skip, take in zip(*columns, strict=True)
                for place in range(skip, skip + take)
            ]
        )


def _shuffled(records, buffer, bits):
    """Dataset.shuffle by a seed that is a tensor, without tf.random.set_seed mixed in."""
    shuffled = tf.raw_ops.ShuffleDataset(
        input_dataset=tf.data.experimental.to_variant(records),
        buffer_size=buffer,
        seed=bits[0],
        seed2=bits[1],
        reshuffle_each_iteration=False,
        output_types=[tf.string],
        output_shapes=[[]],
    )
    return tf.data.experimental.from_variant(shuffled, tf.TensorSpec([], tf.string))
