"""Operations on images, of which one-line pipelines are made (see preprocessing.py)."""

from tfnets.data.operations import (  # noqa: F401 - they fill OPERATIONS
    colour,
    decoding,
    erasing,
    geometry,
    policies,
    tone,
    warping,
)
from tfnets.data.operations.base import OPERATIONS, as_uint8, number, tf
from tfnets.data.operations.boxes import area_box, inception_box
from tfnets.data.operations.colour import is_colour
from tfnets.data.operations.decoding import decode, decode_box, image_size

__all__ = [
    'OPERATIONS',
    'area_box',
    'as_uint8',
    'decode',
    'decode_box',
    'image_size',
    'inception_box',
    'is_colour',
    'number',
    'tf',
]
