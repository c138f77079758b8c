"""Writes the network of a run as SavedModel, TensorFlow Lite or ONNX, and checks what it wrote.

  python -m tfnets.launchers.export --run_dir=runs/fixres_quickstart --format=tflite \
      --output=fruit.tflite

The model takes uint8 pixels [batch, resolution, resolution, 3] (of TensorFlow Lite one image) and
gives probabilities; what makes pixels of a file, the preprocessing, is in its metadata, as class
names are. It answers in float32, whatever the run computed in, and is there only if its answers are
the network's (with --int8: if it names the same class for at least half of the photos).
"""

import functools
import importlib.util
import math
import pathlib

from absl import flags, logging

from tfnets import __version__
from tfnets.data.image_files import find_images, printable
from tfnets.errors import Failed, InputError
from tfnets.files import new_folder, replacing, write_json
from tfnets.launchers import app, checks, common_flags, objects, saved_networks, splits

FLAGS = flags.FLAGS

# Largest difference of a probability between two ways to compute the same in float32.
TOLERANCE = 1e-4

common_flags.define_data()
saved_networks.define()
saved_networks.define_file()
flags.DEFINE_enum('format', None, ('saved_model', 'tflite', 'onnx'), 'What to write.')
flags.DEFINE_string(
    'output',
    None,
    'Where to: a file X.tflite or X.onnx (X.tflite.json goes with it), or a new folder.',
)
flags.DEFINE_integer(
    'resolution', 0, 'In pixels; 0 for the one that the network was made for.', lower_bound=0
)
flags.DEFINE_bool(
    'int8', False, "tflite: weights and activations in int8, scaled by the run's training photos."
)
flags.DEFINE_integer(
    'calibration_images', 200, 'How many of those, drawn at random.', lower_bound=1
)
flags.DEFINE_list(
    'images',
    [],
    "Files, folders or globs to check the model on, instead of photos of the run's validation "
    'split.',
)
flags.DEFINE_integer('check_images', 64, 'How many photos to check it on.', lower_bound=1)
flags.DEFINE_integer('rounds', 50, 'Calls with one image that are timed.', lower_bound=1)
flags.adopt_module_key_flags(common_flags)
flags.adopt_module_key_flags(saved_networks)


def check():
    """Refuses flags that cannot be right, and takes those of the data from the run."""
    if not FLAGS.format:
        raise InputError('--format: expected saved_model, tflite or onnx')
    _check_output()
    if FLAGS.int8 and FLAGS.format != 'tflite':
        raise InputError(f'--int8, --format={FLAGS.format}: int8 is for tflite only')
    for package in ('tf2onnx', 'onnxruntime') if FLAGS.format == 'onnx' else ():
        if importlib.util.find_spec(package) is None:
            raise InputError(f"--format=onnx: {package} is not installed; pip install '.[onnx]'")
    saved_networks.find()
    if not FLAGS.model_file:
        saved_networks.take_data_flags(saved_networks.run())
    elif not FLAGS['dataset'].present and (FLAGS.int8 or not FLAGS.images):
        raise InputError(
            '--model_file: no photos to check (or scale) the model on; give some by --images, or '
            'a data set with labels by --dataset (--int8 needs one)'
        )
    if not FLAGS['cache'].present:
        FLAGS.cache = 'none'  # of all the photos only a few are looked at
    checks.data()
    if FLAGS.images and not find_images(FLAGS.images)[0]:
        raise InputError(f'--images={",".join(map(printable, FLAGS.images))}: no images found')


def _check_output():
    path = pathlib.Path(FLAGS.output or '')
    ending = {'tflite': '.tflite', 'onnx': '.onnx'}.get(FLAGS.format)
    if not FLAGS.output or (ending and path.suffix != ending):
        expected = f'a file that ends in {ending}' if ending else 'a folder to be made'
        raise InputError(f'--output={FLAGS.output}: expected {expected}')
    if ending and path.is_dir():
        raise InputError(f'--output={path}: there is a folder of that name')
    if not ending and path.exists() and (path.is_file() or any(path.iterdir())):
        raise InputError(f'--output={path}: there is something already; name a new folder')


def main():
    """Writes the model, opens it again, compares and times it."""
    tf = app.import_tensorflow()
    from tfnets.analysis import export
    from tfnets.data import preprocessing
    from tfnets.models import folding

    # Else a GPU multiplies float32 with ten bits of fraction, by far too few for TOLERANCE.
    tf.config.experimental.enable_tensor_float_32_execution(False)

    saved = saved_networks.find()
    network = saved.load()
    line = preprocessing.parse(saved.preprocessing, FLAGS.resolution or saved.resolution)
    objects.check_sizes(network, [line.resolution])
    images, labels = _check_photos(saved, line)
    rebuilt = _in_float32(network, images)
    reference = export.run_network(rebuilt, line.resolution)
    model = export.Exportable(
        folding.fold(rebuilt),
        line.line,
        line.resolution,
        saved.names(network),
        {'tfnets': __version__, 'network': str(saved.path), 'name': saved.name},
    )
    calibration = _calibration(saved, line) if FLAGS.int8 else None
    replaced = new_folder if FLAGS.format == 'saved_model' else replacing
    with replaced(FLAGS.output) as temporary:
        with app.quiet():  # converters write pages
            _write(model, temporary, calibration)
            run = export.RUNNERS[FLAGS.format](temporary)
        answers = {'network': reference(images), 'exported': run(images)}
        _check_agreement(export.compare(*answers.values()))
        # A checkpoint holds more than the weights.
        whole = export.size(saved.path) if saved.path.is_file() else 4 * network.count_params()
        sizes = [whole, export.size(temporary)]
        _show(answers, labels, sizes, reference, run, images[:1])
    if FLAGS.format != 'saved_model':
        write_json(f'{FLAGS.output}.json', model.metadata)
    print(f'written: {FLAGS.output}')


