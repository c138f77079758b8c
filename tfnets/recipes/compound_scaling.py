"""Compound scaling (Tan & Le 2019, section 3): search coefficients on a small network, scale it.

Three stages: the base networks are compared; coefficients alpha (depth), beta (width) and gamma
(resolution) are searched where phi = 1, that is for about twice the computing; the base is scaled
by the best of them and a larger phi. Networks are ranked as `ranking` says.

Nothing is trained here: each stage is handed a function that trains.
"""

import dataclasses
import pathlib
from collections.abc import Callable, Sequence

from tfnets.errors import TrialsFailed
from tfnets.recipes import ranking
from tfnets.recipes.ranking import Score, Standing
from tfnets.recipes.scaled_networks import Coefficients, Network, scaled
from tfnets.training.evaluation import count_validations

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
        evaluate_every: epochs from one validation to the next.
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
    evaluate_every: float = 1.0

    @property
    def validation_count(self):
        """Of a candidate's training."""
        return count_validations(self.search_epochs, self.evaluate_every)


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

    def is_like_best(self, standing):
        """Whether a Standing is not told apart from the best."""
        return not self.best.seeds.told_apart(standing.seeds)

    def trials_of(self, standing):
        """The trials that one of its Standings is made of."""
        return trials(self.kind, [standing.network], standing.seeds.top1, self.epochs)

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
        epochs = rung * plan.evaluate_every
        stages.append(_stage('rung', epochs, *train(run, rung)))
        best = ranking.survivors(stages[-1].standings, plan.halving, max(1, plan.finalists))
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
    return ranking.rungs(len(plan.candidates), plan.validation_count, plan.halving)


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
    stage = Stage(name, epochs, ranking.rank(scored), failed)
    if not stage.standings:
        reasons = '; '.join(dict.fromkeys(failed.values()))
        raise TrialsFailed(f'{name}: all {len(failed)} trials failed: {reasons}')
    return stage
