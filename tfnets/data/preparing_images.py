"""From a file of a folder to the image that a prepared data set holds.

The file's header is looked at first, so that nothing is decoded that would not fit.
"""

import dataclasses

import tensorflow as tf

from tfnets.data import faults, headers, pixel_statistics
from tfnets.data.operations import OPERATIONS, decode


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
        size = headers.measured(encoded)
        short = tf.minimum(size[0], size[1])
        fits = headers.allowed(size) & (short > 0)
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
            OPERATIONS['resize_short_side'](decode(encoded), self.short_side),
            quality=self.jpeg_quality,
            chroma_downsampling=False,
            format='rgb',
        )
        # JPEG changes pixels a little, so the stored ones are known only from what was written.
        return stored, _sums(decode(stored), measured)


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
        complaint = headers.complaint(encoded)
        if complaint:
            return complaint
        if not headers.measured(tf.constant(encoded)).numpy().all():
            return f'no JPEG, PNG, GIF or BMP: it begins with {encoded[:8]!r}'
        decode(tf.constant(encoded))
    except tf.errors.InvalidArgumentError as error:
        return f'does not decode: {faults.reason(error)}'
    return None


# ----------------------------------------------------------------------------------------- pixels


def _kept(encoded, measured):
    image = decode(encoded)
    is_png = tf.strings.substr(encoded, 0, 4) == b'\x89PNG'
    stored = tf.cond(
        tf.io.is_jpeg(encoded) | is_png, lambda: encoded, lambda: tf.io.encode_png(image)
    )
    return stored, _sums(image, measured)


def _sums(image, measured):
    return pixel_statistics.sums(image) if measured else tf.zeros([3, 3], tf.int64)
