"""The operations that augment: each against Pillow or numpy, and what they draw."""

import io
import itertools

import numpy as np
import pytest
import tensorflow as tf

from tfnets.data.operations import (
    OPERATIONS,
    as_uint8,
    boxes,
    geometry,
    mixing,
    policies,
    tone,
    warping,
)
from tfnets.data.preprocessing import parse
from tfnets.errors import InputError

Image = pytest.importorskip('PIL.Image')
ImageEnhance = pytest.importorskip('PIL.ImageEnhance')
ImageOps = pytest.importorskip('PIL.ImageOps')

GREY = (128, 128, 128)


def noise(height=60, width=50, low=0, high=256):
    return np.random.default_rng(0).integers(low, high, (height, width, 3)).astype(np.uint8)


def photo(height=60, width=50):
    """Slopes and grain, with much white in one channel and much black in another."""
    rows, columns = np.mgrid[:height, :width] / [[[height]], [[width]]]
    levels = [
        340 * columns - 20,
        330 * rows - 70,
        150 * columns * rows + 40 + 20 * np.sin(9 * rows),
    ]
    grain = np.random.default_rng(1).normal(0, 6, (height, width, 3))
    return np.clip(np.stack(levels, -1) + grain, 0, 255).astype(np.uint8)


def ramp(height, width):
    """Red and green are the coordinates of the pixel's middle, float32."""
    rows, columns = np.mgrid[:height, :width] + 0.5
    return np.stack([columns, rows, 0 * rows], -1).astype(np.float32)


TWO_LEVELS = np.where(noise() > 200, 90, 30).astype(np.uint8)
IMAGES = {
    'photo': photo(),
    'noise': noise(),
    'dull': noise(60, 50, 70, 140),
    'two levels': TWO_LEVELS,
    'one level': np.full((60, 50, 3), 77, np.uint8),
}
every_image = pytest.mark.parametrize('image', IMAGES.values(), ids=IMAGES)


def encode(image):
    file = io.BytesIO()
    Image.fromarray(image).save(file, 'PNG')
    return file.getvalue()


def with_seeds(function, count, parallel=None):
    """Stacks function(seed) for `count` seeds, in one graph."""
    seeds = np.stack([np.arange(count), np.full(count, 7)], -1).astype(np.int32)
    data = tf.data.Dataset.from_tensor_slices(seeds).map(function, parallel).batch(count)
    return next(data.as_numpy_iterator())


def apply(line, image, count=1):
    """The uint8 pixels of a line for `count` seeds."""
    encoded, parsed = tf.constant(encode(image)), parse(line, 32)
    return with_seeds(lambda seed: parsed(encoded, seed), count)


def distance_to_uniform(values):
    """Kolmogorov's, of values in 0..1; times the root of their number, 1.63 has p = 1 %."""
    values = np.sort(np.asarray(values, float))
    steps = np.arange(len(values) + 1) / len(values)
    most = max(np.abs(values - steps[1:]).max(), np.abs(values - steps[:-1]).max())
    return most * len(values) ** 0.5


def distance_between(first, second):
    """Kolmogorov's, of two samples of one size; 1.63 has p = 1 %."""
    first, second = np.asarray(first, float), np.asarray(second, float)
    everything = np.concatenate([first, second])
    below = [np.searchsorted(np.sort(s), everything, 'right') / len(s) for s in (first, second)]
    return np.abs(below[0] - below[1]).max() * (len(first) / 2) ** 0.5


def share_is(happened, expected):
    """Whether a share of trials is the expected one, to four standard deviations."""
    happened = np.asarray(happened)
    deviation = (expected * (1 - expected) / len(happened)) ** 0.5
    return abs(happened.mean() - expected) <= 4 * deviation


# ------------------------------------------------------------------- what holds for all of them

LINES = [
    'equalize(0.5)',
    'posterize(3, 0.5)',
    'solarize(128, 0.5)',
    'solarize_add(40, probability=0.5)',
    'invert(0.5)',
    'autocontrast(0.5)',
    'sharpness(0.1, 1.9)',
    'brightness_contrast(0.3)',
    'rotate(20)',
    "rotate(20, 'nearest', 128)",
    'shift_scale_rotate',
    "shift_scale_rotate(0.2, 0.3, 40, 1, 'constant')",
    'random_crop(40, 4)',
    "random_crop(40, 4, 'reflect')",
    'flip_ud',
    'random_erasing(0.5)',
    "random_erasing(1, fill='noise')",
    'random_erasing(1, (0.1, 0.2), (1/2, 2), (124, 116, 104))',
    'auto_augment',
    "auto_augment('cifar10', fill=0)",
    'rand_augment',
    'rand_augment(3, 20)',
]


@pytest.mark.parametrize('line', LINES)
def test_the_seed_decides_the_pixels_however_many_calls_there_are(line):
    image = IMAGES['dull']
    encoded, parsed = tf.constant(encode(image)), parse(line, 32)
    assert parsed.is_random
    several = with_seeds(lambda seed: parsed(encoded, seed), 12, 8)
    assert several.dtype == np.uint8
    np.testing.assert_array_equal(several, with_seeds(lambda seed: parsed(encoded, seed), 12, 1))
    np.testing.assert_array_equal(several[3], parsed(encoded, tf.constant([3, 7])))
    assert len(np.unique(several, axis=0)) >= 2


