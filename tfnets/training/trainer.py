"""Runs a phase: the loop, and nothing else."""

import contextlib
import dataclasses
import math
import pathlib
import time

import numpy as np
from absl import logging

from tfnets.data import faults, pipeline
from tfnets.errors import InputError, NotFinite, Preempted
from tfnets.files import read_json, write_json
from tfnets.training import checkpoints, cluster, preemption, step
from tfnets.training.evaluation import Evaluation, collect, summarize
from tfnets.training.logging import MetricsLog, Progress
from tfnets.training.schedules import Plateau
from tfnets.training.state import TrainingState
from tfnets.training.watching import Watch


@dataclasses.dataclass(frozen=True)
class PhaseResult:
    """A finished phase.

    Attributes:
        name: of the phase.
        steps: that were made.
        epochs: that were made.
        minutes: that the training took, see `TrainingState.seconds`; interruptions not counted.
        validation: Evaluation at the end, or None.
    """

    name: str
    steps: int
    epochs: float
    minutes: float
    validation: Evaluation | None


class Trainer:
    """Runs phases in a run's folder, each from where it was left.

    Args:
        run_dir: folder of the run.
        strategy: tf.distribute.Strategy under which the networks were built.
        xla: whether to compile the steps.
        steps_per_call: steps in one call of a tf.function, and in one line of the log.
        checkpoint_minutes: time from one checkpoint to the next.
        checkpoint_steps: at most so many steps from one to the next, 0 for no such limit; rounded
            up to a line of the log.
        best_metric: a metric of the validation ('top1', 'balanced', 'top5', 'loss') by which the
            best networks of a phase are kept beside the last ones; None to keep the last alone.
        keep_checkpoints: how many of the latest to keep.
        stop_after_validations: a phase is saved and left for later behind so many of them, as if
            the process were asked to end; 0 for never.
        watch: Watch, by default of nothing but the time of a step and memory.
    """

    def __init__(
        self,
        run_dir,
        strategy,
        *,
        xla=False,
        steps_per_call=50,
        checkpoint_minutes=5.0,
        checkpoint_steps=0,
        best_metric=None,
        keep_checkpoints=2,
        stop_after_validations=0,
        watch=None,
    ):
        self.run_dir = pathlib.Path(run_dir)
        self.strategy = strategy
        self._xla = xla
        self._steps_per_call = steps_per_call
        self._checkpoint_minutes = checkpoint_minutes
        self._checkpoint_steps = checkpoint_steps
        self._best_metric = best_metric
        self._keep = keep_checkpoints
        self._stop_after = stop_after_validations
        self._watch = watch or Watch()
        self._evaluators = {}

    # -------------------------------------------------------------------------------- phases

    def folder(self, name):
        """The folder of a phase."""
        return self.run_dir / 'phases' / name

    def run(self, phase):
        """Trains a phase to its end; a finished phase is only read.

        Afterwards the objective's networks hold the weights that the phase ended with.

        Args:
            phase: Phase.

        Returns:
            PhaseResult.

        Raises:
            Preempted: after a SIGTERM; all is saved.
            NotFinite: if the loss is NaN or infinite.
        """
        self._forget_others(phase)
        finished = self.result(phase.name)
        if finished:
            checkpoints.restore_modules(self.folder(phase.name), phase.changing)
            return finished
        if isinstance(phase.schedule, Plateau) and not phase.validation:
            raise ValueError(f'{phase.name}: a plateau is seen on a validation, but there is none')
        checkpoints.check_frozen(self.folder(phase.name), phase.frozen)
        self._describe(phase)
        state = TrainingState(phase, self.folder, self.strategy, self._xla, self._keep)
        if state.step == 0:
            logging.info('%s: %d steps (%g epochs)', phase.name, phase.steps, phase.epochs)
        else:
            logging.info('%s: going on from step %d of %d', phase.name, state.step, phase.steps)
        validation = self._loop(phase, state)
        return self._finish(phase, state, validation)

    def result(self, name):
        """The PhaseResult of a finished phase, or None."""
        saved = cluster.agreed(read_json(self.folder(name) / 'result.json'))
        if saved is None:
            return None
        validation = saved.pop('validation')
        return PhaseResult(**saved, validation=Evaluation(**validation) if validation else None)

    def _forget_others(self, phase):
        """Lets go of functions that evaluate, and so hold, none of the networks that now change."""
        changing = {id(module) for module in phase.changing.values()}
        self._evaluators = {
            objective: function
            for objective, function in self._evaluators.items()
            if changing & {id(module) for module in objective.modules.values()}
        }

    def _describe(self, phase):
        """Writes down what is trained and what it is to see, for those who look at a checkpoint."""
        folder = self.folder(phase.name)
        for name, module in phase.changing.items():
            checkpoints.save_structure(module, folder / f'{name}.json')
        if phase.validation:
            seen = phase.validation.preprocessing
            inputs = {'preprocessing': seen.line, 'resolution': seen.resolution}
            names = list(phase.validation.source.class_names)
            write_json(folder / 'inputs.json', {**inputs, 'class_names': names})

    def _loop(self, phase, state):
        """Steps, log lines, evaluations and checkpoints, up to the end of the phase."""
        log = MetricsLog(cluster.own(self.run_dir), phase.name, state.step)
        progress = Progress(phase.name, state.step, phase.steps)
        self._show(phase, log)
        iterator = iter(self._training_data(phase, state.step))
        validation = None
        saved, saved_step = time.monotonic(), state.step
        stop = self._stop(phase)
        with (
            preemption.deferred() as terminated,
            contextlib.closing(log),
            contextlib.closing(progress),
            contextlib.closing(self._watch),
        ):
            if state.step == 0 and phase.evaluate_first:
                log.write('validation', 0, self.score(phase.objective, phase.validation).numbers())
            behind = self._lacks_validation(phase, state, log)
            if behind:
                validation = self._validate(phase, state, log)
            leaving = (behind and validation is None) or stop <= state.step < phase.steps
            while state.step < phase.steps and not leaving:
                self._watch.at(state.step, log.folder)
                numbers = self._advance(phase, state, iterator)
                log.write('train', state.step, numbers)
                left = (phase.steps - state.step) * phase.data.batch_size
                progress.update(state.step, numbers, left / numbers['images_per_second'])
                # A validation may take longer than there is time left: the next start begins by it.
                if state.step in phase.evaluation_steps and not any(cluster.total([terminated()])):
                    validation = self._validate(phase, state, log)
                # Clocks differ, and a signal may come to one process alone.
                overdue = time.monotonic() - saved > 60 * self._checkpoint_minutes
                asked, due = cluster.total([terminated(), cluster.is_chief() and overdue])
                due |= 0 < self._checkpoint_steps <= state.step - saved_step
                leaving = asked or stop <= state.step < phase.steps
                if due or leaving or state.step == phase.steps:
                    log.flush()
                    checkpoints.check_frozen(self.folder(phase.name), phase.frozen)
                    state.save()
                    saved, saved_step = time.monotonic(), state.step
            if leaving:
                raise Preempted(f'{phase.name}: saved at step {state.step} of {phase.steps}')
        return validation

    def _stop(self, phase):
        """The step at which a phase is left for later, or that of its end."""
        stops = sorted(phase.evaluation_steps)[: self._stop_after]
        return stops[-1] if len(stops) == self._stop_after > 0 else phase.steps

    def _advance(self, phase, state, iterator):
        """Makes the steps up to the next line of the log; returns its numbers."""
        first = state.step
        stops = phase.evaluation_steps | self._watch.stops
        count = _next_stop(phase, first, self._steps_per_call, stops) - first
        with faults.naming_undecodable(phase.data.source):
            history, waited, seconds = state.make_steps(iterator, count)
        self._check_finite(phase, state, first, history['loss'])
        state.advance(count, seconds)
        return {
            **{name: float(np.mean(values)) for name, values in history.items()},
            'epoch': state.step / phase.data.steps_per_epoch,
            'learning_rate': state.learning_rate,
            **self._watch.numbers(phase, count, seconds),
            'input_wait': waited / seconds,
            **state.scaling,
        }

    def _lacks_validation(self, phase, state, log):
        """Whether the last start was asked to end just when it should have validated."""
        if state.step not in phase.evaluation_steps:
            return False
        # A validation that a start began with is in the log, but not yet in a checkpoint.
        if state.plateau:
            return state.plateau.noted != state.step
        return not cluster.agreed(log.has('validation', state.step))

    def _validate(self, phase, state, log):
        """Scores the networks on the validation split, keeps them if they are the best.

        Returns:
            Evaluation; None where it was left because the process is to end.
        """
        with state.averaged():
            try:
                validation = self.score(phase.objective, phase.validation)
            except Preempted:
                return None
            if not math.isfinite(validation.loss):
                raise NotFinite(
                    f'{phase.name}: the validation loss at step {state.step} is '
                    f'{validation.loss}; the last good checkpoint is '
                    f'{state.checkpoints.latest or "none yet"}; lower the learning rate of '
                    'this phase'
                )
            # An objective without answers, as imitation, has no best of another metric.
            answers = validation.top1 is not None
            if self._best_metric and (answers or self._best_metric == 'loss'):
                value = _measured(validation, self._best_metric, '--best_metric')
                sign = -1 if self._best_metric == 'loss' else 1
                state.checkpoints.save_if_best(state.step, sign * value)
        if state.plateau:
            metric = state.plateau.metric
            state.plateau.note(_measured(validation, metric, '--plateau_metric'), state.step)
        log.write('validation', state.step, validation.numbers())
        return validation

    def _check_finite(self, phase, state, first, losses):
        bad = np.flatnonzero(~np.isfinite(losses))
        if bad.size:
            where = first + int(bad[0])
            raise NotFinite(
                f'{phase.name}: the loss of step {where} is {losses[bad[0]]} at learning rate '
                f'{state.learning_rate:.3g}; the last good checkpoint is '
                f'{state.checkpoints.latest or "none yet"}; lower the learning rate of this phase, '
                'or look at the data of that step'
            )

    def _finish(self, phase, state, validation):
        if phase.validation and validation is None:  # killed between the last step and here
            validation = self.score(phase.objective, phase.validation)
        if state.checkpoints.latest is None:  # a phase of no steps
            state.save()
        if phase.steps and not state.applied:
            raise NotFinite(
                f'{phase.name}: every update overflowed in float16, nothing was trained; train for '
                'longer, or with --precision=mixed_bfloat16'
            )
        folder = self.folder(phase.name)
        for name, module in phase.changing.items():
            checkpoints.save_model(module, folder / f'{name}.keras')
        if checkpoints.restore_best(folder, phase.changing) is not None:
            for name, module in phase.changing.items():
                checkpoints.save_model(module, folder / f'best_{name}.keras')
            checkpoints.restore_modules(folder, phase.changing)
        result = PhaseResult(
            phase.name,
            phase.steps,
            phase.steps / phase.data.steps_per_epoch,
            state.seconds / 60,
            validation,
        )
        write_json(folder / 'result.json', dataclasses.asdict(result))
        cluster.wait()
        return result

    def _training_data(self, phase, start):
        return self.strategy.distribute_datasets_from_function(
            lambda context: pipeline.training_dataset(phase.data, start, phase.steps, context)
        )

    def _show(self, phase, log):
        """Puts a sheet of augmented images and the graphs of the networks on TensorBoard."""
        if not cluster.is_chief():
            return
        count = min(16, phase.data.batch_size)
        source = phase.data.source.for_few(count)
        few = dataclasses.replace(phase.data, batch_size=count, source=source)
        with faults.naming_undecodable(phase.data.source):
            batch = next(iter(pipeline.training_dataset(few, 0, 1)))
        log.images(few.finish(batch)['image'].numpy())
        for module in phase.changing.values():
            log.graph(module, phase.data.preprocessing.resolution)

    def stepper(self, phase, dataset=None):
        """A phase's loop for measurements: nothing is restored or saved, the networks are spoilt.

        Args:
            phase: Phase.
            dataset: tf.data.Dataset to read instead of the phase's data; its elements alike.

        Returns:
            Function of a number of steps, which makes them.
        """
        state = TrainingState(phase, self.folder, self.strategy, self._xla, restore=False)
        iterator = iter(dataset or self._training_data(phase, 0))
        return lambda count: state.make_steps(iterator, count)

    # ---------------------------------------------------------------------------- evaluation

    def evaluate(self, name, objective, batches):
        """Scores the end of a finished phase; what was scored before is only read.

        Args:
            name: of the phase, whose weights the objective's networks must hold.
            objective: callable(batch, training) -> losses, metrics.
            batches: Batches.

        Returns:
            Evaluation.
        """
        path = self.folder(name) / 'evaluations.json'
        key = (
            f'{batches.source.name} {batches.source.split} {len(batches.source)} | '
            f'{batches.preprocessing.line} @ {batches.preprocessing.resolution}'
        )
        saved = cluster.agreed(read_json(path, {}))
        if key not in saved:
            saved[key] = dataclasses.asdict(self.score(objective, batches))
            write_json(path, saved)
        return Evaluation(**saved[key])

    def score(self, objective, batches):
        """Scores an objective's networks as they are, on every example once.

        Raises:
            Preempted: between two batches, after a SIGTERM.
        """
        return summarize(self.answers(objective, batches))

    def answers(self, objective, batches):
        """What an objective's networks, as they are, make of every example; see `collect`."""
        if objective not in self._evaluators:
            function = step.evaluation_function(objective, self.strategy, self._xla)
            self._evaluators[objective] = function
        data = self.strategy.distribute_datasets_from_function(
            lambda context: pipeline.evaluation_dataset(batches, context)
        )
        function, data = self._evaluators[objective], _until_preempted(data)
        with faults.naming_undecodable(batches.source):
            return collect(batches, (scores for batch in data for scores in function(batch)))


def _until_preempted(batches, every=16):
    """The same, but it ends by Preempted, in all processes at the same batch, if one is to end."""
    for number, batch in enumerate(batches):
        if number % every == 0 and any(cluster.total([preemption.requested()])):
            raise Preempted('in the middle of an evaluation')
        yield batch


def _measured(validation, metric, flag):
    """A metric of an Evaluation, by the name that a flag gives."""
    value = validation.numbers().get(metric)
    if value is None:
        raise InputError(
            f'{flag}={metric}: not measured here; there are {", ".join(validation.numbers())}'
        )
    return value


def _next_stop(phase, step, steps_per_call, further):
    """The step of the next line in the log.

    A function of the step alone, so that a run that was interrupted writes the same lines.
    """
    stops = {(step // steps_per_call + 1) * steps_per_call, phase.steps, *further}
    return min(stop for stop in stops if stop > step)
