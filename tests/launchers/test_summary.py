"""python -m tfnets.launchers.summary, as a process."""

import json

import pytest


def cells(line):
    return [cell.strip() for cell in line.strip('|').split('|')]


def test_a_network_stage_by_stage(launch, tmp_path):
    output = tmp_path / 'cost.json'
    done = launch('summary', '--model=mbconv_c', '--num_classes=2', f'--output={output}')
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == 'mbconv_c at 64 px; 2 classes'
    assert cells(lines[2]) == ['stage', 'output', 'parameters', 'MACs (M)', 'share (%)']
    assert ['stem', '16x16x12', '1,776', '1.81', '46.7'] in map(cells, lines)
    assert ['total', '', '52,692', '3.87', '100.0'] in map(cells, lines)
    assert ['of it trainable', '', '49,760', '', ''] in map(cells, lines)
    assert 'Not counted: biases' in lines[-1]
    (facts,) = json.loads(output.read_text())
    assert facts['resolution'] == 64
    assert facts['trainable'] == 49_760
    assert facts['macs'] == sum(layer['macs'] for layer in facts['layers'])
    assert facts['macs'] == sum(stage['macs'] for stage in facts['stages'])


def test_networks_side_by_side_layer_by_layer(launch, tmp_path):
    output = tmp_path / 'cost.json'
    compared = ['mbconv_c', 'mbconv_c:phi=1:gamma=1.5', 'keras:MobileNetV2']
    flags = ['--model=mbconv_a', '--beta=2', '--phi=1', f'--compare={",".join(compared)}']
    done = launch('summary', *flags, '--layers', f'--output={output}')
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert 'mbconv_a:beta=2:phi=1 at 64 px; mbconv_c at 64 px' in lines[0]
    assert 'mbconv_c:phi=1:gamma=1.5 at 96 px; keras:MobileNetV2 at 224 px; 1000' in lines[0]
    (row,) = (cells(line) for line in lines if 'stage2.unit1.expand.conv ' in line)
    assert row[1:] == [
        *('8x8x24', '264', '0.02'),
        *('8x8x16', '208', '0.01'),
        *('12x12x16', '208', '0.03'),
        *('', '', ''),
    ]
    facts = json.loads(output.read_text())
    assert [fact['model'] for fact in facts] == [
        *('mbconv_a', 'mbconv_c', 'mbconv_c', 'keras:MobileNetV2')
    ]
    assert facts[0]['options'] == {'beta': 2, 'phi': 1}
    (ratios,) = (cells(line) for line in lines if 'ratio to' in line)
    assert float(ratios[6]) == pytest.approx(facts[1]['macs'] / facts[0]['macs'], abs=1e-3)


@pytest.mark.parametrize(
    ('flags', 'text'),
    [
        (['--compare=resnet_51'], 'error: --compare=resnet_51: no such network'),
        (['--compare=mbconv_c:phi=deep'], 'phi=deep'),
        (['--compare=keras:ResNet50:phi=1'], 'no such option'),
    ],
)
def test_bad_input_is_one_clear_line(launch, flags, text):
    refused = launch('summary', *flags)
    assert refused.returncode == 2, refused.stderr
    assert text in refused.stderr
    assert refused.stderr.startswith('error: ')
    assert refused.stderr.count('\n') == 1


def test_a_picture_and_a_graph(launch, tmp_path):
    flags = [f'--picture={tmp_path}/stages.png', f'--graph={tmp_path}/board']
    done = launch('summary', '--model=mbconv_c', *flags)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / 'stages.png').read_bytes().startswith(b'\x89PNG')
    (events,) = (tmp_path / 'board').glob('events.*')
    assert b'stage2.unit1.expand.conv' in events.read_bytes()
