"""From a file of a folder to the image that a prepared data set holds.

The file's header is looked at first, so that nothing is decoded that would not fit.
"""

import dataclasses

import numpy as np
import tensorflow as tf

MAX_SIDE = 16384  # px, as the operations on images have it
MAX_PIXELS = 178_956_970  # Pillow's limit, past which it takes a file for a decompression bomb.


@dataclasses.dataclass(frozen=True)
class Storing:
    """How images are stored.

    Attributes:
        short_side: in pixels; larger images are resized to it, the aspect kept. 0 keeps them all.
        jpeg_quality: of resized images, 1 to 100.
    """

    short_side: int
    jpeg_quality: int

    def __call__(self, encoded, measured):
        """What is stored of a file.

        A JPEG or PNG that need not be resized is stored as it is; a GIF (its first picture) or BMP
        as a PNG, which TensorFlow Datasets can read, with the same pixels. What is resized becomes
        a JPEG without chroma subsampling.

        Args:
            encoded: scalar string, the bytes of a file.
            measured: whether to add up the stored pixels.

        Returns:
            scalar string, the bytes of an image that decodes, empty if its header is none or says
            that it is too large; int64 [3, 3], for red, green and blue in columns: the number of
            stored pixels, their sum and the sum of their squares; zeros if not measured.

        Raises:
            tf.errors.InvalidArgumentError: if it does not decode.
        """
        height, width, pixels = tf.unstack(_size(encoded))
        short = tf.minimum(height, width)
        fits = (short > 0) & (tf.maximum(height, width) <= MAX_SIDE) & (pixels <= MAX_PIXELS)
        keep = (short <= self.short_side) | (self.short_side == 0)
        nothing = tf.constant(b''), tf.zeros([3, 3], tf.int64)
        return tf.cond(
            fits,
            lambda: tf.cond(
                keep,
                lambda: _kept(encoded, measured),
                lambda: self._resized(encoded, measured),
            ),
            lambda: nothing,
        )

    def _resized(self, encoded, measured):
        stored = tf.io.encode_jpeg(
            shrunk(_decoded(encoded), self.short_side),
            quality=self.jpeg_quality,
            chroma_downsampling=False,
            format='rgb',
        )
        # JPEG changes pixels a little, so the stored ones are known only from what was written.
        return stored, _sums(_decoded(stored)) if measured else tf.zeros([3, 3], tf.int64)


def shrunk(image, short_side):
    """Resizes to a short side as torchvision does, bilinear over all pixels that are covered.

    Args:
        image: uint8 [height, width, 3], its short side not below `short_side`.
        short_side: in pixels. The long one is rounded down.

    Returns:
        uint8 [height, width, 3]; within 1 of Pillow's.
    """
    sides = tf.shape(image)[:2]
    # The same as torchvision's int(short_side * long / short).
    sides = sides * short_side // tf.reduce_min(sides)
    # Rounds as Pillow does; adding is faster than tf.round.
    return tf.cast(tf.image.resize(image, sides, 'bilinear', antialias=True) + 0.5, tf.uint8)


def damage(encoded):
    """Says what is wrong with a file that yields nothing.

    Args:
        encoded: bytes.

    Returns:
        Text of one line; None if it decodes after all.
    """
    if not encoded:
        return 'the file is empty'
    try:
        height, width, pixels = _size(tf.constant(encoded)).numpy().tolist()
        if not height or not width:
            if encoded.startswith(b'BM'):
                return 'a BMP with a palette, which TensorFlow cannot read; make a PNG of it'
            return f'no JPEG, PNG, GIF or BMP: it begins with {encoded[:8]!r}'
        if max(height, width) > MAX_SIDE or pixels > MAX_PIXELS:
            return (
                f'{width} x {height} px, {pixels:,} in all: more than {MAX_SIDE} a side or '
                f'{MAX_PIXELS:,}'
            )
        _decoded(tf.constant(encoded))
    except tf.errors.InvalidArgumentError as error:
        reason = error.message.partition('\n')[0].rpartition('}} ')[2].partition(' [Op:')[0]
        return f'does not decode: {reason}'
    return None


# ----------------------------------------------------------------------------------------- pixels


