"""Scores any finished phase of a run, with that run's own preprocessing.

python -m tfnets.launchers.evaluate --run_dir=runs/fixres_quickstart --resolutions=64,96,128
"""

import pathlib

from absl import flags

from tfnets.errors import InputError
from tfnets.files import read_json
from tfnets.launchers import app, checks, common_flags, objects

FLAGS = flags.FLAGS

common_flags.define_data()
common_flags.define_devices()
flags.DEFINE_string('run_dir', None, 'Folder of the run.')
flags.DEFINE_string('phase', None, "Which phase; by default the one whose network is the run's.")
flags.DEFINE_enum(
    'checkpoint', 'last', ('last', 'best'), "The phase's last network, or its best (--best_metric)."
)
flags.DEFINE_string(
    'split',
    'test',
    'Split to score, as the run divided its data; a TFDS slice if you like; all of another folder.',
)
flags.DEFINE_list('resolutions', [], 'In pixels; by default the one that the phase was made for.')
flags.DEFINE_integer('batch_size', 64, 'Global batch: of all devices together.', lower_bound=1)
flags.DEFINE_string('output', None, 'Also write the scores to this JSON file.')
flags.adopt_module_key_flags(common_flags)


def check():
    """Refuses flags that cannot be right, and takes what is not given from the run."""
    if not FLAGS.run_dir:
        raise InputError('--run_dir: expected the folder of a run')
    run = read_json(pathlib.Path(FLAGS.run_dir) / 'run.json')
    if run is None:
        raise InputError(f'--run_dir={FLAGS.run_dir}: there is no run in it (no run.json)')
    if not FLAGS['dataset'].present:
        for name in ('dataset', 'data_dir', 'cache', 'cache_dir'):
            if not FLAGS[name].present and name in run['flags']:
                FLAGS[name].value = run['flags'][name]
        if FLAGS.split in ('train', 'validation', 'test'):
            FLAGS.split = run['flags'].get(f'{FLAGS.split}_split', FLAGS.split)
    elif not FLAGS['split'].present and FLAGS.dataset.startswith(('.', '/', '~')):
        FLAGS.split = 'all'  # another folder than the run's: no photo of it was trained on
    for text in FLAGS.resolutions:
        checks.pixels('resolutions', text)
    checks.data()
    finished_phase()


def finished_phase():
    """The folder of --phase, or of the phase whose network is the run's, or of the last one."""
    folder = pathlib.Path(FLAGS.run_dir)
    finished = sorted(folder.glob('phases/*/result.json'), key=lambda path: path.stat().st_mtime)
    names = [path.parent.name for path in finished]
    if not names:
        raise InputError(f'--run_dir={folder}: no phase of this run is finished yet')
    deployed = read_json(folder / 'report.json', {}).get('deployed', names[-1])
    wanted = FLAGS.phase or deployed
    if wanted not in names:
        raise InputError(f'--phase={wanted}: not finished; there are {", ".join(names)}')
    phases = folder / 'phases'
    if FLAGS.checkpoint == 'best' and not (phases / wanted / 'best_network.keras').exists():
        raise InputError(f'--checkpoint=best: {wanted} was trained without --best_metric')
    return phases / wanted


def main():
    """Loads the network, scores it at each resolution, prints a table."""
    strategy = objects.strategy()
    from tfnets.data import preprocessing
    from tfnets.data.pipeline import Batches
    from tfnets.files import write_json
    from tfnets.training import checkpoints
    from tfnets.training.objectives import Classification
    from tfnets.training.trainer import Trainer

    folder = finished_phase()
    inputs = read_json(folder / 'inputs.json')
    source = objects.sound(objects.open_source(FLAGS.split), training=False)
    if list(source.class_names) != inputs['class_names']:
        got, expected = set(source.class_names), set(inputs['class_names'])
        raise InputError(
            f'--dataset={FLAGS.dataset}: its classes are not those that the network was trained '
            f'on; missing: {", ".join(sorted(expected - got)) or "none"}; unknown: '
            f'{", ".join(sorted(got - expected)) or "none"}; expected them in the order '
            f'{", ".join(inputs["class_names"][:5])} ...'
        )
    with strategy.scope():
        name = 'best_network.keras' if FLAGS.checkpoint == 'best' else 'network.keras'
        network = checkpoints.load_model(folder / name)
    trainer = Trainer(FLAGS.run_dir, strategy, xla=objects.xla())
    objective = Classification(network)
    print(f'{folder.name}, {source.name} {source.split}: {inputs["preprocessing"]}')
    print('| resolution (px) | top-1 (%) | balanced (%) | loss | photos |')
    print('|---:|---:|---:|---:|---:|')
    scores = []
    for pixels in map(int, FLAGS.resolutions or [inputs['resolution']]):
        line = preprocessing.parse(inputs['preprocessing'], pixels)
        score = trainer.score(objective, Batches(source, line, FLAGS.batch_size))
        scores.append({'resolution': pixels, **score.numbers()})
        print(
            f'| {pixels} | {100 * score.top1:.2f} ± {100 * score.top1_error:.2f} '
            f'| {100 * score.balanced:.2f} | {score.loss:.4f} | {score.examples} |'
        )
    if FLAGS.output:
        write_json(FLAGS.output, {'phase': folder.name, 'split': source.split, 'results': scores})


if __name__ == '__main__':
    app.launch(main, check)
