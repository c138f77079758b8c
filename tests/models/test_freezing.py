"""Frozen networks answer as those that they were made of, from weights in the graph."""

import numpy as np
import pytest
import tensorflow as tf
from small_networks import SMALL, with_statistics

from tfnets.models import folding, freezing


def images(batch, height, width):
    return np.random.default_rng(0).integers(0, 256, (batch, height, width, 3), np.uint8)


@pytest.mark.parametrize(
    ('family', 'shape'),
    [
        ('big_little', (2, 45, 37, 3)),
        ('grouped, squeezed', None),
        ('preact_resnet', (None, 45, 37, 3)),
        ('mbconv', None),
    ],
)
def test_answers_are_the_networks(family, shape):
    pixels = images(2, 45, 37)
    network = with_statistics(SMALL[family](3), pixels)
    expected = network(pixels, training=False).numpy()
    answers = freezing.freeze(folding.fold(network), shape)(pixels)
    np.testing.assert_allclose(answers, expected, atol=1e-4 * np.abs(expected).max())


def test_no_variable_is_left():
    network = with_statistics(SMALL['resnet'](3), images(2, 32, 32))
    expected = network(images(1, 32, 32)).numpy()
    frozen = freezing.freeze(network)
    assert not frozen.get_concrete_function().captured_inputs
    for variable in network.weights:
        variable.assign(tf.zeros_like(variable))
    answers = frozen(images(1, 32, 32))
    np.testing.assert_allclose(answers, expected, atol=1e-4 * np.abs(expected).max())


def test_another_size_than_that_it_was_made_for_is_refused():
    frozen = freezing.freeze(SMALL['mbconv'](3), (None, 32, 32, 3))
    assert frozen(images(5, 32, 32)).shape == (5, 3)
    with pytest.raises(TypeError, match='shape'):
        frozen(images(5, 33, 32))
