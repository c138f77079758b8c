"""Go Wide, Then Narrow: a wide teacher, imitated stage by stage by its thin net, then distilled.

  python -m tfnets.launchers.wide_to_thin --flagfile=flags/wide_to_thin/sample.cfg

--model is the thin network, --teacher the wide one. Writes report.md, report.json and two plots
into --run_dir. To run one phase alone, give the teacher's weights and set the others' epochs to 0.
"""

import dataclasses
import pathlib

from absl import flags, logging

from tfnets.data.presets import PRESETS
from tfnets.errors import InputError
from tfnets.files import read_json
from tfnets.launchers import (
    app,
    checks,
    common_flags,
    dry_run,
    flag_values,
    named_networks,
    objects,
    run_folder,
    splits,
)

FLAGS = flags.FLAGS

common_flags.define_training_run(PRESETS['imagenet_train'], PRESETS['imagenet_eval'])
common_flags.define_course('teacher_', 'The wide teacher', 90.0, 0.1, 'steps', 1e-4)
common_flags.define_course('imitation_', 'Imitation of each stage', 10.0, 0.1)
common_flags.define_course('distillation_', 'Distillation', 50.0, 0.1, weight_decay=1e-4)
common_flags.define_course('finetune_', 'Fine-tuning on labels, last', 0.0, 0.01, weight_decay=1e-4)
common_flags.define_optimizer(
    'alone_', 'The thin network trained alone (--baseline)', 0.1, weight_decay=1e-4
)
flags.DEFINE_string(
    'teacher', None, 'The wide network: NAME:option=value:..., as resnet50:width_multiplier=4.'
)
flags.DEFINE_string(
    'teacher_weights', None, 'File of its weights, for --teacher_epochs=0 or to train on from.'
)
flags.DEFINE_bool(
    'teacher_new_head',
    None,
    'Load all of --teacher_weights but the classifier, which starts anew: for other classes.',
)
flags.DEFINE_list(
    'teacher_stages',
    [],
    "Names of the layers or operations that end the teacher's stages, for a network whose own are "
    'not called stage1.output, stage2.output ..., as those of keras.applications.',
)
flags.DEFINE_enum(
    'imitate',
    'stage',
    ('stage', 'joint'),
    'In the imitation of a stage that stage moves alone, or those below it too.',
)
flags.DEFINE_enum(
    'imitation_loss',
    'mse',
    ('mse', 'kl'),
    "mse of the stages' outputs, or kl divergence of their softmax over channels.",
)
flags.DEFINE_float('temperature', 1.0, 'Of distillation.', lower_bound=1e-3)
flags.DEFINE_bool(
    'copy_classifier',
    True,
    "Begin distillation with the teacher's classifier, where the shapes agree.",
)
flags.DEFINE_bool(
    'baseline',
    False,
    'Also train the thin network alone, for as many epochs and for as many minutes as all its '
    'phases took and, if it is to imitate, by distillation alone for as many epochs. Where a run '
    'has none yet and is named by --run_dir, --alone_... and --distilled_... may be chosen anew.',
)
flags.DEFINE_float(
    'distilled_learning_rate',
    None,
    'Highest of the network that is distilled without imitation; --distillation_learning_rate by '
    'default, which may be smaller for a network that has imitated.',
    lower_bound=0,
)
flags.DEFINE_list(
    'student_seeds',
    [],
    'Train the thin networks once for each of these seeds, after one teacher; --seed by default. '
    'Seeds, and --baseline, may be added to a run that is finished, whose own stay in its report.',
)
flags.adopt_module_key_flags(common_flags)


def check():
    """Refuses flags that cannot be right, before TensorFlow is imported."""
    checks.model_and_input()
    for prefix in ('teacher_', 'imitation_', 'distillation_', 'finetune_'):
        checks.course(prefix)
    checks.optimizer('alone_')
    is_plateau = FLAGS.imitation_epochs and FLAGS.imitation_schedule == 'plateau'
    if is_plateau and FLAGS.imitation_plateau_metric != 'loss':
        raise InputError(
            '--imitation_schedule=plateau: an imitation has no metric but its loss; say '
            '--imitation_plateau_metric=loss'
        )
    if not FLAGS.teacher:
        raise InputError('--teacher: expected the wide network, as resnet50:width_multiplier=4')
    named_networks.parse('teacher', FLAGS.teacher)
    _check_teacher_weights()
    flag_values.seeds('student_seeds')
    if FLAGS.distilled_learning_rate is not None and not FLAGS.imitation_epochs:
        raise InputError(
            '--distilled_learning_rate: of what is distilled without imitation, as with '
            '--imitation_epochs=0 the student itself; leave it out'
        )
    for prefix in _baselines():
        checks.any_length('baseline', prefix)
    stretches = (FLAGS.imitation_epochs, FLAGS.distillation_epochs, FLAGS.finetune_epochs)
    if not any(stretches):
        raise InputError(
            '--imitation_epochs, --distillation_epochs, --finetune_epochs: all are 0, so that the '
            'thin network is not trained'
        )


def _baselines():
    """Prefixes of the flags by which the baselines are trained that are asked for."""
    if not FLAGS.baseline:
        return ()
    return ('distillation_', 'alone_') if FLAGS.imitation_epochs else ('alone_',)


def _check_teacher_weights():
    path = FLAGS.teacher_weights
    if path and not pathlib.Path(path).is_file() and not _is_taught():
        raise InputError(f'--teacher_weights={path}: there is no such file')
    if FLAGS.teacher_new_head and not path:
        raise InputError('--teacher_new_head: there are no --teacher_weights')
    if not FLAGS.teacher_epochs and (FLAGS.teacher_new_head or not path):
        raise InputError(
            '--teacher_epochs=0: the teacher has no trained classifier (no --teacher_weights, or '
            '--teacher_new_head), so that it knows nothing'
        )


