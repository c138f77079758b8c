"""Images per second of training: the bare step, the loop, and the input alone, in turns.

  python -m tfnets.launchers.benchmark --model=mbconv_c --dataset=sample

The bare step (forward, backward, update, on one batch in memory) is what the device can do; the
loop on real photos is what a run gets.
"""

import dataclasses

from absl import flags

from tfnets.errors import InputError
from tfnets.launchers import app, checks, common_flags, objects

FLAGS = flags.FLAGS

common_flags.define_model()
common_flags.define_data()
common_flags.define_splits()
common_flags.define_input(
    'decode_area_crop(resolution, 0.2, 0.7, antialias=False) | flip_lr | brightness(0.25) | '
    'saturation(0.5, 1.5)',
    'resize_short_side(resolution * 256 / 224) | center_crop(resolution)',
)
common_flags.define_optimizer('', 'Training', 'sgd', 0.1, 'cosine')
common_flags.define_arithmetic()
common_flags.define_devices()
flags.DEFINE_integer('rounds', 7, 'How often each is measured.', lower_bound=1)
flags.DEFINE_integer('steps', 50, 'Steps of each in a round.', lower_bound=1)
flags.DEFINE_string('output', None, 'Also write the speeds to this JSON file.')
flags.adopt_module_key_flags(common_flags)


def main():
    """Builds the contestants, lets them run in turns, prints a table."""
    strategy = objects.strategy(FLAGS.precision)
    if strategy.num_replicas_in_sync > 1:
        raise InputError('--strategy: the bare step is for one device; take one_device')
    from tfnets.analysis import benchmark
    from tfnets.data import preprocessing
    from tfnets.data.pipeline import Batches
    from tfnets.files import write_json
    from tfnets.training.objectives import Classification
    from tfnets.training.phase import Phase
    from tfnets.training.trainer import Trainer

    resolution = objects.resolution()
    source = objects.sound(objects.open_source(FLAGS.train_split), training=True)
    line = preprocessing.parse(FLAGS.train_preprocessing, resolution)
    batches = Batches(source, line, FLAGS.batch_size, FLAGS.seed, 'benchmark')
    build = objects.network_builder(objects.num_classes(source), strategy)
    optimizer, schedule = objects.optimizer(), objects.schedule()
    # Long enough that no round comes to its end.
    epochs = (FLAGS.rounds + 2) * FLAGS.steps / batches.steps_per_epoch
    phase = Phase('benchmark', Classification(build()), batches, epochs, optimizer, schedule)
    advance = Trainer('.', strategy, xla=objects.xla()).stepper(phase)
    contestants = {
        'bare step': benchmark.bare_step(
            build(),
            optimizer.build(FLAGS.learning_rate),
            FLAGS.batch_size,
            resolution,
            FLAGS.steps,
            objects.xla(),
        ),
        'loop on photos': lambda: advance(FLAGS.steps),
        'input alone': benchmark.input_alone(batches, FLAGS.steps),
    }
    speeds = benchmark.alternate(contestants, FLAGS.steps * FLAGS.batch_size, FLAGS.rounds)
    print(
        f'{FLAGS.model} at {resolution} px, batch {FLAGS.batch_size}, {FLAGS.precision}, '
        f'{FLAGS.dataset}; {FLAGS.rounds} rounds of {FLAGS.steps} steps'
    )
    print('| | images/s | lowest to highest | ratio |\n|---|---:|---:|---:|')
    for speed in speeds:
        print(
            f'| {speed.name} | {speed.median:.0f} | {speed.low:.0f} to {speed.high:.0f} '
            f'| {speed.ratio:.2f} |'
        )
    if FLAGS.output:
        write_json(FLAGS.output, [dataclasses.asdict(speed) for speed in speeds])


if __name__ == '__main__':
    app.launch(main, checks.model_and_input)
