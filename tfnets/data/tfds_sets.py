"""Data sets of TensorFlow Datasets as sources."""

import hashlib
import os
import pathlib
import re

import numpy as np
import tensorflow as tf

from tfnets.data.source import SPLITS, StreamedSource
from tfnets.errors import InputError, one_line
from tfnets.files import read_json

# What the three splits are where a data set has fewer. They are slices in stored order, which
# TensorFlow Datasets shuffles once when it prepares a set: fixed, and disjoint for ever. (The test
# split that imagenet2012 may have is without labels.)
_SPLITS = {
    'cats_vs_dogs': ('train[6000:]', 'train[4000:6000]', 'train[:4000]'),
    'cifar10': ('train[5000:]', 'train[:5000]', 'test'),
    'cifar100': ('train[5000:]', 'train[:5000]', 'test'),
    'imagenet2012': ('train[10000:]', 'train[:10000]', 'validation'),
}


def load_tfds(name, split, data_dir=None):
    """Opens one split of a prepared data set, to be read from its files in passing.

    Args:
        name: of the data set.
        split: 'train', 'validation', 'test', or any slice that TFDS understands.
        data_dir: where it lies; None for TFDS's own place.

    Returns:
        StreamedSource.

    Raises:
        InputError: if it is not there, or has no images with labels; says what would prepare it.
            If one of its files is missing or cut short; names it.
    """
    builder, info = _open(name, split, data_dir)
    _check_files(builder, info)
    features = builder.info.features
    return StreamedSource(
        name=name,
        split=info.name,
        class_names=tuple(features['label'].names),
        files={
            'filename': np.asarray([file.filename for file in info.file_instructions]),
            'skip': np.asarray([file.skip for file in info.file_instructions], np.int64),
            'take': np.asarray([file.take for file in info.file_instructions], np.int64),
        },
        size=info.num_examples,
        num_bytes=_num_bytes(builder, info),
        identity=f'{builder.info.full_name} {info.name} {_checksum(builder)}',
        location=f'{builder.data_path} {_written(builder)}',
        records=_records,
        parse=_parser(features),
    )


def _records(file):
    """The records of a row of `StreamedSource.files`."""
    dataset = tf.data.TFRecordDataset(file['filename']).skip(file['skip']).take(file['take'])
    return dataset.apply(tf.data.experimental.assert_cardinality(file['take']))


def _parser(features):
    """The function from a record to the image file and the label in it."""
    import tensorflow_datasets as tfds

    decoders = {'image': tfds.decode.SkipDecoding()}
    classes = features['label'].num_classes

    def parse(record):
        example = features.deserialize_example(record, decoders=decoders)
        # Fails for a label without a class, as of a test split without labels, which would else
        # count as a miss. An assertion would say more, and take longer than the rest of this.
        label = tf.gather(tf.range(classes), example['label'])
        return {'image': example['image'], 'label': label}

    return parse


def _open(name, split, data_dir):
    """The builder of a prepared data set, and its split or slice."""
    builder = _builder(name, data_dir)
    _check_features(builder)
    expression = split
    if split in SPLITS:
        expression = _slices(builder)[SPLITS.index(split)]
    try:
        info = builder.info.splits[expression]
    except (KeyError, ValueError, NotImplementedError) as error:
        raise InputError(
            f'{name}: no split {expression!r} ({one_line(error)}); it has '
            f'{", ".join(builder.info.splits)}'
        ) from None
    if not info.num_examples:
        raise InputError(f'{name}: split {expression!r} is empty')
    return builder, info


def _num_bytes(builder, info):
    """Of a split or slice: its share of the whole data set's."""
    splits = builder.info.splits.values()
    examples = sum(split.num_examples for split in splits)
    return sum(split.num_bytes for split in splits) * info.num_examples // examples


def _checksum(builder):
    """Of what is known of all its files, which are not read: other photos give another one."""
    known = [
        (name, int(split.num_bytes), list(split.shard_lengths))
        for name, split in sorted(builder.info.splits.items())
    ]
    # The launcher `prepare` notes what its files hold, which a new division may leave as long.
    noted = read_json(pathlib.Path(builder.data_path) / 'metadata.json', {})
    checksum = noted.get('sha256') if isinstance(noted, dict) else None
    return hashlib.sha1(repr([*known, checksum]).encode()).hexdigest()


