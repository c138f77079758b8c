"""Learning rates and weight decay against formulas and numpy."""

import math

import numpy as np
import pulled_weights
import pytest

from tfnets.models import mbconv
from tfnets.training.optimizers import Optimizer
from tfnets.training.schedules import (
    Constant,
    Cosine,
    CosinePerEpoch,
    InSteps,
    Plateau,
    Steps,
    Wave,
)

START = np.array([1.0, -2.0, 3.0])
PULLS = np.array([[0.1, 0.2, -0.3], [0.0, 0.5, 0.5], [-1.0, 0.0, 0.1]])


def rates(schedule, steps_per_epoch, steps, at):
    function = InSteps(schedule, steps_per_epoch, steps)
    return [float(function(step)) for step in at]


def test_cosine_with_warmup():
    found = rates(Cosine(0.4, warmup=2), 10, 100, [0, 10, 20, 60, 99, 100])
    end = 0.2 * (1 + math.cos(math.pi * (9.9 - 2) / 8))
    np.testing.assert_allclose(found, [0, 0.2, 0.4, 0.2, end, 0], rtol=1e-5, atol=1e-9)


def test_steps_drop_exactly_at_whole_epochs_even_if_epochs_are_broken():
    per_epoch = 1281167 / 512
    first = math.ceil(30 * per_epoch)
    found = rates(Steps(0.008), per_epoch, 10**6, [0, first - 1, first, 2 * first])
    np.testing.assert_allclose(found, [0.008, 0.008, 0.0008, 0.00008], rtol=1e-5)
    assert rates(Steps(1.0, 0.5, every=3), 1 / 3, 10, [0, 1, 2]) == [1.0, 0.5, 0.25]


def test_constant():
    assert rates(Constant(0.1), 7.3, 10, [0, 9]) == pytest.approx([0.1, 0.1])


@pytest.mark.parametrize(
    ('schedule', 'later'),
    [
        (Constant(0.4, warmup=4), [0.4, 0.4, 0.4]),
        (Steps(0.4, 0.5, 3, warmup=4), [0.2, 0.2, 0.1]),
        (Wave(0.4, 0.0, 2, warmup=4), [0.4, 0.2, 0.0]),
        (Plateau(0.4, warmup=4), [0.4, 0.4, 0.4]),
    ],
)
def test_any_schedule_may_be_warmed_up_and_is_then_where_it_would_be(schedule, later):
    found = rates(schedule, 10, 100, [0, 1, 20, 39, 40, 50, 60])
    np.testing.assert_allclose(found, [0, 0.01, 0.2, 0.39, *later], rtol=1e-6, atol=1e-9)


def test_cosine_per_epoch_is_that_of_the_official_big_little_code():
    """Its lr of epoch e of 110 is 0.05 (1 + cos(pi e / 110)); the last one 2.04e-5."""
    per_epoch = 1281167 / 256
    steps = math.ceil(110 * per_epoch)
    first = [math.ceil(epoch * per_epoch) for epoch in range(110)]
    last = [*(step - 1 for step in first[1:]), steps - 1]
    expected = [0.05 * (1 + math.cos(math.pi * epoch / 110)) for epoch in range(110)]
    np.testing.assert_allclose(rates(CosinePerEpoch(0.1), per_epoch, steps, first), expected, 1e-5)
    np.testing.assert_allclose(rates(CosinePerEpoch(0.1), per_epoch, steps, last), expected, 1e-5)
    assert expected[-1] == pytest.approx(2.04e-5, rel=1e-3)


def test_cosine_per_epoch_spans_what_a_warm_up_leaves():
    found = rates(CosinePerEpoch(1.0, warmup=2), 10, 60, [0, 10, 19, 20, 29, 30, 59])
    stairs = [0.5 * (1 + math.cos(math.pi * epoch / 4)) for epoch in (0, 0, 1, 3)]
    np.testing.assert_allclose(found, [0, 0.5, 0.95, *stairs], rtol=1e-6)


def test_the_wave_is_torchs_cosine_annealing_past_its_end():
    """Epochs 0 to 10 of CosineAnnealingLR(T_max=5, eta_min=1e-5) from 1e-3, as torch gives them."""
    golden = [1e-3, 9.05e-4, 6.58e-4, 3.52e-4, 1.05e-4, 1e-5, 1.05e-4]
    golden += [3.52e-4, 6.58e-4, 9.05e-4, 1e-3]
    for place in (0, 190):  # the first step of an epoch, and the last
        at = [191 * epoch + place for epoch in range(11)]
        found = rates(Wave(1e-3, 1e-5, 5), 191, 20 * 191, at)
        assert [float(f'{rate:.3g}') for rate in found] == golden


def test_the_wave_may_go_lower_later():
    found = rates(Wave(1e-3, 1e-5, 5, later=(50, 1e-7)), 1, 100, [45, 49, 50, 51, 55, 60])
    before, after = (low + (1e-3 - low) * (1 + math.cos(math.pi / 5)) / 2 for low in (1e-5, 1e-7))
    np.testing.assert_allclose(found, [1e-5, before, 1e-3, after, 1e-7, 1e-3], rtol=1e-5)


DROPS = Steps(0.1, factor=0.1, every=1)


