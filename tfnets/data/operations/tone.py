"""Operations on the levels of a photo, as Pillow computes them: from uint8 to uint8.

Each comes as a function of an image (`equalized`), of which policies.py makes its policies, and as
an operation of a line (`equalize`), which draws whether it is done or how much of it.

keras-cv's Posterization and Solarization are exactly Pillow's, so the operations call them; the
policies cannot, since there the bits and the threshold are drawn. Its Equalization leaves out the
rarest level where Pillow leaves out the brightest, which makes some 20 levels of difference on
photos with much white in them; so that one is our own.
"""

from tfnets.data.operations.base import as_float, as_uint8, factor, number, operation, tf
from tfnets.data.operations.chance import level, probability, sometimes


def bit_count(value):
    """Accepts a number of bits, 1 to 8."""
    if isinstance(value, bool) or value not in range(1, 9):
        raise ValueError
    return int(value)


def levels(value):
    """Accepts a number of levels to add, -255 to 255."""
    if not -255 <= number(value) <= 255:
        raise ValueError
    return float(value)


@operation
def equalize(image, seed, probability: probability = 1.0):
    """Spreads each channel's levels so that all are about equally frequent, Pillow's equalize."""
    return sometimes(equalized, as_uint8(image), seed, probability)


@operation
def posterize(image, seed, bits: bit_count, probability: probability = 1.0):
    """Keeps the highest `bits` bits of each level and clears the others."""
    from keras_cv.layers import Posterization

    layer = Posterization((0, 255), bits, dtype='float32')
    return sometimes(lambda image: as_uint8(layer(image)), as_uint8(image), seed, probability)


@operation
def solarize(image, seed, threshold: level = 128.0, probability: probability = 1.0):
    """Inverts the levels from `threshold` on."""
    from keras_cv.layers import Solarization

    layer = Solarization((0, 255), threshold_factor=(threshold, threshold), dtype='float32')
    return sometimes(lambda image: as_uint8(layer(image)), as_uint8(image), seed, probability)


@operation
def solarize_add(
    image, seed, addition: levels, threshold: level = 128.0, probability: probability = 1.0
):
    """Adds a number to the levels below `threshold`."""

    def change(image):
        return solarized_add(image, addition, threshold)

    return sometimes(change, as_uint8(image), seed, probability)


@operation
def invert(image, seed, probability: probability = 1.0):
    """Turns dark into bright."""
    return sometimes(inverted, image, seed, probability)


@operation
def autocontrast(image, seed, probability: probability = 1.0):
    """Stretches each channel so that its darkest level is 0 and its brightest 255."""
    return sometimes(autocontrasted, as_uint8(image), seed, probability)


@operation
def sharpness(image, seed, low: factor, high: factor):
    """Blends with a blurred copy: a factor below 1 blurs, above 1 sharpens; uniform in between."""
    return sharpened(as_uint8(image), tf.random.stateless_uniform([], seed, low, high))


@operation
def brightness_contrast(image, seed, amount: factor = 0.1, probability: probability = 0.5):
    """Multiplies all levels by one number and adds another, albumentations' of the same name.

    The factor is uniform within 1 +- `amount`, what is added within +- `amount` of the full range.

    Its OneOf([RandomBrightnessContrast, Equalize], p=0.5), which does one or the other, is
    `brightness_contrast(0.1, 1/3) | equalize(1/4)`: nothing is done to one half of the images, the
    one thing alone to a quarter, and a quarter is equalized. A third of the latter had its contrast
    changed before, of which equalizing leaves no trace but where levels met or were cut off.
    """
    draw = tf.random.stateless_uniform([3], seed, -1.0, 1.0)
    # Where nothing is to be done, by 1 and 0.
    amount = tf.where(draw[2] < 2 * probability - 1, amount, 0.0)
    changed = as_float(image) * (1 + amount * draw[0]) + 255 * amount * draw[1]
    return tf.clip_by_value(changed, 0.0, 255.0)