@pytest.mark.parametrize('line', LINES)
def test_float_images_and_static_shapes(line):
    # What a resize leaves: float32, whose sides are known, which compiled colour operations need.
    step = parse(line, 32).steps[-1]
    shapes = []

    @tf.function(autograph=False)
    def run(image, seed):
        result = step(image, seed)
        shapes.append(result.shape)
        return result

    image = IMAGES['photo']
    result = run(tf.constant(image, tf.float32) + 0.25, tf.constant([1, 2])).numpy()
    assert result.dtype in (np.uint8, np.float32)
    assert result.min() >= 0 and result.max() <= 255.26
    assert shapes[0].is_fully_defined() and shapes[0] == result.shape


def test_nothing_that_a_line_does_is_a_variable():
    # A data service sends the graph to other hosts, and could send no variable along.
    image = tf.constant(IMAGES['photo'])
    for line in ('posterize(3)', 'solarize'):
        step = parse(line, 32).steps[-1]
        traced = tf.function(step).get_concrete_function(image, tf.constant([1, 2]))
        assert not [value for value in traced.captured_inputs if value.dtype == tf.resource]


BAD_ARGUMENTS = [
    'equalize(1.5)',
    'equalize(-0.1)',
    'equalize(True)',
    'posterize',
    'posterize(0)',
    'posterize(9)',
    'posterize(2.5)',
    'posterize(True)',
    "posterize('3')",
    'solarize(256)',
    'solarize_add(300)',
    'sharpness(2, 1)',
    'sharpness(-1, 1)',
    'brightness_contrast(-0.1)',
    'rotate(-3)',
    "rotate(3, 'bicubic')",
    'rotate(3, fill=256)',
    'shift_scale_rotate(1)',
    'shift_scale_rotate(scale=1)',
    "shift_scale_rotate(border='wrap')",
    'random_crop(0)',
    'random_crop(8, -1)',
    "random_crop(8, 1, 'wrap')",
    'random_crop(8, fill=-1)',
    'random_erasing(2)',
    'random_erasing(area=(0.5, 0.1))',
    "random_erasing(fill='mean')",
    'random_erasing(fill=(1, 2))',
    'random_erasing(fill=(1, 2, 256))',
    "auto_augment('svhn')",
    'auto_augment(1)',
    'rand_augment(0)',
    'rand_augment(1.5)',
    'rand_augment(2, 31)',
    "rand_augment(2, 'ten')",
]


@pytest.mark.parametrize('line', BAD_ARGUMENTS)
def test_a_bad_argument_is_answered_by_the_signature(line):
    name = line.split('(')[0]
    with pytest.raises(InputError, match=rf'expected {name}\('):
        parse(line, 32)


# ------------------------------------------------------------------------------------------ tone


@every_image
def test_equalize_and_autocontrast_are_pillows(image):
    whole = Image.fromarray(image)
    np.testing.assert_array_equal(tone.equalized(image), ImageOps.equalize(whole))
    np.testing.assert_array_equal(tone.autocontrasted(image), ImageOps.autocontrast(whole))
    np.testing.assert_array_equal(apply('equalize', image)[0], ImageOps.equalize(whole))
    np.testing.assert_array_equal(apply('autocontrast', image)[0], ImageOps.autocontrast(whole))


def test_autocontrast_cuts_fractions_off_as_pillow_does():
    # For every range of levels; some of the products are 0.999... of a whole number.
    for low, high in itertools.product(range(0, 250, 7), range(5, 256, 10)):
        image = np.zeros((1, 256, 3), np.uint8) + np.clip(np.arange(256), low, high)[:, None]
        image = image.astype(np.uint8)
        expected = np.asarray(ImageOps.autocontrast(Image.fromarray(image)))
        np.testing.assert_array_equal(tone.autocontrasted(image), expected)


@every_image
def test_posterize_solarize_and_invert_are_pillows(image):
    whole = Image.fromarray(image)
    for bits in range(1, 9):
        np.testing.assert_array_equal(tone.posterized(image, bits), ImageOps.posterize(whole, bits))
    for threshold in (0, 77, 113.3, 128, 255, 256):
        expected = ImageOps.solarize(whole, threshold)
        np.testing.assert_array_equal(tone.solarized(image, threshold), expected)
    np.testing.assert_array_equal(tone.inverted(image), ImageOps.invert(whole))
    np.testing.assert_array_equal(apply('invert', image)[0], ImageOps.invert(whole))


ALL_LEVELS = np.stack([np.roll(np.arange(256), shift) for shift in (0, 5, 9)], -1)[None]
ALL_LEVELS = ALL_LEVELS.astype(np.uint8)


@pytest.mark.parametrize('bits', range(1, 9))
def test_posterize_by_keras_cv_is_pillows(bits):
    expected = ImageOps.posterize(Image.fromarray(ALL_LEVELS), bits)
    np.testing.assert_array_equal(apply(f'posterize({bits})', ALL_LEVELS)[0], expected)


@pytest.mark.parametrize('threshold', [0, 1, 77, 113.3, 128, 255])
def test_solarize_by_keras_cv_is_pillows(threshold):
    expected = ImageOps.solarize(Image.fromarray(ALL_LEVELS), threshold)
    np.testing.assert_array_equal(apply(f'solarize({threshold})', ALL_LEVELS)[0], expected)


