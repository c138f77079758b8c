"""Checkpoints of PyTorch: what is read, and what hostile files cannot do."""

import copy
import io
import json
import pathlib
import pickle
import struct
import sys
import zipfile

import ml_dtypes
import numpy as np
import pytest
import torch_format

from tfnets.errors import InputError
from tfnets.models.torch_weights import files as torch_files
from tfnets.models.torch_weights import safetensors

GOLDEN = pathlib.Path(__file__).parent / 'golden' / 'resnet50_torch.json'
FORMATS = [pytest.param(False, id='zip'), pytest.param(True, id='legacy')]
DTYPES = [
    *('float64', 'float32', 'float16', 'int64', 'int32', 'int16', 'int8', 'uint8', 'bool'),
    ml_dtypes.bfloat16,
]


def small():
    return {
        'conv.weight': np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2),
        'conv.bias': np.float16([1.5, -2]),
        'steps': np.array(7),
    }


def assert_same(read, expected):
    assert list(read) == list(expected)
    for name, array in read.items():
        assert array.dtype == expected[name].dtype
        assert array.shape == expected[name].shape
        assert array.flags.c_contiguous
        assert array.flags.owndata
        assert array.flags.writeable
        np.testing.assert_array_equal(array, expected[name])


def fault(path, content=None):
    """The one line that refuses a file."""
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        torch_files.read(path)
    line = str(caught.value)
    assert line.startswith(f'{path}: ')
    assert line.isprintable()
    assert len(line) < len(str(path)) + 500
    return line


@pytest.fixture(params=FORMATS)
def legacy(request):
    return request.param


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'x.pth'


# ---- What is read --------------------------------------------------------------------------------


def test_a_state_dict(path, legacy):
    torch_format.write(path, small(), legacy)
    assert_same(torch_files.read(path), small())


@pytest.mark.parametrize('wrap', ['state_dict', 'model', 'model_state_dict'])
def test_a_state_dict_in_a_checkpoint(path, legacy, wrap):
    optimizer = {
        'state': {0: {'step': 3, 'momentum': np.ones((2, 3))}},
        'param_groups': [{'lr': 0.1, 'betas': (0.9, 0.99), 'nesterov': False, 'params': [0, 1]}],
    }
    others = {'epoch': 3, 'arch': 'résnet', 'best': None, 'big': 2**70, 'optimizer': optimizer}
    torch_format.write(path, small(), legacy, wrap, **others)
    assert_same(torch_files.read(path), small())


def test_the_prefix_of_data_parallel(path, legacy):
    torch_format.write(path, {f'module.{name}': array for name, array in small().items()}, legacy)
    assert list(torch_files.read(path)) == list(small())
    torch_format.write(path, {'module.a': np.ones(2), 'b': np.ones(2)}, legacy)
    assert list(torch_files.read(path)) == ['module.a', 'b']


@pytest.mark.parametrize('dtype', DTYPES, ids=lambda dtype: np.dtype(dtype).name)
def test_every_dtype(path, legacy, dtype):
    array = np.array([[0, 1, 2.5], [100, 0.1, 1]]).astype(dtype)
    torch_format.write(path, {'a': array}, legacy)
    expected = array.astype(np.float32) if dtype is ml_dtypes.bfloat16 else array
    assert_same(torch_files.read(path), {'a': expected})


def test_views(path, legacy):
    base = np.arange(60, dtype=np.float32).reshape(3, 4, 5)
    views = {
        'transposed': base.transpose(2, 0, 1),
        'strided': base[::2, 1, ::3],
        'part': base[1:],
        'repeated': np.broadcast_to(base[:, :1], (3, 4, 5)),
        'one': base[2, 3, 4],
        'scalar': base[2, 3, 4:].reshape(()),
        'none': base[:0],
        'all': base,
    }
    views['one'] = np.array(views['one'])
    torch_format.write(path, views, legacy)
    assert_same(torch_files.read(path), views)
    # The eight share one storage of 60 numbers.
    assert path.stat().st_size < 3000


