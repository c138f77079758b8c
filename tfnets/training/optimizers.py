"""Optimizers as the papers use them, and what is made of gradients before and of weights after."""

import dataclasses

import keras

from tfnets.models import roles


@dataclasses.dataclass(frozen=True)
class Optimizer:
    """Which optimizer, as plain data.

    Attributes:
        name: 'sgd', 'adam', 'adamw' or 'rmsprop'.
        momentum: of sgd and rmsprop.
        nesterov: for sgd.
        weight_decay: the L2 penalty is weight_decay / 2 * sum of squares; its gradient is added
            before momentum or moments are formed, as in the papers' own code. Keras' argument of
            that name is another thing: decoupled, and some ten times weaker at momentum 0.9. Of
            adamw alone it is decoupled (Loshchilov and Hutter, 2019): with each update a weight
            loses learning rate * weight_decay of itself, as in torch and Keras.
        decayed_roles: roles of the variables that decay, see tfnets.models.roles.
        clip_norm: the gradients of all variables together, those of an L2 penalty with them, are
            shortened to this norm; 0 to leave them.
        accumulate: an update is made from the mean gradient of so many batches.
        ema: decay of the moving averages of the weights, which are then evaluated and kept in their
            place, see training.averaging; 0 for none.
    """

    name: str = 'sgd'
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 0.0
    decayed_roles: tuple[str, ...] = ('kernel', 'bias', 'scale', 'offset', 'other')
    clip_norm: float = 0.0
    accumulate: int = 1
    ema: float = 0.0

    def build(self, learning_rate, float16=False, models=()):
        """Returns the Keras optimizer.

        Args:
            learning_rate: a keras LearningRateSchedule.
            float16: whether the loss must be scaled, dynamically, for float16.
            models: the keras.Models that are trained; adamw asks them which variables decay.
        """
        # Keras clips where it applies: after the sum over replicas, and unscaled.
        clip = {'global_clipnorm': self.clip_norm or None}
        if self.name == 'sgd':
            optimizer = SGD(learning_rate, self.momentum, self.nesterov, **clip)
        elif self.name == 'adam':
            optimizer = keras.optimizers.Adam(learning_rate, **clip)
        elif self.name == 'adamw':
            optimizer = keras.optimizers.AdamW(learning_rate, self.weight_decay, **clip)
            role = _roles(models)
            variables = [variable for model in models for variable in model.trainable_variables]
            exempt = [v for v in variables if role[id(v)] not in self.decayed_roles]
            optimizer.exclude_from_weight_decay(exempt)
        elif self.name == 'rmsprop':
            optimizer = RMSprop(
                learning_rate, rho=0.9, momentum=self.momentum, epsilon=1e-3, **clip
            )
        else:
            raise ValueError(
                f"optimizer must be 'sgd', 'adam', 'adamw' or 'rmsprop', got {self.name!r}"
            )
        return keras.optimizers.LossScaleOptimizer(optimizer) if float16 else optimizer

    def decays(self, models, variables):
        """The L2 weight decay of each variable, by its role.

        Args:
            models: the keras.Models that hold the variables.
            variables: list of keras.Variable.

        Returns:
            List of floats.
        """
        role = _roles(models)
        return [
            self.weight_decay
            if self.name != 'adamw' and role[id(variable)] in self.decayed_roles
            else 0.0
            for variable in variables
        ]


class SGD(keras.optimizers.SGD):
    """Keras' SGD, but with the learning rate outside of the velocity, as in torch.

    v = momentum v + g; w -= learning rate (g + momentum v with Nesterov's momentum, else v). Keras
    has the learning rate within: v = momentum v - learning rate g; w += v. As long as it does not
    change they are the same; where it drops to a tenth, Keras goes on by steps of the old one for a
    while (Goyal et al. 2017, section 3: momentum correction). The code of these papers is torch's.
    """

    def update_step(self, gradient, variable, learning_rate):
        """Updates a variable and its velocity."""
        rate = keras.ops.cast(learning_rate, variable.dtype)
        step = gradient = keras.ops.cast(gradient, variable.dtype)
        if self.momentum:
            velocity = self.momentums[self._get_variable_index(variable)]
            self.assign(velocity, self.momentum * velocity + gradient)
            step = gradient + self.momentum * velocity if self.nesterov else velocity
        self.assign_sub(variable, rate * step)


class RMSprop(keras.optimizers.RMSprop):
    """Keras' RMSprop, but with mean squares that begin at 1, as EfficientNet's TensorFlow 1 has it.

    From 0 the first steps would be up to thirty times as long.
    """

    def build(self, variables):
        """Makes the variables of the optimizer."""
        if not self.built:
            super().build(variables)
            for mean_square in self._velocities:
                mean_square.assign(keras.ops.ones_like(mean_square))


def _roles(models):
    """The role of each trainable variable of some models, by its id()."""
    return {key: role for model in models for key, role in roles.variable_roles(model).items()}
