"""Preprocessing: the parser, and each operation against numpy, Pillow or torchvision's rules."""

import inspect
import io
import os

import numpy as np
import pytest
import tensorflow as tf

from tfnets.data import operations, presets, sources
from tfnets.data.operations import OPERATIONS, area_box, as_uint8, base, inception_box
from tfnets.data.preprocessing import parse
from tfnets.errors import InputError

Image = pytest.importorskip('PIL.Image')

SEED = tf.constant([3, 5])
RANDOM = {
    'decode_area_crop': 'decode_area_crop(8, 0.2, 0.7)',
    'decode_inception_crop': 'decode_inception_crop(8)',
    'flip_lr': 'flip_lr',
    'brightness': 'brightness(0.25)',
    'contrast': 'contrast(0.5, 1.5)',
    'saturation': 'saturation(0.5, 1.5)',
    'hue': 'hue(0.5)',
    'color_jitter': 'color_jitter(0.4, 0.4, 0.4)',
    'lighting': 'lighting(0.5)',
    'grey': 'grey(0.5)',
    'flip_ud': 'flip_ud',
    'random_crop': 'random_crop(8, 4)',
    'rotate': 'rotate(15)',
    'shift_scale_rotate': 'shift_scale_rotate',
    'equalize': 'equalize(0.5)',
    'posterize': 'posterize(4, 0.5)',
    'solarize': 'solarize(128, 0.5)',
    'solarize_add': 'solarize_add(40, probability=0.5)',
    'invert': 'invert(0.5)',
    'autocontrast': 'autocontrast(0.5)',
    'sharpness': 'sharpness(0.1, 1.9)',
    'brightness_contrast': 'brightness_contrast(0.1)',
    'random_erasing': 'random_erasing',
    'rand_augment': 'rand_augment',
    'auto_augment': 'auto_augment',
}


def encode(image, form='PNG', mode=None, **options):
    """An image file of an array [height, width, 3]."""
    image = Image.fromarray(np.asarray(image, np.uint8))
    file = io.BytesIO()
    (image.convert(mode) if mode else image).save(file, form, **options)
    return file.getvalue()


def pillow(encoded):
    return np.asarray(Image.open(io.BytesIO(encoded)).convert('RGB')).astype(np.float32)


def ramp(height, width):
    """Red counts the columns, green the rows, so that a pixel says where it comes from."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([columns, rows, (columns + rows) // 2], -1).astype(np.uint8)


def noise(height, width, low=0, high=256):
    return np.random.default_rng(0).integers(low, high, (height, width, 3)).astype(np.uint8)


def apply(line, image, seed=SEED, resolution=64):
    """The line's uint8 pixels of an array."""
    return parse(line, resolution)(tf.constant(encode(image)), seed).numpy()


def with_seeds(function, count):
    """Stacks function(seed) for `count` seeds, in one graph."""
    seeds = np.stack([np.arange(count), np.full(count, 7)], -1).astype(np.int32)
    dataset = tf.data.Dataset.from_tensor_slices(seeds).map(function).batch(count)
    return next(dataset.as_numpy_iterator())


def distance_to_uniform(values):
    """Kolmogorov's, of values in 0..1; times the root of their number, 1.63 has p = 1 %."""
    values = np.sort(values)
    steps = np.arange(len(values) + 1) / len(values)
    most = max(np.abs(values - steps[1:]).max(), np.abs(values - steps[:-1]).max())
    return most * len(values) ** 0.5


def distance_between(first, second):
    """Kolmogorov's, of two samples of one size; 1.63 has p = 1 %."""
    everything = np.concatenate([first, second])
    below = [np.searchsorted(np.sort(s), everything, 'right') / len(s) for s in (first, second)]
    return np.abs(below[0] - below[1]).max() * (len(first) / 2) ** 0.5


@pytest.fixture(scope='module')
def photos():
    """JPEG files, landscape and portrait."""
    found = {}
    for example in sources.load('sample', 'train').stored().as_numpy_iterator():
        found[Image.open(io.BytesIO(example['image'])).size] = example['image']
    return [found[213, 160], found[160, 213]]


# --------------------------------------------------------------------------------------- parsing


def arguments(line, resolution=64):
    return parse(line, resolution).steps[-1].arguments


def test_a_line_is_its_operations_from_left_to_right():
    parsed = parse(' decode_area_crop(64, 0.2, 0.7)|flip_lr | brightness(0.25)', 64)
    assert [step.name for step in parsed.steps] == ['decode_area_crop', 'flip_lr', 'brightness']
    assert parsed.steps[0].arguments == {
        'size': 64,
        'low': 0.2,
        'high': 0.7,
        'interpolation': 'bilinear',
        'antialias': True,
        'reduced': False,
    }
    assert parsed.steps[1].arguments == {}


