"""Makes a data set of TensorFlow Datasets' form out of a folder of photos, file by file.

Each file (a shard) is written whole or not at all, and what was written of it noted, so that a
preparation that was killed goes on behind the last one. Which photos a file holds, and in what
order, is known beforehand; the bytes are a function of the photos and the settings alone.
"""

import collections
import csv
import dataclasses
import functools
import hashlib
import itertools
import math
import os
import sys
import tempfile
import time

import numpy as np
import tensorflow as tf
import tqdm
from absl import logging

import tfnets
from tfnets.data import pixel_statistics
from tfnets.data.image_files import printable
from tfnets.data.preparing_folder import VERSION
from tfnets.data.preparing_images import damage
from tfnets.errors import InputError
from tfnets.files import replacing, write_text


@dataclasses.dataclass(frozen=True)
class _Shard:
    """One file of a split: the photos from start to stop of its stored order."""

    split: str
    file: str
    start: int
    stop: int

    def __len__(self):
        return self.stop - self.start


def prepare(photos, folder, storing, shard_images, workers):
    """Writes what is not yet written.

    Args:
        photos: preparing_input.Photos.
        folder: preparing_folder.Folder, not finished.
        storing: preparing_images.Storing.
        shard_images: most photos of one file.
        workers: how many photos are worked on at once.

    Returns:
        The metadata, as they are in the finished folder.

    Raises:
        InputError: if a class has no photo left to train on, or a split none at all.
    """
    shards = _shards(folder.name, photos, shard_images)
    done = sum(len(shard) for shard in shards if folder.facts(shard.file))
    if done:
        logging.info('%d of %d images are there from before', done, len(photos))
    progress = _Progress(done, len(photos))
    for split in photos.splits:
        missing = [s for s in shards if s.split == split and not folder.facts(s.file)]
        stored = _stored(photos, split, missing, storing, workers)
        for shard in missing:
            own = itertools.islice(stored, len(shard))
            folder.add(shard.file, functools.partial(_write_records, own, progress))
    progress.close()
    facts = {shard: folder.facts(shard.file) for shard in shards}
    return _finish(photos, folder, facts)


