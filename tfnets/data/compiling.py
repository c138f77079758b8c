"""Compiling by XLA what several threads call at once."""

import os

import tensorflow as tf

# XLA of TensorFlow 2.21 hands reductions on a CPU to YNNPACK. Each thread sets that up at its first
# call, all of them in one list without a lock: two at once, and the process ends by a segmentation
# fault. XLA reads its flags when something is compiled for the first time.
_WITHOUT_YNNPACK = '--xla_cpu_experimental_ynn_fusion_type='
if _WITHOUT_YNNPACK not in os.environ.get('XLA_FLAGS', ''):
    os.environ['XLA_FLAGS'] = f'{os.environ.get("XLA_FLAGS", "")} {_WITHOUT_YNNPACK}'.strip()


def compiled(function):
    """Compiles a function of tensors.

    Args:
        function: callable; what it is made of must be known to XLA.

    Returns:
        tf.function that any number of threads may call.
    """
    return tf.function(function, jit_compile=True, autograph=False)
