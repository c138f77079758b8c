"""Several runs as processes, a few at once, of one host or of several that share a folder.

A run that is at work is claimed by a lock on a file, which its process holds as long as it lives,
even where the launcher that started it is gone. So no two processes train the same run, and a claim
ends with its process, as soon as the launcher has noted how that ended.
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
from typing import IO

from absl import logging

from tfnets.errors import InputError, Preempted
from tfnets.files import read_json, write_json
from tfnets.launchers import app
from tfnets.locks import lock
from tfnets.machine import visible_gpus
from tfnets.training import preemption

_POLL_SECONDS = 0.5
_NEWS_SECONDS = 60

# How many launchers that share jobs try one before it has failed for all of them: what fails on
# one host may not on another.
_TRIES = 2


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


@dataclasses.dataclass(frozen=True)
class _Running:
    """A job at work.

    Attributes:
        process: of it.
        slot: which of the pool's environments it has.
        claim: open file, so that nobody takes the job up before it is known how it ended.
    """

    process: subprocess.Popen
    slot: int
    claim: IO


class Pool:
    """Starts jobs, as many at once as there is room for.

    Args:
        folder: pathlib.Path that all who share the jobs see; claims, logs and reasons of failures
            are kept in it.
        at_once: how many processes.
    """

    def __init__(self, folder, at_once):
        self._logs, self._claims = folder / 'logs', folder / '.claims'
        self._failures = _Failures(folder / 'failures')
        self._at_once, self._environments = at_once, {}
        self._running, self._failed, self._before = {}, {}, {}

    def failure(self, name):
        """Why a job failed when it was last tried; None if it did not, or is at work again."""
        return self._failures.reason(name)

    def run(self, jobs, wait=True):
        """Brings jobs to their end; waits for those that another launcher has at work.

        Of launchers that share them each tries a job that is not done at most once, and two of them
        at most; what failed before this call does not count. One that failed here and that another
        brings to its end has not failed.

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
        pending, self._failed = list(jobs), {}
        self._before = {job.name: self._failures.count(job.name) for job in jobs}
        news = _News()
        with preemption.deferred() as asked:
            try:
                while pending or self._running or self._retried(jobs):
                    if asked():
                        raise Preempted(f'{len(self._running)} processes ended, all saved')
                    self._reap()
                    pending = [job for job in pending if not self._settle(job, wait)]
                    news.tell(pending, self._running, self._log)
                    time.sleep(_POLL_SECONDS)
            finally:
                self._end_all()
        return {job.name: self._failed[job.name] for job in self._failed_of(jobs)}

    def _failed_of(self, jobs):
        """Those that have failed here, or for good, and that nobody has brought to an end since."""
        return [job for job in jobs if job.name in self._failed and not job.is_done()]

    def _retried(self, jobs):
        """Whether another launcher is at work on what failed here."""
        for job in self._failed_of(jobs):
            claim = self._claim(job)
            if claim is None:
                return True
            claim.close()
        return False

    def _settle(self, job, wait):
        """Starts a job if there is room; answers whether nobody need think of it any more."""
        used = {running.slot for running in self._running.values()}
        free = [slot for slot in self._environments if slot not in used]
        if not free:
            return False
        if self._is_over(job):
            return True
        claim = self._claim(job)
        if claim is None:
            if not wait:
                raise InputError(
                    f'{job.name}: another process is at work on it; wait, or take another trial'
                )
            return False
        if self._is_over(job):  # by somebody who has just ended
            claim.close()
            return True
        self._running[job] = _Running(self._start(job, claim, free[0]), free[0], claim)
        return True

    def _start(self, job, claim, slot):
        """The process of a job, which holds a copy of the claim."""
        self._failures.forget(job.name)
        logging.info('%s: %s; its log is %s', job.name, job.purpose, self._log(job.name))
        with open(self._log(job.name), 'ab') as log:
            return subprocess.Popen(
                job.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**_own_environment(), **self._environments[slot]},
                pass_fds=[claim.fileno()],
                start_new_session=True,  # Ctrl-C is passed on once, as SIGTERM
                preexec_fn=_end_with_parent,
            )

    def _is_over(self, job):
        """Whether a job is done, or has failed for others so often that it is not tried here."""
        if job.is_done():
            return True
        tries = self._failures.count(job.name) - self._before[job.name]
        reason = self._failures.reason(job.name)
        if reason is None or tries < _TRIES:
            return False
        self._failed[job.name] = reason
        return True

    def _reap(self):
        """Takes leave of processes that have ended, and notes why some failed."""
        for job, running in list(self._running.items()):
            code = running.process.poll()
            if code is None:
                continue
            del self._running[job]
            if job.is_done():
                logging.info('%s: %s done', job.name, job.purpose)
            elif code == app.PREEMPTED:
                running.claim.close()
                raise Preempted(f'{job.name} was asked to end')
            else:
                reason = f'{_meaning(code)}: {_last_line(self._log(job.name))}'
                self._failed[job.name] = reason
                self._failures.note(job.name, reason)
                logging.error('%s: %s failed, %s', job.name, job.purpose, reason)
            running.claim.close()

    def _end_all(self):
        """Asks all processes to end, and waits until they have."""
        for running in self._running.values():
            running.process.terminate()
            running.claim.close()  # the process has its own copy
        for running in self._running.values():
            running.process.wait()
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


class _Failures:
    """Why jobs failed, a file for each, until they are started again; and how often.

    Args:
        folder: pathlib.Path of the files.
    """

    def __init__(self, folder):
        self._folder = folder

    def reason(self, name):
        """Text; None if the job has not failed when it was last tried, or is at work."""
        return self._read(name)['reason']

    def count(self, name):
        """How often the job has failed so far."""
        return self._read(name)['count']

    def note(self, name, reason):
        """Keeps the reason."""
        write_json(self._path(name), {'count': self.count(name) + 1, 'reason': reason})

    def forget(self, name):
        """Drops the reason."""
        if self.reason(name) is not None:
            write_json(self._path(name), {'count': self.count(name), 'reason': None})

    def _read(self, name):
        return read_json(self._path(name), {'count': 0, 'reason': None})

    def _path(self, name):
        return self._folder / f'{name}.json'


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


def environments(at_once, gpus):
    """What the environment of each of several processes says beside that of the launcher.

    Args:
        at_once: how many processes.
        gpus: names of the GPUs to be shared out.

    Returns:
        Dict from 0, 1, ... to a dict. All have as many GPUs, for a run is another one on more of
        them: some may be left over. Where there are fewer than processes some share one, and take
        of its memory what they need instead of all.
    """
    if at_once == 1 or not gpus:
        return {slot: {} for slot in range(at_once)}
    each = max(1, len(gpus) // at_once)
    shares = {
        slot: [gpus[(slot * each + number) % len(gpus)] for number in range(each)]
        for slot in range(at_once)
    }
    grow = {'TF_FORCE_GPU_ALLOW_GROWTH': 'true'} if at_once > len(gpus) else {}
    return {
        slot: {'CUDA_VISIBLE_DEVICES': ','.join(share), **grow} for slot, share in shares.items()
    }
