"""Images per second, measured in turns in one process.

  python -m tfnets.launchers.benchmark --model=mbconv_c --dataset=sample
  python -m tfnets.launchers.benchmark --input_only --train_preprocessing=@big_little_train
  python -m tfnets.launchers.benchmark --models=resnet50,bl_resnet50:2:4 --batch_sizes=1,16

Of training: the bare step (forward, backward, update, on one batch in memory) is what the device
can do; our loop and Keras' own do the same, by --peer=torch PyTorch too; the loop on real photos is
what a run gets; and the input alone. By --input_only, stage by
stage: what reading, decoding, cropping and colours cost, beside the same done in the straight way.
By --models: several networks side by side, in inference, and how much of the promise of their
multiply-adds arrives; by --folded also in the form in which they answer fastest, by --training also
forward and backward.
"""

import contextlib
import dataclasses
import importlib.util

from absl import flags, logging

from tfnets.data.presets import PRESETS
from tfnets.errors import InputError
from tfnets.launchers import (
    app,
    checks,
    common_flags,
    flag_values,
    named_networks,
    objects,
    splits,
)

FLAGS = flags.FLAGS

# In which forms networks are compared.
INFERENCE, FOLDED, TRAINING = 'inference', 'inference, folded', 'training'

# What our loop alone does in a step: with it the others would do less.
_ONLY_OURS = ('weight_decay', 'accumulate', 'ema')

# The headings of `_images_per_second`, and of the table of networks.
_IMAGES_PER_SECOND = ('images/s', 'lowest to highest')
_HEADINGS = [
    *('network', 'form', 'parameters', 'MACs (G)', 'batch', *_IMAGES_PER_SECOND),
    *('times as fast', 'MACs promise', 'share that arrives', 'times unfolded'),
]

common_flags.define_model()
common_flags.define_data()
common_flags.define_train_split()
common_flags.define_input(PRESETS['cats_vs_dogs_train'], PRESETS['imagenet_eval'])
common_flags.define_optimizer('', 'Training', 0.1)
common_flags.define_arithmetic()
common_flags.define_devices()
flags.DEFINE_integer('rounds', 7, 'How often each is measured.', lower_bound=1)
flags.DEFINE_integer('steps', 50, 'Steps of each in a round.', lower_bound=1)
flags.DEFINE_list(
    'models',
    [],
    'Compare these networks, to the first of them: bl_resnet50:alpha=2:beta=4, or '
    'bl_resnet50:2:4 in the order in which --model lists the options.',
)
flags.DEFINE_bool(
    'folded',
    False,
    'With --models: also with batch norms folded into the convolutions, weights as constants, '
    'in float32 (compiled instead with --xla).',
)
flags.DEFINE_bool('training', False, 'With --models: also forward and backward, in training.')
flags.DEFINE_bool(
    'by_stage',
    False,
    'With --models: also what each stage of each network takes in inference; with --folded of the '
    'folded networks.',
)
flags.DEFINE_bool(
    'input_only',
    False,
    'Measure the input alone, one stage of --train_preprocessing after another.',
)
flags.DEFINE_list('batch_sizes', ['1', '16'], 'Images at once, for --models.')
flags.DEFINE_enum(
    'peer',
    None,
    ('torch',),
    'Measure beside it, in training, the same network in PyTorch (the extra torch).',
)
flags.DEFINE_string('output', None, 'Also write the speeds to this JSON file.')
flags.adopt_module_key_flags(common_flags)


def check():
    """Refuses flags that cannot be right."""
    checks.model_and_input()
    checks.optimizer('')
    _networks()
    if FLAGS.models and (FLAGS['model'].present or FLAGS.weights):
        raise InputError(
            '--model and --weights are of training; --models names all networks itself'
        )
    for flag in ('folded', 'training', 'by_stage'):
        if FLAGS[flag].value and not FLAGS.models:
            raise InputError(f'--{flag}: compares networks; name them by --models')
    for flag in () if FLAGS.models or FLAGS.input_only else _ONLY_OURS:
        is_decoupled = flag == 'weight_decay' and FLAGS.optimizer == 'adamw'
        if FLAGS[flag].value and not is_decoupled:
            raise InputError(
                f'--{flag}={FLAGS[flag].value}: of what is measured in turns our loop alone would '
                'do so; leave it out'
            )
    if FLAGS.peer and FLAGS.clip_norm:
        raise InputError(
            f'--clip_norm={FLAGS.clip_norm}: --peer={FLAGS.peer} does not clip; leave it out'
        )
    if FLAGS.peer and (FLAGS.models or FLAGS.input_only):
        raise InputError('--peer: measured in training; leave out --models and --input_only')
    if FLAGS.peer and FLAGS.optimizer != 'sgd':
        raise InputError(f'--peer={FLAGS.peer}: measured with --optimizer=sgd')
    if FLAGS.peer and FLAGS.precision == 'mixed_float16':
        raise InputError(f'--peer={FLAGS.peer}: measured in float32 or mixed_bfloat16')
    if FLAGS.peer and not importlib.util.find_spec(FLAGS.peer):
        raise InputError("--peer=torch: PyTorch is not installed; pip install '.[torch]'")
    if not FLAGS.batch_sizes:
        raise InputError('--batch_sizes: expected at least one number of images')
    flag_values.images('batch_sizes')


