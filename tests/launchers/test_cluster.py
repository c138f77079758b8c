"""Several processes that train together, over loopback, through their real command line."""

import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
import tiny_classification

FLAGS = [
    *tiny_classification.FLAGS,
    '--epochs=3',
    '--steps_per_call=2',
    '--best_metric=top1',
    # Small enough for the last digit of a sum, which the order of devices changes, to stay one.
    '--learning_rate=0.01',
]


def free_ports(count):
    """Ports that nobody listens at."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(('127.0.0.1', 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def start(flags, *, size=2):
    """Starts the processes of a cluster; `flags` gives those of a process of some number."""
    workers = [f'127.0.0.1:{port}' for port in free_ports(size)]
    processes = []
    for index in range(size):
        task = {'cluster': {'worker': workers}, 'task': {'type': 'worker', 'index': index}}
        command = [sys.executable, '-m', 'tfnets.launchers.classification', *flags(index)]
        processes.append(
            subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env={**os.environ, 'CUDA_VISIBLE_DEVICES': '', 'TF_CONFIG': json.dumps(task)},
            )
        )
    return processes


def end(processes, seconds=300):
    """The exit code, standard output and standard error of each process."""
    try:
        said = [process.communicate(timeout=seconds) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [(process.returncode, *words) for process, words in zip(processes, said, strict=True)]


def losses(folder):
    lines = map(json.loads, (folder / 'metrics.jsonl').read_text().splitlines())
    return [(line['split'], line['step'], line['loss']) for line in lines]


def wait_for_steps(folder, processes):
    record = folder / 'metrics.jsonl'
    while not (record.exists() and record.read_text()):
        assert all(process.poll() is None for process in processes)
        time.sleep(0.1)


@pytest.fixture(scope='module')
def together(tmp_path_factory):
    """The folder of a run of two processes, and what they said."""
    folder = tmp_path_factory.mktemp('cluster') / 'run'
    return folder, end(start(lambda _: [*FLAGS, '--sync_batch_norm', f'--run_dir={folder}']))


@pytest.mark.slow
@pytest.mark.parametrize('devices', [1, 2, 4])
def test_two_processes_train_as_devices_of_one_do(devices, together, launch, tmp_path):
    folder, (chief, other) = together
    assert chief[0] == 0, chief[2]
    assert other[0] == 0, other[2]
    assert (folder / 'report.md').read_text() in chief[1]
    assert other[1] == ''
    flags = ['--sync_batch_norm', f'--logical_devices={devices}', f'--run_dir={tmp_path}/run']
    done = launch('classification', *FLAGS, *flags)
    assert done.returncode == 0, done.stderr
    for one, same in zip(losses(folder), losses(tmp_path / 'run'), strict=True):
        assert one[:2] == same[:2]
        assert one[2] == pytest.approx(same[2], abs=1e-3)


@pytest.mark.slow
def test_all_must_see_the_folder(tmp_path):
    for code, _, said in end(start(lambda index: [*FLAGS, f'--run_dir={tmp_path}/{index}'])):
        assert code == 2
        assert 'file system that all of them share' in said


def test_without_others_it_says_where_they_are_looked_for(launch, tmp_path):
    done = launch('classification', *FLAGS, '--strategy=multi_worker', f'--run_dir={tmp_path}/run')
    assert done.returncode == 2
    assert 'TF_CONFIG, or a SLURM step' in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize('victim', [0, 1])
def test_a_sigterm_to_one_is_a_save_of_all_and_nothing_changes(victim, together, tmp_path):
    flags = [*FLAGS, '--sync_batch_norm', f'--run_dir={tmp_path}/run']
    processes = start(lambda _: flags)
    wait_for_steps(tmp_path / 'run', processes)
    processes[victim].send_signal(signal.SIGTERM)
    ended = end(processes)
    assert [code for code, *_ in ended] == [75, 75], ended
    assert all('train: saved at step' in said for _, _, said in ended)
    again = end(start(lambda _: flags))
    assert [code for code, *_ in again] == [0, 0], again
    assert 'going on from step' in again[0][2]
    assert losses(tmp_path / 'run') == losses(together[0])
    assert_equal_weights(tmp_path / 'run', together[0])


def test_one_that_waits_for_the_others_can_be_asked_to_end(tmp_path):
    alone, other = start(lambda index: [*FLAGS, f'--run_dir={tmp_path}/run'])
    other.kill()
    other.communicate()
    time.sleep(8)
    assert alone.poll() is None
    alone.send_signal(signal.SIGTERM)
    ((code, _, said),) = end([alone], seconds=20)
    assert code == 75
    assert 'ended as asked' in said


@pytest.mark.slow
def test_a_phase_that_lacks_nothing_but_its_result_is_finished(together, tmp_path):
    """As where all are killed between the last checkpoint and the result."""
    shutil.copytree(together[0], tmp_path / 'run')
    for name in ('phases/train/result.json', 'report.md', 'report.json'):
        (tmp_path / 'run' / name).unlink()
    again = end(start(lambda _: [*FLAGS, '--sync_batch_norm', f'--run_dir={tmp_path}/run']))
    assert [code for code, *_ in again] == [0, 0], again
    assert_equal_weights(tmp_path / 'run', together[0])


@pytest.mark.slow
@pytest.mark.parametrize('victim', [0, 1])
def test_one_that_is_killed_ends_the_other_in_time(victim, together, tmp_path):
    flags = [*FLAGS, '--sync_batch_norm', '--checkpoint_steps=2', f'--run_dir={tmp_path}/run']
    processes = start(lambda _: [*flags, '--epochs=3'])
    wait_for_steps(tmp_path / 'run', processes)
    processes[victim].kill()
    code, _, said = end(processes, seconds=60)[1 - victim]
    assert code == 76
    assert 'another process has ended, or cannot be reached; start all' in said
    assert [code for code, *_ in end(start(lambda _: flags))] == [0, 0]
    assert losses(tmp_path / 'run') == losses(together[0])
    assert_equal_weights(tmp_path / 'run', together[0])


@pytest.mark.slow
def test_a_script_starts_processes_on_this_host(tmp_path):
    script = pathlib.Path(__file__).parents[2] / 'launchers' / 'local_processes.sh'
    environment = {
        **os.environ,
        'PATH': f'{pathlib.Path(sys.executable).parent}:{os.environ["PATH"]}',
        'PORT': str(free_ports(1)[0]),
    }
    command = [script, '2', 'classification', *FLAGS, f'--run_dir={tmp_path}/run']
    options = {'env': environment, 'capture_output': True, 'text': True}
    done = subprocess.run([*command, '--epochs=1'], **options)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / 'run' / 'report.md').read_text() in done.stdout
    refused = subprocess.run([*command, '--epochs=2'], **options)
    assert refused.returncode == 2
    assert '--epochs was 1.0, is 2.0' in refused.stderr


def assert_equal_weights(*folders):
    from tfnets.training.checkpoints import load_model

    networks = [load_model(folder / 'model.keras') for folder in folders]
    for one, other in zip(*(network.get_weights() for network in networks), strict=True):
        np.testing.assert_array_equal(one, other)
