"""Compound scaling (Tan & Le 2019, section 3): search coefficients on a small network, scale it.

Three stages: the base networks are compared; coefficients alpha (depth), beta (width) and gamma
(resolution) are searched where phi = 1, that is for about twice the computing; the base is scaled
by the best of them and a larger phi. Networks are ranked by their accuracy on the validation split,
of several seeds, and told apart only where a difference exceeds what another seed, or other photos,
would change.

Nothing is trained here: each stage is handed a function that trains.
"""

import dataclasses
import itertools
import math
import pathlib
import statistics
from collections.abc import Callable, Sequence

from tfnets.analysis import mbconv_cost
from tfnets.errors import InputError, TrialsFailed
from tfnets.models import mbconv_config, registry

# One seed alone does not tell what another one would change.
SEEDS_FOR_A_CLAIM = 2
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


# ------------------------------------------------------------------------------------ trials


@dataclasses.dataclass(frozen=True)
class Trial:
    """A network to be trained once.

    Attributes:
        stage: 'compare', 'search', 'final' or 'scale'.
        network: Network.
        seed: of weights, order and augmentation.
        epochs: of training.
    """

    stage: str
    network: Network
    seed: int
    epochs: float

    @property
    def name(self):
        """Of its folder."""
        return f'{self.stage}.{self.network.label}.seed{self.seed}'


def trials(stage, networks, seeds, epochs):
    """The trials of a stage: all networks with the first seed, then with the next.

    Args:
        stage: its name.
        networks: Networks.
        seeds: of each.
        epochs: of each.

    Returns:
        List of Trial.
    """
    return [Trial(stage, network, seed, epochs) for seed in seeds for network in networks]


@dataclasses.dataclass(frozen=True)
class Score:
    """What a trial came to on the validation split.

    Attributes:
        top1: share of right answers, the mean of the last validations.
        examples: photos of the split.
        minutes: of training.
    """

    top1: float
    examples: int
    minutes: float

    @property
    def binomial(self):
        """Standard error of top1, of a binomial draw of so many photos."""
        return math.sqrt(self.top1 * (1 - self.top1) / self.examples)


# ----------------------------------------------------------------------------------- ranking


@dataclasses.dataclass(frozen=True)
class Standing:
    """Where a network stands among others that were trained alike.

    Attributes:
        network: Network.
        scores: dict from a seed to its Score.
        mean: of top1 over the seeds.
        deviation: sample standard deviation over the seeds; None with one seed.
        binomial: standard error of one network's top1, the largest among them.
        best_rank: 1 + the networks that are better and told apart from it.
        worst_rank: the networks that are not worse and told apart from it.
    """

    network: Network
    scores: dict[int, Score]
    mean: float
    deviation: float | None
    binomial: float
    best_rank: int = 1
    worst_rank: int = 1

    @property
    def spread(self):
        """The larger of the deviation and the binomial error: what chance alone may change."""
        return max(self.deviation or 0.0, self.binomial)

    @property
    def minutes(self):
        """Of training, mean over the seeds."""
        return statistics.fmean(score.minutes for score in self.scores.values())


def told_apart(one, other):
    """Whether two networks differ by more than the spread of either.

    Args:
        one: Standing.
        other: Standing.

    Returns:
        bool; always False where one of them has fewer seeds than a claim needs.
    """
    if min(len(one.scores), len(other.scores)) < SEEDS_FOR_A_CLAIM:
        return False
    return abs(one.mean - other.mean) > max(one.spread, other.spread)


def rank(scored):
    """Ranks networks by the mean over their seeds.

    Args:
        scored: dict from a Network to a dict from a seed to its Score; those without are left out.

    Returns:
        List of Standing, the best first; of equals the one that was listed first.
    """
    standings = [_standing(network, scores) for network, scores in scored.items() if scores]
    standings.sort(key=lambda standing: -standing.mean)
    ranked = []
    for place, standing in enumerate(standings):
        better = sum(told_apart(standing, other) for other in standings[:place])
        worse = sum(told_apart(standing, other) for other in standings[place + 1 :])
        ranks = {'best_rank': 1 + better, 'worst_rank': len(standings) - worse}
        ranked.append(dataclasses.replace(standing, **ranks))
    return ranked


