"""Who the processes of a cluster are; how they train together is tested by their command line."""

import json

import pytest

from tfnets.errors import InputError
from tfnets.training import cluster


def test_slurms_tasks_are_counted_as_slurm_does(monkeypatch):
    values = {
        'SLURM_JOB_ID': '7',
        'SLURM_PROCID': '3',
        'SLURM_STEP_NUM_TASKS': '5',
        'SLURM_STEP_NODELIST': 'node[2,9-10]',
        'SLURM_STEP_TASKS_PER_NODE': '2(x2),1',
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    resolver = cluster._resolver()
    assert resolver.task_id == 3
    assert resolver.cluster_spec().as_dict()['worker'] == [
        'node2:20448',
        'node2:20449',
        'node9:20448',
        'node9:20449',
        'node10:20448',
    ]


@pytest.mark.parametrize('tasks', [None, '1'])
def test_a_process_on_its_own_cannot_join(tasks, monkeypatch):
    if tasks:
        monkeypatch.setenv('SLURM_STEP_NUM_TASKS', tasks)
    with pytest.raises(InputError, match='TF_CONFIG'):
        cluster._resolver()


@pytest.mark.parametrize(
    'value',
    [
        'garbage',
        '{}',
        '{"cluster": {"worker": ["a:1", "b:1"]}}',
        '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 2}}',
        '{"cluster": {"chief": ["a:1"], "worker": ["b:1"]}, "task": {"type": "chief", "index": 0}}',
    ],
)
def test_a_cluster_is_of_workers_alone(value, monkeypatch):
    monkeypatch.setenv('TF_CONFIG', value)
    with pytest.raises(InputError, match='expected workers alone'):
        cluster._resolver()


def test_only_several_workers_are_a_cluster(monkeypatch):
    assert not cluster.named()
    for workers, several in [([], False), (['a:1'], False), (['a:1', 'b:1'], True)]:
        monkeypatch.setenv('TF_CONFIG', json.dumps({'cluster': {'worker': workers}}))
        assert cluster.named() is several
    for damaged in ('{', '[]', '{"cluster": 1}'):
        monkeypatch.setenv('TF_CONFIG', damaged)
        assert not cluster.named()


def test_alone_it_decides_for_itself(tmp_path):
    assert (cluster.size(), cluster.is_chief()) == (1, True)
    assert cluster.total([True, 3]) == [1, 3]
    assert cluster.agreed({'x': None}) == {'x': None}
    assert cluster.own(tmp_path) == tmp_path
