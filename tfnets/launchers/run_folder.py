"""The folder of a run: what it was asked for, where it runs, and that nobody else is in it."""

import fcntl
import hashlib
import pathlib
import platform
import shutil
import subprocess
import sys

from tfnets import __version__
from tfnets.errors import InputError
from tfnets.files import read_json, write_json, write_text
from tfnets.launchers import common_flags


def locate(launcher, values):
    """Finds the folder of the run that these flags ask for; makes nothing.

    Args:
        launcher: name of the launcher.
        values: dict of the resolved flags.

    Returns:
        pathlib.Path of the folder.

    Raises:
        InputError: if the folder holds a run with other flags, or files that are no run's.
    """
    asked = _asked(values)
    folder = pathlib.Path(values.get('run_dir') or _default_folder(launcher, asked))
    run = read_json(folder / 'run.json')
    if run and not values.get('overwrite'):
        _check_same(folder, run['flags'], asked)
    if not run and folder.exists() and any(path.name != '.lock' for path in folder.iterdir()):
        raise InputError(
            f'--run_dir={folder}: there are files in it, but no run (no run.json); '
            'name an empty folder'
        )
    return folder


def occupy(folder, launcher, values):
    """Makes the run's folder, or goes on in it; nobody else may until this process ends.

    Args:
        folder: what `locate` answered.
        launcher: name of the launcher.
        values: dict of the resolved flags; with 'overwrite' what is in the folder is deleted.

    Raises:
        InputError: if another process is in it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _lock(folder)
    if values.get('overwrite'):
        for path in folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != '.lock':
                path.unlink()
    shown = {**values, 'run_dir': folder, 'overwrite': False, 'dry_run': False}
    lines = [f'# python -m tfnets.launchers.{launcher} --flagfile={folder}/flags.cfg']
    lines += [f'--{name}={_text(value)}' for name, value in sorted(shown.items())]
    write_text(folder / 'flags.cfg', '\n'.join(lines) + '\n')
    if not (folder / 'run.json').exists():
        started = {'launcher': launcher, 'flags': _asked(values), **_surroundings()}
        write_json(folder / 'run.json', started)


def add_facts(folder, facts):
    """Adds what came out while starting (hardware, parameters) to run.json."""
    path = folder / 'run.json'
    write_json(path, {**read_json(path), **facts})


def _default_folder(launcher, asked):
    text = '\n'.join(f'{name}={value}' for name, value in sorted(asked.items()))
    return f'runs/{launcher}-{hashlib.sha1(text.encode()).hexdigest()[:10]}'


def _asked(values):
    """The flags that make a run what it is, as text."""
    kept = {k: v for k, v in values.items() if k not in common_flags.CHANGEABLE}
    return {name: _text(value) for name, value in kept.items()}


def _text(value):
    """A flag's value as it stands in a flagfile."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return ','.join(map(str, value))
    return str(value)


def _check_same(folder, before, asked):
    names = sorted(before.keys() | asked.keys())
    differing = [
        f'--{name} was {before.get(name, "not given")}, is {asked.get(name, "not given")}'
        for name in names
        if before.get(name) != asked.get(name)
    ]
    if differing:
        raise InputError(
            f'--run_dir={folder} holds a run with other flags: {"; ".join(differing)}; '
            'name another folder, or start anew by --overwrite'
        )


_locks = []


def _lock(folder):
    """Holds the folder until the process ends, however it ends."""
    file = open(folder / '.lock', 'w')  # noqa: SIM115 - held as long as the process lives
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise InputError(
            f'--run_dir={folder}: another process is running there; wait, or name another folder'
        ) from None
    _locks.append(file)


def _surroundings():
    return {
        'command': sys.argv,
        'versions': {'tfnets': __version__, 'python': platform.python_version()},
        'host': platform.node(),
        'revision': _revision(),
    }


def _revision():
    """The git revision of the code, if it stands in a clone."""
    folder = pathlib.Path(__file__).parent
    command = ['git', 'describe', '--always', '--dirty', '--abbrev=12']
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None