def _shards(name, photos, shard_images):
    """The files of all splits, each split's as equal as they can be."""
    shards = []
    for split, members in photos.splits.items():
        number = math.ceil(len(members) / shard_images)
        ends = [len(members) * place // number for place in range(number + 1)]
        for place, (start, stop) in enumerate(itertools.pairwise(ends)):
            file = f'{name}-{split}.tfrecord-{place:05d}-of-{number:05d}'
            shards.append(_Shard(split, file, start, stop))
    return shards


# ------------------------------------------------------------------------------------------- photos


def _stored(photos, split, shards, storing, workers):
    """The photos of some files of a split, one after the other.

    Yields:
        Path and label as `photos` has them, the bytes to store (None if damaged) and what is wrong
        with the photo, or its sums.
    """
    places = np.asarray([i for s in shards for i in range(s.start, s.stop)], np.int64)
    if not shards:
        return
    results = iter(_results(photos, split, places, storing, workers))
    result = next(results, None)
    for place in places:
        path, label = photos.splits[split][place]
        if result is not None and result[0].numpy() == place and result[1].numpy():
            yield path, label, result[1].numpy(), result[2].numpy()
        else:
            yield path, label, *_again(photos.root / path, storing, split == 'train')
        if result is not None and result[0].numpy() == place:
            result = next(results, None)


def _results(photos, split, places, storing, workers):
    """Place, bytes and sums of the photos at these places, without those that do not decode."""
    members = photos.splits[split]
    table = tf.constant(
        [os.fsencode(os.path.join(photos.root, members[place][0])) for place in places]
    )

    def result(row, place):
        return place, *storing(tf.io.read_file(table[row]), measured=split == 'train')

    dataset = tf.data.Dataset.from_tensor_slices(places).enumerate()
    dataset = dataset.map(result, num_parallel_calls=workers, deterministic=True).ignore_errors()
    options = tf.data.Options()
    options.threading.private_threadpool_size = workers
    options.threading.max_intra_op_parallelism = 1
    # Stored images only: enough for the cores to go on while a file is closed.
    return dataset.with_options(options).prefetch(8 * workers)


def _again(path, storing, measured):
    """Looks at a photo that yielded nothing.

    Errors of all kinds are passed over on the first way, a full memory and a disk that is away for
    a moment with them, so here the photo has its second chance.
    """
    try:
        encoded = path.read_bytes()
    except OSError as error:
        return None, f'cannot be read: {error.strerror}'
    reason = damage(encoded)
    if reason:
        return None, reason
    stored, sums = storing(tf.constant(encoded), measured)
    return stored.numpy(), sums.numpy()


def _write_records(stored, progress, path):
    """Writes photos as records to a path; answers what they are together."""
    classes = collections.Counter()
    damaged, record_bytes = [], 0
    sums = np.zeros([3, 3], object)  # Python's whole numbers, which have no end
    with tf.io.TFRecordWriter(os.fspath(path)) as writer:
        for name, label, image, found in stored:
            if image is None:
                damaged.append([name, found])
            else:
                record = _record(name, label, image)
                writer.write(record)
                record_bytes += len(record)
                classes[label] += 1
                sums += found
            progress.step()
    with open(path, 'rb') as file:
        digest = hashlib.file_digest(file, 'sha256').hexdigest()
    return {
        'examples': classes.total(),
        'record_bytes': record_bytes,
        'sha256': digest,
        'classes': {str(label): classes[label] for label in sorted(classes)},
        'sums': sums.tolist(),
        'damaged': damaged,
    }


def _record(name, label, image):
    def feature(**value):
        return tf.train.Feature(**{kind: _LISTS[kind](value=[v]) for kind, v in value.items()})

    features = {
        'image': feature(bytes_list=image),
        'label': feature(int64_list=label),
        'file_name': feature(bytes_list=os.fsencode(name)),
    }
    example = tf.train.Example(features=tf.train.Features(feature=features))
    # Else the order of features in a record would change from process to process.
    return example.SerializeToString(deterministic=True)


_LISTS = {'bytes_list': tf.train.BytesList, 'int64_list': tf.train.Int64List}


class _Progress:
    """A bar on a terminal; elsewhere a line now and then."""

    def __init__(self, done, total):
        self._done, self._total, self._start = done, total, done
        self._began = self._shown = time.monotonic()
        self._bar = tqdm.tqdm(
            total=total, initial=done, unit='image', disable=not sys.stderr.isatty()
        )

    def step(self):
        self._done += 1
        self._bar.update()
        if self._bar.disable and time.monotonic() - self._shown > 30:
            self._shown = time.monotonic()
            logging.info('%d of %d images, %s', self._done, self._total, self._rate())

    def close(self):
        self._bar.close()
        if self._done > self._start:
            logging.info('%d images, %s', self._done - self._start, self._rate())

    def _rate(self):
        seconds = time.monotonic() - self._began
        return f'{(self._done - self._start) / seconds:.0f} images/s'


# ----------------------------------------------------------------------------------------- metadata


def _finish(photos, folder, facts):
    """Writes all but the records."""
    damaged = sorted(entry for found in facts.values() for entry in found['damaged'])
    counts = {split: _class_counts(split, photos.class_names, facts) for split in photos.splits}
    _refuse_empty(photos, counts, damaged, folder)
    if damaged:
        lines = ''.join(f'{printable(path)}\t{reason}\n' for path, reason in damaged)
        write_text(folder.path / 'damaged.txt', lines)
    _write_tables(photos, folder.path, {path for path, _ in damaged})
    _write_tfds(photos, folder, facts)
    metadata = {
        'name': folder.name,
        'version': VERSION,
        'made_of': folder.made_of,
        'made_by': {'tfnets': tfnets.__version__, 'tensorflow': tf.__version__},
        'images': {split: sum(count.values()) for split, count in counts.items()},
        'classes': list(photos.class_names),
        'counts': counts,
        'train_pixels': _statistics([f['sums'] for s, f in facts.items() if s.split == 'train']),
        'damaged': [{'image': printable(path), 'reason': reason} for path, reason in damaged],
        'sha256': _checksum(facts),
        'files': {
            shard.file: {key: found[key] for key in ('examples', 'file_bytes', 'sha256')}
            for shard, found in facts.items()
        },
    }
    folder.finish(metadata)
    return metadata


def _class_counts(split, names, facts):
    counts = collections.Counter()
    for shard, found in facts.items():
        if shard.split == split:
            counts.update(found['classes'])
    return {name: counts[str(label)] for label, name in enumerate(names)}


def _refuse_empty(photos, counts, damaged, folder):
    empty = [f'class {name!r}' for name, count in counts['train'].items() if not count]
    empty += [f'split {split!r}' for split, count in counts.items() if not any(count.values())]
    if empty:
        first, reason = damaged[0]
        raise InputError(
            f'--input_dir={photos.root}: {", ".join(empty)}: no photo is left; {len(damaged)} in '
            f'all are damaged, the first {printable(first)} ({reason}); mend or remove them, and '
            f'start anew by --overwrite, for {folder.path} is begun'
        )


def _statistics(sums):
    count, mean, deviation = pixel_statistics.of_sums(sums)
    return {
        'count': count,
        'mean': mean,
        'std': deviation,
        'mean_0_to_1': [value / 255 for value in mean],
        'std_0_to_1': [value / 255 for value in deviation],
    }


def _checksum(facts):
    """Of what `sha256sum *.tfrecord*` prints, so that anybody can compute it."""
    lines = sorted((shard.file, found['sha256']) for shard, found in facts.items())
    return hashlib.sha256(''.join(f'{d}  {f}\n' for f, d in lines).encode()).hexdigest()


def _write_tables(photos, path, damaged):
    """categories.csv, and train.csv, val.csv and test.csv in the order of the records."""
    _write_csv(path / 'categories.csv', ('id', 'label'), enumerate(photos.class_names))
    for split, members in photos.splits.items():
        name = 'val' if split == 'validation' else split
        rows = (member for member in members if member[0] not in damaged)
        _write_csv(path / f'{name}.csv', ('image', 'class'), rows)


def _write_csv(path, head, rows):
    with (
        replacing(path) as temporary,
        open(temporary, 'w', newline='', encoding='utf-8', errors='surrogateescape') as file,
    ):
        writer = csv.writer(file, lineterminator='\n')
        writer.writerow(head)
        writer.writerows(rows)


def _write_tfds(photos, folder, facts):
    """dataset_info.json, features.json and label.labels.txt, as TFDS writes them."""
    import tensorflow_datasets as tfds

    identity = tfds.core.DatasetIdentity(
        folder.name, tfds.core.Version(VERSION), os.fspath(folder.path), module_name=''
    )
    features = {
        'image': tfds.features.Image(shape=(None, None, 3)),
        'label': tfds.features.ClassLabel(names=photos.class_names),
        'file_name': tfds.features.Text(),
    }
    info = tfds.core.DatasetInfo(
        builder=identity,
        description=f'Photos of {len(photos.class_names)} classes, from {photos.root.name}.',
        features=tfds.features.FeaturesDict(features),
        supervised_keys=('image', 'label'),
    )
    info.set_file_format(tfds.core.FileFormat.TFRECORD)
    splits = [_split_info(split, folder, facts) for split in photos.splits]
    info.set_splits(tfds.core.SplitDict(splits))
    with tempfile.TemporaryDirectory(dir=folder.notes) as temporary:
        info.write_to_directory(temporary)
        # The info last: with it TFDS takes the data set for whole.
        for name in sorted(os.listdir(temporary), key=lambda name: name == 'dataset_info.json'):
            with open(os.path.join(temporary, name), 'rb') as file:
                os.fsync(file.fileno())
            os.replace(os.path.join(temporary, name), folder.path / name)


def _split_info(split, folder, facts):
    import tensorflow_datasets as tfds

    own = [found for shard, found in facts.items() if shard.split == split]
    template = tfds.core.ShardedFileTemplate(
        data_dir=folder.path, dataset_name=folder.name, split=split, filetype_suffix='tfrecord'
    )
    return tfds.core.SplitInfo(
        name=split,
        shard_lengths=[found['examples'] for found in own],
        num_bytes=sum(found['record_bytes'] for found in own),
        filename_template=template,
    )