def test_keras_cv_computes_in_single_precision_whatever_the_policy():
    tf.keras.mixed_precision.set_global_policy('mixed_bfloat16')
    try:
        pixels = apply('solarize(128.4) | posterize(6)', ALL_LEVELS)[0]
    finally:
        tf.keras.mixed_precision.set_global_policy('float32')
    expected = tone.posterized(tone.solarized(ALL_LEVELS, 128.4), 6)
    np.testing.assert_array_equal(pixels, expected)


def test_equalization_by_keras_cv_is_pillows_only_where_the_brightest_level_is_the_rarest():
    from keras_cv.layers import Equalization

    layer = Equalization(value_range=(0, 255))
    image = noise(100, 100, 0, 250)
    image[0, 0] = 255
    np.testing.assert_array_equal(layer(image), tone.equalized(image))
    # If this fails, keras-cv has been mended and may be called.
    assert np.abs(layer(photo()).numpy() - tone.equalized(photo())).max() > 2


@every_image
@pytest.mark.parametrize('factor', [0.0, 0.1, 0.28, 0.5, 1.0, 1.3, 1.9])
def test_enhancements_are_pillows(image, factor):
    whole = Image.fromarray(image)
    for ours, theirs in (
        (tone.brightened, ImageEnhance.Brightness),
        (tone.contrasted, ImageEnhance.Contrast),
        (tone.coloured, ImageEnhance.Color),
        (tone.sharpened, ImageEnhance.Sharpness),
    ):
        result = ours(image, factor).numpy()
        expected = np.asarray(theirs(whole).enhance(factor))
        # Equal to the bit, unless a processor adds and multiplies in one.
        assert (result == expected).mean() >= 0.999, theirs
        assert np.abs(result - expected.astype(int)).max() <= 1, theirs


@pytest.mark.parametrize('sides', [(1, 5), (5, 2), (1, 1)])
def test_an_image_that_is_all_border_is_not_sharpened(sides):
    image = np.arange(3 * sides[0] * sides[1], dtype=np.uint8).reshape(*sides, 3)
    expected = np.asarray(ImageEnhance.Sharpness(Image.fromarray(image)).enhance(0.3))
    np.testing.assert_array_equal(tone.sharpened(image, 0.3), expected)
    np.testing.assert_array_equal(image, expected)


def test_solarize_add_adds_below_the_threshold():
    image = ALL_LEVELS.astype(int)
    for addition, threshold in ((40, 128), (200, 128), (-50, 100), (10, 0)):
        expected = np.where(image < threshold, np.clip(image + addition, 0, 255), image)
        pixels = apply(f'solarize_add({addition}, {threshold})', ALL_LEVELS)[0]
        np.testing.assert_array_equal(pixels, expected)
        np.testing.assert_array_equal(tone.solarized_add(ALL_LEVELS, addition, threshold), expected)


def test_sharpness_draws_its_factor_uniformly():
    # A bright dot: what it is after blurring and blending tells the factor.
    image = np.full((3, 3, 3), 60, np.uint8)
    image[1, 1] = 190
    smooth = 60 + 130 * 5 / 13
    middle = apply('sharpness(0, 1.4)', image, 1000)[:, 1, 1, 0].astype(float) + 0.5
    assert distance_to_uniform((middle - smooth) / (190 - smooth) / 1.4) < 1.63 + 0.01 * 1000**0.5


@pytest.mark.parametrize('line', ['invert({})', 'posterize(1, {})', 'brightness_contrast(0.3, {})'])
@pytest.mark.parametrize('probability', [0, 0.25, 1])
def test_probability_is_a_share_of_the_images(line, probability):
    image = noise(4, 4, 60, 120)
    pixels = apply(line.format(probability), image, 1000)
    assert share_is((pixels != image).any((1, 2, 3)), probability)


def test_brightness_contrast_multiplies_and_adds():
    image = np.zeros((1, 2, 3), np.uint8) + np.asarray([[[70]], [[170]]], np.uint8).reshape(1, 2, 1)
    step = parse('brightness_contrast(0.1, 1)', 32).steps[-1]
    low, high = with_seeds(lambda seed: step(image, seed), 1000)[:, 0, :, 0].astype(float).T
    scale = (high - low) / 100
    added = (low - 70 * scale) / 255
    assert distance_to_uniform((scale - 0.9) / 0.2) < 1.63
    assert distance_to_uniform((added + 0.1) / 0.2) < 1.63
    assert np.abs(np.corrcoef(scale, added)[0, 1]) < 0.1


def test_one_of_brightness_contrast_and_equalize_as_a_line():
    image = noise(40, 40, 80, 160)
    pixels = apply('brightness_contrast(0.1, 1/3) | equalize(1/4)', image, 2000).astype(int)
    nothing = (pixels == image).all((1, 2, 3))
    equalized = np.ptp(pixels, (1, 2, 3)) > 200
    assert share_is(nothing, 1 / 2)
    assert share_is(equalized, 1 / 4)
    assert share_is(~nothing & ~equalized, 1 / 4)
    # Whether the contrast was changed before cannot be seen in what is equalized.
    expected = tone.equalized(image).numpy().astype(int)
    assert np.abs(pixels[equalized] - expected).mean() < 2


# --------------------------------------------------------------------------------------- warping


def middle_of(image, margin):
    return np.asarray(image, float)[margin:-margin, margin:-margin]


SIZES = [(60, 50), (34, 64), (224, 224)]


