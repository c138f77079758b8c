"""Classes and confusions, counted by hand."""

import csv

import numpy as np
import pytest
from PIL import Image

from tfnets.analysis import confusion_report
from tfnets.analysis.figures import drawing

NAMES = ['cat', 'dog, big', 'ant']
# Two cats taken for dogs, one right; two dogs right; no ants, but one dog taken for one.
LABELS = [0, 0, 0, 1, 1, 1]
PREDICTED = [1, 0, 1, 1, 2, 1]


def read(path):
    with open(path, newline='') as file:
        return list(csv.reader(file))


def test_the_matrix_counts_rows_of_true_classes():
    matrix = confusion_report.confusion_matrix(LABELS, PREDICTED, 3)
    np.testing.assert_array_equal(matrix, [[1, 2, 0], [0, 2, 1], [0, 0, 0]])


def test_files(tmp_path):
    matrix = confusion_report.confusion_matrix(LABELS, PREDICTED, 3)
    paths = confusion_report.write_report(tmp_path, '64px', matrix, NAMES)
    assert sorted(path.name for path in paths) == [
        'confusion_64px.csv',
        'confusion_64px.png',
        'per_class_64px.csv',
    ]
    assert read(tmp_path / 'per_class_64px.csv')[1:] == [
        ['cat', '3', '1', '33.33', 'dog, big', '2'],
        ['dog, big', '3', '2', '66.67', 'ant', '1'],
        ['ant', '0', '0', '', '', '0'],
    ]
    head, *rows = read(tmp_path / 'confusion_64px.csv')
    assert head[1:] == NAMES
    assert rows == [['cat', '1', '2', '0'], ['dog, big', '0', '2', '1'], ['ant', '0', '0', '0']]


@pytest.mark.parametrize('classes', [2, 40, 300])
def test_a_picture_of_any_number_of_classes(tmp_path, classes):
    matrix = np.eye(classes, dtype=np.int64) * 7
    with drawing(tmp_path / 'x.png', confusion_report.size(classes)) as axes:
        confusion_report.draw(axes, matrix, [f'${n}_{{' for n in range(classes)])
    picture = np.asarray(Image.open(tmp_path / 'x.png').convert('RGB'))
    # The darkest blue of the map, which only full cells have, lies on the diagonal.
    full = np.argwhere((picture == [8, 48, 107]).all(-1))
    bar = full[:, 1] > 0.85 * picture.shape[1]
    assert len(full[~bar]) > 50
    rows, columns = full[~bar].T
    assert np.corrcoef(rows, columns)[0, 1] > 0.7
