"""Holds a source's encoded examples near, so that they can be read by index, and fast."""

import fcntl
import hashlib
import pathlib
import shutil
import tempfile

import numpy as np
import tensorflow as tf

from tfnets.data.source import Source
from tfnets.errors import InputError
from tfnets.locks import lock

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
    # One batch of all: joined from several, it would be there twice for a while.
    every = next(iter(source.stored().batch(len(source))))
    images = every['image']
    return _by_index(source, every['label'].numpy(), lambda index: images[index])


def on_disk(source, cache_dir):
    """Writes each example into a file of its own, unless an earlier run has done so.

    Args:
        source: Source or StreamedSource.
        cache_dir: folder for the caches of all data sets.

    Returns:
        Source.

    Raises:
        InputError: if no folder is given, or what is there is damaged.
    """
    if not cache_dir:
        raise InputError('--cache=disk: expected a folder by --cache_dir')
    identity = '\n'.join([source.name, source.split, source.identity, source.location, *source.ids])
    name = hashlib.sha1(identity.encode(errors='surrogateescape')).hexdigest()[:16]
    folder = pathlib.Path(cache_dir).expanduser() / name
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with open(f'{folder}.lock', 'a+') as file:  # processes that share it fill it once
            lock(file, fcntl.LOCK_EX)
            for left_by_a_kill in folder.parent.glob(f'.{folder.name}.*'):
                shutil.rmtree(left_by_a_kill)
            if not folder.exists():
                _fill(folder, source)
    start = f'{folder}/'
    return _by_index(
        source,
        _labels(folder, source),
        lambda index: tf.io.read_file(start + tf.strings.as_string(index)),
    )


def _fill(folder, source):
    """Fills a folder under another name and renames it: it is there whole, or not at all."""
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f'.{folder.name}.') as temporary:
        filled = pathlib.Path(temporary) / 'filled'
        filled.mkdir()
        labels = []
        for number, example in enumerate(source.stored().as_numpy_iterator()):
            (filled / str(number)).write_bytes(example['image'])
            labels.append(example['label'])
        np.save(filled / 'labels.npy', np.asarray(labels, np.int32))
        filled.rename(folder)


def _labels(folder, source):
    """The labels in a filled folder, unless something has happened to it since."""
    try:
        labels = np.load(folder / 'labels.npy')
    except (OSError, ValueError, EOFError):
        labels = np.zeros(0)
    if len(labels) != len(source) or not np.isin(labels, np.arange(source.num_classes)).all():
        raise InputError(
            f'--cache=disk: {folder} is damaged: expected the labels of {len(source)} examples in '
            'labels.npy; remove that folder, it is filled anew'
        )
    return labels


def _by_index(source, labels, read):
    return Source(
        source.name,
        source.split,
        source.class_names,
        labels.astype(np.int32),
        source.ids,
        source.num_bytes,
        source.identity,
        source.location,
        read,
    )
