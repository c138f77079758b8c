"""Data sets of TensorFlow Datasets as sources."""

import os

import numpy as np
import tensorflow as tf

from tfnets.data.source import SPLITS, StreamedSource
from tfnets.errors import InputError

# What the three splits are where a data set has fewer. They are slices in stored order, which
# TensorFlow Datasets shuffles once when it prepares a set: fixed, and disjoint for ever.
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
    """
    builder, info = _open(name, split, data_dir)
    features = builder.info.features
    decoders = _skip_decoding()

    def records(file):
        dataset = tf.data.TFRecordDataset(file['filename'])
        return dataset.skip(file['skip']).take(file['take'])

    def parse(record):
        example = features.deserialize_example(record, decoders=decoders)
        return {'image': example['image'], 'label': tf.cast(example['label'], tf.int32)}

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
        identity=f'{builder.info.full_name} {info.name} {builder.info.dataset_size}',
        location=str(builder.data_path),
        records=records,
        parse=parse,
    )


def _open(name, split, data_dir):
    """The builder of a prepared data set, and its split or slice."""
    builder = _builder(name, data_dir)
    _check_features(builder)
    expression = _expression(builder, name, split)
    try:
        info = builder.info.splits[expression]
    except (KeyError, ValueError, NotImplementedError) as error:
        reason = ' '.join(str(error).split())
        raise InputError(
            f'{name}: no split {expression!r} ({reason}); it has {", ".join(builder.info.splits)}'
        ) from None
    if not info.num_examples:
        raise InputError(f'{name}: split {expression!r} is empty')
    return builder, info


def _num_bytes(builder, info):
    """Of a split or slice: its share of the whole data set's."""
    splits = builder.info.splits.values()
    examples = sum(split.num_examples for split in splits)
    return sum(split.num_bytes for split in splits) * info.num_examples // examples


def _skip_decoding():
    import tensorflow_datasets as tfds

    return {'image': tfds.decode.SkipDecoding()}


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
        reason = ' '.join(str(error).split()).partition('. ')[0][:200]
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


def _expression(builder, name, split):
    """Turns 'train', 'validation' or 'test' into a slice of what the data set has."""
    if split not in SPLITS:
        return split
    there = set(builder.info.splits)
    if name in _SPLITS:
        choice = _SPLITS[name]
    elif set(SPLITS) <= there:
        choice = SPLITS
    elif 'test' in there:
        choice = ('train[10%:]', 'train[:10%]', 'test')
    elif 'validation' in there:
        choice = ('train[10%:]', 'train[:10%]', 'validation')
    else:
        choice = ('train[20%:]', 'train[10%:20%]', 'train[:10%]')
    return choice[SPLITS.index(split)]
