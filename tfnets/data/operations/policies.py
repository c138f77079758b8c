"""Policies: a few operations, drawn from a list, to each image.

All their operations are Pillow's, on uint8, the geometric ones by the nearest pixel. What a draw
asks for is a branch of one tf.switch_case, so that nothing else is computed.
"""

from tfnets.data.operations import tone, warping
from tfnets.data.operations.base import as_uint8, number, operation, tf
from tfnets.data.operations.chance import level
from tfnets.data.operations.erasing import covered

# From the paper's appendix, in the form of torchvision's AutoAugmentPolicy.IMAGENET and .CIFAR10:
# two operations a line, each with its probability and its level of 0 to 9, if it has one.
_AUTO_AUGMENT = {
    'imagenet': """
        Posterize 0.4 8, Rotate 0.6 9
        Solarize 0.6 5, AutoContrast 0.6
        Equalize 0.8, Equalize 0.6
        Posterize 0.6 7, Posterize 0.6 6
        Equalize 0.4, Solarize 0.2 4
        Equalize 0.4, Rotate 0.8 8
        Solarize 0.6 3, Equalize 0.6
        Posterize 0.8 5, Equalize 1.0
        Rotate 0.2 3, Solarize 0.6 8
        Equalize 0.6, Posterize 0.4 6
        Rotate 0.8 8, Color 0.4 0
        Rotate 0.4 9, Equalize 0.6
        Equalize 0.0, Equalize 0.8
        Invert 0.6, Equalize 1.0
        Color 0.6 4, Contrast 1.0 8
        Rotate 0.8 8, Color 1.0 2
        Color 0.8 8, Solarize 0.8 7
        Sharpness 0.4 7, Invert 0.6
        ShearX 0.6 5, Equalize 1.0
        Color 0.4 0, Equalize 0.6
        Equalize 0.4, Solarize 0.2 4
        Solarize 0.6 5, AutoContrast 0.6
        Invert 0.6, Equalize 1.0
        Color 0.6 4, Contrast 1.0 8
        Equalize 0.8, Equalize 0.6
    """,
    'cifar10': """
        Invert 0.1, Contrast 0.2 6
        Rotate 0.7 2, TranslateX 0.3 9
        Sharpness 0.8 1, Sharpness 0.9 3
        ShearY 0.5 8, TranslateY 0.7 9
        AutoContrast 0.5, Equalize 0.9
        ShearY 0.2 7, Posterize 0.3 7
        Color 0.4 3, Brightness 0.6 7
        Sharpness 0.3 9, Brightness 0.7 9
        Equalize 0.6, Equalize 0.5
        Contrast 0.6 7, Sharpness 0.6 5
        Color 0.7 7, TranslateX 0.5 8
        Equalize 0.3, AutoContrast 0.4
        TranslateY 0.4 3, Sharpness 0.2 6
        Brightness 0.9 6, Color 0.2 8
        Solarize 0.5 2, Invert 0.0
        Equalize 0.2, AutoContrast 0.6
        Equalize 0.2, Equalize 0.6
        Color 0.9 9, Equalize 0.6
        AutoContrast 0.8, Solarize 0.2 8
        Brightness 0.1 3, Color 0.7 0
        Solarize 0.4 5, AutoContrast 0.9
        TranslateY 0.9 9, TranslateY 0.7 9
        AutoContrast 0.9, Solarize 0.8 3
        Equalize 0.8, Invert 0.1
        TranslateY 0.7 9, AutoContrast 0.9
    """,
}

# The 16 operations of the authors' code for TPUs, in its order.
_RAND_AUGMENT = (
    'AutoContrast',
    'Equalize',
    'Invert',
    'Rotate',
    'Posterize',
    'Solarize',
    'Color',
    'Contrast',
    'Brightness',
    'Sharpness',
    'ShearX',
    'ShearY',
    'TranslateX',
    'TranslateY',
    'Cutout',
    'SolarizeAdd',
)


