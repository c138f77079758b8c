"""What is counted of an evaluation, and what each example was taken for."""

import types

import numpy as np
import pytest
import tensorflow as tf

from tfnets.training.evaluation import collect, summarize
from tfnets.training.objectives import Classification


def logits_as_pixels(logits):
    """An objective whose network answers what stands in the image, and a batch of logits."""
    batch = {
        'image': tf.constant(logits, tf.float32)[:, None, None],
        'label': tf.range(len(logits)) % len(logits[0]),
    }

    def network(images, training):
        return images[:, 0, 0]

    network.output_shape = (None, len(logits[0]))
    return Classification(network), batch


def test_predicted_is_the_label_exactly_where_it_is_right():
    rng = np.random.default_rng(0)
    # Of few values, so that there are ties, which count as wrong.
    logits = rng.integers(0, 3, (200, 4)).astype(np.float32)
    objective, batch = logits_as_pixels(logits)
    _, metrics = objective(batch, training=False)
    predicted, labels = metrics['predicted'].numpy(), batch['label'].numpy()
    np.testing.assert_array_equal(predicted == labels, metrics['top1'].numpy() == 1)
    places = np.arange(len(logits))
    assert (logits[places, predicted] >= logits[places, labels]).all()
    wrong = predicted != labels
    others = np.where(np.eye(4, dtype=bool)[labels], -1, logits)
    np.testing.assert_array_equal(logits[places, predicted][wrong], others.max(1)[wrong])


def test_training_knows_nothing_of_predictions():
    objective, batch = logits_as_pixels(np.eye(3))
    assert set(objective(batch, training=True)[1]) == {'top1'}


def parts(index):
    index = np.asarray(index)
    return {'index': index, 'label': index % 2, 'loss': index / 10, 'top1': index % 3 == 0}


def batches(size):
    return types.SimpleNamespace(source=range(size))


def test_examples_come_in_the_order_of_the_source_without_padding():
    columns = collect(batches(5), [parts([3, 0, -1]), parts([4, 1, 2]), parts([-1, -1, -1])])
    np.testing.assert_array_equal(columns['loss'], np.arange(5) / 10)
    np.testing.assert_array_equal(columns['label'], [0, 1, 0, 1, 0])
    score = summarize(columns)
    assert score.examples == 5
    assert score.loss == pytest.approx(0.2)
    assert score.top1 == pytest.approx(2 / 5)
    assert score.balanced == pytest.approx((1 / 3 + 1 / 2) / 2)


@pytest.mark.parametrize('index', [[0, 1, 1], [0, 2, 3], [0, 1]])
def test_what_is_counted_twice_or_not_at_all_is_a_defect(index):
    with pytest.raises(RuntimeError, match='of 3'):
        collect(batches(3), [parts(index)])
