"""Reads the tensors of checkpoints without PyTorch, and without running what is in them."""

import collections
import io
import pathlib
import pickle
import struct
import zipfile

import numpy as np

from tfnets.errors import InputError
from tfnets.models.torch_weights import safetensors
from tfnets.models.torch_weights.unpickler import SAVE_AGAIN, Tensor, Unpickler, kind
from tfnets.models.torch_weights.untrusted import (
    GET_AGAIN,
    MOST_HEADER,
    Fault,
    file_size,
    item_size,
    numbers,
    parsing,
    shown,
)

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_WRAPPERS = ('state_dict', 'model', 'model_state_dict')
# Tensors may share a storage, or repeat it by a stride of 0, so that a small file could ask for
# any amount of memory. Tied weights need twice the file's size at most.
_MOST_SHARING = 16


def read(path):
    """Reads all tensors of a checkpoint.

    The content tells the format: torch's zip files (torch 1.6 and later), torch's files before
    that, or safetensors. A checkpoint is a state dict, or a dict that holds one as 'state_dict',
    'model' or 'model_state_dict' (the first of them is taken); whatever else it holds is dropped.
    If every name begins with `module.` (DataParallel), that is taken off.

    Args:
        path: the file.

    Returns:
        dict of str to numpy.ndarray, in the file's order: contiguous arrays that own their memory,
        of the tensor's dtype; bfloat16 becomes float32, which holds it exactly.

    Raises:
        InputError: if there is no such file, it is damaged, or it holds anything but tensors and
            plain values (numbers, strings, lists, tuples, dicts).
    """
    path = pathlib.Path(path)
    try:
        with open(path, 'rb') as file:
            return _without_prefix(_read(file))
    except Fault as fault:
        raise InputError(f'{path}: {fault}') from None
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError(
            f'{path}: cannot be read ({reason}); expected a PyTorch checkpoint or a safetensors '
            'file; correct the path'
        ) from None


def _read(file):
    """Reads a file by the format that its first bytes tell."""
    head = file.read(16)
    file.seek(0)
    # The length that safetensors begin with may look like the others' first bytes, so it is first.
    if head[8:9] == b'{':
        return safetensors.read(file)
    if head.startswith(b'PK\x03\x04'):
        return _read_zip(file)
    if head.startswith(pickle.PROTO):
        return _read_legacy(file)
    found = f'begins with {head!r}' if head else 'is empty'
    raise Fault(f'{found}; expected a PyTorch checkpoint or a safetensors file; get it again')


def _without_prefix(arrays):
    prefix = 'module.'
    if all(name.startswith(prefix) for name in arrays):
        return {name.removeprefix(prefix): array for name, array in arrays.items()}
    return arrays


# ---- Since torch 1.6: a zip of a pickle and one file for each storage ----------------------------


def _read_zip(file):
    members = _Members(file)
    pickled = members.read('data.pkl')
    if len(pickled) > MOST_HEADER:
        raise Fault(f'its pickle has {len(pickled)} bytes, more than {MOST_HEADER}; {SAVE_AGAIN}')
    tensors = _state_dict(Unpickler(io.BytesIO(pickled)).load())
    order = {b'little': '<', b'big': '>'}.get(members.read('byteorder', default=b'little'))
    if order is None:
        raise Fault(f'its byte order is neither little nor big; {GET_AGAIN}')

    def load(storage):
        return members.read(f'data/{storage.key}')

    return _arrays(tensors, file_size(file), load, order)


class _Members:
    """The files in torch's zip, which lie uncompressed in one folder."""

    def __init__(self, file):
        with parsing('the zip'):
            self._zip = zipfile.ZipFile(file)
        infos, names = self._zip.infolist(), self._zip.namelist()
        if len(set(names)) != len(names):
            raise Fault(f'the zip has two files of one name; {SAVE_AGAIN}')
        if any(info.compress_type != zipfile.ZIP_STORED for info in infos):
            raise Fault(f'the zip is compressed, as torch writes none; {SAVE_AGAIN}')
        # Files may lie over each other, to be many times what is there.
        if sum(info.file_size for info in infos) > file_size(file):
            raise Fault(f'the zip claims to hold more than its own size; {GET_AGAIN}')
        self._names = set(names)
        self._folder = names[0].partition('/')[0] if names else ''

    def read(self, name, default=None):
        """Reads a file, whose checksum is compared; `default` is for one that is not there."""
        path = f'{self._folder}/{name}'
        if path not in self._names:
            if default is None:
                raise Fault(f'the zip has no {shown(name)!r}, as checkpoints have; {GET_AGAIN}')
            return default
        with parsing(shown(name)):
            return self._zip.read(path)


