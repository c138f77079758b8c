"""Phases: resuming to the bit, the record of a run, what stops it, evaluation."""

import contextlib
import json
import math
import os
import signal
import types

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_runs import (
    Killed,
    assert_equal,
    kill_at,
    network,
    new_trainer,
    phase,
    untimed,
    weights,
)

from tfnets.data import pipeline, preprocessing, sources
from tfnets.data.pipeline import Batches
from tfnets.errors import InputError, NotFinite, Preempted
from tfnets.models import layers
from tfnets.training import preemption
from tfnets.training import state as state_module
from tfnets.training import trainer as trainer_module
from tfnets.training.objectives import Classification, Distillation
from tfnets.training.optimizers import Optimizer
from tfnets.training.phase import FROZEN, Phase, Treatment
from tfnets.training.record import read_metrics
from tfnets.training.schedules import Constant
from tfnets.training.state import TrainingState
from tfnets.training.trainer import Trainer


@pytest.fixture(scope='module')
def source():
    return sources.load('sample', 'test').take(np.arange(70))


@pytest.fixture(scope='module')
def undisturbed(tmp_path_factory, source):
    folder = tmp_path_factory.mktemp('undisturbed')
    whole = phase(source)
    result = new_trainer(folder).run(whole)
    return weights(whole), [untimed(line) for line in read_metrics(folder)], result


def check_it_goes_on_as_undisturbed(folder, source, undisturbed):
    """Runs to its end what was left in a folder."""
    again = phase(source)
    new_trainer(folder).run(again)
    assert_equal(weights(again), undisturbed[0])
    assert [untimed(line) for line in read_metrics(folder)] == undisturbed[1]


@pytest.mark.parametrize(
    ('owner', 'name', 'call'),
    [
        (trainer_module.Trainer, '_advance', 4),
        (TrainingState, 'save', 3),
        (trainer_module.Trainer, '_finish', 1),
        (trainer_module.checkpoints, 'save_model', 1),
        (trainer_module, 'write_json', 1),
        (trainer_module.Trainer, 'score', 2),
    ],
)
def test_a_run_that_was_killed_ends_with_the_same_weights_and_record(
    tmp_path, monkeypatch, source, undisturbed, owner, name, call
):
    with monkeypatch.context() as patch, pytest.raises(Killed):
        kill_at(patch, owner, name, call)
        new_trainer(tmp_path, checkpoint_minutes=0).run(phase(source))
    again = phase(source)
    result = new_trainer(tmp_path, checkpoint_minutes=0).run(again)
    expected, record, first = undisturbed
    assert_equal(weights(again), expected)
    assert [untimed(line) for line in read_metrics(tmp_path)] == record
    assert result.validation == first.validation


def test_the_record_has_each_step_once_and_ends_at_the_last(undisturbed):
    _, record, result = undisturbed
    steps = [line['step'] for line in record if line['split'] == 'train']
    assert steps == sorted(set(steps))
    assert steps[-1] == result.steps == 14  # ceil(3 epochs * 70 / 16)
    assert [line['step'] for line in record if line['split'] == 'validation'] == [5, 9, 14]


def test_the_boards_scalars_are_those_of_the_record(tmp_path, monkeypatch, source):
    with monkeypatch.context() as patch, pytest.raises(Killed):
        kill_at(patch, trainer_module.Trainer, '_advance', 4)
        new_trainer(tmp_path, checkpoint_minutes=0).run(phase(source))
    new_trainer(tmp_path).run(phase(source))
    drawn = []
    for file in sorted((tmp_path / 'tensorboard' / 'train' / 'train').glob('events.*')):
        for event in tf.compat.v1.train.summary_iterator(str(file)):
            drawn += [event.step for value in event.summary.value if value.tag == 'loss']
    assert drawn == [line['step'] for line in read_metrics(tmp_path) if line['split'] == 'train']


def test_a_finished_phase_is_only_read(tmp_path, monkeypatch, source, undisturbed):
    done = phase(source)
    first = new_trainer(tmp_path).run(done)
    again = phase(source)
    with monkeypatch.context() as patch:
        kill_at(patch, trainer_module.Trainer, '_advance', 1)
        assert new_trainer(tmp_path).run(again) == first
    assert_equal(weights(again), weights(done))


