"""What the readers of tensors share.

Checkpoints come from anywhere, so nothing that a file claims (sizes, places, lengths) is believed
before it has been compared with the file itself.
"""

import contextlib
import math
import os
import re

import numpy as np

GET_AGAIN = 'the file is damaged or cut short, get it again'

# The pickle of a checkpoint, or the header of a safetensors file. About 200 bytes for a tensor are
# usual, and each byte may become an object of some 60.
MOST_HEADER = 1 << 25
_MOST_AXES = 32

BFLOAT16 = 'bfloat16'  # numpy has no such dtype; all others are named as numpy names them


class Fault(Exception):  # noqa: N818
    """What is wrong with the file: InputError's line without the path."""


@contextlib.contextmanager
def parsing(what):
    """Turns whatever the standard library raises over hostile bytes into a fault."""
    try:
        yield
    except Fault:
        raise
    except Exception as error:
        reason = shown(str(error)) or type(error).__name__
        raise Fault(f'{what} cannot be read ({reason}); {GET_AGAIN}') from None


def shown(text):
    """Makes a text from the file fit for one line of a message."""
    text = re.sub(r'[^ -~]', '?', text)
    return text if len(text) <= 100 else text[:100] + '...'


def file_size(file):
    """Size of an open file in bytes."""
    return os.fstat(file.fileno()).st_size


def are_counts(values):
    """Whether a value is a list or tuple of integers of at least 0."""
    return isinstance(values, list | tuple) and all(type(n) is int and n >= 0 for n in values)


def elements(shape):
    """Counts a tensor's elements; answers None if that is no shape that an array can have."""
    if not are_counts(shape) or len(shape) > _MOST_AXES:
        return None
    # numpy computes the size of an empty array as if its empty axes had length one.
    if math.prod(max(length, 1) for length in shape) > 2**56:
        return None
    return math.prod(shape)


def item_size(code):
    """Bytes that a number takes in the file; `code` is BFLOAT16 or numpy's name of a dtype."""
    return 2 if code == BFLOAT16 else np.dtype(code).itemsize


def numbers(raw, count, code, order='<'):
    """Turns bytes into a flat array of so many numbers, in this machine's byte order.

    Args:
        raw: the bytes.
        count: how many numbers they should be.
        code: BFLOAT16, which becomes float32, or numpy's name of a dtype.
        order: byte order, '<' or '>'.
    """
    expected = count * item_size(code)
    if len(raw) != expected:
        raise Fault(f'a storage has {len(raw)} bytes; expected {expected}; {GET_AGAIN}')
    if code == BFLOAT16:
        # A bfloat16 is the upper half of the float32 of the same value.
        upper = np.frombuffer(raw, f'{order}u2').astype(np.uint32)
        return (upper << np.uint32(16)).view(np.float32)
    if code == '?':
        # A byte other than 0 and 1 would make a bool that is neither.
        return np.frombuffer(raw, np.uint8) != 0
    return np.frombuffer(raw, order + code).astype(code, copy=False)
