"""Which classes a network takes for which: per class, as a matrix, and as a picture of it."""

import csv
import io

import numpy as np

from tfnets.analysis.figures import drawing
from tfnets.files import write_text

# For more classes than these a picture has no room for names, or for counts in its cells.
_MOST_NAMED, _MOST_COUNTED = 60, 25


def confusion_matrix(labels, predicted, classes):
    """Counts what was taken for what.

    Args:
        labels: int [examples].
        predicted: int [examples].
        classes: how many there are.

    Returns:
        int64 [classes, classes]: examples of the class of the row that were taken for that of the
        column.
    """
    pairs = np.asarray(labels, np.int64) * classes + np.asarray(predicted, np.int64)
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def write_report(folder, name, matrix, class_names):
    """Writes per_class_NAME.csv, confusion_NAME.csv and confusion_NAME.png.

    Args:
        folder: pathlib.Path.
        name: str, the end of the files' names.
        matrix: what `confusion_matrix` answered.
        class_names: a name for each class.

    Returns:
        List of the paths.
    """
    tables = {
        folder / f'per_class_{name}.csv': per_class(matrix, class_names),
        folder / f'confusion_{name}.csv': [
            ['true class (rows), predicted class (columns)', *class_names],
            *([own, *row] for own, row in zip(class_names, matrix.tolist(), strict=True)),
        ],
    }
    for path, rows in tables.items():
        write_text(path, _csv(rows))
    picture = folder / f'confusion_{name}.png'
    with drawing(picture, size(len(matrix))) as axes:
        draw(axes, matrix, class_names)
    return [*tables, picture]


def per_class(matrix, class_names):
    """Rows of a table: how each class did, and what it was most often wrongly taken for."""
    rows = [['class', 'photos', 'right', 'accuracy (%)', 'most often confused with', 'times']]
    for label, counts in enumerate(matrix):
        photos, right = int(counts.sum()), int(counts[label])
        others = np.where(np.arange(len(counts)) == label, 0, counts)
        rival, times = int(others.argmax()), int(others.max())
        share = f'{100 * right / photos:.2f}' if photos else ''
        name = class_names[rival] if times else ''
        rows.append([class_names[label], photos, right, share, name, times])
    return rows


def size(classes):
    """Width and height in inches of the picture of so many classes."""
    side = min(4 + 0.35 * classes, 20)
    return side + 1, side


def draw(axes, matrix, class_names):
    """Draws a confusion matrix; shades are shares of the photos of a class.

    Args:
        axes: matplotlib.axes.Axes.
        matrix: what `confusion_matrix` answered.
        class_names: a name for each class.
    """
    classes = len(matrix)
    shares = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    image = axes.imshow(100 * shares, cmap='Blues', vmin=0, vmax=100)
    axes.figure.colorbar(image, label='share of the photos of a class (%)', shrink=0.7)
    axes.set_xlabel('predicted class')
    axes.set_ylabel('true class')
    if classes <= _MOST_NAMED:
        # A $ would begin a formula.
        names = [str(name).replace('$', r'\$') for name in class_names]
        axes.set_xticks(range(classes), names, rotation=90)
        axes.set_yticks(range(classes), names)
    if classes <= _MOST_COUNTED:
        for (row, column), count in np.ndenumerate(matrix):
            if count:
                colour = 'white' if shares[row, column] > 0.6 else 'black'
                place = {'ha': 'center', 'va': 'center', 'fontsize': 'small'}
                axes.text(column, row, str(count), color=colour, **place)


def _csv(rows):
    text = io.StringIO()
    csv.writer(text, lineterminator='\n').writerows(rows)
    return text.getvalue()