@pytest.mark.parametrize('line', ['flip_lr', 'flip_lr()', 'decode | flip_lr', 'decode()|flip_lr'])
def test_decoding_is_implied(line):
    assert [step.name for step in parse(line, 64).steps] == ['decode', 'flip_lr']


@pytest.mark.parametrize(
    'line',
    [
        'decode_area_crop(8, 0.25, 0.5)',
        'decode_area_crop(8, high=0.5, low=0.25)',
        'decode_area_crop(high=0.5, size=8, low=0.25)',
        'decode_area_crop(resolution / 8, 1 / 4, 0.25 + 0.25)',
        'decode_area_crop(resolution - 7 * 8, -0.5 * -0.5, 1 - 0.5)',
        'decode_area_crop(2 * (3 + 1), -(-0.25), 0.5)',
    ],
)
def test_arguments_by_position_by_name_and_by_arithmetic(line):
    bound = arguments(line)
    assert [bound[name] for name in ('size', 'low', 'high')] == [8, 0.25, 0.5]
    assert isinstance(bound['size'], int)


@pytest.mark.parametrize(
    ('resolution', 'size'), [(10, 12), (14, 18), (18, 22), (22, 28), (11, 14), (64, 80)]
)
def test_broken_lengths_go_to_the_nearest_pixel_halves_to_even(resolution, size):
    assert arguments('resize(resolution * 1.25)', resolution)['size'] == size


def test_tuples_and_strings():
    bound = arguments("decode_inception_crop(8, (0.25, 1), ratio=(1/2, 2), interpolation='area')")
    assert bound['area'] == (0.25, 1)
    assert bound['ratio'] == (0.5, 2)
    assert bound['interpolation'] == 'area'
    assert arguments('decode_inception_crop(8)')['area'] == (0.08, 1.0)


def test_an_unknown_operation_is_answered_by_the_list():
    with pytest.raises(InputError, match="'flip'") as error:
        parse('center_crop(8) | flip', 8)
    for name in OPERATIONS:
        assert name in str(error.value)


BAD_ARGUMENTS = [
    'center_crop',
    'center_crop()',
    'center_crop(8, 9)',
    'center_crop(width=8)',
    'center_crop(8, size=9)',
    "center_crop('8')",
    'center_crop((8, 8))',
    'center_crop(0)',
    'center_crop(size=0)',
    'center_crop(0.5)',
    'center_crop(-8)',
    'center_crop(-resolution)',
    'flip_lr(1)',
    'flip_lr(seed=(1, 2))',
    'center_crop(8, image=1)',
    'decode(encoded=1)',
    "brightness('0.5')",
    'brightness(True)',
    'brightness((0.5, 0.6))',
    'decode_area_crop(8, 0.2)',
    'decode_inception_crop(8, 0.08)',
    'decode_inception_crop(8, (0.08,))',
    'decode_inception_crop(8, (0.08, 0.5, 1.0))',
    'decode_inception_crop(8, (1.0, 0.08))',
    'decode_inception_crop(8, (0, 1))',
    'decode_inception_crop(8, ratio=(-1, 1))',
    "resize(8, 'gaussian')",
    'resize(8, 3)',
    'resize(8, antialias=1)',
    "resize(8, antialias='no')",
    'center_crop(**resolution)',
    'center_crop(True)',
    'resize(size=True)',
    'center_crop(1e999)',
    'brightness(1e999)',
    'brightness(1e308 * 10)',
    'decode_inception_crop(8, (0.1, 1e999))',
    "decode_inception_crop(8, ('a', 'b'))",
    'decode_inception_crop(8, ((1,), (2,)))',
    'decode_inception_crop(8, (0.1, 20))',
    'decode_area_crop(8, 0.7, 0.2)',
    'decode_area_crop(8, 20, 70)',
    'decode_area_crop(8, 0.2, 70)',
    'decode_area_crop(8, 0, 0.5)',
    'decode_area_crop(8, -1, 0.5)',
    'brightness(-0.5)',
    'contrast(1.5, 0.5)',
    'contrast(-1, 1)',
    'saturation(1.5, 0.5)',
    'saturation(-1, 1)',
]


@pytest.mark.parametrize('line', BAD_ARGUMENTS)
def test_a_bad_argument_is_answered_by_the_signature(line):
    with pytest.raises(InputError) as error:
        parse(line, 64)
    operation = OPERATIONS[line.split('(')[0]]
    free = inspect.signature(operation).parameters
    shown = str(error.value).split('expected ')[-1]
    assert shown.startswith(operation.__name__ + '(')
    assert all(name in shown for name in free if name not in ('encoded', 'image', 'seed'))
    assert line in str(error.value)


