"""Which files are images, and how their paths are printed. Imports no TensorFlow."""

import glob
import os

from tfnets.data.folder_layout import files_below

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.gif', '.bmp')


def is_image(name):
    """Whether a file's name is that of an image."""
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def printable(path):
    r"""A path as text that can be written anywhere, whatever bytes it is made of, as a\xe9.jpg."""
    return os.fsencode(path).decode(errors='backslashreplace')


def by_class(folder, left_out=()):
    """Lists the images of a folder of class folders.

    Args:
        folder: pathlib.Path; what is hidden in it, as .ipynb_checkpoints, is passed over.
        left_out: names of folders in it that are no classes.

    Returns:
        Dict from the name of each class folder, in their order, to the images below it; and a list
        of the files that are no images, or in no class folder. All are paths below `folder`, str,
        in their order.
    """
    classes, others = {}, []
    start = len(os.path.join(folder, ''))
    for name in sorted(os.listdir(folder)):
        path = os.path.join(folder, name)
        if name.startswith('.') or name in left_out:
            continue
        if os.path.isdir(path):
            files = [file[start:] for file in files_below(path)]
            classes[name] = [file for file in files if is_image(file)]
            others += [file for file in files if not is_image(file)]
        else:
            others.append(name)
    return classes, others


def find_images(arguments):
    """The image files that the words of a command line mean, in their order.

    Args:
        arguments: paths of files, taken whatever their names are; of folders, for all images in
            them and in the folders within, sorted, but for what is hidden; or globs
            (photos/*.jpg, **/cat*) for those.

    Returns:
        List of paths, str; list of the arguments that mean no file.
    """
    found, missing = [], []
    for argument in arguments:
        files = _files(argument) if os.path.exists(argument) else _matches(argument)
        found += files
        if not files:
            missing.append(argument)
    return found, missing


def _files(path):
    """The file of a path, or the images in a folder."""
    if not os.path.isdir(path):
        return [path]
    return [file for file in files_below(path) if is_image(file)]


def _matches(pattern):
    """The images that a glob matches, and those in the folders that it matches, each once."""
    paths = sorted(glob.glob(pattern, recursive=True))
    files = (
        file for path in paths if os.path.isdir(path) or is_image(path) for file in _files(path)
    )
    return list(dict.fromkeys(map(os.path.normpath, files)))
