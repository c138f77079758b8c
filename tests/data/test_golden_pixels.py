"""Evaluation lines against Pillow, which torchvision resizes and crops with."""

import io

import numpy as np
import pytest
import tensorflow as tf

from tfnets.data import sources
from tfnets.data.operations import as_uint8, decode, geometry
from tfnets.data.preprocessing import parse

Image = pytest.importorskip('PIL.Image')

FILTERS = {'bilinear': Image.Resampling.BILINEAR, 'bicubic': Image.Resampling.BICUBIC}
SHAPES = {
    'square': (160, 160),
    'landscape': (500, 375),
    'portrait': (375, 500),
    'small': (160, 119),
    'panorama': (501, 167),
}


@pytest.fixture(scope='module')
def files():
    """The JPEG files of some of the sample's photos."""
    source = sources.load('sample', 'train')
    return [source.read(index).numpy() for index in range(0, len(source), 61)]


@pytest.fixture(scope='module')
def photos(files):
    """A function from the name of a shape to photos of it, as Pillow images."""

    def photos(name):
        width, height = SHAPES[name]
        opened = [Image.open(io.BytesIO(file)).convert('RGB') for file in files]
        if max(width, height) > 160:
            return [photo.resize((width, height), FILTERS['bicubic']) for photo in opened]
        return [photo.crop((0, 0, width, height)) for photo in opened]

    return photos


def torchvision(photo, short_side, crop, interpolation):
    """Resize(short_side) and CenterCrop(crop) of torchvision, on a Pillow image."""
    short, long = sorted(photo.size)
    long = int(short_side * long / short)
    size = (short_side, long) if photo.width <= photo.height else (long, short_side)
    pixels = np.asarray(photo.resize(size, FILTERS[interpolation]))
    top, left = (round((side - crop) / 2) for side in pixels.shape[:2])
    return pixels[top : top + crop, left : left + crop].astype(int)


def ours(photo, short_side, crop, interpolation):
    image = tf.constant(np.asarray(photo))
    image = geometry.resize_short_side(image, short_side, interpolation, antialias=True)
    return as_uint8(geometry.center_crop(image, crop)).numpy().astype(int)


def close(first, second):
    """The share of values that differ by 1 level at most."""
    return (np.abs(first - second) <= 1).mean()


@pytest.mark.parametrize('shape', SHAPES)
@pytest.mark.parametrize('interpolation', FILTERS)
@pytest.mark.parametrize(('short_side', 'crop'), [(256, 224), (72, 64), (146, 128)])
def test_resize_and_crop_are_pillows(photos, shape, interpolation, short_side, crop):
    for photo in photos(shape):
        expected = torchvision(photo, short_side, crop, interpolation)
        found = ours(photo, short_side, crop, interpolation)
        assert found.shape == expected.shape == (crop, crop, 3)
        # Pillow rounds to whole levels between the two directions, and cuts there what bicubic
        # throws below 0 or above 255; TensorFlow does both once, at the end.
        assert close(found, expected) >= 0.999
        assert abs((found - expected).mean()) < 0.1


def saved(photo, **options):
    file = io.BytesIO()
    photo.save(file, 'JPEG', **options)
    return file.getvalue()


def by_pillow(file):
    return np.asarray(Image.open(io.BytesIO(file)).convert('RGB')).astype(int)


JPEGS = {
    'as it is': {'quality': 90},
    'low quality': {'quality': 40},
    'no subsampling': {'quality': 95, 'subsampling': 0},
    'half subsampling': {'quality': 95, 'subsampling': 1},
    'progressive': {'quality': 85, 'progressive': True},
}


@pytest.mark.parametrize('options', JPEGS.values(), ids=JPEGS)
@pytest.mark.parametrize('shape', ['landscape', 'small'])
def test_decoding_is_pillows_to_the_bit(photos, shape, options):
    for photo in photos(shape):
        for mode in ('RGB', 'L'):
            file = saved(photo.convert(mode), **options)
            np.testing.assert_array_equal(decode(file), by_pillow(file))


def test_tensorflows_own_choice_is_about_a_level_off(files):
    """Why it is not taken: see decoding.py."""
    for file in files:
        own = tf.io.decode_jpeg(file, channels=3).numpy().astype(int)
        difference = own - by_pillow(file)
        assert 0.7 < np.abs(difference).mean() < 1.3
        assert np.abs(difference).max() <= 8
        red, green, blue = difference.mean((0, 1))
        assert -1.6 < red < -0.8 and -0.3 < green < 0.3 and -1.6 < blue < -0.8


@pytest.mark.parametrize('form', ['PNG', 'GIF', 'BMP', 'WEBP'])
def test_other_formats_are_decoded_as_pillow_does(photos, form):
    file = io.BytesIO()
    photo = photos('small')[0]
    photo.save(file, form, **({'lossless': True} if form == 'WEBP' else {}))
    np.testing.assert_array_equal(decode(file.getvalue()), by_pillow(file.getvalue()))


@pytest.mark.parametrize('interpolation', FILTERS)
def test_a_whole_line_is_torchvisions(files, interpolation):
    for file in files:
        expected = torchvision(Image.open(io.BytesIO(file)).convert('RGB'), 256, 224, interpolation)
        found = parse(f'resize_short_side(256, {interpolation!r}) | center_crop(224)', 224)(file)
        assert found.dtype == tf.uint8
        assert close(found.numpy().astype(int), expected) >= 0.999
