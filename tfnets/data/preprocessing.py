"""Image operations, and the one-line pipelines that are made of them.

A line such as

    decode_area_crop(64, 0.2, 0.7) | flip_lr | brightness(0.25) | saturation(0.5, 1.5)

is read from left to right. Each name is one of the functions below that are marked as an
operation; its first parameter is what comes from the left, a parameter `seed` is filled in by the
pipeline, and the rest stands in the line. The line is parsed, never evaluated: it may hold numbers,
strings, tuples, `+ - * /`, and the name `resolution`, which stands for the side of the image that
the network is to see.

Between operations an image is float32 [height, width, 3] from 0 to 255; what comes out is uint8.
"""

import ast
import dataclasses
import functools
import inspect
import operator

from tfnets.errors import InputError


class _TensorFlow:
    """Imports TensorFlow when it is first used, so that a line can be checked long before."""

    def __getattr__(self, name):
        import tensorflow

        return getattr(tensorflow, name)


tf = _TensorFlow()
OPERATIONS = {}
_ARITHMETIC = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


def _operation(function):
    OPERATIONS[function.__name__] = function
    return function


# ------------------------------------------------------------------------------------- decoding


@_operation
def decode(encoded):
    """Decodes a JPEG, PNG, GIF or BMP file whole, to three channels."""
    image = tf.io.decode_image(encoded, channels=3, expand_animations=False)
    image.set_shape([None, None, 3])
    return tf.cast(image, tf.float32)


