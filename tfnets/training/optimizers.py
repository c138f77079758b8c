"""Optimizers as the papers use them, with weight decay as an L2 penalty."""

import dataclasses

import keras

from tfnets.models import roles


@dataclasses.dataclass(frozen=True)
class Optimizer:
    """Which optimizer, as plain data.

    Attributes:
        name: 'sgd', 'adam' or 'rmsprop'.
        momentum: of sgd and rmsprop.
        nesterov: for sgd.
        weight_decay: the L2 penalty is weight_decay / 2 * sum of squares; its gradient is added
            before momentum or moments are formed, as in the papers' own code. Keras' argument of
            that name is another thing: decoupled, and some ten times weaker at momentum 0.9.
        decayed_roles: roles of the variables that decay, see tfnets.models.roles.
    """

    name: str = 'sgd'
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 0.0
    decayed_roles: tuple[str, ...] = ('kernel', 'bias', 'scale', 'offset', 'other')

    def build(self, learning_rate, float16=False):
        """Returns the Keras optimizer.

        Args:
            learning_rate: a keras LearningRateSchedule.
            float16: whether the loss must be scaled, dynamically, for float16.
        """
        if self.name == 'sgd':
            optimizer = keras.optimizers.SGD(learning_rate, self.momentum, self.nesterov)
        elif self.name == 'adam':
            optimizer = keras.optimizers.Adam(learning_rate)
        elif self.name == 'rmsprop':
            optimizer = keras.optimizers.RMSprop(
                learning_rate, rho=0.9, momentum=self.momentum, epsilon=1e-3
            )
        else:
            raise ValueError(f"optimizer must be 'sgd', 'adam' or 'rmsprop', got {self.name!r}")
        return keras.optimizers.LossScaleOptimizer(optimizer) if float16 else optimizer

    def decays(self, models, variables):
        """The weight decay of each variable, by its role.

        Args:
            models: the keras.Models that hold the variables.
            variables: list of keras.Variable.

        Returns:
            List of floats.
        """
        role = {}
        for model in models:
            role |= roles.variable_roles(model)
        return [
            self.weight_decay if role[id(variable)] in self.decayed_roles else 0.0
            for variable in variables
        ]
