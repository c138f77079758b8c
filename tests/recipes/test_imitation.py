"""Go Wide, Then Narrow: what moves in each phase and what does not, resuming, what is compared."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfnets.data import sources
from tfnets.errors import InputError
from tfnets.models import stages
from tfnets.models.keras_applications import keras_application
from tfnets.models.mbconv import hand_made
from tfnets.models.preact_resnet import preact_resnet
from tfnets.models.resnet import cifar_resnet, resnet
from tfnets.recipes import imitation
from tfnets.recipes.inputs import Inputs
from tfnets.training.checkpoints import load_model
from tfnets.training.optimizers import Optimizer
from tfnets.training.phase import Course
from tfnets.training.schedules import Cosine
from tfnets.training.trainer import Trainer

TUNING = ('distill.seed3', 'finetune.seed3')
IMITATIONS = tuple(f'imitate{stage}.seed3' for stage in (1, 2, 3))


def course(epochs, weight_decay=0.0):
    return Course(epochs, Optimizer('sgd', weight_decay=weight_decay), Cosine(0.05))


def plan(**changes):
    settings = {
        'resolution': 16,
        'teacher': course(1),
        'imitation': course(1),
        'distillation': course(1),
        'finetuning': course(1),
        'alone': course(0),
        'seeds': (3,),
        **changes,
    }
    return imitation.Plan(**settings)


@pytest.fixture(scope='module')
def inputs():
    test = sources.load('sample', 'test')
    few = [test.take(np.arange(start, start + 48)) for start in (0, 48, 96)]
    line = 'resize_short_side(resolution * 72 / 64) | center_crop(resolution)'
    return Inputs(*few, f'{line} | flip_lr', line, 16, 0)


def build_teacher():
    keras.utils.set_random_seed(0)
    return cifar_resnet(11, 0.5, 14, block_width='all')


def build_student(seed):
    keras.utils.set_random_seed(seed)
    return cifar_resnet(11, 0.25, 14, block_width='all')


class Watching(Trainer):
    """A Trainer that keeps what every network was before and after each phase."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.seen = {}

    def run(self, phase):
        before = self._values(phase)
        result = super().run(phase)
        self.seen[phase.name] = (before, self._values(phase))
        return result

    def _values(self, phase):
        return {
            name: {v.path: v.numpy() for v in module.variables}
            for name, module in phase.objective.modules.items()
        }

    def changed(self, phase, module):
        before, after = (values[module] for values in self.seen[phase])
        return {path for path, value in before.items() if not np.array_equal(value, after[path])}


def go(folder, inputs, settings, watching=Watching, strategy=None, **options):
    trainer = watching(folder, strategy or tf.distribute.get_strategy(), **options)
    teacher = build_teacher()
    outcome = imitation.go_wide_then_narrow(trainer, teacher, build_student, inputs, settings)
    return trainer, outcome


@pytest.fixture(scope='module')
def whole(tmp_path_factory, inputs):
    """The recipe from end to end, undisturbed."""
    return go(tmp_path_factory.mktemp('whole'), inputs, plan())


