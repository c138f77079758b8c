"""Unpickles what torch.save wrote, without PyTorch and without running what is in it.

A pickle may name any function of any module to be called. The unpickler here looks nothing up by
name: it knows the few names that tensors need, and has a harmless stand-in for each.
"""

import collections
import dataclasses
import math
import pickle
import pickletools

from tfnets.models.torch_weights.untrusted import (
    BFLOAT16,
    GET_AGAIN,
    Fault,
    are_counts,
    elements,
    item_size,
    parsing,
    shown,
)

SAVE_AGAIN = 'save it again as torch.save(model.state_dict(), ...)'

_STORAGES = {
    'DoubleStorage': 'f8',
    'FloatStorage': 'f4',
    'HalfStorage': 'f2',
    'BFloat16Storage': BFLOAT16,
    'LongStorage': 'i8',
    'IntStorage': 'i4',
    'ShortStorage': 'i2',
    'CharStorage': 'i1',
    'ByteStorage': 'u1',
    'BoolStorage': '?',
}


@dataclasses.dataclass(frozen=True, eq=False)
class StorageType:
    """Stands for a class like torch.FloatStorage."""

    code: str


@dataclasses.dataclass(frozen=True, eq=False)
class Storage:
    """Numbers that tensors look at: those from start to end of the `numel` under `key`."""

    code: str
    key: str
    numel: int
    start: int
    end: int


@dataclasses.dataclass(frozen=True, eq=False)
class Tensor:
    """A view of a storage that is known to lie within it; offset and strides in elements."""

    storage: Storage
    offset: int
    shape: tuple
    strides: tuple

    @property
    def nbytes(self):
        """What it takes in memory, where bfloat16 is float32."""
        size = 4 if self.storage.code == BFLOAT16 else item_size(self.storage.code)
        return math.prod(self.shape) * size


def kind(value):
    """Names the type of a value in a message."""
    return type(value).__name__.lower()


# ---- Stand-ins -----------------------------------------------------------------------------------


def _rebuild_tensor(storage, offset, shape, strides, *_):
    """Stands for torch's functions of that name; refuses what reaches out of the storage."""
    count = elements(shape)
    if (
        not isinstance(storage, Storage)
        or count is None
        or not are_counts([offset])
        or not are_counts(strides)
        or len(strides) != len(shape)
    ):
        raise Fault(f'a tensor has no valid storage, offset, shape or strides; {GET_AGAIN}')
    # The stride of an axis of length one means nothing, so it may be any number.
    strides = tuple(s if n > 1 else 0 for n, s in zip(shape, strides, strict=True))
    first = storage.start + offset
    last = first + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
    if count and last >= storage.end:
        raise Fault(
            f'a tensor of shape {shown(str(tuple(shape)))} reaches out of its storage of '
            f'{storage.end - storage.start} numbers; {GET_AGAIN}'
        )
    return Tensor(storage, first, tuple(shape), strides)


def _rebuild_parameter(tensor, *_):
    """Stands for torch's function of that name: here a parameter is its tensor."""
    return tensor


def _ordered_dict(items=()):
    """Stands for collections.OrderedDict, which would take keys of any kind."""
    result = collections.OrderedDict()
    for key, value in items:  # Python 2 wrote the items as an argument.
        _put(result, key, value)
    return result


def _put(target, key, value):
    """Sets an item of a dict.

    A key must be plain: the hash of nested tuples recurses in C until the stack ends, or takes
    forever if each of them holds the one before it twice.
    """
    if type(target) not in (dict, collections.OrderedDict):
        raise Fault(f'its pickle sets items of a {kind(target)}; {GET_AGAIN}')
    if type(key) not in (str, int, float, bool, type(None)):
        raise Fault(
            f'a dict in it has a {kind(key)} as key; expected strings or numbers; {SAVE_AGAIN}'
        )
    if key in target:
        raise Fault(f'the name {shown(str(key))!r} is there twice; {SAVE_AGAIN}')
    target[key] = value


_GLOBALS = {
    ('collections', 'OrderedDict'): _ordered_dict,
    ('torch._utils', '_rebuild_tensor'): _rebuild_tensor,
    ('torch._utils', '_rebuild_tensor_v2'): _rebuild_tensor,
    ('torch._utils', '_rebuild_parameter'): _rebuild_parameter,
    **{('torch', name): StorageType(code) for name, code in _STORAGES.items()},
}


