"""SIGTERM and Ctrl-C: the process is asked to end, and will be started again later."""

import contextlib
import signal

from tfnets.errors import Preempted

_deferred = False
_requested = False


def install():
    """From now on SIGTERM and SIGINT raise Preempted, at once or when a `deferred` block allows it.

    A second SIGINT does not wait.
    """
    signal.signal(signal.SIGTERM, _handle)
    signal.signal(signal.SIGINT, _handle)


def requested():
    """Whether there was a signal that no `deferred` block has ended by."""
    return _requested


@contextlib.contextmanager
def deferred():
    """Within it the signals are only noted, so that the block can save what it has.

    Gives a function that tells whether there was one; also one from before the block, for a library
    may have been called when it came, and have swallowed what it raised. At the block's end
    Preempted is raised, if the block has not done so.
    """
    global _deferred, _requested
    _deferred = True
    try:
        yield lambda: _requested
        if _requested:
            raise Preempted('saved')
    except Preempted:
        _requested = False
        raise
    finally:
        _deferred = False


def _handle(number, _):
    global _requested
    again, _requested = _requested, True
    if again and number == signal.SIGINT:
        raise KeyboardInterrupt
    if not _deferred:
        raise Preempted('nothing was lost')
