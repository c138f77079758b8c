"""Flags of optimizers and schedules: what they become, what is refused, a run with all of them."""

import json
import subprocess
import sys

import pytest

# One process for all command lines: each takes seconds to start.
READ = """
import json, sys
from absl import flags
from absl.testing import flagsaver
from tfnets.errors import InputError
from tfnets.launchers import checks, common_flags, objects

common_flags.define_course('', 'Training', 60.0, 0.1)
common_flags.define_course('late_', 'Later', 60.0, 0.1)
answers = []
for line in json.load(sys.stdin):
    with flagsaver.flagsaver():
        flags.FLAGS(['launcher', *line.split()])
        try:
            checks.course('')
            checks.course('late_')
            answers.append(f'{objects.schedule()!r} | {objects.optimizer()!r}')
        except InputError as error:
            answers.append(str(error))
print(json.dumps(answers))
"""

OPTIMIZER = (
    "Optimizer(name='sgd', momentum=0.9, nesterov=False, weight_decay=0.0, decayed_roles="
    "('kernel', 'bias', 'scale', 'offset', 'other'), clip_norm=0.0, accumulate=1, ema=0.0)"
)
UNDERSTOOD = {
    '': f'Cosine(base=0.1, warmup=0.0) | {OPTIMIZER}',
    '--schedule=constant --warmup_epochs=5': f'Constant(base=0.1, warmup=5.0) | {OPTIMIZER}',
    '--schedule=cosine_per_epoch': f'CosinePerEpoch(base=0.1, warmup=0.0) | {OPTIMIZER}',
    '--schedule=steps --drop_every=20': 'Steps(base=0.1, warmup=0.0, factor=0.1, every=20.0, '
    'at=()) | ' + OPTIMIZER,
    '--schedule=wave': 'Wave(base=0.1, warmup=0.0, lowest=1e-05, half=5.0, later=None) | '
    + OPTIMIZER,
    '--schedule=wave --wave_epochs=4 --wave_lowest=1e-4 --wave_later=48:1e-7': 'Wave(base=0.1, '
    f'warmup=0.0, lowest=0.0001, half=4.0, later=(48.0, 1e-07)) | {OPTIMIZER}',
    '--schedule=plateau': 'Plateau(base=0.1, warmup=0.0, factor=0.1, patience=10, '
    f"threshold=0.0001, metric='top1') | {OPTIMIZER}",
    '--schedule=plateau --drop_factor=0.5 --plateau_patience=3 --plateau_threshold=0.01 '
    '--plateau_metric=loss': 'Plateau(base=0.1, warmup=0.0, factor=0.5, patience=3, '
    f"threshold=0.01, metric='loss') | {OPTIMIZER}",
    '--optimizer=adamw --weight_decay=0.05 --decayed=kernels --clip_norm=1 --accumulate=4 '
    '--ema=0.9999': "Cosine(base=0.1, warmup=0.0) | Optimizer(name='adamw', momentum=0.9, "
    "nesterov=False, weight_decay=0.05, decayed_roles=('kernel',), clip_norm=1.0, accumulate=4, "
    'ema=0.9999)',
    # As a run's own flags.cfg has it: what is as by default belongs anywhere.
    '--drop_every=30.0 --drop_factor=0.1': f'Cosine(base=0.1, warmup=0.0) | {OPTIMIZER}',
}
REFUSED = {
    '--drop_every=20': '--drop_every=20.0: belongs to --schedule=steps, got cosine; leave it out',
    '--schedule=wave --drop_factor=0.5': 'belongs to --schedule=steps and plateau, got wave',
    '--late_plateau_metric=top1': '--late_plateau_metric=top1: belongs to --late_schedule=plateau',
    '--schedule=wave --wave_later=50': '--wave_later=50: expected an epoch and a learning rate',
    '--schedule=wave --wave_later=50:nan': 'expected an epoch and a learning rate',
    '--schedule=plateau --drop_factor=2': '--drop_factor=2.0: expected between 0 and 1',
    '--warmup_epochs=60 --schedule=steps': 'expected less than 60.0 epochs',
    '--ema=1': '--ema=1.0: expected less than 1',
}


@pytest.fixture(scope='module')
def answers():
    lines = [*UNDERSTOOD, *REFUSED]
    done = subprocess.run(
        [sys.executable, '-c', READ], input=json.dumps(lines), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return dict(zip(lines, json.loads(done.stdout), strict=True))


@pytest.mark.parametrize('line', UNDERSTOOD)
def test_flags_become_what_they_say(answers, line):
    assert answers[line] == UNDERSTOOD[line]


@pytest.mark.parametrize('line', REFUSED)
def test_what_does_not_belong_is_one_line(answers, line):
    assert REFUSED[line] in answers[line]
    assert '\n' not in answers[line]


@pytest.mark.slow
def test_a_run_with_all_of_them(launch, tmp_path, tiny):
    """And its flags.cfg is understood again: the run is then finished."""
    folder = tmp_path / 'run'
    done = launch(
        'fixres',
        *tiny,
        f'--run_dir={folder}',
        '--nocontrol',
        '--optimizer=adamw',
        '--learning_rate=0.01',
        '--weight_decay=0.05',
        '--decayed=kernels',
        '--clip_norm=1',
        '--accumulate=2',
        '--ema=0.9',
        '--mixup=0.2',
        '--cutmix=1',
        '--label_smoothing=0.1',
        '--evaluate_every=1',
        '--warmup_epochs=0.5',
        '--schedule=plateau',
        '--drop_factor=0.5',
        '--plateau_patience=0',
        '--plateau_threshold=1',
        '--finetune_schedule=wave',
        '--finetune_wave_epochs=1',
    )
    assert done.returncode == 0, done.stderr
    lines = map(json.loads, (folder / 'metrics.jsonl').read_text().splitlines())
    assert [line['step'] for line in lines if line['phase'] == 'train'][-1] == 8
    again = launch('fixres', f'--flagfile={folder}/flags.cfg')
    assert again.returncode == 0, again.stderr
    assert again.stdout == done.stdout
