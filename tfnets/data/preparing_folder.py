"""The folder of a data set in the making: whose it is, what is done, and whether it is finished.

What is done is noted in a hidden folder in it, which goes when the data set is finished. Imports no
TensorFlow.
"""

import pathlib
import re
import shutil

from tfnets.errors import InputError
from tfnets.files import read_json, replacing, write_json
from tfnets.locks import lock

VERSION = '1.0.0'
METADATA = 'metadata.json'  # Written last: a folder that has it is finished.


class Folder:
    """A folder that one data set is prepared in, by one process at a time.

    Args:
        output_dir: TFDS's `data_dir`; the data set lies in output_dir/NAME/VERSION.
        name: of the data set.
        made_of: dict of JSON values, which the data set is a function of.
        overwrite: whether to delete what an earlier start left.

    Attributes:
        path: where the data set lies.
        notes: hidden folder for what is needed until it is finished.

    Raises:
        InputError: if something else lies there, it was begun with something else, or another
            process is at it.
    """

    def __init__(self, output_dir, name, made_of, overwrite=False):
        self.name = name
        self.path = pathlib.Path(output_dir).expanduser() / name / VERSION
        self.made_of = made_of
        self.notes = self.path / '.preparing'
        self._refuse_foreign()
        if self.metadata is None or overwrite:
            self._lock()
        if overwrite:
            self._empty()
        self._refuse_other_flags()
        if self.metadata is not None:
            self._tidy()
            return
        for path in self.path.glob('.*'):  # what a kill left of files that were being written
            if path.is_file():
                path.unlink()
        write_json(self.notes / 'made_of.json', made_of)

    @property
    def metadata(self):
        """What METADATA holds; None as long as the data set is not finished."""
        return read_json(self.path / METADATA)

    def facts(self, file):
        """What `add` was told of a file; None if it is not there, or not whole."""
        path = self.path / file
        facts = read_json(self.notes / f'{file}.json')
        whole = facts and path.exists() and path.stat().st_size == facts['file_bytes']
        return facts if whole else None

    def add(self, file, write):
        """Adds a file, whole or not at all.

        Args:
            file: its name.
            write: writes it to a path, and answers a dict of JSON values.

        Returns:
            That dict.
        """
        with replacing(self.path / file) as temporary:
            facts = write(temporary)
            facts['file_bytes'] = temporary.stat().st_size
        write_json(self.notes / f'{file}.json', facts)
        return facts

    def finish(self, metadata):
        """Writes METADATA: from now on the data set is finished."""
        write_json(self.path / METADATA, metadata)
        self._tidy()

    def _refuse_foreign(self):
        ours = self.metadata is not None or self.notes.exists()
        if not ours and self.path.exists() and any(self.path.iterdir()):
            raise InputError(
                f'{self.path}: there are files in it that were not prepared by this command; name '
                'another --output_dir or --name'
            )

    def _refuse_other_flags(self):
        begun = (self.metadata or {}).get('made_of') or read_json(self.notes / 'made_of.json')
        differing = [
            f'{key} was {begun.get(key)}, is {value}'
            for key, value in self.made_of.items()
            if begun and begun.get(key) != value
        ]
        if differing:
            raise InputError(
                f'{self.path} was begun otherwise: {"; ".join(differing)}; name another '
                '--output_dir or --name, or start anew by --overwrite'
            )

    def _lock(self):
        """Holds the folder until the process ends, however it ends."""
        self.notes.mkdir(parents=True, exist_ok=True)
        self._held = open(self.notes / 'lock', 'a+')  # noqa: SIM115
        if not lock(self._held):
            raise InputError(
                f'{self.path}: another process is preparing it; wait, or name another --output_dir'
            )

    def _empty(self):
        """Deletes all but the lock; a kill in between leaves a folder that is not finished."""
        (self.path / METADATA).unlink(missing_ok=True)
        for path in [*self.path.iterdir(), *self.notes.iterdir()]:
            if path.is_file() and path != self.notes / 'lock':
                path.unlink()

    def _tidy(self):
        shutil.rmtree(self.notes, ignore_errors=True)


def default_name(input_dir):
    """A name for the data set of a folder: 256_ObjectCategories becomes object_categories_256.

    Words are joined by underscores, in lower case; numbers in front go behind; a name that TFDS
    (or this library) has given to another data set gets `_folder` behind it.
    """
    text = re.sub(r'([a-z0-9])([A-Z])|[^A-Za-z0-9]+', r'\1_\2', pathlib.Path(input_dir).name)
    numbers, rest = re.fullmatch(r'([0-9_]*)(.*)', text.lower()).groups()
    words = [*rest.split('_'), *numbers.split('_')]
    name = '_'.join(filter(None, words if rest else ['photos', *words]))
    return f'{name}_folder' if is_taken(name) else name


def is_taken(name):
    """Whether --dataset would take the name for another data set."""
    import tensorflow_datasets as tfds

    return name == 'sample' or name in tfds.list_builders(with_community_datasets=False)
