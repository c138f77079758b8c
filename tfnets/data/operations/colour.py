"""Operations on colour: what each draws from an example's seed, and what that does to pixels.

The two are apart so that the drawing can be the pipeline's, example by example, and the arithmetic
a batch's: compiled as one, on the host or on the device.
"""

from tfnets.data.operations.base import factor, half, operation, tf
from tfnets.data.operations.chance import probability

# Weights of red, green and blue in luminance, ITU-R 601-2, as Pillow and torchvision have them.
_LUMINANCE = (0.299, 0.587, 0.114)


def _colour(apply, count=1):
    """Makes a function that draws an operation.

    Args:
        apply: from images, float32 [..., height, width, 3] from 0 to 255, and what was drawn for
            each, float32 [..., k], to images of the same shape, neither cut off nor rounded.
        count: k.
    """

    def decorate(draw):
        draw.count = count
        draw.apply = lambda images, drawn: tf.clip_by_value(apply(images, drawn), 0.0, 255.0)
        return operation(draw)

    return decorate


def is_colour(function):
    """Whether an operation is one of colour: it has `apply`, and draws when it is called."""
    return hasattr(function, 'apply')


def _each(drawn, index):
    """Number `index` of what was drawn, to be broadcast over an image: [..., 1, 1, 1]."""
    return drawn[..., index, None, None, None]


def _blend(images, other, factor):
    return images * factor + other * (1 - factor)


def luminance(images):
    """Grey of each pixel, [..., height, width, 1]."""
    red, green, blue = (images[..., channel, None] for channel in range(3))
    return _LUMINANCE[0] * red + _LUMINANCE[1] * green + _LUMINANCE[2] * blue


def _add(images, drawn):
    return images + 255 * _each(drawn, 0)


def _from_mean(images, drawn):
    mean = tf.reduce_mean(images, [-3, -2], keepdims=True)
    return _blend(images, mean, _each(drawn, 0))


def _saturate(images, drawn):
    # In hue, saturation, value: the greatest channel stays, the others move from or towards it. A
    # saturation above 1, where the least channel would be below 0, is held at 1.
    most = tf.reduce_max(images, -1, keepdims=True)
    least = tf.reduce_min(images, -1, keepdims=True)
    fits = tf.math.divide_no_nan(most, most - least)
    scale = tf.where(most > least, tf.minimum(_each(drawn, 0), fits), 1.0)
    return most + (images - most) * scale


def _turn_hue(images, drawn):
    # By hand: tf.image.rgb_to_hsv asks which channel *equals* the greatest, which fails where XLA
    # computes a channel twice. Here a tie gives the same hue whichever branch is taken.
    red, green, blue = tf.unstack(images, axis=-1)
    value = tf.reduce_max(images, -1)
    chroma = value - tf.reduce_min(images, -1)

    def share(difference):
        return tf.math.divide_no_nan(difference, chroma)

    sector = tf.where(
        (red >= green) & (red >= blue),
        share(green - blue),
        tf.where(green >= blue, 2 + share(blue - red), 4 + share(red - green)),
    )
    sector += 6 * drawn[..., 0, None, None]

    def channel(number):
        place = tf.math.floormod(number + sector, 6.0)
        return value - chroma * tf.clip_by_value(tf.minimum(place, 4 - place), 0.0, 1.0)

    return tf.stack([channel(5), channel(3), channel(1)], -1)


def _jitter(images, drawn):
    """Three factors, then the order of the operations: 0 brightness, 1 contrast, 2 saturation."""
    for place in range(3):
        which = drawn[..., 3 + place]
        chosen = tf.cast(which, tf.int32)
        factor = tf.gather(drawn[..., :3], chosen, batch_dims=drawn.shape.rank - 1)
        factor, which = factor[..., None, None, None], which[..., None, None, None]
        grey = luminance(images)
        # Row by row first: XLA adds up a whole row at once, but not the values within one.
        mean = tf.reduce_mean(grey, -3, keepdims=True)
        mean = tf.round(tf.reduce_mean(mean, -2, keepdims=True))
        other = tf.where(which == 0, 0.0, tf.where(which == 1, mean, grey))
        images = tf.clip_by_value(_blend(images, other, factor), 0.0, 255.0)
    return images


def _light(images, drawn):
    return images + drawn[..., None, None, :]


def _grey_some(images, drawn):
    return tf.where(_each(drawn, 0) > 0, luminance(images), images)


@_colour(_add)
def brightness(seed, amount: factor):
    """Adds one number to all pixels, uniform within +-`amount` of the full range."""
    return tf.random.stateless_uniform([1], seed, -amount, amount)


@_colour(_from_mean)
def contrast(seed, low: factor, high: factor):
    """Scales the distance from each channel's mean by a factor uniform from `low` to `high`."""
    return tf.random.stateless_uniform([1], seed, low, high)


@_colour(_saturate)
def saturation(seed, low: factor, high: factor):
    """Multiplies the saturation (of hue, saturation, value) by a factor from `low` to `high`."""
    return tf.random.stateless_uniform([1], seed, low, high)


@_colour(_turn_hue)
def hue(seed, amount: half):
    """Turns the hue by a share of the circle, uniform within +-`amount`, at most 0.5."""
    return tf.random.stateless_uniform([1], seed, -amount, amount)


@_colour(_jitter, 6)
def color_jitter(seed, brightness: factor, contrast: factor, saturation: factor):
    """Three blends in a random order, torchvision's ColorJitter.

    Brightness blends with black, contrast with the mean grey, saturation with each pixel's own
    grey; each factor is uniform from max(0, 1 - amount) to 1 + amount. On Pillow's images
    torchvision rounds after each of them, here it is done once, at the end.
    """
    draws = tf.random.stateless_uniform([6], seed)
    amounts = tf.constant([brightness, contrast, saturation], tf.float32)
    low = tf.maximum(1 - amounts, 0.0)
    order = tf.cast(tf.argsort(draws[3:]), tf.float32)
    return tf.concat([low + draws[:3] * (1 + amounts - low), order], 0)


@_colour(_light, 3)
def lighting(seed, deviation: factor = 0.1):
    """AlexNet's noise along the principal components of ImageNet's colours (fb.resnet.torch)."""
    values = tf.constant([0.2175, 0.0188, 0.0045])
    vectors = tf.constant(
        [
            [-0.5675, 0.7192, 0.4009],
            [-0.5808, -0.0045, -0.8140],
            [-0.5836, -0.6948, 0.4203],
        ]
    )
    strengths = deviation * tf.random.stateless_normal([3], seed)
    return 255 * tf.linalg.matvec(vectors, strengths * values)


@_colour(_grey_some)
def grey(seed, probability: probability = 0.1):
    """Makes some images grey, with torchvision's RandomGrayscale's probability of 0.1."""
    return tf.cast(tf.random.stateless_uniform([1], seed) < probability, tf.float32)
