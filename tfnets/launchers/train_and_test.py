"""What launchers that train one network on labels and test it have in common."""

from absl import flags

from tfnets.errors import InputError
from tfnets.files import read_json
from tfnets.launchers import (
    app,
    checks,
    common_flags,
    dry_run,
    flag_values,
    objects,
    run_folder,
    splits,
)

FLAGS = flags.FLAGS

# What may be asked of a run later on.
_CHANGEABLE = ('test',)


def define_flags(train_preprocessing, eval_preprocessing, epochs, learning_rate, **defaults):
    """Defines all flags; the arguments are the launcher's defaults.

    Args:
        train_preprocessing: line.
        eval_preprocessing: line.
        epochs: of training.
        learning_rate: highest.
        **defaults: of other flags, by name.
    """
    common_flags.define_training_run(train_preprocessing, eval_preprocessing)
    common_flags.define_course('', 'Training', epochs, learning_rate)
    flags.DEFINE_list(
        'test_resolutions',
        [],
        'Test resolutions in pixels, --resolution by default; validation is at the first.',
    )
    flags.DEFINE_enum(
        'pixel_statistics',
        'imagenet',
        ('imagenet', 'training'),
        'Mean and deviation of red, green and blue that the network normalises by: those of '
        'ImageNet (for the networks that do so), or those of the photos to train on.',
    )
    flags.DEFINE_bool(
        'test',
        True,
        'Score the network on the test split at the end. --notest leaves that for later, while '
        'there is still a choice to be made on the validation split; the same command with --test '
        'then only scores.',
    )
    flags.adopt_module_key_flags(common_flags)
    for name, value in defaults.items():
        FLAGS.set_default(name, value)


def launch(launcher):
    """Runs the launcher of that name."""
    app.launch(lambda: _main(launcher), check)


def check():
    """Refuses flags that cannot be right, before TensorFlow is imported."""
    checks.model_and_input()
    checks.course('')
    flag_values.pixels('test_resolutions')
    if FLAGS.pixel_statistics == 'training' and FLAGS.weights:
        raise InputError(
            '--pixel_statistics=training: --weights know the statistics that they were trained '
            'with; take --pixel_statistics=imagenet, which leaves them as they are'
        )
    checks.something_trained('test')


def _main(launcher):
    """Flags -> objects -> the recipe -> the report."""
    strategy = objects.strategy(FLAGS.precision)
    from tfnets.analysis import classification_report
    from tfnets.recipes import classification

    plan = _plan()
    folder = run_folder.locate(launcher, common_flags.resolved(), _CHANGEABLE)
    if _has_all(folder) and run_folder.show_finished(folder):
        return
    opened = splits.open_all()
    build = objects.network_builder(objects.num_classes(opened[0]), strategy)
    network = build()  # what cannot be built is found out before anything is written
    objects.check_sizes(network, {plan.resolution, *plan.test_resolutions})
    if FLAGS.pixel_statistics == 'training':
        objects.pixel_scaling(network)
    trainer = objects.trainer(folder, strategy)
    if FLAGS.dry_run:
        inputs = splits.inputs(opened)
        phases = [classification.training(network, inputs, plan)]
        dry_run.show(phases, {FLAGS.model: network}, inputs, trainer)
        return
    run_folder.occupy(folder, launcher, common_flags.resolved())
    inputs = splits.inputs(opened, folder)
    if FLAGS.pixel_statistics == 'training':
        build = objects.normalising(build, inputs.train, folder)
    head = objects.describe(folder, network, strategy)
    outcome = classification.train_and_test(trainer, build, inputs, plan)
    run_folder.deploy(folder, trainer.folder(outcome.deployed))
    print(classification_report.write_report(folder, outcome, plan, head))


def _has_all(folder):
    """Whether the report of a run, if there is one, holds all that is wanted now."""
    report = read_json(folder / 'report.json', {})
    return bool(report.get('results')) or not FLAGS.test


def _plan():
    """The recipe's settings, all checked."""
    from tfnets.recipes import classification

    return classification.Plan(
        resolution=objects.resolution(),
        training=objects.course(),
        test_resolutions=flag_values.pixels('test_resolutions') or (objects.resolution(),),
        evaluate_every=FLAGS.evaluate_every,
        targets=objects.targets(),
        test=FLAGS.test,
    )
