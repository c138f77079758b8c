"""What a phase saves on the way, and at its end."""

import contextlib
import hashlib
import pathlib
import shutil
import zipfile

import keras
import tensorflow as tf
from absl import logging

from tfnets.errors import InputError, one_line
from tfnets.files import read_json, replacing, write_json, write_text
from tfnets.training import cluster

# What reading a file that was cut short, or is another network's, can raise.
_UNREADABLE = (tf.errors.OpError, ValueError, OSError, AssertionError, LookupError)


class Checkpoints:
    """The checkpoints of one phase: networks, optimizer and counters, by step.

    Args:
        folder: pathlib.Path of the phase.
        modules: dict of the keras.Models that are saved, by name.
        keep: how many of the latest checkpoints to keep.
        **state: trackable objects and variables that are saved beside them.
    """

    def __init__(self, folder, modules, keep=2, **state):
        self._saved, own = folder / 'checkpoints', cluster.own(folder)
        self._best = own / 'best'
        self._modules = tf.train.Checkpoint(modules=_Modules(modules))
        self._checkpoint = tf.train.Checkpoint(modules=_Modules(modules), **state)
        self._manager = tf.train.CheckpointManager(
            self._checkpoint, str(own / 'checkpoints'), keep, checkpoint_name='step'
        )

    @property
    def latest(self):
        """Path of the newest checkpoint, or None; the same in all processes."""
        return cluster.agreed(tf.train.latest_checkpoint(str(self._saved)))

    def save(self, step):
        """Writes a checkpoint; a kill in the middle leaves the one before.

        All processes of a cluster take part, and go on once it is there.

        Raises:
            OSError: if it cannot be written.
        """
        with self._told(self._saved):
            self._manager.save(checkpoint_number=step)
        cluster.wait()

    def save_if_best(self, step, value):
        """Keeps the networks apart if no evaluation of this phase gave a higher value before.

        Args:
            step: steps that have been made.
            value: the higher the better.

        Raises:
            OSError: as `save`.
        """
        before = cluster.agreed(read_json(self._best / 'best.json'))
        if before and before['value'] >= value:
            return
        with self._told(self._best):
            self._modules.write(str(self._best / f'step-{step}'))
        write_json(self._best / 'best.json', {'step': step, 'value': value})
        cluster.wait()
        for old in self._best.glob('step-*'):
            if not old.name.startswith(f'step-{step}.'):
                old.unlink()

    @contextlib.contextmanager
    def _told(self, folder):
        """Has TensorFlow's word that a file cannot be written be an OSError, as elsewhere."""
        try:
            yield
        except tf.errors.OpError as error:
            reason = ' '.join(error.message.split())
            last = tf.train.latest_checkpoint(str(self._saved)) or 'none yet'
            raise OSError(
                f'cannot write a checkpoint into {folder} ({reason}); the last one is {last}'
            ) from error

    def restore(self):
        """Restores the newest checkpoint that can be read.

        Returns:
            Whether there was one.

        Raises:
            InputError: if there are checkpoints and none can be read.
        """
        state = tf.train.get_checkpoint_state(str(self._saved))
        paths = state.all_model_checkpoint_paths if state else ()
        for path in reversed(paths):
            try:
                self._checkpoint.restore(path).assert_existing_objects_matched()
                return True
            except _UNREADABLE as error:
                logging.warning(
                    'checkpoint %s cannot be read (%s); trying the one before',
                    path,
                    one_line(error),
                )
        if paths:
            raise InputError(
                f'{self._saved}: no checkpoint can be read; bring one back, or start '
                'anew by --overwrite'
            )
        return False


