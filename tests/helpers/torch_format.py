"""Writes PyTorch checkpoints without PyTorch, and draws weights that need no file to be known."""

import collections
import io
import pickle
import struct
import zipfile

import numpy as np

MAGIC = 0x1950A86A20F9469CFC6C
STORAGES = {
    'float64': 'DoubleStorage',
    'float32': 'FloatStorage',
    'float16': 'HalfStorage',
    'bfloat16': 'BFloat16Storage',  # as ml_dtypes.bfloat16
    'int64': 'LongStorage',
    'int32': 'IntStorage',
    'int16': 'ShortStorage',
    'int8': 'CharStorage',
    'uint8': 'ByteStorage',
    'bool': 'BoolStorage',
}


class Parameter:
    """An array to be written as a torch.nn.Parameter."""

    def __init__(self, array):
        self.array = array


def write(path, tensors, legacy=False, wrap=None, **others):
    """Writes tensors as torch.save writes them.

    Views of one array share a storage, with its strides, as views of one tensor do.

    Args:
        path: where to.
        tensors: dict of str to numpy array or Parameter.
        legacy: as torch did before 1.6, else as a zip.
        wrap: None, or the key under which the tensors stand in a dict, such as 'state_dict'.
        others: what else stands in that dict, such as epoch=3; any value.
    """
    content = collections.OrderedDict(tensors)
    # torch hangs the versions of the modules on it, which makes pickle write a BUILD.
    content._metadata = collections.OrderedDict({'': {'version': 1}})
    if wrap is not None:
        content = {**others, wrap: content}
    with open(path, 'wb') as file:
        file.write(legacy_bytes(content) if legacy else zip_bytes(content))


def zip_bytes(content):
    """The bytes of a zip, as torch writes it since 1.6."""
    pickled, storages = pickled_bytes(content)
    members = {f'data/{key}': array.tobytes() for key, array in storages.items()}
    return archive({'data.pkl': pickled, 'byteorder': b'little', **members, 'version': b'3\n'})


def archive(members, folder='archive', compression=zipfile.ZIP_STORED):
    """The bytes of a zip with these files (dict of name to bytes) in one folder."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, 'w', compression) as file:
        for name, data in members.items():
            file.writestr(f'{folder}/{name}', data)
    return buffer.getvalue()


def legacy_bytes(content):
    """The bytes of a file as torch wrote it before 1.6."""
    pickled, storages = pickled_bytes(content, legacy=True)
    parts = [preamble(), pickled, pickle.dumps(list(storages), 2)]
    for array in storages.values():
        parts += [struct.pack('<q', array.size), array.tobytes()]
    return b''.join(parts)


def preamble():
    """The three pickles that a file before torch 1.6 begins with."""
    system = {'protocol_version': 1001, 'little_endian': True, 'type_sizes': {'int': 4}}
    return b''.join(pickle.dumps(value, 2) for value in (MAGIC, 1001, system))


def pickled_bytes(content, legacy=False):
    """Pickles a checkpoint; answers the pickle and the storages (dict of key to flat array)."""
    buffer = io.BytesIO()
    pickler = _Pickler(buffer, legacy)
    pickler.dump(content)
    return buffer.getvalue(), dict(pickler.storages.values())


class _Global:
    """A name in torch, to be written though there is no torch."""

    def __init__(self, module, name):
        self.line = f'c{module}\n{name}\n'.encode()

    def __call__(self):
        """Only so that pickle takes it for a function."""


_REBUILD_TENSOR = _Global('torch._utils', '_rebuild_tensor_v2')
_REBUILD_PARAMETER = _Global('torch._utils', '_rebuild_parameter')
_STORAGES = {dtype: _Global('torch', name) for dtype, name in STORAGES.items()}


class _Storage:
    def __init__(self, array):
        self.array = array


# The pickler in C would import what it is to name.
class _Pickler(pickle._Pickler):
    dispatch = dict(pickle._Pickler.dispatch)

    def __init__(self, file, legacy):
        super().__init__(file, protocol=2)
        self.legacy = legacy
        self.storages = {}  # id of an array to its key and itself flat

    def save_global_line(self, value):
        self.write(value.line)
        self.memoize(value)

    dispatch[_Global] = save_global_line

    def persistent_id(self, value):
        if not isinstance(value, _Storage):
            return None
        array = value.array
        key, _ = self.storages.setdefault(id(array), (str(len(self.storages)), array.reshape(-1)))
        reference = ('storage', _STORAGES[array.dtype.name], key, 'cpu', array.size)
        # Files before 1.6 may name a part of the storage; None is all of it.
        return (*reference, None) if self.legacy else reference

    def reducer_override(self, value):
        if isinstance(value, Parameter):
            return _REBUILD_PARAMETER, (value.array, True, collections.OrderedDict())
        if not isinstance(value, np.ndarray):
            return NotImplemented
        root, offset, strides = _view(value)
        rest = (offset, value.shape, strides, False, collections.OrderedDict())
        return _REBUILD_TENSOR, (_Storage(root), *rest)


def _view(array):
    """Says which array this one is a view of, from where on, and by which strides in elements."""
    root = array
    while isinstance(root.base, np.ndarray):
        root = root.base
    same = root.dtype == array.dtype and root.flags.c_contiguous
    if not same or any(stride < 0 for stride in array.strides):
        raise ValueError('torch has no such view; copy the array')
    offset = array.ctypes.data - root.ctypes.data
    strides = tuple(stride // array.itemsize for stride in array.strides)
    return root, offset // array.itemsize, strides


def draw(shapes, seed):
    """Draws the weights of a network, the same for everyone.

    Args:
        shapes: list of (name, shape) in the order of torch's state dict.
        seed: int.

    Returns:
        dict of name to float32 array, in that order; num_batches_tracked is an int64 zero, for
        which nothing is drawn.
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    return {name: _draw_one(rng, name.rpartition('.')[2], tuple(shape)) for name, shape in shapes}


def _draw_one(rng, kind, shape):
    if kind == 'num_batches_tracked':
        return np.zeros(shape, np.int64)
    if len(shape) == 4:
        values = rng.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))
    elif len(shape) == 2:
        values = rng.standard_normal(shape) / np.sqrt(shape[1])
    elif kind == 'weight':
        values = rng.uniform(0.5, 1.0, shape)
    elif kind == 'running_var':
        values = rng.uniform(0.5, 1.5, shape)
    elif kind in ('bias', 'running_mean'):
        values = 0.1 * rng.standard_normal(shape)
    else:
        raise ValueError(f'no rule for {kind} of shape {shape}')
    return values.astype(np.float32)


def draw_pixels(seed, size):
    """Draws a batch of two inputs, [2, size, size, 3], float32."""
    rng = np.random.Generator(np.random.PCG64(seed + size))
    return rng.standard_normal((2, size, size, 3)).astype(np.float32)


_PARTS = {
    'kernel': 'weight',
    'bias': 'bias',
    'gamma': 'weight',
    'beta': 'bias',
    'moving_mean': 'running_mean',
    'moving_variance': 'running_var',
}


def state_dict(model):
    """The weights of a network as the official PyTorch code keeps them: dict of name to array."""
    from tfnets.models.torch_weights import names

    layers = {layer.name: layer for layer in model.layers if layer.weights}
    tensors = {}
    for name, module in names.modules(layers).items():
        for variable in layers[name].weights:
            array = variable.numpy()
            array = array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.T
            tensors[f'{module}.{_PARTS[variable.name]}'] = array
        if 'norm' in name:
            tensors[f'{module}.num_batches_tracked'] = np.array(7)
    return tensors
