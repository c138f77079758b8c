"""How photos lie in a folder: which names mean one, splits in it, files below. No TensorFlow."""

import os

from tfnets.errors import InputError

_SPLITS = {'train': ('train',), 'validation': ('validation', 'val'), 'test': ('test',)}


def is_folder(dataset):
    """Whether this name of a data set means a folder: ./photos, ../photos, /photos, ~/photos.

    Other names with a slash are a folder if there is one; TFDS has such names too (eurosat/rgb).
    """
    return dataset.startswith(('.', '/', '~')) or ('/' in dataset and os.path.isdir(dataset))


def split_folders(root, flag):
    """Where each split lies: in folders of its own, or all of them as 'train' in the root.

    Args:
        root: pathlib.Path.
        flag: that names it, for errors.

    Returns:
        Dict from 'train', 'validation' and 'test', as far as they are there, to pathlib.Path.

    Raises:
        InputError: if there is no such folder, a split lies in two, or there is none to train on.
    """
    if not root.is_dir():
        raise InputError(f'--{flag}={root}: there is no such folder')
    found = {}
    for split, names in _SPLITS.items():
        for folder in (root / name for name in names if (root / name).is_dir()):
            if split in found:
                raise InputError(
                    f'--{flag}={root}: {found[split].name} and {folder.name} are both there, and '
                    'mean the same; rename one'
                )
            found[split] = folder
    if found and 'train' not in found:
        (name, *_) = (folder.name for folder in found.values())
        raise InputError(
            f'--{flag}={root}: there is a folder {name} but none called train; expected class '
            'folders, or train with class folders in it'
        )
    return found or {'train': root}


def files_below(folder):
    """The files in a folder and in those within, but for what is hidden, as .ipynb_checkpoints.

    Linked folders are entered, each folder once.

    Args:
        folder: path.

    Returns:
        List of str, paths that begin with the folder's, in the order of their names.
    """
    found, entered = [], set()
    for parent, folders, files in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith('.'))
        place = os.path.realpath(parent)
        if place in entered:
            folders.clear()
            continue
        entered.add(place)
        found += (os.path.join(parent, name) for name in files if not name.startswith('.'))
    return sorted(found)
