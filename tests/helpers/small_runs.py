"""Small phases to train in tests, and how they are killed."""

import keras
import numpy as np
import tensorflow as tf

from tfnets.data import preprocessing
from tfnets.data.pipeline import Batches
from tfnets.models import layers
from tfnets.training.objectives import Classification
from tfnets.training.optimizers import Optimizer
from tfnets.training.phase import Phase
from tfnets.training.schedules import Cosine
from tfnets.training.trainer import Trainer

LINE = 'decode_area_crop(resolution, 0.2, 0.7) | flip_lr | brightness(0.2)'


def network():
    """A small network with everything that has a state or a random number in it."""
    keras.utils.set_random_seed(5)
    pixels = keras.Input((None, None, 3), dtype='uint8')
    x = layers.PixelScaling('unit')(pixels)
    x = keras.layers.Conv2D(8, 3, strides=2, name='conv')(x)
    x = layers.BatchNormalization(name='norm1')(x)
    x = keras.layers.ReLU()(x)
    x = layers.Dropout(0.3, name='dropout')(x)
    x = keras.layers.Conv2D(8, 3, strides=2, name='conv2')(x)
    x = layers.BatchNormalization(name='norm2')(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(pixels, keras.layers.Dense(14, dtype='float32', name='classifier')(x))


def phase(source, name='train', epochs=3, batch_size=16, **changes):
    line = preprocessing.parse(LINE, 24)
    batches = Batches(source, line, batch_size, seed=3, stream=name)
    validation = Batches(
        source.take(np.arange(min(21, len(source)))), preprocessing.parse('resize(24)', 24), 16
    )
    settings = {
        'optimizer': Optimizer('adam', weight_decay=1e-3),
        'schedule': Cosine(0.01),
        'validation': validation,
        'evaluate_every': 1,
        **changes,
    }
    objective = settings.pop('objective', None) or Classification(network())
    return Phase(name, objective, batches, epochs, **settings)


def weights(phase):
    return [variable.numpy() for variable in phase.objective.network.variables]


def assert_equal(these, those):
    for one, other in zip(these, those, strict=True):
        np.testing.assert_array_equal(one, other)


def new_trainer(folder, **settings):
    return Trainer(folder, tf.distribute.get_strategy(), **{'steps_per_call': 3, **settings})


class Killed(BaseException):
    pass


def kill_at(monkeypatch, owner, name, call):
    """Raises Killed at the given call of a method, before it does anything."""
    original = getattr(owner, name)
    calls = []

    def counted(*args, **kwargs):
        calls.append(1)
        if len(calls) == call:
            raise Killed
        return original(*args, **kwargs)

    monkeypatch.setattr(owner, name, counted)


# What differs from one run of the same steps to the next.
TIMINGS = ('images_per_second', 'step_milliseconds', 'memory_gib', 'mfu', 'input_wait')


def untimed(line):
    return {k: v for k, v in line.items() if k not in TIMINGS}
