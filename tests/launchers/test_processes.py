"""Jobs as processes: claims, room, failures, ends; with processes that only write and wait."""

import dataclasses
import os
import pathlib
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from tfnets.errors import InputError, Preempted
from tfnets.launchers import processes
from tfnets.launchers.processes import Pool

# Notes when it began and ended in a file of its name, waits for a file, and may fail.
WORKER = textwrap.dedent("""
    import os, pathlib, signal, sys, time
    folder, name, wants, code = pathlib.Path(sys.argv[1]), *sys.argv[2:]
    note = lambda word: open(folder / 'notes', 'a').write(f'{name} {word}\\n')
    signal.signal(signal.SIGTERM, lambda *_: (note('terminated'), os._exit(75)))
    note('began')
    while wants and not (folder / wants).exists():
        time.sleep(0.02)
    print('last words')
    note('ended')
    if code == '0':
        (folder / f'{name}.done').touch()
    sys.exit(int(code))
""")


class Worker(processes.Job):
    """A job that is no launcher."""

    @property
    def command(self):
        return [sys.executable, '-c', WORKER, *self.flags.values()]


@pytest.fixture
def job(tmp_path):
    def make(name, wants='', code=0):
        flags = {'folder': str(tmp_path), 'name': name, 'wants': wants, 'code': str(code)}
        return Worker(name, 'work', '', flags, (tmp_path / f'{name}.done').exists)

    return make


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(processes, '_POLL_SECONDS', 0.02)


def notes(folder):
    path = folder / 'notes'
    return path.read_text().splitlines() if path.exists() else []


def wait_for(condition):
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < 30
        time.sleep(0.01)


def test_one_after_the_other_and_each_only_once(tmp_path, job):
    jobs = [job('a'), job('b'), job('c')]
    assert Pool(tmp_path, 1).run(jobs) == {}
    assert notes(tmp_path) == [f'{name} {word}' for name in 'abc' for word in ('began', 'ended')]
    assert Pool(tmp_path, 1).run([*jobs, job('d')]) == {}
    assert notes(tmp_path)[6:] == ['d began', 'd ended']
    assert (tmp_path / 'logs' / 'a.txt').read_text() == 'last words\n'


def test_several_at_once(tmp_path, job):
    # Each waits for what the next one does; one at a time they would wait for ever.
    assert Pool(tmp_path, 3).run([job('a', 'b.done'), job('b', 'c.done'), job('c')]) == {}


def test_what_fails_is_told_and_does_not_stop_the_others(tmp_path, job):
    failed = Pool(tmp_path, 1).run([job('a', code=3), job('b')])
    assert failed == {'a': 'exit code 3: last words'}
    assert (tmp_path / 'b.done').exists()


def test_a_failure_is_known_until_the_job_is_tried_again(tmp_path, job):
    Pool(tmp_path, 1).run([job('a', code=3)])
    assert Pool(tmp_path, 1).failure('a') == 'exit code 3: last words'
    assert Pool(tmp_path, 1).failure('b') is None
    assert Pool(tmp_path, 1).run([job('a')]) == {}
    assert Pool(tmp_path, 1).failure('a') is None


def launcher(folder, job):
    """A process that runs a job; it exits with how often that failed."""
    code = textwrap.dedent(f"""
        import pathlib, sys
        sys.path.insert(0, {str(pathlib.Path(__file__).parents[2])!r})
        from tfnets.launchers import processes
        class Worker(processes.Job):
            command = {job.command!r}
        folder = pathlib.Path({str(folder)!r})
        done = (folder / '{job.name}.done').exists
        failed = processes.Pool(folder, 1).run([Worker({job.name!r}, 'work', '', {{}}, done)])
        sys.exit(len(failed))
    """)
    return subprocess.Popen([sys.executable, '-c', code])


def touch_later(path):
    code = f'import time; time.sleep(1); open({str(path)!r}, "w")'
    return subprocess.Popen([sys.executable, '-c', code])


@pytest.mark.parametrize(('code', 'failed'), [(0, {}), (3, {'a': 'exit code 3: last words'})])
def test_what_fails_for_another_launcher_is_tried_here_once(code, failed, tmp_path, job):
    Pool(tmp_path, 1).run([job('a', code=5)])
    other = launcher(tmp_path, job('a', 'go', code=4))
    try:
        wait_for(lambda: notes(tmp_path)[2:] == ['a began'])
        touch_later(tmp_path / 'go')
        assert Pool(tmp_path, 2).run([job('a', code=code), job('b')]) == failed
        assert notes(tmp_path).count('a began') == 3
    finally:
        # What this launcher has brought to its end has not failed for the other one either.
        assert other.wait(30) == len(failed)


