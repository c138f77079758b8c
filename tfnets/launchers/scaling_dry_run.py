"""What --dry_run shows of a compound scaling: networks, trials, and what they cost."""

from absl import flags

from tfnets.analysis import scaling_costs
from tfnets.launchers import scaling_stages
from tfnets.recipes import compound_scaling, scaled_networks

FLAGS = flags.FLAGS


def show(plan, runs):
    """Prints a table for each stage of --mode; builds and trains nothing.

    Args:
        plan: compound_scaling.Plan.
        runs: trial_runs.TrialRuns.
    """
    # ImageNet's, as published; a network of the hand-made kind hardly costs more for more of them.
    classes = FLAGS.num_classes or (1000 if FLAGS.model == 'efficientnet' else 2)
    print(
        f'Counted for {classes} classes (--num_classes). px: side of the training images. ratio: '
        f'multiply-adds, to those of {plan.base.model}. 2^phi: what the papers promise; the rest '
        'is what rounding makes of it. trials: as --trial numbers them.'
    )
    shown = {'compare': _compare, 'search': _search, 'scale': _scale}
    for mode in scaling_stages.MODES:
        if mode in FLAGS.mode:
            shown[mode](plan, runs, classes)


def _compare(plan, runs, classes):
    run = compound_scaling.compare_trials(plan)
    if not run:
        return
    rows = [(network.model, network, _numbers(run, network)) for network in plan.bases]
    print(f'\n{_title("compare", plan, run, classes)}\n')
    print(scaling_costs.networks(rows, plan.base, classes))


def _search(plan, runs, classes):
    run = compound_scaling.candidate_trials(plan)
    rows = [(network, same, _numbers(run, network)) for network, same in plan.candidates.items()]
    print(f'\n{_title("search", plan, run, classes)}\n')
    print(scaling_costs.candidates(rows, plan.base, classes))
    for rung in compound_scaling.rungs_of(plan):
        print(f'halving: compared behind {rung} of {plan.validation_count} validations')
    if plan.finalists:
        print(
            f'then the best {plan.finalists} again: {plan.final_epochs:g} epochs, seeds '
            f'{_list(plan.search_seeds)}; once the candidates are finished, their trials have the '
            f'numbers from {len(run)} on'
        )


def _scale(plan, runs, classes):
    found = scaling_stages.coefficients(plan, runs)
    by = found or next(iter(plan.candidates)).coefficients
    run = compound_scaling.scale_trials(plan, by)
    phis = sorted({*map(float, range(int(plan.phi) + 1)), plan.phi})
    rows = []
    for phi in phis:
        network = scaled_networks.scaled(plan.base, by, phi)
        rows.append((f'phi = {phi:g}', network, _numbers(run, network)))
    print(f'\n{_title("scale", plan, run, classes)}')
    print(
        f'{plan.base.model} by alpha, beta, gamma = {by.alpha:g}, {by.beta:g}, {by.gamma:g} '
        f'(product {by.growth:.3f})'
        + ('' if found else ', the first candidate: the search is not finished')
        + '\n'
    )
    print(scaling_costs.networks(rows, plan.base, classes))
    if plan.base.model == 'efficientnet':
        print(f'\n{scaling_costs.published(classes)}')


def _title(stage, plan, run, classes):
    """What a stage trains, and as how much training of the base that counts."""
    base = plan.base.cost(classes).macs
    seeds = _list(dict.fromkeys(trial.seed for trial in run))
    work = sum(trial.epochs * trial.network.cost(classes).macs / base for trial in run)
    return (
        f'{stage}: {len(run)} trials of {run[0].epochs:g} epochs, seeds {seeds}; as many '
        f'multiply-adds as {work:,.0f} epochs of {plan.base.model}'
    )


def _numbers(run, network):
    """The numbers of a network's trials, as text."""
    return _list(number for number, trial in enumerate(run) if trial.network == network)


def _list(values):
    return ' '.join(map(str, values))
