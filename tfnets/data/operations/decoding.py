"""Operations that read image files, whole or only the part that is wanted."""

from tfnets.data.operations.base import (
    boolean,
    interpolation_name,
    operation,
    pixels,
    ratios,
    share,
    shares,
    tf,
)
from tfnets.data.operations.boxes import area_box, inception_box
from tfnets.data.operations.geometry import resized

# TensorFlow's own choice, INTEGER_FAST, is no faster with today's libjpeg-turbo, one level off on
# average, and red and blue come out 1.2 levels darker. This one is Pillow's, to the bit.
_DCT = 'INTEGER_ACCURATE'


@operation(makes='any')
def decode(encoded):
    """Decodes a JPEG, PNG, GIF or BMP file whole, to three channels, as Pillow does.

    Not as Pillow: of 16 bits a channel it takes the upper eight; of a GIF the first picture alone,
    without the canvas around it, and what is transparent in it is black.

    Args:
        encoded: scalar string, an image file.

    Returns:
        uint8 [height, width, 3].
    """
    image = tf.cond(
        tf.io.is_jpeg(encoded),
        lambda: tf.io.decode_jpeg(encoded, channels=3, dct_method=_DCT),
        lambda: tf.io.decode_image(encoded, channels=3, expand_animations=False),
    )
    image.set_shape([None, None, 3])
    return image


@operation(makes='square', box=area_box)
def decode_area_crop(
    encoded,
    seed,
    size: pixels,
    low: share,
    high: share,
    interpolation: interpolation_name = 'bilinear',
    antialias: boolean = True,
    reduced: boolean = False,
):
    """Cuts out a random square by its share of the area, and resizes it (AdamStein97's crop).

    The share is uniform from `low` to `high`, both held below short side / long side, so that the
    square fits.

    Args:
        encoded: scalar string, an image file.
        seed: int32 [2].
        size: side of the result in pixels.
        low: least share of the image's area, in (0, 1].
        high: greatest share of the image's area, in (0, 1].
        interpolation: as tf.image.resize names it.
        antialias: whether shrinking averages over all pixels that it covers.
        reduced: whether a JPEG is decoded at 1/2, 1/4 or 1/8 where that is still not below `size`:
            faster, and the crop's edges move by up to 1, 2 or 4 pixels.

    Returns:
        uint8 [size, size, 3].
    """
    box = area_box(image_size(encoded), seed, low, high)
    image = decode_box(encoded, box, size if reduced else None)
    return resized(image, (size, size), interpolation, antialias)


@operation(makes='square', box=inception_box)
def decode_inception_crop(
    encoded,
    seed,
    size: pixels,
    area: shares = (0.08, 1.0),
    ratio: ratios = (3 / 4, 4 / 3),
    interpolation: interpolation_name = 'bilinear',
    antialias: boolean = True,
    reduced: boolean = False,
):
    """Cuts out a random rectangle and resizes it to a square, as torchvision's RandomResizedCrop.

    Args:
        encoded: scalar string, an image file.
        seed: int32 [2].
        size: side of the result in pixels.
        area: least and greatest share of the image's area.
        ratio: least and greatest width over height, drawn uniformly in its logarithm.
        interpolation: as tf.image.resize names it.
        antialias: whether shrinking averages over all pixels that it covers.
        reduced: whether a JPEG is decoded at 1/2, 1/4 or 1/8 where that is still not below `size`:
            faster, and the crop's edges move by up to 1, 2 or 4 pixels.

    Returns:
        uint8 [size, size, 3].
    """
    box = inception_box(image_size(encoded), seed, area, ratio)
    image = decode_box(encoded, box, size if reduced else None)
    return resized(image, (size, size), interpolation, antialias)


def image_size(encoded):
    """Returns int32 [2], height and width of an image file; of a JPEG without decoding it."""
    return tf.cond(
        tf.io.is_jpeg(encoded),
        lambda: tf.io.extract_jpeg_shape(encoded)[:2],
        lambda: tf.shape(tf.io.decode_image(encoded, channels=3, expand_animations=False))[:2],
    )


def decode_box(encoded, box, least=None):
    """Decodes one rectangle; of a JPEG only the blocks that it touches.

    Args:
        encoded: scalar string, an image file.
        box: int32 [4]: top, left, height, width.
        least: if given, a JPEG may be decoded at a reduced scale, at which both sides of the
            rectangle still have so many pixels.

    Returns:
        uint8 [height, width, 3].
    """

    def part_of_jpeg():
        if least is None:
            return tf.image.decode_and_crop_jpeg(encoded, box, channels=3, dct_method=_DCT)
        fitting = tf.reduce_min(box[2:]) // least
        halvings = tf.cast(fitting >= 2, tf.int32) + tf.cast(fitting >= 4, tf.int32)
        halvings += tf.cast(fitting >= 8, tf.int32)
        return tf.switch_case(
            halvings,
            [lambda ratio=ratio: _decode_reduced(encoded, box, ratio) for ratio in (1, 2, 4, 8)],
        )

    image = tf.cond(
        tf.io.is_jpeg(encoded),
        part_of_jpeg,
        lambda: tf.slice(
            tf.io.decode_image(encoded, channels=3, expand_animations=False),
            [box[0], box[1], 0],
            [box[2], box[3], 3],
        ),
    )
    image.set_shape([None, None, 3])
    return image


def _decode_reduced(encoded, box, ratio):
    """Decodes a rectangle of a JPEG at 1 / ratio, each edge at the nearest new pixel."""
    first = (box[:2] + ratio // 2) // ratio
    behind = (box[:2] + box[2:] + ratio // 2) // ratio
    reduced = tf.concat([first, behind - first], 0)
    return tf.image.decode_and_crop_jpeg(encoded, reduced, channels=3, ratio=ratio, dct_method=_DCT)
