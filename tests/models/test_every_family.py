"""Every family of networks trains and is evaluated on every kind of arithmetic."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_networks import SMALL

from tfnets.training import step
from tfnets.training.objectives import Classification

CLASSES = 3
BATCH = 4


def batches(side):
    """The same batch for ever."""
    rng = np.random.default_rng(side)
    batch = {
        'image': rng.integers(0, 256, (BATCH, side, side, 3), np.uint8),
        'label': rng.integers(0, CLASSES, BATCH, np.int32),
        'seed': rng.integers(0, 2**31, (BATCH, 2), np.int32),
        'index': np.arange(BATCH, dtype=np.int64),
    }
    return tf.data.Dataset.from_tensors(batch).repeat()


@pytest.mark.parametrize('xla', [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    'policy', ['float32', pytest.param('mixed_bfloat16', marks=pytest.mark.slow)]
)
@pytest.mark.parametrize('family', SMALL)
def test_trains_a_step_and_evaluates(family, policy, xla, one_device):
    keras.config.set_dtype_policy(policy)
    try:
        model = SMALL[family](CLASSES)
    finally:
        keras.config.set_dtype_policy('float32')
    variables = model.trainable_variables
    for variable in variables:
        if variable.name == 'gamma':  # a last one that starts at zero would keep its branch still
            variable.assign(tf.ones(variable.shape))
    before = [variable.numpy() for variable in variables]
    optimizer = keras.optimizers.SGD(0.01)
    optimizer.build(variables)
    decays = [0.0] * len(variables)
    objective = Classification(model)
    train = step.training_function(objective, variables, decays, optimizer, one_device, BATCH, xla)
    evaluate = step.evaluation_function(objective, one_device, xla)
    for traced, side in enumerate((32, 45), 1):
        iterator = iter(batches(side))
        for _ in range(2):
            history, _ = train(iterator, tf.constant(1))
            assert np.isfinite(history['loss']).all()
            assert train.experimental_get_tracing_count() == traced
            (scores,) = evaluate(next(iterator))
            assert scores['loss'].dtype == tf.float32 and np.isfinite(scores['loss']).all()
    moved = {
        variable.path: np.abs(new - old).max() > 0
        for variable, new, old in zip(variables, map(np.asarray, variables), before, strict=True)
    }
    # The two or three channels inside squeeze-excite may all be below zero, where ReLU is flat.
    still = [path for path, moves in moved.items() if not moves]
    assert all('squeeze' in path or 'excite' in path for path in still), still


@pytest.mark.parametrize('family', SMALL)
def test_initial_kernels_are_drawn_one_by_one_from_the_seed(family):
    def kernels(seed):
        keras.utils.set_random_seed(seed)
        weights = SMALL[family](CLASSES).trainable_variables
        return [weight.numpy().ravel() for weight in weights if weight.ndim > 1]

    first, again, other = kernels(0), kernels(0), kernels(1)
    for one, same, different in zip(first, again, other, strict=True):
        np.testing.assert_array_equal(one, same)
        assert (one == different).mean() < 0.01
    # Whatever their shapes, no two begin with the same direction.
    starts = {round(float(kernel[0] / kernel[1]), 4) for kernel in first}
    assert len(starts) == len(first)