def _networks():
    """Dict from a label to each network of --models; one that is named twice has two labels."""
    networks = {}
    for text in FLAGS.models:
        number = 1 + sum(other.label == text for other in networks.values())
        label = f'{text} ({number})' if number > 1 else text
        networks[label] = named_networks.parse('models', text)
    return networks


def main():
    """Measures what the flags ask for, prints a table."""
    strategy = objects.strategy(FLAGS.precision)
    if strategy.num_replicas_in_sync > 1:
        raise InputError('--strategy: speeds are measured on one device; take one_device')
    from tfnets.files import write_json

    if FLAGS.models:
        rows = compare_networks()
    else:
        rows = input_stages() if FLAGS.input_only else training(strategy)
    if FLAGS.output:
        write_json(FLAGS.output, rows)


def compare_networks():
    """Lets several networks run in turns, for each size of batch; returns the numbers."""
    from tfnets.analysis import benchmark, flops, markdown
    from tfnets.models import folding

    networks, rows, lines = _networks(), [], [_HEADINGS]
    classes = FLAGS.num_classes or 1000
    pixels = FLAGS.resolution or next(iter(networks.values())).resolution
    if len({network.resolution for network in networks.values()}) > 1:
        logging.warning('networks of several resolutions; all are measured at %d px', pixels)
    built = {label: network.build(classes) for label, network in networks.items()}
    costs = {label: flops.cost(network, pixels) for label, network in built.items()}
    folded = {label: folding.fold(network) for label, network in built.items() if FLAGS.folded}
    print(
        f'{pixels} px, {FLAGS.precision}; {FLAGS.rounds} rounds of {FLAGS.steps} calls; in '
        'brackets the middle half of the rounds'
    )
    for batch in flag_values.images('batch_sizes'):
        contestants = _contestants(built, folded, batch, pixels)
        speeds = benchmark.alternate(contestants, FLAGS.steps * batch, FLAGS.rounds)
        for row, line in _compared({speed.name: speed for speed in speeds}, costs, batch):
            rows.append(row)
            lines.append(line)
            logging.info('%s, %s, batch %d: %s images/s', *line[:2], batch, line[5])
    print(markdown.table(lines))
    if FLAGS.by_stage:
        print(_table_of_stages(folded or built, pixels))
    return rows


def _contestants(built, folded, batch, pixels):
    """Dict from (form, label) to what runs a network in that form."""
    from tfnets.analysis import benchmark

    options, xla = (batch, pixels, FLAGS.steps), objects.xla()
    runs = {}
    for label, network in built.items():
        runs[INFERENCE, label] = benchmark.inference(network, *options, xla)
    for label, network in folded.items():
        runs[FOLDED, label] = benchmark.inference(network, *options, xla, frozen=not xla)
    for label, network in built.items() if FLAGS.training else ():
        runs[TRAINING, label] = benchmark.forward_backward(network, *options, xla)
    return runs


def _compared(speeds, costs, batch):
    """Yields, for each form and network, the numbers and a line of the table.

    Args:
        speeds: dict from (form, label) to Speed.
        costs: dict from a label to its ModelCost; all are compared with the first.
        batch: images.
    """
    first = next(iter(costs))
    for (form, label), speed in speeds.items():
        cost, promise = costs[label], costs[first].macs / costs[label].macs
        ratios = speed.ratios(speeds[form, first])
        numbers = {'batch': batch, 'parameters': cost.trainable, 'multiply_adds': cost.macs}
        row = {**dataclasses.asdict(speed), **numbers, 'name': label, 'form': form}
        row['ratio'], gain = ratios[0], ''
        if form == FOLDED:
            gains = speed.ratios(speeds[INFERENCE, label])
            row['gain'], gain = gains[0], _ratio(gains)
        line = [label, form, f'{cost.trainable:,}', f'{cost.macs / 1e9:.3f}', str(batch)]
        line += [*_images_per_second(speed), _ratio(ratios), f'{promise:.2f}']
        yield row, [*line, f'{100 * ratios[0] / promise:.0f} %', gain]


def _ratio(ratios):
    median, low, high = ratios
    return f'{median:.2f} ({low:.2f} to {high:.2f})'


def _table_of_stages(networks, pixels):
    """What each stage of each network takes, at the last size of batch."""
    from tfnets.analysis import benchmark, markdown

    batch, xla = flag_values.images('batch_sizes')[-1], objects.xla()
    lines = [['network', 'stage', 'batch', 'ms', 'MACs (G)', 'G multiply-adds/s']]
    options = {'xla': xla, 'frozen': FLAGS.folded and not xla}
    for stage in benchmark.by_stage(networks, batch, pixels, FLAGS.steps, FLAGS.rounds, **options):
        billions = stage.macs / 1e9
        # Of what is next to nothing the difference of two times is noise.
        speed = f'{billions * batch / stage.seconds:.0f}' if billions > 0.01 else ''
        milliseconds = f'{1000 * stage.seconds:.2f}'
        cells = [stage.network, stage.name, str(batch), milliseconds, f'{billions:.3f}', speed]
        lines.append(cells)
    return markdown.table(lines)