def test_arrays_do_not_share_memory(path, legacy):
    tied = np.ones(4, np.float32)
    torch_format.write(path, {'a': tied, 'b': tied}, legacy)
    read = torch_files.read(path)
    read['a'][:] = 5
    np.testing.assert_array_equal(read['b'], tied)


def test_parameters(path, legacy):
    torch_format.write(path, {'a': torch_format.Parameter(np.ones(3)), 'b': np.zeros(2)}, legacy)
    assert_same(torch_files.read(path), {'a': np.ones(3), 'b': np.zeros(2)})


def test_big_endian_zip(path):
    pickled, _ = torch_format.pickled_bytes({'a': np.arange(3, dtype=np.int32)})
    raw = np.arange(3, dtype='>i4').tobytes()
    members = {'data.pkl': pickled, 'byteorder': b'big', 'data/0': raw}
    path.write_bytes(torch_format.archive(members))
    assert_same(torch_files.read(path), {'a': np.arange(3, dtype=np.int32)})
    assert 'byte order' in fault(path, torch_format.archive({**members, 'byteorder': b'odd'}))


def test_no_byteorder_is_little_endian(path):
    pickled, storages = torch_format.pickled_bytes({'a': np.arange(3)})
    members = {'data.pkl': pickled, 'data/0': storages['0'].tobytes()}
    path.write_bytes(torch_format.archive(members, folder='any name'))
    assert_same(torch_files.read(path), {'a': np.arange(3)})


def with_opcodes(tail):
    """A zip with a hand-written pickle, beside the storage '0' of four float32."""
    raw = np.arange(4, dtype=np.float32).tobytes()
    members = {'data.pkl': b'\x80\x02' + tail, 'data/0': raw}
    return torch_format.archive(members)


STORAGE = b'(X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0000X\3\0\0\0cpuK\4tQ'


def tensor(*rest, function=b'_rebuild_tensor_v2'):
    """Opcodes of a tensor; the rest is offset, shape and strides."""
    values = b''.join(pickle.dumps(value, 2)[2:-1] for value in rest)
    return b'ctorch._utils\n' + function + b'\n(' + STORAGE + values + b'tR'


def named(*opcodes):
    """Opcodes of a dict with the names a, b ..."""
    items = (
        b'X\1\0\0\0' + name.encode() + code for name, code in zip('abcd', opcodes, strict=False)
    )
    return b'}(' + b''.join(items) + b'u.'


def test_what_python_2_wrote(path):
    items = b'](U\1a' + tensor(1, (2,), (1,), function=b'_rebuild_tensor') + b'e'
    path.write_bytes(with_opcodes(b'ccollections\nOrderedDict\n(](' + items + b'etR.'))
    expected = {'a': np.arange(1, 3, dtype=np.float32)}
    assert_same(torch_files.read(path), expected)


def test_parts_of_storages_in_old_files(path):
    def content(start, length):
        view = b'(X\1\0\0\0v' + pickle.dumps(start, 2)[2:-1] + pickle.dumps(length, 2)[2:-1] + b't'
        opcodes = named(tensor(1, (2,), (1,)).replace(b'K\4tQ', b'K\4' + view + b'tQ'))
        raw = np.arange(4, dtype=np.float32).tobytes()
        keys = pickle.dumps(['0'], 2)
        number = struct.pack('<q', 4)
        return torch_format.preamble() + b'\x80\x02' + opcodes + keys + number + raw

    path.write_bytes(content(1, 3))
    assert_same(torch_files.read(path), {'a': np.arange(2, 4, dtype=np.float32)})
    assert 'reaches out' in fault(path, content(1, 2))
    assert 'reaches out' in fault(path, content(1, 4))


# ---- What is refused -----------------------------------------------------------------------------


def test_no_file(path, tmp_path):
    assert 'No such file' in fault(path)
    assert 'directory' in fault(tmp_path)


@pytest.mark.parametrize('content', [b'', b'x', b'<html>not found</html>', b'PK\3\4', b'\x80'])
def test_other_files(path, content):
    fault(path, content)