@pytest.mark.parametrize('nesterov', [False, True])
def test_sgd_with_l2_where_the_learning_rate_drops(nesterov):
    """PyTorch's SGD: v = m v + (g + wd w); w -= lr (g + wd w + m v) if nesterov, else lr v."""
    spec = Optimizer('sgd', 0.9, nesterov, weight_decay=0.1)
    found = pulled_weights.train(spec, START, PULLS, schedule=DROPS)[0][-1]
    weights, velocity = START.copy(), np.zeros(3)
    for step, pull in enumerate(PULLS):
        gradient = pull + 0.1 * weights
        velocity = 0.9 * velocity + gradient
        rate = 0.1 * 0.1**step
        weights = weights - rate * (gradient + 0.9 * velocity if nesterov else velocity)
    np.testing.assert_allclose(found, weights, rtol=1e-5)


@pytest.mark.parametrize('nesterov', [False, True])
def test_torch_does_the_same(nesterov):
    torch = pytest.importorskip('torch')
    spec = Optimizer('sgd', 0.9, nesterov, weight_decay=0.1)
    found, _ = pulled_weights.train(spec, START, PULLS, schedule=DROPS)
    weights = torch.tensor(START, requires_grad=True)
    optimizer = torch.optim.SGD([weights], 0.1, momentum=0.9, nesterov=nesterov, weight_decay=0.1)
    for step, pull in enumerate(PULLS):
        optimizer.param_groups[0]['lr'] = 0.1 * 0.1**step
        weights.grad = torch.tensor(pull)
        optimizer.step()
    np.testing.assert_allclose(found[-1], weights.detach().numpy(), rtol=1e-5)


def test_rmsprop_by_hand():
    """TensorFlow 1's: mean squares begin at 1, epsilon within the root, lr within the momentum."""
    found = pulled_weights.train(Optimizer('rmsprop', 0.9), START, PULLS)[0][-1]
    weights, square, velocity = START.copy(), np.ones(3), np.zeros(3)
    for pull in PULLS:
        square = 0.9 * square + 0.1 * pull**2
        velocity = 0.9 * velocity + 0.01 * pull / np.sqrt(square + 1e-3)
        weights = weights - velocity
    np.testing.assert_allclose(found, weights, rtol=1e-5)


def test_adam_with_l2_over_three_steps():
    spec = Optimizer('adam', weight_decay=0.1)
    found = pulled_weights.train(spec, START, PULLS)[0][-1]
    weights, first, second = START.copy(), np.zeros(3), np.zeros(3)
    for step, pull in enumerate(PULLS, 1):
        gradient = pull + 0.1 * weights
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        scaled = first / (1 - 0.9**step) / (np.sqrt(second / (1 - 0.999**step)) + 1e-7)
        weights = weights - 0.01 * scaled
    np.testing.assert_allclose(found, weights, rtol=1e-4)


@pytest.mark.parametrize(('roles', 'decay'), [(('kernel',), 0.1), (('bias',), 0.0)])
def test_adamw_decays_apart_from_the_moments_and_by_role(roles, decay):
    """w -= lr wd w; then Adam's update from the gradient alone (Loshchilov and Hutter)."""
    spec = Optimizer('adamw', weight_decay=0.1, decayed_roles=roles)
    weights, first, second = START.copy(), np.zeros(3), np.zeros(3)
    for step, pull in enumerate(PULLS, 1):
        first = 0.9 * first + 0.1 * pull
        second = 0.999 * second + 0.001 * pull**2
        weights = weights - 0.01 * decay * weights
        scaled = first / (1 - 0.9**step) / (np.sqrt(second / (1 - 0.999**step)) + 1e-7)
        weights = weights - 0.01 * scaled
    np.testing.assert_allclose(pulled_weights.train(spec, START, PULLS)[0][-1], weights, rtol=1e-4)


@pytest.mark.parametrize('float16', [False, True])
def test_gradients_are_clipped_with_their_penalty_and_unscaled(float16):
    spec = Optimizer('sgd', 0.0, weight_decay=0.1, clip_norm=0.5)
    weights, clipped = START.copy(), 0
    for pull in PULLS:
        gradient = pull + 0.1 * weights
        norm = np.sqrt((gradient**2).sum())
        clipped += norm > 0.5
        weights = weights - 0.01 * gradient * min(1, 0.5 / norm)
    assert 0 < clipped < len(PULLS)
    found, _ = pulled_weights.train(spec, START, PULLS, float16)
    np.testing.assert_allclose(found[-1], weights, rtol=1e-6)


def test_decay_follows_roles():
    network = mbconv.hand_made('c', 2)
    spec = Optimizer(weight_decay=0.5, decayed_roles=('kernel',))
    decays = spec.decays([network], network.trainable_variables)
    kernels = [variable.name == 'kernel' for variable in network.trainable_variables]
    assert decays == [0.5 if kernel else 0.0 for kernel in kernels]
    assert set(Optimizer(weight_decay=0.5).decays([network], network.trainable_variables)) == {0.5}
    decoupled = Optimizer('adamw', weight_decay=0.5)
    assert set(decoupled.decays([network], network.trainable_variables)) == {0.0}


def test_steps_at_certain_epochs_with_a_warmup():
    """The wide teacher's: 0 to 0.1 over 5 epochs, a tenth at 30, 60 and 80."""
    schedule = Steps(0.1, at=(30.0, 60.0, 80.0), warmup=5)
    found = rates(schedule, 10, 900, [0, 25, 50, 299, 300, 599, 600, 799, 800, 899])
    expected = [0, 0.05, 0.1, 0.1, 0.01, 0.01, 1e-3, 1e-3, 1e-4, 1e-4]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
