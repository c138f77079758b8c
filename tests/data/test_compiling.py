"""Functions that several threads call at once."""

import subprocess
import sys

import pytest

# Saturation takes the largest and the smallest of three channels: reductions, for YNNPACK.
MANY_AT_ONCE = """
import tensorflow as tf
from tfnets.data import preprocessing
from tfnets.data.compiling import compiled

line = preprocessing.parse('resize(32) | brightness(0.25) | saturation(0.5, 1.5)', 32)
drawn = tf.stack([line.draw_colours(tf.constant([1, seed])) for seed in range(32)])
images = tf.zeros((32, 32, 32, 3), tf.uint8)
for _ in range(100):
    function = compiled(line.apply_colours)  # so that each is called for the first time
    calls = tf.data.Dataset.range(64).map(lambda _: function(images, drawn), 16, False)
    assert sum(1 for _ in calls) == 64
"""


@pytest.mark.slow
def test_many_threads_may_call_it_at_once():
    # In a process of its own: where XLA hands reductions to YNNPACK it ends by SIGSEGV.
    done = subprocess.run([sys.executable, '-c', MANY_AT_ONCE], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
