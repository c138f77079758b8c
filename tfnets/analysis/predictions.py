"""Answers of a network to image files, and how they are written down."""

import csv
import dataclasses
import io
import json

import tensorflow as tf

from tfnets.data import single_images
from tfnets.data.image_files import printable


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a network says of an image file.

    Attributes:
        file: path, as text that can be written anywhere.
        top: list of (class, probability), the most probable first; empty if the file cannot be
            read.
        fault: why it cannot be read, or None.
    """

    file: str
    top: list[tuple[str, float]]
    fault: str | None = None


def predict(network, class_names, preprocessing, paths, batch_size=64, top=5):
    """Answers for one file after the other.

    Args:
        network: keras.Model from uint8 pixels to logits [batch, classes].
        class_names: a name for each class.
        preprocessing: Preprocessing.
        paths: list of paths, str.
        batch_size: images at once.
        top: how many classes, at most all.

    Yields:
        Answer, in the order of the paths.
    """
    top = min(top, len(class_names))

    @tf.function(reduce_retracing=True)
    def best(images):
        return tf.math.top_k(probabilities(network, images), top)

    def broken_up_to(end):
        for path in paths[done:end]:
            yield Answer(printable(path), [], single_images.fault(path, preprocessing))

    done = 0
    for batch in single_images.batches(paths, preprocessing, batch_size):
        values, classes = (column.numpy().tolist() for column in best(batch['image']))
        for index, shares, labels in zip(batch['index'].numpy(), values, classes, strict=True):
            yield from broken_up_to(index)
            names = [class_names[label] for label in labels]
            yield Answer(printable(paths[index]), list(zip(names, shares, strict=True)))
            done = index + 1
    yield from broken_up_to(len(paths))


def probabilities(network, pixels):
    """Softmax of a network's logits, float32 [batch, classes], for uint8 pixels."""
    return tf.nn.softmax(tf.cast(network(pixels, training=False), tf.float32))


class Table:
    """Lines of a markdown table."""

    def __init__(self, top):
        places = ['most probable', *(f'{place}.' for place in range(2, top + 1))]
        self.head = f'| file | {" | ".join(places)} |\n|---|{"---|" * top}\n'

    def line(self, answer):
        """A row, probabilities in percent."""
        cells = [f'{name} {100 * share:.1f} %' for name, share in answer.top]
        cells = [cell.replace('|', r'\|') for cell in (answer.file, *cells)]
        return f'| {" | ".join(cells)} |\n'


class JsonLines:
    """A JSON object a line."""

    head = ''

    def __init__(self, top):
        pass

    def line(self, answer):
        """{"file", "class", "probability", "top": [{"class", "probability"}, ...]}."""
        top = [{'class': name, 'probability': _digits(share)} for name, share in answer.top]
        return json.dumps({'file': answer.file, **top[0], 'top': top}) + '\n'


class Csv:
    """Comma-separated values."""

    def __init__(self, top):
        places = ['', *(f'_{place}' for place in range(2, top + 1))]
        self.head = _csv(['file', *(f'{n}{p}' for p in places for n in ('class', 'probability'))])

    def line(self, answer):
        """File, then class and probability of each place."""
        pairs = [(name, _digits(share)) for name, share in answer.top]
        return _csv([answer.file, *(cell for pair in pairs for cell in pair)])


FORMATS = {'table': Table, 'jsonl': JsonLines, 'csv': Csv}


def _digits(share):
    """Six digits are more than a float32 softmax is worth."""
    return float(f'{share:.6g}')


def _csv(row):
    text = io.StringIO()
    csv.writer(text, lineterminator='\n').writerow(row)
    return text.getvalue()
