"""Pictures are written whole or not at all."""

import pytest

from tfnets.analysis.figures import drawing


def test_a_picture_is_a_png_and_replaces_an_older_one(tmp_path):
    path = tmp_path / 'new' / 'picture.png'
    sizes = []
    for points in ([0, 1], range(50)):
        with drawing(path) as axes:
            axes.plot([point**2 for point in points])
        assert path.read_bytes().startswith(b'\x89PNG')
        sizes.append(path.stat().st_size)
    assert sizes[0] != sizes[1]
    assert list(path.parent.iterdir()) == [path]


def test_a_drawing_that_fails_leaves_what_was_there(tmp_path):
    path = tmp_path / 'picture.png'
    path.write_text('older')
    with pytest.raises(ZeroDivisionError), drawing(path) as axes:
        axes.plot([1 / 0])
    assert path.read_text() == 'older'
    assert list(tmp_path.iterdir()) == [path]
