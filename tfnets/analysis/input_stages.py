"""How fast the input is, stage by stage, beside the decoder's own limit and the straight way."""

import dataclasses
import functools
import itertools

import tensorflow as tf

from tfnets.data import operations, pipeline


def contestants(batches, examples):
    """Functions that each prepare so many examples of the walk, one stage more than the last.

    Args:
        batches: data.pipeline.Batches of a training line.
        examples: how many.

    Returns:
        Dict from a name to a function without arguments: 'decode' (of the file, or of the crop
        alone if the line begins with one: the decoder's own limit), 'read' (the bytes alone), one
        for each operation, '+ batch', one for the colours that end the line, which are done on
        batches, and, for a line that begins with a crop, 'straight way'.
    """
    line = batches.preprocessing

    stages = {'decode': _decode(line), 'read': lambda encoded, seed: encoded}
    start = len(line.steps) - len(line.colours)
    for count in range(1 if line.crops else 2, start + 1):
        name = f'+ {line.steps[count - 1].name}'
        stages[f'{name} ({count})' if name in stages else name] = functools.partial(
            line.first, count
        )
    runs = {name: _walk(batches, stage, examples) for name, stage in stages.items()}
    runs['+ batch'] = _batched(dataclasses.replace(batches, colours_on_device=True), examples)
    if line.colours and not batches.colours_on_device:
        names = ', '.join(step.name for _, step in line.colours)
        runs[f'+ {names}'] = _batched(batches, examples)
    if line.crops:
        end = start if batches.colours_on_device else None
        runs['straight way'] = _walk(batches, _straight(line, end), examples)
    return runs


def _decode(line):
    """The least that has to be done: the file, or the part that the crop needs, decoded."""
    if not line.crops:
        return lambda encoded, seed: operations.decode(encoded)

    def decode(encoded, seed):
        _, box = line.crop_box(encoded, seed)
        return operations.decode_box(encoded, box)

    return decode


def _straight(line, end):
    """The operations up to `end` as they are written without care: whole file, floats, in turn."""

    def prepare(encoded, seed):
        size, box = line.crop_box(encoded, seed)
        image = tf.cast(operations.decode(encoded), tf.float32)
        image = tf.slice(image, [box[0], box[1], 0], [box[2], box[3], 3])
        given = line.steps[0].arguments
        image = tf.image.resize(
            image,
            (given['size'], given['size']),
            given['interpolation'],
            antialias=given['antialias'],
        )
        for place, step in itertools.islice(enumerate(line.steps), 1, end):
            straight = _straight_jitter if step.name == 'color_jitter' else type(step).__call__
            image = straight(step, image, line.own_seed(seed, place))
        return operations.as_uint8(image)

    return prepare


def _straight_jitter(step, image, seed):
    """Colour jitter by tf.image, one function after the other."""
    drawn = step.draw(seed)
    image = image / 255
    functions = (
        lambda image: tf.image.adjust_brightness(image, drawn[0] - 1),
        lambda image: tf.image.adjust_contrast(image, drawn[1]),
        lambda image: tf.image.adjust_saturation(image, drawn[2]),
    )
    for place in range(3):
        choices = [lambda f=f, image=image: f(image) for f in functions]
        image = tf.switch_case(tf.cast(drawn[3 + place], tf.int32), choices)
        image = tf.clip_by_value(image, 0.0, 1.0)
    return 255 * image


def _walk(batches, stage, examples):
    return _through(pipeline.examples(batches, stage, examples))


def _batched(batches, examples):
    steps = -(-examples // batches.batch_size)
    return _through(pipeline.training_dataset(batches, 0, steps))


def _through(dataset):
    """A function that walks through a dataset."""

    def run():
        for _ in dataset:
            pass

    return run