# ---- Before torch 1.6: five pickles, then the storages' numbers ----------------------------------


def _read_legacy(file):
    """The numbers are little-endian, whatever the third pickle says of the machine."""
    head = io.BytesIO(file.read(MOST_HEADER))
    if Unpickler(head).load() != _MAGIC:
        raise Fault(f'a pickle, but not one of PyTorch; {SAVE_AGAIN}')
    if Unpickler(head).load() != _PROTOCOL:
        raise Fault(f'not of protocol {_PROTOCOL}, the one that is known; {SAVE_AGAIN}')
    Unpickler(head).load()
    unpickler = Unpickler(head)
    tensors = _state_dict(unpickler.load())
    keys = Unpickler(head).load()
    places = _places(file, head.tell(), keys, unpickler.storages)

    def load(storage):
        file.seek(places[storage.key])
        return file.read(storage.numel * item_size(storage.code))

    return _arrays(tensors, file_size(file), load)


def _places(file, position, keys, storages):
    """Finds where the numbers of each storage begin, in bytes; all of them lie in the file."""
    are_names = type(keys) is list and all(type(key) is str for key in keys)
    if not are_names or sorted(keys) != sorted(storages):
        raise Fault(f'it lists other storages than its tensors look at; {GET_AGAIN}')
    places = {}
    for key in keys:
        file.seek(position)
        head = file.read(8)
        places[key] = position + 8
        position += 8 + storages[key].numel * item_size(storages[key].code)
        if position > file_size(file):
            raise Fault(f'it ends within the storage {shown(key)!r}; {GET_AGAIN}')
        if struct.unpack('<q', head)[0] != storages[key].numel:
            raise Fault(f'the storage {shown(key)!r} is of another size; {GET_AGAIN}')
    return places


# ---- From what was unpickled to arrays -----------------------------------------------------------


def _state_dict(loaded):
    """Finds the dict of names to tensors in what was unpickled."""
    if not isinstance(loaded, dict):
        raise Fault(f'holds a {kind(loaded)}; expected a state dict; {SAVE_AGAIN}')
    for found in (loaded, *map(loaded.get, _WRAPPERS)):
        if _is_state_dict(found):
            return found
    keys = ', '.join(str(key) for key in list(loaded)[:8]) or 'no keys'
    raise Fault(
        f'holds a dict with {shown(keys)}; expected names of tensors alone, or these under one of '
        f'{", ".join(_WRAPPERS)}; {SAVE_AGAIN}'
    )


def _is_state_dict(value):
    return (
        isinstance(value, dict)
        and bool(value)
        and all(type(name) is str for name in value)
        and all(isinstance(tensor, Tensor) for tensor in value.values())
    )


def _arrays(tensors, most, load, order='<'):
    """Fills tensors with their numbers.

    Args:
        tensors: dict of str to Tensor.
        most: size of the file in bytes.
        load: function of a Storage, which gives all bytes under its key.
        order: byte order, '<' or '>'.
    """
    wanted = sum(tensor.nbytes for tensor in tensors.values())
    if wanted > _MOST_SHARING * most:
        raise Fault(
            f'its tensors take {wanted} bytes, the file {most}; expected tensors that do not '
            'repeat one storage; clone() them and save them again'
        )
    by_key = collections.defaultdict(list)
    for name, tensor in tensors.items():
        by_key[tensor.storage.key].append(name)
    arrays = {}
    # Storage by storage, so that no more than one of them is in memory beside the arrays.
    for names in by_key.values():
        storage = tensors[names[0]].storage
        flat = numbers(load(storage), storage.numel, storage.code, order)
        arrays.update({name: _array(flat, tensors[name]) for name in names})
    return {name: arrays[name] for name in tensors}


def _array(flat, tensor):
    """Copies a tensor out of its storage's numbers; the unpickler has checked the bounds."""
    if 0 in tensor.shape:
        return np.empty(tensor.shape, flat.dtype)
    strides = [stride * flat.itemsize for stride in tensor.strides]
    start = flat[tensor.offset :]
    return np.array(np.lib.stride_tricks.as_strided(start, tensor.shape, strides), order='C')
