"""Holds a source's encoded examples near, so that they can be read by index, and fast."""

import hashlib
import pathlib

import numpy as np
import tensorflow as tf

from tfnets.data.source import Source
from tfnets.errors import InputError
from tfnets.files import replacing

MEMORY_LIMIT = 8 * 2**30


def in_memory(source):
    """Reads all examples at once.

    Args:
        source: Source or StreamedSource.

    Returns:
        Source.

    Raises:
        InputError: if it has more than MEMORY_LIMIT bytes.
    """
    if source.num_bytes > MEMORY_LIMIT:
        raise InputError(
            f'--dataset={source.name}: {source.split} has {source.num_bytes / 2**30:.0f} GiB, more '
            f'than the {MEMORY_LIMIT / 2**30:.0f} that are held in memory; read it from where it '
            'lies by --cache=none, or by --cache=disk'
        )
    batches = list(source.stored().batch(1024))
    images = tf.concat([batch['image'] for batch in batches], 0)
    labels = np.concatenate([batch['label'].numpy() for batch in batches])
    return _by_index(source, labels, lambda index: images[index])


def on_disk(source, cache_dir):
    """Writes each example into a file of its own, unless an earlier run has done so.

    Args:
        source: Source or StreamedSource.
        cache_dir: folder for the caches of all data sets.

    Returns:
        Source.
    """
    identity = '\n'.join([source.name, source.split, *source.ids])
    folder = pathlib.Path(cache_dir).expanduser() / hashlib.sha1(identity.encode()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    table = folder / 'labels.npy'  # written last: it says that all the others are there
    if not table.exists():
        labels = []
        for number, example in enumerate(source.stored().as_numpy_iterator()):
            (folder / str(number)).write_bytes(example['image'])
            labels.append(example['label'])
        with replacing(table) as temporary, open(temporary, 'wb') as file:
            np.save(file, np.asarray(labels, np.int32))
    name = str(folder) + '/'
    return _by_index(
        source, np.load(table), lambda index: tf.io.read_file(name + tf.strings.as_string(index))
    )


def _by_index(source, labels, read):
    return Source(
        source.name,
        source.split,
        source.class_names,
        labels.astype(np.int32),
        source.ids,
        source.num_bytes,
        read,
    )