@pytest.mark.parametrize(('height', 'width'), SIZES)
def test_nearest_warps_are_pillows(height, width):
    image = noise(height, width)
    whole = Image.fromarray(image)

    def pillow(*affine):
        return whole.transform(whole.size, Image.AFFINE, affine, Image.NEAREST, fillcolor=GREY)

    pairs = []
    for degrees in (-30, -7.3, 0, 3.33, 13, 45, 90, 180):
        theirs = whole.rotate(degrees, Image.NEAREST, fillcolor=GREY)
        pairs.append((warping.turned(image, degrees, fill=128), theirs))
    # 0.2 leads to points between two pixels.
    for share in (-0.3, -0.2, 0.0, 0.1, 0.2, 1 / 6):
        pairs.append((warping.sheared_x(image, share, 128), pillow(1, share, 0, 0, 1, 0)))
        pairs.append((warping.sheared_y(image, share, 128), pillow(1, 0, 0, share, 1, 0)))
    for pixels in (-20.0, 0.0, 7.0):
        pairs.append((warping.moved_x(image, pixels, 128), pillow(1, 0, -pixels, 0, 1, 0)))
        pairs.append((warping.moved_y(image, pixels, 128), pillow(1, 0, 0, 0, 1, -pixels)))
    for ours, theirs in pairs:
        assert ours.dtype == tf.uint8
        assert (ours.numpy() == np.asarray(theirs)).mean() > 0.999


@pytest.mark.parametrize(('height', 'width'), SIZES)
@pytest.mark.parametrize('degrees', [-30, 3.33, 45, 90])
def test_bilinear_rotation_is_pillows_but_at_the_edge(height, width, degrees):
    image = photo(height, width)
    theirs = Image.fromarray(image).rotate(degrees, Image.BILINEAR, fillcolor=GREY)
    ours = warping.turned(image, degrees, 'bilinear', 128).numpy()
    # Pillow cuts fractions off; and within half a pixel of the edge it does not blend with grey.
    turned = warping.turned(np.ones_like(image), degrees, 'bilinear', 0).numpy()
    inside = (turned == 1) | (turned == 0)
    difference = np.abs(np.floor(ours + 1e-3) - np.asarray(theirs, float))
    assert difference[inside].max() <= 1
    assert inside.mean() > 0.9


def test_what_is_outside():
    row = np.arange(10, 16, dtype=np.uint8)
    image = np.zeros((3, 6, 3), np.uint8) + row[None, :, None]
    for border, pad in (('reflect', 'symmetric'), ('nearest', 'edge'), ('constant', 'constant')):
        options = {'constant_values': 7} if border == 'constant' else {}
        expected = np.pad(row, (4, 0), pad, **options)[:6]
        for interpolation in ('nearest', 'bilinear'):
            moved = (1.0, 0.0, -4.0, 0.0, 1.0, 0.0)
            pixels = warping.warped(image, moved, interpolation, border, 7).numpy()
            assert (pixels == expected[None, :, None]).all(), (border, interpolation)


def test_rotate_turns_by_a_uniform_angle_about_the_middle():
    image = ramp(41, 60)
    step = parse('rotate(30)', 32).steps[-1]
    pixels = with_seeds(lambda seed: step(image, seed), 1000)
    # The slopes of the coordinates tell the angle.
    cosine = pixels[:, 20, 31, 0] - pixels[:, 20, 30, 0]
    sine = pixels[:, 20, 31, 1] - pixels[:, 20, 30, 1]
    angle = np.degrees(np.arctan2(sine, cosine))
    assert distance_to_uniform(angle / 60 + 0.5) < 1.63
    np.testing.assert_allclose(np.hypot(sine, cosine), 1, atol=1e-3)
    # In the middle, between two pixels, nothing moves.
    np.testing.assert_allclose(
        pixels[:, 20, 29:31, :2].mean(1), np.tile([30, 20.5], (1000, 1)), atol=1e-3
    )


def test_rotate_fills():
    step = parse("rotate(45, 'nearest', 9)", 32).steps[-1]
    pixels = with_seeds(lambda seed: step(np.full((20, 20, 3), 200, np.uint8), seed), 50)
    assert set(np.unique(pixels)) == {9, 200}


def albumentations_map(height, width, degrees, scale, x, y):
    """Where ShiftScaleRotate moves a point, [3, 3]: OpenCV's getRotationMatrix2D and the shift."""
    middle = np.asarray([width / 2, height / 2])
    radians = np.radians(degrees)
    turn = scale * np.asarray(
        [[np.cos(radians), np.sin(radians)], [-np.sin(radians), np.cos(radians)]]
    )
    whole = np.eye(3)
    whole[:2, :2] = turn
    whole[:2, 2] = middle - turn @ middle + [x * width, y * height]
    return whole


@pytest.mark.parametrize('draw', [(15, 1.1, 0.05, -0.06), (-12, 0.9, -0.03, 0.06), (0, 1, 0.1, 0)])
def test_shift_scale_rotate_moves_as_albumentations(draw):
    image = photo(60, 80)
    inverse = np.linalg.inv(albumentations_map(60, 80, *draw))
    whole = Image.fromarray(image)
    theirs = whole.transform(whole.size, Image.AFFINE, inverse[:2].ravel(), Image.BILINEAR)
    degrees, scale, x, y = draw
    ours = warping.rotation(degrees, 60, 80, scale, (x * 80, y * 60))
    np.testing.assert_allclose(np.asarray(ours), inverse[:2].ravel(), atol=1e-4)
    pixels = warping.warped(image, ours, 'bilinear').numpy()
    assert np.abs(middle_of(np.floor(pixels + 1e-3), 18) - middle_of(theirs, 18)).max() <= 1