@pytest.mark.parametrize(
    'content',
    [[1, 2], {}, {'epoch': 3}, {'state_dict': {}}, {'a': np.ones(2), 'epoch': 1}, 5, None]
    + [{1: np.ones(2)}, {'state_dict': [np.ones(2)]}, np.ones(2)],
    ids=str,
)
def test_no_state_dict(path, content):
    for write in (torch_format.zip_bytes, torch_format.legacy_bytes):
        assert 'torch.save(model.state_dict(), ...)' in fault(path, write(content))


class Ran(Exception):  # noqa: N818
    """Raised if a file gets to run something."""


def hostile(*arguments):
    raise Ran(arguments)


CALL = b'(X\4\0\0\0truetR.'
WANTED = {
    'os.system': b'cos\nsystem\n' + CALL,
    'builtins.eval': b'cbuiltins\neval\n' + CALL,
    '__builtin__.getattr': b'c__builtin__\ngetattr\n' + CALL,
    'posix.system': b'\x80\x04\x8c\5posix\x8c\6system\x93' + CALL,
    'torch.nn.Module': b'ctorch.nn\nModule\n)\x81}b.',
    'torch.load': b'ctorch\nload\n' + CALL,
    'collections.OrderedDict.pop': b'\x80\x04\x8c\x0bcollections\x8c\x0fOrderedDict.pop\x93.',
    'torch._utils.os.system': b'\x80\x04\x8c\x0ctorch._utils\x8c\x09os.system\x93.',
    'numpy.core.multiarray.scalar': b'cnumpy.core.multiarray\nscalar\n' + CALL,
    'test_torch_files.hostile': b'ctest_torch_files\nhostile\n' + CALL,
    'x?y.z': b'\x80\x04\x8c\3x\ny\x8c\1z\x93.',
}


@pytest.mark.parametrize('name', WANTED)
def test_functions_are_never_run(path, name, monkeypatch):
    monkeypatch.setitem(sys.modules, 'test_torch_files', sys.modules[__name__])
    opcodes = b'\x80\x02' + WANTED[name]
    in_zip = torch_format.archive({'data.pkl': opcodes})
    for content in (in_zip, opcodes, torch_format.preamble() + opcodes):
        line = fault(path, content)
        assert f'it wants to run {name}; only tensors, storages and OrderedDict are read' in line


def test_modules_are_not_imported(path):
    fault(path, with_opcodes(b'cthis\nd\n)R.'))
    assert 'this' not in sys.modules


@pytest.mark.parametrize(
    ('opcodes', 'found'),
    [
        (b'\x82\1.', 'EXT1'),
        (b'\x83\1\0.', 'EXT2'),
        (b'\x84\1\0\0\0.', 'EXT4'),
        (b'(ios\nsystem\n.', 'INST'),
        (b'(cos\nsystem\no.', 'os.system'),
        (b'ccollections\nOrderedDict\n)\x81.', 'NEWOBJ'),
        (b'Pos.system\n.', 'PERSID'),
        (b'\x8f.', 'EMPTY_SET'),
        (b'\x96\xff\xff\xff\xff\xff\xff\xff\x7f.', 'BYTEARRAY8'),
        (b'\xf0.', 'number 240'),
        (b']}X\3\0\0\0popK\1sb.', 'attributes of a list'),
        (b'ccollections\nOrderedDict\n}b.', 'attributes of a function'),
        (b'ctorch\nFloatStorage\n}X\4\0\0\0codeX\2\0\0\0i8sb.', 'attributes of a storagetype'),
        (
            tensor(0, (1,), (1,)) + b'}X\6\0\0\0offsetJ\xff\xff\xff\x7fsb.',
            'attributes of a tensor',
        ),
        (b']K\1K\2s.', 'items of a list'),
        (b'}(K\1K\1K\1K\2u.', 'twice'),
        (b'}U\1aK\1sX\1\0\0\0aK\1s.', 'twice'),
        (b'})K\1s.', 'tuple as key'),
        (b'ccollections\nOrderedDict\n(]()K\1\x86etR.', 'tuple as key'),
        (b'X\1\0\0\0aQ.', 'cannot be read'),
        (b'(K\1K\2K\3K\4K\5tQ.', 'no storage'),
        (b'X\1\0\0\0a)R.', 'not callable'),
        (b'r\xff\xff\xff\x7f.', 'cannot be read'),
        (b'h\5.', 'cannot be read'),
        (b'\x80\x09.', 'protocol'),
        (b'X\xff\xff\xff\xff.', 'cannot be read'),
        (b'\x95\xff\xff\xff\xff\xff\xff\xff\x7f.', 'cannot be read'),
    ],
)
def test_hostile_opcodes(path, opcodes, found):
    assert found in fault(path, with_opcodes(opcodes))
    assert found in fault(path, torch_format.preamble() + b'\x80\x02' + opcodes)


