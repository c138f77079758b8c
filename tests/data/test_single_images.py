"""Image files that a command line names: which they are, and what is made of them."""

import numpy as np
import pytest
from PIL import Image

from tfnets.data import preprocessing, single_images
from tfnets.data.image_files import find_images


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / 'within').mkdir()
    for name in ('b.jpg', 'a.PNG', 'within/c.bmp', 'within/d.gif'):
        Image.fromarray(rng.integers(0, 256, (30, 40, 3), np.uint8)).save(tmp_path / name)
    (tmp_path / 'notes.txt').write_text('no image')
    return tmp_path


def test_files_folders_and_globs_in_their_order(folder):
    words = ['within', 'b.jpg', '*.jp*', 'notes.txt', 'gone.jpg', '**/*', 'x*', '.']
    found, missing = find_images([f'{folder}/{word}' for word in words])
    named = [str(path).removeprefix(f'{folder}/').removeprefix('./') for path in found]
    inside = ['within/c.bmp', 'within/d.gif']
    everything = ['a.PNG', 'b.jpg', *inside]
    assert named == [*inside, 'b.jpg', 'b.jpg', 'notes.txt', *everything, *everything]
    assert missing == [f'{folder}/gone.jpg', f'{folder}/x*']


def test_an_empty_folder_has_no_images(tmp_path):
    assert find_images([str(tmp_path)]) == ([], [str(tmp_path)])


def test_a_file_may_be_called_as_a_glob(tmp_path):
    path = tmp_path / 'a[1].png'
    Image.new('RGB', (4, 4)).save(path)
    assert find_images([str(path)]) == ([str(path)], [])


def test_images_are_prepared_in_order_and_faults_left_out(folder):
    (folder / 'empty.jpg').write_bytes(b'')
    Image.new('RGB', (400, 3)).save(folder / 'line.png')
    rng = np.random.default_rng(0)
    many = Image.fromarray(rng.integers(0, 256, (30, 40, 3), np.uint8))
    many.convert('P').save(folder / 'palette.bmp')
    half = (folder / 'b.jpg').read_bytes()[:500]
    (folder / 'half.jpg').write_bytes(half)
    names = ['b.jpg', 'notes.txt', 'a.PNG', 'line.png', 'gone.jpg', 'half.jpg', 'within/c.bmp']
    names += ['palette.bmp']
    paths = [str(folder / name) for name in [*names, 'empty.jpg']]
    line = preprocessing.parse('resize(24)', 24)
    batches = list(single_images.batches(paths, line, 2))
    assert [batch['index'].numpy().tolist() for batch in batches] == [[0, 2], [6]]
    expected = line((folder / 'a.PNG').read_bytes())
    np.testing.assert_array_equal(batches[0]['image'][1], expected)
    faults = {name: single_images.fault(str(folder / name), line) for name in names}
    assert 'Unknown image file format' in faults['notes.txt']
    assert 'too large to be decoded: 400 x 3 pixels' in faults['line.png']
    assert 'BMP with a palette' in faults['palette.bmp']
    assert 'No such file' in faults['gone.jpg']
    assert 'JPEG' in faults['half.jpg']
    assert not any('\n' in fault for fault in faults.values())