def test_sigterm_saves_and_the_same_run_goes_on(
    tmp_path, monkeypatch, preemptible, source, undisturbed
):
    original = Trainer._advance

    def advance(*args):
        os.kill(os.getpid(), signal.SIGTERM)
        return original(*args)

    with monkeypatch.context() as patch, pytest.raises(Preempted, match='step 3 of 14'):
        patch.setattr(Trainer, '_advance', advance)
        new_trainer(tmp_path).run(phase(source))
    with pytest.raises(Preempted):  # at once, where there is nothing to save
        signal.raise_signal(signal.SIGTERM)
    # A library swallows it: it is minded all the same, and the validation of step 5 is left
    # for later.
    with contextlib.suppress(Preempted):
        signal.raise_signal(signal.SIGTERM)
    with pytest.raises(Preempted, match='step 5 of 14'):
        new_trainer(tmp_path).run(phase(source))
    assert all(line['split'] == 'train' for line in read_metrics(tmp_path))
    check_it_goes_on_as_undisturbed(tmp_path, source, undisturbed)


def test_a_validation_under_way_is_left_for_the_next_start(
    tmp_path, monkeypatch, preemptible, source, undisturbed
):
    original = pipeline.evaluation_dataset

    def interrupted(*args):
        os.kill(os.getpid(), signal.SIGTERM)
        return original(*args)

    for _ in range(2):  # the first start leaves it, and so does the next one, at once
        with monkeypatch.context() as patch, pytest.raises(Preempted, match='step 5 of 14'):
            patch.setattr(pipeline, 'evaluation_dataset', interrupted)
            new_trainer(tmp_path).run(phase(source))
    assert all(line['split'] == 'train' for line in read_metrics(tmp_path))
    check_it_goes_on_as_undisturbed(tmp_path, source, undisturbed)


def test_behind_a_validation_that_was_left_nothing_is_averaged_or_best(
    tmp_path, monkeypatch, preemptible, source
):
    settings = {'optimizer': Optimizer('adam', ema=0.9)}
    original = trainer_module._until_preempted

    def interrupted(batches):
        for batch in original(batches, every=1):
            yield batch
            os.kill(os.getpid(), signal.SIGTERM)

    whole, parts = (phase(source, **settings) for _ in range(2))
    new_trainer(tmp_path / 'whole', best_metric='loss').run(whole)
    with monkeypatch.context() as patch, pytest.raises(Preempted, match='step 5 of 14'):
        patch.setattr(trainer_module, '_until_preempted', interrupted)
        new_trainer(tmp_path / 'parts', best_metric='loss').run(phase(source, **settings))
    best = 'phases/train/best'
    assert not list((tmp_path / 'parts').glob(f'{best}/*'))
    new_trainer(tmp_path / 'parts', best_metric='loss').run(parts)
    assert_equal(weights(parts), weights(whole))
    files = [
        sorted(path.name for path in (tmp_path / run / best).iterdir())
        for run in ('whole', 'parts')
    ]
    assert files[0] == files[1] != []


def test_a_signal_is_not_forgotten_where_something_else_ends_the_phase(monkeypatch):
    monkeypatch.setattr(preemption, '_requested', False)
    with pytest.raises(Killed), preemption.deferred():
        preemption._handle(signal.SIGTERM, None)
        raise Killed
    assert preemption.requested()
    with pytest.raises(Preempted), preemption.deferred():
        pass
    assert not preemption.requested()


def test_a_whole_number_of_epochs_has_no_step_more(source):
    # 7 * (58 / 14) is 29.000000000000004 to a computer.
    assert phase(source.take(np.arange(58)), epochs=7, batch_size=14).steps == 29


def test_a_damaged_checkpoint_is_passed_over(tmp_path, monkeypatch, source, undisturbed):
    with monkeypatch.context() as patch, pytest.raises(Killed):
        kill_at(patch, trainer_module.Trainer, '_advance', 4)
        new_trainer(tmp_path, checkpoint_minutes=0).run(phase(source))
    newest = max(
        (tmp_path / 'phases/train/checkpoints').glob('step-*.data*'),
        key=lambda path: int(path.name.split('-')[1].split('.')[0]),
    )
    newest.write_bytes(newest.read_bytes()[:100])
    check_it_goes_on_as_undisturbed(tmp_path, source, undisturbed)


