"""Learning rates over the course of a phase, in epochs."""

import dataclasses
import math

import keras
import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Constant:
    """One learning rate throughout."""

    base: float

    def __call__(self, epoch, epochs):
        """The learning rate at a (broken) epoch, float64."""
        return tf.ones_like(epoch) * self.base


@dataclasses.dataclass(frozen=True)
class Cosine:
    """Half a cosine from `base` to zero, after a linear warm-up from zero.

    Attributes:
        base: highest learning rate.
        warmup: epochs of the warm-up; the cosine spans the rest.
    """

    base: float
    warmup: float = 0.0

    def __call__(self, epoch, epochs):
        """The learning rate at a (broken) epoch of `epochs`, float64."""
        progress = (epoch - self.warmup) / max(epochs - self.warmup, 1e-9)
        cosine = 0.5 * (1 + tf.cos(math.pi * tf.clip_by_value(progress, 0.0, 1.0)))
        if self.warmup:
            cosine = tf.where(epoch < self.warmup, epoch / self.warmup, cosine)
        return self.base * cosine


@dataclasses.dataclass(frozen=True)
class Steps:
    """A factor is applied each time so many epochs have passed.

    Attributes:
        base: first learning rate.
        factor: what it is multiplied by.
        every: epochs from one drop to the next.
    """

    base: float
    factor: float = 0.1
    every: float = 30.0

    def __call__(self, epoch, epochs):
        """The learning rate at a (broken) epoch, float64."""
        # Epochs are quotients of steps, which may fall short of a whole number by a rounding.
        return self.base * tf.pow(
            tf.constant(self.factor, tf.float64), tf.floor(epoch / self.every + 1e-9)
        )


class InSteps(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule as an optimizer asks for it: by the number of updates that were applied.

    Args:
        schedule: one of the schedules above.
        steps_per_epoch: float.
        steps: length of the phase.
    """

    def __init__(self, schedule, steps_per_epoch, steps):
        self._schedule = schedule
        self._steps_per_epoch = steps_per_epoch
        self._epochs = steps / steps_per_epoch

    def __call__(self, step):
        """The learning rate of the update after `step` updates, float32."""
        epoch = tf.cast(step, tf.float64) / self._steps_per_epoch
        return tf.cast(self._schedule(epoch, self._epochs), tf.float32)

    def get_config(self):
        """Not needed: optimizers are restored from checkpoints, never from configs."""
        raise NotImplementedError
