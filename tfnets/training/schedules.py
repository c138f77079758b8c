"""Learning rates over the course of a phase, in epochs.

A warm-up may come before any schedule. The cosines then span what is left of the phase, as in
big_vision and torchvision; all others are as they would be without it: a drop at epoch 30 is at
epoch 30 of the phase.
"""

import dataclasses
import math

import keras
import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Schedule:
    """What all schedules have.

    Attributes:
        base: first learning rate after the warm-up.
        warmup: epochs of a linear rise from zero to `base`, step by step.
        per_epoch: whether it stays the same throughout an epoch.
    """

    base: float
    warmup: float = dataclasses.field(default=0.0, kw_only=True)
    per_epoch = False

    def __call__(self, epoch, epochs):
        """The learning rate at a (broken) epoch of `epochs`, float64."""
        rate = self._after_warmup(epoch, epochs)
        if not self.warmup:
            return rate
        return tf.where(epoch < self.warmup, self.base * (epoch / self.warmup), rate)

    def _after_warmup(self, epoch, epochs):
        raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class Constant(Schedule):
    """One learning rate throughout."""

    def _after_warmup(self, epoch, epochs):
        return tf.ones_like(epoch) * self.base


@dataclasses.dataclass(frozen=True)
class Cosine(Schedule):
    """Half a cosine from `base` to zero."""

    def _after_warmup(self, epoch, epochs):
        progress = (epoch - self.warmup) / max(epochs - self.warmup, 1e-9)
        return self.base * (0.5 * (1 + tf.cos(math.pi * tf.clip_by_value(progress, 0.0, 1.0))))


@dataclasses.dataclass(frozen=True)
class CosinePerEpoch(Cosine):
    """The same in stairs: in epoch e of E it is base / 2 * (1 + cos(pi * e / E)).

    As in the official code of Big-Little Net; it never comes to zero.
    """

    per_epoch = True

    def _after_warmup(self, epoch, epochs):
        return super()._after_warmup(_begun(epoch - self.warmup) + self.warmup, epochs)


@dataclasses.dataclass(frozen=True)
class Steps(Schedule):
    """A factor is applied each time so many epochs have passed, or at certain epochs.

    Attributes:
        factor: what it is multiplied by.
        every: epochs from one drop to the next.
        at: the epochs of the drops, in place of `every`.
    """

    factor: float = 0.1
    every: float = 30.0
    at: tuple[float, ...] = ()

    def _after_warmup(self, epoch, epochs):
        drops = _begun(epoch / self.every)
        if self.at:
            passed = [epoch >= drop - 1e-9 for drop in self.at]
            drops = tf.add_n([tf.cast(one, tf.float64) for one in passed])
        return self.base * tf.pow(tf.constant(self.factor, tf.float64), drops)


@dataclasses.dataclass(frozen=True)
class Wave(Schedule):
    """A cosine that goes down to `lowest` and up again to `base`, on and on, epoch by epoch.

    What torch's CosineAnnealingLR gives where it is stepped past its T_max: no warm restarts.

    Attributes:
        lowest: what it goes down to.
        half: epochs from the highest to the lowest (T_max).
        later: an epoch, and what it goes down to from that epoch on; None for no change. There is
            no jump if that epoch is one of the highest.
    """

    lowest: float = 1e-5
    half: float = 5.0
    later: tuple[float, float] | None = None

    per_epoch = True

    def _after_warmup(self, epoch, epochs):
        epoch = _begun(epoch)
        lowest = tf.constant(self.lowest, tf.float64)
        if self.later:
            lowest = tf.where(epoch < self.later[0], lowest, self.later[1])
        return lowest + (self.base - lowest) * (0.5 * (1 + tf.cos(math.pi * epoch / self.half)))


@dataclasses.dataclass(frozen=True)
class Plateau(Constant):
    """One learning rate until a metric of the validation stops improving; see training.plateau.

    Attributes:
        factor: what it is then multiplied by, in (0, 1).
        patience: validations in a row without improvement that are put up with; at the next one the
            learning rate is reduced.
        threshold: the share of the best by which a metric must be better to count as improved.
        metric: 'top1', 'balanced', 'top5' (the higher the better) or 'loss'.
    """

    factor: float = 0.1
    patience: int = 10
    threshold: float = 1e-4
    metric: str = 'top1'


def _begun(quotient):
    """The whole part of a quotient of steps, which may fall short of it by a rounding."""
    return tf.floor(quotient + 1e-9)


class InSteps(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule as an optimizer asks for it: by the number of updates that were applied.

    Args:
        schedule: one of the schedules above.
        steps_per_epoch: updates in an epoch, float.
        steps: updates in the phase.
        plateau: plateau.History that reduces the learning rate, or None.
    """

    def __init__(self, schedule, steps_per_epoch, steps, plateau=None):
        self._schedule = schedule
        self._steps_per_epoch = steps_per_epoch
        # Whole steps reach a little beyond the last epoch; it is no epoch more.
        begun = math.floor((steps - 1) / steps_per_epoch + 1e-9) + 1
        self._epochs = begun if schedule.per_epoch else steps / steps_per_epoch
        self._plateau = plateau

    def __call__(self, step):
        """The learning rate of the update after `step` updates, float32."""
        epoch = tf.cast(step, tf.float64) / self._steps_per_epoch
        rate = self._schedule(epoch, self._epochs)
        if self._plateau:
            rate *= self._plateau.scale
        return tf.cast(rate, tf.float32)

    def get_config(self):
        """Not needed: optimizers are restored from checkpoints, never from configs."""
        raise NotImplementedError
