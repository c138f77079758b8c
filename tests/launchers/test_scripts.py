"""The files to start from in launchers/: what they start, seen by a srun that starts nothing."""

import os
import pathlib
import subprocess

import pytest

SCRIPTS = pathlib.Path(__file__).parents[2] / 'launchers'


@pytest.fixture
def started(tmp_path):
    """A function that runs a script; answers the words that it gave to srun or to python."""
    for name in ('srun', 'python', 'pip'):
        stub = tmp_path / name
        stub.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
        stub.chmod(0o755)
    slurm = {'SLURM_CPUS_PER_TASK': '8', 'SLURM_ARRAY_TASK_ID': '3', 'SLURM_JOB_ID': '1'}
    environment = {**os.environ, **slurm, 'PATH': f'{tmp_path}:{os.environ["PATH"]}'}

    def run(script, *words):
        command = ['bash', str(SCRIPTS / script), *words]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    return run


@pytest.mark.parametrize(
    ('script', 'words', 'own'),
    [
        ('slurm.sh', ['fixres'], ['--strategy=multi_worker']),
        ('slurm_search.sh', [], ['--mode=search', '--trial=3']),
        ('local_processes.sh', ['1', 'fixres'], ['--strategy=multi_worker']),
        ('tpu_vm.sh', ['fixres'], ['--strategy=tpu', '--tpu=local']),
    ],
)
def test_what_a_script_decides_stands_behind_a_flagfile(started, script, words, own):
    """A flagfile may say otherwise (a run's own has every flag), and of two the last counts."""
    given = started(script, *words, '--flagfile=flags.cfg')
    assert given[-len(own) :] == own
    assert given.index('--flagfile=flags.cfg') == len(given) - len(own) - 1
    if script.startswith('slurm'):
        assert '--cpus-per-task=8' in given


def test_so_it_does_in_a_pod():
    words = (SCRIPTS / 'kubernetes.yaml').read_text().replace('\\\n', ' ').split()
    assert words.index('--strategy=multi_worker') > words.index('--flagfile=/flags/run.cfg')
