"""A phase: one stretch of training, as plain data."""

import dataclasses
import functools
import math
from collections.abc import Mapping
from typing import Any

from tfnets.data.pipeline import Batches
from tfnets.models import roles
from tfnets.training.evaluation import count_validations
from tfnets.training.optimizers import Optimizer


@dataclasses.dataclass(frozen=True)
class Treatment:
    """What training does to one network.

    Attributes:
        trained: 'all' variables that can be, only the 'classifier', 'none', or those of the layers
            of these names. Dropout drops only where all are trained: what is frozen runs as in a
            test.
        batch_norm: which batch norms normalise by the batch and move their statistics: in
            'training' all, in 'inference' none, with 'last' the one nearest before the global
            pooling, with 'trained' those among the layers that `trained` names. Apart from whether
            their scale and offset are trained.
    """

    trained: str | frozenset[str] = 'all'
    batch_norm: str = 'training'

    def apply(self, network):
        """Sets the mode of every batch norm and dropout; returns the variables to train."""
        norms = roles.batch_norms(network)
        moving = {
            'training': lambda: norms,
            'inference': list,
            'last': lambda: [roles.last_batch_norm(network)],
            'trained': lambda: self._named(network),
        }[self.batch_norm]()
        for layer in norms:
            layer.inference_mode = not any(layer is mover for mover in moving)
        for layer in roles.dropouts(network):
            layer.inference_mode = self.trained != 'all'
        if isinstance(self.trained, frozenset):
            layers = self._named(network)
            return [variable for layer in layers for variable in layer.trainable_variables]
        choices = {
            'all': lambda: network.trainable_variables,
            'classifier': lambda: roles.classifier(network).trainable_variables,
            'none': list,
        }
        return list(choices[self.trained]())

    @property
    def freezes(self):
        """Whether nothing of the network changes."""
        return self.trained == 'none' and self.batch_norm == 'inference'

    def _named(self, network):
        """The layers that `trained` names."""
        layers = [layer for layer in roles.flat_layers(network) if layer.name in self.trained]
        missing = self.trained - {layer.name for layer in layers}
        if missing:
            raise ValueError(f'{network.name} has no layers {", ".join(sorted(missing))}')
        return layers


FROZEN = Treatment('none', 'inference')


@dataclasses.dataclass(frozen=True)
class Course:
    """How long a network is trained, and by what.

    Attributes:
        epochs: walks over the data, may be broken.
        optimizer: Optimizer.
        schedule: one of training.schedules.
    """

    epochs: float
    optimizer: Optimizer
    schedule: Any


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
        evaluate_first: whether it is evaluated before the first step too.
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
    evaluate_first: bool = False

    def treatment_of(self, name):
        """What is done to one of the objective's modules."""
        return self.treatment.get(name, Treatment())

    @property
    def changing(self):
        """The objective's modules that this phase changes, by name; these are saved."""
        modules = self.objective.modules
        return {k: module for k, module in modules.items() if not self.treatment_of(k).freezes}

    @property
    def frozen(self):
        """The objective's other modules, by name."""
        return {k: v for k, v in self.objective.modules.items() if k not in self.changing}

    @property
    def steps(self):
        """Length of the phase in steps, each of one batch; a whole number of updates."""
        batches = self.optimizer.accumulate
        updates = self.epochs * self.data.steps_per_epoch / batches
        # A whole number may come out of this a little above itself.
        return batches * math.ceil(round(updates, 6))

    @functools.cached_property
    def evaluation_steps(self):
        """The steps behind which it is evaluated: every so many epochs, and at its end."""
        if not self.validation:
            return frozenset()
        period = self.evaluate_every * self.data.steps_per_epoch
        # What the last update reaches beyond the last epoch is of no other one.
        numbers = range(1, count_validations(self.epochs, self.evaluate_every))
        # The first step behind which so many epochs have been seen.
        return frozenset(math.ceil(round(period * number, 6)) for number in numbers) | {self.steps}