def _write(model, path, calibration):
    """Writes the model in --format."""
    from tfnets.analysis import export

    if FLAGS.format == 'saved_model':
        export.write_saved_model(model, path)
    elif FLAGS.format == 'onnx':
        export.write_onnx(model, path)
    else:
        export.write_tflite(model, path, calibration)


def _check_agreement(agreement):
    """Says how far the model is from the network; refuses one that is too far."""
    print(
        f'{agreement.images} photos: probabilities differ by at most {agreement.difference:.2g}, '
        f'the most probable class is the same on {agreement.same}',
        flush=True,
    )
    wrong = None
    if math.isnan(agreement.difference):
        wrong = 'not all of its probabilities are numbers'
    elif not FLAGS.int8 and agreement.difference > TOLERANCE:
        wrong = f'its probabilities differ from those of the network by more than {TOLERANCE:g}'
    elif 2 * agreement.same < agreement.images:
        wrong = 'it names the class that the network names for fewer than half of the photos'
    if wrong:
        raise Failed(f'{FLAGS.output}: not written, for {wrong}')


def _open_split(split):
    """Opens train or validation, as the run divided its data; also the folder of what it found."""
    run = None if FLAGS.model_file else saved_networks.run()
    if not run or not saved_networks.has_own_data(run):
        return splits.open_source(split), None
    opened = splits.open_source(saved_networks.own_split(run, split))
    return opened, saved_networks.folder_of_run()


def _calibration(saved, line):
    """Training photos, uint8 [resolution, resolution, 3], prepared as for a test."""
    from tfnets.data import faults, pipeline

    opened, folder = _open_split('train')
    source = splits.sound(opened, training=True, folder=folder)
    saved.check_classes(source)
    count = min(FLAGS.calibration_images, len(source))
    batches = pipeline.Batches(source.for_few(count), line, 1)
    dataset = pipeline.examples(batches, lambda encoded, seed: line(encoded), count)
    with faults.naming_undecodable(source):
        return list(dataset.as_numpy_iterator())


def _check_photos(saved, line):
    """Images to check the model on, uint8, and their labels; None if there are none."""
    import numpy as np

    from tfnets.data import faults, pipeline, single_images

    count = FLAGS.check_images
    if FLAGS.images:
        paths = find_images(FLAGS.images)[0][:count]
        images = [batch['image'].numpy() for batch in single_images.batches(paths, line, count)]
        if not images or len(images[0]) < len(paths):
            named = ','.join(map(printable, FLAGS.images))
            raise InputError(
                f'--images={named}: {len(paths) - sum(map(len, images))} of {len(paths)} files '
                'cannot be read; predict names them'
            )
        return images[0], None
    source, _ = _open_split('validation')
    saved.check_classes(source)
    spread = np.unique(np.linspace(0, len(source) - 1, count).astype(int))
    source = splits.sound(source.take(spread), training=False)
    dataset = pipeline.evaluation_dataset(pipeline.Batches(source, line, len(source)))
    with faults.naming_undecodable(source):
        batch = next(iter(dataset))
    return batch['image'].numpy(), batch['label'].numpy()


def _in_float32(network, images):
    """The network that the model has to agree with; says how far it is from the run's own."""
    from tfnets.analysis import export
    from tfnets.models import precision

    rebuilt = precision.in_float32(network)
    if rebuilt is not network:
        pixels = images.shape[1]
        both = [export.run_network(each, pixels)(images) for each in (network, rebuilt)]
        agreement = export.compare(*both)
        logging.info(
            'the run computed in less than float32; rebuilt in float32, its probabilities differ '
            'by at most %.2g, the most probable class is the same on %d of %d photos',
            agreement.difference,
            agreement.same,
            agreement.images,
        )
    return rebuilt


def _show(answers, labels, sizes, reference, run, image):
    """Prints size, latency and, where there are labels, accuracy of network and model."""
    from tfnets.analysis import benchmark, markdown

    exported = f'{FLAGS.format}, int8' if FLAGS.int8 else FLAGS.format
    # One after the other, not in turns: onnxruntime's threads keep the cores busy for a while.
    contestants = {'network (Keras)': reference, exported: run}
    known = labels is not None
    rows = [['', 'MB', 'one image (ms)', *['top-1 (%)'] * known]]
    for (name, answer), size, shares in zip(
        contestants.items(), sizes, answers.values(), strict=True
    ):
        seconds = benchmark.latency(functools.partial(answer, image), FLAGS.rounds)
        cells = [name, f'{size / 1e6:.3f}', f'{1000 * seconds:.2f}']
        if known:
            cells.append(f'{100 * (shares.argmax(1) == labels).mean():.2f}')
        rows.append(cells)
    print(markdown.table(rows))


if __name__ == '__main__':
    app.launch(main, check)