BAD_LINES = [
    '',
    ' ',
    '|',
    'flip_lr |',
    '| flip_lr',
    'flip_lr flip_lr',
    'flip_lr\nflip_lr',
    'center_crop(8',
    'center_crop 8',
    'center_crop(8) + flip_lr',
    'center_crop(8) or flip_lr',
    'flip_lr()()',
    'flip_lr[0]',
    "'flip_lr'",
    '8',
    'flip_lr, center_crop(8)',
    'x = 3',
    'import os',
    'flip_lr; flip_lr',
    '\0',
    "__import__('os').system('x')",
    "os.system('x')",
    "center_crop(__import__('os').system('x'))",
    "center_crop(size=__import__('os').system('x'))",
    'center_crop(os)',
    'center_crop(resolution.real)',
    'center_crop((8).real)',
    'center_crop.__globals__',
    'center_crop(8).shape',
    'lambda: 8',
    'center_crop(lambda: 8)',
    'center_crop([8 for _ in (1,)])',
    'center_crop(8 for _ in (1,))',
    "resize(8, f'bilinear')",
    "resize(8, f'{resolution}')",
    'center_crop(size)',
    'center_crop(seed)',
    'center_crop([8])',
    'center_crop({8})',
    'center_crop({8: 8}[8])',
    'center_crop(*(8,))',
    "center_crop(**{'size': 8})",
    'center_crop(8 if True else 9)',
    'center_crop(1 < 2)',
    'center_crop(not 0)',
    'center_crop(~8)',
    'center_crop(x := 8)',
    'center_crop(8 | 8)',
    'center_crop(2 ** 3)',
    'center_crop(9 // 2)',
    'center_crop(9 % 2)',
    'center_crop(8 << 2)',
    'center_crop(8 @ 8)',
    'center_crop(8j)',
    "center_crop(b'8')",
    'center_crop(None)',
    'center_crop(...)',
    'center_crop(8 / 0)',
    'center_crop(8 / (resolution - resolution))',
    'center_crop(0 / 0.0)',
    "center_crop(8 + '8')",
    "center_crop(-'8')",
    'center_crop((8, 8) - 8)',
    "resize(8, 'a' * 5)",
    "resize(8, 'bi' + 'linear')",
    'decode_inception_crop(8, (0.5,) * 2)',
    'decode_inception_crop(8, (0.25,) + (0.5,))',
    'center_crop(1e999 - 1e999)',
    'brightness(1e999 - 1e999)',
    'center_crop(size=8, size=9)',
    'center_crop(' + '9' * 400 + ' / 1)',
]


@pytest.mark.parametrize('line', BAD_LINES, ids=lambda line: line[:40])
def test_anything_else_is_refused_and_not_run(line, monkeypatch):
    def ran(*_):
        raise AssertionError('something was evaluated')

    monkeypatch.setattr(os, 'system', ran)
    monkeypatch.setattr('builtins.eval', ran)
    monkeypatch.setattr('builtins.exec', ran)
    with pytest.raises(InputError, match='preprocessing'):
        parse(line, 64)


def test_nothing_that_an_argument_holds_is_run(tmp_path):
    target = tmp_path / 'made'
    for line in (
        f"__import__('pathlib').Path({str(target)!r}).touch()",
        f"center_crop(__import__('pathlib').Path({str(target)!r}).touch())",
        f"center_crop(open({str(target)!r}, 'w'))",
    ):
        with pytest.raises(InputError):
            parse(line, 64)
    assert not target.exists()


@pytest.mark.parametrize('second', ['decode', RANDOM['decode_area_crop']])
def test_a_decoder_that_is_not_first_is_refused(second):
    for line in (f'flip_lr | {second}', f'decode | {second}', f'{second} | {second}'):
        with pytest.raises(InputError, match='must stand first'):
            parse(line, 8)


# -------------------------------------------------------------------------------------- decoding


@pytest.mark.parametrize(
    ('form', 'mode', 'options', 'levels'),
    [
        ('PNG', None, {}, 0),
        ('PNG', 'L', {}, 0),
        ('PNG', 'P', {}, 0),
        ('PNG', 'RGBA', {}, 0),
        ('PNG', '1', {}, 0),
        ('GIF', None, {}, 0),
        ('GIF', 'L', {}, 0),
        ('BMP', None, {}, 0),
        ('BMP', 'L', {}, 0),
        ('JPEG', None, {}, 4),
        ('JPEG', None, {'progressive': True}, 4),
        ('JPEG', None, {'subsampling': 0}, 4),
        ('JPEG', 'L', {}, 2),
        ('JPEG', 'CMYK', {}, 2),
    ],
)
def test_decode_as_pillow_does(form, mode, options, levels):
    encoded = encode(ramp(48, 64) * 2, form, mode, **options)
    image = operations.decode(tf.constant(encoded)).numpy()
    assert image.dtype == np.uint8
    assert image.shape == (48, 64, 3)
    np.testing.assert_array_equal(operations.image_size(tf.constant(encoded)), [48, 64])
    np.testing.assert_allclose(image.astype(float), pillow(encoded), rtol=0, atol=levels)


