"""Objectives: from a batch to its losses and metrics. An objective owns the networks it needs."""

import tensorflow as tf

from tfnets.models.layers import example_seeds


class Classification:
    """Cross entropy of a network's logits with the labels.

    Attributes:
        modules: {'network': the keras.Model}; saved in every checkpoint.

    Args:
        network: keras.Model from uint8 pixels to logits [batch, num_classes].
        label_smoothing: share of the target that is spread over all classes, in [0, 1).
    """

    def __init__(self, network, label_smoothing=0.0):
        self.modules = {'network': network}
        self._label_smoothing = label_smoothing

    @property
    def network(self):
        """The keras.Model that is trained."""
        return self.modules['network']

    def __call__(self, batch, training):
        """Scores one batch.

        Args:
            batch: {'image': uint8 [batch, height, width, 3], 'label': int32 [batch]} and, in
                training, 'seed': int32 [batch, 2].
            training: bool.

        Returns:
            float32 [batch] losses, and a dict of float32 [batch] metrics: 'top1' and, with more
            than ten classes, 'top5'.
        """
        with example_seeds(batch.get('seed')):
            logits = self.network(batch['image'], training=training)
        logits = tf.cast(logits, tf.float32)
        classes = logits.shape[-1]
        target = tf.one_hot(batch['label'], classes)
        smoothing = self._label_smoothing if training else 0.0
        target = target * (1 - smoothing) + smoothing / classes
        losses = tf.nn.softmax_cross_entropy_with_logits(target, logits)
        metrics = {'top1': _in_top(logits, batch['label'], 1)}
        if classes > 10:
            metrics['top5'] = _in_top(logits, batch['label'], 5)
        return losses, metrics


def _in_top(logits, labels, k):
    """1.0 where fewer than k classes score at least as much as the right one."""
    own = tf.gather(logits, labels, axis=1, batch_dims=1)[:, None]
    # A tie counts against the network, or else constant logits would score perfectly.
    rivals = tf.reduce_sum(tf.cast(logits >= own, tf.int32), 1) - 1
    finite = tf.reduce_all(tf.math.is_finite(logits), 1)
    return tf.cast((rivals < k) & finite, tf.float32)
