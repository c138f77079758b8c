"""Says what is in photos, with the network and the preprocessing of a run.

  python -m tfnets.launchers.predict --run_dir=runs/fixres_quickstart photo.jpg folder 'more/*.png'

Photos are files, folders (all images in them, and in the folders within) or globs. Answers come in
that order. A file that cannot be read is named on standard error, the rest is answered, and the
exit code is 1. A rotation noted in EXIF is not applied, as in training.
"""

import contextlib
import os
import sys

from absl import flags

from tfnets.data.image_files import IMAGE_SUFFIXES, find_images, printable
from tfnets.errors import Failed, InputError
from tfnets.files import replacing
from tfnets.launchers import app, objects, saved_networks

FLAGS = flags.FLAGS

saved_networks.define()
saved_networks.define_file()
flags.DEFINE_integer(
    'resolution', 0, 'In pixels; 0 for the one that the network was made for.', lower_bound=0
)
flags.DEFINE_integer('batch_size', 64, 'Images at once.', lower_bound=1)
flags.DEFINE_integer('top', 5, 'How many classes to name for each photo.', lower_bound=1)
flags.DEFINE_enum(
    'format', 'table', ('table', 'jsonl', 'csv'), 'jsonl: a JSON object for each photo, in a line.'
)
flags.DEFINE_string('output', None, 'File for the answers; by default they are printed.')
flags.adopt_module_key_flags(saved_networks)


def check(arguments):
    """Refuses what cannot be right."""
    saved_networks.find()
    if not arguments:
        raise InputError('no photos: expected files, folders or globs behind the flags')
    if not find_images(arguments)[0]:
        raise InputError(
            f'{printable(arguments[0])}: no images found; expected image files, or folders or '
            f'globs with files that end in {", ".join(IMAGE_SUFFIXES)}'
        )


def main(arguments):
    """Answers photo by photo; exit code 1 if one could not be read."""
    # What is wrong with a photo is said below, in one line; libjpeg would say it too.
    os.environ['TF_CPP_MIN_LOG_LEVEL'] = '3'
    app.import_tensorflow()
    from tfnets.analysis import predictions
    from tfnets.data import preprocessing

    saved = saved_networks.find()
    network = saved.load()
    line = preprocessing.parse(saved.preprocessing, FLAGS.resolution or saved.resolution)
    objects.check_sizes(network, [line.resolution])
    names = saved.names(network)
    paths, missing = find_images(arguments)
    for argument in missing:
        _complain(printable(argument), 'no images found')
    top = min(FLAGS.top, len(names))
    answers = predictions.predict(network, names, line, paths, FLAGS.batch_size, top)
    form = predictions.FORMATS[FLAGS.format](top)
    faults = len(missing)
    with _output() as output:
        output.write(form.head)
        for answer in answers:
            if answer.fault:
                faults += 1
                _complain(answer.file, answer.fault)
            else:
                output.write(form.line(answer))
    if faults:
        sys.stdout.flush()
        raise Failed(f'{faults} of the files and arguments cannot be read; they are named above')


def _complain(file, fault):
    """A line on standard error, behind what was printed before it."""
    sys.stdout.flush()
    print(f'{file}: {fault}', file=sys.stderr, flush=True)


@contextlib.contextmanager
def _output():
    """Where the answers go: the file is there when it is whole."""
    if not FLAGS.output:
        yield sys.stdout
        return
    with replacing(FLAGS.output) as temporary, open(temporary, 'w') as file:
        yield file


if __name__ == '__main__':
    app.launch(main, check, arguments=True)
