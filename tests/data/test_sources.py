"""Sources: folders of photos, sets of TensorFlow Datasets, and what is said where none is."""

import io
import os
import pathlib

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from tfnets.data import caching, sources, tfds_sets
from tfnets.data.faults import damaged
from tfnets.data.folders import load_folder
from tfnets.data.operations import decode
from tfnets.data.pipeline import Batches, evaluation_dataset, training_dataset
from tfnets.data.preprocessing import parse
from tfnets.data.source import SPLITS, StreamedSource
from tfnets.errors import InputError

# --------------------------------------------------------------------------------------- folders


def make_folder(root, counts, suffix='.jpg'):
    """Writes root/NAME/0.jpg ... for each name; a file holds its own path, for none is decoded."""
    for name, count in counts.items():
        (root / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            path = root / name / f'{number}{suffix}'
            path.write_text(f'{name}/{path.name}')
    return root


def splits(root):
    return {split: load_folder(root, split) for split in SPLITS}


def ids(source):
    return set(source.ids.tolist())


def contents(source):
    return [source.read(index).numpy().decode() for index in range(len(source))]


def test_classes_are_the_folders_in_the_order_of_their_names(tmp_path):
    counts = {'zebra': 3, 'Ant': 4, 'bee': 5, '10': 6, '9': 7}
    for split, source in splits(make_folder(tmp_path, counts)).items():
        assert source.class_names == ('10', '9', 'Ant', 'bee', 'zebra')
        assert source.num_classes == 5
        assert source.split == split
        assert source.labels.dtype == np.int32
        assert [source.class_names[label] for label in source.labels] == [
            pathlib.Path(name).parent.name for name in source.ids
        ]
        assert contents(source) == source.ids.tolist()
        assert source.num_bytes == sum(len(content) for content in contents(source))


def test_a_folder_of_classes_is_cut_into_three_disjoint_splits(tmp_path):
    counts = {'a': 100, 'b': 37, 'c': 3, 'd': 2, 'e': 1}
    cut = splits(make_folder(tmp_path, counts))
    everything = {f'{name}/{i}.jpg' for name, count in counts.items() for i in range(count)}
    assert set().union(*map(ids, cut.values())) == everything
    assert sum(len(source) for source in cut.values()) == len(everything)
    held = {name: np.bincount(source.labels, minlength=5).tolist() for name, source in cut.items()}
    # A tenth, and at least one of three; fewer than three are for training.
    assert held == {
        'train': [80, 29, 1, 2, 1],
        'validation': [10, 4, 1, 0, 0],
        'test': [10, 4, 1, 0, 0],
    }
    assert cut['test'].ids.tolist() != sorted(everything)[:10]  # not the first of each class


def test_the_cut_depends_on_the_names_alone(tmp_path, monkeypatch):
    counts = {'a': 40, 'b': 25}
    first = {n: s.ids.tolist() for n, s in splits(make_folder(tmp_path / 'x', counts)).items()}
    make_folder(tmp_path / 'y' / 'z', dict(reversed(counts.items())))
    listed, walked = pathlib.Path.iterdir, os.walk

    def walk(*args, **options):
        for parent, folders, files in walked(*args, **options):
            yield parent, folders, sorted(files, reverse=True)

    monkeypatch.setattr(pathlib.Path, 'iterdir', lambda path: sorted(listed(path), reverse=True))
    monkeypatch.setattr(os, 'walk', walk)
    assert {n: s.ids.tolist() for n, s in splits(tmp_path / 'y' / 'z').items()} == first


@pytest.mark.parametrize('validation', ['val', 'validation'])
def test_folders_of_splits_are_used_as_they_are(tmp_path, validation):
    make_folder(tmp_path, {'train/a': 12, 'train/b': 8, f'{validation}/a': 5, 'test/b': 3})
    found = splits(tmp_path)
    assert {name: len(source) for name, source in found.items()} == {
        'train': 20,
        'validation': 5,
        'test': 3,
    }
    for name, folder in (('train', 'train'), ('validation', validation), ('test', 'test')):
        assert {pathlib.Path(i).parts[0] for i in found[name].ids} == {folder}
        assert found[name].class_names == ('a', 'b')  # also where a class has no photo
    assert found['test'].labels.tolist() == [1, 1, 1]


def test_without_a_test_folder_val_is_the_test_and_validation_is_cut_from_train(tmp_path):
    make_folder(tmp_path, {'train/a': 40, 'train/b': 20, 'val/a': 5, 'val/b': 6})
    found = splits(tmp_path)
    names = {f'val/{name}/{i}.jpg' for name, count in (('a', 5), ('b', 6)) for i in range(count)}
    assert ids(found['test']) == names
    assert np.bincount(found['validation'].labels).tolist() == [4, 2]
    assert np.bincount(found['train'].labels).tolist() == [36, 18]
    everything = {f'train/{c}/{i}.jpg' for c, n in (('a', 40), ('b', 20)) for i in range(n)}
    assert ids(found['train']) | ids(found['validation']) == everything


@pytest.mark.parametrize('test', [{}, {'test/a': 7}])
def test_splits_without_a_folder_are_cut_from_train(tmp_path, test):
    make_folder(tmp_path, {'train/a': 50} | test)
    found = splits(tmp_path)
    assert {name: len(source) for name, source in found.items()} == (
        {'train': 45, 'validation': 5, 'test': 7}
        if test
        else {'train': 40, 'validation': 5, 'test': 5}
    )
    everything = {f'train/a/{i}.jpg' for i in range(50)}
    everything |= {f'{name}/{i}.jpg' for name, count in test.items() for i in range(count)}
    assert set().union(*map(ids, found.values())) == everything


def test_every_suffix_in_either_case_and_nothing_else(tmp_path):
    good = ['1.jpg', '2.JPG', '3.jpeg', '4.JPEG', '5.png', '6.PNG', '7.gif', '8.Gif', 'x.y.jpg']
    bad = ['notes.txt', 'jpg', 'a.jpg.zip', 'Thumbs.db', 'b.mp4']
    (tmp_path / 'train' / 'a' / 'deep').mkdir(parents=True)
    for name in good + bad:
        (tmp_path / 'train' / 'a' / name).write_bytes(b'x')
    (tmp_path / 'train' / 'a' / 'deep' / '9.jpg').write_bytes(b'x')
    (tmp_path / 'README.txt').write_text('')
    found = set().union(*map(ids, splits(tmp_path).values()))
    assert found == {f'train/a/{name}' for name in [*good, 'deep/9.jpg']}


def test_take_keeps_these_examples_alone(tmp_path):
    source = load_folder(make_folder(tmp_path, {'train/a': 5, 'train/b': 5, 'test/b': 1}), 'train')
    kept = source.take(np.asarray([7, 0, 3]))
    assert len(kept) == 3
    assert kept.labels.tolist() == source.labels[[7, 0, 3]].tolist()
    assert kept.ids.tolist() == source.ids[[7, 0, 3]].tolist()
    assert contents(kept) == [contents(source)[index] for index in (7, 0, 3)]
    stored = list(kept.stored().as_numpy_iterator())
    assert [e['image'].decode() for e in stored] == contents(kept)
    assert [e['label'] for e in stored] == kept.labels.tolist()
    twice = kept.take(np.asarray([2]))
    assert contents(twice) == [contents(source)[3]]
    assert twice.labels.tolist() == [source.labels[3]]


def test_a_name_with_a_slash_is_a_folder(tmp_path, monkeypatch):
    make_folder(tmp_path / 'photos', {'a': 10, 'b': 10})
    monkeypatch.chdir(tmp_path)
    for name in ('./photos', 'photos/', str(tmp_path / 'photos')):
        assert sources.load(name, 'train', cache='none').class_names == ('a', 'b')


def test_home_is_written_as_a_tilde(tmp_path, monkeypatch):
    make_folder(tmp_path / 'photos', {'a': 10, 'b': 10})
    monkeypatch.setenv('HOME', str(tmp_path))
    assert len(sources.load('~/photos', 'train', cache='none')) == 16


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(InputError, match='no such folder') as error:
        sources.load(f'{tmp_path}/nowhere', 'train')
    assert f'{tmp_path}/nowhere' in str(error.value)
    (tmp_path / 'file').write_text('')
    with pytest.raises(InputError, match='no such folder'):
        sources.load(f'{tmp_path}/file', 'train')


@pytest.mark.parametrize(
    'counts', [{}, {'a': 0, 'b': 0}, {'train': 5}, {'train/a': 0, 'test/a': 3}]
)
def test_a_folder_without_photos_is_answered_by_what_is_expected(tmp_path, counts):
    with pytest.raises(InputError) as error:
        sources.load(str(make_folder(tmp_path, counts)), 'train')
    for part in (str(tmp_path), "'train'", f'{tmp_path}/CLASS/*.jpg', 'train/CLASS', '.png'):
        assert part in str(error.value)


def test_photos_that_stand_in_no_class_are_not_enough(tmp_path):
    (tmp_path / '1.jpg').write_bytes(b'x')
    with pytest.raises(InputError, match='CLASS'):
        sources.load(str(tmp_path), 'train')


def test_a_split_too_small_to_be_cut_is_an_error(tmp_path):
    with pytest.raises(InputError, match="'validation'"):
        sources.load(str(make_folder(tmp_path, {'a': 2, 'b': 1})), 'validation')


@pytest.mark.parametrize('split', ['train[:10%]', 'val', ''])
def test_a_folder_has_three_splits(tmp_path, split):
    with pytest.raises(InputError, match='train, validation, test') as error:
        sources.load(str(make_folder(tmp_path, {'a': 20})), split)
    assert str(tmp_path) in str(error.value)
    assert repr(split) in str(error.value)


def test_hidden_folders_are_no_classes(tmp_path):
    make_folder(tmp_path, {'a': 10, '.ipynb_checkpoints': 0, '.git/objects': 0})
    assert load_folder(tmp_path, 'train').class_names == ('a',)


def test_hidden_files_are_no_photos(tmp_path):
    make_folder(tmp_path, {'a': 10, 'a/.ipynb_checkpoints': 3})
    (tmp_path / 'a' / '._0.jpg').write_text('of a Mac')
    assert len(load_folder(tmp_path, 'all')) == 10


def test_linked_folders_are_entered_once(tmp_path):
    make_folder(tmp_path, {'photos/a': 5, 'photos/b': 4, 'far': 7})
    (tmp_path / 'photos' / 'b' / 'more').symlink_to(tmp_path / 'far')
    (tmp_path / 'photos' / 'b' / 'round').symlink_to(tmp_path / 'photos' / 'b')
    source = load_folder(tmp_path / 'photos', 'all')
    assert np.bincount(source.labels).tolist() == [5, 11]


def test_splits_without_train_are_not_taken_for_classes(tmp_path):
    make_folder(tmp_path, {'val/a': 10, 'test/a': 10, 'val/b': 10, 'test/b': 10})
    with pytest.raises(InputError, match='a folder val but none called train'):
        load_folder(tmp_path, 'test')


def test_two_folders_of_one_split_are_refused(tmp_path):
    make_folder(tmp_path, {'train/a': 10, 'val/a': 10, 'validation/a': 10})
    with pytest.raises(InputError, match='validation and val are both there'):
        load_folder(tmp_path, 'all')


def test_a_link_to_nothing_is_named(tmp_path):
    make_folder(tmp_path, {'train/a': 0, 'test/a': 1})
    (tmp_path / 'train/a/0.jpg').symlink_to(tmp_path / 'gone.jpg')
    with pytest.raises(InputError, match='0.jpg: No such file'):
        load_folder(tmp_path, 'train')


def test_photos_whose_names_are_not_utf_8_are_told_apart(tmp_path):
    make_folder(tmp_path, {'train/a': 1, 'test/a': 1})
    try:
        for name in (b'\xe9.jpg', b'\xe8.jpg'):
            (tmp_path / 'train' / 'a' / os.fsdecode(name)).write_bytes(name)
    except OSError:
        pytest.skip('not on this file system')
    source = load_folder(tmp_path, 'all')
    assert {r'train/a/\xe8.jpg', r'train/a/\xe9.jpg'} < ids(source)
    assert {source.read(i).numpy() for i in range(len(source))} > {b'\xe8.jpg', b'\xe9.jpg'}
    (tmp_path / 'train' / os.fsdecode(b'caf\xe9')).mkdir()
    with pytest.raises(InputError, match=r'caf\\\\xe9.*UTF-8; rename it'):
        load_folder(tmp_path, 'train')


# --------------------------------------------------------------------------- TensorFlow Datasets


class TinyPhotos(tfds.core.GeneratorBasedBuilder):
    """Photos of one pixel, red by their number."""

    VERSION = tfds.core.Version('1.0.0')
    counts = {'train': 23}

    def _info(self):
        features = {
            'image': tfds.features.Image(encoding_format='png'),
            'label': tfds.features.ClassLabel(names=['pear', 'apple', 'fig']),
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, _):
        return {split: self._generate_examples(split) for split in self.counts}

    def _generate_examples(self, split):
        for number in range(self.counts[split]):
            pixel = np.asarray([[[number, len(split), 0]]], np.uint8)
            file = io.BytesIO(tf.io.encode_png(pixel).numpy())
            yield number, {'image': file, 'label': number % 3}


class TinyTexts(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version('1.0.0')

    def _info(self):
        features = tfds.features.FeaturesDict({'text': tfds.features.Text(), 'label': np.int64})
        return tfds.core.DatasetInfo(builder=self, features=features)

    def _split_generators(self, _):
        return {'train': self._generate_examples()}

    def _generate_examples(self):
        yield 0, {'text': 'a photo', 'label': 0}


def prepare(builder, data_dir, shards=2, **options):
    made = builder(data_dir=data_dir, **options)
    made.download_and_prepare(download_config=tfds.download.DownloadConfig(num_shards=shards))
    return made


@pytest.fixture(scope='module')
def tiny(tmp_path_factory):
    """Only a training split, in two files."""
    folder = tmp_path_factory.mktemp('tfds')
    return folder, prepare(TinyPhotos, folder)


def as_tfds_reads(builder, split):
    return list(
        tfds.as_numpy(
            builder.as_dataset(
                split=split,
                decoders={'image': tfds.decode.SkipDecoding()},
                read_config=tfds.ReadConfig(add_tfds_id=True, interleave_cycle_length=1),
            )
        )
    )


@pytest.mark.parametrize(
    'split', ['train', 'validation', 'train[5:20]', 'train[:50%]', 'train[:2]+train[9:14]']
)
def test_examples_and_ids_are_those_of_tfds(tiny, split):
    folder, builder = tiny
    source = sources.load('tiny_photos', split, folder, cache='none')
    assert isinstance(source, StreamedSource)
    assert source.class_names == ('pear', 'apple', 'fig')
    expected = as_tfds_reads(builder, source.split)
    assert source.ids.tolist() == [e['tfds_id'].decode() for e in expected]
    assert len(source) == len(expected)
    stored = list(source.stored().as_numpy_iterator())
    assert [e['image'] for e in stored] == [e['image'] for e in expected]
    assert [e['label'] for e in stored] == [e['label'] for e in expected]
    assert stored[0]['label'].dtype == np.int32
    held = sources.load('tiny_photos', split, folder, cache='memory')
    assert held.ids.tolist() == source.ids.tolist()
    assert [held.read(i).numpy() for i in range(len(held))] == [e['image'] for e in expected]
    assert held.labels.tolist() == [e['label'] for e in expected]
    assert held.class_names == source.class_names
    assert held.split == source.split


def test_slices_cross_files(tiny):
    source = sources.load('tiny_photos', 'train[5:20]', tiny[0], cache='none')
    assert len(set(source.files['filename'])) == 2
    assert len(source) == 15


COUNTS = [
    {'train': 23},
    {'train': 23, 'test': 5},
    {'train': 23, 'validation': 4},
    {'train': 23, 'validation': 4, 'test': 5},
]


@pytest.mark.parametrize('counts', COUNTS, ids=lambda counts: '+'.join(counts))
def test_the_three_splits_are_disjoint_and_whole(tmp_path, monkeypatch, counts):
    monkeypatch.setattr(TinyPhotos, 'counts', counts)
    prepare(TinyPhotos, tmp_path, shards=3)
    found = {s: sources.load('tiny_photos', s, tmp_path, cache='none') for s in SPLITS}
    named = [name for source in found.values() for name in source.ids]
    assert len(named) == len(set(named)) == sum(counts.values())
    if 'test' in counts:
        assert len(found['test']) == counts['test']
    if len(counts) == 3:
        assert {name: len(source) for name, source in found.items()} == counts


@pytest.mark.parametrize(
    ('name', 'sizes', 'expected'),
    [
        # AdamStein97's split of cats_vs_dogs; ImageNet's 50 000 are the test of every paper.
        ('cats_vs_dogs', {'train': 23262}, {'test': 4000}),
        ('cifar10', {'train': 50000, 'test': 10000}, {'test': 10000}),
        ('cifar100', {'train': 50000, 'test': 10000}, {'test': 10000}),
        ('imagenet2012', {'train': 1281167, 'validation': 50000}, {'test': 50000}),
    ],
)
def test_known_sets_are_cut_into_disjoint_slices(name, sizes, expected):
    there = {
        split: tfds.core.SplitInfo(name=split, shard_lengths=[size], num_bytes=0)
        for split, size in sizes.items()
    }
    seen = {split: np.zeros(size, int) for split, size in sizes.items()}
    for split, expression in zip(SPLITS, tfds_sets._SPLITS[name], strict=True):
        (part,) = tfds.core.ReadInstruction.from_spec(expression).to_absolute(there)
        place = seen[part.splitname][part.from_ : part.to]
        place += 1
        assert len(place) == expected.get(split, len(place)) > 0
    assert all((times == 1).all() for times in seen.values())


def test_the_sample_needs_no_place():
    for split, count in (('train', 675), ('validation', 57), ('test', 661)):
        source = sources.load('sample', split)
        assert len(source) == len(source.ids) == len(source.labels) == count
        assert source.num_classes == 14
    assert len(sources.load('sample', 'train[:7]')) == 7


def test_an_unknown_set_is_named_with_its_place(tmp_path):
    with pytest.raises(InputError) as error:
        sources.load('no_such_set', 'train', tmp_path)
    for part in ('--dataset=no_such_set', str(tmp_path), './no_such_set'):
        assert part in str(error.value)


@pytest.mark.parametrize('there', [True, False])
def test_a_set_that_is_not_prepared_comes_with_the_command(tmp_path, there):
    folder = tmp_path if there else tmp_path / 'nowhere'
    with pytest.raises(InputError) as error:
        sources.load('cifar10', 'train', folder)
    for part in (
        '--dataset=cifar10',
        'not prepared',
        str(folder),
        'download_and_prepare()',
        '--data_dir',
        "tfds.builder('cifar10'",
    ):
        assert part in str(error.value)
    assert not (tmp_path / 'nowhere').exists()


def test_a_version_that_there_is_not_is_an_error(tmp_path):
    with pytest.raises(InputError, match='9.9.9'):
        sources.load('cifar10:9.9.9', 'train', tmp_path)


def test_a_set_without_images_is_an_error(tmp_path):
    prepare(TinyTexts, tmp_path, shards=1)
    with pytest.raises(InputError, match='expected features image and label.*got.*text') as error:
        sources.load('tiny_texts', 'train', tmp_path)
    assert '--dataset=tiny_texts' in str(error.value)


@pytest.mark.parametrize(
    'split',
    ['dev', 'train[99:]', 'train[a:]', 'train[', '', 'all[:50%]'],
)
def test_a_split_that_there_is_not_is_answered_by_those_that_there_are(tiny, split):
    with pytest.raises(InputError, match='tiny_photos: no split.*it has train') as error:
        sources.load('tiny_photos', split, tiny[0])
    assert '\n' not in str(error.value)


def test_an_empty_slice_is_an_error(tiny):
    with pytest.raises(InputError, match=r"'train\[:1%\]' is empty"):
        sources.load('tiny_photos', 'train[:1%]', tiny[0])


def test_a_set_in_another_file_format_is_refused(tmp_path):
    pytest.importorskip('array_record')
    prepare(TinyPhotos, tmp_path, file_format='array_record')
    with pytest.raises(InputError, match='prepared as array_record; expected tfrecord'):
        sources.load('tiny_photos', 'train', tmp_path)


@pytest.mark.parametrize(
    'split',
    ['train', 'train[:50%]', 'train[:5]+train[9:]', 'all'],
)
def test_a_slice_has_its_share_of_the_bytes(tiny, split, monkeypatch):
    source = sources.load('tiny_photos', split, tiny[0], cache='none')
    held = sum(len(example['image']) for example in source.stored().as_numpy_iterator())
    assert held <= source.num_bytes <= 2 * held  # records hold names and labels, too
    monkeypatch.setattr(caching, 'MEMORY_LIMIT', held - 1)
    with pytest.raises(InputError, match='held in memory'):
        sources.load('tiny_photos', split, tiny[0])


def test_an_unknown_cache_is_answered_by_those_that_there_are():
    with pytest.raises(InputError, match='--cache=ram: expected memory, disk or none'):
        sources.load('sample', 'train[:3]', cache='ram')


def test_a_class_without_photos_is_refused_by_name(tmp_path):
    make_folder(tmp_path, {'a': 5, 'b': 5})
    (tmp_path / 'empty').mkdir()
    with pytest.raises(InputError, match="class 'empty'"):
        load_folder(tmp_path, 'train')


def test_all_is_every_photo_of_every_split(tmp_path):
    make_folder(tmp_path / 'plain', {'a': 10, 'b': 5})
    assert len(load_folder(tmp_path / 'plain', 'all')) == 15
    make_folder(tmp_path / 'split', {'train/a': 10, 'val/a': 4, 'train/b': 3})
    assert len(load_folder(tmp_path / 'split', 'all')) == 17


# ------------------------------------------------------------- sets of TensorFlow Datasets by name


@pytest.fixture(scope='module')
def tiny_imagenet(tmp_path_factory):
    """The helper, which needs Pillow, and where it has made the data set by TFDS's own builder."""
    pytest.importorskip('PIL')
    import tiny_imagenet

    return tiny_imagenet, tiny_imagenet.make(tmp_path_factory.mktemp('imagenet'))


TRAINING = 'decode_inception_crop(64) | flip_lr'
EVALUATION = 'resize_short_side(72) | center_crop(64)'


def batches(source, batch_size, line=EVALUATION):
    return Batches(source, parse(line, 64), batch_size, seed=7)


HELD = {'train': 50, 'validation': 6, 'test': 13}


@pytest.mark.parametrize('cache', ['memory', 'none'])
def test_imagenet_has_the_builders_classes_and_labels(tiny_imagenet, cache):
    helper, data_dir = tiny_imagenet
    known = tfds.core.tfds_path('datasets/imagenet2012/labels.txt').read_text().split()
    named = {}
    for split, count in HELD.items():
        source = sources.load('imagenet2012', split, data_dir, cache)
        assert len(source) == len(source.ids) == count
        assert source.class_names == tuple(known)
        assert source.num_classes == 1000
        labels = [int(label) for label in source.stored().map(lambda e: e['label'])]
        named[split] = sorted(known[label] for label in labels)
        assert damaged(source) == []
    assert named['test'] == sorted(helper.validation_labels())
    expected = [synset for synset in helper.synsets() for _ in range(helper.PER_CLASS)]
    assert sorted(named['train'] + named['validation']) == expected


def test_imagenets_odd_photos_decode_to_three_channels(tiny_imagenet):
    kinds = set()
    for split in HELD:
        source = sources.load('imagenet2012', split, tiny_imagenet[1])
        for index in range(len(source)):
            file = source.read(index)
            jpeg = tf.io.is_jpeg(file).numpy()
            kinds.add(tf.io.extract_jpeg_shape(file).numpy()[2] if jpeg else file.numpy()[1:4])
            image = decode(file)
            assert image.shape[2] == 3 and min(image.shape) > 2
            assert 20 < image.numpy().mean() < 250
    assert kinds == {1, 3, 4, b'PNG'}


@pytest.mark.parametrize('cache', ['memory', 'disk', 'none'])
def test_imagenet_comes_in_batches(tiny_imagenet, cache, tmp_path):
    for split, count in HELD.items():
        source = sources.load('imagenet2012', split, tiny_imagenet[1], cache, tmp_path)
        if split == 'train':
            walk = list(training_dataset(batches(source, 8, TRAINING), 0, 7).as_numpy_iterator())
            labels = np.concatenate([batch['label'] for batch in walk])[:count]
            expected = [int(label) for label in source.stored().map(lambda e: e['label'])]
            assert sorted(labels) == sorted(expected)
        else:
            walk = list(evaluation_dataset(batches(source, 4)).as_numpy_iterator())
            seen = np.concatenate([batch['index'] for batch in walk])
            assert seen.tolist() == list(range(count)) + [-1] * (-count % 4)
        assert all(batch['image'].shape[1:] == (64, 64, 3) for batch in walk)
        assert all(batch['image'].std() > 20 for batch in walk)


def assert_equal_batches(found, expected):
    assert len(found) == len(expected) > 0
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.keys() == theirs.keys()
        for name in ours:
            np.testing.assert_array_equal(ours[name], theirs[name], name)


@pytest.mark.parametrize('cache', ['memory', 'none'])
def test_imagenets_order_and_pixels_hold_for_any_parallel_calls_and_start(
    tiny_imagenet, cache, monkeypatch
):
    def read(start, calls):
        monkeypatch.setattr(tf.data, 'AUTOTUNE', calls)
        source = sources.load('imagenet2012', 'train', tiny_imagenet[1], cache)
        walk = training_dataset(batches(source, 8, TRAINING), start, 9)
        return list(walk.as_numpy_iterator())

    whole = read(0, 1)
    assert_equal_batches(read(0, 8), whole)
    for start in range(1, 9):
        assert_equal_batches(read(start, 8), whole[start:])


@pytest.mark.parametrize('cache', ['memory', 'none'])
@pytest.mark.parametrize('processes', [2, 3])
def test_imagenets_shares_of_processes_are_disjoint_and_whole(tiny_imagenet, cache, processes):
    """Thirteen photos in three files, by four or six in a batch."""
    source = sources.load('imagenet2012', 'test', tiny_imagenet[1], cache)
    seen = []
    for process in range(processes):
        context = tf.distribute.InputContext(processes, process, processes)
        dataset = evaluation_dataset(batches(source, 2 * processes), context)
        seen += [index for batch in dataset.as_numpy_iterator() for index in batch['index']]
    assert sorted(index for index in seen if index >= 0) == list(range(13))
    assert len(seen) == -(-13 // (2 * processes)) * 2 * processes


def test_imagenets_photos_without_labels_are_refused_by_name(tiny_imagenet, tmp_path):
    for cache in ('memory', 'disk'):
        with pytest.raises(InputError) as error:
            sources.load('imagenet2012', 'test[:100%]', tiny_imagenet[1], cache, tmp_path)
        for part in ('imagenet2012-test.tfrecord-00000-of', '__0 ', 'label -1, expected 0 to 999'):
            assert part in str(error.value)


def test_caltech101_as_its_own_builder_makes_it(tmp_path, monkeypatch):
    counts = {'Faces': 34, 'accordion': 31}
    make_folder(tmp_path / 'photos' / '101_ObjectCategories', counts)
    photo = tf.io.encode_jpeg(np.full((9, 12, 3), 128, np.uint8)).numpy()
    for path in tmp_path.rglob('*.jpg'):
        path.write_bytes(photo)
    manager = tfds.download.DownloadManager
    monkeypatch.setattr(manager, 'download_and_extract', lambda *_: tmp_path)
    monkeypatch.setattr(manager, 'extract', lambda *_: tmp_path / 'photos')
    tfds.builder('caltech101', data_dir=tmp_path / 'data').download_and_prepare(
        download_dir=tmp_path / 'downloads'
    )
    found = {split: sources.load('caltech101', split, tmp_path / 'data') for split in SPLITS}
    assert {split: len(source) for split, source in found.items()} == {
        'train': 54,  # 30 of each class, less a tenth
        'validation': 6,
        'test': 5,
    }
    for source in found.values():
        assert source.num_classes == 102
        named = {source.class_names[label] for label in source.labels}
        assert named <= {'faces', 'accordion'}
        assert damaged(source) == []


class TinyDigits(TinyPhotos):
    """Of one class only, and of one channel, as MNIST's photos have."""

    counts = {'train': 20, 'test': 1}

    def _info(self):
        features = {
            'image': tfds.features.Image(shape=(3, 3, 1)),
            'label': tfds.features.ClassLabel(num_classes=1),
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _generate_examples(self, split):
        for number in range(self.counts[split]):
            yield number, {'image': np.full((3, 3, 1), number, np.uint8), 'label': 0}


@pytest.mark.parametrize('cache', ['memory', 'none'])
def test_one_class_one_channel_and_one_photo_in_the_last_batch(tmp_path, cache):
    prepare(TinyDigits, tmp_path, shards=1)
    source = sources.load('tiny_digits', 'train', tmp_path, cache)
    assert source.class_names == ('0',)
    assert len(source) == 18
    (first, *_, last) = evaluation_dataset(batches(source, 17)).as_numpy_iterator()
    assert first['image'].shape == last['image'].shape == (17, 64, 64, 3)
    assert last['index'].tolist() == [17] + [-1] * 16
    (batch,) = training_dataset(batches(source, 4, TRAINING), 0, 1).as_numpy_iterator()
    assert batch['label'].tolist() == [0] * 4
    alone = sources.load('tiny_digits', 'test', tmp_path, cache)
    (batch,) = evaluation_dataset(batches(alone, 4)).as_numpy_iterator()
    assert batch['index'].tolist() == [0, -1, -1, -1]