def _standing(network, scores):
    top1 = [score.top1 for score in scores.values()]
    return Standing(
        network,
        scores,
        mean=statistics.fmean(top1),
        deviation=statistics.stdev(top1) if len(top1) > 1 else None,
        binomial=max(score.binomial for score in scores.values()),
    )


# ---------------------------------------------------------------------------------- halving


def rungs(count, validations, factor):
    """Where successive halving compares candidates (Jamieson & Talwalkar 2016).

    Args:
        count: candidates at the beginning.
        validations: of a trial that is trained to its end.
        factor: one candidate in so many goes on behind each rung, which is so many times as long as
            the rung before; at least 2.

    Returns:
        List of int, validations behind which candidates are compared; the end is not among them.
    """
    found, left = [], count
    for power in range(int(math.log(count, factor) + 1e-9), 0, -1):
        rung = math.ceil(validations / factor**power)
        if rung < validations and left > 1 and rung not in found:
            found.append(rung)
            left = math.ceil(left / factor)
    return found


def survivors(standings, factor, least=1):
    """Those that go on behind a rung: one in `factor`, the best, and not fewer than `least`."""
    return standings[: max(math.ceil(len(standings) / factor), least)]


# ------------------------------------------------------------------------------------ stages


@dataclasses.dataclass(frozen=True)
class Plan:
    """The settings of all stages.

    Attributes:
        bases: Networks to compare.
        base: Network, the one to be scaled.
        candidates: dict from a Network, the base scaled by phi = 1, to others that are the same.
        phi: to scale the base by.
        coefficients: Coefficients to scale by; None for those of the search's best.
        compare_epochs: of each trial of that stage.
        search_epochs: the same.
        final_epochs: the same, of the candidates that are trained again for longer.
        scale_epochs: the same.
        compare_seeds: of each network of that stage.
        search_seeds: the same, and of the finals.
        scale_seeds: the same.
        finalists: how many of the best candidates are trained again for longer; 0 for none.
        halving: factor of `rungs`; 0 for every candidate to its end.
        validations: of a candidate's training.
    """

    bases: Sequence[Network]
    base: Network
    candidates: dict[Network, list[Network]]
    phi: float
    coefficients: Coefficients | None
    compare_epochs: float
    search_epochs: float
    final_epochs: float
    scale_epochs: float
    compare_seeds: Sequence[int]
    search_seeds: Sequence[int]
    scale_seeds: Sequence[int]
    finalists: int = 0
    halving: int = 0
    validations: int = 1


@dataclasses.dataclass(frozen=True)
class Stage:
    """Networks that were trained alike, and how they did.

    Attributes:
        name: 'compare', 'search', 'final', 'scale', or 'rung' of a search.
        epochs: behind which they were compared.
        standings: list of Standing, the best first.
        failed: dict from a Trial to what went wrong with it.
    """

    name: str
    epochs: float
    standings: list[Standing]
    failed: dict[Trial, str]

    @property
    def best(self):
        """The Standing of the best network."""
        return self.standings[0]

    @property
    def kind(self):
        """The stage as its trials have it: those of a rung are the search's."""
        return 'search' if self.name == 'rung' else self.name


# Trains trials to their end, or behind so many validations (0: to the end); answers their scores
# and, of those that failed, the reason.
Train = Callable[[list[Trial], int], tuple[dict[Trial, Score], dict[Trial, str]]]


def compare(train: Train, plan: Plan):
    """Trains and ranks the base networks.

    Args:
        train: see `Train`.
        plan: Plan.

    Returns:
        List of one Stage.
    """
    run = compare_trials(plan)
    return [_stage('compare', plan.compare_epochs, *train(run, 0))]


def compare_trials(plan):
    """The trials of the base networks."""
    return trials('compare', plan.bases, plan.compare_seeds, plan.compare_epochs)