def test_an_animation_is_its_first_frame():
    frames = [Image.fromarray(np.full((6, 8, 3), value, np.uint8)) for value in (200, 50)]
    file = io.BytesIO()
    frames[0].save(file, 'GIF', save_all=True, append_images=frames[1:])
    pixels = parse('decode', 8)(tf.constant(file.getvalue())).numpy()
    assert pixels.shape == (6, 8, 3)
    assert (pixels == 200).all()


@pytest.mark.parametrize('line', ['decode_area_crop(64, 0.2, 0.7)', 'decode_inception_crop(64)'])
@pytest.mark.parametrize('form', ['JPEG', 'PNG'])
def test_cropping_while_decoding_equals_decode_slice_resize(photos, form, line):
    for number, photo in enumerate(photos):
        if form == 'PNG':
            photo = encode(pillow(photo))
        seed = tf.constant([number, 1])
        size, box = parse(line, 64).crop_box(tf.constant(photo), seed)
        assert tuple(size.numpy()) == pillow(photo).shape[:2]
        top, left, height, width = box.numpy()
        whole = pillow(photo).astype(np.uint8)
        cut = Image.fromarray(whole[top : top + height, left : left + width])
        expected = np.asarray(cut.resize((64, 64), Image.BILINEAR)).astype(int)
        pixels = parse(line, 64)(tf.constant(photo), seed).numpy()
        assert np.abs(pixels - expected).max() <= 4


# ----------------------------------------------------------------------------------------- boxes

EXTREMES = [(1, 500), (500, 1), (3, 3), (1, 1), (2, 3), (160, 213), (4000, 3)]


@pytest.mark.parametrize('size', EXTREMES)
def test_boxes_lie_inside_the_image(size):
    def boxes(seed):
        return tf.stack(
            [
                area_box(size, seed, 0.2, 0.7),
                area_box(size, seed, 1.0, 1.0),
                area_box(size, seed, 1e-6, 1e-6),
                inception_box(size, seed, (0.08, 1.0), (3 / 4, 4 / 3)),
                inception_box(size, seed, (1e-6, 1e-6), (0.5, 2.0)),
            ]
        )

    boxes = with_seeds(boxes, 500)
    corner, sides = boxes[..., :2], boxes[..., 2:]
    assert corner.min() >= 0
    assert sides.min() >= 1
    assert (corner + sides <= size).all()
    assert (boxes[:, :3, 2] == boxes[:, :3, 3]).all()  # squares


@pytest.mark.parametrize('size', [(1200, 1600), (2000, 1000)])
def test_area_box_is_uniform_in_share_and_place(size):
    low, high = 0.2, 0.7
    boxes = with_seeds(lambda seed: area_box(size, seed, low, high), 2000).astype(float)
    most = min(size) / max(size)
    share = boxes[:, 2] * boxes[:, 3] / np.prod(size)
    place = (boxes[:, :2] + 0.5) / (np.asarray(size) - boxes[:, 2:] + 1)
    assert distance_to_uniform((share - low) / (min(high, most) - low)) < 1.63
    assert distance_to_uniform(place[:, 0]) < 1.63
    assert distance_to_uniform(place[:, 1]) < 1.63
    together = np.corrcoef([share, *place.T])
    assert np.abs(together - np.eye(3)).max() < 0.08


def test_area_box_of_a_long_image_is_its_short_side():
    boxes = with_seeds(lambda seed: area_box((100, 1000), seed, 0.2, 0.7), 200)
    assert (boxes[:, 2:] == 100).all()
    assert boxes[:, 1].min() < 50
    assert boxes[:, 1].max() > 850


def torchvision_box(size, area, ratio, generator):
    """RandomResizedCrop.get_params of torchvision 0.20, in numpy."""
    height, width = size
    for _ in range(10):
        target = height * width * generator.uniform(*area)
        aspect = np.exp(generator.uniform(*np.log(ratio)))
        w, h = round(np.sqrt(target * aspect)), round(np.sqrt(target / aspect))
        if 0 < w <= width and 0 < h <= height:
            top = generator.integers(0, height - h, endpoint=True)
            left = generator.integers(0, width - w, endpoint=True)
            return top, left, h, w
    w, h = width, height
    if width / height < min(ratio):
        h = round(w / min(ratio))
    elif width / height > max(ratio):
        w = round(h * max(ratio))
    return (height - h) // 2, (width - w) // 2, h, w


