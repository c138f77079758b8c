"""The report of a compound scaling: what was compared, found and scaled, and what is told apart.

Beside it stand the numbers of the project that the hand-made networks come from.
"""

import dataclasses

from matplotlib.ticker import MaxNLocator, NullLocator

from tfnets.analysis import scaling_costs, training_curves
from tfnets.analysis.figures import drawing
from tfnets.analysis.markdown import (
    ABOUT_CLAIMS,
    ABOUT_SPREAD,
    SEED_CELLS,
    head_lines,
    save,
    seed_cells,
    table,
)
from tfnets.files import read_json
from tfnets.training.evaluation import percent
from tfnets.training.record import read_metrics
from tfnets.training.seeds import Seeds

_TITLES = {
    'compare': 'Base networks',
    'rung': 'Candidates, on the way',
    'search': 'Candidates',
    'final': 'The best candidates, trained for longer',
    'scale': 'The scaled network',
}
_LABELS = {
    'compare': 'base networks',
    'search': 'candidates',
    'final': 'best candidates again',
    'scale': 'scaled',
}
# AdamStein97/Efficient-Network-Scaling-with-Test-Resolution-Fine-Tuning, readme.md, sections 4.1, 5
# and 7: top-1 (%) of the last epoch, of one run.
_PUBLISHED_DATA = 'cats_vs_dogs'
_PUBLISHED_BASES = {'mbconv_a': 68.47, 'mbconv_b': 81.75, 'mbconv_c': 84.48}
_PUBLISHED_SCALED = {
    (1.2, 1.05, 1.23, 1): 89.09,
    (1.2, 1.23, 1.05, 1): 87.88,
    (1.4, 1.02, 1.17, 1): 89.09,
    (1.4, 1.05, 1.14, 1): 87.95,
    (1.4, 1.14, 1.05, 1): 85.64,
    (1.4, 1.17, 1.02, 1): 85.58,
    (1.2, 1.05, 1.23, 4): 89.77,
}
_ABOUT_PUBLISHED = (
    "AdamStein97's numbers are of one run and of its last epoch, after 100 epochs (phi = 4: 150), "
    'on a test set that it chose by and that leaked into training: the split was drawn anew each '
    'epoch. They stand there to be looked up, not to be compared with. In its logs the last 20 '
    'epochs have medians of 81.7 (A), 81.1 (B) and 82.9 % (C).'
)


def write_report(folder, outcome, plan, head, num_classes):
    """Writes report.md, report.json, accuracy_by_macs.png and curves_STAGE.png.

    Args:
        folder: pathlib.Path of the search, with its trials.
        outcome: what came out: stages, tested, tuned.
        plan: the recipe's settings: base, candidates, phi.
        head: dict of what the run was: flagfile, data, hardware and the like.
        num_classes: size of the networks' output.

    Returns:
        The text of report.md.
    """
    report = _Report(outcome, plan, head, num_classes)
    with drawing(folder / 'accuracy_by_macs.png') as axes:
        draw_accuracies(axes, report.stages, plan, num_classes)
    for name, curves in report.curves(folder).items():
        with drawing(folder / f'curves_{name}.png') as axes:
            draw_curves(axes, curves)
    text = report.text()
    save(folder, text, report.numbers())
    return text


# ---------------------------------------------------------------------------------- pictures


def draw_accuracies(axes, stages, plan, num_classes):
    """Draws accuracy on the validation split against multiply-adds, of all trials.

    Args:
        axes: matplotlib.axes.Axes.
        stages: list of the recipe's Stages; those of a rung are left out.
        plan: the recipe's settings.
        num_classes: size of the networks' output.
    """
    stages = [stage for stage in stages if stage.name != 'rung']
    axes.set_xscale('log', base=2)  # a step of phi is a step of the scale
    costs = [one.network.cost(num_classes).macs for stage in stages for one in stage.standings]
    if max(costs) < 4 * min(costs):  # too narrow for several powers of two to be in it
        axes.xaxis.set_major_locator(MaxNLocator(8))
        axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter('{x:g}')
    axes.margins(x=0.12)  # room for the names
    for stage in stages:
        macs = [one.network.cost(num_classes).macs / 1e6 for one in stage.standings]
        axes.errorbar(
            macs,
            [100 * one.seeds.mean for one in stage.standings],
            yerr=[100 * one.seeds.spread for one in stage.standings],
            label=f'{_LABELS[stage.name]}, {stage.epochs:g} epochs',
            linestyle='',
            marker='o',
            markersize=4,
            capsize=2,
        )
        for x, one in zip(macs, stage.standings, strict=True):
            name = _short(one.network, plan)
            point = (x, 100 * one.seeds.mean)
            axes.annotate(name, point, (4, 4), textcoords='offset points', fontsize='x-small')
    axes.set_xlabel('multiply-adds of one image (millions), at the training resolution')
    axes.set_ylabel('top-1 accuracy on the validation split (%)')
    axes.grid(alpha=0.3)
    axes.figure.legend(loc='outside lower center', ncols=2, fontsize='small')