def _kept(encoded, measured):
    image = _decoded(encoded)
    is_png = tf.strings.substr(encoded, 0, 4) == b'\x89PNG'
    stored = tf.cond(
        tf.io.is_jpeg(encoded) | is_png, lambda: encoded, lambda: tf.io.encode_png(image)
    )
    return stored, _sums(image) if measured else tf.zeros([3, 3], tf.int64)


def _decoded(encoded):
    """Pixels as Pillow has them, uint8 [height, width, 3].

    TensorFlow's own choice for JPEG, a faster transform, has red and blue about one level darker on
    average; this one takes no longer.
    """

    def jpeg():
        return tf.io.decode_jpeg(encoded, channels=3, dct_method='INTEGER_ACCURATE')

    def other():
        return tf.io.decode_image(encoded, channels=3, expand_animations=False)

    image = tf.cond(tf.io.is_jpeg(encoded), jpeg, other)
    image.set_shape([None, None, 3])
    return image


def _sums(image):
    # The squares of a column of 16384 pixels fit into 32 bits, which are faster to add up.
    values = tf.cast(image, tf.int32)
    sums = [tf.reduce_sum(tf.cast(tf.reduce_sum(v, 0), tf.int64), 0) for v in (values, values**2)]
    count = tf.size(image, tf.int64) // 3
    return tf.stack([tf.fill([3], count), *sums])


# ---------------------------------------------------------------------------------------- headers


def _size(encoded):
    """Int64 [3]: height, width and all pixels to decode, by the header; zeros if it is none."""

    def jpeg():
        size = tf.cast(tf.io.extract_jpeg_shape(encoded)[:2], tf.int64)
        return tf.concat([size, [size[0] * size[1]]], 0)

    def other():
        def read(value):  # bytes within a graph, an array of them outside of one
            return header_size(np.asarray(value, object).item())

        return tf.ensure_shape(tf.numpy_function(read, [encoded], tf.int64), [3])

    return tf.cond(tf.io.is_jpeg(encoded), jpeg, other)


def header_size(encoded):
    """Reads the size of a PNG, GIF or BMP out of its header.

    Args:
        encoded: bytes of a file.

    Returns:
        int64 [3]: height and width in pixels, and the pixels of all pictures in it, which for a GIF
        are decoded together. Zeros if it is none of these, or a BMP with a palette.
    """
    size = (0, 0, 0)
    if encoded.startswith(b'\x89PNG\r\n\x1a\n') and encoded[12:16] == b'IHDR':
        size = _pixels(encoded[20:24], encoded[16:20], 'big')
    elif encoded.startswith(b'BM') and not _has_palette(encoded):
        size = _pixels(encoded[22:26], encoded[18:22], 'little', signed=True)
    elif encoded.startswith((b'GIF87a', b'GIF89a')):
        heights, widths, pixels = zip((0, 0, 0), *_gif_pictures(encoded), strict=True)
        size = max(heights), max(widths), sum(pixels)
    return np.asarray(size, np.int64)


def _pixels(height, width, order, signed=False):
    """Height, width and their product."""
    height = abs(int.from_bytes(height, order, signed=signed))  # BMP: below 0 if it starts on top
    width = int.from_bytes(width, order)
    return height, width, height * width


def _has_palette(bmp):
    """Whether a BMP's pixels are numbers of colours, which TensorFlow takes for shades of grey."""
    bits = int.from_bytes(bmp[28:30], 'little')
    start = 14 + int.from_bytes(bmp[14:18], 'little')
    greys = bytes(part for grey in range(256) for part in (grey, grey, grey, 0))
    return bits < 8 or (bits == 8 and bmp[start : start + 1024] != greys)


def _gif_pictures(encoded):
    """Walks through the blocks of a GIF; gives height, width and pixels of each picture."""

    def table(place):  # of colours, behind a byte that says how many
        return 3 << (encoded[place] & 7) + 1 if encoded[place] & 0x80 else 0

    try:
        place = 13 + table(10)
        while encoded[place] != 0x3B:
            if encoded[place] == 0x2C:
                sides = encoded[place + 7 : place + 9], encoded[place + 5 : place + 7]
                yield _pixels(*sides, 'little')
                place += 11 + table(place + 9)
            else:
                place += 2
            while encoded[place]:  # the length of the next part
                place += 1 + encoded[place]
            place += 1
    except IndexError:  # cut short: what is there is decoded, or not
        return