@pytest.mark.parametrize(
    ('size', 'area', 'ratio'),
    [
        ((400, 600), (0.08, 1.0), (3 / 4, 4 / 3)),
        ((600, 200), (0.08, 1.0), (3 / 4, 4 / 3)),
        ((500, 500), (0.25, 0.5), (0.5, 2.0)),
    ],
)
def test_inception_box_is_distributed_as_torchvisions(size, area, ratio):
    count = 2000
    ours = with_seeds(lambda seed: inception_box(size, seed, area, ratio), count).astype(float)
    generator = np.random.default_rng(1)
    theirs = np.asarray([torchvision_box(size, area, ratio, generator) for _ in range(count)])
    for measure in (
        lambda box: box[:, 2] * box[:, 3],
        lambda box: box[:, 3] / box[:, 2],
        lambda box: box[:, 0] / (size[0] - box[:, 2] + 1),
        lambda box: box[:, 1] / (size[1] - box[:, 3] + 1),
    ):
        assert distance_between(measure(ours), measure(theirs)) < 1.63
    free = np.asarray(size) - ours[:, 2:]
    place = ((ours[:, :2] + 0.5) / (free + 1))[(free > 50).all(1)]
    assert np.abs(np.corrcoef(place.T)[0, 1]) < 0.1


@pytest.mark.parametrize(
    'size',
    [(1, 501), (501, 1), (10, 501), (1, 500), (500, 1), (30, 3001)],
)
def test_inception_box_falls_back_to_the_middle_as_torchvisions(size):
    area, ratio = (0.5, 1.0), (3 / 4, 4 / 3)  # no such share has such a ratio in so long an image
    ours = with_seeds(lambda seed: inception_box(size, seed, area, ratio), 3)
    expected = torchvision_box(size, area, ratio, np.random.default_rng(0))
    assert (ours == expected).all(), (ours[0], expected)


# -------------------------------------------------------------------------------------- geometry


@pytest.mark.parametrize('interpolation', ['bilinear', 'bicubic', 'lanczos3'])
@pytest.mark.parametrize('size', [64, 100, 250])
def test_resize_short_side_as_pillow(photos, size, interpolation):
    method = {'bilinear': Image.BILINEAR, 'bicubic': Image.BICUBIC, 'lanczos3': Image.LANCZOS}
    for photo in photos:
        image = pillow(photo).astype(np.uint8)
        height, width = image.shape[:2]
        # torchvision: the longer side is int(size * long / short).
        sides = (size, int(size * width / height))
        if height > width:
            sides = (int(size * height / width), size)
        expected = np.asarray(Image.fromarray(image).resize(sides[::-1], method[interpolation]))
        pixels = apply(f'resize_short_side({size}, {interpolation!r})', image)
        assert pixels.shape == (*sides, 3)
        assert np.mean(np.abs(pixels - expected.astype(int)) <= 1) >= 0.99


def test_resize_loses_the_aspect_and_without_antialias_skips_pixels():
    image = noise(60, 90)
    expected = np.asarray(Image.fromarray(image).resize((32, 32), Image.BILINEAR)).astype(int)
    assert np.abs(apply('resize(32)', image) - expected).max() <= 1
    # A third of each side: the middle of each 3 x 3 block is all that is looked at.
    pixels = apply('resize_short_side(20, antialias=False)', image)
    np.testing.assert_array_equal(pixels, image[1::3, 1::3])


@pytest.mark.parametrize(
    ('height', 'width', 'size'),
    [(10, 12, 8), (9, 13, 8), (8, 8, 8), (64, 64, 63)]
    + [(12, 10, 9), (11, 15, 8), (64, 70, 63), (15, 16, 8)],
)
def test_center_crop_where_torchvision_cuts(height, width, size):
    pixels = apply(f'center_crop({size})', ramp(height, width))
    assert pixels.shape == (size, size, 3)
    top, left = int(round((height - size) / 2)), int(round((width - size) / 2))
    expected = ramp(height, width)[top : top + size, left : left + size]
    np.testing.assert_array_equal(pixels, expected)


