r"""Makes a data set out of a folder of photos: divided, resized, measured, fast to read.

python -m tfnets.launchers.prepare --input_dir=256_ObjectCategories --output_dir=prepared
python -m tfnets.launchers.fixres --dataset=object_categories_256 --data_dir=prepared

The same command goes on where a killed one stopped.
"""

import pathlib
import re

from absl import flags

from tfnets.errors import InputError
from tfnets.launchers import app
from tfnets.machine import usable_cores

FLAGS = flags.FLAGS

flags.DEFINE_string(
    'input_dir',
    None,
    'Folder of class folders (001.ak47/*.jpg), or of train/ and val/ (or validation/, test/) with '
    "class folders in them; val/ may hold ImageNet's validation photos as they are.",
)
flags.DEFINE_string(
    'output_dir', None, 'Where to put it: the --data_dir of other commands; made if need be.'
)
flags.DEFINE_string(
    'name',
    None,
    "The data set's name; by default the input folder's in lower case, numbers in front put "
    'behind: object_categories_256.',
)
flags.DEFINE_float(
    'validation_split',
    None,
    'Share of each class for validation; by default 0.2, or what lies in val/.',
    lower_bound=0,
)
flags.DEFINE_float(
    'test_split',
    None,
    'Share of each class for the test; by default none, or what lies in test/.',
    lower_bound=0,
)
flags.DEFINE_integer('seed', 0, 'Of the division and of the stored order.', lower_bound=0)
flags.DEFINE_integer(
    'short_side',
    256,
    'In pixels: larger photos are resized to it, the aspect kept; 0 keeps the originals.',
    lower_bound=0,
    upper_bound=16384,
)
flags.DEFINE_integer('jpeg_quality', 95, 'Of resized photos.', lower_bound=1, upper_bound=100)
flags.DEFINE_bool(
    'keep_clutter', False, "Keep Caltech's 257.clutter, which belongs to none of its 256 classes."
)
flags.DEFINE_integer('shard_images', 1024, 'Most photos in one file.', lower_bound=1)
flags.DEFINE_integer(
    'workers', 0, 'Photos that are worked on at once; 0 for as many as there are cores.', 0
)
flags.DEFINE_bool('overwrite', False, 'Delete what an earlier start left, and start anew.')


def check():
    """Refuses flags that cannot be right."""
    for name in ('input_dir', 'output_dir'):
        if not FLAGS[name].value:
            raise InputError(f'--{name}: expected a folder')
    shares = FLAGS.validation_split or 0, FLAGS.test_split or 0
    for name, share in zip(('validation_split', 'test_split'), shares, strict=True):
        if not share < 1:
            raise InputError(f'--{name}={share}: expected a share below 1 (20 % is 0.2)')
    if not sum(shares) < 1:
        raise InputError(
            f'--validation_split={shares[0]} --test_split={shares[1]}: together they leave nothing '
            'to train on; expected less than 1'
        )
    if FLAGS.name is not None and not re.fullmatch('[a-z][a-z0-9_]*', FLAGS.name):
        raise InputError(
            f'--name={FLAGS.name}: expected lower-case letters, digits and underscores, the first '
            'of them a letter'
        )
    output = pathlib.Path(FLAGS.output_dir).expanduser()
    if output.exists() and not output.is_dir():
        raise InputError(f'--output_dir={output}: it is a file')
    # Else the data set would be one of the classes when the folder is looked through again.
    if output.resolve().is_relative_to(pathlib.Path(FLAGS.input_dir).expanduser().resolve()):
        raise InputError(f'--output_dir={output}: it lies in --input_dir; name a folder beside it')


def main():
    """Looks through the folder, prepares what is not yet prepared, says what came out."""
    from tfnets.data import preparing_folder, preparing_input

    photos = preparing_input.read(
        FLAGS.input_dir, FLAGS.validation_split, FLAGS.test_split, FLAGS.seed, FLAGS.keep_clutter
    )
    if FLAGS.name and preparing_folder.is_taken(FLAGS.name):
        raise InputError(f'--name={FLAGS.name}: another data set has this name; choose another')
    name = FLAGS.name or preparing_folder.default_name(photos.root)
    folder = preparing_folder.Folder(FLAGS.output_dir, name, _made_of(photos), FLAGS.overwrite)
    for note in photos.notes:
        print(note)
    metadata = folder.metadata
    if metadata:
        print('prepared already')
    else:
        metadata = _prepare(photos, folder)
    _report(folder, metadata)


def _made_of(photos):
    """What the data set is a function of; --workers is not."""
    shares = photos.shares or {}
    return {
        '--input_dir': photos.root.name,
        'the number of photos': len(photos),
        'the sha256 of their names and sizes': photos.sha256,
        '--validation_split': shares.get('validation'),
        '--test_split': shares.get('test'),
        **{
            f'--{name}': FLAGS[name].value
            for name in ('seed', 'short_side', 'jpeg_quality', 'keep_clutter', 'shard_images')
        },
    }


def _prepare(photos, folder):
    print(f'{len(photos)} photos of {len(photos.class_names)} classes', flush=True)
    app.import_tensorflow()
    from tfnets.data import preparing
    from tfnets.data.preparing_images import Storing

    storing = Storing(FLAGS.short_side, FLAGS.jpeg_quality)
    workers = FLAGS.workers or usable_cores()
    return preparing.prepare(photos, folder, storing, FLAGS.shard_images, workers)


def _report(folder, metadata):
    damaged = metadata['damaged']
    if damaged:
        few = '; '.join(f'{d["image"]} ({d["reason"]})' for d in damaged[:10])
        more = '; ...' if len(damaged) > 10 else ''
        print(f'damaged and left out, see damaged.txt: {len(damaged)} ({few}{more})')
    images = ', '.join(f'{split} {count}' for split, count in metadata['images'].items())
    print(f'{folder.path}: {len(metadata["classes"])} classes; {images}')
    pixels = metadata['train_pixels']
    numbers = ('/'.join(f'{value:.3f}' for value in pixels[key]) for key in ('mean', 'std'))
    print('training pixels, R/G/B from 0 to 255: mean {}, deviation {}'.format(*numbers))
    print(f'sha256 {metadata["sha256"]}')
    print(f'read it by --dataset={folder.name} --data_dir={FLAGS.output_dir}')


if __name__ == '__main__':
    app.launch(main, check)
