"""Caches: what they hold is what the source holds, and a broken one is made anew."""

import concurrent.futures
import dataclasses
import pathlib
import threading
import time

import numpy as np
import pytest
import tensorflow as tf

from tfnets.data import caching, sources
from tfnets.data.folders import load_folder
from tfnets.data.source import Source
from tfnets.errors import InputError

FILES = [b'', b'a', b'\0\xff\n' * 5, b'photo ' * 1000] + [f'{i}'.encode() for i in range(40)]


def make_source(files=FILES, **changes):
    table = tf.constant(files)
    source = Source(
        name='numbers',
        split='train',
        class_names=tuple('abcde'),
        labels=(np.arange(len(files)) % 5).astype(np.int32),
        ids=np.asarray([f'id{i}' for i in range(len(files))]),
        num_bytes=sum(map(len, files)),
        identity='numbers',
        location='here',
        read=lambda index: table[index],
    )
    return dataclasses.replace(source, **changes)


def contents(source):
    return [source.read(index).numpy() for index in range(len(source))]


def fails(index):
    tf.debugging.assert_less(index, tf.constant(0, index.dtype), 'the source was read')
    return tf.constant(b'')


@pytest.fixture(params=['memory', 'disk'])
def cache(request, tmp_path):
    """A function from a source to its cache."""
    if request.param == 'memory':
        return caching.in_memory
    return lambda source: caching.on_disk(source, tmp_path / 'cache')


def test_a_cache_holds_what_the_source_holds(cache):
    source = make_source()
    held = cache(source)
    assert contents(held) == FILES
    assert held.labels.dtype == np.int32
    np.testing.assert_array_equal(held.labels, source.labels)
    np.testing.assert_array_equal(held.ids, source.ids)
    for name in ('name', 'split', 'class_names', 'num_bytes'):
        assert getattr(held, name) == getattr(source, name)


def test_a_cache_of_a_stream_is_in_stored_order(cache):
    stream = sources.load('sample', 'train[10:40]', cache='none')
    stored = list(stream.stored().as_numpy_iterator())
    held = cache(stream)
    assert contents(held) == [example['image'] for example in stored]
    assert held.labels.tolist() == [example['label'] for example in stored]
    assert held.ids.tolist() == stream.ids.tolist()
    kept = held.take(np.asarray([3, 1]))
    assert contents(kept) == [stored[3]['image'], stored[1]['image']]


def test_a_cache_is_read_by_index_within_a_graph(cache):
    held = cache(make_source())
    order = [5, 3, 3, 41, 0]
    dataset = tf.data.Dataset.from_tensor_slices(tf.constant(order, tf.int64)).map(held.example)
    found = list(dataset.as_numpy_iterator())
    assert [example['image'] for example in found] == [FILES[index] for index in order]
    assert [example['label'] for example in found] == [index % 5 for index in order]


def test_a_disk_cache_is_used_again(tmp_path):
    caching.on_disk(make_source(), tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob('*')}
    again = caching.on_disk(make_source(read=fails), tmp_path)
    assert contents(again) == FILES
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob('*')} == before


def test_an_interrupted_disk_cache_is_made_anew(tmp_path):
    table = tf.constant(FILES)

    def breaks_off(index):
        with tf.control_dependencies([tf.debugging.assert_less(index, tf.constant(30, tf.int64))]):
            return tf.strings.join([table[index], b'?'])

    with pytest.raises(tf.errors.InvalidArgumentError):
        caching.on_disk(make_source(read=breaks_off), tmp_path)
    assert not list(tmp_path.rglob('labels.npy'))
    assert contents(caching.on_disk(make_source(), tmp_path)) == FILES
    assert contents(caching.on_disk(make_source(read=fails), tmp_path)) == FILES


def test_who_comes_while_a_disk_cache_is_filled_waits_for_it(tmp_path):
    begun, table = threading.Event(), tf.constant(FILES)

    def slowly(index):
        begun.set()
        time.sleep(0.01)
        return index

    slow = make_source(read=lambda index: table[tf.py_function(slowly, [index], tf.int64)])
    with concurrent.futures.ThreadPoolExecutor() as pool:
        first = pool.submit(caching.on_disk, slow, tmp_path)
        begun.wait()
        assert contents(caching.on_disk(make_source(read=fails), tmp_path)) == FILES
        assert contents(first.result()) == FILES


def test_what_a_kill_left_of_a_disk_cache_is_deleted(tmp_path):
    caching.on_disk(make_source(), tmp_path)
    (folder,) = (path for path in tmp_path.iterdir() if path.is_dir())
    half = tmp_path / f'.{folder.name}.killed'
    folder.rename(half)
    assert contents(caching.on_disk(make_source(), tmp_path)) == FILES
    assert folder.exists() and not half.exists()


@pytest.mark.parametrize(
    'changes',
    [
        {'name': 'others'},
        {'split': 'test'},
        {'ids': np.asarray([f'x{i}' for i in range(len(FILES))])},
    ],
    ids=['name', 'split', 'ids'],
)
def test_sets_do_not_share_a_disk_cache(tmp_path, changes):
    others = [b'other' + file for file in FILES]
    first = caching.on_disk(make_source(), tmp_path)
    second = caching.on_disk(make_source(others, **changes), tmp_path)
    assert contents(first) == FILES
    assert contents(second) == others


def make_photos(root, content):
    for split in ('train', 'test'):
        (root / split / 'a').mkdir(parents=True, exist_ok=True)
        (root / split / 'a' / '0.jpg').write_bytes(content)


def test_folders_of_one_relative_name_do_not_share_a_disk_cache(tmp_path, monkeypatch):
    for project in ('one', 'two'):
        make_photos(tmp_path / project / 'photos', project.encode())
        monkeypatch.chdir(tmp_path / project)
        held = sources.load('./photos', 'train', cache='disk', cache_dir=tmp_path / 'cache')
        assert contents(held) == [project.encode()]


def test_a_photo_that_was_replaced_is_not_read_from_an_old_disk_cache(tmp_path):
    for content in (b'first', b'second one'):
        make_photos(tmp_path / 'photos', content)
        held = caching.on_disk(load_folder(tmp_path / 'photos', 'train'), tmp_path / 'cache')
        assert contents(held) == [content]


def test_the_cache_dir_may_begin_with_home(tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path))
    caching.on_disk(make_source(), pathlib.Path('~/deep/cache'))
    assert list((tmp_path / 'deep' / 'cache').rglob('labels.npy'))


def test_a_disk_cache_needs_a_place():
    with pytest.raises(InputError, match='cache_dir'):
        sources.load('sample', 'train[:3]', cache='disk')


def test_more_than_memory_is_refused_before_it_is_read(monkeypatch):
    source = make_source(read=fails)
    monkeypatch.setattr(caching, 'MEMORY_LIMIT', source.num_bytes - 1)
    with pytest.raises(InputError) as error:
        caching.in_memory(source)
    for part in ('--dataset=numbers', 'train', '--cache=none', '--cache=disk', 'GiB'):
        assert part in str(error.value)


def test_as_much_as_memory_is_held(monkeypatch):
    source = make_source()
    monkeypatch.setattr(caching, 'MEMORY_LIMIT', source.num_bytes)
    assert contents(caching.in_memory(source)) == FILES
