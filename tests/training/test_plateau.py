"""A learning rate that waits for a metric: by hand, against torch, and in a run."""

import os
import signal

import numpy as np
import pytest
from small_runs import Killed, kill_at, new_trainer, phase

from tfnets.data import sources
from tfnets.errors import Preempted
from tfnets.training.evaluation import Evaluation
from tfnets.training.plateau import History
from tfnets.training.record import read_metrics
from tfnets.training.schedules import Plateau
from tfnets.training.trainer import Trainer


def scales(schedule, values, strategy):
    history = History(schedule, strategy)
    found = []
    for value in values:
        history.note(value, len(found))
        found.append(float(history.scale.numpy()))
    return found


def test_accuracy_has_to_rise_by_a_share_of_the_best(one_device):
    """More than 0.55 is better than 0.5; the third validation in a row that is not, is too many."""
    accuracies = [0.5, 0.54, 0.56, 0.56, 0.61, 0.55, 0.6, 0.63, 0.6, 0.6, 0.6]
    schedule = Plateau(1.0, 0.5, 2, 0.1)
    assert scales(schedule, accuracies, one_device) == [*[1.0] * 5, *[0.5] * 5, 0.25]


def test_a_loss_has_to_fall_by_a_share_of_the_best(one_device):
    losses = [2.0, 1.81, 1.79, 1.7, 1.6]
    schedule = Plateau(1.0, 0.5, 0, 0.1, 'loss')
    assert scales(schedule, losses, one_device) == [1.0, 0.5, 0.5, 0.25, 0.25]


@pytest.mark.parametrize(('metric', 'mode'), [('top1', 'max'), ('loss', 'min')])
def test_it_is_torchs(one_device, metric, mode):
    torch = pytest.importorskip('torch')
    values = np.random.default_rng(0).uniform(0.4, 0.6, 60).tolist()
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    reference = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, mode, factor=0.5, patience=3, threshold=0.01
    )
    expected = []
    for value in values:
        reference.step(value)
        expected.append(optimizer.param_groups[0]['lr'])
    assert expected[-1] < 1e-2
    assert scales(Plateau(1.0, 0.5, 3, 0.01, metric), values, one_device) == expected


def test_the_record_shows_it_and_a_run_that_goes_on_has_not_forgotten(tmp_path, monkeypatch):
    """Accuracies are made up: the second and the third are no better than the first."""
    made_up = {4: 0.5, 8: 0.5, 12: 0.4, 16: 0.6}
    source = sources.load('sample', 'test').take(np.arange(32))
    schedule = Plateau(0.01, 0.5, 1, 0.1, warmup=1)
    seen = {}

    def score(self, objective, batches):
        return Evaluation(1, 1.0, made_up[seen['step']], 0.0, 0.0)

    advance = Trainer._advance

    def noted_advance(trainer, phase, state, iterator):
        numbers = advance(trainer, phase, state, iterator)
        seen['step'] = state.step
        return numbers

    monkeypatch.setattr(Trainer, 'score', score)
    monkeypatch.setattr(Trainer, '_advance', noted_advance)

    def run():
        whole = phase(source, epochs=8, schedule=schedule, evaluate_every=2)
        new_trainer(tmp_path, steps_per_call=2, checkpoint_minutes=0).run(whole)

    for call in (6, 2):  # behind the second validation, and behind the third
        with monkeypatch.context() as patch, pytest.raises(Killed):
            kill_at(patch, Trainer, '_advance', call)
            run()
    run()
    rates = {
        line['step']: line['learning_rate']
        for line in read_metrics(tmp_path)
        if line['split'] == 'train'
    }
    assert rates == {2: 0.005, **dict.fromkeys([4, 6, 8, 10, 12], 0.01), 14: 0.005, 16: 0.005}


def test_a_validation_that_a_start_began_with_is_not_forgotten(tmp_path, monkeypatch, preemptible):
    """Asked to end where it should have validated, then killed behind that, before it saved."""
    source = sources.load('sample', 'test').take(np.arange(32))
    as_before = Evaluation(1, 1.0, 0.5, 0.0, 0.0)
    monkeypatch.setattr(Trainer, 'score', lambda *_: as_before)
    advance = Trainer._advance

    def interrupted_advance(trainer, phase, state, iterator):
        if state.step == 6:
            os.kill(os.getpid(), signal.SIGTERM)
        return advance(trainer, phase, state, iterator)

    def run():
        schedule = Plateau(0.01, 0.5, 0, 0.1)
        whole = phase(source, epochs=6, schedule=schedule, evaluate_every=2)
        new_trainer(tmp_path, steps_per_call=2).run(whole)

    with monkeypatch.context() as patch, pytest.raises(Preempted, match='step 8 of 12'):
        patch.setattr(Trainer, '_advance', interrupted_advance)
        run()
    with monkeypatch.context() as patch, pytest.raises(Killed):
        kill_at(patch, Trainer, '_advance', 1)
        run()
    run()
    lines = read_metrics(tmp_path)
    assert [line['step'] for line in lines if line['split'] == 'validation'] == [4, 8, 12]
    rates = [line['learning_rate'] for line in lines if line['split'] == 'train']
    assert rates == [0.01] * 4 + [0.005] * 2


def test_there_has_to_be_a_validation(tmp_path):
    source = sources.load('sample', 'test').take(np.arange(32))
    with pytest.raises(ValueError, match='plateau'):
        new_trainer(tmp_path).run(phase(source, schedule=Plateau(0.01), validation=None))
