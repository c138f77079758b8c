"""Mixed images in a classification: losses, answers, and where nothing is mixed."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_networks import plain_network

from tfnets.data.operations import mixing
from tfnets.training.objectives import Classification, Targets

CLASSES = 14


@pytest.fixture(scope='module')
def network():
    keras.utils.set_random_seed(0)
    return plain_network()


def batch(seed=0):
    rng = np.random.default_rng(seed)
    return {
        'image': tf.constant(rng.integers(0, 256, (6, 16, 16, 3), np.uint8)),
        'label': tf.constant(rng.permutation(CLASSES)[:6].astype(np.int32)),
        'seed': tf.constant(rng.integers(0, 2**31, (6, 2), np.int32)),
    }


def expected(network, batch, mix, alpha, smoothing):
    """Losses and right answers in numpy, from images and labels that were mixed."""
    one_hot = np.eye(CLASSES, dtype=np.float32)[batch['label']]
    images, target = mix(batch['image'], one_hot, batch['seed'], alpha)
    logits, target = network(images).numpy().astype(np.float64), target.numpy()
    log = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    smoothed = target * (1 - smoothing) + smoothing / CLASSES
    return -(smoothed * log).sum(1), logits.argmax(1) == target.argmax(1)


@pytest.mark.parametrize(
    ('mix', 'alphas'), [(mixing.mixup, (0.4, 0.0)), (mixing.cutmix, (0.0, 1.0))]
)
def test_losses_are_of_the_mixed_images_and_labels(network, mix, alphas):
    objective = Classification(network, Targets(0.1, *alphas))
    losses, metrics = objective(batch(), training=True)
    wanted, right = expected(network, batch(), mix, sum(alphas), 0.1)
    np.testing.assert_allclose(losses, wanted, rtol=1e-5)
    np.testing.assert_array_equal(metrics['top1'], right)
    again, _ = objective(batch(), training=True)
    np.testing.assert_array_equal(losses, again)


def test_with_both_each_batch_gets_one(network):
    objective = Classification(network, Targets(0.0, 0.4, 1.0))
    kinds = []
    for seed in range(40):
        losses, _ = objective(batch(seed), training=True)
        kinds.append(
            [
                np.allclose(losses, expected(network, batch(seed), *way, 0.0)[0], rtol=1e-5)
                for way in ((mixing.mixup, 0.4), (mixing.cutmix, 1.0))
            ]
        )
    assert all(sum(kind) == 1 for kind in kinds)
    assert 10 <= sum(mixup for mixup, _ in kinds) <= 30


def test_tests_are_never_mixed(network):
    plain, mixed = Classification(network), Classification(network, Targets(0.1, 0.4, 1.0))
    for training, objective in ((False, mixed), (False, mixed.unmixed())):
        np.testing.assert_array_equal(objective(batch(), training)[0], plain(batch(), False)[0])
    assert mixed.unmixed().network is network
    unmixed = Classification(network, Targets(0.1))
    np.testing.assert_array_equal(
        mixed.unmixed()(batch(), training=True)[0], unmixed(batch(), training=True)[0]
    )
    assert unmixed.unmixed() is unmixed
