"""Batches: order, seeds, padding, processes; each is a function of (seed, position) alone."""

import dataclasses
import io

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from tfnets.data import faults, folders, pipeline, sources
from tfnets.data.pipeline import Batches, evaluation_dataset, training_dataset
from tfnets.data.preprocessing import parse
from tfnets.data.source import Source
from tfnets.errors import InputError

CACHES = ('memory', 'disk', 'none')
COUNT = 65
TRAIN = 23  # the examples of most tests: three files, and no multiple of any batch
CROPS = 'decode_area_crop(6, 0.2, 0.7) | flip_lr | brightness(0.1) | saturation(0.5, 1.5)'
PLAIN = 'center_crop(6)'


def sides(number):
    """Height and width of an example, many shapes."""
    return 40 + number, 70 - 2 * (number % 20)


class TinyRamps(tfds.core.GeneratorBasedBuilder):
    """Red counts the columns, green the rows, blue and the label are the example's number."""

    VERSION = tfds.core.Version('1.0.0')

    def _info(self):
        features = {
            'image': tfds.features.Image(encoding_format='png'),
            'label': tfds.features.ClassLabel(num_classes=COUNT),
        }
        return tfds.core.DatasetInfo(
            builder=self, features=tfds.features.FeaturesDict(features), disable_shuffling=True
        )

    def _split_generators(self, _):
        return {'train': self._generate_examples()}

    def _generate_examples(self):
        for number in range(COUNT):
            rows, columns = np.mgrid[: sides(number)[0], : sides(number)[1]]
            image = np.stack([columns, rows, np.full_like(rows, number)], -1).astype(np.uint8)
            file = io.BytesIO(tf.io.encode_png(image).numpy())
            yield number, {'image': file, 'label': number}


@pytest.fixture(scope='module')
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp('tfds')
    builder = TinyRamps(data_dir=folder)
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(num_shards=9))
    return folder


@pytest.fixture(scope='module')
def load(data_dir):
    """A function from a cache and a slice to the source."""

    def load(cache, split=f'train[:{TRAIN}]'):
        source = sources.load('tiny_ramps', split, data_dir, cache, data_dir / 'cache')
        # Small enough that files are read in turn and the buffer is drawn from before it is full.
        return dataclasses.replace(source, buffer=9, cycle=3) if cache == 'none' else source

    return load


def read(dataset):
    """All batches as one dict of stacked arrays [batch, ...]."""
    batches = list(dataset.as_numpy_iterator())
    return {name: np.stack([batch[name] for batch in batches]) for name in batches[0]}


def train(source, start, stop, context=None, line=CROPS, batch_size=4, **options):
    return read(
        training_dataset(
            Batches(source, parse(line, 6), batch_size, **options), start, stop, context
        )
    )


@pytest.fixture(scope='module')
def walks(load):
    """For each cache the first three epochs and a bit: 18 batches of 4 out of 23."""
    return {cache: train(load(cache), 0, 18) for cache in CACHES}


def assert_same(first, second):
    assert set(first) == set(second)
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], name)


def context(process, processes, replicas):
    return tf.distribute.InputContext(
        num_input_pipelines=processes, input_pipeline_id=process, num_replicas_in_sync=replicas
    )


# --------------------------------------------------------------------------------- order and seeds


@pytest.mark.parametrize('cache', CACHES)
def test_each_example_once_per_epoch_and_batches_straddle_epochs(walks, cache):
    walk = walks[cache]
    assert walk['image'].shape == (18, 4, 6, 6, 3)
    assert walk['image'].dtype == np.uint8
    labels = walk['label'].ravel()
    epochs = [labels[:TRAIN], labels[TRAIN : 2 * TRAIN], labels[2 * TRAIN : 3 * TRAIN]]
    for epoch in epochs:
        assert sorted(epoch) == list(range(TRAIN))
        assert (epoch != np.arange(TRAIN)).sum() > TRAIN / 2
    for number in range(3):
        assert (epochs[number] != epochs[(number + 1) % 3]).sum() > TRAIN / 2