def test_attributes_of_an_ordered_dict_do_nothing(path):
    # They would shadow the dict's methods.
    shadows = b''.join(
        b'X' + struct.pack('<I', len(name)) + name.encode() + b'K\1'
        for name in ('get', 'items', 'values', '__class__', '__setstate__')
    )
    opcodes = b'ccollections\nOrderedDict\n)R}(' + shadows + b'ub'
    opcodes += b'X\1\0\0\0a' + tensor(0, (4,), (1,)) + b's.'
    path.write_bytes(with_opcodes(opcodes))
    assert_same(torch_files.read(path), {'a': np.arange(4, dtype=np.float32)})


@pytest.mark.parametrize(
    'opcodes',
    [b']' * 10**6 + b'.', b')' + b'\x85' * 10**6 + b'.', b']' * 10**6 + b'a' * (10**6 - 1) + b'.']
    + [b'}' + b')' + b'\x85' * 10**6 + b'K\1s.']
    + [b'})' + b''.join(b'q%ch%c\x86' % (n, n) for n in range(100)) + b'K\1s.'],
    ids=['lists', 'tuples', 'nested lists', 'nested key', 'doubled key'],
)
def test_recursion(path, opcodes):
    fault(path, with_opcodes(opcodes))


@pytest.mark.parametrize(
    'rest',
    [
        (0, (5,), (1,)),
        (1, (4,), (1,)),
        (4, (), ()),
        (2**62, (1,), (1,)),
        (-1, (1,), (1,)),
        (3, (2,), (-1,)),
        (0, (-1,), (1,)),
        (0, (-1, -1), (1, 1)),
        (0, (2, 2), (2**63, 1)),
        (0, (2**31, 2**31, 2**31), (0, 0, 0)),
        (0, (0, 2**60), (1, 1)),
        (0, (2**400,), (0,)),
        (0, (2**16,), (0,)),
        (0, (2,), (1, 1)),
        (0, (2,), ()),
        (0, (1,) * 100, (1,) * 100),
        (0, (2.0,), (1,)),
        (0, (True,), (1,)),
        (0, None, None),
        (None, (2,), (1,)),
        ('a', 'b', 'c'),
        (0, {2: 1}, {1: 1}),
        (0,),
        (),
    ],
)
def test_views_that_reach_out_of_a_storage(path, rest):
    fault(path, with_opcodes(named(tensor(*rest))))


def test_views_at_the_border(path):
    views = [(0, (4,), (1,)), (3, (), ()), (1, (2, 2), (0, 2)), (4, (0, 2**40), (9, 9))]
    path.write_bytes(with_opcodes(named(*(tensor(*view) for view in views))))
    read = torch_files.read(path)
    np.testing.assert_array_equal(read['c'], [[1, 3], [1, 3]])
    assert read['b'] == 3
    assert read['d'].shape == (0, 2**40)


