"""Data sets made of folders: what is taken in, what is stored, and how it goes on after a stop."""

import collections
import csv
import hashlib
import io
import json
import struct

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from PIL import Image

from tfnets.data import preparing, preparing_input, sources
from tfnets.data.operations import OPERATIONS
from tfnets.data.preparing_folder import Folder, default_name
from tfnets.data.preparing_images import Storing, damage
from tfnets.errors import InputError

# ------------------------------------------------------------------------------ what is taken in


def make_files(root, *paths):
    """Empty files: names are all that counts before anything is opened."""
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()
    return root


def numbered(counts, suffix='.jpg'):
    return [f'{name}/{i:03d}{suffix}' for name, count in counts.items() for i in range(count)]


def test_caltech_classes_lose_their_numbers_and_clutter_is_left_out(tmp_path):
    files = numbered({'002.american-flag': 2, '001.ak47': 3, '257.clutter': 4})
    photos = preparing_input.read(make_files(tmp_path, *files))
    assert photos.class_names == ('ak47', 'american-flag')
    assert len(photos) == 5
    assert photos.notes == ('257.clutter: left out, 4 files; --keep_clutter keeps it',)
    photos = preparing_input.read(tmp_path, keep_clutter=True)
    assert photos.class_names == ('ak47', 'american-flag', 'clutter')
    assert (len(photos), photos.notes) == (9, ())


@pytest.mark.parametrize(
    'folders', [('001.a', 'b'), ('001.a', '002.a'), ('1.', '2.'), ('2a', '10b'), ('b', 'A')]
)
def test_other_names_of_classes_stay_as_they_are(tmp_path, folders):
    photos = preparing_input.read(make_files(tmp_path, *numbered(dict.fromkeys(folders, 1))))
    assert photos.class_names == tuple(sorted(folders))


def test_hidden_and_other_files_are_no_photos(tmp_path):
    photos = [f'a/{n}' for n in ('0.jpg', '1.JPEG', '2.png', '3.gif', '4.bmp', 'in/there/5.jpg')]
    hidden = ['.git/x.jpg', 'a/.x.jpg', 'a/.cache/x.jpg']
    others = ['readme.txt', 'x.jpg', 'a/notes.txt', 'b/x.webp']
    found = preparing_input.read(make_files(tmp_path, *photos, 'b/6.jpg', *hidden, *others))
    paths = sorted(path for split in found.splits.values() for path, _ in split)
    assert paths == sorted([*photos, 'b/6.jpg'])
    (note,) = found.notes
    assert note.startswith('warning: 4 other files left out (a/notes.txt, b/x.webp, readme.txt, ')


def test_splits_are_stratified_and_a_function_of_names_and_seed(tmp_path):
    counts = {'a': 100, 'b': 37, 'c': 3, 'd': 2, 'e': 1}
    make_files(tmp_path / 'x', *numbered(counts))
    make_files(tmp_path / 'y', *reversed(numbered(counts)))
    found = preparing_input.read(tmp_path / 'x', 0.2, 0.1)
    held = {
        split: [collections.Counter(label for _, label in photos)[label] for label in range(5)]
        for split, photos in found.splits.items()
    }
    assert held == {
        'train': [70, 26, 2, 2, 1],
        'validation': [20, 7, 1, 0, 0],
        'test': [10, 4, 0, 0, 0],
    }
    assert found.splits == preparing_input.read(tmp_path / 'y', 0.2, 0.1).splits
    assert found.splits != preparing_input.read(tmp_path / 'x', 0.2, 0.1, seed=1).splits
    validation = preparing_input.read(tmp_path / 'x').splits['validation']
    assert validation == found.splits['validation']  # what is cut for the test changes nothing
    for share in (0.9, 0.5):
        train = preparing_input.read(tmp_path / 'x', share, 0.0999).splits['train']
        assert {label for _, label in train} == set(range(5))
    assert list(preparing_input.read(tmp_path / 'x', 0.0).splits) == ['train']


def test_stored_order_mixes_the_classes(tmp_path):
    make_files(tmp_path, *numbered({'a': 200, 'b': 200}))
    labels = [label for _, label in preparing_input.read(tmp_path).splits['train']]
    runs = 1 + np.count_nonzero(np.diff(labels))
    assert 130 < runs < 190  # of 320 photos in random order: 161 on average, deviation 9


