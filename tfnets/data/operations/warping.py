"""Operations that turn, shear, shift and enlarge: one affine map each, as Pillow reads it.

A map (a, b, c, d, e, f) leads from the result to the image: the result's point (x, y) shows the
image's point (a x + b y + c, d x + e y + f). Points are counted from the upper left corner, so that
the middle of the first pixel is (0.5, 0.5) and the middle of the image (width / 2, height / 2).
"""

import math

from tfnets.data.operations.base import as_float, factor, number, operation, tf
from tfnets.data.operations.chance import level, probability, sometimes


def warp_interpolation(value):
    """Accepts 'nearest' or 'bilinear'."""
    if value not in ('nearest', 'bilinear'):
        raise ValueError
    return value


def part(value):
    """Accepts a share, 0 to below 1."""
    if not 0 <= number(value) < 1:
        raise ValueError
    return float(value)


def border_name(value):
    """Accepts 'reflect', 'constant' (black) or 'nearest' (the edge's pixels repeated)."""
    if value not in ('reflect', 'constant', 'nearest'):
        raise ValueError
    return value


@operation
def rotate(
    image,
    seed,
    degrees: factor,
    interpolation: warp_interpolation = 'bilinear',
    fill: level = 0.0,
):
    """Turns about the middle by an angle within +-`degrees`, torchvision's RandomRotation.

    The size stays; what comes from outside the image has the level `fill`.
    """
    angle = tf.random.stateless_uniform([], seed, -degrees, degrees)
    return turned(image, angle, interpolation, fill)


@operation
def shift_scale_rotate(
    image,
    seed,
    shift: part = 0.0625,
    scale: part = 0.1,
    degrees: factor = 15.0,
    probability: probability = 0.5,
    border: border_name = 'reflect',
):
    """Turns, enlarges and shifts in one step, albumentations' ShiftScaleRotate.

    About the middle it turns by an angle within +-`degrees` and enlarges by a factor within 1 +-
    `scale`; then it shifts by shares of width and of height within +-`shift`. Bilinear.
    albumentations' releases of 2019 turned about a point half a pixel to the lower right of the
    middle, and its mirror ('reflect') shows the outermost pixel once where ours shows it twice.

    Returns:
        float32 [height, width, 3].
    """
    once, draws = tf.unstack(tf.random.experimental.stateless_split(seed, 2))
    draw = tf.random.stateless_uniform([4], draws, -1.0, 1.0)

    def change(image):
        height, width = _sides(image)
        shifts = shift * draw[0] * width, shift * draw[1] * height
        turn = rotation(degrees * draw[2], height, width, 1 + scale * draw[3], shifts)
        return warped(image, turn, 'bilinear', border)

    return sometimes(change, as_float(image), once, probability)


def turned(image, degrees, interpolation='nearest', fill=0):
    """Turns counterclockwise about the middle, as Pillow's Image.rotate."""
    return warped(image, rotation(degrees, *_sides(image)), interpolation, fill=fill)


def sheared_x(image, share, fill=0):
    """Moves each row to the left by `share` pixels more than the row above."""
    return warped(image, (1.0, share, 0.0, 0.0, 1.0, 0.0), fill=fill)


def sheared_y(image, share, fill=0):
    """Moves each column up by `share` pixels more than the column to its left."""
    return warped(image, (1.0, 0.0, 0.0, share, 1.0, 0.0), fill=fill)


def moved_x(image, pixels, fill=0):
    """Moves to the right."""
    return warped(image, (1.0, 0.0, -pixels, 0.0, 1.0, 0.0), fill=fill)


def moved_y(image, pixels, fill=0):
    """Moves down."""
    return warped(image, (1.0, 0.0, 0.0, 0.0, 1.0, -pixels), fill=fill)


def rotation(degrees, height, width, scale=1.0, shift=(0.0, 0.0)):
    """The map that turns counterclockwise about the middle and enlarges, then shifts by (x, y)."""
    radians = tf.convert_to_tensor(degrees * (math.pi / 180), tf.float32)
    cosine, sine = tf.cos(radians) / scale, tf.sin(radians) / scale
    x, y = width / 2, height / 2
    # The result's point that shows the middle.
    to_x, to_y = x + shift[0], y + shift[1]
    return (
        cosine,
        -sine,
        x - cosine * to_x + sine * to_y,
        sine,
        cosine,
        y - sine * to_x - cosine * to_y,
    )


def warped(image, affine, interpolation='nearest', border='constant', fill=0):
    """Applies an affine map, as Pillow's Image.transform(size, AFFINE, map).

    Args:
        image: uint8 or float32 [height, width, 3].
        affine: six numbers or scalars, see the head of this file.
        interpolation: 'nearest' or 'bilinear'.
        border: what is outside of the image: 'constant', 'reflect' or 'nearest'.
        fill: the level that 'constant' means. Where a bilinear result is less than half a pixel
            away from the edge it is blended with it, which Pillow's is not. A point exactly on
            the left or upper edge is outside; to Pillow it is inside.

    Returns:
        An image of the same size, of the same dtype if 'nearest', else float32.
    """
    a, b, c, d, e, f = affine
    transform = tf.stack([a, b, c + (a + b) / 2, d, e, f + (d + e) / 2, 0.0, 0.0])
    if interpolation == 'nearest':
        # Pillow's steps, so that a point between two pixels falls to the same one.
        transform = tf.floor(transform * 65536 + 0.5) / 65536
    # TensorFlow counts from the middle of the first pixel.
    transform -= [0.0, 0.0, 0.5, 0.0, 0.0, 0.5, 0.0, 0.0]
    result = tf.raw_ops.ImageProjectiveTransformV3(
        images=(image if interpolation == 'nearest' else as_float(image))[None],
        transforms=transform[None],
        output_shape=tf.shape(image)[:2],
        fill_value=float(fill),
        interpolation=interpolation.upper(),
        fill_mode=border.upper(),
    )[0]
    result.set_shape(image.shape)
    return result


def _sides(image):
    """Height and width as floats."""
    return tf.unstack(tf.cast(tf.shape(image)[:2], tf.float32))
