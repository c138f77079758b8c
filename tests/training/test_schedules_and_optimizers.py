"""Learning rates and weight decay against formulas and numpy."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfnets.models import mbconv
from tfnets.training.optimizers import Optimizer
from tfnets.training.schedules import Constant, Cosine, InSteps, Steps


def rates(schedule, steps_per_epoch, steps, at):
    function = InSteps(schedule, steps_per_epoch, steps)
    return [float(function(step)) for step in at]


def test_cosine_with_warmup():
    found = rates(Cosine(0.4, warmup=2), 10, 100, [0, 10, 20, 60, 99, 100])
    end = 0.2 * (1 + math.cos(math.pi * (9.9 - 2) / 8))
    np.testing.assert_allclose(found, [0, 0.2, 0.4, 0.2, end, 0], rtol=1e-5, atol=1e-9)


def test_steps_drop_exactly_at_whole_epochs_even_if_epochs_are_broken():
    per_epoch = 1281167 / 512
    first = math.ceil(30 * per_epoch)
    found = rates(Steps(0.008), per_epoch, 10**6, [0, first - 1, first, 2 * first])
    np.testing.assert_allclose(found, [0.008, 0.008, 0.0008, 0.00008], rtol=1e-5)
    assert rates(Steps(1.0, 0.5, every=3), 1 / 3, 10, [0, 1, 2]) == [1.0, 0.5, 0.25]


def test_constant():
    assert rates(Constant(0.1), 7.3, 10, [0, 9]) == pytest.approx([0.1, 0.1])


@pytest.mark.parametrize('nesterov', [False, True])
def test_sgd_with_l2_over_three_steps(nesterov):
    """PyTorch's SGD: v = m v + (g + wd w); w -= lr (g + wd w + m v) if nesterov, else lr v."""
    spec = Optimizer('sgd', 0.9, nesterov, weight_decay=0.1)
    start = np.array([1.0, -2.0, 3.0])
    pulls = np.array([[0.1, 0.2, -0.3], [0.0, 0.5, 0.5], [-1.0, 0.0, 0.1]])
    found = _weights_after(spec, start, pulls)
    weights, velocity = start.copy(), np.zeros(3)
    for pull in pulls:
        gradient = pull + 0.1 * weights
        velocity = 0.9 * velocity + gradient
        weights = weights - 0.01 * (gradient + 0.9 * velocity if nesterov else velocity)
    np.testing.assert_allclose(found, weights, rtol=1e-5)


def test_adam_with_l2_over_three_steps():
    spec = Optimizer('adam', weight_decay=0.1)
    start = np.array([1.0, -2.0, 3.0])
    pulls = np.array([[0.1, 0.2, -0.3], [0.0, 0.5, 0.5], [-1.0, 0.0, 0.1]])
    found = _weights_after(spec, start, pulls)
    weights, first, second = start.copy(), np.zeros(3), np.zeros(3)
    for step, pull in enumerate(pulls, 1):
        gradient = pull + 0.1 * weights
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        scaled = first / (1 - 0.9**step) / (np.sqrt(second / (1 - 0.999**step)) + 1e-7)
        weights = weights - 0.01 * scaled
    np.testing.assert_allclose(found, weights, rtol=1e-4)


def _weights_after(spec, start, pulls):
    """Trains weights w on the loss w . pull, by the engine's own step."""
    from tfnets.training.step import training_function

    pixels = keras.Input((3,))
    layer = keras.layers.Dense(1, use_bias=False, name='classifier')
    network = keras.Model(pixels, layer(pixels))
    layer.kernel.assign(start[:, None])

    class Pull:
        modules = {'network': network}

        def __call__(self, batch, training):
            return network(batch['image'], training=training)[:, 0], {}

    optimizer = spec.build(InSteps(Constant(0.01), 1, len(pulls)))
    optimizer.build(network.trainable_variables)
    decays = spec.decays([network], network.trainable_variables)
    strategy = tf.distribute.get_strategy()
    train = training_function(
        Pull(), network.trainable_variables, decays, optimizer, strategy, 1, False
    )
    rows = {'image': pulls.astype(np.float32)[:, None], 'label': np.zeros([len(pulls), 1])}
    train(iter(tf.data.Dataset.from_tensor_slices(rows)), tf.constant(len(pulls)))
    return layer.kernel.numpy()[:, 0]


def test_decay_follows_roles():
    network = mbconv.hand_made('c', 2)
    spec = Optimizer(weight_decay=0.5, decayed_roles=('kernel',))
    decays = spec.decays([network], network.trainable_variables)
    kernels = [variable.name == 'kernel' for variable in network.trainable_variables]
    assert decays == [0.5 if kernel else 0.0 for kernel in kernels]
    assert set(Optimizer(weight_decay=0.5).decays([network], network.trainable_variables)) == {0.5}


def test_steps_at_certain_epochs_with_a_warmup():
    """The wide teacher's: 0 to 0.1 over 5 epochs, a tenth at 30, 60 and 80."""
    schedule = Steps(0.1, at=(30.0, 60.0, 80.0), warmup=5)
    found = rates(schedule, 10, 900, [0, 25, 50, 299, 300, 599, 600, 799, 800, 899])
    expected = [0, 0.05, 0.1, 0.1, 0.01, 0.01, 1e-3, 1e-3, 1e-4, 1e-4]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
