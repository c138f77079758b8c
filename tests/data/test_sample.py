"""The embedded sample: what is in it, and the rules by which it was made."""

import collections
import hashlib
import io
import pathlib

import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

import tfnets.data.sample

SAMPLE = pathlib.Path(tfnets.data.sample.__file__).parent
FOLDER = SAMPLE / 'groceries' / '1.0.0'
COUNTS = {'train': 675, 'validation': 57, 'test': 661}


@pytest.fixture(scope='module')
def builder():
    return tfds.builder('groceries', data_dir=SAMPLE)


@pytest.fixture(scope='module')
def splits(builder):
    """{split: [{'image': JPEG bytes, 'label': int, 'file_name': bytes}, ...]}."""
    raw = {'image': tfds.decode.SkipDecoding()}
    return {
        split: list(tfds.as_numpy(builder.as_dataset(split=split, decoders=raw)))
        for split in COUNTS
    }


def test_counts(builder, splits):
    assert {name: info.num_examples for name, info in builder.info.splits.items()} == COUNTS
    assert {name: len(examples) for name, examples in splits.items()} == COUNTS


def test_no_photo_is_there_twice(splits):
    for key in ('image', 'file_name'):
        values = [hashlib.sha256(e[key]).digest() for split in splits.values() for e in split]
        assert len(set(values)) == sum(COUNTS.values())


def test_short_side_is_160(splits):
    for split in splits.values():
        for example in split:
            height, width, _ = tf.io.extract_jpeg_shape(example['image']).numpy()
            assert min(height, width) == 160
            assert max(height, width) in (160, 213)


def test_no_exif(splits):
    # EXIF stands in a segment APP1, ahead of the pixels, and begins with these bytes.
    assert not any(b'Exif\0\0' in e['image'][:1024] for split in splits.values() for e in split)


def test_classes(builder, splits):
    labels = builder.info.features['label']
    assert labels.num_classes == 14
    counts = {
        name: collections.Counter(e['label'] for e in split) for name, split in splits.items()
    }
    assert set(counts['train']) == set(counts['test']) == set(range(14))
    label, most = counts['test'].most_common(1)[0]
    assert (labels.int2str(label), most) == ('Satsumas', 68)


def test_labels_agree_with_file_names(builder, splits):
    # A path is split/coarse/fine/name, or split/fine/name where coarse and fine are one.
    folders = {'train': 'train', 'validation': 'val', 'test': 'test'}
    for name, split in splits.items():
        for example in split:
            parts = example['file_name'].decode().split('/')
            assert parts[0] == folders[name]
            assert parts[-2] == builder.info.features['label'].int2str(example['label'])


def test_size_on_disk():
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= 12e6
    assert len(list(FOLDER.glob('*.tfrecord*'))) == len(COUNTS)  # One shard per split.


def test_licence_is_beside_the_photos():
    for folder in (SAMPLE, FOLDER):
        text = (folder / 'LICENSE').read_text()
        assert 'Copyright (c) 2019 Marcus Klasson' in text
        assert 'Permission is hereby granted' in text


def test_reads_from_the_folder_alone():
    dataset = tfds.builder_from_directory(FOLDER).as_dataset(split='train', as_supervised=True)
    image, label = next(iter(dataset))
    assert image.dtype == tf.uint8
    assert image.shape[-1] == 3
    assert label.dtype == tf.int64


@pytest.fixture(scope='module')
def make_sample():
    pytest.importorskip('PIL')
    pytest.importorskip('pyarrow')
    from tfnets.data.sample import make_sample

    return make_sample


def test_divide_keeps_each_photo_once_in_the_first_split(make_sample):
    photo = make_sample.Photo
    rows = [
        photo('train', 'Orange', 'train/a', b'only in train'),
        photo('train', 'Orange', 'train/b', b'in all three'),
        photo('train', 'Orange', 'train/c', b'in train and val'),
        photo('val', 'Orange', 'val/b', b'in all three'),
        photo('val', 'Orange', 'val/c', b'in train and val'),
        photo('test', 'Orange', 'test/b', b'in all three'),
        photo('test', 'Orange', 'test/b', b'in all three'),
    ]
    splits, shared = make_sample.divide(rows)
    names = {name: [p.file_name for p in photos] for name, photos in splits.items()}
    assert names == {'test': ['test/b'], 'validation': ['val/c'], 'train': ['train/a']}
    assert shared == 2


@pytest.mark.parametrize(
    ('size', 'expected'),
    [((348, 464), (160, 213)), ((464, 348), (213, 160)), ((80, 80), (160, 160))],
)
def test_shrink_keeps_the_aspect(make_sample, size, expected):
    from PIL import Image

    exif = Image.Exif()
    exif[0x010F] = 'a camera'
    file = io.BytesIO()
    Image.new('RGB', size, (200, 100, 50)).save(file, 'JPEG', exif=exif)
    assert b'Exif' in file.getvalue()
    small = make_sample.shrink(file.getvalue())
    assert Image.open(io.BytesIO(small)).size == expected
    assert b'Exif' not in small
    assert small == make_sample.shrink(file.getvalue())
