"""Training on labels and testing: what is scored, where, and that a finished run is only read."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfnets.data import sources
from tfnets.models.resnet import cifar_resnet
from tfnets.recipes import classification
from tfnets.recipes.inputs import Inputs
from tfnets.training.checkpoints import load_model
from tfnets.training.optimizers import Optimizer
from tfnets.training.phase import Course
from tfnets.training.schedules import Constant
from tfnets.training.trainer import Trainer


def build():
    keras.utils.set_random_seed(0)
    return cifar_resnet(11, 0.25, 14)


@pytest.fixture(scope='module')
def inputs():
    test = sources.load('sample', 'test')
    few = [test.take(np.arange(start, start + 40)) for start in (0, 40, 80)]
    line = 'resize_short_side(resolution * 72 / 64) | center_crop(resolution)'
    return Inputs(*few, f'{line} | flip_lr', line, 16, 0)


def test_the_network_is_scored_on_the_test_split_at_each_resolution(tmp_path, inputs):
    course = Course(2, Optimizer(nesterov=True, weight_decay=1e-4), Constant(0.05))
    plan = classification.Plan(16, course, (16, 24))
    trainer = Trainer(tmp_path, tf.distribute.get_strategy())
    outcome = classification.train_and_test(trainer, build, inputs, plan)
    assert [row.resolution for row in outcome.rows] == [16, 24]
    assert {row.evaluation.examples for row in outcome.rows} == {40}
    assert outcome.epochs == 2
    network = load_model(tmp_path / 'phases/train/network.keras')
    batches = inputs.evaluation('test', 24)
    images = [
        batches.preprocessing(encoded)
        for encoded in map(batches.source.read, tf.range(40, dtype=tf.int64))
    ]
    right = np.argmax(network(np.stack(images)), 1) == batches.source.labels
    assert outcome.rows[1].evaluation.top1 == pytest.approx(right.mean())
    assert classification.train_and_test(trainer, build, inputs, plan) == outcome
