"""Which saved network a command means: that of a run, of a phase of it, or a file."""

import dataclasses
import os
import pathlib

from absl import flags, logging

from tfnets.data.folder_layout import is_folder
from tfnets.errors import InputError
from tfnets.files import read_json

FLAGS = flags.FLAGS


@dataclasses.dataclass(frozen=True)
class SavedNetwork:
    """A network on the disk, and what it is to see.

    Attributes:
        name: of the phase that it comes from, or of its file.
        path: of its .keras file; of a phase that is not finished its folder.
        preprocessing: line from an image file to pixels.
        resolution: in pixels, that it was made for.
        class_names: one for each label that its data had.
        best: whether of a phase that is not finished the best checkpoint is meant, not the newest.
    """

    name: str
    path: pathlib.Path
    preprocessing: str
    resolution: int
    class_names: tuple[str, ...]
    best: bool = False

    def load(self):
        """The keras.Model, from uint8 pixels to logits.

        Raises:
            InputError: if it cannot be read, or knows fewer classes than there are names.
        """
        network = self._from_checkpoint() if self.path.is_dir() else self._from_file()
        outputs = network.output_shape
        if len(outputs) != 2 or outputs[-1] < len(self.class_names):
            raise InputError(
                f'{self.path}: expected a network with an output for each of the '
                f'{len(self.class_names)} classes in inputs.json, got outputs of shape {outputs}'
            )
        return network

    def names(self, network):
        """A name for each output of the network, which may have more than there are classes."""
        outputs = range(len(self.class_names), network.output_shape[-1])
        return [*self.class_names, *(f'output {number}, no class' for number in outputs)]

    def check_classes(self, source):
        """Refuses a source of other classes than those that the network was trained on."""
        if source.class_names == self.class_names:
            return
        got, expected = set(source.class_names), set(self.class_names)
        raise InputError(
            f'--dataset={FLAGS.dataset}: its classes are not those that the network was trained '
            f'on; missing: {", ".join(sorted(expected - got)) or "none"}; unknown: '
            f'{", ".join(sorted(got - expected)) or "none"}; expected them in the order '
            f'{", ".join(self.class_names[:5])} ...'
        )

    def _from_file(self):
        from tfnets.training import checkpoints

        return checkpoints.load_model(self.path)

    def _from_checkpoint(self):
        from tfnets.training import checkpoints

        network = checkpoints.build_model(self.path / 'network.json')
        restore = checkpoints.restore_best if self.best else checkpoints.restore_modules
        step = restore(self.path, {'network': network})
        logging.warning('%s is not finished: this is its checkpoint of step %d', self.name, step)
        return network


def define():
    """--run_dir, --phase and --checkpoint."""
    flags.DEFINE_string('run_dir', None, 'Folder of the run.')
    flags.DEFINE_string(
        'phase',
        None,
        "Which phase; by default the one whose network is the run's, or else the last one.",
    )
    flags.DEFINE_enum(
        'checkpoint',
        'last',
        ('last', 'best'),
        "The phase's last network (if it is not finished its newest checkpoint), or its best "
        '(--best_metric).',
    )


def define_file():
    """--model_file, instead of a run."""
    flags.DEFINE_string(
        'model_file', None, 'A .keras file, with its inputs.json beside it, instead of --run_dir.'
    )


def find():
    """The SavedNetwork that the flags name; imports no TensorFlow.

    Raises:
        InputError: if there is none.
    """
    if 'model_file' in FLAGS and FLAGS.model_file:
        for name in ('run_dir', 'phase', 'checkpoint'):
            if FLAGS[name].present:
                raise InputError(f'--model_file, --{name}: expected one of them, got both')
        path = pathlib.Path(FLAGS.model_file)
        if not path.is_file():
            raise InputError(f'--model_file={path}: there is no such file')
        return _saved(path.name, path)
    folder = folder_of_run()
    deployed = (read_json(folder / 'report.json') or {}).get('deployed')
    if FLAGS.checkpoint == 'last' and FLAGS.phase in (None, deployed):
        path = folder / 'model.keras'
        if path.exists():
            return _saved(deployed or folder.name, path)
    name, finished = _choose(folder, deployed)
    phase = folder / 'phases' / name
    best = FLAGS.checkpoint == 'best'
    if best and not (phase / 'best' / 'best.json').exists():
        why = 'was trained without --best_metric' if finished else 'has no best network yet'
        raise InputError(f'--checkpoint=best: {name} {why}')
    file = 'best_network.keras' if best else 'network.keras'
    return _saved(name, phase / file if finished else phase, best)


