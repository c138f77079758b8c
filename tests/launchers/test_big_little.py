"""The launcher big_little: whole, and each row of the paper on the builder of ImageNet itself."""

import json
import math
import pathlib

import pytest

FLAGS = pathlib.Path(__file__).parents[2] / 'flags' / 'big_little'
ROWS = sorted(FLAGS.glob('imagenet_*.cfg'), key=lambda path: path.name)


def test_a_whole_run(launch, tmp_path):
    flags = [
        f'--flagfile={FLAGS}/sample.cfg',
        '--train_split=train[:57]',
        '--test_split=test[:57]',
        '--resolution=32',
        '--test_resolutions=32,40',
        '--epochs=2',
        '--warmup_epochs=0.5',
        '--batch_size=16',
        f'--run_dir={tmp_path}/run',
    ]
    done = launch('big_little', *flags)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / 'run' / 'report.json').read_text())
    assert [row['resolution'] for row in report['results']] == [32, 40]
    assert {row['examples'] for row in report['results']} == {57}
    text = (tmp_path / 'run' / 'report.md').read_text()
    assert text in done.stdout
    assert 'top-5 (%)' in text
    assert (tmp_path / 'run' / 'accuracy_by_epoch.png').read_bytes().startswith(b'\x89PNG')
    again = launch('big_little', *flags)
    assert (again.returncode, again.stdout) == (0, done.stdout)
    scored = launch('evaluate', f'--run_dir={tmp_path}/run', f'--output={tmp_path}/scores.json')
    assert scored.returncode == 0, scored.stderr
    (score,) = json.loads((tmp_path / 'scores.json').read_text())['results']
    assert score['top1'] == report['results'][0]['top1']


def test_a_dry_run_shows_the_plan_and_writes_nothing(launch, tmp_path):
    done = launch(
        'big_little',
        f'--flagfile={FLAGS}/sample.cfg',
        f'--run_dir={tmp_path}/run',
        '--epochs=0.2',
        '--warmup_epochs=0',
        '--dry_run',
    )
    assert done.returncode == 0, done.stderr
    assert 'bl_resnet26: 952,318 trainable parameters' in done.stdout
    assert 'train: 0.2 epochs, 5 steps of 32 at 48 px' in done.stdout
    assert not (tmp_path / 'run').exists()


def test_by_default_it_is_the_papers_recipe(launch):
    shown = launch('big_little', '--helpfull').stdout
    for flag, value in {
        'model': "'bl_resnet50'",
        'batch_size': "'256'",
        'epochs': "'110.0'",
        'learning_rate': "'0.1'",
        'nesterov': "'true'",
        'weight_decay': "'0.0001'",
        'schedule': "'cosine_per_epoch'",
    }.items():
        at = shown.index(f'--{flag}:') if f'--{flag}:' in shown else shown.index(f'--[no]{flag}:')
        default = shown[shown.index('(default: ', at) :]
        assert default.startswith(f'(default: {value})'), flag


def test_what_cannot_be_is_refused(launch, tmp_path):
    for flags, text in [
        (['--epochs=0', '--dataset=sample'], '--epochs=0: this network has no trained classifier'),
        (['--test_resolutions=0', '--dataset=sample'], '--test_resolutions=0'),
        (['--model=bl_resnet26', '--alpha=3', '--dataset=sample'], 'alpha must divide the width'),
    ]:
        refused = launch('big_little', f'--run_dir={tmp_path}/run', *flags)
        assert refused.returncode == 2
        assert text in refused.stderr
        assert not (tmp_path / 'run').exists()


def test_each_row_of_the_paper_has_a_flagfile():
    named = {path.stem.removeprefix('imagenet_') for path in ROWS}
    assert named == {
        'resnet50',
        *(f'bl_resnet50_a{alpha}_b{beta}' for alpha in (2, 4) for beta in (2, 4)),
        'bl_resnet50_large_batch',
        'bl_resnet101_a2_b4',
        'bl_resnext50_32x4d',
        'bl_resnext101_32x4d',
        'bl_resnext101_64x4d',
        'bl_seresnext50_32x4d',
        'bl_seresnext101_32x4d',
    }


@pytest.fixture(scope='module')
def imagenet(tmp_path_factory):
    import tiny_imagenet

    return tiny_imagenet.make(tmp_path_factory.mktemp('imagenet'))


@pytest.mark.slow
@pytest.mark.parametrize('path', ROWS, ids=lambda path: path.stem)
def test_a_row_trains_two_steps_on_imagenets_builder(launch, tmp_path, imagenet, path):
    done = launch(
        'big_little',
        f'--flagfile={path}',
        f'--data_dir={imagenet}',
        f'--run_dir={tmp_path}/run',
        '--validation_split=validation[:5]',
        '--test_split=validation[5:]',
        '--resolution=64',
        '--batch_size=28',
        '--epochs=1',
        '--warmup_epochs=0',
        '--steps_per_call=1',
        '--cache=memory',
    )
    assert done.returncode == 0, done.stderr
    lines = (tmp_path / 'run' / 'metrics.jsonl').read_text().splitlines()
    steps = [line for line in map(json.loads, lines) if line['split'] == 'train']
    assert [step['step'] for step in steps] == [1, 2]
    assert all(math.isfinite(step['loss']) for step in steps)
    run = json.loads((tmp_path / 'run' / 'run.json').read_text())
    assert run['flags']['weight_decay'] == '0.0001'


@pytest.mark.slow
def test_what_is_logged_goes_to_a_file_too(launch, tmp_path):
    flags = [f'--flagfile={FLAGS}/sample.cfg', f'--run_dir={tmp_path}/run']
    refused = launch('big_little', *flags, '--alpha=3', f'--log_file={tmp_path}/log.txt')
    assert refused.returncode == 2
    line = refused.stderr.strip()
    assert (tmp_path / 'log.txt').read_text().endswith(f'DEBUG {line}\n')
    refused = launch('big_little', *flags, f'--log_file={tmp_path}/log.txt/log.txt')
    assert refused.returncode == 2
    assert 'log.txt/log.txt: cannot be written to' in refused.stderr
    within = launch('big_little', *flags, '--dry_run', f'--log_file={tmp_path}/run/logs/log.txt')
    assert within.returncode == 0, within.stderr