def test_claims_about_storages(path):
    good = named(tensor(0, (4,), (1,)))
    path.write_bytes(with_opcodes(good))
    torch_files.read(path)
    for claim in (
        b'K\3tQ',
        b'K\5tQ',
        b'\x8a\x08' + b'\xff' * 7 + b'\x7ftQ',
        b'J\xff\xff\xff\xfftQ',
    ):
        opcodes = good.replace(b'K\4tQ', claim)
        fault(path, with_opcodes(opcodes))
        keys = pickle.dumps(['0'], 2)
        legacy = torch_format.preamble() + b'\x80\x02' + opcodes + keys
        fault(path, legacy + struct.pack('<q', 4) + bytes(16))
        fault(path, legacy + claim[1:].ljust(8, b'\0')[:8] + bytes(16))
    fault(path, with_opcodes(good.replace(b'X\1\0\0\0000', b'X\1\0\0\0001')))
    both = named(tensor(0, (3,), (1,)), tensor(0, (1,), (1,)).replace(b'Float', b'Double'))
    assert 'two different ones' in fault(path, with_opcodes(both))


def test_lists_of_storages(path):
    opcodes = torch_format.preamble() + b'\x80\x02' + named(tensor(0, (4,), (1,)))
    for keys in ([], ['1'], ['0', '0'], ['0', '1'], [0], [['0']], '0', {'0': 1}, None):
        content = opcodes + pickle.dumps(keys, 2) + 2 * (struct.pack('<q', 4) + bytes(16))
        assert 'storages' in fault(path, content)


def test_zip_bombs(path):
    members = {'data.pkl': b'\x80\x02N.', 'data/0': bytes(10**6)}
    compressed = torch_format.archive(members, compression=zipfile.ZIP_DEFLATED)
    assert 'compressed' in fault(path, compressed)
    # Members that lie over each other: the directory lists the first one's bytes many times.
    for name, found in (('0', 'two files of one name'), ('1', 'more than its own size')):
        stored = io.BytesIO(torch_format.archive(members))
        with zipfile.ZipFile(stored, 'a') as file:
            twin = copy.copy(file.filelist[1])
            twin.filename = f'archive/data/{name}'
            file.filelist.append(twin)
            file._didModify = True
        assert found in fault(path, stored.getvalue())
    claims = torch_format.archive(members).replace(struct.pack('<I', 10**6), b'\xf0\xff\xff\xff')
    assert 'more than its own size' in fault(path, claims)


def test_zips_that_are_no_checkpoints(path):
    fault(path, torch_format.archive({}))
    assert 'data.pkl' in fault(path, torch_format.archive({'a': b'b'}))
    assert 'data.pkl' in fault(path, torch_format.archive({'a/data.pkl': b'N.'}))
    assert 'more than' in fault(path, torch_format.archive({'data.pkl': bytes(2**25 + 1)}))


def test_a_changed_byte_is_noticed_in_a_zip(path):
    torch_format.write(path, {'a': np.full(9, 0x55555555)})
    content = path.read_bytes()
    assert 'CRC' in fault(path, content.replace(b'\x55\0\0\0\0\x55', b'\x55\0\0\0\1\x55', 1))


# ---- safetensors ---------------------------------------------------------------------------------


