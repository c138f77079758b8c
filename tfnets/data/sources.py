"""Where encoded examples come from: TensorFlow Datasets, a folder of photos, the embedded sample.

A source is one split of a data set. It hands out an example's bytes by its index, so that the
order of training can be any permutation, and a run can go on at any step.
"""

import collections
import dataclasses
import hashlib
import os
import pathlib
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from tfnets.errors import InputError

SPLITS = ('train', 'validation', 'test')
# What the three splits are where a data set has fewer. They are slices in stored order, which
# TensorFlow Datasets shuffles once when it prepares a set: fixed, and disjoint for ever.
_TFDS_SPLITS = {
    'cats_vs_dogs': ('train[6000:]', 'train[4000:6000]', 'train[:4000]'),
    'cifar10': ('train[5000:]', 'train[:5000]', 'test'),
    'cifar100': ('train[5000:]', 'train[:5000]', 'test'),
    'imagenet2012': ('train[10000:]', 'train[:10000]', 'validation'),
}
_IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.gif', '.bmp')
_SAMPLE_DIR = pathlib.Path(__file__).parent / 'sample'
_MEMORY_LIMIT = 8 * 2**30


@dataclasses.dataclass(frozen=True, eq=False)
class Source:
    """One split of a data set, in encoded form.

    Attributes:
        name: of the data set.
        split: of the data set, as it can be asked for again.
        class_names: one for each label, in the order of labels.
        labels: int32 [examples].
        ids: str [examples]; stable names of the examples (a TFDS id, or a file's path).
        read: from a scalar int64 index to a scalar string, the bytes of an image file. Made of
            TensorFlow operations.
    """

    name: str
    split: str
    class_names: tuple[str, ...]
    labels: np.ndarray
    ids: np.ndarray
    read: Callable[[tf.Tensor], tf.Tensor]

    def __len__(self):
        return len(self.labels)

    @property
    def num_classes(self):
        """How many classes there are, whether or not this split has examples of each."""
        return len(self.class_names)

    def take(self, indices):
        """Returns a source of these examples alone; `indices` is an integer array."""
        kept = tf.constant(np.asarray(indices, np.int64))
        return dataclasses.replace(
            self,
            labels=self.labels[indices],
            ids=self.ids[indices],
            read=lambda index: self.read(kept[index]),
        )


def load(dataset, split, data_dir=None):
    """Opens one split of a data set.

    Args:
        dataset: 'sample' (the photos in this package), a folder of class folders (a path with a
            slash in it), or the name of a data set that TensorFlow Datasets has prepared.
        split: 'train', 'validation' or 'test'; for a TFDS set also any slice, as 'train[:10%]'.
        data_dir: where TFDS sets lie; None for TFDS's own place.

    Returns:
        Source.

    Raises:
        InputError: if there is no such data set, split or image; says what would make one.
    """
    if dataset == 'sample':
        return _load_tfds('groceries', split, _SAMPLE_DIR)
    if is_folder(dataset):
        return _load_folder(pathlib.Path(dataset), split)
    return _load_tfds(dataset, split, data_dir)


def is_folder(dataset):
    """Whether this name of a data set means a folder: it has a slash in it."""
    return os.sep in dataset


# ---------------------------------------------------------------------------------------- TFDS


def _load_tfds(name, split, data_dir):
    import tensorflow_datasets as tfds

    builder = _builder(name, data_dir)
    expression = _tfds_split(builder, name, split)
    _check_features(builder)
    try:
        info = builder.info.splits[expression]
    except (KeyError, ValueError) as error:
        raise InputError(
            f'{name}: no split {expression!r} ({error}); it has {", ".join(builder.info.splits)}'
        ) from None
    if builder.info.splits[info.name.split('[')[0]].num_bytes > _MEMORY_LIMIT:
        raise InputError(
            f'{name}: split {expression!r} is part of {builder.info.dataset_size}, more than the '
            f'{_MEMORY_LIMIT / 2**30:.0f} GiB that are held in memory; take a smaller slice'
        )
    decoders = {'image': tfds.decode.SkipDecoding()}
    config = tfds.ReadConfig(add_tfds_id=True, try_autocache=False)
    examples = builder.as_dataset(
        split=expression, decoders=decoders, read_config=config, shuffle_files=False
    )
    columns = collections.defaultdict(list)
    for batch in examples.batch(1024):
        for key in ('image', 'label', 'tfds_id'):
            columns[key].append(batch[key])
    if not columns:
        raise InputError(f'{name}: split {expression!r} is empty')
    images = tf.concat(columns['image'], 0)
    return Source(
        name=name,
        split=expression,
        class_names=tuple(builder.info.features['label'].names),
        labels=tf.concat(columns['label'], 0).numpy().astype(np.int32),
        ids=tf.concat(columns['tfds_id'], 0).numpy().astype(str),
        read=lambda index: images[index],
    )


