"""Moving averages of the weights: their numbers, and where they stand in for the weights."""

import json

import keras
import numpy as np
import pulled_weights
import pytest
import tensorflow as tf
from small_runs import assert_equal, network, phase, weights

from tfnets.data import sources
from tfnets.training.checkpoints import load_model
from tfnets.training.objectives import Classification
from tfnets.training.optimizers import Optimizer
from tfnets.training.state import TrainingState
from tfnets.training.trainer import Trainer

START = np.array([1.0, -2.0])
PULLS = np.array([[10.0, 3.0], [5.0, -1.0], [-7.0, 0.0], [0.0, 8.0], [1.0, 1.0]])
DECAY = 0.28  # between the second and the third of 2 / 11, 3 / 12, 4 / 13


def averages_of(raw, start, decay):
    """By the formula, in float64."""
    averages, average = [], np.asarray(start, np.float64)
    for number, value in enumerate(raw, 1):
        share = min(decay, (1 + number) / (10 + number))
        average = share * average + (1 - share) * value
        averages.append(average)
    return averages


def test_averages_follow_the_updates_by_a_decay_that_grows():
    raw, found = pulled_weights.train(Optimizer('sgd', 0.0, ema=DECAY), START, PULLS)
    np.testing.assert_allclose(found, averages_of(raw, START, DECAY), rtol=1e-6)


def test_averages_are_those_of_tensorflow():
    raw, found = pulled_weights.train(Optimizer('sgd', 0.0, ema=DECAY), START, PULLS)
    variable, number = tf.Variable(START, dtype=tf.float32), tf.Variable(0)
    reference = tf.train.ExponentialMovingAverage(DECAY, number)
    reference.apply([variable])
    for weight, average in zip(raw, found, strict=True):
        variable.assign(weight)
        number.assign_add(1)
        reference.apply([variable])
        np.testing.assert_allclose(average, reference.average(variable).numpy(), rtol=1e-6)


def test_an_update_that_overflows_in_float16_is_none():
    pulls = np.insert(PULLS, 2, [1e38, np.nan], 0)
    raw, found = pulled_weights.train(Optimizer('sgd', 0.0, ema=DECAY), START, pulls, True)
    np.testing.assert_array_equal(found[1], found[2])
    made = np.delete(raw, 2, 0)
    np.testing.assert_allclose(np.delete(found, 2, 0), averages_of(made, START, DECAY), rtol=1e-6)


def test_with_accumulation_they_follow_updates_not_steps():
    spec = Optimizer('sgd', 0.0, ema=DECAY, accumulate=2)
    raw, found = pulled_weights.train(spec, START, PULLS)
    np.testing.assert_allclose(found[1::2], averages_of(raw[1::2], START, DECAY), rtol=1e-6)
    np.testing.assert_array_equal(found[0::2], [START, found[1], found[3]])


@pytest.mark.parametrize('devices', ['one_device', 'two_devices'])
def test_they_are_evaluated_and_kept_while_the_weights_train_on(
    tmp_path, monkeypatch, request, devices
):
    """Batch norm's statistics among them; each number against those of the formula."""
    strategy = request.getfixturevalue(devices)
    source = sources.load('sample', 'test').take(np.arange(32))
    with strategy.scope():
        objective = Classification(network())
    start, raw, scored = weights_of(objective), {}, {}
    advance, score = TrainingState.advance, Trainer.score

    def noted_advance(state, count, seconds):
        raw[state.step + count] = weights_of(objective)
        advance(state, count, seconds)

    def noted_score(trainer, objective, batches):
        scored[max(raw)] = weights_of(objective)
        return score(trainer, objective, batches)

    monkeypatch.setattr(TrainingState, 'advance', noted_advance)
    monkeypatch.setattr(Trainer, 'score', noted_score)
    short = phase(source, epochs=3, objective=objective, optimizer=Optimizer(ema=0.5))
    Trainer(tmp_path, strategy, steps_per_call=1, best_metric='loss').run(short)

    assert list(scored) == [2, 4, 6]
    columns = zip(*raw.values(), strict=True)
    expected = [averages_of(column, one, 0.5) for column, one in zip(columns, start, strict=True)]
    for step, found in scored.items():
        for one, averages in zip(found, expected, strict=True):
            np.testing.assert_allclose(one, averages[step - 1], atol=1e-6)
    assert np.abs(raw[6][0] - scored[6][0]).max() > 1e-4
    assert_equal(weights(short), scored[6])
    folder = tmp_path / 'phases' / 'train'
    assert_equal([v.numpy() for v in load_model(folder / 'network.keras').variables], scored[6])
    best = json.loads((folder / 'best' / 'best.json').read_text())['step']
    kept = load_model(folder / 'best_network.keras')
    assert_equal([v.numpy() for v in kept.variables], scored[best])


def weights_of(objective):
    return [variable.numpy() for variable in objective.network.variables]


def test_without_an_update_the_network_is_what_it_was(tmp_path, one_device):
    keras.utils.set_random_seed(0)
    source = sources.load('sample', 'test').take(np.arange(32))
    nothing = phase(source, epochs=0, optimizer=Optimizer(ema=0.5))
    before = weights(nothing)
    Trainer(tmp_path, one_device).run(nothing)
    assert_equal(weights(nothing), before)
