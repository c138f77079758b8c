"""Sizes of image files by their headers, so that nothing is decoded that would not fit."""

import numpy as np
import tensorflow as tf

MAX_SIDE = 16384  # px, as the operations on images have it
MAX_PIXELS = 178_956_970  # Pillow's limit, past which it takes a file for a decompression bomb.
MAX_ASPECT = 100  # resized to a short side of 256 px, such an image has as many pixels as 29 others


def fits(encoded):
    """Whether an image file is small enough to be decoded and resized.

    A format that is not known here is left to the decoder.

    Args:
        encoded: scalar string.

    Returns:
        scalar bool.
    """
    height, width, pixels = tf.unstack(measured(encoded))
    short, long = tf.minimum(height, width), tf.maximum(height, width)
    return (pixels <= MAX_PIXELS) & ((short == 0) | (long <= MAX_ASPECT * short))


def measured(encoded):
    """Measures an image file by its header, decoding nothing.

    Args:
        encoded: scalar string.

    Returns:
        int64 [3]: height and width in pixels, and all pixels to decode; zeros if the header is that
        of no JPEG, PNG, GIF or BMP.
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
