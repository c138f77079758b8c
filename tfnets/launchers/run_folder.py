"""The folder of a run: what it was asked for, where it runs, and that nobody else is in it."""

import fcntl
import hashlib
import pathlib
import platform
import shutil
import subprocess
import sys
import tempfile
import time

from absl import flags, logging

from tfnets import __version__
from tfnets.data import presets
from tfnets.errors import InputError
from tfnets.files import copy, read_json, write_json, write_text
from tfnets.launchers import common_flags
from tfnets.locks import lock
from tfnets.training import cluster


def locate(launcher, values, changeable=()):
    """Finds the folder of the run that these flags ask for; makes nothing.

    Args:
        launcher: name of the launcher.
        values: dict of the resolved flags.
        changeable: names of the launcher's own flags that may differ when a run is gone on with.

    Returns:
        pathlib.Path of the folder.

    Raises:
        InputError: if the folder holds a run with other flags, or files that are no run's.
    """
    asked = _identity(as_text(values), changeable)
    folder = pathlib.Path(values.get('run_dir') or _default_folder(launcher, asked, values))
    run = read_json(folder / 'run.json')
    if run and run['launcher'] != launcher:
        raise InputError(
            f'--run_dir={folder} holds a run of {run["launcher"]}, not of {launcher}; name another '
            'folder'
        )
    if run and not values.get('overwrite'):
        _check_same(folder, _identity(run['flags'], changeable), asked)
    if not run and folder.exists() and any(map(_is_foreign, folder.iterdir())):
        raise InputError(
            f'--run_dir={folder}: there are files in it, but no run (no run.json); '
            'name an empty folder'
        )
    return folder


def occupy(folder, launcher, values):
    """Makes the run's folder, or goes on in it; nobody else may until this process ends.

    Of a cluster's processes the chief does so, for all of them.

    Args:
        folder: what `locate` answered.
        launcher: name of the launcher.
        values: dict of the resolved flags; with 'overwrite' what is in the folder is deleted.

    Raises:
        InputError: if another process is in it, or one of a cluster's does not see it.
    """
    cluster.wait()  # until all have located it
    if cluster.is_chief():
        _occupy(folder, launcher, values)
    _check_seen(folder)


def _occupy(folder, launcher, values):
    file = _open_lock(folder)
    if not lock(file):
        raise InputError(
            f'--run_dir={folder}: another process is running there; wait, or name another folder'
        )
    if values.get('overwrite'):
        _empty(folder)
    _write_start(folder, launcher, values)


def _check_seen(folder):
    """Refuses a folder whose files not all processes of a cluster see."""
    written = cluster.agreed(read_json(folder / 'run.json', {}))
    # What another host has written may take a while to be seen.
    patience = time.monotonic() + 30
    while read_json(folder / 'run.json', {}) != written and time.monotonic() < patience:
        time.sleep(0.1)
    is_blind = read_json(folder / 'run.json', {}) != written
    if any(cluster.total([is_blind])):
        raise InputError(
            f'--run_dir={folder}: {"this process does" if is_blind else "other processes do"} not '
            'see what the first one has written there; expected a folder on a file system that all '
            'of them share'
        )


def share(folder, launcher, values, changeable=(), part=None):
    """Makes the run's folder, or goes on in it beside others who `share` it.

    Args:
        folder: what `locate` answered.
        launcher: name of the launcher.
        values: dict of the resolved flags; with 'overwrite' what is in the folder is deleted.
        changeable: as in `locate`.
        part: name of a flag by which a start does a part of the work alone. It is left out of the
            run's own flags.cfg, which a start with it does not write, but for the first.

    Raises:
        InputError: if it is to be deleted while another process is in it, or somebody has just made
            it with other flags.
    """
    whole = {name: value for name, value in values.items() if name != part}
    is_first = values.get('overwrite', False)
    if is_first:
        occupy(folder, launcher, whole)
    file = _open_lock(folder)
    while read_json(folder / 'run.json') is None:
        if lock(file):
            _write_start(folder, launcher, whole)
            is_first = True
        else:  # somebody else is making it
            time.sleep(0.05)
    lock(file, fcntl.LOCK_SH)
    locate(launcher, {**values, 'run_dir': folder, 'overwrite': False}, changeable)
    if not is_first and values.get(part) is None:
        with open(folder / '.starts', 'a+') as starts:
            lock(starts, fcntl.LOCK_EX)
            _write_start(folder, launcher, whole)


def _write_start(folder, launcher, values):
    """Notes in run.json and flags.cfg what was asked for last, and this start of it."""
    start = _surroundings()
    shown = as_text({**values, 'run_dir': folder, 'overwrite': False, 'dry_run': False})
    before = read_json(folder / 'run.json') or {'starts': []}
    asked = {'launcher': launcher, 'flags': shown}
    write_json(folder / 'run.json', {**before, **asked, 'starts': [*before['starts'], start]})
    lines = [f'# python -m tfnets.launchers.{launcher} --flagfile={folder}/flags.cfg']
    lines += [f'--{name}={value}' for name, value in shown.items()]
    write_text(folder / 'flags.cfg', '\n'.join(lines) + '\n')


