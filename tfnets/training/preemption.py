"""SIGTERM: a scheduler asks the process to end, and starts it again later."""

import contextlib
import signal

from tfnets.errors import Preempted

_deferred = False
_requested = False


def install():
    """From now on a SIGTERM raises Preempted, at once or when a `deferred` block allows it."""
    signal.signal(signal.SIGTERM, _handle)


@contextlib.contextmanager
def deferred():
    """Within it a SIGTERM is only noted, so that the block can save what it has.

    Gives a function that tells whether there was one. At its end Preempted is raised, if the block
    has not done so.
    """
    global _deferred, _requested
    _deferred, _requested = True, False
    try:
        yield lambda: _requested
    finally:
        _deferred = False
    if _requested:
        raise Preempted('saved')


def _handle(*_):
    global _requested
    _requested = True
    if not _deferred:
        raise Preempted('nothing was lost')
