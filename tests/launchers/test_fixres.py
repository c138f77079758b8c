"""python -m tfnets.launchers.fixres and evaluate, whole, and what they refuse."""

import json
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

FLAGS = pathlib.Path(__file__).parents[2] / 'flags'
README = FLAGS.parent / 'README.md'


@pytest.fixture(scope='module')
def finished(tmp_path_factory, launch, tiny):
    folder = tmp_path_factory.mktemp('fixres') / 'run'
    done = launch('fixres', *tiny, f'--run_dir={folder}', '--tune=classifier_and_last_bn,all')
    assert done.returncode == 0, done.stderr
    return folder, done


def test_a_whole_run_writes_its_report(finished):
    folder, done = finished
    report = json.loads((folder / 'report.json').read_text())
    names = [row['name'][:3] for row in report['results']]
    assert set(names) == {'(a)', '(b)', '(c)', '(d)'}
    assert all(row['examples'] == 57 for row in report['results'])
    assert {'name', 'top1', 'loss', 'resolution', 'examples', 'minutes'} <= set(
        report['results'][0]
    )
    assert (folder / 'report.md').read_text() in done.stdout
    assert '| top-5 (%) |' in ' '.join(done.stdout.split())  # of 14 classes
    assert (folder / 'accuracy_by_resolution.png').read_bytes().startswith(b'\x89PNG')


def test_the_run_folder_explains_itself(finished):
    folder, _ = finished
    run = json.loads((folder / 'run.json').read_text())
    assert run['trainable_parameters'] == 50_252
    assert 0.5e6 < run['multiply_adds'] < 2e6
    assert {'tensorflow', 'keras', 'tfnets', 'python', 'revision'} <= set(run['starts'][0])
    assert (folder / 'model.keras').exists()
    assert list((folder / 'tensorboard' / 'train').glob('*/events.*'))
    lines = (folder / 'metrics.jsonl').read_text().splitlines()
    assert {'loss', 'top1', 'learning_rate', 'images_per_second', 'input_wait'} <= set(
        json.loads(lines[0])
    )


def test_a_finished_run_prints_its_report_again(finished, launch):
    folder, first = finished
    again = launch('fixres', f'--flagfile={folder}/flags.cfg')
    assert again.returncode == 0
    assert again.stdout == first.stdout


def test_other_flags_on_the_same_run_are_refused_by_name(finished, launch):
    folder, _ = finished
    refused = launch('fixres', f'--flagfile={folder}/flags.cfg', '--epochs=3', '--seed=4')
    assert refused.returncode == 2
    assert '--epochs was 2.0, is 3.0; --seed was 0, is 4' in refused.stderr
    assert '--overwrite' in refused.stderr


def test_evaluate_gives_the_reports_numbers(finished, launch, tmp_path):
    folder, _ = finished
    report = json.loads((folder / 'report.json').read_text())
    chosen = report['resolutions']['chosen']
    output = tmp_path / 'scores.json'
    done = launch(
        'evaluate',
        f'--run_dir={folder}',
        '--phase=finetune_all',
        f'--output={output}',
    )
    assert done.returncode == 0, done.stderr
    (score,) = json.loads(output.read_text())['results']
    (row,) = (r for r in report['results'] if r['name'].startswith('(c) fine-tuned: all'))
    assert score['resolution'] == row['resolution'] == chosen
    assert (score['top1'], score['loss']) == (row['top1'], pytest.approx(row['loss'], abs=1e-5))


@pytest.mark.slow
def test_evaluate_scores_all_of_another_folder(launch, tmp_path, tiny, photos):
    flags = [flag for flag in tiny if '_split=' not in flag]
    trained = launch(
        'fixres', *flags, f'--dataset={photos}', f'--run_dir={tmp_path}/run', '--nocontrol'
    )
    assert trained.returncode == 0, trained.stderr
    assert '12 photos to train on, 12 for validation, 12 for the test' in trained.stderr
    others = tmp_path / 'others'
    shutil.copytree(photos, others)
    named = [f'{photos}/', others, others / 'test']  # the first is the run's own, and its test
    for dataset, count in zip(named, (12, 36, 12), strict=True):
        output = tmp_path / 'scores.json'
        done = launch(
            'evaluate', f'--run_dir={tmp_path}/run', f'--dataset={dataset}', f'--output={output}'
        )
        assert done.returncode == 0, done.stderr
        assert json.loads(output.read_text())['results'][0]['examples'] == count
    shutil.rmtree(others / 'test' / 'b')
    refused = launch('evaluate', f'--run_dir={tmp_path}/run', f'--dataset={others}/test')
    assert refused.returncode == 2
    assert 'missing: b; unknown: none' in refused.stderr


