"""The launcher wide_to_thin: whole, in parts, and what it refuses."""

import json
import pathlib
import shutil

import pytest

from tfnets.data.presets import PRESETS

SAMPLE = pathlib.Path(__file__).parents[2] / 'flags' / 'wide_to_thin' / 'sample.cfg'
TINY = [
    f'--flagfile={SAMPLE}',
    '--resolution=16',
    '--batch_size=16',
    '--train_split=train[:32]',
    '--validation_split=validation[:20]',
    '--test_split=test[:33]',
    '--teacher_epochs=1',
    '--imitation_epochs=1',
    '--distillation_epochs=1',
    *(f'--{stage}_warmup_epochs=0' for stage in ('teacher', 'imitation', 'distillation', 'alone')),
    '--evaluate_every=1',
    '--steps_per_call=2',
]


@pytest.fixture(scope='module')
def finished(launch, tmp_path_factory):
    folder = tmp_path_factory.mktemp('wide_to_thin') / 'run'
    done = launch('wide_to_thin', *TINY, '--nobaseline', f'--run_dir={folder}')
    assert done.returncode == 0, done.stderr
    return folder, done


def test_a_whole_run_writes_its_report(finished):
    folder, done = finished
    report = json.loads((folder / 'report.json').read_text())
    assert [(row['arm'], row['epochs']) for row in report['rows']] == [
        ('teacher', 1),
        ('student', 4),
    ]
    assert all(row['examples'] == 33 for row in report['rows'])
    assert [stage['stage'] for stage in report['imitated']] == [1, 2, 3]
    assert report['deployed'] == 'distill.seed0'
    assert (folder / 'report.md').read_text() in done.stdout
    assert '| top-5 (%) |' in ' '.join(done.stdout.split())  # of 14 classes
    for name in ('loss_by_epoch.png', 'accuracy_by_epoch.png'):
        assert (folder / name).read_bytes().startswith(b'\x89PNG')


def test_evaluate_gives_the_students_number(finished, launch, tmp_path):
    folder, _ = finished
    done = launch('evaluate', f'--run_dir={folder}', f'--output={tmp_path}/scores.json')
    assert done.returncode == 0, done.stderr
    scores = json.loads((tmp_path / 'scores.json').read_text())
    report = json.loads((folder / 'report.json').read_text())
    assert scores['phase'] == 'distill.seed0'
    assert scores['results'][0]['top1'] == report['rows'][1]['top1']


def test_a_run_goes_on_with_the_text_of_a_preprocessing_that_was_named(finished, launch):
    folder, first = finished
    text = f'--eval_preprocessing={PRESETS["cats_vs_dogs_eval"]}'
    again = launch('wide_to_thin', *TINY, '--nobaseline', text, f'--run_dir={folder}')
    assert again.stdout == first.stdout


@pytest.mark.slow
def test_a_phase_alone_with_a_teacher_that_is_given(finished, launch, tmp_path):
    folder, _ = finished
    weights = shutil.copy(folder / 'phases' / 'teacher' / 'network.keras', tmp_path)
    flags = [
        '--nobaseline',
        '--teacher_epochs=0',
        f'--teacher_weights={weights}',
        '--distillation_epochs=0',
        f'--run_dir={tmp_path}/run',
    ]
    done = launch('wide_to_thin', *TINY, *flags)
    assert done.returncode == 0, done.stderr
    first, second = (
        json.loads((run / 'report.json').read_text()) for run in (folder, tmp_path / 'run')
    )
    assert second['imitated'] == first['imitated']
    assert [row['epochs'] for row in second['rows']] == [0, 3]
    assert second['rows'][0]['top1'] == first['rows'][0]['top1']
    # The run has the teacher in it, and needs the file no more.
    pathlib.Path(weights).unlink()
    again = launch('wide_to_thin', *TINY, *flags, '--student_seeds=0,1')
    assert again.returncode == 0, again.stderr


@pytest.mark.slow
def test_baselines_and_seeds_may_come_later(launch, tmp_path):
    # The first one's seed stays; how the networks alone are trained is chosen when they come.
    folder, added = tmp_path / 'run', ['--baseline', '--student_seeds=5,6']
    for flags in (['--nobaseline', '--alone_ema=0.9'], [*added, '--alone_learning_rate=0.05']):
        done = launch('wide_to_thin', *TINY, *flags, f'--run_dir={folder}')
        assert done.returncode == 0, done.stderr
    written = (folder / 'flags.cfg').read_text().splitlines()
    assert {'--student_seeds=0,5,6', '--baseline=true', '--alone_learning_rate=0.05'} <= {*written}
    again = launch('wide_to_thin', f'--flagfile={folder}/flags.cfg')
    assert again.stdout == done.stdout
    refused = launch('wide_to_thin', *TINY, *added, f'--run_dir={folder}')
    assert '--alone_learning_rate was 0.05, is 0.003' in refused.stderr
    report = json.loads((folder / 'report.json').read_text())
    assert len(report['rows']) == 1 + 3 * 4
    assert {one['baseline'] for one in report['comparisons']} == {
        'alone',
        'alone_as_long',
        'distilled',
    }
    assert 'told apart' in done.stdout


@pytest.mark.parametrize(
    ('flags', 'text'),
    [
        (['--teacher='], '--teacher: expected the wide network'),
        (['--teacher=resnet50:wide=4'], '--teacher=resnet50:wide=4: expected NAME:option=value'),
        (['--teacher_epochs=0'], '--teacher_epochs=0: the teacher has no trained classifier'),
        (['--teacher_new_head'], '--teacher_new_head: there are no --teacher_weights'),
        (
            ['--distilled_learning_rate=0.1', '--imitation_epochs=0'],
            '--distilled_learning_rate: of what is distilled without imitation',
        ),
        (['--teacher_weights=none.h5'], '--teacher_weights=none.h5: there is no such file'),
        (['--student_seeds=1,x'], '--student_seeds=x: expected whole numbers'),
        (['--student_seeds=2147483648'], 'expected whole numbers, 0 to 2147483647'),
        (
            ['--baseline', '--distillation_schedule=steps'],
            '--baseline, --distillation_schedule=steps: that training has a length of its own',
        ),
        (
            ['--baseline', '--alone_warmup_epochs=4'],
            '--alone_warmup_epochs=4: expected less than the 4 epochs that a baseline',
        ),
        (
            ['--imitation_epochs=0', '--distillation_epochs=0'],
            'all are 0, so that the thin network is not trained',
        ),
        (['--teacher=resnet14:stem=cifar'], 'cifar_resnet20 has 3 stages, its teacher 4'),
    ],
)
def test_bad_input_is_one_clear_line_and_leaves_nothing(launch, tmp_path, flags, text):
    refused = launch('wide_to_thin', *TINY, f'--run_dir={tmp_path}/run', *flags)
    assert refused.returncode == 2
    assert text in refused.stderr
    assert refused.stderr.count('\n') == 1
    assert not (tmp_path / 'run').exists()