def _shifted(image, share, axis):
    """Whole pixels of a share of the side; one that is whole but for single precision stays."""
    side = tf.cast(tf.shape(image)[axis], tf.float32)
    return tf.sign(share) * tf.floor(tf.abs(share) * side + 1e-3)


def _cut_out(image, share, fill, place):
    """Covers a square of 2 * `share` of the width, its middle anywhere, even at the edge."""
    size = tf.shape(image)[:2]
    half = tf.cast(_shifted(image, share, 1), tf.int32)
    middle = tf.cast(place * tf.cast(size, tf.float32), tf.int32)
    return covered(image, tf.concat([middle - half, [2 * half, 2 * half]], 0), fill)


# From image, argument, the level of what is missing, and a place in 0 to 1, float32 [2].
_OPERATIONS = {
    'Identity': lambda image, *_: image,
    'AutoContrast': lambda image, *_: tone.autocontrasted(image),
    'Equalize': lambda image, *_: tone.equalized(image),
    'Invert': lambda image, *_: tone.inverted(image),
    'Posterize': lambda image, bits, *_: tone.posterized(image, bits),
    'Solarize': lambda image, threshold, *_: tone.solarized(image, threshold),
    'SolarizeAdd': lambda image, addition, *_: tone.solarized_add(image, addition),
    'Color': lambda image, factor, *_: tone.coloured(image, factor),
    'Contrast': lambda image, factor, *_: tone.contrasted(image, factor),
    'Brightness': lambda image, factor, *_: tone.brightened(image, factor),
    'Sharpness': lambda image, factor, *_: tone.sharpened(image, factor),
    'Rotate': lambda image, degrees, fill, _: warping.turned(image, degrees, fill=fill),
    'ShearX': lambda image, share, fill, _: warping.sheared_x(image, share, fill),
    'ShearY': lambda image, share, fill, _: warping.sheared_y(image, share, fill),
    'TranslateX': lambda image, share, fill, _: warping.moved_x(
        image, _shifted(image, share, 1), fill
    ),
    'TranslateY': lambda image, share, fill, _: warping.moved_y(
        image, _shifted(image, share, 0), fill
    ),
    'Cutout': _cut_out,
}
_KINDS = {name: kind for kind, name in enumerate(_OPERATIONS)}


def policy_name(value):
    """Accepts 'imagenet' or 'cifar10'."""
    if value not in tuple(_AUTO_AUGMENT):
        raise ValueError
    return value


def layer_count(value):
    """Accepts a number of layers, 1 to 10."""
    if isinstance(value, bool) or value not in range(1, 11):
        raise ValueError
    return int(value)


def magnitude_level(value):
    """Accepts a magnitude, 0 to 30."""
    if not 0 <= number(value) <= 30:
        raise ValueError
    return float(value)


@operation
def auto_augment(image, seed, policy: policy_name = 'imagenet', fill: level = 128.0):
    """Applies one of 25 pairs of operations, AutoAugment (Cubuk et al., 2019).

    Pairs, probabilities and magnitudes are torchvision's, which are the paper's. The list that came
    with EfficientNet for TPUs (policy_v0) is another one, found on other data. What geometric
    operations bring in is grey, as the authors have it; torchvision's is black unless told.

    Args:
        image: uint8 or float32 [height, width, 3].
        seed: int32 [2].
        policy: 'imagenet' or 'cifar10'.
        fill: the level of what comes from outside the image.

    Returns:
        uint8 [height, width, 3].
    """
    pairs = auto_augment_pairs(policy)
    draw = tf.random.stateless_uniform([5], seed)
    which = _chosen(draw[0], len(pairs))
    image = as_uint8(image)
    for place in range(2):
        kinds = tf.constant([_KINDS[pair[place][0]] for pair in pairs])
        chances = tf.constant([pair[place][1] for pair in pairs])
        arguments = tf.constant([auto_augment_arguments(*pair[place][::2]) for pair in pairs])
        kind = tf.where(draw[1 + place] < chances[which], kinds[which], _KINDS['Identity'])
        argument = arguments[which, _chosen(draw[3 + place], 2)]
        image = _apply(list(_OPERATIONS), kind, image, argument, fill, tf.zeros([2]))
    return image