def test_a_record_cut_in_the_middle_of_a_line_is_mended(tmp_path, monkeypatch, source, undisturbed):
    with monkeypatch.context() as patch, pytest.raises(Killed):
        kill_at(patch, trainer_module.Trainer, '_advance', 4)
        new_trainer(tmp_path, checkpoint_minutes=0).run(phase(source))
    with open(tmp_path / 'metrics.jsonl', 'a') as file:
        file.write('{"phase": "train", "split": "tr')
    new_trainer(tmp_path).run(phase(source))
    assert [untimed(line) for line in read_metrics(tmp_path)] == undisturbed[1]


def test_a_loss_that_is_not_finite_names_step_rate_and_checkpoint(tmp_path, source):
    wild = phase(source, optimizer=Optimizer('sgd'), schedule=Constant(1e30))
    with pytest.raises(NotFinite, match=r'step [1-9]\d* is (nan|inf).*1e\+30.*checkpoint'):
        new_trainer(tmp_path).run(wild)


def test_weights_that_the_last_update_made_infinite_are_not_saved(tmp_path, source):
    options = {'optimizer': Optimizer('sgd', weight_decay=1e3), 'schedule': Constant(3e38)}
    wild = phase(source, epochs=0.01, validation=None, **options)
    with pytest.raises(NotFinite, match='not finite after step 1, at learning rate 3e[+]38'):
        new_trainer(tmp_path).run(wild)
    assert not list(tmp_path.glob('phases/train/checkpoints/step*'))


def test_frozen_parts_run_as_in_a_test(source):
    tuned = phase(source).objective.network
    Treatment('classifier', 'inference').apply(tuned)
    batch = np.random.default_rng(0).integers(0, 256, (3, 24, 24, 3), np.uint8)
    with layers.example_seeds(tf.constant([[1, 2], [1, 3], [1, 4]])):
        np.testing.assert_array_equal(tuned(batch, training=True), tuned(batch, training=False))
        Treatment().apply(tuned)
        assert np.abs(tuned(batch, training=True) - tuned(batch, training=False)).max() > 1e-3


def test_float16_that_overflows_always_trains_nothing_and_says_so(tmp_path, source):
    keras.config.set_dtype_policy('mixed_float16')
    try:
        wild = phase(source, epochs=1, validation=None)
        wild.objective.network.get_layer('classifier').kernel.assign(np.full((8, 14), 1e30))
        with pytest.raises(NotFinite):
            new_trainer(tmp_path).run(wild)
    finally:
        keras.config.set_dtype_policy('float32')


def test_half_written_files_are_cleared_away(tmp_path, source):
    folder = tmp_path / 'phases' / 'train'
    for name in ('checkpoints', 'best'):
        (folder / name / 'step-3_temp').mkdir(parents=True)
        (folder / name / 'step-3_temp' / 'part').write_text('half')
    (folder / '.xnetwork.keras').write_text('half')
    new_trainer(tmp_path, best_metric='loss').run(phase(source, epochs=1))
    assert not list(folder.glob('.*')) and not list(folder.glob('*/*_temp'))


def test_branches_share_a_trunk_and_frozen_parts_stay(tmp_path, source):
    trunk = phase(source, epochs=1)
    trainer = new_trainer(tmp_path)
    trainer.run(trunk)
    before = {v.path: v.numpy() for v in trunk.objective.network.variables}
    branch = phase(
        source,
        'tune',
        1,
        objective=trunk.objective,
        start_from='train',
        treatment={'network': Treatment('classifier', 'last')},
    )
    trainer.run(branch)
    moved = {
        v.path
        for v in trunk.objective.network.variables
        if not np.array_equal(v.numpy(), before[v.path])
    }
    assert moved == {
        'classifier/kernel',
        'classifier/bias',
        'norm2/moving_mean',
        'norm2/moving_variance',
    }
    other = phase(source, 'other', 0, objective=trunk.objective, start_from='train')
    trainer.run(other)
    assert {
        v.path
        for v in trunk.objective.network.variables
        if not np.array_equal(v.numpy(), before[v.path])
    } == set()


@pytest.mark.parametrize('size', [1, 15, 16, 17, 70])
def test_evaluation_counts_every_example_once(tmp_path, source, size):
    few = source.take(np.arange(size))
    batches = Batches(few, preprocessing.parse('resize(24)', 24), 16)
    model = network()
    score = new_trainer(tmp_path).score(Classification(model), batches)
    images = np.stack([batches.preprocessing(few.read(i)).numpy() for i in range(size)])
    logits = model(images, training=False).numpy()
    assert score.examples == size
    assert score.top1 == pytest.approx((logits.argmax(1) == few.labels).mean())
    right = logits[np.arange(size), few.labels]
    expected = (np.log(np.exp(logits).sum(1)) - right).mean()
    assert score.loss == pytest.approx(expected, abs=1e-4)


