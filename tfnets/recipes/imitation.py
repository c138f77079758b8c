"""Go Wide, Then Narrow (Zhou et al., ICML 2020): a wide teacher, then the thin net.

A deep thin network is hard to train, a wide one of the same depth is easy. So: train the wide one;
let each stage of the thin one imitate the output of the wide one's, from the bottom to the top;
train the whole thin network on the wide one's answers, and on labels if you like.

What the paper leaves open is read so: the stage being imitated is fed by the student's own stages
below it, which are finished and do not move; the teacher is in inference mode throughout.
"""

import dataclasses
from collections.abc import Callable, Sequence

import keras
from absl import logging

from tfnets.errors import InputError
from tfnets.models import stages
from tfnets.recipes.inputs import Inputs
from tfnets.training.evaluation import Evaluation
from tfnets.training.objectives import Classification, Distillation, Imitation, Targets
from tfnets.training.phase import FROZEN, Course, Phase, Treatment
from tfnets.training.record import read_metrics


@dataclasses.dataclass(frozen=True)
class Plan:
    """The recipe's settings.

    Attributes:
        resolution: side of the images in pixels.
        teacher: Course of the wide network; of 0 epochs for one that comes trained.
        imitation: Course of each stage; of 0 epochs to leave imitation out.
        distillation: Course of the thin network on the teacher's answers.
        finetuning: Course of the thin network on labels, after that.
        alone: Course of the thin network trained alone; its epochs are not looked at.
        distilled_learning_rate: highest of the network that is distilled without imitation; None
            for that of `distillation`.
        seeds: of the thin networks, each trained once for every seed; the teacher is one for all.
        joint: whether in the imitation of a stage those below it move too.
        imitation_loss: 'mse' or 'kl', see `objectives.Imitation`.
        temperature: of distillation.
        copy_classifier: whether the thin network, after imitation, begins distillation with the
            teacher's classifier, where shapes agree.
        baselines: whether to train the thin network also alone and, if it is to imitate, by
            distillation alone.
        teacher_stages: names of the layers or operations that end the teacher's stages; None for
            those named 'stage1.output' and so on.
        evaluate_every: epochs between evaluations on the validation split.
        targets: wherever labels are trained on.
    """

    resolution: int
    teacher: Course
    imitation: Course
    distillation: Course
    finetuning: Course
    alone: Course
    distilled_learning_rate: float | None = None
    seeds: Sequence[int] = (0,)
    joint: bool = False
    imitation_loss: str = 'mse'
    temperature: float = 1.0
    copy_classifier: bool = True
    baselines: bool = False
    teacher_stages: Sequence[str] | None = None
    evaluate_every: float = 1.0
    targets: Targets = Targets()


@dataclasses.dataclass(frozen=True)
class Row:
    """One network at the end of its training.

    Attributes:
        arm: 'teacher', 'student', 'alone', 'alone_as_long' or 'distilled'.
        seed: of the network.
        phases: names of the phases that made it.
        epochs: of all of them together.
        minutes: of all of them together; for a student without the teacher's.
        evaluation: Evaluation on the test split.
    """

    arm: str
    seed: int
    phases: list[str]
    epochs: float
    minutes: float
    evaluation: Evaluation


