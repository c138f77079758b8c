"""Faults of the data: each is named in one line, or left out and counted; no wrong number."""

import io
import pathlib
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from absl import flags
from absl.testing import flagsaver
from PIL import Image

from tfnets.data import caching, faults, headers, sources
from tfnets.data.pipeline import Batches, evaluation_dataset, training_dataset
from tfnets.data.preprocessing import parse
from tfnets.data.source import StreamedSource
from tfnets.errors import InputError
from tfnets.files import read_json
from tfnets.launchers import common_flags, splits

COUNT = 30


def photo(number):
    pixels = np.full((8, 10, 3), number, np.uint8)
    return tf.io.encode_png(pixels).numpy()


class GreyPhotos(tfds.core.GeneratorBasedBuilder):
    """Grey photos, as bright as their number; some may be replaced by other files."""

    VERSION = tfds.core.Version('1.0.0')
    replaced = {}
    classes = COUNT

    def _info(self):
        features = {
            'image': tfds.features.Image(encoding_format='png'),
            'label': tfds.features.ClassLabel(num_classes=self.classes),
        }
        return tfds.core.DatasetInfo(
            builder=self, features=tfds.features.FeaturesDict(features), disable_shuffling=True
        )

    def _split_generators(self, _):
        return {split: self._generate_examples() for split in ('train', 'validation', 'test')}

    def _generate_examples(self):
        for number in range(COUNT):
            file = io.BytesIO(self.replaced.get(number, photo(number)))
            yield number, {'image': file, 'label': number}


def prepare(data_dir, replaced=None):
    """Prepares the data set in three files of ten photos."""
    builder = GreyPhotos(data_dir=data_dir)
    builder.replaced = replaced or {}
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(num_shards=3))
    return data_dir


def shard(data_dir, number, split='train'):
    (path,) = pathlib.Path(data_dir).rglob(f'grey_photos-{split}.tfrecord-{number:05}-of-*')
    return path


def png(height, width):
    """A PNG of a hundred bytes that says that it is of this size."""

    def chunk(kind, content):
        head = struct.pack('>I', len(content)) + kind + content
        return head + struct.pack('>I', zlib.crc32(kind + content))

    header = struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(1000))
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header) + chunk(b'IDAT', pixels)


def jpeg(height, width):
    """A JPEG whose header says that it is of this size."""
    file = bytearray(tf.io.encode_jpeg(np.zeros((8, 8, 3), np.uint8)).numpy())
    place = file.index(b'\xff\xc0') + 5
    file[place : place + 4] = struct.pack('>HH', height, width)
    return bytes(file)