@pytest.mark.parametrize('validation', ['val', 'validation'])
def test_splits_of_torchvision_are_taken_as_they_are(tmp_path, validation):
    counts = {'train/a': 12, 'train/b': 8, f'{validation}/a': 5, 'test/b': 3}
    found = preparing_input.read(make_files(tmp_path, *numbered(counts)))
    assert {split: len(photos) for split, photos in found.splits.items()} == {
        'train': 20,
        'validation': 5,
        'test': 3,
    }
    assert found.splits['test'][0][1] == 1
    assert found.shares is None
    with pytest.raises(InputError, match='--test_split: .* brings its own splits'):
        preparing_input.read(tmp_path, test_share=0.1)


def test_train_alone_is_cut(tmp_path):
    found = preparing_input.read(make_files(tmp_path, *numbered({'train/a': 10, 'train/b': 5})))
    assert {split: len(photos) for split, photos in found.splits.items()} == {
        'train': 12,
        'validation': 3,
    }


def test_imagenets_validation_photos_go_by_the_label_list_of_tfds(tmp_path):
    # The first three of the real list: number -> synset.
    synsets = {1: 'n01751748', 2: 'n09193705', 50_000: 'n02437616'}
    train = {f'train/{name}': 2 for name in synsets.values()}
    val = [f'val/ILSVRC2012_val_{number:08d}.JPEG' for number in synsets]
    make_files(tmp_path, *numbered(train, '.JPEG'), *val, 'val/notes.txt')
    found = preparing_input.read(tmp_path)
    labels = {path: found.class_names[label] for path, label in found.splits['validation']}
    assert labels == dict(zip(val, synsets.values(), strict=True))
    assert found.notes[0].startswith('warning: 1 other files left out (val/notes.txt)')
    make_files(tmp_path, 'val/ILSVRC2012_val_00000003.JPEG')
    with pytest.raises(InputError, match='its class is n02105855, which has no folder'):
        preparing_input.read(tmp_path)
    make_files(tmp_path, 'val/ILSVRC2012_val_00050001.JPEG')
    (tmp_path / 'val/ILSVRC2012_val_00000003.JPEG').unlink()
    with pytest.raises(InputError, match='expected photos in class folders'):
        preparing_input.read(tmp_path)


@pytest.mark.parametrize(
    ('files', 'text'),
    [
        ([], 'expected at least two class folders, found none'),
        (['a/0.jpg'], "expected at least two class folders, found only 'a'"),
        (['a/0.jpg', 'b/0.txt'], "no photo of class 'b'"),
        (['val/a/0.jpg', 'val/b/0.jpg'], 'none called train'),
        (['train/a/0.jpg', 'train/b/0.jpg', 'val/c/0.jpg'], "no photo of class 'c' below"),
        (['train/a/0.jpg', 'train/b/0.jpg', 'val/.x'], 'there is no photo in it'),
        (['train/a/0.jpg', 'val/a/0.jpg', 'validation/a/0.jpg'], 'are both there'),
        (['a\nb/0.jpg', 'b/0.jpg'], 'has a name that cannot be listed'),
    ],
)
def test_folders_that_cannot_be_prepared(tmp_path, files, text):
    with pytest.raises(InputError, match=text):
        preparing_input.read(make_files(tmp_path, *files))


@pytest.mark.parametrize(
    ('folder', 'name'),
    [
        ('256_ObjectCategories', 'object_categories_256'),
        ('/data/101_ObjectCategories/', 'object_categories_101'),
        ('ILSVRC2012', 'ilsvrc2012'),
        ('My photos (2024)', 'my_photos_2024'),
        ('2024', 'photos_2024'),
        ('\u732b', 'photos'),
        ('cifar10', 'cifar10_folder'),
        ('sample', 'sample_folder'),
    ],
)
def test_names_of_data_sets(folder, name):
    assert default_name(folder) == name


# ------------------------------------------------------------------------------- what is stored


