"""Folders of photos as a source: a folder for each class, maybe within one for each split."""

import hashlib
import os
import pathlib

import numpy as np
import tensorflow as tf
from absl import logging

from tfnets.data.folder_layout import split_folders
from tfnets.data.image_files import IMAGE_SUFFIXES, by_class, printable
from tfnets.data.source import SPLITS, Source
from tfnets.errors import InputError, few


def load_folder(root, split):
    """Opens one split of root/CLASS/*.jpg or of root/SPLIT/CLASS/*.jpg.

    A split that has no folder of its own is a tenth of each class of the training photos, chosen by
    a hash of the files' names; photos for the test may stand in a folder `val`, as ImageNet's do.

    Args:
        root: the folder.
        split: 'train', 'validation', 'test', or 'all' of them together.

    Returns:
        Source; classes are in the order of their folders' names.

    Raises:
        InputError: if there is no such folder or split, or no image in it.
    """
    root = pathlib.Path(root).expanduser()
    if split not in (*SPLITS, 'all'):
        raise InputError(f'{root}: no split {split!r}; a folder has {", ".join(SPLITS)} and all')
    photos = _photos_by_class(root, split)
    names = list(photos)
    paths = [str(path) for name in names for path in photos[name]]
    labels = [label for label, name in enumerate(names) for _ in photos[name]]
    if not paths:
        raise InputError(
            f'--dataset={root}: no images for split {split!r}; expected {root}/CLASS/*.jpg '
            f'(also {", ".join(IMAGE_SUFFIXES[1:])}) or {root}/{split}/CLASS/*.jpg'
        )
    table = tf.constant([os.fsencode(path) for path in paths])
    found = [_stat(path) for path in paths]
    relative = [os.path.relpath(path, root) for path in paths]
    return Source(
        name=str(root),
        split=split,
        class_names=tuple(names),
        labels=np.asarray(labels, np.int32),
        ids=np.asarray([printable(path) for path in relative]),
        num_bytes=sum(file.st_size for file in found),
        identity=_hash([(printable(p), f.st_size) for p, f in zip(relative, found, strict=True)]),
        location=f'{root.resolve()} {_hash([file.st_mtime_ns for file in found])}',
        read=lambda index: tf.io.read_file(table[index]),
    )


def _photos_by_class(root, split):
    """The paths of each class's photos in a split, by the classes' names, in their order."""
    own = _split_folders(root)
    listed = {name: by_class(folder) for name, folder in own.items()}
    names = sorted({name for classes, _ in listed.values() for name in classes})
    _check_classes(root, [classes for classes, _ in listed.values()], names)
    if split in ('train', 'all'):
        _warn_of_others(root, [own[name] / path for name in own for path in listed[name][1]])
    # The splits that have no folder of their own are cut from the training photos.
    cut = [name for name in SPLITS if name == 'train' or name not in own]
    found = {name: [] for name in names}
    for part in own if split == 'all' else [split if split in own else 'train']:
        for name, paths in listed[part][0].items():
            kept = _part(paths, cut, split) if split in cut else paths
            found[name] += [own[part] / path for path in kept]
    return found


def _check_classes(root, parts, names):
    """Refuses names that cannot be written, and classes without a photo, if others have some."""
    for name in names:
        if printable(name) != name:
            raise InputError(
                f'--dataset={root}: the class folder {printable(name)!r} has a name that is not '
                'UTF-8; rename it'
            )
    empty = [name for name in names if not any(classes.get(name) for classes in parts)]
    if empty and empty != names:
        raise InputError(
            f'--dataset={root}: no photo of class {empty[0]!r}; expected files that end in '
            f'{", ".join(IMAGE_SUFFIXES)}, or the folder removed'
        )


def _split_folders(root):
    """Where each split lies; those of 'validation' are for the test where it has none."""
    found = split_folders(root, 'dataset')
    if 'test' not in found and 'validation' in found:
        found['test'] = found.pop('validation')  # the choice of anything needs photos of its own
    return found


def _warn_of_others(root, others):
    """Names files that are no photos by their endings: they are left out."""
    if others:
        logging.warning(
            '%s: %d other files left out (%s); photos stand in class folders and end in %s',
            root,
            len(others),
            few([printable(path.relative_to(root)) for path in others]),
            ', '.join(IMAGE_SUFFIXES),
        )


def _stat(path):
    try:
        return os.stat(path)
    except OSError as error:
        raise InputError(f'{path}: {error.strerror}; mend or remove it') from None


def _hash(values):
    return hashlib.sha1(repr(values).encode()).hexdigest()


def _part(paths, cut, split):
    """A class's share of a split: a tenth for each but the training set, by a hash of the names.

    The hash makes the division the same on every machine, whatever order the files are listed in.
    """
    ranked = sorted(paths, key=lambda path: hashlib.sha1(os.fsencode(path)).digest())
    held = max(1, round(len(ranked) / 10)) if len(ranked) >= 3 else 0
    place = cut.index(split)
    if split == 'train':
        return sorted(ranked[held * (len(cut) - 1) :])
    return sorted(ranked[held * (place - 1) : held * place])