@pytest.mark.parametrize(('height', 'width'), [(5, 8), (5, 12), (6, 5), (1, 1)])
def test_center_crop_pads_with_black(height, width):
    size = 8
    image = noise(height, width, 1)
    pixels = apply(f'center_crop({size})', image)
    more = [max(size - side, 0) for side in (height, width)]
    padded = np.pad(image, [*((m // 2, (m + 1) // 2) for m in more), (0, 0)])
    top, left = (padded.shape[0] - size) // 2, (padded.shape[1] - size) // 2
    np.testing.assert_array_equal(pixels, padded[top : top + size, left : left + size])


def test_flip_lr_mirrors_about_half():
    image = noise(3, 4)
    encoded = tf.constant(encode(image))
    pixels = with_seeds(lambda seed: parse('flip_lr', 8)(encoded, seed), 1000)
    flipped = (pixels == image[:, ::-1]).all((1, 2, 3))
    assert (flipped | (pixels == image).all((1, 2, 3))).all()
    assert 450 < flipped.sum() < 550


# ---------------------------------------------------------------------------------------- colour


def test_brightness_adds_one_uniform_number():
    image = noise(4, 4, 100, 150)
    encoded = tf.constant(encode(image))
    line = parse('brightness(0.25)', 8)
    added = with_seeds(lambda seed: line(encoded, seed), 1000).astype(int) - image
    assert (np.ptp(added, (1, 2, 3)) == 0).all()
    assert distance_to_uniform(added[:, 0, 0, 0] / 255 / 0.5 + 0.5) < 1.63


def test_brightness_stays_in_range():
    image = noise(16, 16)
    encoded = tf.constant(encode(image))
    line = parse('brightness(0.9)', 8)
    for pixels in with_seeds(lambda seed: line(encoded, seed), 20).astype(int):
        inside = (pixels > 0) & (pixels < 255)
        added = (pixels - image)[inside][0]
        np.testing.assert_array_equal(pixels, np.clip(image + added, 0, 255))


@pytest.mark.parametrize('factor', [0.0, 0.5, 1.0, 1.7, 3.0])
def test_contrast_scales_the_distance_from_each_channels_mean(factor):
    image = noise(16, 16) // [1, 2, 3]
    mean = image.mean((0, 1))
    expected = np.clip(mean + factor * (image - mean), 0, 255)
    pixels = apply(f'contrast({factor}, {factor})', image)
    assert np.abs(pixels - expected).max() <= 0.51


@pytest.mark.parametrize('factor', [0.0, 0.5, 1.0, 1.7, 3.0])
def test_saturation_scales_s_of_hsv(factor):
    image = noise(16, 16)
    value, least = image.max(-1, keepdims=True), image.min(-1, keepdims=True)
    saturation = (value - least) / np.maximum(value, 1)
    scaled = np.minimum(saturation * factor, 1) / np.maximum(saturation, 1e-9)
    expected = value - (value - image.astype(float)) * scaled
    pixels = apply(f'saturation({factor}, {factor})', image)
    assert np.abs(pixels - expected).max() <= 0.51


@pytest.mark.parametrize('name', ['contrast', 'saturation'])
def test_factors_are_uniform(name):
    # Two red and two grey pixels: the factor can be read from the least channel.
    image = [[[200, 100, 100], [200, 100, 100], [200, 200, 200], [200, 200, 200]]]
    encoded = tf.constant(encode(image))
    line = parse(f'{name}(0.5, 1.5)', 8)
    pixels = with_seeds(lambda seed: line(encoded, seed), 1000).astype(float)
    if name == 'contrast':
        factor = (150 - pixels[:, 0, 0, 1]) / 50
    else:
        factor = (200 - pixels[:, 0, 0, 1]) / 100
    # Whole levels make steps of 1/50 or 1/100: within half of one.
    assert distance_to_uniform(np.clip(factor - 0.5, 0, 1)) < 1.63 + 0.01 * 1000**0.5


def test_color_jitter_blends_as_pillow_does_in_every_order():
    from PIL import ImageEnhance

    enhancers = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)
    image = Image.fromarray(noise(24, 24, 30, 220))
    line = parse('color_jitter(0.4, 0.4, 0.4)', 24)
    encoded = tf.constant(encode(image))
    orders = set()
    for number in range(40):
        seed = tf.constant([number, 1])
        drawn = line.draw_colours(tf.constant(seed)).numpy()
        order = tuple(drawn[3:].astype(int))
        orders.add(order)
        assert (np.abs(drawn[:3] - 1) <= 0.4).all()
        expected = image
        for which in order:
            expected = enhancers[which](expected).enhance(float(drawn[which]))
        difference = np.abs(line(encoded, seed).numpy() - np.asarray(expected, float))
        # Pillow cuts fractions off after each of the three, we round once.
        assert difference.max() <= 4 and difference.mean() < 2
    assert len(orders) == 6


def test_hue_turns_the_circle():
    image = [[[200, 50, 50], [50, 200, 50], [90, 90, 90]]]
    line = parse('hue(0.5)', 8)
    third = line.apply_colours(np.asarray(image, np.float32), tf.constant([1 / 3])).numpy()
    np.testing.assert_array_equal(third, [[[50, 200, 50], [50, 50, 200], [90, 90, 90]]])


def test_grey_is_pillows_luminance():
    image = noise(16, 16)
    expected = np.asarray(Image.fromarray(image).convert('L'), float)[..., None]
    pixels = apply('grey(1)', image).astype(float)
    assert np.abs(pixels - expected).max() <= 1
    np.testing.assert_array_equal(apply('grey(0)', image), image)


def test_lighting_shifts_all_pixels_along_the_components():
    image = noise(4, 4, 100, 150).astype(int)
    encoded = tf.constant(encode(image))
    shift = with_seeds(lambda seed: parse('lighting(0.3)', 8)(encoded, seed), 500) - image
    assert (np.ptp(shift, (1, 2)) == 0).all()
    # The first component, all three channels together, has most of the variance.
    assert np.corrcoef(shift[:, 0, 0].T)[0, 1] > 0.9
    deviation = 255 * 0.3 * np.sqrt((np.asarray([0.5675 * 0.2175, 0.7192 * 0.0188]) ** 2).sum())
    assert shift[:, 0, 0, 0].std() == pytest.approx(deviation, rel=0.1)


def test_colours_of_a_batch_are_those_of_its_images():
    names = [name for name, function in OPERATIONS.items() if operations.is_colour(function)]
    line = parse(
        'decode_inception_crop(16) | flip_lr | ' + ' | '.join(RANDOM[n] for n in names), 16
    )
    assert len(line.colours) == len(names)
    encoded = tf.constant(encode(noise(40, 30)))
    seeds = [tf.constant([number, 2]) for number in range(5)]
    images = tf.stack([as_uint8(line.before_colours(encoded, seed)) for seed in seeds])
    batch = line.apply_colours(images, tf.stack([line.draw_colours(seed) for seed in seeds]))
    alone = tf.stack([line(encoded, seed) for seed in seeds])
    # On a device the crop is rounded to uint8 in between.
    assert np.abs(batch.numpy().astype(int) - alone.numpy()).max() <= 3


# ------------------------------------------------------------------------------- the line as whole


def test_output_is_uint8_rounded_to_the_nearest_halves_to_even():
    for low in range(0, 250, 7):
        image = np.zeros((2, 2, 3), np.uint8) + np.asarray([low, low + 1])[None, :, None]
        pixels = apply('resize(1)', image)
        assert pixels.dtype == np.uint8
        assert (pixels == np.round(low + 0.5)).all()


def test_overshoot_does_not_wrap_around():
    image = np.repeat(np.asarray([0, 0, 0, 255, 255, 255], np.uint8), 6 * 3).reshape(6, 6, 3)
    pixels = apply("resize(36, 'bicubic')", image)
    assert (pixels[:6] == 0).all()
    assert (pixels[-6:] == 255).all()
    assert (np.diff(pixels[:, 0, 0].astype(int))[14:21] >= 0).all()


WHOLE = ' | '.join(
    [
        'decode_area_crop(16, 0.2, 0.7)',
        'flip_lr',
        'brightness(0.25)',
        'contrast(0.5, 1.5)',
        'saturation(0.5, 1.5)',
    ]
)


def test_the_seed_decides_the_pixels(photos):
    encoded, line = tf.constant(photos[0]), parse(WHOLE, 16)
    first = line(encoded, tf.constant([1, 2])).numpy()
    np.testing.assert_array_equal(line(encoded, tf.constant([1, 2])), first)
    in_a_graph = tf.function(lambda encoded, seed: line(encoded, seed))
    np.testing.assert_array_equal(in_a_graph(encoded, tf.constant([1, 2])), first)
    for other in ([2, 1], [1, 3], [0, 2]):
        assert (line(encoded, tf.constant(other)).numpy() != first).mean() > 0.5


def test_two_operations_of_one_line_draw_numbers_of_their_own():
    encoded = tf.constant(encode(np.full((2, 2, 3), 128)))

    def added(line):
        pixels = with_seeds(lambda seed: parse(line, 8)(encoded, seed), 50)
        return pixels[:, 0, 0, 0].astype(float) - 128

    once = added('brightness(0.2)')
    both = added('brightness(0.2) | brightness(0.2)')
    assert np.abs(np.corrcoef(once, both - once)[0, 1]) < 0.5


def test_every_random_operation_is_tested_here():
    random = {n for n, f in OPERATIONS.items() if 'seed' in inspect.signature(f).parameters}
    assert random == set(RANDOM)


@pytest.mark.parametrize('name', RANDOM)
def test_a_random_operation_is_refused_without_a_seed(name):
    line = parse(RANDOM[name], 8)
    assert line.is_random
    with pytest.raises(InputError, match=f'{name} is random, which an evaluation may not be'):
        line(tf.constant(encode(noise(9, 9))))


def test_a_line_that_is_not_random_needs_no_seed():
    line = parse('resize_short_side(9) | center_crop(8)', 8)
    assert not line.is_random
    assert line(tf.constant(encode(noise(12, 10)))).shape == (8, 8, 3)


def test_a_crop_of_ones_own_sets_the_size_and_can_be_measured(monkeypatch):
    def corner_box(size, seed, part):
        side = tf.cast(part * tf.cast(tf.reduce_min(size), tf.float32), tf.int32)
        return tf.stack([0, 0, side, side])

    def decode_corner(encoded, seed, size: base.pixels, part: base.share = 0.5):
        box = corner_box(operations.image_size(encoded), seed, part)
        return tf.image.resize(operations.decode_box(encoded, box), (size, size))

    monkeypatch.setattr(operations.base, 'OPERATIONS', {})  # it is not to stay
    made = base.operation(decode_corner, makes='square', box=corner_box)
    monkeypatch.setitem(OPERATIONS, 'decode_corner', made)
    line = parse('decode_corner(resolution, 0.25) | flip_lr', 6)
    assert (line.crops, line.output_size) == (True, 6)
    photo = tf.constant(encode(noise(20, 40)))
    size, box = line.crop_box(photo, SEED)
    assert size.numpy().tolist() == [20, 40]
    assert box.numpy().tolist() == [0, 0, 5, 5]
    assert line(photo, SEED).shape == (6, 6, 3)


def test_crop_box_without_a_crop_is_refused():
    for line in ('center_crop(8)', 'decode | flip_lr'):
        with pytest.raises(InputError, match='no random crop'):
            parse(line, 8).crop_box(tf.constant(encode(noise(9, 9))), SEED)


# --------------------------------------------------------------------------------- lines with names


@pytest.mark.parametrize('name', presets.PRESETS)
def test_a_named_line_is_its_text(name):
    assert parse(f'@{name}', 96).line == presets.PRESETS[name]
    assert parse(f'@{name}', 96).output_size == 96
    assert parse(f'@{name}(48)', 96).steps == parse(f'@{name}', 48).steps
    assert name in presets.about()


def test_a_named_line_can_be_gone_on_with():
    steps = parse('@imagenet_train | brightness(0.1)', 64).steps
    assert [step.name for step in steps] == ['decode_inception_crop', 'flip_lr', 'brightness']


def test_an_unknown_name_is_answered_by_the_list():
    with pytest.raises(InputError, match='no line is called @imagenet; there are @imagenet_train,'):
        parse('@imagenet(224)', 224)


# ------------------------------------------------------------------------------- reduced decoding


@pytest.mark.parametrize(
    'crop', ['decode_inception_crop(16, (0.5, 1.0)', 'decode_area_crop(16, 0.4, 0.7']
)
def test_reduced_decoding_shows_the_same_part(crop):
    rows, columns = np.mgrid[:300, :400]
    image = np.stack([columns * 255 // 400, rows * 255 // 300, 0 * rows], -1)
    encoded = tf.constant(encode(image, 'JPEG', quality=95, subsampling=0))
    for number in range(20):
        seed = tf.constant([number, 4])
        whole = parse(f'{crop})', 16)(encoded, seed).numpy().astype(int)
        reduced = parse(f'{crop}, reduced=True)', 16)(encoded, seed).numpy().astype(int)
        # A crop's edge moves by up to 4 of 300 pixels.
        assert np.abs(whole - reduced).max() <= 5


def test_a_crop_that_is_not_large_is_not_reduced():
    encoded = tf.constant(encode(noise(60, 60), 'JPEG'))
    seed = tf.constant([1, 4])
    whole = parse('decode_inception_crop(31)', 31)(encoded, seed)
    np.testing.assert_array_equal(
        parse('decode_inception_crop(31, reduced=True)', 31)(encoded, seed), whole
    )


# ------------------------------------------------------------------------------------- keys, XLA


def test_no_two_examples_and_places_have_one_key():
    line = parse('decode', 8)
    keys = set()
    for position in range(200):
        seed = tf.cast(tf.random.experimental.stateless_fold_in([3, 5], position), tf.int32)
        keys |= {tuple(line.own_seed(seed, place).numpy()) for place in range(8)}
    assert len(keys) == 200 * 8


COLOURS = [text for name, text in RANDOM.items() if operations.is_colour(OPERATIONS[name])]


@pytest.mark.parametrize('batch', [1, 2, 16])
@pytest.mark.parametrize(
    'chain',
    [
        'color_jitter(.4, .4, .4) | contrast(.5, 1.5) | saturation(.5, 1.5) | hue(.1)',
        *(
            f'{first} | {second}'
            for first, second in zip(COLOURS, COLOURS[1:] + COLOURS[:1], strict=True)
        ),
        ' | '.join(reversed(COLOURS)),
    ],
)
def test_compiled_colours_are_the_plain_ones(chain, batch):
    line = parse(f'decode | {chain}', 8)
    photos = sources.load('sample', 'train')
    images = [parse('resize(32)', 32)(photos.read(index)) for index in range(batch)]
    drawn = [line.draw_colours(tf.constant([index, 9])) for index in range(batch)]
    images, drawn = tf.stack(images), tf.stack(drawn)
    plain = line.apply_colours(images, drawn).numpy().astype(int)
    compiled = tf.function(line.apply_colours, jit_compile=True)(images, drawn).numpy()
    assert np.abs(plain - compiled).max() <= 1


def test_hue_is_that_of_tensorflow():
    image = noise(32, 32)
    line = parse('hue(0.5)', 8)
    for share in (-0.4, 0.0, 0.13, 0.5):
        turned = line.apply_colours(image.astype(np.float32), tf.constant([share])).numpy()
        expected = 255 * tf.image.adjust_hue(image.astype(np.float32) / 255, share).numpy()
        assert np.abs(turned - expected).max() <= 1


def test_the_argument_of_a_named_line_is_one_number():
    steps = parse('@imagenet_eval(resolution + 32)', 224).steps
    assert [step.arguments['size'] for step in steps[1:]] == [293, 256]
    with pytest.raises(InputError):
        parse(r'@imagenet_eval(\1)', 224)