def _is_taught():
    """Whether the run that --run_dir names has its teacher, whose weights are not read again."""
    return any(_phases('teacher/result.json')) and not FLAGS.overwrite


def _phases(pattern):
    """Files or folders of the phases of the run that --run_dir names."""
    return pathlib.Path(FLAGS.run_dir).glob(f'phases/{pattern}') if FLAGS.run_dir else ()


def _changeable():
    """What may be added to a run: seeds, and baselines; how they train, as long as none has begun.

    Without --run_dir the folder is named by how they train.
    """
    is_fixed = not FLAGS.run_dir or any(_phases('alone*'))
    theirs = [name for name in FLAGS if name.startswith(('alone_', 'distilled_'))]
    return ('student_seeds', 'baseline', *([] if is_fixed else theirs))


def main():
    """Flags -> objects -> the recipe -> the report."""
    strategy = objects.strategy(FLAGS.precision)
    from tfnets.analysis import flops, imitation_report
    from tfnets.recipes import imitation

    values = common_flags.resolved()
    folder = run_folder.locate('wide_to_thin', values, _changeable())
    plan = _with_those_before(folder, make_plan())
    values['baseline'] = plan.baselines
    if plan.seeds != (FLAGS.seed,):  # which is the default
        values['student_seeds'] = plan.seeds
    if _has_all(folder, plan) and run_folder.show_finished(folder):
        return
    opened = splits.open_all()
    classes = objects.num_classes(opened[0])
    build_student = objects.network_builder(classes, strategy)
    teacher = _build_teacher(classes, strategy)
    student = build_student()
    for network in (teacher, student):
        objects.check_sizes(network, [plan.resolution])
    imitation.check(teacher, student, plan)
    trainer = objects.trainer(folder, strategy)
    if FLAGS.dry_run:
        inputs = splits.inputs(opened)
        phases = imitation.dry_run(trainer, plan, inputs, teacher, student)
        networks = {'teacher': teacher, 'student': student}
        longer = 'evaluations and baselines of as many minutes'
        left_out = longer if plan.baselines else 'evaluations'
        dry_run.show(phases, networks, inputs, trainer, left_out)
        return
    run_folder.occupy(folder, 'wide_to_thin', values)
    inputs = splits.inputs(opened, folder)
    head = objects.describe(folder, student, strategy) | {
        'teacher': f'{FLAGS.teacher}, {objects.size(flops.cost(teacher, plan.resolution))}'
    }
    outcome = imitation.go_wide_then_narrow(trainer, teacher, build_student, inputs, plan)
    run_folder.deploy(folder, trainer.folder(outcome.deployed))
    print(imitation_report.write_report(folder, outcome, plan, head))


def _build_teacher(classes, strategy):
    wide = named_networks.parse('teacher', FLAGS.teacher)
    weights = None if _is_taught() else FLAGS.teacher_weights
    try:
        return objects.named_builder(wide, classes, strategy, weights, FLAGS.teacher_new_head)()
    except InputError as error:
        raise InputError(str(error).replace('(new_head)', '(--teacher_new_head)')) from None


def _with_those_before(folder, plan):
    """A plan with the seeds and the baselines that the run's report has too."""
    seeds = [] if FLAGS.overwrite else _seeds_in_report(folder, 'student')
    baselines = plan.baselines or bool(seeds and _seeds_in_report(folder, 'alone_as_long'))
    if not {*seeds} <= {*plan.seeds} or baselines != plan.baselines:
        logging.info(
            'the report of %s has seeds %s%s: they stay in it',
            folder,
            ', '.join(map(str, seeds)),
            ' and their baselines' if baselines else '',
        )
    seeds = tuple(dict.fromkeys([*seeds, *plan.seeds]))
    return dataclasses.replace(plan, seeds=seeds, baselines=baselines)


def _has_all(folder, plan):
    """Whether a finished run's report has all of a plan: seeds and baselines may be added."""
    last = 'alone_as_long' if plan.baselines else 'student'
    return {*plan.seeds} <= {*_seeds_in_report(folder, last)}


def _seeds_in_report(folder, arm):
    """The seeds of an arm's networks in the run's report, if there is one."""
    rows = read_json(folder / 'report.json', {}).get('rows', [])
    return [row['seed'] for row in rows if row['arm'] == arm]


def make_plan():
    """The recipe's settings, all checked."""
    from tfnets.recipes import imitation
    from tfnets.training.phase import Course

    return imitation.Plan(
        resolution=objects.resolution(),
        teacher=objects.course('teacher_'),
        imitation=objects.course('imitation_'),
        distillation=objects.course('distillation_'),
        finetuning=objects.course('finetune_'),
        distilled_learning_rate=FLAGS.distilled_learning_rate,
        alone=Course(0, objects.optimizer('alone_'), objects.schedule('alone_')),
        seeds=flag_values.seeds('student_seeds') or (FLAGS.seed,),
        joint=FLAGS.imitate == 'joint',
        imitation_loss=FLAGS.imitation_loss,
        temperature=FLAGS.temperature,
        copy_classifier=FLAGS.copy_classifier,
        baselines=FLAGS.baseline,
        teacher_stages=tuple(FLAGS.teacher_stages) or None,
        evaluate_every=FLAGS.evaluate_every,
        targets=objects.targets(),
    )


if __name__ == '__main__':
    app.launch(main, check)
