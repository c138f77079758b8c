"""FixRes: train at a low resolution, measure the size gap, fine-tune and test at a higher one.

  python -m tfnets.launchers.fixres --flagfile=flags/fixres/quickstart.cfg

Writes report.md, report.json and a curve of accuracy against test resolution into --run_dir.
"""

import time

from absl import flags, logging

from tfnets.data import preprocessing
from tfnets.data.presets import PRESETS
from tfnets.errors import InputError
from tfnets.files import copy
from tfnets.launchers import app, checks, common_flags, objects, run_folder

FLAGS = flags.FLAGS

common_flags.define_model()
common_flags.define_data()
common_flags.define_splits()
common_flags.define_input(PRESETS['imagenet_train'], PRESETS['imagenet_eval'])
common_flags.define_training()
common_flags.define_optimizer('finetune_', 'Fine-tuning', 'sgd', 0.001, 'steps')
common_flags.define_arithmetic()
common_flags.define_devices()
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
    'Test resolutions in pixels; that of sigma, and that of training, are always among them.',
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
    checks.model_and_input()
    checks.schedule('', FLAGS.epochs)
    checks.schedule('finetune_', FLAGS.finetune_epochs)
    for tune in FLAGS.tune or ['']:
        if tune not in ('classifier_and_last_bn', 'all'):
            raise InputError(f'--tune={tune}: expected classifier_and_last_bn, all, or both')
    for text in FLAGS.resolutions:
        checks.pixels('resolutions', text)
    if FLAGS.test_resolution not in ('sigma', 'validation'):
        checks.pixels('test_resolution', FLAGS.test_resolution)
    if not preprocessing.parse(FLAGS.train_preprocessing, 224).crops:
        raise InputError(
            f'--train_preprocessing={FLAGS.train_preprocessing}: it shows objects at one size, so '
            'that there is no size gap to mend; expected it to begin with a crop of random size, '
            'decode_area_crop or decode_inception_crop'
        )
    if FLAGS.high_resolution and not FLAGS.epochs:
        raise InputError('--high_resolution: nothing to compare with, for --epochs=0')
    if not FLAGS.epochs and (FLAGS.new_head or not FLAGS.weights):
        raise InputError(
            '--epochs=0: this network has no trained classifier (no --weights, or --new_head), so '
            'that there is nothing to fine-tune; train it by --epochs above 0'
        )


def main():
    """Flags -> objects -> the recipe -> the report."""
    strategy = objects.strategy(FLAGS.precision)
    from tfnets.analysis import resolution_report
    from tfnets.recipes import fixres

    plan = make_plan()
    values = common_flags.resolved()
    folder = run_folder.locate('fixres', values)
    if (folder / 'report.md').exists() and not FLAGS.overwrite and not FLAGS.dry_run:
        logging.info(
            '%s is finished; this is its report (its data are not looked at again)', folder
        )
        print((folder / 'report.md').read_text())
        return
    names = ('train_split', 'validation_split', 'test_split')
    opened = [objects.open_source(FLAGS[name].value) for name in names]
    objects.check_disjoint(dict(zip(names, opened, strict=True)))
    build = objects.network_builder(objects.num_classes(opened[0]), strategy)
    network = build()  # what cannot be built is found out before anything is written
    if not FLAGS.dry_run:
        run_folder.occupy(folder, 'fixres', values)
    kept_in = None if FLAGS.dry_run else folder
    data = fixres.Data(*(objects.sound(source, source is opened[0], kept_in) for source in opened))
    trainer = objects.trainer(folder, strategy)
    if FLAGS.dry_run:
        show(plan, network, data, trainer)
        return
    logging.info('the run is in %s', folder)
    sizes = (len(source) for source in (data.train, data.validation, data.test))
    logging.info('%d photos to train on, %d for validation, %d for the test', *sizes)
    if FLAGS.batch_size > len(data.train):
        logging.warning('--batch_size=%d is more than the photos to train on', FLAGS.batch_size)
    head = objects.describe(folder, network, strategy)
    outcome = fixres.fixres(trainer, build, data, plan)
    for name in ('network.keras', 'inputs.json'):
        copy(trainer.folder(outcome.deployed) / name, folder / name.replace('network', 'model'))
    print(resolution_report.write_report(folder, outcome, plan, head))


def make_plan():
    """The recipe's settings, all checked."""
    from tfnets.recipes import apparent_size, fixres

    resolution = objects.resolution()
    apparent_size.geometry(FLAGS.eval_preprocessing, resolution)
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
        tunes=tuple(dict.fromkeys(FLAGS.tune)),
        sigma=FLAGS.sigma,
        test_resolution=int(test) if test.isdecimal() else test,
        resolution_multiple=FLAGS.resolution_multiple,
        resolutions=tuple(map(int, FLAGS.resolutions)),
        control=FLAGS.control,
        high_resolution=FLAGS.high_resolution,
        evaluate_every=FLAGS.evaluate_every,
        label_smoothing=FLAGS.label_smoothing,
        colours_on_device=FLAGS.augment_on_device,
        service=FLAGS.data_service,
    )


def show(plan, network, data, trainer):
    """Prints the phases with their steps and measured speed; trains nothing that is kept."""
    from tfnets.recipes import fixres

    chosen = plan.test_resolution if isinstance(plan.test_resolution, int) else None
    phases = fixres.dry_run(plan, network, data, chosen)
    parameters = sum(variable.numpy().size for variable in network.trainable_variables)
    print(f'{FLAGS.model}: {parameters:,} trainable parameters')
    print(
        f'{len(data.train)} photos to train on, {len(data.validation)} for validation, '
        f'{len(data.test)} for the test; {data.train.num_classes} classes'
    )
    if plan.test_resolution == 'validation':
        print('the test resolution is chosen on the way; this plan takes that of sigma')
    total = 0.0
    for phase in phases:
        seconds = phase.steps * _seconds_per_step(trainer, phase)
        total += seconds
        print(
            f'{phase.name}: {phase.epochs:g} epochs, {phase.steps} steps of '
            f'{phase.data.batch_size} at {phase.data.preprocessing.resolution} px, '
            f'about {_duration(seconds)}'
        )
    print(f'about {_duration(total)} of training in all, evaluations not counted')


def _duration(seconds):
    return f'{seconds:.0f} seconds' if seconds < 120 else f'{seconds / 60:.0f} minutes'


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