@dataclasses.dataclass(frozen=True)
class Imitated:
    """The imitation of one stage: mean loss on the validation split, before and after."""

    seed: int
    stage: int
    before: float
    after: float


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What the recipe found.

    Attributes:
        rows: list of Row.
        imitated: list of Imitated.
        copied_classifier: whether the students began distillation with the teacher's classifier.
        deployed: the phase whose network is the run's: of the students' last phases, the one that
            does best on validation.
    """

    rows: list[Row]
    imitated: list[Imitated]
    copied_classifier: bool
    deployed: str


def go_wide_then_narrow(
    trainer,
    teacher: keras.Model,
    build_student: Callable[[int], keras.Model],
    inputs: Inputs,
    plan: Plan,
):
    """Runs the recipe; every phase of it goes on from where it was left.

    Args:
        trainer: training.Trainer.
        teacher: the wide network with its initial (or pre-trained) weights.
        build_student: makes the thin network of a seed, the same each time.
        inputs: Inputs; the teacher's seed is theirs.
        plan: Plan.

    Returns:
        Outcome.
    """
    recipe = _Recipe(trainer, inputs, plan, teacher)
    recipe.teach()
    for seed in plan.seeds:
        recipe.narrow(build_student(seed), seed)
        if plan.baselines:
            recipe.train_alone(build_student(seed), seed)
            if plan.imitation.epochs:  # else the student is just that
                recipe.distill_alone(build_student(seed), seed)
            recipe.train_alone_as_long(build_student(seed), seed)
    return Outcome(recipe.rows, recipe.imitated, recipe.copied_classifier, recipe.deployed())


def check(teacher, student, plan):
    """Refuses a teacher and a student that do not fit, before anything is trained.

    Args:
        teacher: keras.Model.
        student: keras.Model.
        plan: Plan.

    Raises:
        InputError: if their classes or stages do not correspond, a bridge between them could not be
            merged away, or a baseline is no longer than its warm-up.
    """
    classes = [network.output.shape[-1] for network in (teacher, student)]
    if classes[0] != classes[1]:
        raise InputError(
            f'the teacher {teacher.name} knows {classes[0]} classes, its student {classes[1]}; '
            'expected as many'
        )
    ends = _ends(teacher, plan)
    _check_warmups(plan, len(ends))
    if not ends:
        return
    bridged = stages.bridged(student, _widths(teacher, ends))
    pixels = (1, plan.resolution, plan.resolution, 3)
    for output, end in zip(bridged.outputs, ends, strict=False):
        thin, wide = (
            keras.Model(network.input, tensor).compute_output_shape(pixels)[1:]
            for network, tensor in (
                (bridged, output),
                (teacher, stages.output(teacher, end)),
            )
        )
        if thin != wide:
            raise InputError(
                f'{end}: of the teacher {teacher.name} it is {wide} (height, width, channels) at '
                f'{plan.resolution} px, of its student {thin}; expected stages of equal sizes'
            )


def dry_run(trainer, plan, inputs, teacher, student):
    """The phases that the recipe would run, in order; those of equal time are left out.

    Args:
        trainer: training.Trainer.
        plan: Plan.
        inputs: Inputs.
        teacher: keras.Model.
        student: keras.Model.

    Returns:
        List of Phase.
    """
    recipe = _Recipe(trainer, inputs, plan, teacher)
    phases = [recipe.teaching()]
    for seed in plan.seeds:
        phases += recipe.imitating(student, recipe.bridged(student), seed)
        phases += recipe.tuning(student, seed)
        if plan.baselines:
            phases.append(recipe.alone(student, seed, 'alone', recipe.student_epochs))
            if plan.imitation.epochs:
                phases += recipe.tuning_alone(student, seed)
    return phases


def _check_warmups(plan, stage_count):
    """Refuses baselines that would end in their warm-up, where they are trained."""
    alone = _student_epochs(plan, stage_count)
    baselines = {
        'alone': (plan.alone, alone),
        'distillation': (plan.distillation, alone - plan.finetuning.epochs),
    }
    for name, (course, epochs) in baselines.items() if plan.baselines else ():
        if 0 < epochs <= course.schedule.warmup:
            raise InputError(
                f'--{name}_warmup_epochs={course.schedule.warmup:g}: expected less than the '
                f'{epochs:g} epochs that a baseline is trained so, as many as the student in all'
            )


def _ends(teacher, plan):
    """Names of the layers that end the teacher's stages; none where nothing is imitated."""
    if not plan.imitation.epochs:
        return ()
    try:
        return plan.teacher_stages or stages.names(teacher)
    except InputError as error:
        raise InputError(f'{error}; name those that do by --teacher_stages') from None


