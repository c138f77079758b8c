"""Weights on which every gradient is known: those of the loss w . pull, whose gradient is pull."""

import keras
import numpy as np
import tensorflow as tf

from tfnets.training.accumulation import Accumulator
from tfnets.training.averaging import Average
from tfnets.training.schedules import Constant, InSteps
from tfnets.training.step import training_function

RATE = 0.01


def train(spec, start, pulls, float16=False, schedule=None):
    """Makes the engine's own step with each pull.

    Args:
        spec: Optimizer.
        start: the weights, a vector.
        pulls: array [steps, weights].
        float16: whether losses are scaled.
        schedule: one of training.schedules, in which a step is an epoch; RATE all along by default.

    Returns:
        The weights after each step; and their averages, None without `ema`.
    """
    pixels = keras.Input((len(start),))
    layer = keras.layers.Dense(1, use_bias=False, name='classifier')
    network = keras.Model(pixels, layer(pixels))
    layer.kernel.assign(np.asarray(start)[:, None])

    class Pull:
        modules = {'network': network}

        def __call__(self, batch, training):
            return network(batch['image'], training=training)[:, 0], {}

    variables, strategy = network.trainable_variables, tf.distribute.get_strategy()
    schedule = InSteps(schedule or Constant(RATE), 1, len(pulls))
    optimizer = spec.build(schedule, float16, [network])
    optimizer.build(variables)
    accumulator = Accumulator(variables, spec.accumulate, strategy) if spec.accumulate > 1 else None
    average = Average(spec.ema, variables, [], strategy) if spec.ema else None
    step = training_function(
        Pull(),
        variables,
        spec.decays([network], variables),
        optimizer,
        strategy,
        1,
        False,
        accumulator,
        average,
    )
    rows = {'image': np.asarray(pulls, np.float32)[:, None], 'label': np.zeros([len(pulls), 1])}
    batches = iter(tf.data.Dataset.from_tensor_slices(rows))
    weights, averages = [], []
    for _ in pulls:
        step(batches, tf.constant(1))
        weights.append(layer.kernel.numpy()[:, 0])
        if average:
            averages.append(average.variables[0].numpy()[:, 0])
    return np.asarray(weights), np.asarray(averages) if average else None