def test_the_teacher_is_bit_equal_after_every_phase_but_its_own(whole):
    trainer, _ = whole
    assert trainer.changed('teacher', 'network')
    taught = [name for name, (before, _) in trainer.seen.items() if 'teacher' in before]
    assert set(taught) == {*IMITATIONS, 'distill.seed3'}
    trained = list(trainer.seen['teacher'][1]['network'].values())
    for name in taught:
        assert not trainer.changed(name, 'teacher')
        for one, other in zip(trainer.seen[name][1]['teacher'].values(), trained, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize('stage', [1, 2, 3])
def test_only_the_stage_being_imitated_moves(whole, stage):
    trainer, _ = whole
    changed = {path.split('/')[-2] for path in trainer.changed(f'imitate{stage}.seed3', 'student')}
    stem = {'stem.conv', 'stem.norm'} if stage == 1 else set()
    unit = f'stage{stage}.unit1'
    own = {f'{unit}.{kind}{number}' for kind in ('conv', 'norm') for number in (1, 2, 3)}
    shortcut = {f'{unit}.shortcut.conv', f'{unit}.shortcut.norm'}
    bridges = {f'bridge{stage}.widen'} | ({f'bridge{stage - 1}.narrow'} if stage > 1 else set())
    assert changed == stem | own | shortcut | bridges


def test_statistics_move_in_the_imitated_stage_alone(whole):
    trainer, _ = whole
    moved = {p for p in trainer.changed('imitate2.seed3', 'student') if 'moving' in p}
    assert moved and all('stage2.unit1' in path for path in moved)
    assert {p for p in trainer.changed('distill.seed3', 'network') if 'stage3.unit1.norm3/mov' in p}


def test_jointly_the_stages_below_move_too(inputs):
    settings, student = plan(joint=True), build_student(0)
    trainer = Trainer('.', tf.distribute.get_strategy())
    recipe = imitation._Recipe(trainer, inputs, settings, build_teacher())
    moving = recipe.imitating(student, recipe.bridged(student), 0)[1].treatment['student'].trained
    assert {name.split('.')[0] for name in moving} == {'stem', 'stage1', 'stage2'} | {
        'bridge1',
        'bridge2',
    }
    assert {'bridge1.widen', 'bridge1.narrow', 'bridge2.widen'} <= moving
    assert 'bridge2.narrow' not in moving


def test_distillation_begins_with_what_the_bridges_were_merged_into(whole, inputs):
    trainer, _ = whole
    teacher, student = build_teacher(), build_student(3)
    for layer, weights in ((teacher, 'teacher'), (student, 'distill.seed3')):
        values = trainer.seen[weights][0 if layer is student else 1]['network']
        for variable, value in zip(layer.variables, values.values(), strict=True):
            variable.assign(value)
    bridged = load_model(trainer.folder('imitate3.seed3') / 'student.keras')
    pixels = np.random.default_rng(0).integers(0, 256, (4, 17, 15, 3), np.uint8)
    *_, widened, _ = bridged(pixels)
    # The classifier is the teacher's, behind the last widening.
    expected = teacher.layers[-1](tf.reduce_mean(widened, (1, 2)))
    np.testing.assert_allclose(student(pixels), expected, atol=1e-5 * np.abs(expected).max())


def test_a_classifier_of_another_width_is_left_alone():
    teacher, student = cifar_resnet(11, 0.5, 14), cifar_resnet(11, 0.25, 14, block_width='all')
    before = student.layers[-1].kernel.numpy()
    assert not stages.copy_classifier(teacher, student, student, 'stage3.output')
    np.testing.assert_array_equal(student.layers[-1].kernel, before)
    equal = cifar_resnet(11, 0.25, 14)
    assert stages.copy_classifier(teacher, equal, equal, 'stage3.output')


def test_a_classifier_behind_a_batch_norm_is_left_alone():
    # No stage has that batch norm, so that nobody has imitated what the classifier reads.
    teacher, student = (preact_resnet('16x1,32x1', 14, stem='cifar') for _ in range(2))
    before = student.layers[-1].kernel.numpy()
    assert not stages.copy_classifier(teacher, student, student, 'stage2.output')
    np.testing.assert_array_equal(student.layers[-1].kernel, before)


@pytest.mark.slow
def test_what_has_no_stages_is_distilled_without_imitation(tmp_path, inputs):
    networks = [hand_made('c', 14) for _ in range(2)]
    nothing = {'imitation': course(0), 'teacher': course(0), 'finetuning': course(0)}
    settings = plan(**nothing, baselines=True)
    imitation.check(*networks, settings)
    trainer = Trainer(tmp_path, tf.distribute.get_strategy())
    outcome = imitation.go_wide_then_narrow(
        trainer, networks[0], lambda seed: networks[1], inputs, settings
    )
    # What is distilled without imitation is the student itself.
    assert [row.arm for row in outcome.rows] == ['teacher', 'student', 'alone', 'alone_as_long']
    assert [row.epochs for row in outcome.rows[:3]] == [0, 1, 1]
    assert not outcome.imitated and not outcome.copied_classifier


# Three epochs of imitation, four of distillation, one of fine-tuning, which is on labels.
@pytest.mark.parametrize(('baseline', 'epochs'), [('alone', 8), ('distillation', 7)])
def test_a_baseline_that_would_end_in_its_warmup_is_refused(baseline, epochs):
    def check(warmup, baselines):
        warm = dataclasses.replace(course(4), schedule=Cosine(0.05, warmup=warmup))
        changes = {'distillation': course(4), 'baselines': baselines, baseline: warm}
        imitation.check(build_teacher(), build_student(0), plan(**changes))

    check(warmup=epochs, baselines=False)
    check(warmup=epochs - 1, baselines=True)
    with pytest.raises(
        InputError, match=f'--{baseline}_warmup_epochs={epochs}: .* {epochs} epochs'
    ):
        check(warmup=epochs, baselines=True)


def test_the_distilled_baseline_may_have_a_learning_rate_of_its_own(inputs):
    for own, expected in ((None, 0.05), (0.2, 0.2)):
        settings = plan(distilled_learning_rate=own, baselines=True)
        recipe = imitation._Recipe(
            Trainer('.', tf.distribute.get_strategy()), inputs, settings, build_teacher()
        )
        student, alone = (
            phases(build_student(0), 0) for phases in (recipe.tuning, recipe.tuning_alone)
        )
        assert [phase.schedule.base for phase in student] == [0.05, 0.05]
        assert [phase.schedule.base for phase in alone] == [expected, 0.05]
        assert [phase.epochs for phase in alone] == [4, 1]


def test_a_student_that_is_its_teacher_has_nothing_to_imitate(inputs):
    teacher, student = build_teacher(), build_teacher()
    student.set_weights(teacher.get_weights())
    recipe = imitation._Recipe(Trainer('.', tf.distribute.get_strategy()), inputs, plan(), teacher)
    for phase in recipe.imitating(student, recipe.bridged(student), 0):
        batch = {'image': np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), np.uint8)}
        losses, metrics = phase.objective(batch, training=False)
        np.testing.assert_array_equal(losses, [0, 0])
        assert not metrics


