"""A learning rate that is reduced when a metric of the validation stops improving."""

import math

import tensorflow as tf
from absl import logging


class History:
    """What a Plateau schedule remembers: torch's ReduceLROnPlateau, its threshold relative.

    Without its cooldown and lower bound.

    Args:
        schedule: schedules.Plateau.
        strategy: tf.distribute.Strategy that trains.

    Attributes:
        metric: name of the metric to be told.
        scale: float64 variable, what the learning rate is multiplied by.
        variables: list of all that has to be saved.
    """

    def __init__(self, schedule, strategy):
        self._schedule = schedule
        self.metric = schedule.metric
        self._lower_is_better = schedule.metric == 'loss'
        worst = math.inf if self._lower_is_better else -math.inf
        with strategy.scope():
            self.scale = tf.Variable(1.0, dtype=tf.float64, trainable=False)
            self._best = tf.Variable(worst, dtype=tf.float64, trainable=False)
            self._waited = tf.Variable(0, dtype=tf.int64, trainable=False)
            self._noted = tf.Variable(-1, dtype=tf.int64, trainable=False)
        self.variables = [self.scale, self._best, self._waited, self._noted]

    @property
    def noted(self):
        """The step of the last validation that was noted; -1 before any."""
        return int(self._noted.numpy())

    def note(self, value, step):
        """Takes the metric of a step's validation; reduces the learning rate if it is time to."""
        self._noted.assign(step)
        if self._is_better(value):
            self._best.assign(value)
            self._waited.assign(0)
            return
        self._waited.assign_add(1)
        if self._waited.numpy() > self._schedule.patience:
            self.scale.assign(self.scale * self._schedule.factor)
            self._waited.assign(0)
            logging.info(
                '%s no better than %.4g in %d validations: the learning rate is multiplied by %g',
                self.metric,
                self._best.numpy(),
                self._schedule.patience + 1,
                self._schedule.factor,
            )

    def _is_better(self, value):
        best, threshold = self._best.numpy(), self._schedule.threshold
        if self._lower_is_better:
            return value < best * (1 - threshold)
        return value > best * (1 + threshold)