def folder_of_run():
    """The folder of --run_dir, in which there is a run."""
    if not FLAGS.run_dir:
        other = ' (or a file by --model_file)' if 'model_file' in FLAGS else ''
        raise InputError(f'--run_dir: expected the folder of a run{other}')
    folder = pathlib.Path(FLAGS.run_dir)
    check_run(folder)
    return folder


def check_run(folder):
    """Refuses a folder without a run, and that of a search, which has no network of its own."""
    run = read_json(folder / 'run.json')
    if run is None:
        raise InputError(f'--run_dir={folder}: there is no run in it (no run.json)')
    if run['launcher'] == 'compound_scaling':
        runs = sorted(path.parent for path in folder.glob('*/*/run.json'))
        raise InputError(
            f'--run_dir={folder}: a search of compound scaling; name one of its runs, as '
            f'{runs[-1] if runs else folder / "trials" / "NAME"}'
        )


def run():
    """What stands in its run.json."""
    return read_json(folder_of_run() / 'run.json')


def has_own_data(run):
    """Whether no data set is named but the run's own, however its folder is written.

    Args:
        run: what stands in its run.json.
    """
    both = FLAGS.dataset, run['flags']['dataset']
    if not FLAGS['dataset'].present or both[0] == both[1]:
        return True
    places = set(map(os.path.realpath, both))
    return all(map(is_folder, both)) and len(places) == 1


def take_data_flags(run):
    """Gives the flags of the data the run's values, unless another data set is named.

    Args:
        run: what stands in its run.json.
    """
    for name in ('dataset', 'data_dir', 'cache', 'cache_dir') if has_own_data(run) else ():
        if not FLAGS[name].present and name in run['flags']:
            FLAGS[name].value = run['flags'][name]


def own_split(run, split):
    """The slice that was a run's train, validation or test split; other splits as they are."""
    return run['flags'].get(f'{split}_split', split)


def _choose(folder, deployed):
    """Name of the phase to take the network of, and whether it is finished."""
    phases = _phases(folder)
    if not phases:
        raise InputError(
            f'--run_dir={folder}: no phase of this run is finished yet, nor is there a checkpoint '
            'of a network; wait for the first one (--checkpoint_minutes)'
        )
    finished = [name for name, done in phases.items() if done]
    wanted = FLAGS.phase or deployed or (finished or list(phases))[-1]
    if wanted not in phases:
        shown = [name if done else f'{name} (not finished)' for name, done in phases.items()]
        raise InputError(f'--phase={wanted}: no classifier of it; there are {", ".join(shown)}')
    return wanted, phases[wanted]


def _phases(folder):
    """Dict from the phases that hold a classifier to whether they are finished, latest last."""
    found = []
    for phase in folder.glob('phases/*'):
        result, state = phase / 'result.json', phase / 'checkpoints' / 'checkpoint'
        if result.exists() and (phase / 'network.keras').exists():
            found.append((result.stat().st_mtime, phase.name, True))
        elif not result.exists() and state.exists() and (phase / 'network.json').exists():
            found.append((state.stat().st_mtime, phase.name, False))
    return {name: done for _, name, done in sorted(found)}


def _saved(name, path, best=False):
    place = (path if path.is_dir() else path.parent) / 'inputs.json'
    try:
        inputs = read_json(place)
        line, pixels, names = (inputs[k] for k in ('preprocessing', 'resolution', 'class_names'))
        return SavedNetwork(name, path, line, int(pixels), tuple(map(str, names)), best)
    except (ValueError, TypeError, KeyError):
        raise InputError(
            f'{place}: expected a file {{"preprocessing", "resolution", "class_names"}}, as a run '
            'writes it beside its network'
        ) from None
