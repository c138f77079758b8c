"""Flags whose text is more than one value, or a value of a kind of its own: read, or refused.

Imports no TensorFlow.
"""

import math
import re

from absl import flags

from tfnets.errors import InputError

FLAGS = flags.FLAGS

# The order of examples looks at 31 bits.
LARGEST_SEED = 2**31 - 1


def pixels(flag):
    """The lengths that a list holds: tuple of int above 0, each once."""
    return _whole_numbers(flag, 'pixels')


def images(flag):
    """The sizes of batches that a list holds: tuple of int above 0, each once."""
    return _whole_numbers(flag, 'images')


def seeds(flag):
    """The seeds that a list holds: tuple of int, each once."""
    for text in FLAGS[flag].value:
        if not (_is_whole(text) and int(text) <= LARGEST_SEED):
            raise InputError(f'--{flag}={text}: expected whole numbers, 0 to {LARGEST_SEED}')
    return tuple(dict.fromkeys(map(int, FLAGS[flag].value)))


def pixels_or(flag, words):
    """A length, int above 0, or one of some words."""
    text = FLAGS[flag].value
    return text if text in words else _above_zero(flag, text, 'pixels')


def profile():
    """The pair of --profile, None if there is none."""
    if FLAGS.profile is None:
        return None
    found = re.fullmatch(r'(\d+):([1-9]\d*)', FLAGS.profile, re.ASCII)
    if not found:
        raise InputError(f'--profile={FLAGS.profile}: expected START:COUNT in steps, as 100:10')
    return int(found[1]), int(found[2])


def peak_tflops():
    """The number of --peak_tflops; None to ask for no share, 'measured' to measure it."""
    if FLAGS.peak_tflops in (None, 'measured'):
        return FLAGS.peak_tflops
    try:
        peak = float(FLAGS.peak_tflops)
    except ValueError:
        peak = math.nan
    if not 0 < peak < math.inf:
        raise InputError(
            f"--peak_tflops={FLAGS.peak_tflops}: expected a number above 0, or 'measured'"
        )
    return peak


def drop_at(prefix):
    """The rising epochs of a stage's --drop_at, tuple of float; None if it is not given."""
    texts = FLAGS[f'{prefix}drop_at'].value
    if not texts:
        return None
    try:
        epochs = tuple(map(float, texts))
    except ValueError:
        epochs = (0.0,)
    if not all(0 <= a < b < math.inf for a, b in zip((0.0, *epochs), epochs, strict=False)):
        raise InputError(
            f'--{prefix}drop_at={",".join(texts)}: expected rising epochs above 0, as 30,60,80'
        )
    return epochs


def wave_later(prefix):
    """The epoch and the learning rate of a stage's --wave_later; None if it is not given."""
    text = FLAGS[f'{prefix}wave_later'].value
    if text is None:
        return None
    try:
        epoch, lowest = map(float, text.split(':'))
    except ValueError:
        epoch = lowest = -1.0
    if not (0 <= epoch < math.inf and 0 <= lowest < math.inf):
        raise InputError(
            f'--{prefix}wave_later={text}: expected an epoch and a learning rate, as 50:1e-7'
        )
    return epoch, lowest


def _whole_numbers(flag, unit):
    return tuple(dict.fromkeys(_above_zero(flag, text, unit) for text in FLAGS[flag].value))


def _above_zero(flag, text, unit):
    if not (_is_whole(text) and int(text)):
        raise InputError(f'--{flag}={text}: expected a number of {unit}, above 0')
    return int(text)


def _is_whole(text):
    return text.isascii() and text.isdecimal()
