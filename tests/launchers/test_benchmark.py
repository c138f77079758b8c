"""Speeds from the command line: whole tiny runs, and flags that cannot be right."""

import json

import pytest


def test_training_is_measured(launch, tmp_path):
    flags = ['--resolution=32', '--batch_size=8', '--rounds=1', '--steps=2']
    done = launch('benchmark', *flags, f'--output={tmp_path}/speeds.json')
    assert done.returncode == 0, done.stderr
    names = [row['name'] for row in json.loads((tmp_path / 'speeds.json').read_text())]
    assert names == [
        'bare step',
        'our loop on that batch',
        'Keras fit on that batch',
        'our loop on photos',
        'input alone',
    ]


def test_the_input_is_measured_stage_by_stage(launch, tmp_path):
    flags = ['--input_only', '--resolution=24', '--batch_size=8', '--rounds=1', '--steps=1']
    flags += ['--train_preprocessing=@big_little_train', f'--output={tmp_path}/speeds.json']
    done = launch('benchmark', *flags)
    assert done.returncode == 0, done.stderr
    assert [row['name'] for row in json.loads((tmp_path / 'speeds.json').read_text())] == [
        'decode',
        'read',
        '+ decode_inception_crop',
        '+ flip_lr',
        '+ batch',
        '+ color_jitter',
        'straight way',
    ]


def test_networks_are_compared(launch, tmp_path):
    flags = ['--models=mbconv_c,mbconv_c:1.2:1.05:phi=1', '--resolution=32', '--batch_sizes=1,3']
    flags += ['--rounds=2', '--steps=2', '--by_stage', f'--output={tmp_path}/speeds.json']
    done = launch('benchmark', *flags)
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / 'speeds.json').read_text())
    assert [(row['name'], row['batch']) for row in rows] == [
        ('mbconv_c', 1),
        ('mbconv_c:1.2:1.05:phi=1', 1),
        ('mbconv_c', 3),
        ('mbconv_c:1.2:1.05:phi=1', 3),
    ]
    assert rows[1]['multiply_adds'] > rows[0]['multiply_adds']
    assert rows[0]['ratio'] == 1
    assert '| mbconv_c | stage3 | 3 |' in ' '.join(done.stdout.split())


def test_networks_are_compared_folded_and_in_training(launch, tmp_path):
    flags = ['--models=mbconv_c,resnet14:0.125:all', '--resolution=32', '--batch_sizes=2']
    flags += ['--folded', '--training', '--rounds=2', '--steps=1', '--by_stage']
    done = launch('benchmark', *flags, f'--output={tmp_path}/speeds.json')
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / 'speeds.json').read_text())
    assert [(row['form'], row['name']) for row in rows] == [
        (form, name)
        for form in ('inference', 'inference, folded', 'training')
        for name in ('mbconv_c', 'resnet14:0.125:all')
    ]
    for first, second in (rows[:2], rows[2:4], rows[4:]):
        # The median of two is their mean.
        ratios = [own / other for own, other in zip(second['rounds'], first['rounds'], strict=True)]
        assert first['ratio'] == 1
        assert second['ratio'] == pytest.approx(sum(ratios) / 2)
    gains = [own / other for own, other in zip(rows[3]['rounds'], rows[1]['rounds'], strict=True)]
    assert rows[3]['gain'] == pytest.approx(sum(gains) / 2)
    assert '| resnet14:0.125:all | stage3 | 2 |' in ' '.join(done.stdout.split())


@pytest.mark.parametrize(
    ('flag', 'text'),
    [
        ('--models=resnet51', '--models=resnet51: no such network'),
        ('--models=resnet50:alpha=2', '--models=resnet50:alpha=2: --alpha=2.0: network resnet50'),
        ('--models=bl_resnet50:2:4:nearest:1:cifar:5', 'expected NAME:option=value'),
        ('--models=bl_resnet50:two', 'alpha=two'),
        ('--models=resnet50:1:width_multiplier=2', 'an option is given twice'),
        ('--folded', '--folded: compares networks; name them by --models'),
        ('--batch_sizes=', 'at least one'),
        ('--ema=0.99', '--ema=0.99: of what is measured in turns our loop alone'),
        ('--batch_sizes=1,many', '--batch_sizes=many: expected a number of images'),
    ],
)
def test_bad_flags_are_one_line(launch, flag, text):
    refused = launch('benchmark', flag)
    assert refused.returncode == 2
    assert text in refused.stderr
    assert refused.stderr.count('\n') == 1