def test_shift_scale_rotate_draws_uniformly():
    height, width, count = 48, 60, 1000
    image = ramp(height, width)
    step = parse("shift_scale_rotate(0.0625, 0.1, 15, 1, 'nearest')", 32).steps[-1]
    pixels = with_seeds(lambda seed: step(image, seed), count)[..., :2].astype(float)
    here, right, below = pixels[:, 24, 30], pixels[:, 24, 31], pixels[:, 25, 30]
    # From the result to the image, so its inverse from the image to the result.
    maps = np.linalg.inv(np.stack([right - here, below - here], -1))
    scale = np.linalg.det(maps) ** 0.5
    angle = np.degrees(np.arctan2(maps[:, 0, 1], maps[:, 0, 0]))
    middle = np.asarray([width / 2, height / 2])
    shift = np.asarray([30.5, 24.5]) - middle - (maps @ (here - middle)[..., None])[..., 0]
    draws = [
        (scale - 0.9) / 0.2,
        angle / 30 + 0.5,
        *(shift / [width, height] / 0.125 + 0.5).T,
    ]
    for draw in draws:
        assert distance_to_uniform(np.clip(draw, 0, 1)) < 1.63
    assert np.abs(np.corrcoef(draws) - np.eye(4)).max() < 0.12


def test_shift_scale_rotate_leaves_half_alone():
    pixels = apply('shift_scale_rotate', noise(16, 16), 1000)
    assert share_is((pixels == noise(16, 16)).all((1, 2, 3)), 0.5)


# -------------------------------------------------------------------------------------- geometry


def places(ramps):
    """Where the upper left pixel of crops of a ramp comes from, (row, column)."""
    return (ramps[:, 0, 0, 1::-1] - 0.5).T


def test_random_crop_is_anywhere_equally_often():
    image = ramp(20, 31)
    step = parse('random_crop(12)', 32).steps[-1]
    crops = with_seeds(lambda seed: step(image, seed), 2000)
    assert crops.shape == (2000, 12, 12, 3)
    rows, columns = places(crops)
    for place, count in ((rows, 9), (columns, 20)):
        assert set(place) == set(range(count))
        often = np.bincount(place.astype(int))
        assert ((often - 2000 / count) ** 2 / (2000 / count)).sum() < count + 4 * (2 * count) ** 0.5
    for crop, row, column in zip(crops[:9], rows.astype(int), columns.astype(int), strict=False):
        np.testing.assert_array_equal(crop, image[row : row + 12, column : column + 12])


@pytest.mark.parametrize(('border', 'fill'), [('constant', 0), ('constant', 50), ('reflect', 0)])
def test_random_crop_with_padding_is_one_of_a_padded_image(border, fill):
    image = noise(10, 10)
    options = {'constant_values': fill} if border == 'constant' else {}
    padded = np.pad(image, ((4, 4), (4, 4), (0, 0)), border, **options)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (10, 10, 3))[:, :, 0]
    crops = apply(f"random_crop(10, 4, '{border}', {fill})", image, 400)
    found = (crops[:, None, None] == windows).all((3, 4, 5))
    assert (found.sum((1, 2)) == 1).all()
    assert found.any(0).mean() > 0.95


def test_random_crop_of_a_small_image_pads_as_center_crop():
    for height, width in ((5, 8), (5, 12), (1, 1)):
        image = noise(height, width)
        crop = parse('random_crop(8)', 32).steps[-1](image, tf.constant([1, 2]))
        assert crop.shape == (8, 8, 3)
        if width <= 8:
            np.testing.assert_array_equal(crop, geometry.center_crop(tf.constant(image), 8))


def test_flip_ud_mirrors_about_half():
    image = noise(3, 4)
    pixels = apply('flip_ud', image, 1000)
    flipped = (pixels == image[::-1]).all((1, 2, 3))
    assert (flipped | (pixels == image).all((1, 2, 3))).all()
    assert share_is(flipped, 0.5)


# --------------------------------------------------------------------------------------- erasing


def torchvision_erased(size, area, ratio, generator):
    """RandomErasing.get_params of torchvision 0.20, in numpy: top, left, height, width."""
    height, width = size
    for _ in range(10):
        target = height * width * generator.uniform(*area)
        aspect = np.exp(generator.uniform(*np.log(ratio)))
        h, w = round(np.sqrt(target * aspect)), round(np.sqrt(target / aspect))
        if h < height and w < width:
            return (
                generator.integers(0, height - h, endpoint=True),
                generator.integers(0, width - w, endpoint=True),
                h,
                w,
            )
    return 0, 0, 0, 0


@pytest.mark.parametrize(
    ('size', 'area', 'ratio'),
    [((60, 60), (0.02, 1 / 3), (0.3, 3.3)), ((30, 90), (0.3, 0.9), (0.3, 3.3))],
)
def test_erased_box_is_distributed_as_torchvisions(size, area, ratio):
    count = 2000
    turned = (1 / ratio[1], 1 / ratio[0])  # ours is width over height
    draw = tf.function(lambda seed: boxes.erased_box(size, seed, area, turned))
    ours = with_seeds(draw, count).astype(float)
    generator = np.random.default_rng(1)
    theirs = np.asarray([torchvision_erased(size, area, ratio, generator) for _ in range(count)])
    for measure in (
        lambda box: box[:, 2] * box[:, 3],
        lambda box: box[:, 2] - box[:, 3],
        # Where an empty one lies does not matter.
        lambda box: (box[:, 2] > 0) * box[:, 0] / (size[0] - box[:, 2] + 1),
        lambda box: (box[:, 3] > 0) * box[:, 1] / (size[1] - box[:, 3] + 1),
    ):
        assert distance_between(measure(ours), measure(theirs)) < 1.63
    assert (ours[:, :2] + ours[:, 2:] <= size).all()