def pixels(height, width, seed=0):
    """A photo of a kind: smooth, with some noise."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (5, 6, 3), np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), np.int32)
    return np.clip(smooth + rng.integers(-9, 10, smooth.shape), 0, 255).astype(np.uint8)


def encoded(array, kind='JPEG', mode='RGB', **options):
    file = io.BytesIO()
    Image.fromarray(array).convert(mode).save(file, kind, **options)
    return file.getvalue()


def decoded(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert('RGB'))


def stored(data, short_side=32, quality=95):
    image, sums = Storing(short_side, quality)(tf.constant(data), measured=True)
    return image.numpy(), sums.numpy()


@pytest.mark.parametrize('size', [(50, 70), (70, 50), (33, 100), (375, 500), (40, 40), (40, 201)])
def test_large_photos_are_resized_as_torchvision_and_pillow_do(size):
    array = pixels(*size)
    long = int(32 * max(size) / min(size))
    height, width = (32, long) if size[0] <= size[1] else (long, 32)
    small = Image.fromarray(array).resize((width, height), Image.Resampling.BILINEAR)
    ours = OPERATIONS['resize_short_side'](tf.constant(array), 32).numpy()
    difference = np.abs(ours.astype(int) - np.asarray(small))
    assert np.mean(difference == 0) > 0.8
    assert difference.max() <= 1
    image, _ = stored(encoded(array, 'PNG'))
    np.testing.assert_array_equal(decoded(image), decoded(encoded(ours, quality=95, subsampling=0)))


@pytest.mark.parametrize('mode', ['L', 'CMYK', 'RGB'])
def test_jpegs_of_all_kinds_become_rgb(mode):
    data = encoded(pixels(50, 70), mode=mode, quality=98)
    image, _ = stored(data, quality=100)
    small = Image.fromarray(decoded(data)).resize((44, 32), Image.Resampling.BILINEAR)
    assert np.abs(decoded(image).astype(int) - np.asarray(small)).mean() < 1.5


@pytest.mark.parametrize(('short_side', 'size'), [(32, (32, 90)), (32, (20, 30)), (0, (300, 200))])
def test_small_photos_keep_their_bytes(short_side, size):
    array = pixels(*size)
    for kind in ('JPEG', 'PNG'):
        data = encoded(array, kind)
        assert stored(data, short_side)[0] == data
    for kind in ('GIF', 'BMP'):
        data = encoded(array, kind)
        image, _ = stored(data, short_side)
        assert image.startswith(b'\x89PNG')
        np.testing.assert_array_equal(decoded(image), decoded(data))


@pytest.mark.parametrize('size', [(50, 70), (20, 30)])
@pytest.mark.parametrize('kind', ['JPEG', 'PNG'])
def test_sums_are_of_the_stored_pixels(size, kind):
    image, sums = stored(encoded(pixels(*size), kind))
    values = decoded(image).reshape(-1, 3).astype(np.int64)
    expected = [[len(values)] * 3, values.sum(0), (values**2).sum(0)]
    np.testing.assert_array_equal(sums, expected)


def png_header(height, width):
    start = struct.pack('>I4sIIBBBBB', 13, b'IHDR', width, height, 8, 2, 0, 0, 0)
    return b'\x89PNG\r\n\x1a\n' + start + bytes(20)


def jpeg_header(height, width):
    data = bytearray(encoded(pixels(8, 8)))
    place = data.index(b'\xff\xc0') + 5
    data[place : place + 4] = struct.pack('>HH', height, width)
    return bytes(data)


def gif_of_many(frames, side):
    """The blocks of a GIF whose pictures say that they are large, without their pixels."""
    head = b'GIF89a' + struct.pack('<HHBBB', side, side, 0, 0, 0)
    picture = b'\x2c' + struct.pack('<HHHHB', 0, 0, side, side, 0) + b'\x08\x00'
    return head + picture * frames + b';'


@pytest.mark.parametrize(
    ('data', 'text'),
    [
        (b'', 'the file is empty'),
        (b'<html>no photo</html>', 'no JPEG, PNG, GIF or BMP: it begins with'),
        (encoded(pixels(50, 70), 'WEBP'), "no JPEG, PNG, GIF or BMP: it begins with b'RIFF"),
        (encoded(pixels(50, 70))[:-400], 'does not decode: '),
        (encoded(pixels(50, 70))[:30], 'does not decode: '),
        (encoded(pixels(50, 70), 'PNG')[:-400], 'does not decode: '),
        (encoded(pixels(50, 70), 'GIF')[:-400], 'does not decode: '),
        (encoded(pixels(50, 70), 'BMP')[:-400], 'does not decode: '),
        (encoded(pixels(50, 70), 'BMP', 'P'), 'a BMP with a palette'),
        (png_header(500, 20_000), 'too large to be decoded: 20000 x 500 pixels'),
        (png_header(1, 200), 'too large to be decoded: 200 x 1 pixels'),
        (png_header(16_000, 16_000), 'too large to be decoded: 16000 x 16000 pixels, 256,000,000'),
        (jpeg_header(16_000, 15_000), 'too large to be decoded: 15000 x 16000 pixels'),
        (gif_of_many(30, 4_000), 'too large to be decoded: 4000 x 4000 pixels, 480,000,000 in'),
    ],
)
def test_damaged_files_say_what_is_wrong(data, text):
    assert damage(data).startswith(text)
    assert '\n' not in damage(data)
    try:
        assert stored(data)[0] == b''
    except tf.errors.InvalidArgumentError:
        assert 'does not decode' in text


def test_a_grey_bmp_is_no_damage():
    data = encoded(pixels(20, 30), 'BMP', 'L')
    assert damage(data) is None
    np.testing.assert_array_equal(decoded(stored(data)[0]), decoded(data))


# -------------------------------------------------------------------------------- the whole of it

DAMAGED = {'001.a/x.jpg': b'', '002.b/y.jpg': encoded(pixels(50, 70))[:-300]}


@pytest.fixture(scope='module')
def photos(tmp_path_factory):
    """A folder of 43 photos of two classes, three of them small, and two damaged files."""
    root = tmp_path_factory.mktemp('input') / 'shots'
    for number in range(43):
        folder = root / ('001.a' if number < 30 else '002.b')
        folder.mkdir(parents=True, exist_ok=True)
        size = (20, 30) if number % 20 == 0 else (40, 50 + number)
        data = encoded(pixels(*size, seed=number), 'PNG' if number % 7 == 0 else 'JPEG')
        (folder / f'{number:02d}, "photo".jpg').write_bytes(data)
    for path, data in DAMAGED.items():
        (root / path).write_bytes(data)
    return root


def prepare(root, output, workers=2, overwrite=False, shard_images=8, **read):
    found = preparing_input.read(root, **{'test_share': 0.1, **read})
    made_of = {'--shard_images': shard_images, 'sha256': found.sha256}
    folder = Folder(output, 'shots', made_of, overwrite)
    return preparing.prepare(found, folder, Storing(32, 95), shard_images, workers)


def contents(folder):
    return {p.name: p.read_bytes() for p in sorted(folder.glob('shots/1.0.0/*'))}


@pytest.fixture(scope='module')
def prepared(photos, tmp_path_factory):
    output = tmp_path_factory.mktemp('prepared')
    return output, prepare(photos, output)


def test_tfds_reads_it(photos, prepared):
    output, metadata = prepared
    builder = tfds.builder('shots', data_dir=output)
    assert builder.info.features['label'].names == ['a', 'b']
    assert metadata['images'] == {n: s.num_examples for n, s in builder.info.splits.items()}
    seen = set()
    for example in tfds.as_numpy(builder.as_dataset(split='train+validation+test')):
        path = example['file_name'].decode()
        assert path.startswith(('001.a/', '002.b/')[example['label']])
        original = decoded((photos / path).read_bytes())
        assert min(example['image'].shape[:2]) == min(32, min(original.shape[:2]))
        seen.add(path)
    everything = {p.relative_to(photos).as_posix() for p in photos.rglob('*.jpg')}
    assert seen == everything - set(DAMAGED)


def test_our_sources_read_it(prepared):
    output, metadata = prepared
    for split, images in metadata['images'].items():
        for cache in ('memory', 'none'):
            source = sources.load('shots', split, output, cache)
            assert len(source) == images
            assert source.class_names == ('a', 'b')
    files = [path for path in contents(output) if '-train.tfrecord-' in path]
    assert len(files) == 4


def test_metadata(prepared):
    output, metadata = prepared
    folder = output / 'shots' / '1.0.0'
    assert metadata == json.loads((folder / 'metadata.json').read_text())
    assert {split: sum(count.values()) for split, count in metadata['counts'].items()} == (
        metadata['images']
    )
    assert sum(metadata['images'].values()) == 43
    # 31 and 14 files, damaged ones among them: 0.2 and 0.1 of them, rounded.
    assert sum(metadata['counts']['validation'].values()) in (7, 8, 9)
    values = []
    raw = {'image': tfds.decode.SkipDecoding()}
    builder = tfds.builder('shots', data_dir=output)
    for example in tfds.as_numpy(builder.as_dataset(split='train', decoders=raw)):
        values.append(decoded(example['image']).reshape(-1, 3))
    values = np.concatenate(values).astype(np.float64)
    found = metadata['train_pixels']
    assert found['count'] == len(values)
    np.testing.assert_allclose(found['mean'], values.mean(0), rtol=1e-12)
    np.testing.assert_allclose(found['std'], values.std(0), rtol=1e-10)
    np.testing.assert_allclose(found['std_0_to_1'], (values / 255).std(0), rtol=1e-10)
    assert not [path for path in folder.iterdir() if path.name.startswith('.')]


def test_the_checksum_is_that_of_sha256sum(prepared):
    output, metadata = prepared
    lines = [
        f'{hashlib.sha256(data).hexdigest()}  {name}\n'
        for name, data in contents(output).items()
        if '.tfrecord-' in name
    ]
    assert metadata['sha256'] == hashlib.sha256(''.join(lines).encode()).hexdigest()


def test_damaged_files_are_listed(prepared):
    output, metadata = prepared
    assert [entry['image'] for entry in metadata['damaged']] == list(DAMAGED)
    lines = (output / 'shots/1.0.0/damaged.txt').read_text().splitlines()
    assert lines[0] == '001.a/x.jpg\tthe file is empty'
    assert lines[1].startswith('002.b/y.jpg\tdoes not decode: ')


def test_tables_are_in_the_order_of_the_records(prepared):
    output, _ = prepared
    folder = output / 'shots' / '1.0.0'
    assert (folder / 'categories.csv').read_text() == 'id,label\n0,a\n1,b\n'
    for split, name in (('train', 'train'), ('validation', 'val'), ('test', 'test')):
        with open(folder / f'{name}.csv', newline='') as file:
            rows = [(row['image'], int(row['class'])) for row in csv.DictReader(file)]
        source = sources.load('shots', split, output, 'none')
        files = source.files['filename']
        records = [r for file in files for r in tf.data.TFRecordDataset(file).as_numpy_iterator()]
        examples = [tf.train.Example.FromString(record).features.feature for record in records]
        assert rows == [
            (e['file_name'].bytes_list.value[0].decode(), e['label'].int64_list.value[0])
            for e in examples
        ]


@pytest.mark.parametrize('workers', [1, 7])
def test_the_number_of_workers_changes_no_byte(photos, prepared, tmp_path, workers):
    prepare(photos, tmp_path, workers)
    assert contents(tmp_path) == contents(prepared[0])


class Stopped(Exception):  # noqa: N818
    pass


@pytest.mark.parametrize('stop', range(1, 9))
def test_it_goes_on_where_it_was_stopped(photos, prepared, tmp_path, monkeypatch, stop):
    written = []
    add = Folder.add

    def stopping(self, file, write):
        written.append(file)
        if len(written) == stop:

            def write(path):  # half of a file
                path.write_bytes(b'half')
                raise Stopped

        return add(self, file, write)

    monkeypatch.setattr(Folder, 'add', stopping)
    if stop <= 7:
        with pytest.raises(Stopped):
            prepare(photos, tmp_path)
        assert len(list(tmp_path.glob('shots/1.0.0/*.tfrecord*'))) == stop - 1
    else:  # all written, nothing finished
        monkeypatch.delattr(Folder, 'finish')
        with pytest.raises(AttributeError):
            prepare(photos, tmp_path)
    monkeypatch.undo()
    prepare(photos, tmp_path)
    assert contents(tmp_path) == contents(prepared[0])


def test_a_file_that_is_gone_is_written_again(photos, prepared, tmp_path, monkeypatch):
    monkeypatch.setattr(preparing, '_finish', lambda *_: None)
    prepare(photos, tmp_path)
    monkeypatch.undo()
    first, second, *_ = sorted(tmp_path.glob('shots/1.0.0/*-train*'))
    first.unlink()
    second.write_bytes(second.read_bytes()[:-5])
    prepare(photos, tmp_path)
    assert contents(tmp_path) == contents(prepared[0])


def test_a_finished_folder_is_known_and_other_flags_are_refused(photos, tmp_path):
    metadata = prepare(photos, tmp_path, shard_images=100)
    made_of = metadata['made_of']
    assert Folder(tmp_path, 'shots', made_of).metadata == metadata
    with pytest.raises(InputError, match='--shard_images was 100, is 20; name another'):
        Folder(tmp_path, 'shots', {**made_of, '--shard_images': 20})
    again = prepare(photos, tmp_path, shard_images=20, overwrite=True)
    assert again['made_of']['--shard_images'] == 20
    assert not list(tmp_path.glob('shots/1.0.0/*-train*-of-00001'))


def test_another_division_is_another_data_set(photos, tmp_path):
    sides = []
    for seed in (0, 1):
        prepare(photos, tmp_path, seed=seed, overwrite=bool(seed))
        cached = sources.load('shots', 'train', tmp_path, 'disk', tmp_path / 'cache')
        read = sources.load('shots', 'train', tmp_path, 'memory')
        sides.append((cached.identity, cached.location))
        assert cached.labels.tolist() == read.labels.tolist()
        for index in range(len(read)):  # not those of the cache of the first
            assert cached.read(index) == read.read(index)
    (first, _), (second, _) = sides
    assert first != second
    assert len({location for _, location in sides}) == 2


def test_folders_of_others_are_left_alone(tmp_path):
    make_files(tmp_path, 'shots/1.0.0/precious.txt')
    for overwrite in (False, True):
        with pytest.raises(InputError, match='not prepared by this command'):
            Folder(tmp_path, 'shots', {}, overwrite)
    assert (tmp_path / 'shots/1.0.0/precious.txt').exists()


def test_two_processes_do_not_share_a_folder(tmp_path):
    folder = Folder(tmp_path, 'shots', {})
    with pytest.raises(InputError, match='another process is preparing it'):
        Folder(tmp_path, 'shots', {})
    del folder


def test_a_class_of_damaged_photos_is_refused(tmp_path):
    for number in range(4):
        for name, data in (('a', encoded(pixels(40, 50))), ('b', b'no photo')):
            (tmp_path / 'in' / name).mkdir(parents=True, exist_ok=True)
            (tmp_path / 'in' / name / f'{number}.jpg').write_bytes(data)
    with pytest.raises(InputError, match="class 'b': no photo is left; 4 in all are damaged"):
        prepare(tmp_path / 'in', tmp_path / 'out', shard_images=1)


def test_a_file_of_damaged_photos_alone_is_no_harm(tmp_path):
    for number in range(12):
        folder = tmp_path / 'in' / 'ab'[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        data = b'' if number == 5 else encoded(pixels(40, 50, number))
        (folder / f'{number}.jpg').write_bytes(data)
    (tmp_path / 'in' / 'a' / 'link.jpg').symlink_to('nowhere')
    (tmp_path / 'in' / 'a' / 'round.jpg').symlink_to('round.jpg')
    metadata = prepare(tmp_path / 'in', tmp_path / 'out', shard_images=1, validation_share=0)
    assert sorted(f['examples'] for f in metadata['files'].values())[:4] == [0, 0, 0, 1]
    assert len(metadata['damaged']) == 3
    assert metadata['damaged'][0]['reason'].startswith('cannot be read: No such file')
    for cache in ('memory', 'none'):
        assert sum(
            len(list(sources.load('shots', f'{split}[0:]', tmp_path / 'out', cache).stored()))
            for split in metadata['images']
        ) == sum(metadata['images'].values())
