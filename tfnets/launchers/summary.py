"""What a network costs: parameters, multiply-adds and sizes, stage by stage, side by side.

  python -m tfnets.launchers.summary --model=mbconv_c --compare=mbconv_c:phi=4:beta=1.05

It needs no data, and weights make no difference.
"""

import dataclasses
import math

from absl import flags

from tfnets.errors import InputError
from tfnets.launchers import app, common_flags, objects
from tfnets.models import registry

FLAGS = flags.FLAGS

common_flags.define_network()
flags.DEFINE_integer(
    'num_classes', 1000, 'Classes of the output.', lower_bound=1, allow_override=True
)
flags.DEFINE_integer(
    'resolution', 0, "Side of the image in pixels; 0 for each model's own.", lower_bound=0
)
flags.DEFINE_list(
    'compare',
    [],
    'Further networks, as NAME or NAME:option=value:option=value, one with a comma in it in double '
    'quotes; the option flags are for --model alone.',
)
flags.DEFINE_bool('layers', False, 'Show each layer, not each stage.')
flags.DEFINE_string('output', None, 'Also write stages and layers to this JSON file.')
flags.adopt_module_key_flags(common_flags)


@dataclasses.dataclass(frozen=True)
class _Network:
    """A network of the command line: `label` is how it is spelt in --compare."""

    label: str
    name: str
    options: dict


def check():
    """Refuses flags that cannot be right."""
    _networks()


def _networks():
    """--model, then those of --compare."""
    registry.check(FLAGS.model)
    given = {key: value for key, value in objects.model_options().items() if value is not None}
    label = ':'.join([FLAGS.model, *(f'{key}={_short(value)}' for key, value in given.items())])
    _check_finite(f'--model={label}', given)
    return [_Network(label, FLAGS.model, given), *map(_parse, FLAGS.compare)]


def _parse(text):
    """Reads NAME:option=value:...; a NAME of keras.applications has a colon of its own."""
    name, *pairs = text.split(':')
    if f'{name}:' == registry.KERAS_PREFIX and pairs:
        name = f'{name}:{pairs.pop(0)}'
    try:
        registry.check(name)
    except InputError as error:
        raise InputError(str(error).replace('--model=', '--compare=', 1)) from None
    options = {}
    for pair in pairs:
        option, _, value = pair.partition('=')
        options[option] = _value(text, option, value)
    _check_finite(f'--compare={text}', options)
    return _Network(text, name, options)


def _value(text, option, value):
    """The value of an option, as the flag of its name would read it."""
    known = objects.model_options()
    if option not in known or not value:
        raise InputError(
            f'--compare={text}: expected NAME:option=value, got {option!r} and {value!r}; options '
            f'are {", ".join(sorted(known))}'
        )
    try:
        return FLAGS[option].parser.parse(value)
    except (ValueError, TypeError) as error:
        raise InputError(f'--compare={text}: {option}={value}: {error}') from None


def _check_finite(where, options):
    for key, value in options.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise InputError(f'{where}: expected a finite number for {key}')


def _short(value):
    return f'{value:g}' if isinstance(value, float) else value


def main():
    """Builds the networks, prints a table."""
    networks = _networks()
    app.import_tensorflow()
    from tfnets.analysis import cost_table
    from tfnets.files import write_json

    named = [(network.label, _cost(network)) for network in networks]
    sizes = '; '.join(f'{label} at {cost.resolution} px' for label, cost in named)
    print(f'{sizes}; {FLAGS.num_classes} classes\n')
    if len(named) == 1:
        print(cost_table.table(named[0][1], FLAGS.layers))
    else:
        print(cost_table.comparison(named, FLAGS.layers))
    if FLAGS.output:
        write_json(FLAGS.output, [_facts(*pair) for pair in zip(networks, named, strict=True)])


def _cost(network):
    """Builds a network; it is not kept."""
    from tfnets.analysis import flops

    model = registry.build(network.name, FLAGS.num_classes, **network.options)
    resolution = FLAGS.resolution or registry.resolution(network.name, **network.options)
    try:
        return flops.cost(model, resolution)
    except InputError as error:
        raise InputError(f'{network.label} at {resolution} px: {error}') from None


def _facts(network, named):
    from tfnets.analysis import flops

    _, cost = named
    return {
        'model': network.name,
        'options': network.options,
        'num_classes': FLAGS.num_classes,
        'resolution': cost.resolution,
        'counted': flops.COUNTED,
        'parameters': cost.parameters,
        'trainable': cost.trainable,
        'macs': cost.macs,
        'not_counted': cost.not_counted,
        'stages': [dataclasses.asdict(stage) for stage in flops.stages(cost)],
        'layers': [dataclasses.asdict(layer) for layer in cost.layers],
    }


if __name__ == '__main__':
    app.launch(main, check)