def test_evaluate_refuses_what_is_not_there(finished, launch, tmp_path):
    folder, _ = finished
    for flags, text in [
        ([f'--run_dir={tmp_path}'], 'no run in it'),
        ([f'--run_dir={folder}', '--phase=nonsense'], 'finetune_all'),
        ([], '--run_dir'),
    ]:
        refused = launch('evaluate', *flags)
        assert refused.returncode == 2
        assert text in refused.stderr


def test_evaluate_takes_the_deployed_phase_and_the_runs_own_split(finished, launch, tmp_path):
    folder, _ = finished
    report = json.loads((folder / 'report.json').read_text())
    output = tmp_path / 'scores.json'
    done = launch('evaluate', f'--run_dir={folder}', f'--output={output}')
    assert done.returncode == 0, done.stderr
    scores = json.loads(output.read_text())
    assert scores['phase'] == report['deployed']
    assert scores['results'][0]['examples'] == 57  # this run's test split is `test[:57]`


@pytest.mark.slow
def test_damaged_photos_are_named_and_a_changed_set_is_refused(launch, tmp_path, tiny, photos):
    flags = [
        *tiny,
        '--train_split=train',
        '--test_split=test',
        f'--dataset={photos}',
        f'--run_dir={tmp_path}/run',
        '--epochs=1',
        '--nocontrol',
    ]
    for split in ('train', 'test'):
        (photos / split / 'a' / f'bad_{split}.jpg').write_bytes(b'no image')
    refused = launch('fixres', *flags)
    assert refused.returncode == 2
    assert 'a/bad_test.jpg' in refused.stderr
    assert '--skip_damaged' in refused.stderr
    done = launch('fixres', *flags, '--skip_damaged')
    assert done.returncode == 0, done.stderr
    assert 'left out 1 of 13 files' in done.stderr
    assert 'a/bad_train.jpg' in done.stderr

    (tmp_path / 'run' / 'report.md').unlink()
    (photos / 'train' / 'a' / 'new.jpg').write_bytes(b'another')
    changed = launch('fixres', *flags, '--skip_damaged')
    assert changed.returncode == 2
    assert 'not the 13 photos that the run began with' in changed.stderr


@pytest.mark.slow
def test_a_start_that_was_killed_at_once_does_no_harm(launch, tmp_path, tiny):
    folder = tmp_path / 'run'
    folder.mkdir()
    for name in ('flags.cfg', '.lock', '.x1flags.cfg'):
        (folder / name).write_text('')
    done = launch('fixres', *tiny, f'--run_dir={folder}', '--epochs=1', '--nocontrol')
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_overwrite_starts_anew_but_only_in_a_run(launch, tmp_path, tiny, finished):
    (tmp_path / 'precious.txt').write_text('mine')
    refused = launch('fixres', *tiny, f'--run_dir={tmp_path}', '--overwrite')
    assert refused.returncode == 2
    assert (tmp_path / 'precious.txt').exists()
    folder = tmp_path / 'run'
    shutil.copytree(finished[0], folder)
    log = f'--log_file={folder}/phases/log.txt'
    anew = launch('fixres', *tiny, f'--run_dir={folder}', '--overwrite', '--epochs=1', log)
    assert anew.returncode == 0, anew.stderr
    assert not (folder / 'phases' / 'finetune_all').exists()
    assert 'train: step' in (folder / 'phases' / 'log.txt').read_text()


def test_a_run_dir_that_cannot_be_written_is_one_line(launch, tiny):
    refused = launch('fixres', *tiny, '--run_dir=/proc/run')
    assert refused.returncode == 2
    assert refused.stderr.startswith('error: --run_dir=/proc/run')


def test_the_readmes_python_classifies_a_photo(finished, photos):
    folder, _ = finished
    blocks = re.findall(r'```python\n(.*?)```', README.read_text(), re.DOTALL)
    (code,) = [block for block in blocks if 'runs/fixres_quickstart' in block]
    photo = photos / 'test' / 'a' / '0.jpg'
    code = code.replace('runs/fixres_quickstart', str(folder)).replace('photo.jpg', str(photo))
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    name, probability = done.stdout.split()
    assert name in json.loads((folder / 'inputs.json').read_text())['class_names']
    assert 1 / 14 <= float(probability) <= 1


def test_a_dry_run_trains_nothing(launch, tmp_path, tiny):
    done = launch('fixres', *tiny, f'--run_dir={tmp_path}/run', '--dry_run')
    assert done.returncode == 0, done.stderr
    assert 'train: 2 epochs, 8 steps of 16 at 32 px' in done.stdout
    assert 'control_classifier_and_last_bn' in done.stdout
    assert not (tmp_path / 'run').exists()


