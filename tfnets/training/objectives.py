"""Objectives: from a batch to its losses and metrics. An objective owns the networks it needs.

All are called in the same way, objective(batch, training), with a batch

    {'image': uint8 [batch, height, width, 3], 'label': int32 [batch]}

and, in training, 'seed': int32 [batch, 2]. They return float32 [batch] losses, and a dict of
float32 [batch] metrics; apart from training, and where there are answers, also 'predicted': int32
[batch], the class that each example was taken for. `modules` is a dict of the keras.Models that an
objective owns, by name.
"""

import dataclasses

import tensorflow as tf

from tfnets.data.operations import mixing
from tfnets.models.layers import example_seeds


@dataclasses.dataclass(frozen=True)
class Targets:
    """What a network is trained towards, in place of the labels alone.

    Attributes:
        smoothing: share of the target that is spread over all classes, in [0, 1).
        mixup: training images are blended in pairs, and their targets, by shares from
            Beta(mixup, mixup); 0 for none.
        cutmix: a rectangle of each is replaced by its partner's, and that share of its target; 0
            for none. With both, each batch (of each device) is mixed in one of the two ways.
    """

    smoothing: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0

    @property
    def are_mixed(self):
        """Whether images are."""
        return self.mixup > 0 or self.cutmix > 0


class Classification:
    """Cross entropy of a network's logits with the labels.

    Attributes:
        modules: {'network': the keras.Model}; saved in every checkpoint.

    Args:
        network: keras.Model from uint8 pixels to logits [batch, num_classes].
        targets: Targets of training.
    """

    def __init__(self, network, targets=Targets()):
        self.modules = {'network': network}
        self._targets = targets

    @property
    def network(self):
        """The keras.Model that is trained."""
        return self.modules['network']

    def __call__(self, batch, training):
        """Returns cross entropies in nats, 'top1' and, with more than ten classes, 'top5'.

        Of an image that was mixed the right answer is the label with the larger share.
        """
        classes = self.network.output_shape[-1]
        label = batch['label']
        target = tf.one_hot(label, classes)
        if training and self._targets.are_mixed:
            images, target = mixing.mixup_or_cutmix(
                batch['image'], target, batch['seed'], self._targets.mixup, self._targets.cutmix
            )
            batch = batch | {'image': images}
            label = tf.argmax(target, axis=1, output_type=tf.int32)
        logits = _answer(self.network, batch, training)
        smoothing = self._targets.smoothing if training else 0.0
        target = target * (1 - smoothing) + smoothing / classes
        losses = tf.nn.softmax_cross_entropy_with_logits(target, logits)
        return losses, _accuracy(logits, label, training)

    def unmixed(self):
        """The same without mixup and cutmix."""
        if not self._targets.are_mixed:
            return self
        return Classification(self.network, Targets(self._targets.smoothing))


class Distillation:
    """Divergence of a network's answers from those of its teacher (Hinton et al. 2015).

    KL(teacher || network) of the softmax of logits / temperature, in nats, times temperature ** 2,
    so that gradients keep their size. Metrics are against the labels.

    Attributes:
        modules: {'network': the student, 'teacher': which is always in inference mode}.

    Args:
        network: keras.Model from uint8 pixels to logits [batch, num_classes].
        teacher: keras.Model to as many logits.
        temperature: above 0.
    """

    def __init__(self, network, teacher, temperature=1.0):
        self.modules = {'network': network, 'teacher': teacher}
        self._temperature = temperature

    def __call__(self, batch, training):
        """Returns divergences, 'top1' and, with more than ten classes, 'top5'."""
        logits = _answer(self.modules['network'], batch, training)
        taught = _answer(self.modules['teacher'], batch, False)
        losses = _divergence(taught / self._temperature, logits / self._temperature)
        return losses * self._temperature**2, _accuracy(logits, batch['label'], training)


class Imitation:
    """Distance of a stage's output from that of the teacher's stage.

    Attributes:
        modules: {'student': all of it, 'teacher': which is always in inference mode}.

    Args:
        student: keras.Model whose layers `student_stage` shares.
        teacher: keras.Model whose layers `teacher_stage` shares.
        student_stage: keras.Model from uint8 pixels to [batch, height, width, channels].
        teacher_stage: keras.Model from the same pixels to the same shape.
        loss: 'mse', the mean of squares over all elements; or 'kl', the mean over positions of
            KL(teacher || student) of the softmax over channels, in nats.
    """

    def __init__(self, student, teacher, student_stage, teacher_stage, loss='mse'):
        self.modules = {'student': student, 'teacher': teacher}
        self._stages = student_stage, teacher_stage
        self._distance = {'mse': _squares, 'kl': _divergence}[loss]

    def __call__(self, batch, training):
        """Returns distances, and no metrics."""
        student, teacher = self._stages
        distances = self._distance(
            _answer(teacher, batch, False), _answer(student, batch, training)
        )
        return tf.reduce_mean(distances, axis=range(1, distances.shape.rank)), {}


def _answer(network, batch, training):
    """What a network makes of a batch's images, in float32."""
    with example_seeds(batch.get('seed')):
        return tf.cast(network(batch['image'], training=training), tf.float32)


def _squares(target, values):
    return tf.math.squared_difference(values, target)


def _divergence(target, logits):
    """KL divergence of two softmaxes over the last axis, in nats."""
    log_target, log_values = tf.nn.log_softmax(target), tf.nn.log_softmax(logits)
    return tf.reduce_sum(tf.exp(log_target) * (log_target - log_values), axis=-1)


def _accuracy(logits, labels, training):
    metrics = {'top1': _in_top(logits, labels, 1)}
    if logits.shape[-1] > 10:
        metrics['top5'] = _in_top(logits, labels, 5)
    if not training:
        metrics['predicted'] = _predicted(logits, labels, metrics['top1'])
    return metrics


def _predicted(logits, labels, right):
    """The label where it is right; else the class of the rest that scores highest, int32."""
    # Of a tie not the label, which counts as wrong there.
    own = tf.one_hot(labels, logits.shape[-1], True, False)
    rival = tf.argmax(tf.where(own, logits.dtype.min, logits), 1, tf.int32)
    return tf.where(right > 0, labels, rival)


def _in_top(logits, labels, k):
    """1.0 where fewer than k classes score at least as much as the right one."""
    own = tf.gather(logits, labels, axis=1, batch_dims=1)[:, None]
    # A tie counts against the network, or else constant logits would score perfectly.
    rivals = tf.reduce_sum(tf.cast(logits >= own, tf.int32), 1) - 1
    finite = tf.reduce_all(tf.math.is_finite(logits), 1)
    return tf.cast((rivals < k) & finite, tf.float32)