def safetensors_bytes(header, data=b'', length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack('<Q', len(text) if length is None else length) + text + data


def entry(dtype, shape, begin, end):
    return {'dtype': dtype, 'shape': shape, 'data_offsets': [begin, end]}


def small_safetensors():
    """The bytes of a file, and what is in it."""
    arrays = {
        'module.b': np.array(3.0, np.float32),
        'module.a': np.arange(6, dtype=np.int16).reshape(2, 3),
        'module.none': np.zeros((0, 4), np.float64),
        'module.bool': np.array([True, False, True, True]),
    }
    header, data = {'__metadata__': {'format': 'pt'}}, b''
    codes = ['F32', 'I16', 'F64', 'BOOL']
    for code, (name, array) in zip(codes, arrays.items(), strict=True):
        header[name] = entry(code, array.shape, len(data), len(data) + array.nbytes)
        data += array.tobytes()
    return safetensors_bytes(header, data), arrays


def test_safetensors(path):
    content, arrays = small_safetensors()
    path.write_bytes(content)
    assert_same(torch_files.read(path), {name[7:]: array for name, array in arrays.items()})


@pytest.mark.parametrize('code', safetensors.DTYPES)
def test_every_dtype_of_safetensors(path, code):
    numpy_name = {'F': 'float', 'I': 'int', 'U': 'uint'}.get(code[0], '') + code[1:]
    dtype = {'BF16': ml_dtypes.bfloat16, 'BOOL': 'bool'}.get(code) or numpy_name
    array = np.array([0, 1, 2, 77]).astype(dtype)
    content = safetensors_bytes({'a': entry(code, [4], 0, array.nbytes)}, array.tobytes())
    path.write_bytes(content)
    expected = array.astype(np.float32) if code == 'BF16' else array
    assert_same(torch_files.read(path), {'a': expected})


@pytest.mark.parametrize(
    'header',
    [
        {},
        {'__metadata__': {}},
        {'a': entry('F32', [2], 0, 4)},
        {'a': entry('F32', [2], 0, 12)},
        {'a': entry('F32', [2], 4, 12)},
        {'a': entry('F32', [2], 8, 0)},
        {'a': entry('F32', [2], -8, 0)},
        {'a': entry('F32', [1], 0, 4)},
        {'a': entry('F32', [1], 0, 4), 'b': entry('F32', [1], 0, 4)},
        {'a': entry('F32', [2], 0, 8), 'b': entry('F32', [1], 4, 8)},
        {'a': entry('F32', [1], 0, 4), 'b': entry('F32', [1], 8, 12)},
        {'a': entry('F32', [-1, -2], 0, 8)},
        {'a': entry('F32', [2**62, 4], 0, 8)},
        {'a': entry('F32', [0, 2**62], 0, 0), 'b': entry('F32', [2], 0, 8)},
        {'a': entry('F32', [1] * 50 + [2], 0, 8)},
        {'a': entry('F32', [2.0], 0, 8)},
        {'a': entry('F32', [True, 2], 0, 8)},
        {'a': entry('F32', 2, 0, 8)},
        {'a': entry('F32', [2], 0.0, 8.0)},
        {'a': entry('F8_E4M3', [8], 0, 8)},
        {'a': entry(['F32'], [2], 0, 8)},
        {'a': {'dtype': 'F32', 'shape': [2]}},
        {'a': {'dtype': 'F32', 'shape': [2], 'data_offsets': [0, 4, 8]}},
        {'a': [1]},
        {'a\n' * 1000: None},
        b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a":1}',
        b'{"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}}',
        b'{',
        b'{"a":' + b'[' * 10**5,
        b'{"a":' + b'9' * 10**4 + b'}',
        b'{"\xff":1}',
        b'{"a":NaN}',
    ],
    ids=lambda header: str(header)[:60],
)
def test_hostile_safetensors(path, header):
    fault(path, safetensors_bytes(header, bytes(8)))


@pytest.mark.parametrize('length', [0, 1, 2**20, 2**63, 2**64 - 1])
def test_lengths_of_the_header(path, length):
    header = {'a': entry('F32', [2], 0, 8)}
    path.write_bytes(safetensors_bytes(header, bytes(8)))
    torch_files.read(path)
    fault(path, safetensors_bytes(header, bytes(8), length))


# ---- Damage --------------------------------------------------------------------------------------

WHOLE = {
    'zip': lambda: torch_format.zip_bytes(small()),
    'legacy': lambda: torch_format.legacy_bytes(small()),
    'safetensors': lambda: small_safetensors()[0],
}


@pytest.mark.parametrize('kind', WHOLE)
def test_every_truncation(path, kind):
    content = WHOLE[kind]()
    path.write_bytes(content)
    torch_files.read(path)
    for length in range(len(content)):
        fault(path, content[:length])


@pytest.mark.parametrize('kind', WHOLE)
def test_every_changed_byte(path, kind):
    content = WHOLE[kind]()
    for place in range(len(content)):
        for change in (0x01, 0x80, 0xFF):
            damaged = bytearray(content)
            damaged[place] ^= change
            path.write_bytes(damaged)
            try:
                arrays = torch_files.read(path)
            except InputError:
                continue
            # It was one of the numbers, or a letter of a name.
            assert all(isinstance(array, np.ndarray) for array in arrays.values())


# ---- PyTorch itself ------------------------------------------------------------------------------


@pytest.fixture
def torch():
    return pytest.importorskip('torch')


def save(torch, content, path, legacy):
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)