def test_the_losses_before_and_after_are_those_of_the_stages(whole, inputs):
    trainer, outcome = whole
    assert [(i.seed, i.stage) for i in outcome.imitated] == [(3, 1), (3, 2), (3, 3)]
    teacher, student = build_teacher(), build_student(3)
    teacher.set_weights(list(trainer.seen['teacher'][1]['network'].values()))
    recipe = imitation._Recipe(trainer, inputs, plan(), teacher)
    first = recipe.imitating(student, recipe.bridged(student), 3)[0]
    before = trainer.seen[first.name][0]['student']
    for variable, value in zip(
        first.objective.modules['student'].variables, before.values(), strict=True
    ):
        variable.assign(value)
    loss = trainer.score(first.objective, inputs.evaluation('validation', 16)).loss
    assert loss == pytest.approx(outcome.imitated[0].before, rel=1e-4)
    assert outcome.imitated[0].after != outcome.imitated[0].before


def test_the_thin_network_that_comes_out_is_the_plain_one(whole):
    trainer, outcome = whole
    assert outcome.deployed == 'finetune.seed3'
    deployed, plain = (
        load_model(trainer.folder(outcome.deployed) / 'network.keras'),
        build_student(0),
    )
    assert [layer.name for layer in deployed.layers] == [layer.name for layer in plain.layers]
    assert [v.shape for v in deployed.variables] == [v.shape for v in plain.variables]


class Killed(BaseException):
    pass


class Mortal(Trainer):
    """A Trainer that is killed at the second call of the phase of its name."""

    victim = None

    def _advance(self, phase, state, iterator):
        if phase.name == self.victim and state.step > 0:
            raise Killed
        return super()._advance(phase, state, iterator)


@pytest.mark.parametrize(
    'victims',
    [
        ('imitate2.seed3', 'distill.seed3'),
        pytest.param(('teacher', *IMITATIONS, *TUNING), marks=pytest.mark.slow),
    ],
)
def test_killed_in_the_middle_of_a_phase_it_ends_the_same(tmp_path, inputs, whole, victims):
    undisturbed, expected = whole
    for victim in victims:
        Mortal.victim = victim
        with pytest.raises(Killed):
            go(tmp_path, inputs, plan(), Mortal, steps_per_call=2, checkpoint_minutes=0)
    Mortal.victim = None
    trainer, outcome = go(tmp_path, inputs, plan(), Mortal, steps_per_call=2)
    assert outcome.imitated == expected.imitated
    assert [r.evaluation for r in outcome.rows] == [r.evaluation for r in expected.rows]
    for name in TUNING:
        one, other = (
            load_model(t.folder(name) / 'network.keras').get_weights()
            for t in (trainer, undisturbed)
        )
        for value, wanted in zip(one, other, strict=True):
            np.testing.assert_array_equal(value, wanted)