SOUND = photo(1)
DAMAGED = {
    3: SOUND[: len(SOUND) // 2],
    4: b'',
    11: b'<html>404 Not Found</html>',
    12: png(60_000, 60_000),
    20: jpeg(60_000, 60_000),
    21: jpeg(20_000, 20_000)[:300],
    25: b'GIF89a' + struct.pack('<HH', 65535, 65535) + bytes(3) + b',' + bytes(4)
    + struct.pack('<HH', 65535, 65535) + bytes(20),
}  # fmt: skip


@pytest.fixture(scope='module')
def damaged_set(tmp_path_factory):
    return prepare(tmp_path_factory.mktemp('damaged'), DAMAGED)


def load(data_dir, cache, split='train'):
    return sources.load('grey_photos', split, data_dir, cache, data_dir / 'cache')


def batches(source, line='center_crop(6)', batch_size=4):
    return Batches(source, parse(line, 6), batch_size)


def labels(batch):
    return batch['label'].tolist()


# -------------------------------------------------------------------------------- damaged photos


@pytest.mark.parametrize('cache', ['memory', 'disk', 'none'])
def test_damaged_and_oversized_photos_are_found_and_left_out(damaged_set, cache):
    source = load(damaged_set, cache)
    assert faults.damaged(source) == list(DAMAGED)
    sound = [number for number in range(COUNT) if number not in DAMAGED]
    kept = source.take(np.asarray(sound))
    assert len(kept) == len(kept.ids) == COUNT - len(DAMAGED)
    assert kept.ids.tolist() == source.ids[sound].tolist()
    assert faults.damaged(kept) == []
    found = list(evaluation_dataset(batches(kept)).as_numpy_iterator())
    assert sum(map(labels, found), [])[: len(sound)] == sound
    walk = training_dataset(batches(kept, batch_size=len(sound)), 0, 2)
    assert [sorted(labels(batch)) for batch in walk.as_numpy_iterator()] == [sound] * 2


def test_what_is_left_of_a_stream_can_be_taken_from_again(damaged_set):
    source = load(damaged_set, 'none')
    kept = source.take(np.asarray([0, 5, 6, 7, 19, 22])).take(np.asarray([1, 3, 4, 5]))
    assert [int(e['label']) for e in kept.stored()] == [5, 7, 19, 22]
    assert kept.files['take'].tolist() == [1, 1, 1, 1]
    assert len(source.take(np.arange(COUNT)).files['take']) == len(source.files['take'])


def test_an_oversized_photo_is_never_decoded(damaged_set, monkeypatch):
    decoded = []

    def decode(encoded):
        def note(value):
            decoded.append(bytes(value))
            return np.ones((1, 1, 3), np.uint8)

        return tf.numpy_function(note, [encoded], tf.uint8)

    monkeypatch.setattr(faults.operations, 'decode', decode)
    faults.damaged(load(damaged_set, 'memory'))
    assert SOUND[: len(SOUND) // 2] in decoded
    assert not {DAMAGED[12], DAMAGED[20], DAMAGED[21], DAMAGED[25]} & set(decoded)


@pytest.mark.parametrize('line', ['center_crop(6)', 'decode_inception_crop(6)'])
def test_a_stream_that_meets_a_damaged_photo_names_all_of_them(damaged_set, line):
    source = load(damaged_set, 'none')
    with pytest.raises(InputError) as error, faults.naming_undecodable(source):
        for _ in training_dataset(batches(source, line), 0, 9):
            pass
    for part in (
        '--dataset=grey_photos, train',
        '7 of 30',
        'grey_photos-train.tfrecord-00000-of-00003__3',
    ):
        assert part in str(error.value)
    assert 'and 2 more' in str(error.value) and '--skip_damaged' in str(error.value)
    assert '\n' not in str(error.value)


def test_within_a_compiled_step_too(damaged_set, two_devices):
    source = load(damaged_set, 'none')
    data = two_devices.distribute_datasets_from_function(
        lambda context: evaluation_dataset(batches(source), context)
    )

    @tf.function
    def step(iterator):
        return two_devices.run(lambda batch: tf.reduce_sum(batch['index']), (next(iterator),))

    iterator = iter(data)
    with pytest.raises(InputError, match='7 of 30'), faults.naming_undecodable(source):
        for _ in range(9):
            step(iterator)


def test_errors_that_are_not_the_datas_pass_unchanged(damaged_set):
    source = load(damaged_set, 'none')
    with pytest.raises(tf.errors.InvalidArgumentError), faults.naming_undecodable(source):
        tf.debugging.assert_less(2, 1)


# ------------------------------------------------------------------------ flags, and what is kept


@pytest.fixture
def skip_damaged():
    """A function that sets --skip_damaged."""
    if 'skip_damaged' not in flags.FLAGS:
        common_flags.define_data()
    with flagsaver.flagsaver():
        if not flags.FLAGS.is_parsed():
            flags.FLAGS.mark_as_parsed()

        def put(value):
            flags.FLAGS.skip_damaged = value

        yield put


@pytest.mark.parametrize('cache', ['memory', 'none'])
def test_an_evaluation_without_damaged_photos_is_counted(
    damaged_set, cache, skip_damaged, tmp_path
):
    source = load(damaged_set, cache)
    if cache == 'memory':
        skip_damaged(False)
        with pytest.raises(
            InputError, match=r'grey_photos, train: 7 of 30 files.*__3,.*--skip_damaged'
        ):
            splits.sound(source, training=False)
    skip_damaged(True)
    kept = splits.sound(source, training=False, folder=tmp_path)
    assert isinstance(kept, type(source))
    assert len(kept) == COUNT - len(DAMAGED)
    assert batches(kept, batch_size=10).evaluation_steps == 3
    found = read_json(tmp_path / 'data.json')['train']
    assert found['examples'] == COUNT
    assert found['damaged'] == source.ids[list(DAMAGED)].tolist()


@pytest.mark.parametrize('cache', ['memory', 'none'])
@pytest.mark.parametrize('training', [True, False])
def test_where_nothing_decodes_there_is_nothing_to_leave_out(
    damaged_set, cache, training, skip_damaged
):
    skip_damaged(True)
    source = load(damaged_set, cache).take(np.asarray(list(DAMAGED)))
    with pytest.raises(InputError, match='train: none of the 7 files decodes'):
        splits.sound(source, training=training)


def test_a_stream_is_looked_through_once_and_the_run_keeps_to_it(
    damaged_set, skip_damaged, tmp_path, monkeypatch
):
    source = load(damaged_set, 'none')
    skip_damaged(True)
    ids = splits.sound(source, training=True, folder=tmp_path).ids.tolist()
    monkeypatch.setattr(faults, 'damaged', None)
    assert splits.sound(source, training=True, folder=tmp_path).ids.tolist() == ids
    skip_damaged(False)
    assert splits.sound(source, training=True, folder=tmp_path).ids.tolist() == ids


def test_a_run_on_a_stream_cannot_leave_photos_out_later(damaged_set, skip_damaged, tmp_path):
    source = load(damaged_set, 'none')
    skip_damaged(False)
    for _ in range(2):
        assert splits.sound(source, training=True, folder=tmp_path) is source
    skip_damaged(True)
    with pytest.raises(InputError, match='--skip_damaged: .*grey_photos, train.*--overwrite'):
        splits.sound(source, training=True, folder=tmp_path)
    # An evaluation has no order to keep to.
    assert len(splits.sound(source, training=False, folder=tmp_path)) == COUNT - len(DAMAGED)


# ------------------------------------------------------------------- files of records, and labels


@pytest.fixture
def whole_set(tmp_path):
    return prepare(tmp_path)


def cut(path, records=None, bytes_off=0):
    content = path.read_bytes()
    if records is not None:
        place = 0
        for _ in range(records):
            place += 16 + int.from_bytes(content[place : place + 8], 'little')
        content = content[:place]
    path.write_bytes(content[: len(content) - bytes_off])


CUTS = {
    'in a record': ({'bytes_off': 5}, 9),
    'between records': ({'records': 7}, 7),
    'to nothing': ({'records': 0}, 0),
}


@pytest.mark.parametrize(('how', 'left'), CUTS.values(), ids=CUTS)
@pytest.mark.parametrize('cache', ['memory', 'disk', 'none'])
def test_a_shard_that_is_cut_short_is_named_before_anything_is_read(whole_set, cache, how, left):
    path = shard(whole_set, 1)
    cut(path, **how)
    for split in ('train', 'train[:3]'):
        with pytest.raises(InputError) as error:
            load(whole_set, cache, split)
        for part in (
            '--dataset=grey_photos',
            str(path),
            f'{left} whole records, expected 10',
            'anew',
        ):
            assert part in str(error.value)
    assert len(load(whole_set, cache, 'test')) == COUNT  # in files of its own


@pytest.mark.parametrize('how', [how for how, _ in CUTS.values()], ids=CUTS)
def test_a_shard_that_is_cut_while_it_is_read_ends_the_run(whole_set, how):
    source = load(whole_set, 'none')
    cut(shard(whole_set, 1), **how)
    for make in (lambda b: training_dataset(b, 0, 20), evaluation_dataset):
        with pytest.raises(InputError) as error, faults.naming_undecodable(source):
            for _ in make(batches(source)):
                pass
        assert 'train.tfrecord-00001-of-00003__' in str(error.value)
        assert 'cannot be read' in str(error.value)
    for hold in (caching.in_memory, lambda s: caching.on_disk(s, whole_set / 'cache')):
        with pytest.raises(tf.errors.OpError):
            hold(source)


def test_a_missing_shard_is_named(whole_set):
    path = shard(whole_set, 2)
    path.unlink()
    with pytest.raises(InputError, match=f'{path}: No such file') as error:
        load(whole_set, 'none')
    assert '--dataset=grey_photos' in str(error.value)


@pytest.mark.parametrize('cache', ['memory', 'disk', 'none'])
def test_a_record_with_a_wrong_byte_is_named(whole_set, cache):
    path = shard(whole_set, 1)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError) as error:
        source = load(whole_set, cache)
        faults.damaged(source)
    assert 'train.tfrecord-00001-of-00003__' in str(error.value)
    assert 'corrupted record' in str(error.value)
    assert '\n' not in str(error.value)


def test_sizes_that_were_counted_otherwise_do_no_harm(whole_set):
    """A data set that another program has written; the records themselves are counted then."""
    (path,) = whole_set.rglob('dataset_info.json')
    text = path.read_text()
    assert '"numBytes": "' in text
    path.write_text(text.replace('"numBytes": "', '"numBytes": "1'))
    assert len(load(whole_set, 'none')) == COUNT
    cut(shard(whole_set, 0), records=9)
    with pytest.raises(InputError, match='9 whole records, expected 10'):
        load(whole_set, 'none')


@pytest.mark.parametrize('cache', ['memory', 'disk', 'none'])
def test_a_label_out_of_range_is_named(whole_set, cache, monkeypatch):
    monkeypatch.setattr(GreyPhotos, 'classes', 17)
    for path in whole_set.rglob('label.labels.txt'):
        path.write_text('\n'.join(str(number) for number in range(17)))
    with pytest.raises(InputError) as error:
        source = load(whole_set, cache)
        assert source.num_classes == 17
        with faults.naming_undecodable(source):
            for _ in training_dataset(batches(source), 0, 20):
                pass
    for part in ('tfrecord-00001-of-00003__7 ', 'label 17, expected 0 to 16'):
        assert part in str(error.value)


@pytest.mark.parametrize('fault', ['gone', 'short', 'no array', 'labels'])
def test_a_disk_cache_whose_labels_are_damaged_is_named(whole_set, fault):
    assert len(load(whole_set, 'disk')) == COUNT
    (path,) = (whole_set / 'cache').rglob('labels.npy')
    if fault == 'gone':
        path.unlink()
    elif fault == 'no array':
        path.write_bytes(b'\x93NUMPY')
    else:
        np.save(path, np.arange(COUNT - 1) if fault == 'short' else np.arange(COUNT) + 1)
    with pytest.raises(InputError, match=f'{path.parent} is damaged.*remove'):
        load(whole_set, 'disk')


def test_a_photo_of_a_folder_that_goes_while_it_is_read_is_named(tmp_path):
    for split in ('train', 'test'):
        (tmp_path / split / 'a').mkdir(parents=True)
        for number in range(4):
            (tmp_path / split / 'a' / f'{number}.png').write_bytes(photo(number))
    source = sources.load(str(tmp_path), 'test', cache='none')
    assert not isinstance(source, StreamedSource)
    (tmp_path / 'test' / 'a' / '2.png').unlink()
    with (
        pytest.raises(InputError, match='1 of 4 .*test/a/2.png'),
        faults.naming_undecodable(source),
    ):
        list(evaluation_dataset(batches(source)))
    assert faults.damaged(source) == [2]


def test_an_image_that_is_a_line_is_too_large_to_be_resized():
    file = io.BytesIO()
    Image.new('RGB', (1, 16000)).save(file, 'PNG')
    assert not headers.fits(tf.constant(file.getvalue()))
    file = io.BytesIO()
    Image.new('RGB', (40, 4000)).save(file, 'PNG')
    assert headers.fits(tf.constant(file.getvalue()))
