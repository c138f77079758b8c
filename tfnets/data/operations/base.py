"""What operations on images are made with: their list, their arguments, TensorFlow when needed.

An operation's first parameter is `encoded`, the bytes of an image file, or `image`, [height, width,
3] from 0 to 255, uint8 or float32. A random one has a parameter `seed`, int32 [2]. One of colour
has no image: it answers what it drew, which its `apply` then does to an image or to a batch. All
other parameters are annotated with what they accept: one of the functions below, or of those beside
the operation, which answer the value as the operation wants it, or raise ValueError.
"""

import functools
import math


class _TensorFlow:
    """Imports TensorFlow when it is first used, so that a line can be checked long before."""

    def __getattr__(self, name):
        import tensorflow

        return getattr(tensorflow, name)


tf = _TensorFlow()

OPERATIONS = {}


def operation(function=None, *, makes=None, box=None):
    """Puts a function into OPERATIONS.

    Args:
        function: the operation.
        makes: 'square' where the result is one of the side `size`, an argument; 'any' where its
            sides may be different; nothing where they are those of what comes in.
        box: of a random crop, what draws its rectangle: function of an image's size, int32 [2], a
            seed, and some of the crop's arguments by name; answers int32 [4]: top, left, height,
            width.
    """
    if function is None:
        return functools.partial(operation, makes=makes, box=box)
    function.makes, function.box = makes, box
    OPERATIONS[function.__name__] = function
    return function


def as_float(image):
    """float32, 0 to 255."""
    return tf.cast(image, tf.float32)


def as_uint8(image):
    """uint8, rounded to the nearest, halves to even."""
    return image if image.dtype == tf.uint8 else tf.saturate_cast(tf.round(image), tf.uint8)


# What arguments accept.


def number(value):
    """Accepts a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError
    return value


def pixels(value):
    """Accepts a length in pixels, 1 to 16384, rounded to the nearest."""
    rounded = round(number(value))
    if not 1 <= rounded <= 16384:
        raise ValueError
    return rounded


def share(value):
    """Accepts a share, above 0 and at most 1."""
    if not 0 < number(value) <= 1:
        raise ValueError
    return float(value)


def factor(value):
    """Accepts a number that is not negative."""
    if number(value) < 0:
        raise ValueError
    return float(value)


def half(value):
    """Accepts a number from 0 to 0.5."""
    if not 0 <= number(value) <= 0.5:
        raise ValueError
    return float(value)


def shares(value):
    """Accepts two shares, the smaller first."""
    low, high = map(share, _pair(value))
    if low > high:
        raise ValueError
    return low, high


def ratios(value):
    """Accepts two numbers above 0, the smaller first."""
    low, high = map(factor, _pair(value))
    if not 0 < low <= high:
        raise ValueError
    return low, high


def boolean(value):
    """Accepts True or False."""
    if not isinstance(value, bool):
        raise ValueError
    return value


def interpolation_name(value):
    """Accepts 'nearest', 'bilinear', 'bicubic', 'area', 'lanczos3' or 'lanczos5'."""
    if value not in ('nearest', 'bilinear', 'bicubic', 'area', 'lanczos3', 'lanczos5'):
        raise ValueError
    return value


def _pair(value):
    if not isinstance(value, tuple) or len(value) != 2:
        raise ValueError
    return value
