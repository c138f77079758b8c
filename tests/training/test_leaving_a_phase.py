"""A phase that is left behind some of its validations and gone on with ends as an unbroken one."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfnets.data import preprocessing, sources
from tfnets.data.pipeline import Batches
from tfnets.errors import Preempted
from tfnets.models import mbconv
from tfnets.training.objectives import Classification
from tfnets.training.optimizers import Optimizer
from tfnets.training.phase import Phase
from tfnets.training.record import read_metrics
from tfnets.training.schedules import Cosine
from tfnets.training.trainer import Trainer


@pytest.fixture(scope='module')
def run():
    """A function that trains a small phase of 3 epochs of 3 steps in a folder; answers its end."""
    source = sources.load('sample', 'test').take(np.arange(40))
    line = preprocessing.parse('resize(16)', 16)
    batches = Batches(source, line, 16, 3, 'train')

    def train(folder, stop=0):
        keras.utils.set_random_seed(5)
        objective = Classification(mbconv.hand_made('c', 14))
        phase = Phase(
            'train',
            objective,
            batches,
            3,
            Optimizer('adam'),
            Cosine(0.01),
            validation=batches,
            evaluate_every=1.0,
        )
        trainer = Trainer(
            folder, tf.distribute.get_strategy(), steps_per_call=2, stop_after_validations=stop
        )
        result = trainer.run(phase)
        return result, [variable.numpy() for variable in objective.network.variables]

    return train


def validations(folder):
    lines = read_metrics(folder)
    return {line['step']: line['loss'] for line in lines if line['split'] == 'validation'}


@pytest.mark.slow
def test_it_is_left_behind_that_validation_and_goes_on(tmp_path, run):
    whole, weights = run(tmp_path / 'whole')
    every = list(validations(tmp_path / 'whole'))
    for stop in (1, 2):
        with pytest.raises(Preempted, match=f'train: saved at step {every[stop - 1]} of'):
            run(tmp_path / 'parts', stop)
        assert list(validations(tmp_path / 'parts')) == every[:stop]
    with pytest.raises(Preempted):  # where it is left already it stays
        run(tmp_path / 'parts', 1)
    assert list(validations(tmp_path / 'parts')) == every[:2]
    result, ended = run(tmp_path / 'parts', 3)  # the last validation is the end
    assert validations(tmp_path / 'parts') == validations(tmp_path / 'whole')
    assert result.validation == whole.validation
    for one, other in zip(ended, weights, strict=True):
        np.testing.assert_array_equal(one, other)
