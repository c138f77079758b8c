"""Training a network on labels, and testing it: what the rows of the papers' tables are made of."""

import dataclasses
from collections.abc import Callable, Sequence

import keras
from absl import logging

from tfnets.recipes.inputs import Inputs
from tfnets.training.evaluation import Evaluation
from tfnets.training.objectives import Classification, Targets
from tfnets.training.phase import Course, Phase


@dataclasses.dataclass(frozen=True)
class Plan:
    """The recipe's settings.

    Attributes:
        resolution: side of the training images in pixels.
        training: Course; of 0 epochs to test a network that comes trained.
        test_resolutions: in pixels; the first one is that of the network that comes out.
        test: whether the test split is scored at the end; not while there is still a choice to be
            made between networks, which is the validation split's.
        evaluate_every: epochs between evaluations on the validation split.
        targets: of training.
    """

    resolution: int
    training: Course
    test_resolutions: Sequence[int]
    evaluate_every: float = 1.0
    targets: Targets = Targets()
    test: bool = True


@dataclasses.dataclass(frozen=True)
class Row:
    """The network scored on the test split.

    Attributes:
        resolution: in pixels.
        evaluation: Evaluation.
    """

    resolution: int
    evaluation: Evaluation


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came out.

    Attributes:
        rows: list of Row.
        epochs: of training.
        minutes: of training.
        validation: Evaluation of the last network on the validation split.
        deployed: the phase whose network is the run's.
    """

    rows: list[Row]
    epochs: float
    minutes: float
    validation: Evaluation
    deployed: str = 'train'


def train_and_test(trainer, build: Callable[[], keras.Model], inputs: Inputs, plan: Plan):
    """Runs the recipe; it goes on from where it was left.

    Args:
        trainer: training.Trainer.
        build: makes the network with its initial (or pre-trained) weights, the same each time.
        inputs: Inputs.
        plan: Plan.

    Returns:
        Outcome.
    """
    phase = training(build(), inputs, plan)
    result = trainer.run(phase)
    rows = []
    for pixels in plan.test_resolutions if plan.test else ():
        evaluation = trainer.evaluate(
            phase.name, phase.objective, inputs.evaluation('test', pixels)
        )
        rows.append(Row(pixels, evaluation))
        logging.info('test at %d px: %s', pixels, evaluation)
    return Outcome(rows, result.epochs, result.minutes, result.validation)


def training(network, inputs, plan):
    """The one phase of the recipe."""
    return Phase(
        'train',
        Classification(network, plan.targets),
        inputs.training(plan.resolution, 'train'),
        plan.training.epochs,
        plan.training.optimizer,
        plan.training.schedule,
        validation=inputs.evaluation('validation', plan.test_resolutions[0]),
        evaluate_every=plan.evaluate_every,
    )
