"""One update from several batches: as from one batch of that size."""

import keras
import numpy as np
import pulled_weights
import pytest
from small_networks import plain_network
from small_runs import phase

from tfnets.data import sources
from tfnets.training.objectives import Classification
from tfnets.training.optimizers import Optimizer
from tfnets.training.record import read_metrics
from tfnets.training.schedules import Cosine
from tfnets.training.trainer import Trainer

START = np.array([1.0, -2.0])
PULLS = np.array([[0.1, 0.3], [0.5, -0.1], [1.0, 0.0], [0.0, 2.0], [7.0, 7.0]])


def test_an_update_is_made_from_the_mean_of_so_many_gradients():
    found, _ = pulled_weights.train(Optimizer('sgd', 0.0, accumulate=2), START, PULLS)
    first = START - 0.01 * PULLS[:2].mean(0)
    second = first - 0.01 * PULLS[2:4].mean(0)
    np.testing.assert_allclose(found, [START, first, first, second, second], rtol=1e-6)


def test_in_float16_one_batch_that_overflows_takes_its_whole_update_along():
    pulls = PULLS.copy()
    pulls[1, 0] = 1e38
    found, _ = pulled_weights.train(Optimizer('sgd', 0.0, accumulate=2), START, pulls, True)
    second = START - 0.01 * pulls[2:4].mean(0)
    np.testing.assert_allclose(found, [START, START, START, second, second], rtol=1e-6)


@pytest.fixture(scope='module')
def source():
    return sources.load('sample', 'test').take(np.arange(70))


def train(folder, source, batch_size, accumulate, strategy):
    keras.utils.set_random_seed(1)
    with strategy.scope():
        network = plain_network()
    optimizer = Optimizer('adamw', weight_decay=0.1, clip_norm=0.5, accumulate=accumulate, ema=0.9)
    short = phase(
        source,
        epochs=2,
        objective=Classification(network),
        optimizer=optimizer,
        schedule=Cosine(0.01, warmup=0.5),
        batch_size=batch_size,
    )
    Trainer(folder, strategy, steps_per_call=2).run(short)
    last = read_metrics(folder)[-1]
    return short.steps, [variable.numpy() for variable in network.variables], last


def test_three_batches_train_as_one_three_times_as_large(tmp_path, source, one_device):
    steps, found, last = train(tmp_path / 'three', source, 8, 3, one_device)
    large_steps, expected, large_last = train(tmp_path / 'one', source, 24, 1, one_device)
    assert large_steps == 6  # ceil(2 epochs * 70 / 24)
    assert steps == 18
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    assert last['loss'] == pytest.approx(large_last['loss'], abs=1e-5)


def test_the_record_has_the_rate_of_the_last_update(tmp_path, source, one_device):
    train(tmp_path, source, 8, 3, one_device)
    lines = [line for line in read_metrics(tmp_path) if line['split'] == 'train']
    large = 70 / 24
    for line in lines:
        epoch = max(line['step'] // 3 - 1, 0) / large
        progress = (epoch - 0.5) / (6 / large - 0.5)
        cosine = 0.005 * (1 + np.cos(np.pi * progress))
        expected = 0.01 * epoch / 0.5 if epoch < 0.5 else cosine
        assert line['learning_rate'] == pytest.approx(expected, rel=1e-4), line['step']
    assert {line['step'] for line in lines} >= {2, 4, 18}
