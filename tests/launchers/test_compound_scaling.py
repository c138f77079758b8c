"""python -m tfnets.launchers.compound_scaling: plans, single trials, whole and killed stories."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time
import types

import pytest
from scaled_candidates import networks, scores

from tfnets.files import write_json
from tfnets.launchers import trial_runs
from tfnets.recipes import compound_scaling, ranking

FLAGS = pathlib.Path(__file__).parents[2] / 'flags' / 'compound_scaling'
SIX = '1.2:1.05:1.23,1.2:1.23:1.05,1.4:1.02:1.17,1.4:1.05:1.14,1.4:1.14:1.05,1.4:1.17:1.02'
TINY = [
    '--resolution=32',
    '--train_split=train[:57]',
    '--validation_split=validation',
    '--test_split=test[:57]',
    '--epochs=2',
    '--evaluate_every=1',
    '--batch_size=16',
    '--steps_per_call=2',
]


@pytest.mark.parametrize(
    ('flags', 'expected'),
    [
        (
            [f'--candidates={SIX}', '--num_classes=2', '--phi=7'],
            ['49,394', '53,715', '70,074', '63,251', '64,974', '75,536', '77,412', '136,061'],
        ),
        (
            [
                *('--mode=scale', '--model=efficientnet', '--num_classes=1000', '--phi=7'),
                *('--alpha=1.2', '--beta=1.1', '--gamma=1.15'),
            ],
            ['5,288,548', '9,109,994', '7,794,184', '66,347,960', '37,745.88'],
        ),
    ],
)
def test_a_dry_run_prints_what_it_costs_in_seconds(launch, tmp_path, flags, expected):
    done = launch('compound_scaling', *flags, '--dry_run', f'--run_dir={tmp_path}/run', timeout=10)
    assert done.returncode == 0, done.stderr
    for text in [*(f'| phi = {phi} |' for phi in range(8)), *expected]:
        assert text in done.stdout
    assert not (tmp_path / 'run').exists()


@pytest.mark.parametrize(
    ('flags', 'text'),
    [
        (['--mode=explore'], '--mode=explore: expected compare, search, scale'),
        (['--mode=search'], '--candidates: expected'),
        (['--mode=search', '--candidates=1.2:1.1'], '--candidates=1.2:1.1: expected alpha:beta'),
        (['--mode=search', '--candidates=2:2:2'], '--candidates: alpha * beta**2 * gamma**2 is 32'),
        (['--mode=search', f'--candidates={SIX},1.2:1.05:1.23'], 'one is named twice'),
        (['--mode=search', '--grid_step=0.9', '--tolerance=0.01'], 'has 0 candidates'),
        (['--mode=search', '--grid_step=0.1', f'--candidates={SIX}'], 'expected one of them'),
        (['--mode=search', f'--candidates={SIX}', '--halving=1'], '--halving=1'),
        (['--mode=scale', f'--candidates={SIX}'], '--phi: expected'),
        (['--mode=scale', '--phi=2', '--alpha=1.2'], 'expected all three'),
        (['--mode=scale', '--phi=2'], '--alpha, --beta, --gamma: expected them'),
        (['--mode=scale', '--phi=2', f'--candidates={SIX}'], 'the search in this folder is not'),
        (['--mode=compare', '--bases=mbconv_a,resnet50'], '--bases=resnet50: it has no compound'),
        (['--mode=compare', '--bases=mbconv_a,mbconv_a'], '--bases: mbconv_a is named twice'),
        (['--mode=compare', '--seeds=0,-1'], '--seeds=-1'),
        (['--mode=compare', '--seeds=2147483648'], '--seeds=2147483648: expected whole numbers'),
        (['--mode=compare', '--bases='], '--bases: expected the networks to compare'),
        (
            ['--mode=search', '--model=efficientnet_b0', f'--candidates={SIX}'],
            '--model=efficientnet_b0: nothing scales it; expected one of mbconv_a',
        ),
        (['--phi=5000', f'--candidates={SIX}', '--dry_run'], 'phi = 5000: a network so large'),
        (
            [
                *('--phi=2', f'--candidates={SIX}', '--then_fixres'),
                '--eval_preprocessing=resize_short_side(resolution + 8) | center_crop(resolution)',
            ],
            'write both as parts of `resolution`',
        ),
        (['--mode=compare', '--trial=6'], '--trial=6: --mode=compare has 3, 0 to 2'),
        (['--trial=0', '--phi=1', f'--candidates={SIX}'], 'of which --mode'),
        (
            ['--mode=search', '--trial=0', '--halving=3', f'--candidates={SIX}'],
            '--trial: --halving decides',
        ),
        (['--mode=compare', '--compare_epochs=1', '--warmup_epochs=1'], '1 epochs of compare'),
        (['--mode=compare', '--last_validations=9'], '--last_validations=9: compare has 8'),
        (['--mode=compare', '--stop_after_validations=1'], '--stop_after_validations: of one run'),
        (['--mode=compare', '--model=resnet50'], '--model=resnet50: it has no compound scaling'),
        (['--mode=compare', '--trial=0', '--overwrite'], '--overwrite, --trial: each job'),
        (
            ['--mode=scale', '--phi=2', f'--candidates={SIX}', '--overwrite'],
            '--overwrite, --mode=scale: it would delete a search',
        ),
    ],
)
def test_bad_input_is_one_clear_line_and_leaves_nothing(launch, tmp_path, flags, text):
    refused = launch('compound_scaling', f'--run_dir={tmp_path}/run', *flags, timeout=10)
    assert refused.returncode == 2, refused.stderr
    assert text in refused.stderr
    assert refused.stderr.startswith('error: ')
    assert refused.stderr.count('\n') == 1
    assert not (tmp_path / 'run').exists()


def test_without_bases_a_dry_run_begins_with_the_search(launch, tmp_path):
    flags = ['--bases=', f'--candidates={SIX}', '--phi=2', '--num_classes=2', '--dry_run']
    # Without FixRes a preprocessing may show objects at one size.
    flags += ['--train_preprocessing=@cifar_train', '--eval_preprocessing=@cifar_eval']
    done = launch('compound_scaling', *flags, f'--run_dir={tmp_path}/run')
    assert done.returncode == 0, done.stderr
    assert 'search: 6 trials' in done.stdout and 'compare:' not in done.stdout


@pytest.mark.slow
def test_one_trial_is_an_ordinary_run(launch, tmp_path):
    flags = [*TINY, '--mode=compare', f'--run_dir={tmp_path}/run', '--seeds=3,4', '--trial=5']
    flags.append(f'--log_file={tmp_path}/log.txt')
    done = launch('compound_scaling', *flags)
    assert done.returncode == 0, done.stderr
    assert 'compare.mbconv_c.seed4: top-1' in done.stdout
    assert 'train: step' not in (tmp_path / 'log.txt').read_text()  # a trial has a log of its own
    (trial,) = (tmp_path / 'run' / 'trials').iterdir()
    report = json.loads((trial / 'report.json').read_text())
    assert report['results'] == []  # the test split is left alone
    run = json.loads((trial / 'run.json').read_text())
    assert run['launcher'] == 'classification'
    flags_of_trial = {
        name: run['flags'][name] for name in ('model', 'seed', 'epochs', 'resolution')
    }
    assert flags_of_trial == {
        **{'model': 'mbconv_c', 'seed': '4'},
        **{'epochs': '2.0', 'resolution': '32'},
    }
    again = launch('compound_scaling', *flags)
    assert (again.returncode, again.stdout) == (0, done.stdout)
    scored = launch('evaluate', f'--run_dir={trial}', '--split=validation')
    assert scored.returncode == 0, scored.stderr
    cells = ' '.join(scored.stdout.split())  # without the padding
    assert f'| 32 | {100 * report["validation"]["top1"]:.2f} ±' in cells
    # The flags of the whole are in its own flags.cfg.
    assert '--trial=' not in (tmp_path / 'run' / 'flags.cfg').read_text()
    other = launch('compound_scaling', *flags, '--learning_rate=1')
    assert other.returncode == 2
    assert '--learning_rate was 0.001, is 1.0' in other.stderr
    longer = launch('compound_scaling', *flags, '--compare_epochs=7')
    assert longer.returncode == 2
    assert 'compare.mbconv_c.seed4: a trial of' in longer.stderr


def test_classes_are_those_of_a_trial_that_was_finished(tmp_path, monkeypatch):
    """The best of a rung may not be: it stops there where a later rung leaves it out."""
    monkeypatch.setattr(trial_runs, 'FLAGS', types.SimpleNamespace(num_classes=0))
    left_out, kept = networks(2)
    scored = {network: scores(0.9 - n / 10) for n, network in enumerate((left_out, kept))}
    stages = [
        compound_scaling.Stage(name, 1.0, ranking.rank(standing), {})
        for name, standing in {'rung': scored, 'search': {kept: scored[kept]}}.items()
    ]
    runs = trial_runs.TrialRuns(tmp_path, None)
    (trial,) = stages[-1].trials_of(stages[-1].best)
    write_json(runs.folder(trial) / 'inputs.json', {'class_names': ['cat', 'dog', 'horse']})
    assert runs.num_classes({'search': stages}) == 3


# ----------------------------------------------------------------------------- whole stories


def start(folder, *flags):
    command = [sys.executable, '-m', 'tfnets.launchers.compound_scaling', *TINY, *flags]
    return subprocess.Popen(
        [*command, f'--run_dir={folder}'],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, 'CUDA_VISIBLE_DEVICES': ''},
    )


def table(folder):
    """All of a report but how long it took, where and when."""
    report = json.loads((folder / 'report.json').read_text())
    del report['run'], report['fixres']
    for stage in report['stages']:
        for standing in stage['standings']:
            del standing['minutes']
    return report


def starts(folder):
    """How often each trial was started."""
    return {
        path.parent.name: len(json.loads(path.read_text())['starts'])
        for path in folder.glob('trials/*/run.json')
    }


COMPARE = ['--mode=compare', '--bases=mbconv_a,mbconv_c', '--seeds=0,1', '--epochs=12']


@pytest.mark.slow
def test_killed_and_shared_it_repeats_no_finished_trial_and_ends_with_the_same_table(tmp_path):
    whole = start(tmp_path / 'whole', *COMPARE)
    assert whole.wait(600) == 0, whole.stderr.read()
    trained_and_tested = starts(tmp_path / 'whole')
    assert len(trained_and_tested) == 4

    folder = tmp_path / 'killed'
    killed = start(folder, *COMPARE)
    second = folder / 'trials' / 'compare.mbconv_c.seed0' / 'run.json'
    while not second.exists():
        assert killed.poll() is None
        time.sleep(0.05)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert not second.with_name('report.md').exists()

    # It goes on, and another launcher, as of another host, takes a share.
    both = [start(folder, *COMPARE) for _ in range(2)]
    for one in both:
        assert one.wait(600) == 0, one.stderr.read()
    assert table(folder) == table(tmp_path / 'whole')
    trained_and_tested['compare.mbconv_c.seed0'] += 1
    assert starts(folder) == trained_and_tested


@pytest.mark.slow
def test_sigterm_reaches_the_trials_and_has_a_code_of_its_own(tmp_path):
    folder = tmp_path / 'run'
    process = start(folder, *COMPARE, '--trials_at_once=2', '--epochs=400')
    while sum('images/s' in path.read_text() for path in folder.glob('logs/*.txt')) < 2:
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 75
    assert len(list(folder.glob('trials/*/phases/train/checkpoints/step-*.index'))) == 2


@pytest.mark.slow
def test_the_whole_story_with_a_trial_that_fails(launch, tmp_path):
    folder = tmp_path / 'run'
    flags = [
        *(*TINY, f'--run_dir={folder}', '--trials_at_once=2'),
        *('--bases=mbconv_a,mbconv_c', '--candidates=1.2:1.05:1.23,1.4:1.05:1.14', '--phi=1.5'),
        *('--halving=2', '--then_fixres', '--tune=all', '--nocontrol'),
        *('--test_resolution=48', '--finetune_epochs=1'),
    ]
    one = launch('compound_scaling', *flags, '--mode=compare', '--trial=1')
    assert one.returncode == 0, one.stderr
    broken = folder / 'trials' / 'compare.mbconv_a.seed0'
    broken.mkdir()
    (broken / 'precious').touch()
    told = launch('compound_scaling', *flags)
    assert told.returncode == 1
    assert 'compare.mbconv_a.seed0: exit code 2: error: --run_dir=' in told.stderr
    assert told.stderr.splitlines()[-1].startswith('error: compare.mbconv_a.seed0: ')
    report = json.loads((folder / 'report.json').read_text())
    assert list(report['stages'][0]['failed']) == ['compare.mbconv_a.seed0']
    stages = {stage['stage']: len(stage['standings']) for stage in report['stages']}
    assert stages == {'compare': 1, 'rung': 2, 'search': 1, 'scale': 1}
    assert [row['examples'] for row in report['test']] == [57] * 3
    (fixres,) = report['fixres'].values()
    tuned = json.loads((pathlib.Path(fixres) / 'report.json').read_text())
    assert tuned['deployed'] == 'finetune_all'
    # It begins with the scaled network as it is.
    (scaled,) = (row for row in report['test'] if row['trial'].startswith('scale.'))
    before = next(row for row in tuned['results'] if row['phase'] == 'train')
    assert (before['top1'], before['resolution']) == (scaled['top1'], scaled['resolution'])
    text = (folder / 'report.md').read_text()
    assert text in told.stdout
    for name in ('accuracy_by_macs', 'curves_compare', 'curves_search', 'curves_scale'):
        assert (folder / f'{name}.png').read_bytes().startswith(b'\x89PNG')
        assert f']({name}.png)' in text

    # What was not asked for again stays in the report: failures, and what FixRes made of it.
    again = launch('compound_scaling', *flags, '--mode=search')
    assert again.returncode == 0, again.stderr
    read = json.loads((folder / 'report.json').read_text())
    assert read['fixres'] == report['fixres']
    assert [stage['failed'] for stage in read['stages']] == [
        stage['failed'] for stage in report['stages']
    ]
    assert '--mode=search' in (folder / 'flags.cfg').read_text().splitlines()

    other = launch('compound_scaling', *flags, '--mode=scale', '--finetune_epochs=2')
    assert other.returncode == 2
    assert 'fine-tuned with --finetune_epochs=1.0, asked for 2.0' in other.stderr

    before = starts(folder)
    (broken / 'precious').unlink()
    mended = launch('compound_scaling', *flags)
    assert mended.returncode == 0, mended.stderr
    after = starts(folder)
    del after['compare.mbconv_a.seed0']
    assert after == before
