"""All that changes while a phase is trained, and where it is saved."""

import keras
import numpy as np
import tensorflow as tf

from tfnets.errors import NotFinite
from tfnets.training import checkpoints, step
from tfnets.training.schedules import InSteps


class TrainingState:
    """Networks, optimizer and counters of a phase, the function that trains them, checkpoints.

    Args:
        phase: Phase.
        folder: from a phase's name to its folder, pathlib.Path.
        strategy: tf.distribute.Strategy.
        xla: whether to compile the steps.
        keep: how many of the latest checkpoints to keep.
        restore: whether to go on from what is saved; else nothing is read.

    Attributes:
        train: see step.training_function.
        step: steps that have been made.
        checkpoints: Checkpoints.
    """

    def __init__(self, phase, folder, strategy, xla, keep=1, restore=True):
        if phase.start_from and restore:
            checkpoints.restore_modules(folder(phase.start_from), phase.changing)
        variables = []
        for name, module in phase.objective.modules.items():
            variables += phase.treatment_of(name).apply(module)
        self._schedule = InSteps(phase.schedule, phase.data.steps_per_epoch, phase.steps)
        with strategy.scope():
            float16 = keras.config.dtype_policy().compute_dtype == 'float16'
            self._optimizer = phase.optimizer.build(self._schedule, float16)
            self._optimizer.build(variables)
            self._step = tf.Variable(0, dtype=tf.int64, trainable=False)
            self._seconds = tf.Variable(0.0, dtype=tf.float64, trainable=False)
        self.train = step.training_function(
            lambda batch, training: phase.objective(phase.data.finish(batch), training),
            variables,
            phase.optimizer.decays(phase.objective.modules.values(), variables),
            self._optimizer,
            strategy,
            phase.data.batch_size,
            xla,
        )
        self.checkpoints = checkpoints.Checkpoints(
            folder(phase.name),
            phase.changing,
            keep,
            optimizer=self._optimizer,
            step=self._step,
            seconds=self._seconds,
        )
        self._folder = folder(phase.name)
        self._modules = phase.changing.values()
        self.step = 0
        if restore:
            checkpoints.remove_leftovers(self._folder)
            if self.checkpoints.restore():
                self.step = int(self._step.numpy())

    @property
    def seconds(self):
        """Time spent training."""
        return float(self._seconds.numpy())

    def advance(self, count, seconds):
        """Counts steps that were made."""
        self.step += count
        self._step.assign(self.step)
        self._seconds.assign_add(seconds)

    def save(self):
        """Writes a checkpoint, unless there is a NaN or an infinity in the networks.

        The loss of a step is that before its update, so that it cannot tell of the last one's.
        """
        variables = [variable for module in self._modules for variable in module.variables]
        for variable in variables:
            if not np.isfinite(variable.numpy()).all():
                raise NotFinite(
                    f'{self._folder.name}: {variable.path} is not finite after step {self.step}, '
                    f'at learning rate {self.learning_rate:.3g}; the last good checkpoint is '
                    f'{self.checkpoints.latest or "none yet"}; lower --learning_rate'
                )
        self.checkpoints.save(self.step)

    @property
    def applied(self):
        """Updates that were applied: steps without those that overflowed in float16."""
        return int(self._optimizer.iterations.numpy())

    @property
    def learning_rate(self):
        """Of the last update."""
        return float(self._schedule(max(self.applied - 1, 0)))

    @property
    def scaling(self):
        """In float16: the factor of the loss, and how many updates it made overflow so far."""
        if not isinstance(self._optimizer, keras.optimizers.LossScaleOptimizer):
            return {}
        scale = float(self._optimizer.dynamic_scale.numpy())
        return {'loss_scale': scale, 'skipped_updates': self.step - self.applied}
