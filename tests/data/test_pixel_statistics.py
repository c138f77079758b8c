"""The mean and deviation of a split's pixels."""

import numpy as np
import pytest
import tensorflow as tf

from tfnets.data import pixel_statistics, sources


@pytest.mark.parametrize('count', [1, 9])
def test_every_pixel_of_every_photo_counts_once(count):
    source = sources.load('sample', 'test').take(np.arange(count))
    photos = [
        tf.io.decode_jpeg(source.read(i), dct_method='INTEGER_ACCURATE') for i in range(count)
    ]
    pixels = np.concatenate([photo.numpy().reshape(-1, 3) for photo in photos]) / 255
    mean, deviation = pixel_statistics.measure(source)
    np.testing.assert_allclose(mean, pixels.mean(0), rtol=1e-10)
    np.testing.assert_allclose(deviation, pixels.std(0), rtol=1e-9)
    assert pixel_statistics.measure(source) == (mean, deviation)
