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