def test_no_retracing_after_the_first_call(tmp_path, source):
    state = TrainingState(
        phase(source), new_trainer(tmp_path).folder, tf.distribute.get_strategy(), False
    )
    iterator = iter(new_trainer(tmp_path)._training_data(phase(source), 0))
    for count in (1, 2, 3):
        state.train(iterator, tf.constant(count))
    assert state.train.experimental_get_tracing_count() == 1


def test_the_network_is_saved_with_its_preprocessing_and_classes(tmp_path, source):
    done = phase(source, epochs=1)
    new_trainer(tmp_path).run(done)
    folder = tmp_path / 'phases' / 'train'
    inputs = json.loads((folder / 'inputs.json').read_text())
    assert inputs == {
        'preprocessing': 'resize(24)',
        'resolution': 24,
        'class_names': list(source.class_names),
    }
    pixels = np.zeros((1, 24, 24, 3), np.uint8)
    loaded = trainer_module.checkpoints.load_model(folder / 'network.keras')
    np.testing.assert_array_equal(loaded(pixels), done.objective.network(pixels))


@pytest.mark.parametrize('precision', ['mixed_bfloat16', 'mixed_float16'])
def test_mixed_precision_resumes_to_the_bit(tmp_path, monkeypatch, source, precision):
    keras.config.set_dtype_policy(precision)
    try:
        whole = phase(source, epochs=1)
        new_trainer(tmp_path / 'whole').run(whole)
        with monkeypatch.context() as patch, pytest.raises(Killed):
            kill_at(patch, trainer_module.Trainer, '_advance', 2)
            new_trainer(tmp_path, checkpoint_minutes=0).run(phase(source, epochs=1))
        again = phase(source, epochs=1)
        new_trainer(tmp_path).run(again)
    finally:
        keras.config.set_dtype_policy('float32')
    assert_equal(weights(again), weights(whole))
    assert all(np.isfinite(values).all() for values in weights(again))


def test_the_best_network_is_kept_beside_the_last(tmp_path, monkeypatch, source):
    """With kills before and after it is written; scores are made up, 0.5 is the best."""
    made_up = {5: 0.3, 10: 0.5, 15: 0.4, 20: 0.1}
    kept = {}

    def score(self, objective, batches):
        step = kept['state'].step
        weights_then = [variable.numpy() for variable in objective.network.variables]
        kept.setdefault(step, weights_then)
        assert_equal(kept[step], weights_then)
        return trainer_module.Evaluation(1, 0.0, made_up[step], 0.0, 0.0)

    original = TrainingState.__init__

    def remember(self, *args, **kwargs):
        original(self, *args, **kwargs)
        kept['state'] = self

    monkeypatch.setattr(Trainer, 'score', score)
    monkeypatch.setattr(TrainingState, '__init__', remember)
    sixteen = source.take(np.arange(16))  # an epoch is a step

    def run():
        whole = phase(sixteen, epochs=20, evaluate_every=5)
        new_trainer(tmp_path, checkpoint_steps=4, best_metric='top1').run(whole)
        return whole

    for name, call in [('_advance', 5), ('_validate', 2), ('_finish', 1)]:
        with monkeypatch.context() as patch, pytest.raises(Killed):
            kill_at(patch, Trainer, name, call)
            run()
    last = weights(run())
    folder = tmp_path / 'phases' / 'train'
    load = trainer_module.checkpoints.load_model
    assert_equal([v.numpy() for v in load(folder / 'best_network.keras').variables], kept[10])
    assert_equal([v.numpy() for v in load(folder / 'network.keras').variables], last)
    assert_equal(last, kept[20])


def test_compiled_steps_give_the_same_losses(tmp_path, source):
    for name, xla in (('plain', False), ('compiled', True)):
        new_trainer(tmp_path / name, xla=xla).run(phase(source, epochs=1))
    plain, compiled = (
        [line['loss'] for line in read_metrics(tmp_path / name)] for name in ('plain', 'compiled')
    )
    assert plain == pytest.approx(compiled, rel=1e-4)


