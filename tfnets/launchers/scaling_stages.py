"""The stages of a compound scaling: which are run, which are read, and what trials they have."""

import dataclasses

from tfnets.errors import InputError, TrialsFailed
from tfnets.launchers.trial_runs import Unfinished
from tfnets.recipes import compound_scaling

MODES = ('compare', 'search', 'scale')


def check(plan, runs, modes):
    """Refuses to scale where it is not known by what, and no search comes first.

    Args:
        plan: compound_scaling.Plan.
        runs: trial_runs.TrialRuns.
        modes: names of the stages to run.

    Raises:
        InputError: says what would help.
    """
    if 'scale' not in modes or 'search' in modes or plan.coefficients:
        return
    try:
        compound_scaling.search(runs.read, plan)
    except (Unfinished, TrialsFailed) as error:
        raise InputError(
            '--mode=scale: the search in this folder is not finished, so that it is not known what '
            f'to scale by ({error}); finish it by --mode=search, or give --alpha, --beta, --gamma'
        ) from None


def run(plan, runs, modes):
    """Runs the stages that are asked for; of the others reads those that are finished.

    Args:
        plan: compound_scaling.Plan.
        runs: trial_runs.TrialRuns.
        modes: names of the stages to run.

    Returns:
        Dict from the names of MODES to the list of Stages of each, without those that are neither
        asked for nor finished; and a list of what is missing of them: a TrialsFailed for each stage
        all of whose trials failed.
    """
    stages, missing = {}, []
    for mode in MODES:
        train = runs.train if mode in modes else runs.read
        try:
            found = _run_one(mode, train, plan, stages)
        except Unfinished:
            continue
        except TrialsFailed as error:
            if mode in modes:
                missing.append(error)
            continue
        if found:
            stages[mode] = found
    return stages, missing


def _run_one(mode, train, plan, stages):
    """The Stages of a mode; none where the plan has nothing of it."""
    if mode == 'compare':
        return compound_scaling.compare(train, plan) if plan.bases else []
    if mode == 'search':
        return compound_scaling.search(train, plan) if plan.candidates else []
    found = plan.coefficients or compound_scaling.winner(stages.get('search'))
    return compound_scaling.scale(train, plan, found) if found and plan.phi else []


def coefficients(plan, runs):
    """What the base is scaled by: given, or of a finished search; None if that is not known yet."""
    if plan.coefficients or not plan.candidates:
        return plan.coefficients
    try:
        return compound_scaling.winner(compound_scaling.search(runs.read, plan))
    except (Unfinished, TrialsFailed):
        return None


def trials(plan, runs, mode):
    """The trials of a stage, as --trial numbers them.

    Args:
        plan: compound_scaling.Plan.
        runs: trial_runs.TrialRuns.
        mode: of MODES. Of a search the finals stand behind the candidates, once these are finished.

    Returns:
        List of compound_scaling.Trial.
    """
    if mode == 'compare':
        return compound_scaling.compare_trials(plan)
    if mode == 'search':
        return [*compound_scaling.candidate_trials(plan), *_finals(plan, runs)]
    return compound_scaling.scale_trials(plan, coefficients(plan, runs))


def _finals(plan, runs):
    """The trials of the finals; none where the candidates are not finished yet."""
    try:
        stages = compound_scaling.search(runs.read, dataclasses.replace(plan, finalists=0))
    except (Unfinished, TrialsFailed):
        return []
    return compound_scaling.final_trials(plan, stages[-1])
