"""Sizes of image files by their headers, so that nothing is decoded that would not fit."""

import numpy as np
import tensorflow as tf

MAX_SIDE = 16384  # px, as the operations on images have it
MAX_PIXELS = 178_956_970  # Pillow's limit, past which it takes a file for a decompression bomb.
MAX_ASPECT = 100  # resized to a short side of 256 px, such an image has as many pixels as 29 others


def fits(encoded):
    """Whether an image file is one that can be decoded, by its header alone; see `allowed`."""
    return allowed(measured(encoded))


def allowed(size):
    """Whether an image may be decoded and resized.

    Args:
        size: what `measured` answered.

    Returns:
        scalar bool. True where the format is not known here, which is left to the decoder.
    """
    height, width, pixels = tf.unstack(size)
    short, long = tf.minimum(height, width), tf.maximum(height, width)
    small = (long <= MAX_SIDE) & (pixels <= MAX_PIXELS) & (long <= MAX_ASPECT * short)
    return (pixels >= 0) & (small | (short == 0))


def complaint(encoded):
    """What `fits` has against an image file, as one line; None if it has nothing.

    Args:
        encoded: bytes of a file.
    """
    size = measured(tf.constant(encoded))
    if allowed(size):
        return None
    height, width, pixels = size.numpy().tolist()
    if pixels < 0:
        return 'a BMP with a palette, which TensorFlow cannot read; make a PNG of it'
    return (
        f'too large to be decoded: {width} x {height} pixels, {pixels:,} in all; expected at most '
        f'{MAX_SIDE} a side, {MAX_PIXELS:,} in all, and a long side of at most {MAX_ASPECT} times '
        'the short one'
    )


def measured(encoded):
    """Measures an image file by its header, decoding nothing.

    Args:
        encoded: scalar string.

    Returns:
        int64 [3]: height and width in pixels, and all pixels to decode, -1 for a BMP with a
        palette; zeros if the header is that of no JPEG, PNG, GIF or BMP.
    """

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
        are decoded together, or -1 for a BMP with a palette. Zeros if it is none of these.
    """
    size = (0, 0, 0)
    if encoded.startswith(b'\x89PNG\r\n\x1a\n') and encoded[12:16] == b'IHDR':
        size = _pixels(encoded[20:24], encoded[16:20], 'big')
    elif encoded.startswith(b'BM'):
        height, width, pixels = _pixels(encoded[22:26], encoded[18:22], 'little', signed=True)
        size = height, width, -1 if _has_palette(encoded) else pixels
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