def _student_epochs(plan, stage_count):
    """Of all the student's phases together."""
    imitation = plan.imitation.epochs * stage_count
    return imitation + plan.distillation.epochs + plan.finetuning.epochs


def _widths(teacher, ends):
    return [stages.output(teacher, end).shape[-1] for end in ends]


class _Recipe:
    """The recipe's phases, and what is kept of them."""

    def __init__(self, trainer, inputs, plan, teacher):
        self._trainer, self._inputs, self._plan = trainer, inputs, plan
        self._teacher, self._ends = teacher, _ends(teacher, plan)
        self.rows = []
        self.imitated = []
        self.copied_classifier = False

    # ------------------------------------------------------------------------- what is trained

    def teach(self):
        """The wide network."""
        self._train('teacher', self._inputs.seed, self._teacher, [self.teaching()])

    def narrow(self, student, seed):
        """The thin network: imitation from the bottom to the top, distillation, fine-tuning."""
        bridged = self.bridged(student)
        phases = self.imitating(student, bridged, seed)
        for stage, phase in enumerate(phases, 1):
            self._trainer.run(phase)
            self._note_imitation(phase, seed, stage)
        if phases:
            stages.merge_bridges(bridged, student)
            if self._plan.copy_classifier:
                self.copied_classifier = stages.copy_classifier(
                    self._teacher, bridged, student, self._ends[-1]
                )
        self._train('student', seed, student, self.tuning(student, seed), before=phases)

    def train_alone(self, network, seed):
        """The thin network on labels, for as many epochs."""
        phase = self.alone(network, seed, 'alone', self.student_epochs)
        self._train('alone', seed, network, [phase])

    def distill_alone(self, network, seed):
        """What the student gets but for imitation, whose epochs are of distillation instead."""
        self._train('distilled', seed, network, self.tuning_alone(network, seed))

    def train_alone_as_long(self, network, seed):
        """The thin network on labels, for as many minutes."""
        student, alone = (self._row(arm, seed) for arm in ('student', 'alone'))
        # A function of what is saved, so that a run that goes on takes the same.
        ratio = student.minutes / alone.minutes
        phase = self.alone(network, seed, 'alone_as_long', round(alone.epochs * ratio, 2), ratio)
        self._train('alone_as_long', seed, network, [phase])

    def deployed(self):
        """The student's last phase that does best on validation."""
        last = [row.phases[-1] for row in self.rows if row.arm == 'student']
        return max(last, key=lambda name: self._trainer.result(name).validation.top1)

    # ------------------------------------------------------------------------------- its phases

    def teaching(self):
        """Training of the teacher (or nothing at all, for one that comes trained)."""
        objective = self._classification(self._teacher)
        return self._phase('teacher', self._inputs.seed, objective, self._plan.teacher)

    def imitating(self, student, bridged, seed):
        """The imitation of each stage; none, if that is to be left out."""
        phases = []
        for stage, end in enumerate(self._ends, 1):
            objective = Imitation(
                bridged,
                self._teacher,
                keras.Model(bridged.input, bridged.outputs[stage - 1]),
                keras.Model(self._teacher.input, stages.output(self._teacher, end)),
                self._plan.imitation_loss,
            )
            lowest = 1 if self._plan.joint else stage
            moving = frozenset().union(
                *(stages.stage_layers(bridged, student, s) for s in range(lowest, stage + 1))
            )
            phase = self._phase(
                f'imitate{stage}.seed{seed}',
                seed,
                objective,
                self._plan.imitation,
                {'student': Treatment(moving, 'trained'), 'teacher': FROZEN},
                start_from=phases[-1].name if phases else None,
                evaluate_first=True,
            )
            phases.append(phase)
        return phases

    def tuning(self, student, seed):
        """What follows imitation: distillation and, if asked for, training on labels."""
        return self._tuning(student, seed, ('distill', 'finetune'), self._plan.distillation)

    def tuning_alone(self, network, seed):
        """The same without imitation, of as many epochs as with it."""
        plan = self._plan
        schedule = plan.distillation.schedule
        if plan.distilled_learning_rate is not None:
            schedule = dataclasses.replace(schedule, base=plan.distilled_learning_rate)
        epochs = self.student_epochs - plan.finetuning.epochs
        course = dataclasses.replace(plan.distillation, epochs=epochs, schedule=schedule)
        return self._tuning(network, seed, ('distilled', 'finetune_distilled'), course)

    def _tuning(self, network, seed, names, distilling):
        plan = self._plan
        distillation, finetuning = (f'{name}.seed{seed}' for name in names)
        objective = Distillation(network, self._teacher, plan.temperature)
        phases = [self._phase(distillation, seed, objective, distilling, {'teacher': FROZEN})]
        if plan.finetuning.epochs:
            objective, course = self._classification(network), plan.finetuning
            phases.append(self._phase(finetuning, seed, objective, course, start_from=distillation))
        return phases

    def alone(self, network, seed, name, epochs, ratio=1.0):
        """Training on labels; of so many times the student's epochs, the warm-up too."""
        objective = self._classification(network)
        course = self._plan.alone
        schedule = dataclasses.replace(course.schedule, warmup=ratio * course.schedule.warmup)
        course = dataclasses.replace(course, epochs=epochs, schedule=schedule)
        return self._phase(f'{name}.seed{seed}', seed, objective, course)

    def _classification(self, network):
        return Classification(network, self._plan.targets)

    def _phase(self, name, seed, objective, course, treatment=None, **options):
        plan, inputs = self._plan, dataclasses.replace(self._inputs, seed=seed)
        return Phase(
            name,
            objective,
            inputs.training(plan.resolution, name),
            course.epochs,
            course.optimizer,
            course.schedule,
            treatment or {},
            validation=inputs.evaluation('validation', plan.resolution),
            evaluate_every=plan.evaluate_every,
            **options,
        )

    # ------------------------------------------------------------------------------- the networks

    @property
    def student_epochs(self):
        """Of all the student's phases together."""
        return _student_epochs(self._plan, len(self._ends))

    def bridged(self, student):
        """The student with bridges to the teacher's widths; as it is, if nothing is imitated."""
        if not self._ends:
            return student
        with self._trainer.strategy.scope():
            return stages.bridged(student, _widths(self._teacher, self._ends))

    # ------------------------------------------------------------------------------- the results

    def _train(self, arm, seed, network, phases, before=()):
        """Runs the last phases of a network, and scores what comes out."""
        for phase in phases:
            self._trainer.run(phase)
        names = [phase.name for phase in (*before, *phases)]
        results = [self._trainer.result(name) for name in names]
        tests = self._inputs.evaluation('test', self._plan.resolution)
        evaluation = self._trainer.evaluate(names[-1], Classification(network), tests)
        row = Row(
            arm,
            seed,
            names,
            sum(result.epochs for result in results),
            sum(result.minutes for result in results),
            evaluation,
        )
        self.rows.append(row)
        logging.info(
            '%s, seed %d: %s on the test split, %.1f epochs, %.1f minutes',
            arm,
            seed,
            evaluation,
            row.epochs,
            row.minutes,
        )

    def _note_imitation(self, phase, seed, stage):
        losses = [
            line['loss']
            for line in read_metrics(self._trainer.run_dir)
            if (line['phase'], line['split']) == (phase.name, 'validation')
        ]
        self.imitated.append(Imitated(seed, stage, losses[0], losses[-1]))
        logging.info('imitation of stage %d: loss %.4g, was %.4g', stage, losses[-1], losses[0])

    def _row(self, arm, seed):
        return next(row for row in self.rows if (row.arm, row.seed) == (arm, seed))