def test_what_torch_saves(torch, path, legacy):
    base = torch.arange(60.0).reshape(3, 4, 5)
    content = {
        'base': base,
        'transposed': base.permute(2, 0, 1),
        'part': base[1:, ::2],
        'scalar': base[2, 3, 4],
        'parameter': torch.nn.Parameter(torch.randn(3, 2)),
        'last': torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
    }
    for name in 'float64 float32 float16 int64 int32 int16 int8 uint8 bool'.split():  # noqa: SIM905
        content[name] = torch.tensor([0, 1, 2]).to(getattr(torch, name))
    expected = {
        name: np.array(value.detach().numpy(), order='C') for name, value in content.items()
    }
    content['bfloat16'] = torch.randn(5).to(torch.bfloat16)
    expected['bfloat16'] = content['bfloat16'].float().numpy()
    save(torch, content, path, legacy)
    assert_same(torch_files.read(path), expected)


def test_a_checkpoint_as_training_scripts_save_it(torch, path, legacy):
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    model(torch.randn(2, 3, 8, 8)).sum().backward()
    optimizer.step()
    wrapped = torch.nn.DataParallel(model).state_dict()
    content = {'epoch': 3, 'arch': 'x', 'state_dict': wrapped, 'optimizer': optimizer.state_dict()}
    save(torch, content, path, legacy)
    expected = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    assert_same(torch_files.read(path), expected)


def test_a_whole_module(torch, path, legacy):
    save(torch, torch.nn.Linear(2, 2), path, legacy)
    assert 'it wants to run torch.nn.modules.linear.Linear' in fault(path)


def test_torch_reads_what_the_tests_write(torch, path, legacy):
    base = np.arange(12, dtype=np.float32).reshape(3, 4)
    torch_format.write(path, {'a': base, 'b': base.T, 'c': base[1:, 2:]}, legacy, 'model', epoch=3)
    read = torch.load(path, weights_only=True)
    assert read['epoch'] == 3
    np.testing.assert_array_equal(read['model']['b'].numpy(), base.T)
    np.testing.assert_array_equal(read['model']['c'].numpy(), base[1:, 2:])
    assert read['model']['a'].data_ptr() == read['model']['b'].data_ptr()


def test_golden_logits(torch):
    import torch_resnet

    golden = json.loads(GOLDEN.read_text())
    model = torch_resnet.resnet50(golden['classes'])
    shapes = [[name, list(tensor.shape)] for name, tensor in model.state_dict().items()]
    assert shapes == golden['shapes']
    assert sum(tensor.numel() for tensor in model.parameters()) == golden['parameters']
    drawn = torch_format.draw(shapes, golden['seed'])
    model.load_state_dict({name: torch.from_numpy(array) for name, array in drawn.items()})
    for size, expected in golden['logits'].items():
        pixels = torch_format.draw_pixels(golden['seed'], int(size)).transpose(0, 3, 1, 2).copy()
        with torch.no_grad():
            logits = model.eval()(torch.from_numpy(pixels)).numpy()
        assert np.abs(logits - expected).max() < 1e-5 * np.abs(expected).max()


def test_golden_weights_through_a_file(path, legacy):
    golden = json.loads(GOLDEN.read_text())
    shapes = [pair for pair in golden['shapes'] if pair[0].startswith(('layer1', 'fc'))]
    drawn = torch_format.draw(shapes, golden['seed'])
    torch_format.write(path, drawn, legacy, 'state_dict', epoch=3)
    assert_same(torch_files.read(path), drawn)