@pytest.mark.parametrize('fill', [0, 200, (10, 20, 30)])
def test_random_erasing_fills_one_rectangle_of_a_quarter_of_the_images(fill):
    image = noise(20, 24, 40, 100)
    pixels = apply(f'random_erasing(fill={fill})', image, 1000)
    filled = (pixels == np.asarray(fill)).all(-1)
    np.testing.assert_array_equal(np.where(filled[..., None], image, pixels), [image] * 1000)
    assert share_is(filled.any((1, 2)), 0.25)
    for one in filled[filled.any((1, 2))]:
        rows, columns = np.flatnonzero(one.any(1)), np.flatnonzero(one.any(0))
        assert one.sum() == len(rows) * len(columns) == (np.ptp(rows) + 1) * (np.ptp(columns) + 1)


def test_random_erasing_with_noise_has_imagenets_mean_and_deviation():
    image = np.zeros((64, 64, 3), np.uint8)
    line = "random_erasing(1, (0.5, 0.5), (1, 1), 'noise')"
    levels = np.concatenate([one[one.any(-1)] for one in apply(line, image, 20)]).astype(float)
    np.testing.assert_allclose(levels.mean(0), [123.7, 116.3, 103.5], atol=3)
    # What lies beyond black or white is cut off.
    np.testing.assert_allclose(levels.std(0), [58.4, 57.1, 57.4], atol=5)


# -------------------------------------------------------------------------------------- policies


def test_the_tables_of_auto_augment():
    imagenet = policies.auto_augment_pairs('imagenet')
    cifar10 = policies.auto_augment_pairs('cifar10')
    assert len(imagenet) == len(cifar10) == 25
    assert {len(pair) for pair in imagenet + cifar10} == {2}
    # The paper's tables 9 and 7, here and there; an operation without a level has 0.
    assert imagenet[0] == (('Posterize', 0.4, 8), ('Rotate', 0.6, 9))
    assert imagenet[2] == imagenet[24] == (('Equalize', 0.8, 0), ('Equalize', 0.6, 0))
    assert imagenet[12] == (('Equalize', 0.0, 0), ('Equalize', 0.8, 0))
    assert imagenet[17] == (('Sharpness', 0.4, 7), ('Invert', 0.6, 0))
    assert imagenet[18] == (('ShearX', 0.6, 5), ('Equalize', 1.0, 0))
    assert cifar10[0] == (('Invert', 0.1, 0), ('Contrast', 0.2, 6))
    assert cifar10[3] == (('ShearY', 0.5, 8), ('TranslateY', 0.7, 9))
    assert cifar10[10] == (('Color', 0.7, 7), ('TranslateX', 0.5, 8))
    assert cifar10[18] == (('AutoContrast', 0.8, 0), ('Solarize', 0.2, 8))
    assert cifar10[24] == (('TranslateY', 0.7, 9), ('AutoContrast', 0.9, 0))


# Counted in the lists of torchvision and of TensorFlow's model garden: how often each operation
# stands there, the sum of its probabilities, in tenths, and the sum of its levels.
COUNTS = {
    'imagenet': {
        'AutoContrast': (2, 12, 0),
        'Color': (6, 38, 18),
        'Contrast': (2, 20, 16),
        'Equalize': (17, 112, 0),
        'Invert': (3, 18, 0),
        'Posterize': (5, 28, 32),
        'Rotate': (6, 36, 45),
        'Sharpness': (1, 4, 7),
        'ShearX': (1, 6, 5),
        'Solarize': (7, 36, 36),
    },
    'cifar10': {
        'AutoContrast': (7, 50, 0),
        'Brightness': (4, 23, 25),
        'Color': (5, 29, 27),
        'Contrast': (2, 8, 13),
        'Equalize': (9, 47, 0),
        'Invert': (3, 2, 0),
        'Posterize': (1, 3, 7),
        'Rotate': (1, 7, 2),
        'Sharpness': (5, 28, 24),
        'ShearY': (2, 7, 15),
        'Solarize': (4, 19, 18),
        'TranslateX': (2, 8, 17),
        'TranslateY': (5, 34, 39),
    },
}


@pytest.mark.parametrize('policy', COUNTS)
def test_the_tables_of_auto_augment_count_by_count(policy):
    counts = {}
    for name, chance, level in itertools.chain(*policies.auto_augment_pairs(policy)):
        counts.setdefault(name, []).append((1, round(10 * chance), level))
    assert {name: tuple(np.sum(rows, 0)) for name, rows in counts.items()} == COUNTS[policy]


def test_the_magnitudes_of_auto_augment_are_torchvisions():
    arguments = policies.auto_augment_arguments
    assert arguments('ShearX', 9) == pytest.approx((-0.3, 0.3))
    assert arguments('Rotate', 3) == pytest.approx((-10, 10))
    assert arguments('TranslateY', 9) == pytest.approx((-150 / 331, 150 / 331))
    assert arguments('Color', 4) == pytest.approx((0.6, 1.4))
    assert arguments('Contrast', 0) == (1, 1)
    assert [arguments('Posterize', level)[0] for level in (5, 6, 7, 8)] == [6, 5, 5, 4]
    assert arguments('Solarize', 3) == (170, 170)
    assert arguments('Equalize', 7) == (0, 0)


