"""Writing files so that a kill, or a full disk, never leaves half of one."""

import contextlib
import json
import os
import pathlib
import shutil
import tempfile

_discarding = False


def discard():
    """From now on whatever this process writes by `replacing` vanishes; another's is kept."""
    global _discarding
    _discarding = True


def write_text(path, text):
    """Writes a text file whole or not at all.

    Args:
        path: where to; its folder is made if need be.
        text: str.

    Raises:
        OSError: if it cannot be written; what was there before is still there.
    """
    with replacing(path) as temporary:
        temporary.write_text(text)


def write_json(path, value):
    """Writes a value as indented JSON, whole or not at all."""
    write_text(path, json.dumps(value, indent=2) + '\n')


def remove(path):
    """Deletes a file, if it is there; `discard` holds for that too."""
    if not _discarding:
        pathlib.Path(path).unlink(missing_ok=True)


def read_json(path, default=None):
    """Reads a JSON file; answers `default` if there is none."""
    path = pathlib.Path(path)
    return json.loads(path.read_text()) if path.exists() else default


def copy(source, path):
    """Copies a file, whole or not at all."""
    with replacing(path) as temporary:
        shutil.copyfile(source, temporary)


@contextlib.contextmanager
def new_folder(path):
    """Gives a temporary folder beside `path` that takes its place if all went well.

    Args:
        path: where nothing is yet, or an empty folder.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix='.', suffix=path.name) as temporary:
        folder = pathlib.Path(temporary) / path.name
        folder.mkdir()
        yield folder
        os.replace(folder, path)


class replacing:  # noqa: N801 - used as `with replacing(path) as temporary:`
    """Gives a temporary path beside `path` that takes its place if all went well."""

    def __init__(self, path):
        self._path = pathlib.Path(path)

    def __enter__(self):
        folder = None if _discarding else self._path.parent
        if folder:
            folder.mkdir(parents=True, exist_ok=True)
        # The ending stays, for some writers choose their format by it.
        handle, name = tempfile.mkstemp(dir=folder, suffix=self._path.name, prefix='.')
        os.close(handle)
        self._temporary = pathlib.Path(name)
        return self._temporary

    def __exit__(self, kind, error, trace):
        if kind is None and not _discarding:
            with open(self._temporary, 'rb') as file:
                os.fsync(file.fileno())
            os.chmod(self._temporary, 0o644)
            os.replace(self._temporary, self._path)
        else:
            self._temporary.unlink(missing_ok=True)
