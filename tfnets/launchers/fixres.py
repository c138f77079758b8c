"""FixRes: train at a low resolution, measure the size gap, fine-tune and test at a higher one.

  python -m tfnets.launchers.fixres --flagfile=flags/fixres/quickstart.cfg

Writes report.md, report.json and a curve of accuracy against test resolution into --run_dir.
"""

import time

from absl import flags, logging

from tfnets.errors import InputError
from tfnets.launchers import app, common_flags, objects, run_folder

FLAGS = flags.FLAGS

common_flags.define_model()
common_flags.define_data()
common_flags.define_training(
    'decode_inception_crop(resolution) | flip_lr',
    'resize_short_side(resolution * 256 / 224) | center_crop(resolution)',
)
common_flags.define_optimizer('finetune_', 'Fine-tuning', 'sgd', 0.001, 'steps')
common_flags.define_run()
flags.DEFINE_float('finetune_epochs', 10.0, 'Of fine-tuning, and of its control.', lower_bound=0)
flags.DEFINE_list(
    'tune',
    ['classifier_and_last_bn'],
    'What is fine-tuned: classifier_and_last_bn (the official code), all, or both, with a comma.',
)
flags.DEFINE_enum(
    'sigma',
    'length',
    ('length', 'area'),
    "A training crop's size: the root of its share of the area (the paper), or that share itself "
    '(the project AdamStein97).',
)
flags.DEFINE_string(
    'test_resolution',
    'sigma',
    'Where to fine-tune: `sigma`, where objects look as large as in training; `validation`, where '
    'the trained network does best there; or pixels.',
)
flags.DEFINE_integer(
    'resolution_multiple',
    1,
    "Round the resolution of `sigma` to a multiple of it. A network's total stride is a good "
    'choice: at other sizes its padding differs from training.',
    lower_bound=1,
)
flags.DEFINE_list(
    'resolutions',
    [],
    'Test resolutions in pixels; those of both readings of sigma are always among them.',
)
flags.DEFINE_bool('control', True, 'Also fine-tune for as long at the training resolution.')
flags.DEFINE_bool(
    'high_resolution',
    False,
    'Also train at the test resolution all along, for about as much computing.',
)
flags.adopt_module_key_flags(common_flags)


def check():
    """Refuses flags that cannot be right, before TensorFlow is imported."""
    objects.check_flags()
    for tune in FLAGS.tune:
        if tune not in ('classifier_and_last_bn', 'all'):
            raise InputError(f'--tune={tune}: expected classifier_and_last_bn, all, or both')
    for name, value in [('resolutions', text) for text in FLAGS.resolutions] + [
        ('test_resolution', FLAGS.test_resolution)
    ]:
        if not value.isdigit() and (name, value) not in (
            ('test_resolution', 'sigma'),
            ('test_resolution', 'validation'),
        ):
            raise InputError(f'--{name}={value}: expected a number of pixels')


def main():
    """Flags -> objects -> the recipe -> the report."""
    strategy = objects.strategy()
    from tfnets.analysis import resolution_report
    from tfnets.recipes import fixres

    plan = make_plan()
    values = common_flags.resolved()
    folder = run_folder.locate('fixres', values)
    if (folder / 'report.md').exists() and not FLAGS.overwrite:
        logging.info('%s is finished; this is its report', folder)
        print((folder / 'report.md').read_text())
        return
    splits = (FLAGS.train_split, FLAGS.validation_split, FLAGS.test_split)
    train, validation, test = map(objects.open_source, splits)
    build = objects.network_builder(objects.num_classes(train), strategy)
    network = build()  # what cannot be built is found out before anything is written
    if FLAGS.dry_run:
        show(plan, network, fixres.Data(train, validation, test), strategy)
        return
    run_folder.occupy(folder, 'fixres', values)
    logging.info('the run is in %s', folder)
    data = fixres.Data(
        objects.sound(train, True, folder),
        objects.sound(validation, False, folder),
        objects.sound(test, False, folder),
    )
    head = objects.describe(folder, network, strategy)
    outcome = fixres.fixres(objects.trainer(folder, strategy), build, data, plan)
    print(resolution_report.write_report(folder, outcome, plan, head))


def make_plan():
    """The recipe's settings, all checked."""
    from tfnets.recipes import fixres

    resolution = objects.resolution()
    fixres.test_geometry(FLAGS.eval_preprocessing, resolution)
    test = FLAGS.test_resolution
    return fixres.Plan(
        resolution=resolution,
        train_preprocessing=FLAGS.train_preprocessing,
        eval_preprocessing=FLAGS.eval_preprocessing,
        batch_size=FLAGS.batch_size,
        seed=FLAGS.seed,
        epochs=FLAGS.epochs,
        optimizer=objects.optimizer(),
        schedule=objects.schedule(),
        finetune_epochs=FLAGS.finetune_epochs,
        finetune_optimizer=objects.optimizer('finetune_'),
        finetune_schedule=objects.schedule('finetune_'),
        tunes=tuple(FLAGS.tune),
        sigma=FLAGS.sigma,
        test_resolution=int(test) if test.isdigit() else test,
        resolution_multiple=FLAGS.resolution_multiple,
        resolutions=tuple(map(int, FLAGS.resolutions)),
        control=FLAGS.control,
        high_resolution=FLAGS.high_resolution,
        evaluate_every=FLAGS.evaluate_every,
        label_smoothing=FLAGS.label_smoothing,
    )


def show(plan, network, data, strategy):
    """Prints the phases with their steps and measured speed; trains nothing that is kept."""
    from tfnets.recipes import fixres

    chosen = plan.test_resolution if isinstance(plan.test_resolution, int) else None
    phases = fixres.dry_run(plan, network, data, chosen)
    trainer = objects.trainer('.', strategy)
    print(f'{FLAGS.model}: {network.count_params():,} parameters, moving statistics included')
    print(
        f'{len(data.train)} photos to train on, {len(data.validation)} for validation, '
        f'{len(data.test)} for the test; {data.train.num_classes} classes'
    )
    total = 0.0
    for phase in phases:
        minutes = phase.steps * _seconds_per_step(trainer, phase) / 60
        total += minutes
        print(
            f'{phase.name}: {phase.epochs:g} epochs, {phase.steps} steps of '
            f'{phase.data.batch_size} at {phase.data.preprocessing.resolution} px, '
            f'about {minutes:.1f} minutes'
        )
    print(f'about {total:.1f} minutes of training in all, evaluations not counted')


def _seconds_per_step(trainer, phase, most=10):
    """Measures a few steps, input included, compilation not."""
    count = min(most, phase.steps // 2)
    if not count:
        return 0.0
    advance = trainer.stepper(phase)
    advance(1)
    start = time.monotonic()
    advance(count)
    return (time.monotonic() - start) / count


if __name__ == '__main__':
    app.launch(main, check)
