"""Several runs as processes, a few at once, of one host or of several that share a folder.

A run that is at work is claimed by a lock on a file, which its process holds as long as it lives,
even where the launcher that started it is gone. So no two processes train the same run, and a claim
never outlives its process.
"""

import ctypes
import dataclasses
import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable

from absl import logging

from tfnets.errors import InputError, Preempted
from tfnets.launchers import app
from tfnets.locks import lock
from tfnets.training import preemption

_POLL_SECONDS = 0.5
_NEWS_SECONDS = 60


@dataclasses.dataclass(frozen=True, eq=False)
class Job:
    """A run to be brought to its end by a launcher.

    Attributes:
        name: of its claim and its log; jobs of the same name are never at work together.
        purpose: what it does, in a word.
        launcher: its module in tfnets.launchers.
        flags: dict from a flag's name to its value, as text.
        is_done: function without arguments that tells whether there is nothing left to do.
    """

    name: str
    purpose: str
    launcher: str
    flags: dict[str, str]
    is_done: Callable[[], bool]

    @property
    def command(self):
        """What is started."""
        flags = [f'--{name}={value}' for name, value in self.flags.items()]
        return [sys.executable, '-m', f'tfnets.launchers.{self.launcher}', *flags]


class Pool:
    """Starts jobs, as many at once as there is room for.

    Args:
        folder: pathlib.Path that all who share the jobs see; claims and logs are kept in it.
        at_once: how many processes.
    """

    def __init__(self, folder, at_once):
        self._logs, self._claims = folder / 'logs', folder / '.claims'
        self._at_once, self._environments = at_once, {}
        self._running = {}

    def run(self, jobs, wait=True):
        """Brings jobs to their end; waits for those that another launcher has at work.

        Args:
            jobs: list of Job.
            wait: False to refuse a job that another launcher has at work.

        Returns:
            Dict from the name of each job that failed to the reason.

        Raises:
            Preempted: after a SIGTERM, which the processes were sent too; all is saved.
            InputError: if it was not to wait.
        """
        for folder in (self._logs, self._claims):
            folder.mkdir(parents=True, exist_ok=True)
        self._environments = environments(self._at_once, visible_gpus())
        pending, failed = list(jobs), {}
        news = _News()
        with preemption.deferred() as asked:
            try:
                while pending or self._running:
                    if asked():
                        raise Preempted(f'{len(self._running)} processes ended, all saved')
                    failed |= self._reap()
                    pending = [job for job in pending if not self._settle(job, wait)]
                    news.tell(pending, self._running, self._log)
                    time.sleep(_POLL_SECONDS)
            finally:
                self._end_all()
        return failed

    def _settle(self, job, wait):
        """Starts a job if there is room; answers whether nobody need think of it any more."""
        used = {slot for _, slot in self._running.values()}
        free = [slot for slot in self._environments if slot not in used]
        if not free:
            return False
        if job.is_done():
            return True
        claim = self._claim(job)
        if claim is None:
            if not wait:
                raise InputError(
                    f'{job.name}: another process is at work on it; wait, or take another trial'
                )
            return False
        with claim:  # the process has a copy
            if job.is_done():  # by somebody who has just ended
                return True
            logging.info('%s: %s; its log is %s', job.name, job.purpose, self._log(job.name))
            with open(self._log(job.name), 'ab') as log:
                process = subprocess.Popen(
                    job.command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env={**_own_environment(), **self._environments[free[0]]},
                    pass_fds=[claim.fileno()],
                    start_new_session=True,  # Ctrl-C is passed on once, as SIGTERM
                    preexec_fn=_end_with_parent,
                )
        self._running[job] = (process, free[0])
        return True

    def _reap(self):
        """Takes leave of processes that have ended; answers those that failed, with the reason."""
        failed = {}
        for job, (process, _) in list(self._running.items()):
            code = process.poll()
            if code is None:
                continue
            del self._running[job]
            if job.is_done():
                logging.info('%s: %s done', job.name, job.purpose)
            elif code == app.PREEMPTED:
                raise Preempted(f'{job.name} was asked to end')
            else:
                failed[job.name] = f'{_meaning(code)}: {_last_line(self._log(job.name))}'
                logging.error('%s: %s failed, %s', job.name, job.purpose, failed[job.name])
        return failed

    def _end_all(self):
        """Asks all processes to end, and waits until they have."""
        for process, _ in self._running.values():
            process.terminate()
        for process, _ in self._running.values():
            process.wait()
        self._running = {}

    def _log(self, name):
        return self._logs / f'{name}.txt'

    def _claim(self, job):
        """An open file whose lock is a claim; None where somebody else has it."""
        file = open(self._claims / job.name, 'a+')  # noqa: SIM115 - held by the process
        if lock(file):
            return file
        file.close()
        return None


class _News:
    """Says now and then what is going on: the last lines of logs, or what is waited for."""

    def __init__(self):
        self._told, self._waited, self._lines = time.monotonic(), False, {}

    def tell(self, pending, running, log):
        if pending and not running and not self._waited:
            self._waited = True
            names = ', '.join(job.name for job in pending)
            logging.info('waiting for another launcher to end %s', names)
        if time.monotonic() - self._told > _NEWS_SECONDS:
            self._told = time.monotonic()
            lines = {job.name: _last_line(log(job.name)) for job in running}
            for name, line in lines.items():
                if line and self._lines.get(name) != line:
                    logging.info('%s: %s', name, line)
            self._lines = lines


def _last_line(path):
    """The last line of a log, '' if there is none."""
    lines = pathlib.Path(path).read_text(errors='replace').strip().splitlines()
    return lines[-1] if lines else ''


def _meaning(code):
    return f'ended by signal {-code}' if code < 0 else f'exit code {code}'


def _own_environment():
    """This process's environment, without the cluster that it may name: a job trains alone."""
    return {name: value for name, value in os.environ.items() if name != 'TF_CONFIG'}


def _end_with_parent():
    """Has Linux send this process a SIGTERM when the launcher is gone, however it went."""
    if sys.platform == 'linux':
        set_death_signal = 1  # PR_SET_PDEATHSIG of sys/prctl.h
        ctypes.CDLL(None).prctl(set_death_signal, signal.SIGTERM)


# ----------------------------------------------------------------------------------- devices


def visible_gpus():
    """The GPUs that processes may use, as CUDA_VISIBLE_DEVICES names them."""
    named = os.environ.get('CUDA_VISIBLE_DEVICES')
    if named is not None:
        return [name for name in named.split(',') if name and name != '-1']
    try:
        command = ['nvidia-smi', '--query-gpu=index', '--format=csv,noheader']
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return done.stdout.split() if done.returncode == 0 else []


def environments(at_once, gpus):
    """What the environment of each of several processes says beside that of the launcher.

    Args:
        at_once: how many processes.
        gpus: names of the GPUs to be shared out.

    Returns:
        Dict from 0, 1, ... to a dict. Where there are fewer GPUs than processes some share one, and
        take of its memory what they need instead of all.
    """
    if at_once == 1 or not gpus:
        return {slot: {} for slot in range(at_once)}
    shares = {slot: gpus[slot::at_once] or [gpus[slot % len(gpus)]] for slot in range(at_once)}
    grow = {'TF_FORCE_GPU_ALLOW_GROWTH': 'true'} if at_once > len(gpus) else {}
    return {
        slot: {'CUDA_VISIBLE_DEVICES': ','.join(share), **grow} for slot, share in shares.items()
    }