@operation
def rand_augment(
    image,
    seed,
    num_layers: layer_count = 2,
    magnitude: magnitude_level = 9.0,
    fill: level = 128.0,
):
    """Applies operations drawn from a list, one after the other, RandAugment (Cubuk et al., 2020).

    List and magnitudes are those of the authors' code for TPUs (EfficientNet's): 10 is about
    AutoAugment's greatest, and one may go beyond, up to 30. There as here, posterizing and
    solarizing do less the greater the magnitude. In two things we depart from it. Shifts and the
    covered square grow with the image: they are what its 100 and 40 pixels are of 224. And contrast
    is about the mean grey, as Pillow's, where it takes a number of pixels for that.

    Args:
        image: uint8 or float32 [height, width, 3].
        seed: int32 [2].
        num_layers: how many operations are applied, the paper's N.
        magnitude: of all of them, the paper's M, 0 to 30.
        fill: the level of what comes from outside the image.

    Returns:
        uint8 [height, width, 3].
    """
    arguments = tf.constant([rand_augment_arguments(name, magnitude) for name in _RAND_AUGMENT])
    draw = tf.random.stateless_uniform([num_layers, 4], seed)
    image = as_uint8(image)
    for layer in range(num_layers):
        kind = _chosen(draw[layer, 0], len(_RAND_AUGMENT))
        argument = arguments[kind, _chosen(draw[layer, 1], 2)]
        image = _apply(_RAND_AUGMENT, kind, image, argument, fill, draw[layer, 2:])
    return image


def auto_augment_pairs(policy):
    """The 25 pairs of a policy: ((name, probability, level), (name, probability, level))."""

    def read(text):
        name, chance, *rest = text.split()
        return name, float(chance), int(rest[0]) if rest else 0

    lines = _AUTO_AUGMENT[policy].strip().splitlines()
    return tuple(tuple(map(read, line.split(','))) for line in lines)


def auto_augment_arguments(name, level):
    """What an operation of AutoAugment is given at a level, 0 to 9: two values, equally likely."""
    share = level / 9
    if name in ('Color', 'Contrast', 'Brightness', 'Sharpness'):
        return 1 - 0.9 * share, 1 + 0.9 * share
    if name == 'Posterize':
        return (8.0 - round(4 * share),) * 2
    if name == 'Solarize':
        return (255 - 255 * share,) * 2
    return _either_way(name, share, 150 / 331)


def rand_augment_arguments(name, magnitude):
    """What an operation of RandAugment is given at a magnitude: two values, equally likely."""
    share = magnitude / 10
    if name in ('Color', 'Contrast', 'Brightness', 'Sharpness'):
        return (0.1 + 1.8 * share,) * 2
    if name == 'Posterize':
        return (min(max(float(int(4 * share)), 1.0), 8.0),) * 2
    if name == 'Solarize':
        return (float(int(256 * share)),) * 2
    if name == 'SolarizeAdd':
        return (float(int(110 * share)),) * 2
    if name == 'Cutout':
        return (40 / 224 * share,) * 2
    return _either_way(name, share, 100 / 224)


def _either_way(name, share, shift):
    """The geometric operations' arguments, in both directions; 0 for those that have none."""
    most = {'Rotate': 30.0, 'ShearX': 0.3, 'ShearY': 0.3, 'TranslateX': shift, 'TranslateY': shift}
    return -share * most.get(name, 0.0), share * most.get(name, 0.0)


def _chosen(draw, count):
    """One of `count` numbers from a draw in [0, 1)."""
    return tf.minimum(tf.cast(draw * count, tf.int32), count - 1)


def _apply(names, kind, image, argument, fill, place):
    """Applies the operation number `kind` of `names`."""

    def branch(name):
        return lambda: _OPERATIONS[name](image, argument, fill, place)

    result = tf.switch_case(kind, [branch(name) for name in names])
    result.set_shape(image.shape)
    return result