def _training_batches():
    """The training split under --train_preprocessing."""
    from tfnets.data import preprocessing
    from tfnets.data.pipeline import Batches

    source = splits.sound(splits.open_source(FLAGS.train_split), training=True)
    line = preprocessing.parse(FLAGS.train_preprocessing, objects.resolution())
    placement = (FLAGS.augment_on_device, FLAGS.data_service)
    return Batches(source, line, FLAGS.batch_size, FLAGS.seed, 'benchmark', *placement)


def _torch_steps(network, resolution):
    """The steps of --peer=torch."""
    from tfnets.analysis import benchmark

    return benchmark.TorchSteps(
        network,
        batch_size=FLAGS.batch_size,
        resolution=resolution,
        learning_rate=FLAGS.learning_rate,
        momentum=FLAGS.momentum,
        nesterov=FLAGS.nesterov,
        steps=FLAGS.steps,
        bfloat16=FLAGS.precision == 'mixed_bfloat16',
    )


def input_stages():
    """Lets the input run in turns, each time with one stage more; returns the numbers."""
    from tfnets.analysis import benchmark, markdown
    from tfnets.analysis import input_stages as stages

    batches = _training_batches()
    images = FLAGS.steps * FLAGS.batch_size
    speeds = benchmark.alternate(stages.contestants(batches, images), images, FLAGS.rounds)
    print(
        f'{batches.preprocessing.line} at {batches.preprocessing.resolution} px, {FLAGS.dataset}; '
        f'{FLAGS.rounds} rounds of {images} photos'
    )
    if batches.colours_on_device and batches.preprocessing.colours:
        names = ', '.join(step.name for _, step in batches.preprocessing.colours)
        print(f'{names}: left to the device, not done here')
    lines = [['stage', *_IMAGES_PER_SECOND, "share of the decoder's own"]]
    for speed in speeds:
        lines.append([speed.name, *_images_per_second(speed), f'{100 * speed.ratio:.0f} %'])
    print(markdown.table(lines))
    return [dataclasses.asdict(speed) for speed in speeds]


def _images_per_second(speed):
    """The median and the range, as cells of a table."""
    digits = 0 if speed.median >= 100 else 1
    return [f'{speed.median:.{digits}f}', f'{speed.low:.{digits}f} to {speed.high:.{digits}f}']


def training(strategy):
    """Lets the bare step, the loop and the input run in turns; returns the numbers."""
    from tfnets.analysis import benchmark, markdown
    from tfnets.training.objectives import Classification
    from tfnets.training.phase import Phase
    from tfnets.training.trainer import Trainer

    batches, resolution = _training_batches(), objects.resolution()
    build = objects.network_builder(objects.num_classes(batches.source), strategy)
    optimizer, schedule = objects.optimizer(), objects.schedule()
    # Long enough that no round comes to its end.
    epochs = (FLAGS.rounds + 2) * FLAGS.steps / batches.steps_per_epoch
    phase = Phase('benchmark', Classification(build()), batches, epochs, optimizer, schedule)
    loops = Trainer('.', strategy, xla=objects.xla())
    on_photos = loops.stepper(phase)
    other = dataclasses.replace(phase, objective=Classification(build()))
    image = benchmark.synthetic(other.objective.network, FLAGS.batch_size, resolution)
    on_one_batch = loops.stepper(other, image)

    def by(make):
        settings = (FLAGS.batch_size, resolution, FLAGS.steps, objects.xla())
        return make(build(), optimizer.build(FLAGS.learning_rate), *settings)

    contestants = {
        'bare step': by(benchmark.bare_step),
        'our loop on that batch': lambda: on_one_batch(FLAGS.steps),
        'Keras fit on that batch': by(benchmark.keras_fit),
        'our loop on photos': lambda: on_photos(FLAGS.steps),
        'input alone': benchmark.input_alone(batches, FLAGS.steps),
    }
    with contextlib.ExitStack() as stack:
        if FLAGS.peer:
            peer = stack.enter_context(contextlib.closing(_torch_steps(build(), resolution)))
            contestants['PyTorch on that batch'] = peer
        speeds = benchmark.alternate(contestants, FLAGS.steps * FLAGS.batch_size, FLAGS.rounds)
    print(
        f'{FLAGS.model} at {resolution} px, batch {FLAGS.batch_size}, {FLAGS.precision}, '
        f'{FLAGS.dataset}; {FLAGS.rounds} rounds of {FLAGS.steps} steps'
    )
    lines = [['', *_IMAGES_PER_SECOND, 'ratio']]
    for speed in speeds:
        lines.append([speed.name, *_images_per_second(speed), _ratio(speed.ratios(speeds[0]))])
    print(markdown.table(lines))
    return [dataclasses.asdict(speed) for speed in speeds]


if __name__ == '__main__':
    app.launch(main, check)
