"""Moving averages of the weights, which are evaluated and kept in their place."""

import contextlib

import tensorflow as tf

from tfnets.training import distribution


class Average:
    """Exponential moving averages of what changes in a network, its batch norms' statistics too.

    Of n updates the decay is min(decay, (1 + n) / (10 + n)), as in TensorFlow's
    ExponentialMovingAverage, so that the first weights are soon forgotten. The moving statistics
    are averaged likewise, as in EfficientNet's official code: those that the latest weights give
    are not those that averaged weights give, averaged over as many updates they are nearer.

    Args:
        decay: in (0, 1).
        weights: list of keras.Variable that are trained.
        statistics: list of keras.Variable that training moves otherwise.
        strategy: tf.distribute.Strategy that trains.

    Attributes:
        variables: list of all that has to be saved.
    """

    def __init__(self, decay, weights, statistics, strategy):
        self._decay = decay
        self._weights, self._statistics = weights, statistics
        self._strategy = strategy
        with strategy.scope():
            self.variables = [
                tf.Variable(tf.identity(variable.value), trainable=False)
                for variable in (*weights, *statistics)
            ]

    def follow(self, before, updates):
        """Moves the averages, if there was an update: one that overflowed in float16 is none.

        To be called where an optimizer may be: outside of replicas, outside of the scope.

        Args:
            before: how many updates there were, int64.
            updates: how many there are now, int64.
        """
        count = tf.cast(updates, tf.float64)
        decay = tf.minimum(tf.constant(self._decay, tf.float64), (1 + count) / (10 + count))
        rate = tf.cast(tf.where(updates > before, 1 - decay, 0.0), tf.float32)
        values = [weight.value for weight in self._weights]
        values += distribution.replica_means(self._statistics, self._strategy)
        for average, value in zip(self.variables, values, strict=True):
            self._strategy.extended.update(average, _approach, (value, rate), group=False)

    @contextlib.contextmanager
    def in_place(self):
        """Within it the network holds the averages; afterwards what it held before, to the bit."""
        raw = [tf.identity(variable.value) for variable in self._network]
        self.adopt()
        try:
            yield
        finally:
            for variable, value in zip(self._network, raw, strict=True):
                variable.assign(value)

    def adopt(self):
        """Gives the network the averages for good."""
        for variable, average in zip(self._network, self.variables, strict=True):
            variable.assign(average)

    @property
    def _network(self):
        return [*self._weights, *self._statistics]


def _approach(average, value, rate):
    # Where the rate is zero, what overflowed may not come in as zero times infinity.
    average.assign_sub(tf.math.multiply_no_nan(average - value, rate))
