"""A few photos under ImageNet's names, made into the data set by TensorFlow Datasets' own builder.

The photos are the sample's, a class of it for each synset, so that a network can learn them. As in
the real archives there are a grey photo, CMYK ones, and PNGs under the name of a JPEG. Of each two,
one is on the builder's list of files to be mended; the other is not, and stays as it is.

    python tests/helpers/tiny_imagenet.py FOLDER

makes it by hand, for --dataset=imagenet2012 --data_dir=FOLDER/data.
"""

import io
import pathlib
import sys
import tarfile

import tensorflow_datasets as tfds
from PIL import Image

from tfnets.data import sources

# On the builder's lists.
LISTED_CMYK = 'n01739381_1309.JPEG'
LISTED_PNG = 'n02105855_2933.JPEG'
GREY = 'n01751748_9.JPEG'
PER_CLASS = 4
TRAIN = 14 * PER_CLASS
VALIDATION = 13
TEST = 3
# Height and width in turn; their number has no factor in common with that of a class's photos.
_SIZES = ((96, 128), (128, 96), (375, 500), (64, 64), (500, 333), (33, 47), (120, 121))


def make(folder, shards=3):
    """Writes the three archives and prepares the data set from them.

    Args:
        folder: where; pathlib.Path or str.
        shards: files for each split.

    Returns:
        pathlib.Path, for --data_dir. Splits: train, TRAIN photos of 14 classes; validation, with
        the labels of the real one's first VALIDATION photos; test, TEST photos with no label.
    """
    folder = pathlib.Path(folder)
    archives = folder / 'archives'
    archives.mkdir(parents=True)
    photos = _photos()
    _write(archives / 'ILSVRC2012_img_train.tar', _class_archives(photos))
    _write(archives / 'ILSVRC2012_img_val.tar', _validation(photos))
    _write(
        archives / 'ILSVRC2012_img_test.tar',
        {f'ILSVRC2012_test_{n:08}.JPEG': _jpeg(next(photos[0])) for n in range(1, TEST + 1)},
    )
    builder = tfds.builder('imagenet2012', data_dir=folder / 'data')
    builder.download_and_prepare(
        download_dir=folder / 'downloads',
        download_config=tfds.download.DownloadConfig(manual_dir=archives, num_shards=shards),
    )
    return folder / 'data'


def synsets():
    """The classes of the training photos: those of the validation's, and two for the lists."""
    listed = {name.partition('_')[0] for name in (LISTED_CMYK, LISTED_PNG)}
    return sorted(listed | set(validation_labels()))


def validation_labels():
    """The synsets of the real validation set's first photos, in the order of their names."""
    path = tfds.core.tfds_path('datasets/imagenet2012/validation_labels.txt')
    return path.read_text().split()[:VALIDATION]


def _photos():
    """An endless iterator over the photos of each class of the sample, each in the next size."""

    def walk(source, label):
        number = label
        while True:
            for index in (source.labels == label).nonzero()[0]:
                height, width = _SIZES[number % len(_SIZES)]
                image = Image.open(io.BytesIO(source.read(index).numpy()))
                yield image.convert('RGB').resize((width, height))
                number += 1

    source = sources.load('sample', 'train')
    return [walk(source, label) for label in range(source.num_classes)]


def _class_archives(photos):
    """The members of the training archive: an archive for each synset."""
    members = {}
    for label, synset in enumerate(synsets()):
        names = [f'{synset}_{number}.JPEG' for number in range(PER_CLASS)]
        files = {name: _jpeg(next(photos[label])) for name in names}
        for name, convert in ((LISTED_CMYK, _cmyk), (LISTED_PNG, _png), (GREY, _grey)):
            if name.startswith(synset):
                files.pop(names[-1])
                files[name] = convert(next(photos[label]))
        archive = io.BytesIO()
        _write(archive, files)
        members[f'{synset}.tar'] = archive.getvalue()
    return members


def _validation(photos):
    """The members of the validation archive, whose labels follow from the order of names."""
    converted = {2: _grey, 3: _cmyk, 4: _png}
    return {
        f'ILSVRC2012_val_{number:08}.JPEG': converted.get(number, _jpeg)(
            next(photos[synsets().index(synset)])
        )
        for number, synset in enumerate(validation_labels(), 1)
    }


def _write(file, members):
    """Writes a tar archive of files, dict from name to bytes, at a path or into a buffer."""
    place = {'name': file} if isinstance(file, pathlib.Path) else {'fileobj': file}
    with tarfile.open(mode='w', **place) as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def _saved(image, form, **options):
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def _jpeg(image):
    return _saved(image, 'JPEG', quality=90)


def _grey(image):
    return _jpeg(image.convert('L'))


def _cmyk(image):
    return _jpeg(image.convert('CMYK'))


def _png(image):
    return _saved(image, 'PNG')


if __name__ == '__main__':
    print(f'--dataset=imagenet2012 --data_dir={make(sys.argv[1])}')
