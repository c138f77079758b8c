"""Operations on images, of which one-line pipelines are made (see preprocessing.py)."""

from tfnets.data.operations import colour, decoding, geometry  # noqa: F401 - they fill OPERATIONS
from tfnets.data.operations.base import OPERATIONS, as_uint8, number, tf
from tfnets.data.operations.colour import is_colour
from tfnets.data.operations.decoding import area_box, decode, image_size, inception_box

__all__ = [
    'OPERATIONS',
    'area_box',
    'as_uint8',
    'decode',
    'image_size',
    'inception_box',
    'is_colour',
    'number',
    'tf',
]