def equalized(image):
    """Pillow's ImageOps.equalize; uint8 [height, width, 3]."""
    where = _table_index(image)
    count = tf.reshape(tf.histogram_fixed_width(where, [0, 768], 768), [3, 256])
    brightest = tf.reduce_max(tf.where(count > 0, tf.range(256), 0), 1)
    last = tf.gather(count, brightest, batch_dims=1)[:, None]
    step = (tf.reduce_sum(count, 1, keepdims=True) - last) // 255
    below = tf.cumsum(count, 1, exclusive=True)
    table = (below + step // 2) // tf.maximum(step, 1)
    return _looked_up(tf.where(step > 0, tf.minimum(table, 255), tf.range(256)), where)


def autocontrasted(image):
    """Pillow's ImageOps.autocontrast; uint8 [height, width, 3]."""
    # In double precision, since Pillow cuts fractions off and some are 0.999...
    low = tf.cast(tf.reduce_min(image, [0, 1]), tf.float64)[:, None]
    high = tf.cast(tf.reduce_max(image, [0, 1]), tf.float64)[:, None]
    level = tf.range(256, dtype=tf.float64)
    scale = tf.where(high > low, 255 / tf.maximum(high - low, 1), 1)
    table = level * scale + tf.where(high > low, -low * scale, 0)
    table = tf.cast(tf.clip_by_value(table, 0, 255), tf.int32)
    return _looked_up(table, _table_index(image))


def _table_index(image):
    """Where each value of an image stands in a table of three channels' levels, int32."""
    # An addition that must itself repeat three numbers takes four times as long.
    return tf.cast(image, tf.int32) + tf.broadcast_to([0, 256, 512], tf.shape(image))


def _looked_up(table, where):
    """Replaces each value of an image by its entry of an int32 [3, 256]."""
    return tf.gather(tf.reshape(tf.cast(table, tf.uint8), [-1]), where)


def posterized(image, bits):
    """Pillow's ImageOps.posterize; `bits` a number or scalar, 1 to 8."""
    shift = tf.cast(8 - bits, tf.uint8)
    return tf.bitwise.left_shift(tf.bitwise.right_shift(image, shift), shift)


def solarized(image, threshold):
    """Pillow's ImageOps.solarize; the threshold may be 256, above all levels."""
    return tf.where(as_float(image) < threshold, image, inverted(image))


def solarized_add(image, addition, threshold=128):
    """Adds to the levels below a threshold, as AutoAugment's authors do."""
    levels = as_float(image)
    return as_uint8(tf.where(levels < threshold, levels + addition, levels))


def inverted(image):
    """Pillow's ImageOps.invert."""
    return 255 - image


def brightened(image, factor):
    """Pillow's ImageEnhance.Brightness: a blend with black."""
    return _blend(0.0, image, factor)


def contrasted(image, factor):
    """Pillow's ImageEnhance.Contrast: a blend with the mean grey."""
    grey = _grey(image)
    count = tf.size(grey, tf.int64)
    total = tf.reduce_sum(tf.cast(grey, tf.int64))
    return _blend(tf.cast((2 * total + count) // (2 * count), tf.float32), image, factor)


def coloured(image, factor):
    """Pillow's ImageEnhance.Color: a blend with each pixel's own grey."""
    return _blend(as_float(_grey(image)), image, factor)


def sharpened(image, factor):
    """Pillow's ImageEnhance.Sharpness: a blend with the image blurred, but for its border."""
    return tf.cond(
        tf.reduce_min(tf.shape(image)[:2]) < 3,  # it is a border all over
        lambda: tf.cast(image, tf.uint8),
        lambda: _sharpened(image, factor),
    )


def _sharpened(image, factor):
    levels = as_float(image)
    rows = levels[:-2] + levels[1:-1] + levels[2:]
    around = rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]
    middle = levels[1:-1, 1:-1]
    # Thirteenths have no halves, so single precision rounds them right.
    smooth = tf.floor((around + 4 * middle) / 13 + 0.5)
    change = tf.pad(smooth - middle, [[1, 1], [1, 1], [0, 0]])
    return _blend(levels + change, image, factor)


def _grey(image):
    """Pillow's conversion to one channel; int32 [height, width, 1]."""
    red, green, blue = tf.split(tf.cast(image, tf.int32), 3, -1)
    return (red * 19595 + green * 38470 + blue * 7471 + 32768) // 65536


def _blend(other, image, factor):
    """Pillow's Image.blend: cuts off what is beyond the range, and fractions."""
    mixed = other + factor * (as_float(image) - other)
    return tf.cast(tf.clip_by_value(mixed, 0.0, 255.0), tf.uint8)