def test_a_stream_of_one_file_has_another_order_in_each_epoch():
    source = sources.load('sample', 'train[:40]', cache='none')
    assert len(source.files['filename']) == 1
    walk = source.shuffled(tf.constant([1, 2])).take(80)
    records = list(walk.as_numpy_iterator())
    assert sorted(records[:40]) == sorted(records[40:])
    assert records[:40] != records[40:]


def test_a_streams_order_does_not_hang_on_the_global_seed(load):
    source = load('none')
    walks = []
    try:
        for seed in (1, 2):
            tf.random.set_seed(seed)
            walks.append(train(source, 0, 3, line=PLAIN)['label'].tolist())
    finally:
        tf.random.set_seed(None)
    assert walks[0] == walks[1]


@pytest.mark.parametrize('cache', CACHES)
def test_a_start_at_any_step_goes_on_as_if_it_had_never_ended(load, walks, cache):
    for start in (1, 6, 17):
        rest = train(load(cache), start, 18)
        assert_same(rest, {name: array[start:] for name, array in walks[cache].items()})


def test_memory_and_disk_are_one_order(walks):
    assert_same(walks['memory'], walks['disk'])


@pytest.mark.parametrize('cache', CACHES)
@pytest.mark.parametrize('calls', [1, 3])
def test_the_number_of_parallel_calls_changes_nothing(load, walks, monkeypatch, cache, calls):
    monkeypatch.setattr(tf.data, 'AUTOTUNE', calls)
    some = {name: array[:9] for name, array in walks[cache].items()}
    assert_same(train(load(cache), 0, 9), some)


@pytest.mark.parametrize('cache', ['memory', 'none'])
def test_seed_and_stream_decide_order_and_pixels(load, walks, cache):
    first = {name: array[:3] for name, array in walks[cache].items()}
    for options in ({'seed': 1}, {'stream': 'control'}):
        other = train(load(cache), 0, 3, **options)
        assert (other['label'] != first['label']).any()
        assert (other['seed'] != first['seed']).any()


def test_seeds_differ_from_position_to_position_and_so_do_the_pixels(walks):
    seeds = walks['memory']['seed'].reshape(-1, 2)
    assert len(np.unique(seeds, axis=0)) == len(seeds)
    labels = walks['memory']['label'].ravel()
    images = walks['memory']['image'].reshape(len(labels), -1)
    for label in range(TRAIN):
        shown = images[labels == label]
        assert len(np.unique(shown, axis=0)) == len(shown) >= 3


def test_the_pixels_are_those_of_the_examples_own_seed(load, walks):
    source, line = load('memory'), parse(CROPS, 6)
    for place in ((0, 0), (4, 3), (17, 1)):
        label, seed, pixels = (walks['memory'][n][place] for n in ('label', 'seed', 'image'))
        np.testing.assert_array_equal(line(source.read(label), tf.constant(seed)), pixels)


def test_the_elements_are_what_is_promised(load):
    spec = training_dataset(Batches(load('memory'), parse(CROPS, 6), 8), 0, 1).element_spec
    assert spec == {
        'image': tf.TensorSpec([8, 6, 6, 3], tf.uint8),
        'label': tf.TensorSpec([8], tf.int32),
        'seed': tf.TensorSpec([8, 2], tf.int32),
    }
    spec = evaluation_dataset(Batches(load('none'), parse(PLAIN, 6), 8)).element_spec
    assert spec == {
        'image': tf.TensorSpec([8, 6, 6, 3], tf.uint8),
        'label': tf.TensorSpec([8], tf.int32),
        'index': tf.TensorSpec([8], tf.int64),
    }


def test_far_steps_are_reached_at_once(load):
    walk = train(load('memory'), 10**9, 10**9 + 2, line=PLAIN, batch_size=TRAIN)
    assert [sorted(labels) for labels in walk['label']] == [list(range(TRAIN))] * 2
    assert (walk['label'][0] != walk['label'][1]).any()


def test_no_steps_are_no_batches(load):
    batches = Batches(load('memory'), parse(PLAIN, 6), 5)
    assert not list(training_dataset(batches, 7, 7))
    assert batches.steps_per_epoch == 23 / 5


