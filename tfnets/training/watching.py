"""What a run tells of its speed: the time of a step, memory, the share of the peak, a profile."""

import dataclasses
import time
from collections.abc import Callable

import keras
import tensorflow as tf
from absl import logging

from tfnets import machine
from tfnets.training import cluster


@dataclasses.dataclass
class Watch:
    """What to look at while phases are trained.

    Attributes:
        profile: pair of ints, the first step and the number of steps that are profiled in every
            phase, for TensorBoard; None for no profile.
        operations: function of a Phase to the floating-point operations that training takes for
            one image, or None where that is not known.
        peak: floating-point operations per second of all devices together; None not to ask.
    """

    profile: tuple[int, int] | None = None
    operations: Callable | None = None
    peak: float | None = None
    _is_profiling: bool = dataclasses.field(default=False, init=False)

    @property
    def stops(self):
        """Steps at which the profile begins and ends, between calls of the training function."""
        return {self.profile[0], sum(self.profile)} if self.profile else set()

    def at(self, step, folder):
        """Begins or ends the profile, if it is to be at this step of a phase.

        Args:
            step: steps that have been made.
            folder: where TensorBoard looks for the phase.
        """
        if self._is_profiling and step == sum(self.profile):
            self.close()
        elif self.profile and step == self.profile[0]:
            logging.info('profile of %d steps: in %s', self.profile[1], folder)
            tf.profiler.experimental.start(str(folder))
            self._is_profiling = True

    def close(self):
        """Ends a profile that has begun."""
        if self._is_profiling:
            self._is_profiling = False
            tf.profiler.experimental.stop()

    def numbers(self, phase, count, seconds):
        """What a line of the log says of its steps.

        Args:
            phase: Phase.
            count: steps of the line.
            seconds: that they took.

        Returns:
            Dict of float: 'images_per_second', 'step_milliseconds', 'memory_gib' (the most that was
            in use so far, of one GPU or else of the process) and, with a peak, 'mfu': the share of
            it that the networks' multiply-adds take.
        """
        speed = count * phase.data.batch_size / seconds
        numbers = {
            'images_per_second': speed,
            'step_milliseconds': 1000 * seconds / count,
            'memory_gib': _most_memory() / 2**30,
        }
        operations = self.operations(phase) if self.peak else None
        return numbers | ({'mfu': speed * operations / self.peak} if operations else {})


def _most_memory():
    """Bytes."""
    gpus = [device.name.partition('device:')[2] for device in tf.config.list_logical_devices('GPU')]
    if gpus:
        return max(tf.config.experimental.get_memory_info(gpu)['peak'] for gpu in gpus)
    return machine.most_memory()


def measure_peak(strategy, side=2048, seconds=1.0):
    """Floating-point operations per second of a large matrix product, in the policy's precision.

    Args:
        strategy: tf.distribute.Strategy; one device is measured and taken for all.
        side: of the square matrices.
        seconds: how long to measure.

    Returns:
        Float: twice the multiply-adds of the fastest product, of all devices together.
    """
    matrix = tf.ones((side, side), keras.config.dtype_policy().compute_dtype)
    # A sum has to be read: a device may have taken the work without having done it.
    product = tf.function(lambda: tf.reduce_max(tf.linalg.matmul(matrix, matrix)), autograph=False)
    product().numpy()
    times, began = [], time.perf_counter()
    while not times or time.perf_counter() - began < seconds:
        start = time.perf_counter()
        product().numpy()
        times.append(time.perf_counter() - start)
    # Logical CPUs share the same cores.
    on_gpus = tf.config.list_logical_devices('GPU')
    devices = strategy.num_replicas_in_sync if on_gpus else cluster.size()
    return devices * 2 * side**3 / min(times)
