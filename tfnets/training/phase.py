"""A phase: one stretch of training, as plain data."""

import dataclasses
import functools
import math
from collections.abc import Mapping
from typing import Any

from tfnets.data.pipeline import Batches
from tfnets.models import roles
from tfnets.training.optimizers import Optimizer


@dataclasses.dataclass(frozen=True)
class Treatment:
    """What training does to one network.

    Attributes:
        trained: 'all' variables that can be, only the 'classifier', or 'none'. Dropout drops
            only where all are trained: what is frozen runs as in a test.
        batch_norm: which batch norms normalise by the batch and move their statistics: in
            'training' all, in 'inference' none, with 'last' the one nearest before the global
            pooling. Apart from whether their scale and offset are trained.
    """

    trained: str = 'all'
    batch_norm: str = 'training'

    def apply(self, network):
        """Sets the mode of every batch norm and dropout; returns the variables to train."""
        last = roles.last_batch_norm(network)
        for layer in roles.batch_norms(network):
            moves = self.batch_norm == 'training' or (self.batch_norm == 'last' and layer is last)
            layer.inference_mode = not moves
        for layer in roles.dropouts(network):
            layer.inference_mode = self.trained != 'all'
        choices = {
            'all': lambda: network.trainable_variables,
            'classifier': lambda: roles.classifier(network).trainable_variables,
            'none': list,
        }
        return list(choices[self.trained]())


@dataclasses.dataclass(frozen=True, eq=False)
class Phase:
    """One stretch of training.

    Attributes:
        name: of its folder in the run; unique in a recipe.
        objective: callable(batch, training) -> losses, metrics, with `modules`: the networks.
        data: Batches to train on.
        epochs: walks over the data, may be broken; 0 for networks that come trained.
        optimizer: Optimizer.
        schedule: one of training.schedules.
        treatment: Treatment of each of the objective's modules, by name; all is trained where
            nothing is said.
        start_from: name of the finished phase whose end this one starts from; None to start from
            the networks as they were built.
        validation: Batches to evaluate on during the phase, or None.
        evaluate_every: epochs from one evaluation to the next; the end is always evaluated.
    """

    name: str
    objective: Any
    data: Batches
    epochs: float
    optimizer: Optimizer
    schedule: Any
    treatment: Mapping[str, Treatment] = dataclasses.field(default_factory=dict)
    start_from: str | None = None
    validation: Batches | None = None
    evaluate_every: float = 1.0

    @property
    def steps(self):
        """Length of the phase in steps."""
        return math.ceil(self.epochs * self.data.steps_per_epoch)

    @functools.cached_property
    def evaluation_steps(self):
        """The steps behind which it is evaluated: every so many epochs, and at its end."""
        if not self.validation:
            return frozenset()
        period = self.evaluate_every * self.data.steps_per_epoch
        times = math.floor(self.steps / period)
        return frozenset(round(period * number) for number in range(1, times + 1)) | {self.steps}
