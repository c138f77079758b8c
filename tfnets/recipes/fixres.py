"""FixRes (Touvron et al., NeurIPS 2019): mend the train-test discrepancy of object sizes.

A random crop that is resized to the training resolution makes objects look larger than the centre
crop of an evaluation does. So: train at a low resolution, measure by how much, and test at the
higher resolution at which objects look as large as they did, after fine-tuning the last layers
there (or all of them, as the project AdamStein97 does).
"""

import dataclasses
import math
from collections.abc import Callable, Sequence

import keras
from absl import logging

from tfnets.models import roles
from tfnets.recipes import apparent_size
from tfnets.recipes.inputs import Inputs
from tfnets.training.evaluation import Evaluation
from tfnets.training.objectives import Classification, Targets
from tfnets.training.phase import Course, Phase, Treatment


@dataclasses.dataclass(frozen=True)
class Plan:
    """The recipe's settings.

    Attributes:
        resolution: K_train, side of the training images in pixels.
        training: Course; of 0 epochs for a network that comes trained.
        finetuning: Course of fine-tuning, and of its control.
        tunes: which ways of fine-tuning to try, see `treatment`.
        sigma: 'length' reads a crop's size as the paper does, as the square root of its share of
            the area; 'area' as AdamStein97 does, as that share itself.
        test_resolution: 'sigma' for the one at which objects look as large as in training,
            'validation' for the one at which the trained network does best there, or pixels.
        resolution_multiple: what `sigma`'s resolution is rounded to a multiple of. A network of
            stride 16 may lose much at sides that 16 does not divide, for its padding then differs.
        resolutions: further test resolutions, in pixels.
        control: whether to fine-tune for as long at the training resolution too.
        high_resolution: whether to train another network at the test resolution all along.
        evaluate_every: epochs between evaluations on the validation split.
        targets: of training; fine-tuning sees its images prepared as for a test, unmixed.
    """

    resolution: int
    training: Course
    finetuning: Course
    tunes: Sequence[str] = ('classifier_and_last_bn',)
    sigma: str = 'length'
    test_resolution: str | int = 'sigma'
    resolution_multiple: int = 1
    resolutions: Sequence[int] = ()
    control: bool = True
    high_resolution: bool = False
    evaluate_every: float = 1.0
    targets: Targets = Targets()


