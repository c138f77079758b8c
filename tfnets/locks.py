"""Locks on open files, which end with the process that holds them, however it ends.

Hosts that share a folder need locks that hold between them: flock on NFS version 4 (or 3 with its
lock daemon; not mounted with nolock or local_lock), on Lustre mounted with flock.
"""

import fcntl

from tfnets.errors import InputError


def lock(file, how=fcntl.LOCK_EX | fcntl.LOCK_NB):
    """Takes the lock on an open file, until the process closes it or ends.

    Args:
        file: open for reading and writing, or NFS shares no lock on it.
        how: as of fcntl.flock.

    Returns:
        Whether it was taken; False if another process has it, and `how` says not to wait.

    Raises:
        InputError: if its file system has no locks.
    """
    try:
        fcntl.flock(file, how)
    except BlockingIOError:
        return False
    except OSError as error:
        raise InputError(
            f'{file.name}: no lock can be had on this file system ({error.strerror}); mount it '
            'with flock, or name a folder elsewhere'
        ) from None
    return True
