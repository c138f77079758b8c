"""FixRes: train at a low resolution, measure the size gap, fine-tune and test at a higher one.

  python -m tfnets.launchers.fixres --flagfile=flags/fixres/quickstart.cfg

Writes report.md, report.json and a curve of accuracy against test resolution into --run_dir.
"""

from absl import flags

from tfnets.data.presets import PRESETS
from tfnets.errors import InputError
from tfnets.launchers import (
    app,
    checks,
    common_flags,
    dry_run,
    finetuning_flags,
    flag_values,
    objects,
    run_folder,
    splits,
)

FLAGS = flags.FLAGS

common_flags.define_training_run(PRESETS['imagenet_train'], PRESETS['imagenet_eval'])
common_flags.define_course('', 'Training', 30.0, 0.1)
finetuning_flags.define()
flags.DEFINE_bool(
    'high_resolution',
    False,
    'Also train at the test resolution all along, for about as much computing.',
)
flags.adopt_module_key_flags(common_flags)
flags.adopt_module_key_flags(finetuning_flags)


def check():
    """Refuses flags that cannot be right, before TensorFlow is imported."""
    checks.model_and_input()
    checks.course('')
    finetuning_flags.check()
    if FLAGS.high_resolution and not FLAGS.epochs:
        raise InputError('--high_resolution: nothing to compare with, for --epochs=0')
    if FLAGS.high_resolution:
        checks.any_length('high_resolution')
    checks.something_trained('fine-tune')


def main():
    """Flags -> objects -> the recipe -> the report."""
    strategy = objects.strategy(FLAGS.precision)
    from tfnets.analysis import resolution_report
    from tfnets.recipes import fixres

    plan = make_plan()
    folder = run_folder.locate('fixres', common_flags.resolved())
    if run_folder.show_finished(folder):
        return
    opened = splits.open_all()
    build = objects.network_builder(objects.num_classes(opened[0]), strategy)
    network = build()  # what cannot be built is found out before anything is written
    asked = {plan.resolution, *plan.resolutions}
    objects.check_sizes(network, asked | {plan.test_resolution} - {'sigma', 'validation'})
    trainer = objects.trainer(folder, strategy)
    if FLAGS.dry_run:
        inputs = splits.inputs(opened)
        chosen = plan.test_resolution if isinstance(plan.test_resolution, int) else None
        if plan.test_resolution == 'validation':
            print('the test resolution is chosen on the way; this plan takes that of sigma')
        phases = fixres.dry_run(plan, network, inputs, chosen)
        dry_run.show(phases, {FLAGS.model: network}, inputs, trainer)
        return
    run_folder.occupy(folder, 'fixres', common_flags.resolved())
    inputs = splits.inputs(opened, folder)
    head = objects.describe(folder, network, strategy)
    outcome = fixres.fixres(trainer, build, inputs, plan)
    run_folder.deploy(folder, trainer.folder(outcome.deployed))
    print(resolution_report.write_report(folder, outcome, plan, head))


def make_plan():
    """The recipe's settings, all checked."""
    from tfnets.recipes import fixres

    return fixres.Plan(
        resolution=objects.resolution(),
        training=objects.course(),
        finetuning=objects.course('finetune_'),
        tunes=tuple(dict.fromkeys(FLAGS.tune)),
        sigma=FLAGS.sigma,
        test_resolution=finetuning_flags.test_resolution(),
        resolution_multiple=FLAGS.resolution_multiple,
        resolutions=flag_values.pixels('resolutions'),
        control=FLAGS.control,
        high_resolution=FLAGS.high_resolution,
        evaluate_every=FLAGS.evaluate_every,
        targets=objects.targets(),
    )


if __name__ == '__main__':
    app.launch(main, check)