def _builder(name, data_dir):
    """The builder of a prepared data set, or an error that says how to prepare it."""
    import tensorflow_datasets as tfds

    folder = os.path.expanduser(data_dir or tfds.core.constants.DATA_DIR)
    try:
        builder = tfds.builder(name, data_dir=folder)
    except (tfds.core.registered.DatasetNotFoundError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f'--dataset={name}: no prepared data set of that name under {folder}, and TFDS knows '
            f'none ({reason}); a folder of class folders is given with a slash: ./{name}'
        ) from None
    if not builder.info.splits:
        raise InputError(
            f'--dataset={name}: not prepared under {folder}; prepare it by '
            f'python -c "import tensorflow_datasets as tfds; '
            f"tfds.builder('{name}', data_dir='{folder}').download_and_prepare()\", "
            'or name its place by --data_dir'
        )
    return builder


def _check_features(builder):
    features = builder.info.features
    if not {'image', 'label'} <= set(features) or not hasattr(features['label'], 'names'):
        raise InputError(
            f'--dataset={builder.name}: expected features image and label (a class), '
            f'got {", ".join(features)}'
        )


def _tfds_split(builder, name, split):
    """Turns 'train', 'validation' or 'test' into a slice of what the data set has."""
    if split not in SPLITS:
        return split
    there = set(builder.info.splits)
    if name in _TFDS_SPLITS:
        choice = _TFDS_SPLITS[name]
    elif set(SPLITS) <= there:
        choice = SPLITS
    elif 'test' in there:
        choice = ('train[10%:]', 'train[:10%]', 'test')
    elif 'validation' in there:
        choice = ('train[10%:]', 'train[:10%]', 'validation')
    else:
        choice = ('train[20%:]', 'train[10%:20%]', 'train[:10%]')
    return choice[SPLITS.index(split)]


# -------------------------------------------------------------------------------------- folders


def _load_folder(root, split):
    """A folder with a folder for each class, or with such folders for each split."""
    if split not in SPLITS:
        raise InputError(f'{root}: no split {split!r}; a folder has {", ".join(SPLITS)}')
    if not root.is_dir():
        raise InputError(f'--dataset={root}: there is no such folder')
    own = _split_folders(root)
    # The splits that have no folder of their own are cut from the training photos.
    cut = [name for name in SPLITS if name == 'train' or name not in own]
    folder = own.get(split, own['train'])
    names = sorted({name for path in own.values() for name in _class_folders(path)})
    files = {name: _images(folder / name) for name in names}
    if split in cut:
        files = {name: _part(paths, cut, split, folder) for name, paths in files.items()}
    paths = [str(path) for name in names for path in files[name]]
    labels = [label for label, name in enumerate(names) for _ in files[name]]
    if not paths:
        raise InputError(
            f'--dataset={root}: no images for split {split!r}; expected {root}/CLASS/*.jpg '
            f'(also {", ".join(_IMAGE_SUFFIXES[1:])}) or {root}/{split}/CLASS/*.jpg'
        )
    table = tf.constant(paths)
    return Source(
        name=str(root),
        split=split,
        class_names=tuple(names),
        labels=np.asarray(labels, np.int32),
        ids=np.asarray([os.path.relpath(path, root) for path in paths]),
        read=lambda index: tf.io.read_file(table[index]),
    )


def _split_folders(root):
    """Where each split lies: train, validation (or val) and test, or all of it in the root."""
    if not (root / 'train').is_dir():
        return {'train': root}
    choices = {'train': ('train',), 'validation': ('validation', 'val'), 'test': ('test',)}
    found = {
        split: root / name
        for split, names in choices.items()
        for name in names
        if (root / name).is_dir()
    }
    if 'test' not in found and 'validation' in found:
        found['test'] = found.pop('validation')  # the choice of anything needs photos of its own
    return found


def _class_folders(folder):
    return sorted(path.name for path in folder.iterdir() if path.is_dir())


def _images(folder):
    if not folder.is_dir():
        return []
    found = (path for path in folder.rglob('*') if path.suffix.lower() in _IMAGE_SUFFIXES)
    return sorted(found)


def _part(paths, cut, split, root):
    """A class's share of a split: a tenth for each but the training set, by a hash of the names.

    The hash makes the division the same on every machine, whatever order the files are listed in.
    """
    ranked = sorted(
        paths,
        key=lambda path: hashlib.sha1(path.relative_to(root).as_posix().encode()).digest(),
    )
    held = max(1, round(len(ranked) / 10)) if len(ranked) >= 3 else 0
    place = cut.index(split)
    if split == 'train':
        return sorted(ranked[held * (len(cut) - 1) :])
    return sorted(ranked[held * (place - 1) : held * place])
