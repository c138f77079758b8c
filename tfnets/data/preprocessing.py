"""One-line pipelines: from an image file to the pixels that a network sees.

A line such as

    decode_area_crop(64, 0.2, 0.7) | flip_lr | brightness(0.25) | saturation(0.5, 1.5)

is read from left to right. Each name is one of operations/; what comes from the left and its `seed`
are filled in, and the rest stands in the line. The line is parsed, never
evaluated: it may hold numbers, strings, True and False, tuples, `+ - * /` on numbers, and the name
`resolution`, which stands for the side of the image that the network is to see.
"""

import ast
import dataclasses
import functools
import inspect
import operator

from tfnets.data import operations, presets
from tfnets.data.operations import OPERATIONS, as_uint8, tf
from tfnets.errors import InputError

_ARITHMETIC = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


@dataclasses.dataclass(frozen=True)
class Step:
    """One operation of a line, with its arguments bound."""

    name: str
    arguments: dict

    @property
    def is_colour(self):
        """Whether it is an operation of colour, whose drawing and arithmetic are apart."""
        return operations.is_colour(OPERATIONS[self.name])

    @property
    def is_random(self):
        """Whether it draws a number."""
        return 'seed' in _parameters(self.name)

    def __call__(self, value, seed):
        """Applies the operation; `seed` is int32 [2], or None where nothing is random."""
        if self.is_colour:
            return self.apply(tf.cast(value, tf.float32), self.draw(seed))
        if self.is_random:
            return OPERATIONS[self.name](value, seed=self._checked(seed), **self.arguments)
        return OPERATIONS[self.name](value, **self.arguments)

    def draw(self, seed):
        """Draws an operation of colour: float32 [k]."""
        return OPERATIONS[self.name](self._checked(seed), **self.arguments)

    def apply(self, images, drawn):
        """Applies an operation of colour to float32 [..., height, width, 3]; drawn is [..., k]."""
        return OPERATIONS[self.name].apply(images, drawn)

    def _checked(self, seed):
        if seed is None:
            raise InputError(
                f'preprocessing: {self.name} is random, which an evaluation may not be; '
                'leave it out of the evaluation line'
            )
        return seed


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """A parsed line at one resolution: from the bytes of an image file to pixels.

    Attributes:
        line: the line as it was given, its @names replaced by what they stand for.
        resolution: the side in pixels that the name `resolution` stands for.
        steps: the operations; the first one decodes.
    """

    line: str
    resolution: int
    steps: tuple[Step, ...]

    def __call__(self, encoded, seed=None):
        """Returns uint8 [height, width, 3]; `encoded` a scalar string, `seed` int32 [2] or None."""
        image = self.before_colours(encoded, seed)
        return self.apply_colours(image, self.draw_colours(seed)) if self.colours else image

    @staticmethod
    def own_seed(seed, place):
        """The seed of the operation at one place of the line, int32 [2].

        Philox, which draws the numbers, takes it as a key: any other key is another stream. The
        first number of all examples' seeds is the same and the second counts them, so that the
        place has to go into the first: else it would be another example's key.
        """
        return None if seed is None else tf.bitwise.bitwise_xor(seed, [0x5DEECE66 ^ (place + 1), 0])

    @property
    def colours(self):
        """The operations of colour that end the line, pairs of place and step; maybe none."""
        end = len(self.steps)
        while self.steps[end - 1].is_colour:
            end -= 1
        return tuple(enumerate(self.steps))[end:]

    def before_colours(self, encoded, seed=None):
        """What the line makes of an image file up to `colours`: uint8 [height, width, 3]."""
        return as_uint8(self.first(len(self.steps) - len(self.colours), encoded, seed))

    def first(self, count, encoded, seed=None):
        """What the first `count` operations make of an image file."""
        value = encoded
        for place, step in enumerate(self.steps[:count]):
            value = step(value, self.own_seed(seed, place))
        return value

    def draw_colours(self, seed):
        """Draws all of `colours` for one example: float32 [k], one after the other."""
        return tf.concat([step.draw(self.own_seed(seed, place)) for place, step in self.colours], 0)

    def apply_colours(self, images, drawn):
        """Applies `colours` to one image or to a batch.

        Args:
            images: [..., height, width, 3] from 0 to 255.
            drawn: float32 [..., k], what `draw_colours` drew for each.

        Returns:
            uint8 [..., height, width, 3].
        """
        images = tf.cast(images, tf.float32)
        for _, step in self.colours:
            count = OPERATIONS[step.name].count
            images = step.apply(images, drawn[..., :count])
            drawn = drawn[..., count:]
        return as_uint8(images)

    def find(self, name):
        """Returns the first step of that name, or None."""
        return next((step for step in self.steps if step.name == name), None)

    @property
    def output_size(self):
        """Side of the square images that come out, in pixels; None if they are not all square."""
        side = None
        for step in self.steps:
            makes = OPERATIONS[step.name].makes
            if makes:
                side = step.arguments['size'] if makes == 'square' else None
        return side

    @property
    def is_random(self):
        """Whether any operation draws a number."""
        return any(step.is_random for step in self.steps)

    @property
    def crops(self):
        """Whether the line begins with a random crop, whose size can be measured."""
        return OPERATIONS[self.steps[0].name].box is not None

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
        if not self.crops:
            crops = [name for name, function in OPERATIONS.items() if function.box]
            raise InputError(
                f'preprocessing {self.line!r}: no random crop to measure; expected it to begin '
                f'with {" or ".join(crops)}'
            )
        first, size = self.steps[0], operations.image_size(encoded)
        box = OPERATIONS[first.name].box
        wanted = first.arguments.keys() & inspect.signature(box).parameters.keys() - {'size'}
        given = {name: first.arguments[name] for name in wanted}
        return size, box(size, self.own_seed(seed, 0), **given)


