"""What has a history goes on where it was: to the bit, on one device and on two."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_runs import Killed, assert_equal, kill_at, network, phase, untimed, weights

from tfnets.data import sources
from tfnets.models import roles
from tfnets.training.objectives import Classification, Targets
from tfnets.training.optimizers import Optimizer
from tfnets.training.record import read_metrics
from tfnets.training.schedules import Plateau
from tfnets.training.state import TrainingState
from tfnets.training.trainer import Trainer

# No loss is a hundredth of the first: the learning rate is halved at each further validation.
PLATEAU = Plateau(0.01, 0.5, 0, 0.99, 'loss')
ALL = Optimizer('adamw', weight_decay=0.1, clip_norm=0.5, accumulate=3, ema=0.9)
OPTIONS = {
    'plateau': {'schedule': PLATEAU},
    'ema': {'optimizer': Optimizer(ema=0.9)},
    'rmsprop': {'optimizer': Optimizer('rmsprop', 0.9)},
    'accumulation': {'optimizer': Optimizer(accumulate=3)},
    'adamw': {'optimizer': Optimizer('adamw', weight_decay=0.1, decayed_roles=('kernel',))},
    'mixup': {'mixed': (0.2, 1.0)},
    'all': {'optimizer': ALL, 'schedule': PLATEAU, 'mixed': (0.2, 1.0)},
}


@pytest.fixture(scope='module')
def source():
    return sources.load('sample', 'test').take(np.arange(70))


def make(source, strategy, mixed=(), **options):
    with strategy.scope():
        objective = Classification(network(), Targets(0.1, *mixed))
    return phase(source, objective=objective, **options)


def end_of(folder, source, strategy, options, xla=False):
    """What a run comes to: weights of the network, and the record."""
    whole = make(source, strategy, **options)
    Trainer(folder, strategy, steps_per_call=2, checkpoint_minutes=0, xla=xla).run(whole)
    return weights(whole), [untimed(line) for line in read_metrics(folder)]


def check(folder, monkeypatch, source, strategy, options, xla=False):
    expected, record = end_of(folder / 'whole', source, strategy, options, xla)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        # Step 10: behind two validations, one batch into the accumulation of three.
        kill_at(patch, Trainer, '_advance', 8)
        end_of(folder / 'killed', source, strategy, options, xla)
    assert [path.name for path in (folder / 'killed').glob('phases/train/checkpoints/step-10.*')]
    found, resumed = end_of(folder / 'killed', source, strategy, options, xla)
    assert_equal(found, expected)
    assert resumed == record
    return record


@pytest.mark.parametrize('name', OPTIONS)
def test_one_device_goes_on_to_the_bit(tmp_path, monkeypatch, source, one_device, name):
    record = check(tmp_path, monkeypatch, source, one_device, OPTIONS[name])
    if name in ('plateau', 'all'):
        rates = {line['learning_rate'] for line in record if line['split'] == 'train'}
        assert rates == {0.01, 0.005}


@pytest.mark.parametrize(
    'name',
    [name if name == 'all' else pytest.param(name, marks=pytest.mark.slow) for name in OPTIONS],
)
def test_two_devices_go_on_to_the_bit(tmp_path, monkeypatch, source, two_devices, name):
    check(tmp_path, monkeypatch, source, two_devices, OPTIONS[name])


@pytest.mark.slow
@pytest.mark.parametrize('xla', [False, True])
@pytest.mark.parametrize('precision', ['float32', 'mixed_bfloat16', 'mixed_float16'])
@pytest.mark.parametrize('devices', ['one_device', 'two_devices'])
def test_every_way_to_compute_goes_on_to_the_bit(
    tmp_path, monkeypatch, request, source, devices, precision, xla
):
    keras.config.set_dtype_policy(precision)
    try:
        strategy = request.getfixturevalue(devices)
        record = check(tmp_path, monkeypatch, source, strategy, {}, xla)
    finally:
        keras.config.set_dtype_policy('float32')
    losses = [line['loss'] for line in record if line['split'] == 'train']
    assert losses[-1] < losses[0]


@pytest.mark.slow
@pytest.mark.parametrize('before', ['one_device', 'two_devices'])
def test_it_goes_on_on_another_number_of_devices(tmp_path, monkeypatch, request, source, before):
    """With batch norms that see the whole batch, so that devices do not matter."""
    first, second = (
        request.getfixturevalue(name)
        for name in sorted(('one_device', 'two_devices'), reverse=before == 'two_devices')
    )

    def run(folder, strategy):
        whole = make(source, strategy)
        for norm in roles.batch_norms(whole.objective.network):
            norm.synchronized = True
        Trainer(folder, strategy, steps_per_call=2, checkpoint_minutes=0).run(whole)
        return {(line['split'], line['step']): line['loss'] for line in read_metrics(folder)}

    expected = run(tmp_path / 'whole', first)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        kill_at(patch, Trainer, '_advance', 4)
        run(tmp_path / 'moved', first)
    assert run(tmp_path / 'moved', second) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    'devices', ['one_device', pytest.param('two_devices', marks=pytest.mark.slow)]
)
def test_float16_goes_on_to_the_bit(tmp_path, monkeypatch, request, source, devices):
    keras.config.set_dtype_policy('mixed_float16')
    try:
        strategy = request.getfixturevalue(devices)
        check(tmp_path, monkeypatch, source, strategy, OPTIONS['all'])
    finally:
        keras.config.set_dtype_policy('float32')


def test_all_together_compile_and_are_traced_once(tmp_path, source, one_device):
    losses = []
    for xla in (False, True):
        short = make(source, one_device, **OPTIONS['all'])
        trainer = Trainer(tmp_path, one_device)
        state = TrainingState(short, trainer.folder, one_device, xla)
        iterator = iter(trainer._training_data(short, 0))
        found = [state.train(iterator, tf.constant(count))[0]['loss'] for count in (1, 2, 4)]
        assert state.train.experimental_get_tracing_count() == 1
        losses.append(np.concatenate(found))
    np.testing.assert_allclose(*losses, rtol=1e-4)