def draw_curves(axes, curves):
    """Draws top-1 on the validation split against epochs: each seed thin, their mean thick.

    Args:
        axes: matplotlib.axes.Axes.
        curves: dict from a network's name to what `training_curves.curve` answers for each seed.
    """
    for number, (name, seeds) in enumerate(curves.items()):
        training_curves.draw_accuracies(axes, seeds, name, f'C{number}')
    axes.set_xlabel('epochs')
    axes.figure.legend(loc='outside lower center', ncols=2, fontsize='small')


def _short(network, plan):
    """What a picture calls a network: candidates by their number in the table."""
    if network in plan.candidates:
        return str(1 + list(plan.candidates).index(network))
    return f'phi = {network.phi:g}' if network.phi else network.model


def _title(network, plan):
    """What a table of its stage calls a network."""
    if network in plan.candidates:
        return f'{_short(network, plan)}: {scaling_costs.coefficients(network)}'
    return _name(network)


# -------------------------------------------------------------------------------------- text


class _Report:
    """The parts of a report."""

    def __init__(self, outcome, plan, head, num_classes):
        self.stages = [stage for run in outcome.stages.values() for stage in run]
        self._outcome, self._plan, self._head = outcome, plan, head
        self._classes = num_classes
        self._has_published = head['data'].startswith(_PUBLISHED_DATA)

    def text(self):
        """All of report.md."""
        lines = [f'# Compound scaling of {self._plan.base.model}', '', *head_lines(self._head), '']
        for stage in self.stages:
            lines += self._section(stage)
        lines += self._tests() if self._outcome.tested else []
        for trial, folder in self._outcome.tuned.items():
            lines += _fine_tuning(trial, folder)
        lines += ['## How to read this', '', *self._remarks(), '']
        lines += ['![accuracy against multiply-adds](accuracy_by_macs.png)', '']
        for name in dict.fromkeys(stage.kind for stage in self.stages):
            lines += [f'![{_LABELS[name]}: learning curves](curves_{name}.png)', '']
        return '\n'.join(lines)

    def _section(self, stage):
        title = f'## {_TITLES[stage.name]}: {stage.epochs:g} epochs'
        lines = [title, '', self._table(stage), '', self._verdict(stage), '']
        for trial, reason in stage.failed.items():
            lines += [f'Failed: {trial.name}, {reason}', '']
        return lines

    def _table(self, stage):
        """The standings of a stage."""
        searched = stage.name in ('rung', 'search', 'final')
        rows = [['alpha, beta, gamma' if searched else 'network']]
        rows[0] += ['px', 'parameters', 'MACs (M)', 'ratio', '2^phi', *SEED_CELLS]
        rows[0] += ['rank', 'to the best', 'minutes']
        if self._has_same(stage):
            rows[0].append('the same as')
        if self._has_published:
            rows[0].append('AdamStein97 (%)')
        for one in stage.standings:
            rows.append(self._row(stage, one))
        return table(rows)

    def _row(self, stage, one):
        network, plan = one.network, self._plan
        costs = scaling_costs.facts(network, plan.base, self._classes)
        ranks = dict.fromkeys((one.best_rank, one.worst_rank))
        return [
            _title(network, plan),
            costs[0],
            *costs[3:],
            *seed_cells(one.seeds),
            ' to '.join(map(str, ranks)),
            _to_the_best(stage, one),
            f'{one.minutes:.1f}',
            *([scaling_costs.same_as(self._same(network))] if self._has_same(stage) else []),
            *([_published(network)] if self._has_published else []),
        ]

    def _same(self, network):
        """The candidates that rounding made the same network as this one."""
        return self._plan.candidates.get(network, [])

    def _has_same(self, stage):
        return any(self._same(one.network) for one in stage.standings)

    def _verdict(self, stage):
        """What the table of a stage says, in a sentence."""
        best, *others = stage.standings
        if not others:
            return f'On the validation split: {seed_cells(best.seeds)[0]} %.'
        like = [_title(o.network, self._plan) for o in others if stage.is_like_best(o)]
        apart = f'not told apart from {"; ".join(like)}' if like else 'told apart from all others'
        return f'The best is {_title(best.network, self._plan)}, {apart}.'

    def _tests(self):
        """The networks that came out, on the test split."""
        rows = [['network', 'trained for', 'px', *SEED_CELLS, 'photos']]
        groups = {}
        for trial, numbers in self._outcome.tested.items():
            key = (trial.stage, trial.network, trial.epochs)
            groups.setdefault(key, {})[trial.seed] = numbers
        for (_, network, epochs), results in groups.items():
            seeds = Seeds(
                {seed: numbers['top1'] for seed, numbers in results.items()},
                max(numbers['top1_error'] for numbers in results.values()),
            )
            size, *_ = {numbers['examples'] for numbers in results.values()}
            trained = [f'{epochs:g} epochs', str(network.config.resolution)]
            rows.append([_name(network), *trained, *seed_cells(seeds), str(size)])
        return ['## On the test split', '', table(rows), '']

    def _remarks(self):
        lines = [
            'Accuracies are on the validation split where nothing else is said; the test split '
            f'was scored once, for the networks that came out. {ABOUT_SPREAD} '
            f'{ABOUT_CLAIMS} A rank "1 to 3" is that of a network that is not told apart from two '
            f'others. ratio: multiply-adds, to those of {self._plan.base.model}; 2^phi is what the '
            'papers promise.'
        ]
        return [*lines, '', _ABOUT_PUBLISHED] if self._has_published else lines

    # ---------------------------------------------------------------------------- numbers

    def curves(self, folder):
        """For each kind of trial, the curves of each network's seeds."""
        found = {}
        for stage in self.stages:
            for one in stage.standings:
                folders = [folder / 'trials' / trial.name for trial in stage.trials_of(one)]
                points = [
                    training_curves.curve(read_metrics(run), ['train'], 'validation', 'top1')
                    for run in folders
                ]
                found.setdefault(stage.kind, {})[_title(one.network, self._plan)] = points
        return found

    def numbers(self):
        """All of report.json."""
        return {
            'run': self._head,
            'base': self._plan.base.model,
            'stages': [self._numbers_of(stage) for stage in self.stages],
            'test': [
                {'trial': trial.name, **numbers} for trial, numbers in self._outcome.tested.items()
            ],
            'fixres': {trial.name: str(path) for trial, path in self._outcome.tuned.items()},
        }

    def _numbers_of(self, stage):
        return {
            'stage': stage.name,
            'epochs': stage.epochs,
            'standings': [
                {
                    'network': one.network.label,
                    'model': one.network.model,
                    **one.network.options,
                    **dataclasses.asdict(one.network.cost(self._classes)),
                    **one.seeds.numbers(),
                    'ranks': [one.best_rank, one.worst_rank],
                    'minutes': one.minutes,
                    'seeds': one.seeds.top1,
                }
                for one in stage.standings
            ],
            'failed': {trial.name: reason for trial, reason in stage.failed.items()},
        }


