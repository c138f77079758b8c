"""Networks in PyTorch are the same function as the originals, in inference and in training."""

import importlib.util
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from small_networks import small_big_little, thin_resnet, with_statistics

from tfnets.models import mbconv
from tfnets.training.checkpoints import save_model

pytestmark = pytest.mark.skipif(
    not importlib.util.find_spec('torch'), reason='PyTorch is not installed (the extra torch)'
)

# In a process of its own, where TensorFlow computes nothing.
THEIRS = """
import sys
import numpy as np, torch
from tfnets.analysis.torch_peer import TorchNetwork
from tfnets.training.checkpoints import load_model

folder = sys.argv[1]
peer = TorchNetwork(load_model(folder + '/network.keras'))
images = torch.from_numpy(np.load(folder + '/pixels.npy').transpose(0, 3, 1, 2).copy())
with torch.no_grad():
    asked = peer.eval()(images)
learnt = peer.train()(images)
(learnt**2).sum().backward()
kernel = next(peer.parameters()).grad.numpy().transpose(2, 3, 1, 0)
np.savez(folder + '/theirs.npz', asked=asked, learnt=learnt.detach(), kernel=kernel)
"""


def in_torch(network, pixels, folder):
    save_model(network, folder / 'network.keras')
    np.save(folder / 'pixels.npy', pixels)
    command = [sys.executable, '-c', THEIRS, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    return done, folder / 'theirs.npz'


@pytest.mark.parametrize(
    ('make', 'size'), [(thin_resnet, 64), (thin_resnet, 45), (lambda: mbconv.hand_made('c', 5), 45)]
)
def test_the_same_answers_and_gradients(make, size, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (3, size, size, 3), np.uint8)
    network = with_statistics(make(), pixels)
    done, path = in_torch(network, pixels, tmp_path)
    assert done.returncode == 0, done.stderr
    theirs = np.load(path)
    asked = network(pixels, training=False).numpy()
    np.testing.assert_allclose(theirs['asked'], asked, atol=1e-4 * np.abs(asked).max())
    with tf.GradientTape() as tape:
        learnt = network(pixels, training=True)
        loss = tf.reduce_sum(learnt**2)
    # What normalises by so few images lifts what rounding leaves.
    np.testing.assert_allclose(theirs['learnt'], learnt, atol=1e-2 * np.abs(learnt).max())
    kernel = tape.gradient(loss, network.trainable_variables[0]).numpy()
    np.testing.assert_allclose(theirs['kernel'], kernel, atol=2e-2 * np.abs(kernel).max())


def test_a_layer_that_is_not_known_is_named(tmp_path):
    done, _ = in_torch(small_big_little(), np.zeros((1, 32, 32, 3), np.uint8), tmp_path)
    assert ', which is not known there' in done.stderr