@dataclasses.dataclass(frozen=True)
class Row:
    """A network scored at a resolution.

    Attributes:
        phase: that the network comes from the end of.
        split: 'validation' or 'test'.
        resolution: in pixels.
        minutes: of that phase's training.
        evaluation: the scores.
    """

    phase: str
    split: str
    resolution: int
    minutes: float
    evaluation: Evaluation


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What the recipe found.

    Attributes:
        gap: apparent_size.Gap.
        chosen: the resolution that was fine-tuned at.
        best_untuned: the resolution at which the trained network does best on validation.
        rows: list of Row.
        deployed: the phase whose network is the run's: of those fine-tuned at `chosen`, the one
            that does best on validation.
    """

    gap: apparent_size.Gap
    chosen: int
    best_untuned: int
    rows: list[Row]
    deployed: str


def fixres(trainer, build: Callable[[], keras.Model], inputs: Inputs, plan: Plan):
    """Runs the recipe; every phase of it goes on from where it was left.

    Args:
        trainer: training.Trainer.
        build: makes the network with its initial (or pre-trained) weights, the same each time.
        inputs: Inputs; the line for training begins with a random crop.
        plan: Plan.

    Returns:
        Outcome.
    """
    recipe = _Recipe(trainer, inputs, plan)
    objective = recipe.objective(build())

    trainer.run(recipe.training('train', objective, plan.resolution, plan.training.epochs))
    gap = recipe.measure_gap()
    resolutions = recipe.resolutions(gap)
    recipe.score('train', objective, 'validation', resolutions)
    best = max(resolutions, key=lambda pixels: recipe.top1('train', 'validation', pixels))
    chosen = {'sigma': gap.resolution[plan.sigma], 'validation': best}.get(
        plan.test_resolution, plan.test_resolution
    )
    recipe.score('train', objective, 'test', resolutions)
    logging.info('apparent size ratio %.3f; fine-tuning at %d px', gap.ratio[plan.sigma], chosen)

    for phase in recipe.finetunings(objective, chosen):
        trainer.run(phase)
        recipe.score(phase.name, objective, 'test', resolutions)

    if plan.high_resolution:
        objective = recipe.objective(build())
        epochs = equal_compute_epochs(plan, chosen)
        trainer.run(recipe.training('high_resolution', objective, chosen, epochs))
        recipe.score('high_resolution', objective, 'test', resolutions)
    tuned = [trainer.result(f'finetune_{tune}') for tune in plan.tunes]
    deployed = max(tuned, key=lambda result: result.validation.top1).name
    return Outcome(gap, chosen, best, recipe.rows, deployed)


def dry_run(plan, network, inputs, chosen=None):
    """The phases that the recipe would run, in order.

    Args:
        plan: Plan.
        network: keras.Model.
        inputs: Inputs; the line for training begins with a random crop.
        chosen: test resolution in pixels; None to measure it.

    Returns:
        List of Phase.
    """
    recipe = _Recipe(None, inputs, plan)
    objective = recipe.objective(network)
    chosen = chosen or recipe.measure_gap().resolution[plan.sigma]
    phases = [recipe.training('train', objective, plan.resolution, plan.training.epochs)]
    phases += recipe.finetunings(objective, chosen)
    if plan.high_resolution:
        epochs = equal_compute_epochs(plan, chosen)
        phases.append(recipe.training('high_resolution', objective, chosen, epochs))
    return phases


class _Recipe:
    """The recipe's phases and measurements, each in one place."""

    def __init__(self, trainer, inputs, plan):
        self._trainer, self._inputs, self._plan = trainer, inputs, plan
        self.rows = []

    def objective(self, network):
        return Classification(network, self._plan.targets)

    def training(self, name, objective, pixels, epochs):
        """Training from scratch (or nothing at all, for a network that comes trained)."""
        plan = self._plan
        schedule = plan.training.schedule
        if epochs != plan.training.epochs:  # the same share of it is warm-up
            share = schedule.warmup / plan.training.epochs
            schedule = dataclasses.replace(schedule, warmup=share * epochs)
        return Phase(
            name,
            objective,
            self._inputs.training(pixels, 'train'),
            epochs,
            plan.training.optimizer,
            schedule,
            validation=self._inputs.evaluation('validation', pixels),
            evaluate_every=plan.evaluate_every,
        )

    def finetunings(self, objective, chosen):
        """The phases of fine-tuning at the chosen resolution, each with its control."""
        phases = []
        for tune in self._plan.tunes:
            phases.append(self._finetuning(f'finetune_{tune}', objective, tune, chosen))
            if self._plan.control:
                low = self._plan.resolution
                phases.append(self._finetuning(f'control_{tune}', objective, tune, low))
        return phases

    def _finetuning(self, name, objective, tune, pixels):
        """Fine-tuning on the training images, prepared as for a test (section 4.2)."""
        plan = self._plan
        return Phase(
            name,
            objective.unmixed(),
            self._inputs.training(pixels, name, self._inputs.eval_preprocessing),
            plan.finetuning.epochs,
            plan.finetuning.optimizer,
            plan.finetuning.schedule,
            treatment={'network': treatment(tune, objective.network)},
            start_from='train',
            validation=self._inputs.evaluation('validation', pixels),
            evaluate_every=plan.evaluate_every,
        )

    def measure_gap(self):
        """Runs the real training crops over the training set."""
        plan, inputs = self._plan, self._inputs
        batches = inputs.training(plan.resolution, 'train')
        return apparent_size.measure(batches, inputs.eval_preprocessing, plan.resolution_multiple)

    def resolutions(self, gap):
        """All test resolutions: those asked for, that of training, and that of sigma."""
        plan = self._plan
        asked = {*plan.resolutions, plan.resolution, gap.resolution[plan.sigma]}
        if isinstance(plan.test_resolution, int):
            asked.add(plan.test_resolution)
        return sorted(asked)

    def score(self, name, objective, split, resolutions):
        """Scores a finished phase's network on a split at each resolution."""
        minutes = self._trainer.result(name).minutes
        for pixels in resolutions:
            batches = self._inputs.evaluation(split, pixels)
            evaluation = self._trainer.evaluate(name, objective, batches)
            self.rows.append(Row(name, split, pixels, minutes, evaluation))
            logging.info('%s, %s at %d px: %s', name, split, pixels, evaluation)

    def top1(self, name, split, pixels):
        """The accuracy that was scored."""
        return next(
            row.evaluation.top1
            for row in self.rows
            if (row.phase, row.split, row.resolution) == (name, split, pixels)
        )


def treatment(tune, network):
    """What fine-tuning does to a network.

    Args:
        tune: 'classifier_and_last_bn' as FixRes's official code (imnet_finetune/train.py): the
            classifier learns; the last batch norm before pooling moves its statistics, its scale
            and offset stay; all other batch norms are in inference mode. 'all' as AdamStein97:
            everything learns, every batch norm in training mode.
        network: keras.Model.

    Returns:
        Treatment.
    """
    if tune == 'all':
        return Treatment('all', 'training')
    if roles.last_batch_norm(network) is None:
        logging.info(
            '%s has no batch norm before its pooling: the classifier is tuned alone', network.name
        )
    return Treatment('classifier', 'last')


def equal_compute_epochs(plan, resolution):
    """Epochs at a higher resolution that cost about as much as training and fine-tuning.

    A convolutional network's multiply-adds grow with the number of pixels. An epoch of fine-tuning
    is counted as one of training at that resolution.
    """
    pixels = (plan.resolution / resolution) ** 2
    return math.ceil(plan.training.epochs * pixels + plan.finetuning.epochs)