@functools.lru_cache
def parse(line, resolution):
    """Parses a line; see the head of this file.

    Args:
        line: the text, maybe with names of presets.py.
        resolution: int, what the name `resolution` in it stands for, in pixels.

    Returns:
        Preprocessing. Lengths that come out broken are rounded to the nearest pixel.

    Raises:
        InputError: names the unknown operation and lists those that there are, or gives the
            signature that an argument does not fit.
    """
    line = presets.expand(line)
    try:
        tree = ast.parse(line.strip(), mode='eval').body
        nodes = _split(tree)
    except RecursionError:
        raise InputError(f'preprocessing {line[:60]!r}...: too many operations') from None
    except SyntaxError as error:
        raise InputError(
            f'preprocessing {line!r}: not a line of operations ({error.msg}); '
            "expected a form such as 'resize_short_side(72) | center_crop(64)'"
        ) from None
    steps = [_parse_step(node, line, resolution) for node in nodes]
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
    given = [_value(node, line, resolution) for node in call.args]
    named = {word.arg: _value(word.value, line, resolution) for word in call.keywords}
    free = [p for n, p in _parameters(name).items() if n not in ('encoded', 'image', 'seed')]
    expected = f'expected {name}({", ".join(map(_shown, free))})'
    try:
        if len(named) < len(call.keywords):
            raise TypeError('an argument is given twice')
        bound = inspect.Signature(free).bind(*given, **named)
    except TypeError as error:
        raise InputError(
            f'preprocessing {line!r}: {ast.unparse(call)}: {error}; {expected}'
        ) from None
    bound.apply_defaults()
    for parameter in free:
        value = bound.arguments[parameter.name]
        try:
            bound.arguments[parameter.name] = parameter.annotation(value)
        except (ValueError, OverflowError):
            raise InputError(
                f'preprocessing {line!r}: {name}: {parameter.name} got {value!r}, '
                f'{parameter.annotation.__doc__[:-1].lower()}; {expected}'
            ) from None
    low, high = (bound.arguments.get(limit, 0) for limit in ('low', 'high'))
    if low > high:
        raise InputError(
            f'preprocessing {line!r}: {name}: low {low} is above high {high}; {expected}'
        )
    return Step(name, dict(bound.arguments))


def _shown(parameter):
    """A parameter as it stands in a line."""
    if parameter.default is parameter.empty:
        return parameter.name
    return f'{parameter.name}={parameter.default!r}'


def _value(node, line, resolution):
    """A literal, arithmetic on numbers, or the name `resolution`; anything else is refused."""
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float | str | bool):
        return node.value
    if isinstance(node, ast.Tuple):
        return tuple(_value(element, line, resolution) for element in node.elts)
    if isinstance(node, ast.Name) and node.id == 'resolution':
        return resolution
    try:
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            return -operations.number(_value(node.operand, line, resolution))
        if isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
            left, right = (_value(side, line, resolution) for side in (node.left, node.right))
            return _ARITHMETIC[type(node.op)](operations.number(left), operations.number(right))
    except (ValueError, ArithmeticError) as error:
        reason = str(error) or 'arithmetic is for finite numbers'
        raise InputError(f'preprocessing {line!r}: {ast.unparse(node)}: {reason}') from None
    raise InputError(
        f'preprocessing {line!r}: an argument may be a number, a string, a tuple or `resolution`, '
        f'got {ast.unparse(node)!r}'
    )