@pytest.mark.parametrize(
    ('flags', 'text'),
    [
        (['--model=resnet_51'], 'mbconv_a'),
        (['--train_preprocessing=decode | blur(3)'], 'decode_area_crop'),
        (['--train_preprocessing=decode_area_crop(64, 0.2)'], 'low, high'),
        (["--eval_preprocessing=__import__('os').system('true')"], 'operations joined by |'),
        (['--data_dir=/no/such/place', '--dataset=cifar10'], 'download_and_prepare'),
        (['--dataset={empty}/'], 'class folders'),
        (['--dataset=/no/such/place'], 'no such folder'),
        (['--phi=-1'], '--phi=-1'),
        (['stray'], "'stray'"),
        (['--epoch=3'], 'epoch'),
        (['--epochs=three'], 'three'),
        (['--tune=everything'], 'classifier_and_last_bn'),
        (['--resolutions=64,big'], 'big'),
        (['--weights=/no/such/file'], 'no such file'),
        (['--new_head'], 'no --weights'),
        (['--data_service=host:5000', '--cache=disk'], 'grpc://host:port'),
        (['--data_service=grpc://localhost:1', '--cache=disk'], 'nobody listens'),
        (['--data_service=grpc://host:5000'], '--cache=disk'),
        (['--strategy=mirrored', '--logical_devices=2', '--batch_size=63'], 'as 64'),
        (['--dataset=no_such_set'], '--dataset=no_such_set'),
        (['--dataset=sample', '--train_split=holiday'], 'holiday'),
        (['--train_split=test[:90%]'], 'have 595 photos in common'),
        (['--num_classes=3'], '14 classes'),
        (['--resolutions=0'], 'above 0'),
        (['--test_resolution=-3'], 'above 0'),
        (['--seed=-1'], 'seed'),
        (['--epochs=nan'], 'finite'),
        (['--epochs=0'], 'no trained classifier'),
        (['--train_preprocessing=resize(resolution)'], 'no size gap'),
        (['--eval_preprocessing=resize(resolution) | flip_lr'], 'random'),
        (['--eval_preprocessing=resize_short_side(72) | center_crop(64)'], 'images are 64 px'),
        (['--train_preprocessing=decode_area_crop(48, 0.2, 0.7)'], 'images are 48 px'),
        (['--eval_preprocessing=resize_short_side(resolution)'], 'of no one size'),
        (['--eval_preprocessing=resize(resolution + 32) | center_crop(resolution)'], 'objects'),
        (['--wave_lowest=1e-6'], '--wave_lowest=1e-06: belongs to --schedule=wave, got cosine'),
        (['--finetune_schedule=plateau', '--finetune_drop_every=5'], '--finetune_drop_every=5.0'),
        (['--ema=1'], '0.9999'),
        (['--epochs=2', '--warmup_epochs=2'], 'less than'),
        (['--high_resolution', '--schedule=steps'], '--high_resolution, --schedule=steps: that'),
        (['--model=keras:InceptionV3', '--resolutions=64'], 'at 64 px: '),
        (['--alpha=2', '--model=keras:MobileNetV2'], '--alpha'),
        (['--model=bl_resnet50', '--alpha=3'], '--model=bl_resnet50: alpha must divide'),
    ],
)
def test_bad_input_is_one_clear_line_and_leaves_nothing(launch, tmp_path, flags, text):
    (tmp_path / 'empty').mkdir()
    flags = [flag.format(empty=tmp_path / 'empty') for flag in flags]
    # Five seconds on an idle machine; tests run side by side.
    refused = launch('fixres', f'--run_dir={tmp_path}/run', *flags, timeout=30)
    assert refused.returncode == 2, refused.stderr
    assert text in refused.stderr
    assert refused.stderr.startswith('error: ')
    assert refused.stderr.count('\n') == 1
    assert not (tmp_path / 'run').exists()


def test_a_flagfile_line_without_dashes_is_refused(launch, tmp_path):
    (tmp_path / 'bad.cfg').write_text('--epochs=1\nseed=3\n')
    refused = launch('fixres', f'--flagfile={tmp_path}/bad.cfg')
    assert refused.returncode == 2
    assert "'seed=3'" in refused.stderr


def test_help_lists_our_flags_without_tensorflow(launch):
    shown = launch('fixres', '--help')
    assert '--train_preprocessing' in shown.stdout
    assert 'mbconv_c' in shown.stdout
    assert '--tfds' not in shown.stdout
