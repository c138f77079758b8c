"""One device against two, with the same global batch."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_networks import plain_network

from tfnets.data import preprocessing, sources
from tfnets.data.pipeline import Batches
from tfnets.models import mbconv
from tfnets.models.layers import BatchNormalization
from tfnets.training import distribution, step
from tfnets.training.objectives import Classification
from tfnets.training.optimizers import Optimizer
from tfnets.training.phase import Phase
from tfnets.training.schedules import Constant
from tfnets.training.trainer import Trainer

LINE = 'decode_area_crop(resolution, 0.2, 0.7) | flip_lr'


@pytest.fixture(scope='module')
def batches():
    source = sources.load('sample', 'test').take(np.arange(50))
    return Batches(source, preprocessing.parse(LINE, 24), 16, seed=3)


def losses(run_dir, strategy, build, batches, steps=5, **options):
    keras.utils.set_random_seed(1)
    with strategy.scope():
        network = build()
    phase = Phase(
        'train',
        Classification(network),
        batches,
        steps / batches.steps_per_epoch,
        Optimizer(nesterov=True, weight_decay=0.01, **options),
        Constant(0.1),
    )
    trainer = Trainer(run_dir, strategy, steps_per_call=1)
    trainer.run(phase)
    from tfnets.training.record import read_metrics

    return [line['loss'] for line in read_metrics(run_dir)], network


def test_without_batch_norm_two_devices_give_the_losses_of_one(
    tmp_path, batches, one_device, two_devices
):
    alone, network = losses(tmp_path / 'one', one_device, plain_network, batches)
    both, replicated = losses(tmp_path / 'two', two_devices, plain_network, batches)
    assert len(alone) == 5
    assert alone[0] != alone[1]
    np.testing.assert_allclose(alone, both, rtol=1e-4)
    for one, two in zip(network.variables, replicated.variables, strict=True):
        np.testing.assert_allclose(one.numpy(), two.numpy(), atol=1e-5)


def test_clipping_accumulation_and_averages_are_those_of_one_device(
    tmp_path, batches, one_device, two_devices
):
    """Six steps are three updates; what is compared are the averages."""
    options = {'clip_norm': 0.1, 'accumulate': 2, 'ema': 0.9}
    alone, network = losses(tmp_path / 'one', one_device, plain_network, batches, 6, **options)
    both, replicated = losses(tmp_path / 'two', two_devices, plain_network, batches, 6, **options)
    assert len(alone) == 6
    np.testing.assert_allclose(alone, both, rtol=1e-4)
    for one, two in zip(network.variables, replicated.variables, strict=True):
        np.testing.assert_allclose(one.numpy(), two.numpy(), atol=1e-5)


def test_the_order_of_examples_is_that_of_one_device(batches, two_devices):
    from tfnets.data import pipeline

    whole = [batch['seed'].numpy() for batch in pipeline.training_dataset(batches, 0, 4)]
    data = two_devices.distribute_datasets_from_function(
        lambda context: pipeline.training_dataset(batches, 0, 4, context)
    )
    parts = [
        np.concatenate(two_devices.experimental_local_results(batch['seed'])) for batch in data
    ]
    np.testing.assert_array_equal(whole, parts)


def test_local_batch_norm_has_the_mean_gradient_of_both_halves(batches, two_devices):
    """And both replicas read the same moving statistics afterwards."""
    from tfnets.data import pipeline

    keras.utils.set_random_seed(2)
    with two_devices.scope():
        network = mbconv.hand_made('c', 14)
        optimizer = keras.optimizers.SGD(1.0)
        optimizer.build(network.trainable_variables)
    before = [variable.numpy() for variable in network.trainable_variables]
    variables = network.trainable_variables
    objective = Classification(network)
    expected = np.mean([_gradients(network, half) for half in _halves(batches)], 0)

    train = step.training_function(
        objective, variables, [0.0] * len(variables), optimizer, two_devices, 16, False
    )
    data = two_devices.distribute_datasets_from_function(
        lambda context: pipeline.training_dataset(batches, 0, 1, context)
    )
    train(iter(data), tf.constant(1))
    found = np.concatenate(
        [(old - new.numpy()).ravel() for old, new in zip(before, variables, strict=True)]
    )
    np.testing.assert_allclose(found, expected, atol=2e-5 * np.abs(expected).max())

    distribution.statistics_synchronizer([network], two_devices)()
    for variable in network.non_trainable_variables:
        here, there = two_devices.experimental_local_results(variable.value)
        np.testing.assert_array_equal(here, there)
        np.testing.assert_allclose(variable.numpy(), here, rtol=1e-6)


def _halves(batches):
    from tfnets.data import pipeline

    batch = next(iter(pipeline.training_dataset(batches, 0, 1)))
    return [
        {name: value[part] for name, value in batch.items()} for part in (slice(0, 8), slice(8, 16))
    ]


def _gradients(network, batch):
    """Of the mean loss over one half, on a copy of the network on one device."""
    copy = mbconv.hand_made('c', 14)
    copy.set_weights(network.get_weights())
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(Classification(copy)(batch, training=True)[0])
    gradients = tape.gradient(loss, copy.trainable_variables)
    return np.concatenate([gradient.numpy().ravel() for gradient in gradients])


def test_moving_statistics_are_the_mean_of_both_replicas(two_devices):
    with two_devices.scope():
        layer = BatchNormalization(momentum=0.0)
        layer.build((None, 1))
    values = two_devices.experimental_distribute_values_from_function(
        lambda context: tf.constant([[1.0], [3.0]]) * (1 + context.replica_id_in_sync_group)
    )
    two_devices.run(tf.function(lambda x: layer(x, training=True)), args=(values,))
    (mean,) = distribution.replica_means([layer.moving_mean], two_devices)
    np.testing.assert_allclose(mean, [3.0])


def test_evaluation_on_two_devices_counts_each_example_once(tmp_path, two_devices, one_device):
    source = sources.load('sample', 'test').take(np.arange(37))
    batches = Batches(source, preprocessing.parse('resize(24)', 24), 8)
    keras.utils.set_random_seed(0)
    network = plain_network()
    with two_devices.scope():
        replicated = plain_network()
    replicated.set_weights(network.get_weights())
    alone = Trainer(tmp_path, one_device).score(Classification(network), batches)
    both = Trainer(tmp_path, two_devices).score(Classification(replicated), batches)
    assert alone.examples == both.examples == 37
    assert alone.top1 == both.top1
    assert alone.loss == pytest.approx(both.loss, abs=1e-5)