# ---- The unpickler -------------------------------------------------------------------------------

# What the protocols 2 to 5 write for plain values and for the calls above. Left out are those that
# make instances of classes, sets and bytearrays, and those that look up registered extensions.
_OPCODES = (  # noqa: SIM905 - a list of single strings would take a line for each
    'PROTO FRAME STOP MARK NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 BINFLOAT '
    'BINSTRING SHORT_BINSTRING BINUNICODE SHORT_BINUNICODE BINBYTES SHORT_BINBYTES '
    'EMPTY_LIST APPEND APPENDS EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_DICT SETITEM SETITEMS '
    'BINPUT LONG_BINPUT MEMOIZE BINGET LONG_BINGET GLOBAL STACK_GLOBAL REDUCE BUILD BINPERSID'
).split()
_CODES = [getattr(pickle, name)[0] for name in _OPCODES]


class _Dispatch(dict):
    """Opcodes to methods; refuses by name those that it does not have."""

    def __missing__(self, code):
        known = pickletools.code2op.get(chr(code))
        name = known.name if known else f'number {code}'
        raise Fault(
            f'its pickle uses the opcode {name}; only tensors, storages, OrderedDict and plain '
            f'values are read; {SAVE_AGAIN}'
        )


# The unpickler in C would allocate as many places as a file says that there are, and would hash
# whatever is a key. The one in Python does neither, and lets single opcodes be replaced.
class Unpickler(pickle._Unpickler):
    """Unpickles tensors as Tensor, without their numbers.

    Attributes:
        storages: dict of key to Storage, for all that the pickle mentions.
    """

    dispatch = _Dispatch((code, pickle._Unpickler.dispatch[code]) for code in _CODES)

    def __init__(self, file):
        super().__init__(file, encoding='utf-8')
        self.storages = {}

    def load(self):
        """Unpickles one object."""
        with parsing('its pickle'):
            return super().load()

    def find_class(self, module, name):
        """Finds the stand-in; never imports anything."""
        try:
            return _GLOBALS[module, name]
        except KeyError:
            raise Fault(
                f'it wants to run {shown(f"{module}.{name}")}; only tensors, storages and '
                f'OrderedDict are read; {SAVE_AGAIN}'
            ) from None

    def persistent_load(self, reference):
        """Notes a storage, which the file holds outside of the pickle."""
        what, storage_type, key, _, numel, *rest = reference
        # Old files may speak of a part of a storage.
        (view,) = rest or (None,)
        _, start, length = (None, 0, numel) if view is None else view
        if (
            what != 'storage'
            or not isinstance(storage_type, StorageType)
            or type(key) is not str
            or not are_counts([numel, start, length])
        ):
            raise Fault(f'its pickle refers to something that is no storage; {SAVE_AGAIN}')
        if start + length > numel:
            raise Fault(f'a part of a storage reaches out of it; {GET_AGAIN}')
        storage = Storage(storage_type.code, key, numel, start, start + length)
        known = self.storages.setdefault(key, storage)
        if (known.code, known.numel) != (storage.code, storage.numel):
            raise Fault(f'the storage {shown(key)!r} is two different ones; {GET_AGAIN}')
        return storage

    def load_setitem(self):
        """Sets one item, by _put's rules."""
        value = self.stack.pop()
        key = self.stack.pop()
        _put(self.stack[-1], key, value)

    def load_setitems(self):
        """Sets several items, by _put's rules."""
        items = self.pop_mark()
        for key, value in zip(items[::2], items[1::2], strict=True):
            _put(self.stack[-1], key, value)

    def load_build(self):
        """Drops the attributes of an OrderedDict, such as the _metadata of a state dict."""
        self.stack.pop()
        if type(self.stack[-1]) is not collections.OrderedDict:
            raise Fault(f'its pickle sets attributes of a {kind(self.stack[-1])}; {SAVE_AGAIN}')

    dispatch[pickle.SETITEM[0]] = load_setitem
    dispatch[pickle.SETITEMS[0]] = load_setitems
    dispatch[pickle.BUILD[0]] = load_build