def test_what_has_failed_for_two_is_not_tried_by_a_third(tmp_path, job):
    def fails_for_two():
        if pool.failure('a') is None:
            for _ in range(2):
                pool._failures.note('a', 'it fails')
        return False

    pool = Pool(tmp_path, 1)
    one = dataclasses.replace(job('a'), is_done=fails_for_two)
    assert pool.run([one]) == {'a': 'it fails'}
    assert notes(tmp_path) == []


def test_what_failed_here_and_ends_well_elsewhere_has_not_failed(tmp_path, job):
    pool = Pool(tmp_path, 1)
    other = []

    def starts_another_launcher():
        if pool.failure('a') and not other:
            other.append(launcher(tmp_path, job('a')))
        return (tmp_path / 'b.done').exists()

    waits = dataclasses.replace(job('b', 'a.done'), is_done=starts_another_launcher)
    assert pool.run([job('a', code=3), waits]) == {}
    assert notes(tmp_path).count('a began') == 2
    assert other[0].wait(30) == 0


def test_a_claim_is_the_processs_not_the_launchers(tmp_path, job):
    """While one pool has a job at work another neither starts nor forgets it."""
    other = launcher(tmp_path, job('a', 'go'))
    try:
        wait_for(lambda: notes(tmp_path) == ['a began'])
        with pytest.raises(InputError, match='a: another process is at work on it'):
            Pool(tmp_path, 1).run([job('a', 'go')], wait=False)
        touch_later(tmp_path / 'go')
        assert Pool(tmp_path, 2).run([job('a', 'go'), job('b')]) == {}
        assert sorted(notes(tmp_path)) == ['a began', 'a ended', 'b began', 'b ended']
    finally:
        assert other.wait(30) == 0


def test_when_the_launcher_is_killed_its_processes_are_asked_to_end(tmp_path, job):
    other = launcher(tmp_path, job('a', 'never'))
    wait_for(lambda: notes(tmp_path) == ['a began'])
    other.send_signal(signal.SIGKILL)
    other.wait()
    wait_for(lambda: notes(tmp_path) == ['a began', 'a terminated'])
    # And the claim ends with the process.
    assert Pool(tmp_path, 1).run([job('a')]) == {}


def test_a_sigterm_reaches_the_processes(tmp_path, job, preemptible):
    jobs = [job('a', 'never'), job('b', 'never'), job('c')]

    def terminate():
        wait_for(lambda: sorted(notes(tmp_path)) == ['a began', 'b began'])
        os.kill(os.getpid(), signal.SIGTERM)

    sender = threading.Thread(target=terminate)
    sender.start()
    with pytest.raises(Preempted, match='2 processes'):
        Pool(tmp_path, 2).run(jobs)
    sender.join()
    assert sorted(notes(tmp_path)) == ['a began', 'a terminated', 'b began', 'b terminated']


def test_a_process_that_was_asked_to_end_ends_the_launcher(tmp_path, job):
    with pytest.raises(Preempted, match='a was asked to end'):
        Pool(tmp_path, 1).run([job('a', code=75), job('b')])
    assert not (tmp_path / 'b.done').exists()


@pytest.mark.parametrize(
    ('at_once', 'gpus', 'shares'),
    [
        (1, ['0', '1'], [None]),
        (2, [], [None, None]),
        (2, ['0', '1', '2', '3'], ['0,1', '2,3']),
        (3, ['0', '1', '2', '3', '4', '5', '6', '7'], ['0,1', '2,3', '4,5']),
        (3, ['4', '5'], ['4', '5', '4']),
    ],
)
def test_gpus_are_shared_out(at_once, gpus, shares):
    environments = processes.environments(at_once, gpus)
    assert list(environments) == list(range(at_once))
    found = [environments[slot].get('CUDA_VISIBLE_DEVICES') for slot in environments]
    assert found == shares
    grows = {environment.get('TF_FORCE_GPU_ALLOW_GROWTH') for environment in environments.values()}
    assert grows == ({'true'} if at_once > len(gpus) > 0 else {None})
