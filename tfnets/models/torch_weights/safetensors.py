"""Reads safetensors: the length of a header, the header in JSON, then the tensors' numbers."""

import json

import numpy as np

from tfnets.models.torch_weights.untrusted import (
    BFLOAT16,
    GET_AGAIN,
    MOST_HEADER,
    Fault,
    are_counts,
    elements,
    file_size,
    item_size,
    numbers,
    parsing,
    shown,
)

DTYPES = {
    'F64': 'f8',
    'F32': 'f4',
    'F16': 'f2',
    'BF16': BFLOAT16,
    'I64': 'i8',
    'I32': 'i4',
    'I16': 'i2',
    'I8': 'i1',
    'U64': 'u8',
    'U32': 'u4',
    'U16': 'u2',
    'U8': 'u1',
    'BOOL': '?',
}


def read(file):
    """Reads all tensors of a file.

    Args:
        file: binary file, at its beginning.

    Returns:
        dict of str to numpy.ndarray, in the header's order.

    Raises:
        Fault: if it is damaged.
    """
    length = int.from_bytes(file.read(8), 'little')
    room = file_size(file) - 8 - length
    if room < 0 or length > MOST_HEADER:
        raise Fault(f'its header claims {length} bytes; expected a safetensors file; {GET_AGAIN}')
    with parsing('the header'):
        header = json.loads(file.read(length), object_pairs_hook=_without_twins)
        header.pop('__metadata__', None)
        spans = {name: _checked_span(name, entry) for name, entry in header.items()}
    if not spans:
        raise Fault(f'there are no tensors in it; {GET_AGAIN}')
    # The format asks for tensors side by side, from the first byte to the last.
    arrays, position = {}, 0
    for name, (begin, end) in sorted(spans.items(), key=lambda item: item[1]):
        if begin != position or end > room:
            raise Fault(
                f'the tensor {shown(name)!r} lies over another, behind a gap or out of the file; '
                f'{GET_AGAIN}'
            )
        shape, dtype = header[name]['shape'], header[name]['dtype']
        flat = numbers(file.read(end - begin), elements(shape), DTYPES[dtype])
        arrays[name] = np.array(flat.reshape(shape))
        position = end
    if position != room:
        raise Fault(f'its tensors take {position} bytes, but {room} are there; {GET_AGAIN}')
    return {name: arrays[name] for name in header}


def _without_twins(pairs):
    result = dict(pairs)
    if len(result) != len(pairs):
        raise Fault(f'the header has a name twice; {GET_AGAIN}')
    return result


def _checked_span(name, entry):
    """Checks what the header says of one tensor; answers where it begins and ends."""
    tensor = f'the tensor {shown(name)!r}'
    dtype, shape, (begin, end) = entry['dtype'], entry['shape'], entry['data_offsets']
    if dtype not in DTYPES:
        raise Fault(
            f'{tensor} is of dtype {shown(dtype)}; expected one of {", ".join(DTYPES)}; convert it '
            'and save it again'
        )
    count = elements(shape)
    if count is None or not are_counts([begin, end]):
        raise Fault(f'{tensor} has no valid shape or data_offsets; {GET_AGAIN}')
    if end - begin != count * item_size(DTYPES[dtype]):
        raise Fault(
            f'{tensor} takes {end - begin} bytes; expected {count} numbers of {dtype}; {GET_AGAIN}'
        )
    return begin, end