def search(train: Train, plan: Plan):
    """Trains and ranks the candidates; the best of them once more, for longer.

    Args:
        train: see `Train`.
        plan: Plan.

    Returns:
        List of Stage: of each rung of halving, of the search, of the finals.
    """
    networks, stages = list(plan.candidates), []
    run = candidate_trials(plan)
    for rung in rungs_of(plan):
        epochs = plan.search_epochs * rung / plan.validations
        stages.append(_stage('rung', epochs, *train(run, rung)))
        best = survivors(stages[-1].standings, plan.halving, max(1, plan.finalists))
        networks = [standing.network for standing in best]
        run = [trial for trial in run if trial.network in networks]
    stages.append(_stage('search', plan.search_epochs, *train(run, 0)))
    if plan.finalists:
        run = final_trials(plan, stages[-1])
        stages.append(_stage('final', plan.final_epochs, *train(run, 0)))
    return stages


def rungs_of(plan):
    """The `rungs` of a plan's search; none without halving."""
    if not plan.halving:
        return []
    return rungs(len(plan.candidates), plan.validations, plan.halving)


def candidate_trials(plan):
    """The trials of all candidates."""
    return trials('search', plan.candidates, plan.search_seeds, plan.search_epochs)


def final_trials(plan, stage):
    """The trials of the finals, for the Stage of the search."""
    networks = [standing.network for standing in stage.standings[: plan.finalists]]
    return trials('final', networks, plan.search_seeds, plan.final_epochs)


def scale(train: Train, plan: Plan, coefficients: Coefficients):
    """Trains the base, scaled by phi.

    Args:
        train: see `Train`.
        plan: Plan.
        coefficients: Coefficients to scale by.

    Returns:
        List of one Stage.
    """
    run = scale_trials(plan, coefficients)
    return [_stage('scale', plan.scale_epochs, *train(run, 0))]


def scale_trials(plan, coefficients):
    """The trials of the scaled network."""
    network = scaled(plan.base, coefficients, plan.phi)
    return trials('scale', [network], plan.scale_seeds, plan.scale_epochs)


def winner(stages):
    """The coefficients that a search ended with: of the best finalist, or of the best candidate.

    Args:
        stages: list of Stage, of a search; None where there was none.

    Returns:
        Coefficients, or None.
    """
    return stages[-1].best.network.coefficients if stages else None


def tested(stages, plan):
    """The networks that are scored on the test split, once all choices are made.

    The best base network, and the one that is scaled; the best of the search's last stage; the
    scaled network.

    Args:
        stages: dict from 'compare', 'search' and 'scale' to the Stages of each that was run.
        plan: Plan.

    Returns:
        List of (Stage, Standing).
    """
    found = []
    for stage in (run[-1] for run in stages.values()):
        wanted = (stage.best.network, plan.base if stage.name == 'compare' else None)
        found += [(stage, one) for one in stage.standings if one.network in wanted]
    return found


def trials_of(stage, standing):
    """The trials that a Standing of a Stage is made of."""
    return trials(stage.kind, [standing.network], standing.scores, stage.epochs)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came out.

    Attributes:
        stages: dict from 'compare', 'search' and 'scale' to the list of Stages of each.
        tested: dict from a Trial to the numbers of its Evaluation on the test split.
        tuned: dict from a Trial to the folder of the FixRes run that went on with its network.
    """

    stages: dict[str, list[Stage]]
    tested: dict[Trial, dict]
    tuned: dict[Trial, pathlib.Path]


def _stage(name, epochs, scores, failed):
    scored = {}
    for trial in [*scores, *failed]:
        scored.setdefault(trial.network, {})
    for trial, score in scores.items():
        scored[trial.network][trial.seed] = score
    stage = Stage(name, epochs, rank(scored), failed)
    if not stage.standings:
        reasons = '; '.join(dict.fromkeys(failed.values()))
        raise TrialsFailed(f'{name}: all {len(failed)} trials failed: {reasons}')
    return stage
