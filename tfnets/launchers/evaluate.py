"""Scores the network of a run, or of any phase of it, with that run's own preprocessing.

python -m tfnets.launchers.evaluate --run_dir=runs/fixres_quickstart --resolutions=64,96,128
"""

import pathlib

from absl import flags, logging

from tfnets.data.folder_layout import is_folder
from tfnets.launchers import (
    app,
    checks,
    common_flags,
    flag_values,
    objects,
    saved_networks,
    splits,
)

FLAGS = flags.FLAGS

common_flags.define_data()
common_flags.define_devices()
saved_networks.define()
flags.DEFINE_string(
    'split',
    'test',
    'Split to score, as the run divided its data; a TFDS slice if you like; all of another folder.',
)
flags.DEFINE_list('resolutions', [], 'In pixels; by default the one that the phase was made for.')
flags.DEFINE_integer('batch_size', 64, 'Global batch: of all devices together.', lower_bound=1)
flags.DEFINE_string('output', None, 'Also write the scores to this JSON file.')
flags.DEFINE_string(
    'output_dir',
    None,
    'Also write, for each resolution, the accuracy of each class (CSV) and which class is taken '
    'for which (CSV, PNG) into this folder.',
)
flags.adopt_module_key_flags(common_flags)
flags.adopt_module_key_flags(saved_networks)


def check():
    """Refuses flags that cannot be right, and takes what is not given from the run."""
    run = saved_networks.run()
    saved_networks.take_data_flags(run)
    if saved_networks.has_own_data(run):
        FLAGS.split = saved_networks.own_split(run, FLAGS.split)
    elif not FLAGS['split'].present and is_folder(FLAGS.dataset):
        FLAGS.split = 'all'  # another folder than the run's: no photo of it was trained on
    flag_values.pixels('resolutions')
    checks.data()
    saved_networks.find()


def main():
    """Loads the network, scores it at each resolution, prints a table."""
    strategy = objects.strategy()
    from tfnets.analysis import markdown
    from tfnets.data import preprocessing
    from tfnets.data.pipeline import Batches
    from tfnets.files import write_json
    from tfnets.training.evaluation import summarize
    from tfnets.training.objectives import Classification
    from tfnets.training.trainer import Trainer

    saved = saved_networks.find()
    source = splits.sound(splits.open_source(FLAGS.split), training=False)
    saved.check_classes(source)
    with strategy.scope():
        network = saved.load()
    resolutions = flag_values.pixels('resolutions') or (saved.resolution,)
    objects.check_sizes(network, resolutions)
    trainer = Trainer(FLAGS.run_dir, strategy, xla=objects.xla())
    objective = Classification(network)
    print(f'{saved.name}, {source.name} {source.split}: {saved.preprocessing}')
    scores, written = [], []
    for pixels in resolutions:
        line = preprocessing.parse(saved.preprocessing, pixels)
        answers = trainer.answers(objective, Batches(source, line, FLAGS.batch_size))
        score = summarize(answers)
        scores.append({'resolution': pixels, **score.numbers()})
        logging.info('%d px: %s', pixels, score)
        if FLAGS.output_dir:
            written += _write_classes(pixels, answers, saved.names(network))
    print(markdown.scores(scores, {'resolution (px)': 'resolution'}))
    if FLAGS.output:
        write_json(FLAGS.output, {'phase': saved.name, 'split': source.split, 'results': scores})
        written.append(FLAGS.output)
    for path in written:
        print(f'written: {path}')


def _write_classes(pixels, answers, names):
    """Writes how each class did at a resolution; returns the paths of the files."""
    from tfnets.analysis import confusion_report

    matrix = confusion_report.confusion_matrix(answers['label'], answers['predicted'], len(names))
    folder = pathlib.Path(FLAGS.output_dir)
    return confusion_report.write_report(folder, f'{pixels}px', matrix, names)


if __name__ == '__main__':
    app.launch(main, check)