@pytest.mark.parametrize('cache', ['memory', 'none'])
@pytest.mark.parametrize('count', [1, 2, 3])
def test_fewer_examples_than_a_batch(load, cache, count):
    walk = train(load(cache, f'train[:{count}]'), 0, 3, line=PLAIN, batch_size=4)['label'].ravel()
    assert np.bincount(walk).tolist() == [12 // count] * count


@pytest.fixture(scope='module')
def pixels():
    """Photos of one pixel: quick enough for hundreds of epochs."""
    photo = tf.io.encode_png(np.zeros((1, 1, 3), np.uint8))
    labels = np.arange(TRAIN, dtype=np.int32)
    return Source(
        'pixels', 'train', ('a',), labels, labels.astype(str), 1, '', '', lambda index: photo
    )


def test_hundreds_of_epochs_have_orders_of_their_own(pixels):
    orders = [
        train(pixels, epoch, epoch + 1, line='resize(1)', batch_size=TRAIN)['label'][0].tolist()
        for epoch in (0, 64, 128, 256, 512)
    ]
    assert all(sorted(order) == list(range(TRAIN)) for order in orders)
    assert len(set(map(tuple, orders))) == len(orders)


def test_each_example_is_at_each_place_of_an_epoch_equally_often(pixels):
    walk = train(pixels, 0, 300, line='resize(1)', batch_size=TRAIN)['label']
    counts = np.stack([np.bincount(column, minlength=TRAIN) for column in walk.T])
    expected = len(walk) / TRAIN
    # Chi-square, whose mean is the degrees of freedom and whose variance twice that.
    free = (TRAIN - 1) ** 2
    assert ((counts - expected) ** 2 / expected).sum() < free + 5 * (2 * free) ** 0.5


# ------------------------------------------------------------------------------------- processes


def assert_together(parts, whole, replicas):
    """Whether the processes' batches, side by side, are those of a single one."""
    steps, size = whole['label'].shape
    for part in parts:  # one batch for each replica of the process
        assert part['label'].shape == (steps * replicas // len(parts), size // replicas)
    assert_same(
        whole,
        {
            name: np.concatenate(
                [part[name].reshape(steps, -1, *array.shape[2:]) for part in parts], 1
            )
            for name, array in whole.items()
        },
    )


@pytest.mark.parametrize(
    ('cache', 'processes', 'replicas'),
    [
        ('memory', 2, 2),
        ('memory', 2, 4),
        ('memory', 1, 2),
        ('disk', 2, 4),
        ('none', 2, 2),
        ('none', 2, 4),
    ],
)
def test_processes_together_read_the_batches_of_one(load, walks, cache, processes, replicas):
    parts = [train(load(cache), 4, 7, context(p, processes, replicas)) for p in range(processes)]
    assert_together(parts, {name: array[4:7] for name, array in walks[cache].items()}, replicas)
    batches = Batches(load(cache), parse(PLAIN, 6), 4)
    parts = [
        read(evaluation_dataset(batches, context(p, processes, replicas))) for p in range(processes)
    ]
    assert_together(parts, read(evaluation_dataset(batches)), replicas)


@pytest.mark.parametrize('cache', ['memory', 'none'])
def test_a_batch_that_does_not_divide_among_devices_is_refused(load, cache):
    batches = Batches(load(cache), parse(PLAIN, 6), 6)
    for processes in (1, 2):
        with pytest.raises(InputError, match='--batch_size=6 .*4 devices.* 8$'):
            training_dataset(batches, 0, 1, context(0, processes, 4))
        with pytest.raises(InputError, match='--batch_size=6 .*4 devices.* 8$'):
            evaluation_dataset(batches, context(0, processes, 4))


# ------------------------------------------------------------------------------------ evaluation


@pytest.mark.parametrize('cache', CACHES)
@pytest.mark.parametrize('count', [1, 63, 64, 65])
def test_evaluation_counts_every_example_once(load, cache, count):
    batches = Batches(load(cache, f'train[:{count}]'), parse(PLAIN, 6), 64)
    found = read(evaluation_dataset(batches))
    assert len(found['index']) == batches.evaluation_steps == -(-count // 64)
    index = found['index'].ravel()
    assert found['index'].dtype == np.int64
    np.testing.assert_array_equal(index[:count], np.arange(count))
    assert (index[count:] == -1).all()
    np.testing.assert_array_equal(found['label'].ravel()[:count], np.arange(count))
    pixels = found['image'].reshape(-1, 6, 6, 3)
    assert (pixels[:count, ..., 2] == np.arange(count)[:, None, None]).all()


@pytest.mark.parametrize('cache', ['memory', 'none'])
def test_processes_count_every_example_once(load, cache):
    batches = Batches(load(cache, 'train[:21]'), parse(PLAIN, 6), 8)
    parts = [read(evaluation_dataset(batches, context(p, 2, 4))) for p in range(2)]
    assert parts[0]['index'].shape == parts[1]['index'].shape == (3 * 2, 2)
    index = np.concatenate([part['index'].ravel() for part in parts])
    assert sorted(index) == [-1] * 3 + list(range(21))
    for part in parts:
        kept = part['index'] >= 0
        np.testing.assert_array_equal(part['label'][kept], part['index'][kept])


def test_evaluation_refuses_what_is_random(load):
    for cache in ('memory', 'none'):
        with pytest.raises(InputError, match='^preprocessing.*flip_lr is random.*leave it out'):
            evaluation_dataset(Batches(load(cache), parse(f'{PLAIN} | flip_lr', 6), 8))


def test_taken_examples_are_evaluated_under_their_own_places(load):
    kept = load('memory').take(np.asarray([5, 2, 20]))
    found = read(evaluation_dataset(Batches(kept, parse(PLAIN, 6), 4)))
    assert found['index'].tolist() == [[0, 1, 2, -1]]
    assert found['label'][0, :3].tolist() == [5, 2, 20]


# --------------------------------------------------------------------------------- damaged files


def photo(form):
    image = pytest.importorskip('PIL.Image')
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3)).astype(np.uint8)
    file = io.BytesIO()
    image.fromarray(pixels).save(file, form)
    return file.getvalue()


@pytest.mark.parametrize('cache', CACHES)
def test_damaged_files_are_found(tmp_path, cache):
    jpeg, png, gif = (photo(form) for form in ('JPEG', 'PNG', 'GIF'))
    files = {
        'a0.jpg': jpeg,
        'a1.jpg': jpeg[: len(jpeg) // 2],
        'a2.jpg': jpeg[:-20],
        'a3.jpg': jpeg[:30],
        'b0.png': png,
        'b1.png': png[: len(png) // 2],
        'b2.png': png[:20],
        'c0.gif': gif,
        'c1.gif': gif[: len(gif) // 2],
        'e0.jpg': b'',
        'e1.jpg': b'<html>404 Not Found</html>',
        'e2.jpg': b'\0' * 1000,
        'e3.jpg': b'RIFF\0\0\0\0AVI LIST',
        'f0.jpg': png,  # a wrong suffix does no harm
        'f1.png': jpeg,
    }
    for split in ('train', 'test'):
        (tmp_path / split / 'a').mkdir(parents=True)
        for name, content in files.items():
            (tmp_path / split / 'a' / name).write_bytes(content)
    (tmp_path / 'val' / 'a').mkdir(parents=True)
    source = sources.load(str(tmp_path), 'train', cache=cache, cache_dir=tmp_path / 'cache')
    assert len(source) == len(files)
    found = [source.ids[index].split('/')[-1] for index in faults.damaged(source)]
    sound = ['a0.jpg', 'b0.png', 'c0.gif', 'f0.jpg', 'f1.png']
    assert found == [name for name in files if name not in sound]
    kept = source.take(np.setdiff1d(np.arange(len(files)), faults.damaged(source)))
    assert faults.damaged(kept) == []
    assert read(evaluation_dataset(Batches(kept, parse(PLAIN, 6), 6)))['index'].max() == 4


def test_a_file_that_is_gone_is_damaged(tmp_path):
    for split in ('train', 'test'):
        (tmp_path / split / 'a').mkdir(parents=True)
        for name in ('0.jpg', '1.jpg', '2.jpg'):
            (tmp_path / split / 'a' / name).write_bytes(photo('JPEG'))
    source = folders.load_folder(tmp_path, 'test')
    (tmp_path / 'test' / 'a' / '1.jpg').unlink()
    assert faults.damaged(source) == [1]


# ------------------------------------------------------------------------------------- crop areas

# Enlarged to more than any side and without interpolation, every pixel of the crop is still there,
# so that the rectangle can be read off the coordinates in its colours.
COPY = "interpolation='nearest', antialias=False"


@pytest.mark.parametrize('cache', ['memory', 'none'])
@pytest.mark.parametrize(
    'crop', [f'decode_area_crop(128, 0.2, 0.7, {COPY})', f'decode_inception_crop(128, {COPY})']
)
def test_crop_areas_are_those_of_the_boxes_that_training_cuts(load, cache, crop):
    source = load(cache)
    batches = Batches(source, parse(f'{crop} | flip_lr', 6), TRAIN, seed=3, stream='trunk')
    walk = read(training_dataset(batches, 0, 1))
    images, labels = walk['image'][0].astype(int), walk['label'][0]
    lengths = np.ptp(images[..., :2], (1, 2)) + 1  # width, height
    expected = lengths.prod(-1) / [np.prod(sides(label)) for label in labels]
    areas = pipeline.crop_areas(batches)
    assert areas.dtype == np.float64
    np.testing.assert_allclose(areas, expected, rtol=1e-12)
    assert np.isclose(areas.mean(), expected.mean())


@pytest.mark.parametrize('line', [PLAIN, 'decode | flip_lr'])
def test_crop_areas_of_a_line_without_a_crop_are_refused(load, line):
    for cache in ('memory', 'none'):
        with pytest.raises(InputError, match='^preprocessing.*no random crop.*decode_area_crop'):
            pipeline.crop_areas(Batches(load(cache), parse(line, 6), 8))


def test_crop_areas_depend_neither_on_the_cache_nor_on_the_batch(load):
    line = parse(CROPS, 6)
    areas = pipeline.crop_areas(Batches(load('memory'), line, 8))
    assert len(areas) == TRAIN
    disk = Batches(load('disk'), line, 5)
    np.testing.assert_array_equal(pipeline.crop_areas(disk, most=7), areas[:7])


def test_colours_left_to_the_device_are_those_of_the_host(load):
    line = parse('decode_inception_crop(24) | flip_lr | color_jitter(0.4, 0.4, 0.4) | hue(0.1)', 24)
    host = Batches(load('memory'), line, 8, seed=5)
    device = dataclasses.replace(host, colours_on_device=True)
    for ours, theirs in zip(
        training_dataset(host, 3, 6), training_dataset(device, 3, 6), strict=True
    ):
        assert theirs['colours'].shape == (8, 7)
        finished = tf.function(device.finish)(theirs)
        assert finished.keys() == ours.keys()
        np.testing.assert_array_equal(finished['seed'], ours['seed'])
        difference = np.abs(finished['image'].numpy().astype(int) - ours['image'].numpy())
        assert difference.max() <= 1


def test_a_line_without_colours_leaves_nothing_to_the_device(load):
    line = parse('decode_inception_crop(8) | brightness(0.2) | flip_lr', 8)
    batches = Batches(load('memory'), line, 8, colours_on_device=True)
    batch = next(iter(training_dataset(batches, 0, 1)))
    assert 'colours' not in batch
    assert batches.finish(batch) is batch


def test_a_data_service_gives_every_batch_of_the_walk_once(load):
    service = tf.data.experimental.service
    dispatcher = service.DispatchServer(service.DispatcherConfig(port=0))
    address = dispatcher.target.removeprefix('grpc://')
    workers = [service.WorkerServer(service.WorkerConfig(address, port=0)) for _ in range(2)]
    line = parse('decode_inception_crop(6) | flip_lr | brightness(0.2)', 6)
    here = Batches(load('memory'), line, 4, seed=5)
    there = dataclasses.replace(here, service=dispatcher.target)

    def content(batches):
        return sorted(
            (batch['seed'].numpy().tobytes(), batch['image'].numpy().tobytes())
            for batch in training_dataset(batches, 2, 12)
        )

    assert content(there) == content(here)
    del workers