def test_another_teacher_in_the_middle_is_refused(tmp_path, inputs):
    settings = plan(teacher=course(0), finetuning=course(0))
    Mortal.victim = 'imitate2.seed3'
    with pytest.raises(Killed):
        go(tmp_path, inputs, settings, Mortal, steps_per_call=2, checkpoint_minutes=0)
    Mortal.victim = None
    file = tmp_path / 'phases' / 'imitate2.seed3' / 'frozen.json'
    file.write_text(file.read_text().replace('": "', '": "0'))
    with pytest.raises(InputError, match='the teacher is not the one that this phase began with'):
        go(tmp_path, inputs, settings, Mortal)


@pytest.mark.slow
def test_the_baselines_get_as_many_epochs_and_as_many_minutes(tmp_path, inputs):
    _, outcome = go(tmp_path, inputs, plan(baselines=True, seeds=(3, 4)), Trainer)
    rows = {(row.arm, row.seed): row for row in outcome.rows}
    arms = ('student', 'alone', 'distilled', 'alone_as_long')
    assert set(rows) == {('teacher', 0), *((arm, seed) for arm in arms for seed in (3, 4))}
    for seed in (3, 4):
        student, alone, distilled, as_long = (rows[arm, seed] for arm in arms)
        assert student.epochs == alone.epochs == distilled.epochs == 5
        assert distilled.phases == [f'distilled.seed{seed}', f'finetune_distilled.seed{seed}']
        as_many = alone.epochs * student.minutes / alone.minutes
        # In whole steps, of which an epoch has three, of a number of two digits.
        assert -0.01 < as_long.epochs - as_many < 1 / 3 + 0.01
        assert student.minutes == pytest.approx(
            sum(Trainer(tmp_path, None).result(name).minutes for name in student.phases)
        )
    again = go(tmp_path, inputs, plan(baselines=True, seeds=(3, 4)), Trainer)[1]
    assert again == outcome


@pytest.mark.slow
def test_it_runs_on_two_devices(tmp_path, inputs, two_devices):
    def scoped(build):
        def build_in_scope(*seed):
            with two_devices.scope():
                return build(*seed)

        return build_in_scope

    trainer = Trainer(tmp_path, two_devices)
    outcome = imitation.go_wide_then_narrow(
        trainer,
        scoped(build_teacher)(),
        scoped(build_student),
        inputs,
        plan(finetuning=course(0)),
    )
    assert outcome.deployed == 'distill.seed3'
    assert all(after.after != after.before for after in outcome.imitated)


@pytest.mark.parametrize(
    ('teacher', 'student', 'changes', 'reason'),
    [
        (
            lambda: preact_resnet('32x1,64x1', 14, stem='cifar'),
            lambda: preact_resnet('16x1,32x1', 14, stem='cifar'),
            {},
            'a transform behind stage1.output cannot be merged exactly, for stage2.unit1.norm1',
        ),
        (
            lambda: resnet(14, 0.25, 14, stem='cifar'),
            lambda: resnet(14, 0.25, 14, stem='cifar_pool'),
            {},
            r'stage1.output: of the teacher resnet14 it is \(16, 16, 256\).*student \(8, 8, 256\)',
        ),
        (
            lambda: cifar_resnet(11, 1, 13),
            lambda: cifar_resnet(11, 1, 14),
            {},
            'the teacher cifar_resnet11 knows 13 classes, its student 14',
        ),
        (
            lambda: cifar_resnet(11, 1, 14),
            lambda: cifar_resnet(11, 1, 14),
            {'teacher_stages': ('stage1.output', 'stage2.outputs')},
            'no layer or operation stage2.outputs; there are stage2.output',
        ),
        (
            lambda: cifar_resnet(11, 1, 14),
            lambda: resnet(14, 0.25, 14, stem='cifar'),
            {},
            'has 4 stages, its teacher 3',
        ),
        (
            lambda: hand_made('c', 14),
            lambda: cifar_resnet(11, 1, 14),
            {},
            'no layers named stage1.output.* that end its stages; name those .* --teacher_stages',
        ),
    ],
)
def test_a_pair_that_does_not_fit_is_refused_before_training(teacher, student, changes, reason):
    with pytest.raises(InputError, match=reason):
        imitation.check(teacher(), student(), plan(**changes))


def test_a_teacher_of_keras_applications_is_cut_where_it_is_told():
    ends = tuple(f'conv{n}_block{units}_out' for n, units in ((2, 3), (3, 4), (4, 6), (5, 3)))
    settings = plan(resolution=64, teacher_stages=ends)
    imitation.check(
        keras_application('ResNet50', 5), resnet(14, 0.5, 5, block_width='all'), settings
    )