def show_finished(folder):
    """Prints the report of a run that is finished; answers whether it is."""
    report = folder / 'report.md'
    if not report.exists() or flags.FLAGS.overwrite or flags.FLAGS.dry_run:
        return False
    logging.info('%s is finished; this is its report (its data are not looked at again)', folder)
    print(report.read_text())
    return True


def deploy(folder, phase_folder):
    """Makes the network that a phase ended with the one of the run: model.keras, inputs.json."""
    for name in ('network.keras', 'inputs.json'):
        copy(phase_folder / name, folder / name.replace('network', 'model'))


def add_facts(folder, facts, start):
    """Adds to run.json what came out on the way.

    Args:
        folder: of the run.
        facts: dict, of the run.
        start: dict, of this start: hardware and versions may change from one to the next.

    Returns:
        What now stands in run.json.
    """
    run = {**read_json(folder / 'run.json'), **facts}
    run['starts'][-1] |= start
    write_json(folder / 'run.json', run)
    return run


def provenance(runs):
    """Where runs were trained and by what, over all their starts: what the head of a report says.

    Args:
        runs: list of what stands in a run.json.

    Returns:
        Dict from a fact's name to text.
    """
    starts = [start for run in runs for start in run['starts']]

    def all_of(name):
        return ', then '.join(dict.fromkeys(start[name] for start in starts if start.get(name)))

    revision = all_of('revision')
    return {
        'hardware': all_of('hardware'),
        'tfnets': all_of('tfnets') + (f', revision {revision}' if revision else ''),
    }


def _empty(folder):
    """Deletes what is in a run's folder, but for the file of --log_file, which is open."""
    trash = pathlib.Path(tempfile.mkdtemp(dir=folder, prefix='.trash'))
    # run.json goes first: without it there is no run, with it all of it is there.
    for path in sorted(folder.iterdir(), key=lambda path: path.name != 'run.json'):
        if not path.name.startswith('.'):
            _throw_away(path, trash)
    for path in folder.glob('.trash*'):
        shutil.rmtree(path)


def _throw_away(path, trash):
    """Moves a file or folder into another one; the log stays where it is."""
    if not _is_log(path):
        path.rename(trash / path.name)
    elif path.is_dir():
        (trash / path.name).mkdir()
        for inner in path.iterdir():
            _throw_away(inner, trash / path.name)


def _is_foreign(path):
    """Whether a file is not one that a start leaves when it is killed at once."""
    return not path.name.startswith('.') and path.name != 'flags.cfg' and not _is_log(path)


def _is_log(path):
    """Whether it is the file of --log_file, which is open, or a folder that it is in."""
    if not flags.FLAGS.log_file:
        return False
    log = pathlib.Path(flags.FLAGS.log_file).absolute()
    return path.absolute() in (log, *log.parents)


def _default_folder(launcher, asked, values):
    asked = {**asked, 'data_dir': values.get('data_dir')}
    text = '\n'.join(f'{name}={value}' for name, value in sorted(asked.items()))
    return f'runs/{launcher}-{hashlib.sha1(text.encode()).hexdigest()[:10]}'


def as_text(values):
    """Flags by name, their values as they stand in a flagfile."""
    return {name: _text(value) for name, value in sorted(values.items())}


def _identity(flags, changeable=()):
    """The flags that make a run what it is; a preprocessing's name is the line it stands for."""
    changeable = {*common_flags.CHANGEABLE, *changeable}
    return {
        name: presets.expand(value) if name.endswith('preprocessing') else value
        for name, value in flags.items()
        if name not in changeable
    }


def _text(value):
    """A flag's value as it stands in a flagfile."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return ','.join(map(str, value))
    return str(value)


def differences(before, asked):
    """The flags by which two starts differ.

    Args:
        before: dict from a flag's name to its value, as text.
        asked: the same.

    Returns:
        List of a flag's name and both values, 'not given' where there is none.
    """
    return [
        (name, before.get(name, 'not given'), asked.get(name, 'not given'))
        for name in sorted(before.keys() | asked.keys())
        if before.get(name) != asked.get(name)
    ]


def _check_same(folder, before, asked):
    differing = [f'--{name} was {was}, is {now}' for name, was, now in differences(before, asked)]
    if differing:
        raise InputError(
            f'--run_dir={folder} holds a run with other flags: {"; ".join(differing)}; '
            'name another folder, or start anew by --overwrite'
        )


_locks = {}


def _open_lock(folder):
    """The file of a folder's lock, open until the process ends, however it ends; makes both."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # NFS shares a lock only on a file that is open for reading too.
        return _locks.setdefault(folder, open(folder / '.lock', 'a+'))
    except OSError as error:
        raise InputError(f'--run_dir={folder}: cannot be written to ({error.strerror})') from None


def _surroundings():
    return {
        'time': time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime()),
        'command': sys.argv,
        'tfnets': __version__,
        'revision': _revision(),
        'python': platform.python_version(),
        'host': platform.node(),
    }


def _revision():
    """The git revision of the code, if it stands in a clone."""
    # An environment within a clone of something else is none: git knows nothing of this file.
    if _git('ls-files', pathlib.Path(__file__).name) is None:
        return None
    return _git('describe', '--always', '--dirty', '--abbrev=12')


def _git(*words):
    """What git answers in the folder of the code; None if it has no answer."""
    folder = pathlib.Path(__file__).parent
    try:
        done = subprocess.run(
            ['git', *words], cwd=folder, capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None
