"""One update from the gradients of several batches."""

import tensorflow as tf


class Accumulator:
    """Gradients that wait for those of further batches.

    They are summed as they are, scaled for float16 and all: the scale changes with an update only,
    and one batch that overflows makes the update overflow, which is then skipped as any other.

    Args:
        variables: list of keras.Variable that are trained.
        batches: of how many an update is made.
        strategy: tf.distribute.Strategy that trains.

    Attributes:
        variables: list of all that has to be saved.
    """

    def __init__(self, variables, batches, strategy):
        self._batches = batches
        self._strategy = strategy
        with strategy.scope():
            self._count = tf.Variable(0, dtype=tf.int64, trainable=False)
            self._sums = [
                tf.Variable(tf.zeros(variable.shape, variable.dtype), trainable=False)
                for variable in variables
            ]
        self.variables = [self._count, *self._sums]

    def add(self, gradients, update):
        """Adds the gradients of a batch; the last of so many makes an update of their mean.

        To be called where an optimizer may be: outside of replicas, outside of the scope.

        Args:
            gradients: list of what was summed over the replicas.
            update: function of a list of gradients.
        """
        for total, gradient in zip(self._sums, gradients, strict=True):
            self._strategy.extended.update(total, _add, (gradient,), group=False)
        self._count.assign_add(1)

        def make_update():
            self._count.assign(0)
            update([self._strategy.extended.update(total, self._take_mean) for total in self._sums])

        tf.cond(tf.equal(self._count, self._batches), make_update, lambda: None)

    def _take_mean(self, total):
        mean = total / self._batches
        with tf.control_dependencies([mean]):
            total.assign(tf.zeros_like(total))
        return mean


def _add(total, gradient):
    total.assign_add(gradient)