def _name(network):
    if not network.coefficients:
        return network.model
    return f'{network.model}, phi = {network.phi:g} by {scaling_costs.coefficients(network)}'


def _to_the_best(stage, one):
    """By how much a network is behind the best, and whether that is more than chance may be."""
    if one is stage.best:
        return ''
    points = f'{100 * (one.seeds.mean - stage.best.seeds.mean):.2f}'
    return f'{points}, not told apart' if stage.is_like_best(one) else points


def _published(network):
    """AdamStein97's accuracy of a network, as text; '' if it has none."""
    if not network.coefficients:
        value = _PUBLISHED_BASES.get(network.model)
    elif network.model == 'mbconv_c':
        numbers = dataclasses.astuple(network.coefficients)
        value = _PUBLISHED_SCALED.get((*numbers, network.phi))
    else:
        value = None
    return f'{value:.2f}' if value else ''


def _fine_tuning(trial, folder):
    """The FixRes run that went on with a scaled network."""
    rows = [['network', 'tested at (px)', 'top-1 (%)', 'photos']]
    for row in read_json(folder / 'report.json')['results']:
        top1 = percent(row['top1'], row['top1_error'])
        rows.append([row['name'], str(row['resolution']), top1, str(row['examples'])])
    return [
        f'## FixRes, from seed {trial.seed} of the scaled network',
        '',
        table(rows),
        '',
        f'On the test split; the whole report is {folder}/report.md.',
        '',
    ]
