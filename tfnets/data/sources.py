"""Opens data sets: the embedded sample, a folder of photos, or one of TensorFlow Datasets."""

import pathlib

from tfnets.data import caching
from tfnets.data.faults import naming_unreadable
from tfnets.data.folder_layout import is_folder
from tfnets.data.folders import load_folder
from tfnets.data.tfds_sets import load_tfds
from tfnets.errors import InputError

_SAMPLE_DIR = pathlib.Path(__file__).parent / 'sample'


def load(dataset, split, data_dir=None, cache='memory', cache_dir=None):
    """Opens one split of a data set.

    Args:
        dataset: 'sample' (the photos in this package), a folder of class folders (a path, as
            './photos'), or the name of a data set that TensorFlow Datasets has prepared.
        split: 'train', 'validation' or 'test'; for a TFDS set also any slice, as 'train[:10%]'.
        data_dir: where TFDS sets lie; None for TFDS's own place.
        cache: where the encoded examples are held. 'memory': all of them are read once, at the
            start. 'disk': each becomes a file under cache_dir, once. 'none': they are read from
            where they lie, photos of a folder one by one, TFDS sets as a stream, whose order is a
            seeded buffer's and not a permutation of the whole.
        cache_dir: for 'disk'.

    Returns:
        Source, or StreamedSource for a TFDS set that is not cached.

    Raises:
        InputError: if there is no such data set, split or image, it cannot be read or is too large
            for memory; says what would help.
    """
    if dataset == 'sample':
        source = load_tfds('groceries', split, _SAMPLE_DIR)
    elif is_folder(dataset):
        source = load_folder(dataset, split)
    else:
        source = load_tfds(dataset, split, data_dir)
    with naming_unreadable(source):
        if cache == 'memory':
            return caching.in_memory(source)
        if cache == 'disk':
            return caching.on_disk(source, cache_dir)
    if cache == 'none':
        return source
    raise InputError(f'--cache={cache}: expected memory, disk or none')
