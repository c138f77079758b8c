"""All that changes while a phase is trained, and where it is saved."""

import contextlib
import time

import keras
import numpy as np
import tensorflow as tf

from tfnets.errors import InputError, NotFinite
from tfnets.models import roles
from tfnets.training import checkpoints, cluster, distribution, plateau, step
from tfnets.training.accumulation import Accumulator
from tfnets.training.averaging import Average
from tfnets.training.schedules import InSteps, Plateau


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
        synchronize: see distribution.statistics_synchronizer.
        step: steps that have been made, each of one batch.
        checkpoints: Checkpoints.
        plateau: plateau.History, to be told of each validation, or None.
    """

    def __init__(self, phase, folder, strategy, xla, keep=1, restore=True):
        _refuse_hidden_states(phase.changing.values())
        if phase.start_from and restore:
            checkpoints.restore_modules(folder(phase.start_from), phase.changing)
        variables = []
        for name, module in phase.objective.modules.items():
            variables += phase.treatment_of(name).apply(module)
        models = phase.objective.modules.values()
        self._build_options(phase, variables, strategy)
        batches = phase.optimizer.accumulate
        self._schedule = InSteps(
            phase.schedule,
            phase.data.steps_per_epoch / batches,
            phase.steps / batches,
            self.plateau,
        )
        with strategy.scope():
            float16 = keras.config.dtype_policy().compute_dtype == 'float16'
            self._optimizer = phase.optimizer.build(self._schedule, float16, models)
            self._optimizer.build(variables)
            self._step = tf.Variable(0, dtype=tf.int64, trainable=False)
            self._seconds = tf.Variable(0.0, dtype=tf.float64, trainable=False)
        self.train = step.training_function(
            lambda batch, training: phase.objective(phase.data.finish(batch), training),
            variables,
            phase.optimizer.decays(models, variables),
            self._optimizer,
            strategy,
            phase.data.batch_size,
            xla,
            self._accumulator,
            self._average,
        )
        self.synchronize = distribution.statistics_synchronizer(phase.changing.values(), strategy)
        options = {'plateau': self.plateau, 'gradients': self._accumulator, 'ema': self._average}
        self.checkpoints = checkpoints.Checkpoints(
            folder(phase.name),
            phase.changing,
            keep,
            optimizer=self._optimizer,
            step=self._step,
            seconds=self._seconds,
            **{name: option.variables for name, option in options.items() if option},
        )
        self._folder = folder(phase.name)
        self._modules = phase.changing.values()
        self._steps, self._batches = phase.steps, batches
        self.step = 0
        self._has_traced = False
        if restore:
            checkpoints.remove_leftovers(self._folder)
            if self.checkpoints.restore():
                self.step = int(self._step.numpy())
            if cluster.agreed(self.step) != self.step:
                raise InputError(
                    f'{self._folder}: this process has read step {self.step} there, the first one '
                    'another; expected one file system, and the same files, for all'
                )

    def _build_options(self, phase, variables, strategy):
        """What most phases do without: each is None where it is not asked for."""
        settings = phase.optimizer
        self.plateau = self._accumulator = self._average = None
        if isinstance(phase.schedule, Plateau):
            self.plateau = plateau.History(phase.schedule, strategy)
        if settings.accumulate > 1:
            self._accumulator = Accumulator(variables, settings.accumulate, strategy)
        if settings.ema:
            statistics = [
                variable
                for module in phase.changing.values()
                for variable in module.non_trainable_variables
                if variable.dtype.startswith('float')
            ]
            self._average = Average(settings.ema, variables, statistics, strategy)

    @property
    def seconds(self):
        """Time spent training; without tracing and compiling, but for a first call of one step."""
        return float(self._seconds.numpy())

    def make_steps(self, iterator, count):
        """Makes steps. The first of a start traces and compiles, and counts as long as the others.

        Args:
            iterator: over batches.
            count: of steps.

        Returns:
            Dict of float32 arrays [count], loss and metrics of each step; the seconds that were
            spent waiting for input; the seconds in all.
        """
        parts, histories = [count] if self._has_traced or count == 1 else [1, count - 1], []
        for part in parts:
            start = time.monotonic()
            history, waited = self.train(iterator, tf.constant(part))
            histories.append({name: values.numpy() for name, values in history.items()})
            seconds = time.monotonic() - start
        joined = {name: np.concatenate([one[name] for one in histories]) for name in history}
        longer = count / parts[-1]
        synchronizing = self._synchronize()
        self._has_traced = True
        return joined, longer * float(waited), longer * seconds + synchronizing

    def _synchronize(self):
        """Makes the replicas' statistics one, behind all steps: between them it would change bits.

        Returns:
            The seconds that it took; 0 where it had to be traced.
        """
        start = time.monotonic()
        self.synchronize()
        return time.monotonic() - start if self._has_traced else 0.0

    def advance(self, count, seconds):
        """Counts steps that were made; at the end of the phase its averages become its network."""
        self.step += count
        self._step.assign(self.step)
        self._seconds.assign_add(seconds)
        if self._average and self.step == self._steps:
            self._average.adopt()

    def averaged(self):
        """A context within which the networks hold the moving averages of their weights, if any."""
        return self._average.in_place() if self._average else contextlib.nullcontext()

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
                    f'{self.checkpoints.latest or "none yet"}; lower the learning '
                    'rate of this phase'
                )
        self.checkpoints.save(self.step)

    @property
    def applied(self):
        """Updates that were applied, without those that overflowed in float16."""
        return int(self._optimizer.iterations.numpy())

    @property
    def learning_rate(self):
        """Of the last update; of a plateau, the one that it has come to."""
        return float(self._schedule(max(self.applied - 1, 0)))

    @property
    def scaling(self):
        """In float16: the factor of the loss, and how many updates it made overflow so far."""
        if not isinstance(self._optimizer, keras.optimizers.LossScaleOptimizer):
            return {}
        scale = float(self._optimizer.dynamic_scale.numpy())
        return {'loss_scale': scale, 'skipped_updates': self.step // self._batches - self.applied}


def _refuse_hidden_states(modules):
    """Refuses layers whose random numbers have a state that no checkpoint holds."""
    for module in modules:
        for layer in roles.flat_layers(module):
            if isinstance(getattr(layer, 'seed_generator', None), keras.random.SeedGenerator):
                raise InputError(
                    f'{module.name}: the random numbers of {layer.name} ({type(layer).__name__}) '
                    'are in no checkpoint, so that a run would not go on as it was; take '
                    'tfnets.models.layers.Dropout'
                )