def restore_modules(folder, modules):
    """Gives networks, a dict by name, the weights of a phase's last checkpoint.

    Returns:
        The step of it.

    Raises:
        InputError: if its last checkpoint cannot be read.
    """
    checkpoint = tf.train.Checkpoint(modules=_Modules(modules))
    with _telling(
        f'{folder}: the last checkpoint of this phase',
        'bring it back, or delete that folder to train the phase again',
    ):
        path = cluster.agreed(tf.train.latest_checkpoint(str(folder / 'checkpoints')))
        checkpoint.restore(path).expect_partial().assert_existing_objects_matched()
        return int(path.rpartition('-')[2])


@contextlib.contextmanager
def _telling(what, advice):
    """Says in one line what cannot be read, why, and what helps."""
    try:
        yield
    except _UNREADABLE as error:
        raise InputError(f'{what} cannot be read ({one_line(error)}); {advice}') from None


def check_frozen(folder, modules):
    """Writes down which networks a phase leaves as they are, and later compares them with that.

    They are in none of its checkpoints: a wide teacher would fill the disk.

    Args:
        folder: pathlib.Path of the phase.
        modules: dict of keras.Models, by name.

    Raises:
        InputError: if one of them has other weights than when the phase began.
    """
    found = {name: _fingerprint(module) for name, module in modules.items()}
    known = cluster.agreed(read_json(folder / 'frozen.json'))
    if known is None and found:
        write_json(folder / 'frozen.json', found)
    for name in known or ():
        if known[name] != found.get(name):
            raise InputError(
                f'{folder}: the {name} is not the one that this phase began with; bring its '
                'weights back, or start anew by --overwrite'
            )


def _fingerprint(module):
    digest = hashlib.sha256()
    for variable in module.variables:
        digest.update(variable.numpy().tobytes())
    return digest.hexdigest()


def remove_leftovers(folder):
    """Deletes what writers that were killed left half written in a phase's folder."""
    if not cluster.is_chief():
        return
    for path in [*folder.glob('.*'), *folder.glob('best/.*')]:
        path.unlink()
    for path in [*folder.glob('checkpoints/*_temp'), *folder.glob('best/*_temp')]:
        shutil.rmtree(path)


def restore_best(folder, modules):
    """Gives networks, a dict by name, their weights at a phase's best evaluation.

    Returns:
        The step of it, or None if no best was kept; then nothing is changed.

    Raises:
        InputError: if it cannot be read.
    """
    best = cluster.agreed(read_json(folder / 'best' / 'best.json'))
    if best is None:
        return None
    path = folder / 'best' / f'step-{best["step"]}'
    checkpoint = tf.train.Checkpoint(modules=_Modules(modules))
    with _telling(
        f'{path}: the best network of this phase',
        'if the phase is at work, which replaces it, try again; else take the last one '
        '(--checkpoint=last)',
    ):
        checkpoint.read(str(path)).assert_existing_objects_matched()
    return best['step']


def save_model(model, path):
    """Writes a .keras file whole or not at all; Keras itself would write it in place."""
    with replacing(pathlib.Path(path)) as temporary:
        model.save(temporary)


def load_model(path):
    """Loads a network that `save_model` wrote, with this library's layers in it.

    Raises:
        InputError: if the file is damaged, or made of layers that are not known here.
    """
    _register()
    try:
        return keras.saving.load_model(path)
    except (*_UNREADABLE, TypeError, zipfile.BadZipFile) as error:
        raise InputError(
            f'{path}: cannot be loaded ({one_line(error)}); expected a .keras file of this library'
        ) from None


def save_structure(model, path):
    """Writes what a network is made of, without its weights, as JSON."""
    write_text(path, model.to_json())


def build_model(path):
    """Builds a network from what `save_structure` wrote; its weights are random."""
    _register()
    return keras.models.model_from_json(path.read_text())


def _register():
    """Makes this library's layers known to Keras."""
    from tfnets.models import keras_applications, layers  # noqa: F401 - they register theirs


class _Modules(tf.Module):
    """Networks as one trackable object, by their names."""

    def __init__(self, modules):
        super().__init__()
        for name, module in modules.items():
            setattr(self, name, module)
