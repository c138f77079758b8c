"""Preprocessing lines that have names: @imagenet_eval in a line stands for its text.

@imagenet_eval(288) is the same with 288 for `resolution`. What a run saves is the text itself.
"""

import re

from tfnets.errors import InputError

_CENTER = 'resize_short_side(resolution * 256 / 224) | center_crop(resolution)'

PRESETS = {
    # imagenet-train.py of IBM/BigLittleNet, by torchvision's transforms.
    'imagenet_train': 'decode_inception_crop(resolution) | flip_lr',
    'big_little_train': 'decode_inception_crop(resolution) | flip_lr | color_jitter(0.4, 0.4, 0.4)',
    # Without the average over all pixels that a shrunk one covers, as TensorFlow's own pipelines
    # are; more than twice as fast to prepare.
    'imagenet_train_fast': 'decode_inception_crop(resolution, antialias=False) | flip_lr',
    'imagenet_eval': _CENTER,
    # FixRes, imnet_resnet50_scratch and imnet_finetune; but its test rounds what it resizes to down
    # (438 of 384 px, ours 439; 224, 288 and 448 px are the same) and makes that the height of every
    # image, also where the width is the short side.
    'fixres_train': 'decode_inception_crop(resolution) | flip_lr | color_jitter(0.3, 0.3, 0.3)',
    'fixres_test': _CENTER,
    'cifar_train': 'random_crop(resolution, 4) | flip_lr',
    'cifar_eval': 'resize(resolution)',
    # The DeepLearning_MiniProjects on Caltech-256, whose evaluation squashes images instead. Half
    # of the images keep their tone, a quarter get another brightness and contrast, a quarter are
    # equalized.
    'caltech256_train': (
        'resize_short_side(resolution * 256 / 224) | flip_lr | '
        "shift_scale_rotate(border='nearest') | "
        'brightness_contrast(0.1, 1 / 3) | equalize(1 / 4) | random_crop(resolution)'
    ),
    'caltech256_eval': _CENTER,
    # AdamStein97.
    'cats_vs_dogs_train': (
        'decode_area_crop(resolution, 0.2, 0.7, antialias=False) | flip_lr | brightness(0.25) | '
        'saturation(0.5, 1.5)'
    ),
    'cats_vs_dogs_eval': (
        'resize_short_side(resolution * 72 / 64, antialias=False) | center_crop(resolution)'
    ),
}


def about():
    """Lists the lines for --help."""
    return '; '.join(f'@{name}: {line}' for name, line in PRESETS.items())


def expand(line):
    """Puts the text of each @name into a line.

    Args:
        line: str.

    Returns:
        str without @.

    Raises:
        InputError: if there is no such name.
    """
    return re.sub(r'@(\w+)(?:\(([^()]*)\))?', _text, line)


def _text(match):
    name, resolution = match.groups()
    if name not in PRESETS:
        raise InputError(
            f'preprocessing {match.string!r}: no line is called @{name}; there are '
            f'{", ".join(f"@{known}" for known in PRESETS)}'
        )
    given = f'({resolution})' if resolution else 'resolution'
    return re.sub(r'\bresolution\b', lambda _: given, PRESETS[name])