def test_the_magnitudes_of_rand_augment_are_its_authors():
    arguments = policies.rand_augment_arguments
    assert arguments('Rotate', 9) == pytest.approx((-27, 27))
    assert arguments('ShearY', 15) == pytest.approx((-0.45, 0.45))
    assert np.multiply(arguments('TranslateX', 9), 224) == pytest.approx([-90, 90])
    assert np.multiply(arguments('Cutout', 10), 224) == pytest.approx([40, 40])
    assert arguments('Color', 9) == pytest.approx((1.72, 1.72))
    assert [arguments('Posterize', m)[0] for m in (1, 5, 9, 10, 28)] == [1, 2, 3, 4, 8]
    assert arguments('Solarize', 9) == (230, 230)
    assert arguments('SolarizeAdd', 9) == (99, 99)
    assert arguments('Invert', 9) == (0, 0)


def with_pillow(name, argument, image):
    """One operation of a policy; those of torchvision's AutoAugment on Pillow's images."""
    width, height = image.size

    def transform(*affine):
        return image.transform(image.size, Image.AFFINE, affine, Image.NEAREST, fillcolor=GREY)

    enhancers = ('Color', 'Contrast', 'Brightness', 'Sharpness')
    if name in enhancers:
        return getattr(ImageEnhance, name)(image).enhance(argument)
    levels = np.asarray(image).astype(int)
    added = np.where(levels < 128, np.clip(levels + argument, 0, 255), levels)
    return {
        'AutoContrast': lambda: ImageOps.autocontrast(image),
        'Equalize': lambda: ImageOps.equalize(image),
        'Invert': lambda: ImageOps.invert(image),
        'Posterize': lambda: ImageOps.posterize(image, int(argument)),
        'Solarize': lambda: ImageOps.solarize(image, argument),
        'SolarizeAdd': lambda: Image.fromarray(added.astype(np.uint8)),
        'Rotate': lambda: image.rotate(argument, Image.NEAREST, fillcolor=GREY),
        'ShearX': lambda: transform(1, argument, 0, 0, 1, 0),
        'ShearY': lambda: transform(1, 0, 0, argument, 1, 0),
        'TranslateX': lambda: transform(1, 0, -int(argument * width), 0, 1, 0),
        'TranslateY': lambda: transform(1, 0, 0, 0, 1, -int(argument * height)),
    }[name]()


def outcomes_of_pairs(policy, image):
    """What AutoAugment can make of an image, and how probable that is."""
    chances = {}
    whole = Image.fromarray(image)
    for pair in policies.auto_augment_pairs(policy):
        ways = [
            [(1 - chance, name, None)]
            + [(chance / 2, name, arg) for arg in policies.auto_augment_arguments(name, level)]
            for name, chance, level in pair
        ]
        for way in itertools.product(*ways):
            result, chance = whole, 1 / 25
            for part, name, argument in way:
                chance *= part
                result = result if argument is None else with_pillow(name, argument, result)
            if chance:
                pixels = np.asarray(result)
                chances[pixels.tobytes()] = chances.get(pixels.tobytes(), 0) + chance
    return chances


def assert_distributed(results, chances, unknown=0.0):
    """Results, uint8 [count, ...], are the expected ones as often as expected (chi-squared)."""
    found = {}
    for result in results:
        key = result.tobytes()
        found[key if key in chances else None] = found.get(key if key in chances else None, 0) + 1
    expected = {**chances, None: unknown}
    if not unknown:
        assert None not in found
    count = len(results)
    squares = [
        (found.get(key, 0) - count * chance) ** 2 / (count * chance)
        for key, chance in expected.items()
        if count * chance >= 3
    ]
    assert len(squares) > 10
    assert sum(squares) < len(squares) + 4 * (2 * len(squares)) ** 0.5


@pytest.mark.parametrize('policy', ['imagenet', 'cifar10'])
def test_auto_augment_applies_pillows_operations_as_often_as_it_should(policy):
    image = photo(26, 34)
    pixels = apply(f"auto_augment('{policy}')", image, 4000)
    assert_distributed(pixels, outcomes_of_pairs(policy, image))


def one_layer(image, magnitude):
    """What an operation of RandAugment can make of an image, but for the covered square."""
    chances = {}
    whole = Image.fromarray(image)
    for name in policies._RAND_AUGMENT:
        for argument in policies.rand_augment_arguments(name, magnitude):
            if name != 'Cutout':
                pixels = np.asarray(with_pillow(name, argument, whole))
                chances[pixels.tobytes()] = chances.get(pixels.tobytes(), 0) + 1 / 32
    return chances


@pytest.mark.parametrize('magnitude', [5, 9, 13])
def test_rand_augment_applies_each_operation_equally_often(magnitude):
    assert len(set(policies._RAND_AUGMENT)) == 16
    image = photo(26, 34)
    pixels = apply(f'rand_augment(1, {magnitude})', image, 2000)
    chances = one_layer(image, magnitude)
    assert_distributed(pixels, chances, unknown=1 / 16)
    covered = np.stack([one for one in pixels if one.tobytes() not in chances])
    grey = (covered == 128).all(-1)
    np.testing.assert_array_equal(np.where(grey[..., None], image, covered), [image] * len(covered))
    side = 2 * int(34 * 40 / 224 * magnitude / 10)
    assert grey.sum((1, 2)).max() == side**2
    assert grey.any(0).mean() > 0.9


