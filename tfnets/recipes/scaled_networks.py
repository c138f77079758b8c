"""Networks that grow by compound coefficients (Tan & Le 2019, section 3): what can be searched.

alpha (depth), beta (width) and gamma (resolution) satisfy alpha * beta**2 * gamma**2 = 2, more or
less, so that each step of phi doubles the multiply-adds, were nothing rounded.
"""

import dataclasses
import itertools
import math

from tfnets.errors import InputError
from tfnets.models import mbconv_config, mbconv_cost, registry

_MOST_CANDIDATES = 1000


# ------------------------------------------------------------------------------ coefficients


@dataclasses.dataclass(frozen=True)
class Coefficients:
    """By what a network grows where phi = 1.

    Attributes:
        alpha: of depth.
        beta: of width.
        gamma: of resolution.
    """

    alpha: float
    beta: float
    gamma: float

    @property
    def growth(self):
        """Of the multiply-adds, were nothing rounded: alpha * beta**2 * gamma**2."""
        return self.alpha * self.beta**2 * self.gamma**2

    @property
    def label(self):
        """As a part of a file's name."""
        return f'a{self.alpha:.10g}_b{self.beta:.10g}_g{self.gamma:.10g}'


def check(coefficients, tolerance):
    """Refuses coefficients that do not satisfy the paper's constraint (its equation 3).

    Args:
        coefficients: Coefficients.
        tolerance: by how much alpha * beta**2 * gamma**2 may differ from 2.

    Raises:
        InputError: says which condition is not met.
    """
    numbers = dataclasses.astuple(coefficients)
    if not all(1 <= number < math.inf for number in numbers):
        raise InputError(
            f'alpha, beta, gamma = {", ".join(f"{n:g}" for n in numbers)}: expected each at least 1'
        )
    if not _is_close(coefficients.growth, tolerance):
        raise InputError(
            f'alpha * beta**2 * gamma**2 is {coefficients.growth:.4g} for '
            f'{", ".join(f"{n:g}" for n in numbers)}: expected 2 +- {tolerance:g}; take others, or '
            'a larger --tolerance'
        )


def grid(step, tolerance):
    """Lists all coefficients on a grid that satisfy the constraint.

    Args:
        step: of the grid, which begins at 1.
        tolerance: see `check`.

    Returns:
        List of Coefficients, alpha rising slowest.

    Raises:
        InputError: if there are none, or too many to be trained.
    """

    def values(highest):
        count = math.floor((highest - 1) / step + 1e-9)
        return [round(1 + number * step, 9) for number in range(count + 1)]

    depths, sides = values(2 + tolerance), values(math.sqrt(2 + tolerance))
    found = [
        candidate
        for candidate in itertools.starmap(Coefficients, itertools.product(depths, sides, sides))
        if _is_close(candidate.growth, tolerance)
    ]
    if not 0 < len(found) <= _MOST_CANDIDATES:
        raise InputError(
            f'a grid of step {step:g} has {len(found)} candidates within {tolerance:g} of 2: '
            f'expected 1 to {_MOST_CANDIDATES}; take another step or tolerance'
        )
    return found


def _is_close(growth, tolerance):
    return abs(growth - 2) <= tolerance + 1e-9  # the slack is for sums that binary cannot hold


# ---------------------------------------------------------------------------------- networks


@dataclasses.dataclass(frozen=True)
class Network:
    """A network to train: a base, as it is or scaled.

    Attributes:
        model: its name in the registry.
        config: mbconv_config.MBConvConfig, scaled, with the resolution to train at.
        coefficients: Coefficients; None for a base network.
        phi: compound coefficient, 0 for a base network.
    """

    model: str
    config: mbconv_config.MBConvConfig
    coefficients: Coefficients | None = None
    phi: float = 0.0

    @property
    def label(self):
        """As a part of a file's name; different for different networks."""
        if not self.coefficients:
            return self.model
        return f'{self.model}.phi{self.phi:.10g}.{self.coefficients.label}'

    @property
    def options(self):
        """Those by which the registry builds it."""
        if not self.coefficients:
            return {}
        return {**dataclasses.asdict(self.coefficients), 'phi': self.phi}

    def cost(self, num_classes):
        """Its mbconv_cost.Cost."""
        return mbconv_cost.cost(self.config, num_classes)


def base(model, resolution=0):
    """A base network.

    Args:
        model: name in the registry.
        resolution: to train at, in pixels; 0 for the network's own.

    Returns:
        Network.
    """
    config = registry.config(model)
    if resolution:
        config = dataclasses.replace(config, resolution=resolution)
    return Network(model, config)


def scaled(network, coefficients, phi):
    """Scales a base network.

    Args:
        network: Network, a base.
        coefficients: Coefficients.
        phi: at least 0; 0 gives the base network itself.

    Returns:
        Network.
    """
    if not phi:
        return network
    config = mbconv_config.compound_scale(
        network.config, **dataclasses.asdict(coefficients), phi=phi
    )
    return Network(network.model, config, coefficients, phi)


def distinct(networks):
    """Puts networks together that rounding makes the same; to train one of them is enough.

    Args:
        networks: list of Network.

    Returns:
        Dict from a Network to the list of those that are the same network under other coefficients.
        The one that stands for the others is that whose growth is nearest to 2.
    """
    groups = {}
    for network in networks:
        groups.setdefault(network.config, []).append(network)
    kept = {}
    for group in groups.values():
        first = min(group, key=lambda network: abs(network.coefficients.growth - 2))
        kept[first] = [network for network in group if network is not first]
    return kept
