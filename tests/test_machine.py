"""What a machine has, asked without TensorFlow."""

import os
import sys

import pytest

from tfnets import machine


def test_cores_are_those_that_this_process_may_use(monkeypatch):
    monkeypatch.setattr(os, 'sched_getaffinity', lambda _: {3, 5, 6}, raising=False)
    assert machine.usable_cores() == 3
    monkeypatch.delattr(os, 'sched_getaffinity')  # as on macOS
    assert machine.usable_cores() == os.cpu_count()


@pytest.mark.parametrize(('platform', 'unit'), [('linux', 1024), ('darwin', 1)])
def test_memory_is_in_bytes(monkeypatch, platform, unit):
    monkeypatch.setattr(sys, 'platform', platform)
    monkeypatch.setattr(
        machine.resource, 'getrusage', lambda _: type('Usage', (), {'ru_maxrss': 7})
    )
    assert machine.most_memory() == 7 * unit


def test_visible_gpus(monkeypatch):
    monkeypatch.setattr(machine, 'gpus', lambda: ['0', '1', '2'])
    monkeypatch.delenv('CUDA_VISIBLE_DEVICES', raising=False)
    assert machine.visible_gpus() == ['0', '1', '2']
    named = {'0,GPU-1': ['0', 'GPU-1'], '': [], '-1': [], '2,-1,1': ['2'], 'NoDevFiles': []}
    for value, found in named.items():
        monkeypatch.setenv('CUDA_VISIBLE_DEVICES', value)
        assert machine.visible_gpus() == found


def test_where_there_is_no_nvidia_smi_there_are_no_gpus(monkeypatch):
    monkeypatch.setenv('PATH', '')
    assert machine.gpus() == []