@pytest.mark.slow
def test_two_devices_resume_to_the_bit(tmp_path, monkeypatch, source, two_devices):
    """Local batch norm: each replica's moving statistics, too, have to go on as they were."""

    def run(folder, kill=None):
        with two_devices.scope():
            objective = Classification(network())
        whole = phase(source, objective=objective)
        trainer = Trainer(folder, two_devices, steps_per_call=3, checkpoint_minutes=0)
        if kill is None:
            trainer.run(whole)
            return weights(whole)
        with monkeypatch.context() as patch, pytest.raises(Killed):
            kill_at(patch, Trainer, '_advance', kill)
            trainer.run(whole)
        return None

    expected = run(tmp_path / 'whole')
    run(tmp_path / 'killed', kill=3)
    assert_equal(run(tmp_path / 'killed'), expected)


def test_the_step_that_traces_is_counted_as_the_others(tmp_path, monkeypatch, source):
    """By a clock that goes on by a minute at the first call, and by a second for each step."""
    state = TrainingState(
        phase(source), new_trainer(tmp_path).folder, tf.distribute.get_strategy(), False
    )
    clock, asked = [0.0], []

    def train(iterator, count):
        count = int(count)
        clock[0] += count + (60 if not asked else 0)
        asked.append(count)
        return {'loss': tf.fill([count], float(len(asked)))}, tf.constant(count / 4, tf.float64)

    monkeypatch.setattr(state_module.time, 'monotonic', lambda: clock[0])
    state.train, state.synchronize = train, lambda: None
    history, waited, seconds = state.make_steps(None, 5)
    assert (asked, waited, seconds) == ([1, 4], 1.25, 5)
    assert history['loss'].tolist() == [1, 2, 2, 2, 2]
    assert state.make_steps(None, 3)[1:] == (0.75, 3)
    assert asked == [1, 4, 3]


def test_nothing_is_saved_that_a_changed_frozen_network_taught(tmp_path, monkeypatch, source):
    teacher = network()
    distilled = phase(
        source,
        epochs=1,
        objective=Distillation(network(), teacher, 1.0),
        treatment={'teacher': FROZEN},
        validation=None,
    )
    original = Trainer._advance

    def meddling(*args):
        teacher.layers[-1].bias.assign_add(tf.ones(14))
        return original(*args)

    monkeypatch.setattr(Trainer, '_advance', meddling)
    with pytest.raises(InputError, match='the teacher is not the one that this phase began with'):
        new_trainer(tmp_path).run(distilled)
    assert new_trainer(tmp_path).result('train') is None
    assert not list((tmp_path / 'phases/train').glob('checkpoints/*'))


def test_a_layer_whose_random_numbers_are_in_no_checkpoint_is_refused(tmp_path, source):
    pixels = keras.Input((None, None, 3), dtype='uint8')
    x = keras.layers.GlobalAveragePooling2D()(layers.PixelScaling('unit')(pixels))
    x = keras.layers.Dropout(0.5, name='hidden')(x)
    logits = keras.layers.Dense(14)(x)
    trained = phase(source, objective=Classification(keras.Model(pixels, logits)))
    with pytest.raises(InputError, match=r'hidden \(Dropout\) are in no checkpoint'):
        new_trainer(tmp_path).run(trained)


@pytest.mark.parametrize(
    ('epochs', 'every', 'steps_per_epoch', 'accumulate'),
    [
        *[(9, 3, 703.125, 1), (30, 5, 187.5, 1), (3, 1, 4.375, 1), (2.5, 1, 3, 1)],
        *[(110, 1, 1241.37, 4), (5, 1, 4.2, 16), (10, 1, 2, 8)],
    ],
)
def test_validations_are_behind_whole_stretches_and_at_the_end_once(
    epochs, every, steps_per_epoch, accumulate
):
    data = types.SimpleNamespace(steps_per_epoch=steps_per_epoch)
    optimizer = Optimizer(accumulate=accumulate)
    validation = {'validation': 'any', 'evaluate_every': every}
    planned = Phase('train', None, data, epochs, optimizer, None, **validation)
    found = sorted(planned.evaluation_steps)
    assert len(found) == math.ceil(epochs / every)
    assert found[-1] == planned.steps
    for number, step in enumerate(found[:-1], 1):
        assert step - 1 < number * every * steps_per_epoch <= step
