"""The method of FixRes: the size gap, its test resolution, what is tuned, what is compared."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfnets.data import lengths, sources
from tfnets.data.presets import PRESETS
from tfnets.errors import InputError
from tfnets.models import mbconv, roles
from tfnets.recipes import apparent_size, fixres
from tfnets.recipes.inputs import Inputs
from tfnets.training.optimizers import Optimizer
from tfnets.training.phase import Course, Treatment
from tfnets.training.schedules import Constant
from tfnets.training.trainer import Trainer

EVAL = 'resize_short_side(resolution * 72 / 64) | center_crop(resolution)'


def plan(**changes):
    settings = {
        'resolution': 32,
        'training': Course(1, Optimizer('adam'), Constant(1e-3)),
        'finetuning': Course(1, Optimizer(), Constant(1e-2)),
        **changes,
    }
    return fixres.Plan(**settings)


def inputs(*sources):
    return Inputs(*sources, 'decode_area_crop(resolution, 0.2, 0.7) | flip_lr', EVAL, 16, 0)


@pytest.fixture(scope='module')
def data():
    test = sources.load('sample', 'test')
    few = [test.take(np.arange(start, start + 40)) for start in (0, 40, 80)]
    return inputs(*few)


def build():
    keras.utils.set_random_seed(0)
    return mbconv.hand_made('c', 14)


def test_the_papers_example_of_the_apparent_size_ratio():
    """Crops of E[sigma] = 0.70 at 224, test at 256 / 224: 0.80, so objects 1.25 times larger."""
    ratio = apparent_size.apparent_size_ratio(0.70, 256, 224)
    assert ratio == pytest.approx(0.80)
    assert 1 / ratio == pytest.approx(1.25)


def test_resolutions_of_phi_four_read_as_an_area():
    """AdamStein97: 146 px training, 165 px short side, sigma 0.444 -> 293 px."""
    ratio = apparent_size.apparent_size_ratio(0.444, 165, 146)
    assert 1 / ratio == pytest.approx(1.993, abs=5e-4)
    assert apparent_size.matching_resolution(ratio, 165, 146) == 293


def test_resolution_read_as_a_length():
    """E[sqrt(area)] = 0.662 for areas of 0.2 to 0.7: r = 0.744, the test 1.34 times as large."""
    ratio = apparent_size.apparent_size_ratio(0.662, 72, 64)
    assert ratio == pytest.approx(0.744, abs=1e-3)
    assert apparent_size.matching_resolution(ratio, 72, 64) / 64 == pytest.approx(1.34, abs=0.02)


def test_a_crop_is_cut_as_tensorflow_cuts_it():
    for enlarged, fraction in ((329, 146 / 165), (144, 64 / 72), (97, 0.5), (100, 1.0)):
        image = tf.zeros([enlarged, enlarged, 1])
        expected = tf.image.central_crop(image, fraction).shape[0]
        assert apparent_size.matching_resolution(1.0, enlarged, enlarged * fraction) == expected


def test_sigma_is_measured_by_running_the_crops(data):
    square = inputs(sources.load('sample', 'validation'), data.validation, data.test)
    gap = fixres._Recipe(None, square, plan()).measure_gap()
    assert gap.sigma['area'] == pytest.approx(0.45, abs=0.06)  # the mean of 57 draws of U(.2, .7)
    assert gap.sigma['length'] == pytest.approx(0.662, abs=0.05)
    assert gap.ratio['length'] == pytest.approx(gap.sigma['length'] * 36 / 32)


def test_geometry_of_the_test():
    assert lengths.of_test(EVAL, 64) == (72, 64)
    assert lengths.of_test('resize(resolution)', 64) == (64, 64)
    for resolution in range(8, 64):  # small lengths are rounded, too
        image, crop = lengths.of_test(PRESETS['imagenet_eval'], resolution)
        assert (image, crop) == (round(resolution * 256 / 224), resolution)
    for line in (
        'center_crop(resolution)',
        'resize_short_side(256) | center_crop(224) | resize(resolution)',
    ):
        with pytest.raises(InputError, match='expected one resize_short_side'):
            lengths.of_test(line, 64)
    for resolution in (24, 64):
        with pytest.raises(InputError, match='write both as parts of `resolution`'):
            lengths.of_test('resize_short_side(72) | center_crop(resolution)', resolution)


def test_what_is_tuned():
    network = build()
    assert fixres.treatment('all', network) == Treatment('all', 'training')
    variables = fixres.treatment('classifier_and_last_bn', network).apply(network)
    assert [v.path for v in variables] == ['classifier/kernel', 'classifier/bias']
    moving = [layer.name for layer in roles.batch_norms(network) if not layer.inference_mode]
    assert moving == ['head.norm']


def test_equal_compute():
    assert (
        fixres.equal_compute_epochs(
            plan(training=Course(40, None, None), finetuning=Course(8, None, None)), 64
        )
        == 18
    )


def test_the_whole_recipe(tmp_path, data):
    settings = plan(
        tunes=('classifier_and_last_bn', 'all'),
        high_resolution=True,
        resolutions=(40,),
        test_resolution='sigma',
    )
    trainer = Trainer(tmp_path, tf.distribute.get_strategy())
    outcome = fixres.fixres(trainer, build, data, settings)
    assert outcome.chosen == outcome.gap.resolution['length']
    pixels = {32, 40, outcome.gap.resolution['length']}
    phases = {
        'train',
        'finetune_classifier_and_last_bn',
        'control_classifier_and_last_bn',
        'finetune_all',
        'control_all',
        'high_resolution',
    }
    tested = {(r.phase, r.resolution) for r in outcome.rows if r.split == 'test'}
    assert tested == {(phase, size) for phase in phases for size in pixels}
    assert {r.phase for r in outcome.rows if r.split == 'validation'} == {'train'}
    best = max(
        (r for r in outcome.rows if r.split == 'validation'), key=lambda r: r.evaluation.top1
    )
    assert outcome.best_untuned == best.resolution

    again = fixres.fixres(trainer, build, data, settings)
    assert again == outcome


def test_tuning_the_head_changes_head_and_last_statistics_only(tmp_path, data):
    trainer = Trainer(tmp_path, tf.distribute.get_strategy())
    settings = plan(control=False)
    fixres.fixres(trainer, build, data, settings)
    from tfnets.training.checkpoints import load_model

    before, after = (
        load_model(tmp_path / 'phases' / name / 'network.keras')
        for name in ('train', 'finetune_classifier_and_last_bn')
    )
    changed = {
        new.path
        for old, new in zip(before.variables, after.variables, strict=True)
        if not np.array_equal(old, new)
    }
    assert changed == {
        'classifier/kernel',
        'classifier/bias',
        'head.norm/moving_mean',
        'head.norm/moving_variance',
    }