def test_rand_augment_applies_its_layers_one_after_the_other():
    image = photo(26, 34)
    once = one_layer(image, 9)
    twice = {}
    for first, chance in once.items():
        pixels = np.frombuffer(first, np.uint8).reshape(image.shape)
        for second, part in one_layer(pixels, 9).items():
            twice[second] = twice.get(second, 0) + chance * part
    pixels = apply('rand_augment', image, 2000)
    known = np.asarray([one.tobytes() in twice for one in pixels])
    # Neither layer covers a square; some results of those that do are known by chance.
    assert share_is(known, sum(twice.values()))
    assert sum(twice.values()) == pytest.approx((15 / 16) ** 2)


# ---------------------------------------------------------------------------------------- mixing


def batch(count=12, side=10, seed=0):
    images = np.random.default_rng(seed).integers(0, 256, (count, side, side, 3)).astype(np.uint8)
    labels = np.eye(count, dtype=np.float32)
    seeds = np.random.default_rng(seed).integers(-(2**31), 2**31, (count, 2)).astype(np.int32)
    return images, labels, seeds


@pytest.mark.parametrize('alpha', [0.2, 1.0, 4.0])
def test_shares_are_of_the_beta_distribution(alpha):
    seeds = tf.zeros([5000, 2], tf.int32) + [1, 2]
    images = tf.zeros([5000, 1, 1, 3])
    labels = tf.tile([[1.0, 0.0]], [2500, 1])
    labels = tf.concat([labels, labels[:, ::-1]], 0)
    share = mixing.mixup(images, labels, seeds, alpha)[1].numpy()
    share = np.concatenate([share[:2500, 0], share[2500:, 1]])
    assert distance_between(share, np.random.default_rng(0).beta(alpha, alpha, 5000)) < 1.63


def test_mixup_blends_images_and_labels_alike():
    images, labels, seeds = batch()
    mixed, mixed_labels = mixing.mixup(images.astype(np.float32), labels, seeds, 1.0)
    share = np.diagonal(mixed_labels)[:, None, None, None]
    expected = share * images + (1 - share) * images[::-1]
    np.testing.assert_allclose(mixed, expected, atol=1e-3)
    np.testing.assert_allclose(mixed_labels.numpy().sum(1), 1, atol=1e-6)
    np.testing.assert_allclose(
        np.diagonal(mixed_labels.numpy()[:, ::-1]), 1 - share.ravel(), atol=1e-6
    )
    rounded = mixing.mixup(images, labels, seeds, 1.0)[0]
    assert rounded.dtype == tf.uint8
    np.testing.assert_array_equal(rounded, as_uint8(mixed))


@pytest.mark.parametrize('dtype', [np.uint8, np.float32])
def test_the_label_of_cutmix_is_the_share_of_pixels(dtype):
    images, labels, seeds = batch(400, 16)
    images = np.where(np.arange(400)[:, None, None, None] < 200, 90, 200 + 0 * images).astype(dtype)
    mixed, mixed_labels = (result.numpy() for result in mixing.cutmix(images, labels, seeds, 1.0))
    assert mixed.dtype == dtype
    pasted = (mixed != images).any(-1)
    np.testing.assert_array_equal(np.where(pasted[..., None], images[::-1], images), mixed)
    np.testing.assert_allclose(np.diagonal(mixed_labels), 1 - pasted.mean((1, 2)), atol=1e-6)
    np.testing.assert_allclose(mixed_labels.sum(1), 1, atol=1e-6)
    assert 0.4 < pasted[:, 8, 8].mean() < 0.9 and pasted.any(0).all()
    for one in pasted[pasted.any((1, 2))]:
        rows, columns = np.flatnonzero(one.any(1)), np.flatnonzero(one.any(0))
        assert one.sum() == (np.ptp(rows) + 1) * (np.ptp(columns) + 1)


def test_the_rectangle_of_cutmix_has_its_middle_anywhere():
    # Without what is cut off at the edges the share of alpha = 1 would be uniform.
    total, middle, share = 100, np.linspace(0, 0.999, 500), np.full(500, 0.3)
    stretch = mixing._stretch(
        total, tf.constant(middle, tf.float32), tf.constant(share, tf.float32)
    )
    begin, length = np.argmax(stretch, 1), np.sum(stretch, 1)
    inside = (middle > 0.2) & (middle < 0.8)
    assert (length[inside] == 30).all()
    assert (length >= 15).all()
    np.testing.assert_allclose((begin + 15)[inside], np.floor(100 * middle)[inside])


@pytest.mark.parametrize('mix', [mixing.mixup, mixing.cutmix])
def test_mixing_is_a_function_of_the_seeds_compiled_or_not(mix):
    images, labels, seeds = batch()
    images = images.astype(np.float32)
    first = mix(images, labels, seeds, 0.4)
    compiled = tf.function(mix, jit_compile=True)(images, labels, seeds, 0.4)
    other = mix(images, labels, seeds + 1, 0.4)
    for one, two, three in zip(first, compiled, other, strict=True):
        np.testing.assert_allclose(one, two, atol=1e-4)
        assert np.abs(one - three).max() > 0.01


def test_mixing_stands_in_no_line():
    assert not {'mixup', 'cutmix'} & set(OPERATIONS)
