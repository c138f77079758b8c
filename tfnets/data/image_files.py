"""Which files are images, and how their paths are printed. Imports no TensorFlow."""

import os

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.gif', '.bmp')


def is_image(name):
    """Whether a file's name is that of an image."""
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def printable(path):
    """A path as text that can be written anywhere, whatever bytes it is made of."""
    return os.fsencode(path).decode(errors='replace')
