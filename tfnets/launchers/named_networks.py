"""Networks and their options in one word, for flags that take several: bl_resnet50:alpha=2:beta=4.

An option's name may be left out where the options stand in the order in which the registry lists
them: bl_resnet50:2:4.
"""

import dataclasses
import math

from absl import flags

from tfnets.errors import InputError
from tfnets.launchers import common_flags
from tfnets.models import registry


@dataclasses.dataclass(frozen=True)
class NamedNetwork:
    """A network of the command line.

    Attributes:
        label: how it was written.
        name: of the registry.
        options: dict from an option's name to its value.
    """

    label: str
    name: str
    options: dict

    def build(self, num_classes, weights=None, new_head=False):
        """Builds it; see `registry.build`."""
        try:
            return registry.build(
                self.name, num_classes, weights=weights, new_head=new_head, **self.options
            )
        except InputError as error:
            reason = str(error).removeprefix(f'--model={self.name}: ')
            raise InputError(f'{self.label}: {reason}') from None

    @property
    def resolution(self):
        """The side in pixels of the images that it is meant for."""
        return registry.resolution(self.name, **self.options)


def from_flags():
    """The network of --model and the options' own flags."""
    given = {key: value for key, value in common_flags.model_options().items() if value is not None}
    name = flags.FLAGS.model
    registry.check(name, **given)
    _check_finite(f'--model={name}', given)
    return NamedNetwork(':'.join([name, *map(_short, given.items())]), name, given)


def parse(flag, text):
    """Reads NAME:option=value:... out of a flag that takes several networks.

    Raises:
        InputError: if there is no such network, it has no such option, or a value is no value.
    """
    name, *parts = text.split(':')
    if f'{name}:' == registry.KERAS_PREFIX and parts:
        name = f'{name}:{parts.pop(0)}'
    try:
        registry.check(name)
        known = registry.MODELS[name].options if name in registry.MODELS else ()
        pairs = [_option(part, place, known) for place, part in enumerate(parts)]
        options = dict(pairs)
        if len(options) < len(pairs):
            raise InputError('an option is given twice')
        registry.check(name, **options)
        _check_finite(name, options)
    except InputError as error:
        reason = str(error).removeprefix(f'--model={name}: ')
        raise InputError(f'--{flag}={text}: {reason}') from None
    return NamedNetwork(text, name, options)


def _option(part, place, known):
    """The name and the value of an option, the value read as the flag of its name reads it."""
    option, equals, value = part.rpartition('=')
    if not equals and place < len(known):
        option = known[place]
    if option not in registry.OPTIONS or not value:
        raise InputError(
            f'expected NAME:option=value, got {part!r}; its options are '
            f'{", ".join(known) or "none"}'
        )
    try:
        return option, flags.FLAGS[option].parser.parse(value)
    except (ValueError, TypeError) as error:
        raise InputError(f'{option}={value}: {error}') from None


def _check_finite(where, options):
    for key, value in options.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise InputError(f'{where}: expected a finite number for {key}, got {value}')


def _short(option):
    name, value = option
    return f'{name}={value:g}' if isinstance(value, float) else f'{name}={value}'