@_operation
def decode_area_crop(
    encoded,
    seed,
    size: int,
    low: float,
    high: float,
    interpolation: str = 'bilinear',
    antialias: bool = True,
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

    Returns:
        float32 [size, size, 3].
    """
    box = area_box(image_size(encoded), seed, low, high)
    return _resize(_decode_box(encoded, box), (size, size), interpolation, antialias)


@_operation
def decode_inception_crop(
    encoded,
    seed,
    size: int,
    area: tuple = (0.08, 1.0),
    ratio: tuple = (3 / 4, 4 / 3),
    interpolation: str = 'bilinear',
    antialias: bool = True,
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

    Returns:
        float32 [size, size, 3].
    """
    box = inception_box(image_size(encoded), seed, area, ratio)
    return _resize(_decode_box(encoded, box), (size, size), interpolation, antialias)


def image_size(encoded):
    """Returns int32 [2], height and width of an image file; of a JPEG without decoding it."""
    return tf.cond(
        tf.io.is_jpeg(encoded),
        lambda: tf.io.extract_jpeg_shape(encoded)[:2],
        lambda: tf.shape(tf.io.decode_image(encoded, channels=3, expand_animations=False))[:2],
    )


def area_box(size, seed, low, high):
    """Draws the square of `decode_area_crop`.

    Args:
        size: int32 [2], height and width.
        seed: int32 [2].
        low: least share of the area.
        high: greatest share of the area.

    Returns:
        int32 [4]: top, left, height, width.
    """
    sides = tf.cast(size, tf.float32)
    most = tf.reduce_min(sides) / tf.reduce_max(sides)
    draw = tf.random.stateless_uniform([3], seed)
    low, high = tf.minimum(low, most), tf.minimum(high, most)
    share = low + draw[0] * (high - low)
    side = tf.round(tf.sqrt(share * sides[0] * sides[1]))
    side = tf.clip_by_value(side, 1.0, tf.reduce_min(sides))
    corner = tf.floor(draw[1:] * (sides - side + 1))
    corner = tf.minimum(corner, sides - side)
    return tf.cast(tf.concat([corner, [side, side]], 0), tf.int32)


def inception_box(size, seed, area, ratio):
    """Draws the rectangle of `decode_inception_crop`: the first of ten tries that fits.

    If none fits, it is the largest one in the middle whose ratio is allowed.

    Args:
        size: int32 [2], height and width.
        seed: int32 [2].
        area: least and greatest share of the area.
        ratio: least and greatest width over height.

    Returns:
        int32 [4]: top, left, height, width.
    """
    sides = tf.cast(size, tf.float32)
    draw = tf.random.stateless_uniform([4, 10], seed)
    target = (area[0] + draw[0] * (area[1] - area[0])) * sides[0] * sides[1]
    low, high = tf.math.log(ratio[0]), tf.math.log(ratio[1])
    aspect = tf.exp(low + draw[1] * (high - low))
    tries = tf.round(tf.stack([tf.sqrt(target / aspect), tf.sqrt(target * aspect)]))
    fits = tf.reduce_all((tries > 0) & (tries <= sides[:, None]), 0)
    own = sides[1] / sides[0]
    wide = tf.stack([sides[0], tf.round(sides[0] * ratio[1])])
    tall = tf.stack([tf.round(sides[1] / ratio[0]), sides[1]])
    fallback = tf.where(own < ratio[0], tall, tf.where(own > ratio[1], wide, sides))
    first = tf.argmax(tf.cast(fits, tf.int32))
    found = tf.reduce_any(fits)
    box = tf.where(found, tries[:, first], fallback)
    place = tf.where(found, draw[2:, first], 0.5)
    corner = tf.minimum(tf.floor(place * (sides - box + 1)), sides - box)
    return tf.cast(tf.concat([corner, box], 0), tf.int32)


def _decode_box(encoded, box):
    """Decodes one rectangle; of a JPEG only the blocks that it touches."""
    image = tf.cond(
        tf.io.is_jpeg(encoded),
        lambda: tf.image.decode_and_crop_jpeg(encoded, box, channels=3),
        lambda: tf.slice(
            tf.io.decode_image(encoded, channels=3, expand_animations=False),
            [box[0], box[1], 0],
            [box[2], box[3], 3],
        ),
    )
    image.set_shape([None, None, 3])
    return tf.cast(image, tf.float32)


# ------------------------------------------------------------------------------------- geometry


@_operation
def resize_short_side(image, size: int, interpolation: str = 'bilinear', antialias: bool = True):
    """Resizes so that the shorter side has `size` pixels and the aspect is kept.

    The longer side is cut to a whole number of pixels, as torchvision does.
    """
    sides = tf.shape(image)[:2]
    scaled = sides * size // tf.reduce_min(sides)
    return _resize(image, scaled, interpolation, antialias)


@_operation
def resize(image, size: int, interpolation: str = 'bilinear', antialias: bool = True):
    """Resizes to a square of `size` pixels; the aspect is lost."""
    return _resize(image, (size, size), interpolation, antialias)


@_operation
def center_crop(image, size: int):
    """Cuts a square of `size` pixels out of the middle; pads with black where there is less."""
    image = tf.image.resize_with_crop_or_pad(image, size, size)
    return tf.ensure_shape(image, [size, size, 3])


@_operation
def flip_lr(image, seed):
    """Mirrors half of the images, left to right."""
    draw = tf.random.stateless_uniform([], seed)
    return tf.cond(draw < 0.5, lambda: tf.reverse(image, [1]), lambda: image)


def _resize(image, size, interpolation, antialias):
    image = tf.image.resize(image, size, method=interpolation, antialias=antialias)
    return tf.clip_by_value(image, 0.0, 255.0)  # bicubic overshoots


# --------------------------------------------------------------------------------------- colour


@_operation
def brightness(image, seed, amount: float):
    """Adds one number to all pixels, uniform within +-`amount` of the full range."""
    delta = tf.random.stateless_uniform([], seed, -amount, amount)
    return tf.clip_by_value(image + 255 * delta, 0.0, 255.0)


@_operation
def contrast(image, seed, low: float, high: float):
    """Scales the distance from each channel's mean by a factor uniform from `low` to `high`."""
    factor = tf.random.stateless_uniform([], seed, low, high)
    return tf.clip_by_value(tf.image.adjust_contrast(image, factor), 0.0, 255.0)


@_operation
def saturation(image, seed, low: float, high: float):
    """Multiplies the saturation (of hue, saturation, value) by a factor from `low` to `high`."""
    factor = tf.random.stateless_uniform([], seed, low, high)
    return tf.image.adjust_saturation(image, factor)


# ----------------------------------------------------------------------------------------- lines


@dataclasses.dataclass(frozen=True)
class Step:
    """One operation of a line, with its arguments bound."""

    name: str
    arguments: dict

    def __call__(self, value, seed):
        """Applies the operation; `seed` is int32 [2], or None where nothing is random."""
        function = OPERATIONS[self.name]
        if 'seed' not in inspect.signature(function).parameters:
            return function(value, **self.arguments)
        if seed is None:
            raise InputError(
                f'preprocessing: {self.name} is random, which an evaluation may not be; '
                'leave it out of the evaluation line'
            )
        return function(value, seed=seed, **self.arguments)


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """A parsed line at one resolution: from the bytes of an image file to pixels.

    Attributes:
        line: the line as it was given.
        resolution: the side in pixels that the name `resolution` stands for.
        steps: the operations; the first one decodes.
    """

    line: str
    resolution: int
    steps: tuple[Step, ...]

    def __call__(self, encoded, seed=None):
        """Returns uint8 [height, width, 3]; `encoded` a scalar string, `seed` int32 [2] or None."""
        value = encoded
        for position, step in enumerate(self.steps):
            own = None if seed is None else tf.random.experimental.stateless_fold_in(seed, position)
            value = step(value, own)
        return tf.saturate_cast(tf.round(value), tf.uint8)

    def at(self, resolution):
        """Returns the same line at another resolution."""
        return parse(self.line, resolution)

    def find(self, name):
        """Returns the first step of that name, or None."""
        return next((step for step in self.steps if step.name == name), None)

    @property
    def is_random(self):
        """Whether any operation draws a number."""
        return any(
            'seed' in inspect.signature(OPERATIONS[step.name]).parameters for step in self.steps
        )

    def crop_box(self, encoded, seed):
        """Draws the rectangle that the line would cut out of this example, decoding nothing.

        Args:
            encoded: scalar string, an image file.
            seed: int32 [2], the example's seed.

        Returns:
            int32 [2] height and width of the image, and int32 [4] top, left, height, width.

        Raises:
            InputError: if the line does not begin with a random crop.
        """
        first = self.steps[0]
        seed = tf.random.experimental.stateless_fold_in(seed, 0)
        size = image_size(encoded)
        if first.name == 'decode_area_crop':
            return size, area_box(size, seed, first.arguments['low'], first.arguments['high'])
        if first.name == 'decode_inception_crop':
            return size, inception_box(
                size, seed, first.arguments['area'], first.arguments['ratio']
            )
        raise InputError(
            f'preprocessing {self.line!r}: no random crop to measure; expected it to begin with '
            'decode_area_crop or decode_inception_crop'
        )


@functools.lru_cache
def parse(line, resolution):
    """Parses a line; see the head of this file.

    Args:
        line: the text.
        resolution: int, what the name `resolution` in it stands for, in pixels.

    Returns:
        Preprocessing. Lengths that come out broken are rounded to the nearest pixel.

    Raises:
        InputError: names the unknown operation and lists those that there are, or gives the
            signature that an argument does not fit.
    """
    try:
        tree = ast.parse(line.strip(), mode='eval').body
    except SyntaxError as error:
        raise InputError(
            f'preprocessing {line!r}: not a line of operations ({error.msg}); '
            "expected a form such as 'resize_short_side(72) | center_crop(64)'"
        ) from None
    steps = [_parse_step(node, line, resolution) for node in _split(tree)]
    if next(iter(_parameters(steps[0].name))) != 'encoded':
        steps.insert(0, Step('decode', {}))
    for step in steps[1:]:
        if next(iter(_parameters(step.name))) == 'encoded':
            raise InputError(f'preprocessing {line!r}: {step.name} decodes, so it must stand first')
    return Preprocessing(line, resolution, tuple(steps))


def _split(node):
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return _split(node.left) + _split(node.right)
    return [node]


def _parameters(name):
    return inspect.signature(OPERATIONS[name]).parameters


def _parse_step(node, line, resolution):
    """One operation of the line, its arguments bound to the function's signature."""
    call = node if isinstance(node, ast.Call) else ast.Call(node, [], [])
    if not isinstance(call.func, ast.Name):
        raise InputError(
            f'preprocessing {line!r}: expected operations joined by |, got {ast.unparse(node)!r}'
        )
    name = call.func.id
    if name not in OPERATIONS:
        raise InputError(
            f'preprocessing {line!r}: no operation is called {name!r}; '
            f'there are {", ".join(sorted(OPERATIONS))}'
        )
    value = functools.partial(_value, line=line, resolution=resolution)
    given = [value(argument) for argument in call.args]
    named = {keyword.arg: value(keyword.value) for keyword in call.keywords}
    free = [p for n, p in _parameters(name).items() if n not in ('encoded', 'image', 'seed')]
    signature = inspect.Signature(free)
    try:
        bound = signature.bind(*given, **named)
    except TypeError as error:
        raise InputError(
            f'preprocessing {line!r}: {ast.unparse(call)}: {error}; expected {name}{signature}'
        ) from None
    bound.apply_defaults()
    for parameter in free:
        bound.arguments[parameter.name] = _typed(
            bound.arguments[parameter.name], parameter, name, signature, line
        )
    return Step(name, dict(bound.arguments))


def _typed(value, parameter, name, signature, line):
    """Checks an argument against its annotation, and its range by the parameter's name."""
    kind = parameter.annotation
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind is int and number:
        value = round(value)
        good = value > 0
    elif kind is float:
        good = number
    elif kind is tuple:
        good = isinstance(value, tuple) and len(value) == 2 and 0 < value[0] <= value[1]
    else:
        good = isinstance(value, kind)
    if parameter.name == 'interpolation':
        good = good and value in ('nearest', 'bilinear', 'bicubic', 'area', 'lanczos3', 'lanczos5')
    if not good:
        raise InputError(
            f'preprocessing {line!r}: {name}: {parameter.name} got {value!r}; '
            f'expected {name}{signature}'
        )
    return value


def _value(node, *, line, resolution):
    """A literal, arithmetic on literals, or the name `resolution`; anything else is refused."""
    value = functools.partial(_value, line=line, resolution=resolution)
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float | str | bool):
        return node.value
    if isinstance(node, ast.Tuple):
        return tuple(value(element) for element in node.elts)
    if isinstance(node, ast.Name) and node.id == 'resolution':
        return resolution
    try:
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            return -value(node.operand)
        if isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
            return _ARITHMETIC[type(node.op)](value(node.left), value(node.right))
    except (TypeError, ZeroDivisionError) as error:
        raise InputError(f'preprocessing {line!r}: {ast.unparse(node)}: {error}') from None
    raise InputError(
        f'preprocessing {line!r}: an argument may be a number, a string, a tuple or `resolution`, '
        f'got {ast.unparse(node)!r}'
    )
