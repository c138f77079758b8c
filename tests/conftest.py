"""Settings for all tests: two logical CPUs, so that replicas can be tested, and quiet logs."""

import os
import pathlib
import signal
import sys

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
os.environ.setdefault('CUDA_VISIBLE_DEVICES', '')

import keras
import pytest
import tensorflow as tf

# The modules in there belong to no package.
sys.path.insert(0, str(pathlib.Path(__file__).parent / 'helpers'))

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices('CPU')[0], [tf.config.LogicalDeviceConfiguration()] * 2
)


@pytest.fixture(autouse=True)
def seeded():
    """Networks have the same weights whenever, and beside whatever, a test runs."""
    keras.utils.set_random_seed(0)


@pytest.fixture(scope='session')
def one_device():
    """The default strategy."""
    return tf.distribute.get_strategy()


@pytest.fixture(scope='session')
def two_devices():
    """A MirroredStrategy on two logical CPUs; one for all tests."""
    from tfnets.training.distribution import make_strategy

    return make_strategy('mirrored')


@pytest.fixture
def preemptible():
    """Signals are minded as launchers mind them, until the end of the test."""
    from tfnets.training import preemption

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    preemption.install()
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