def _written(builder):
    """When its files were written, as a hash; nothing of files that lie far away."""
    paths = [os.fspath(path) for split in builder.info.splits.values() for path in split.filepaths]
    times = [os.stat(path).st_mtime_ns for path in paths if os.path.exists(path)]
    return hashlib.sha1(repr(times).encode()).hexdigest()


def _check_files(builder, info):
    """Looks whether the files of a split are as long as they were written."""
    used = {file.filename for file in info.file_instructions}
    for split in builder.info.splits.values():
        paths = [os.fspath(path) for path in split.filepaths]
        if used.isdisjoint(paths) or '://' in paths[0]:  # far away, to be read when it is needed
            continue
        try:
            size = sum(os.path.getsize(path) for path in paths)
        except OSError as error:
            raise InputError(
                f'--dataset={builder.name}: {error.filename}: {error.strerror}; get that file or '
                'prepare the data set anew'
            ) from None
        # TFRecord has 16 bytes for each record besides what TFDS has counted. A writer may have
        # counted otherwise, so that only the files themselves can tell.
        if size < int(split.num_bytes) + 16 * split.num_examples:
            for path, length in zip(paths, split.shard_lengths, strict=True):
                _check_file(builder.name, path, length)


def _check_file(name, path, length):
    """Counts the records of a TFRecord file by the lengths in front of them."""
    size, place, count = os.path.getsize(path), 0, 0
    with open(path, 'rb') as file:
        while place < size:
            file.seek(place)
            place += 16 + int.from_bytes(file.read(8), 'little')
            count += place <= size
    if count < length:
        raise InputError(
            f'--dataset={name}: {path} is cut short or damaged: {count} whole records, expected '
            f'{length}; get that file or prepare the data set anew'
        )


def _builder(name, data_dir):
    """The builder of a prepared data set, or an error that says how to prepare it."""
    import tensorflow_datasets as tfds

    folder = os.path.expanduser(data_dir or tfds.core.constants.DATA_DIR)
    try:
        builder = tfds.builder(name, data_dir=folder)
    except (tfds.core.registered.DatasetNotFoundError, ValueError, AssertionError) as error:
        if os.path.isdir(name):
            raise InputError(
                f'--dataset={name}: for the folder of that name say ./{name}'
            ) from None
        reason = one_line(error).partition('. ')[0][:200]
        raise InputError(
            f'--dataset={name}: no prepared data set of that name under {folder}, and TFDS knows '
            f'none ({reason}); a folder of class folders is given as ./{name}'
        ) from None
    if not builder.info.splits:
        raise InputError(
            f'--dataset={name}: not prepared under {folder}; prepare it by '
            f'python -c "import tensorflow_datasets as tfds; '
            f"tfds.builder('{name}', data_dir='{folder}').download_and_prepare()\", "
            'or name its place by --data_dir'
        )
    if builder.info.file_format != tfds.core.FileFormat.TFRECORD:
        raise InputError(
            f'--dataset={name}: prepared as {builder.info.file_format.value}; expected tfrecord, '
            'which download_and_prepare makes by default'
        )
    return builder


def _check_features(builder):
    features = builder.info.features
    if not {'image', 'label'} <= set(features) or not hasattr(features['label'], 'names'):
        raise InputError(
            f'--dataset={builder.name}: expected features image and label (a class), '
            f'got {", ".join(features)}'
        )


def _slices(builder):
    """What train, validation and test stand for, slices of what the data set has."""
    there, known = builder.info.splits, _SPLITS.get(builder.name)
    if known and _is_whole(there, known):
        return known
    if not known and set(SPLITS) <= set(there):
        return SPLITS
    test = known[2] if known else 'test' if 'test' in there else 'validation'
    if test in there:
        return ('train[10%:]', 'train[:10%]', test)
    return ('train[20%:]', 'train[10%:20%]', 'train[:10%]')


def _is_whole(there, slices):
    """Whether there is as much as the slices cut away; a few photos for a test are cut by share."""
    most = max(int(number) for number in re.findall(r'\d+', ' '.join(slices)))
    return 'train' in there and there['train'].num_examples > most
