"""Runs side by side, finished or not: a table, and their curves over the epochs."""

import dataclasses
import functools
import pathlib

import numpy as np

from tfnets.analysis import markdown, training_curves
from tfnets.files import read_json
from tfnets.models import registry
from tfnets.training.record import read_metrics, training_minutes

# More points than these nobody sees in a curve.
_POINTS = 300


@dataclasses.dataclass(frozen=True)
class PhaseRecord:
    """What a run wrote down of one phase.

    Attributes:
        name: of the phase.
        start: epochs of the phases before it.
        train: lines of the record, dicts.
        validation: lines of the record.
        batch_size: of the run.
        result: what stands in result.json, None if the phase is not finished.
    """

    name: str
    start: float
    train: list[dict]
    validation: list[dict]
    batch_size: int
    result: dict | None

    @property
    def epochs(self):
        """That were made so far."""
        return self.train[-1]['epoch'] if self.train else 0.0

    @property
    def minutes(self):
        """That training took so far, interruptions and evaluations not counted."""
        if self.result:
            return self.result['minutes']
        return training_minutes(self.train, self.batch_size)

    @property
    def top1(self):
        """Those of the validations, in their order."""
        return [line['top1'] for line in self.validation if 'top1' in line]

    def curve(self, split, metric):
        """A metric of 'train' or 'validation' over the epochs of the run.

        Returns:
            Two float64 arrays [points]; a training of many lines is averaged over stretches.
        """
        lines = [*self.train, *self.validation]
        points = np.asarray(training_curves.curve(lines, [self.name], split, metric)).reshape(-1, 2)
        if split == 'train' and len(points) > _POINTS:
            points = np.asarray([piece.mean(0) for piece in np.array_split(points, _POINTS)])
        return self.start + points[:, 0], points[:, 1]


@dataclasses.dataclass(frozen=True)
class RunRecord:
    """A run's folder, read.

    Attributes:
        path: of the folder.
        run: what stands in run.json.
        phases: list of PhaseRecord, in the order in which they were trained.
        report: what stands in report.json, {} before the run is finished.
    """

    path: pathlib.Path
    run: dict
    phases: list[PhaseRecord]
    report: dict

    @property
    def model(self):
        """--model and its options in a word."""
        given = self.run['flags']
        options = [f'{name}={given[name]}' for name in registry.OPTIONS if name in given]
        return ':'.join([given.get('model', ''), *options])

    @functools.cached_property
    def shown(self):
        """The phase whose accuracy is that of the run: the deployed one, or the latest so far."""
        measured = [phase for phase in self.phases if phase.top1] or self.phases
        deployed = self.report.get('deployed')
        return next((p for p in self.phases if p.name == deployed), measured[-1])

    @property
    def test_top1(self):
        """Of the deployed network on the test split, at its own resolution; None if not there."""
        resolution = (read_json(self.path / 'inputs.json') or {}).get('resolution')
        # Each recipe has a report of its own.
        for row in self.report.get('results') or self.report.get('rows') or []:
            phase = row.get('phase', (row.get('phases') or [None])[-1])
            here = row.get('resolution', resolution) == resolution
            test = row.get('split', 'test') == 'test'
            if phase == self.report['deployed'] and here and test and 'top1' in row:
                return row['top1']
        return None


def read(path):
    """Reads a run's folder.

    Args:
        path: pathlib.Path.

    Returns:
        RunRecord; of a run that has written nothing down yet without phases.
    """
    run, lines = read_json(path / 'run.json'), read_metrics(path)
    phases, start = [], 0.0
    for name in dict.fromkeys(line['phase'] for line in lines):
        own = {
            split: [line for line in lines if (line['phase'], line['split']) == (name, split)]
            for split in ('train', 'validation')
        }
        result = read_json(path / 'phases' / name / 'result.json')
        phase = PhaseRecord(name, start, **own, batch_size=_batch_size(run), result=result)
        phases.append(phase)
        start += phase.epochs
    return RunRecord(path, run, phases, read_json(path / 'report.json', {}))


def _batch_size(run):
    return int(run['flags']['batch_size'])


def names(records):
    """A name for each run: its folder's, or where two are equal its path."""
    short = [record.path.resolve().name for record in records]
    return [
        name if short.count(name) == 1 else str(record.path)
        for name, record in zip(short, records, strict=True)
    ]


def table(records):
    """A markdown table of runs, one row each; phases of a run are added up.

    Accuracies are those of one phase, which is named: the run's network, or the latest so far.
    """
    rows = [['run', 'model', 'parameters', 'multiply-adds (M)', 'epochs, all phases']]
    rows[0] += ['minutes, all phases', 'phase', *_ACCURACIES, 'test top-1 (%)']
    for name, record in zip(names(records), records, strict=True):
        run, phase = record.run, record.shown
        rows.append(
            [
                name if record.report else f'{name} (not finished)',
                record.model,
                _shown(run.get('trainable_parameters'), '{:,}'),
                _shown(run.get('multiply_adds'), '{:,.1f}', 1e-6),
                f'{sum(phase.epochs for phase in record.phases):.4g}',
                f'{sum(phase.minutes for phase in record.phases):.1f}',
                phase.name,
                *_accuracies(phase),
                _shown(record.test_top1, '{:.2f}', 100),
            ]
        )
    return markdown.table(rows)


def phase_table(record):
    """A markdown table of a run's phases."""
    rows = [['phase', 'epochs', 'minutes', *_ACCURACIES, 'last loss']]
    for phase in record.phases:
        rows.append(
            [
                phase.name if phase.result else f'{phase.name} (not finished)',
                f'{phase.epochs:.4g}',
                f'{phase.minutes:.1f}',
                *_accuracies(phase),
                _shown(phase.validation[-1]['loss'] if phase.validation else None, '{:.4g}'),
            ]
        )
    return markdown.table(rows)


_ACCURACIES = ('best validation top-1 (%)', 'last (%)')


def _accuracies(phase):
    """The cells below _ACCURACIES."""
    last = phase.top1[-1] if phase.top1 else None
    return [_shown(max(phase.top1, default=None), '{:.2f}', 100), _shown(last, '{:.2f}', 100)]


def _shown(value, form, factor=1):
    return '' if value is None else form.format(value * factor)


def draw(panels, records):
    """Draws loss, top-1 accuracy and learning rate over the epochs, all runs in each.

    Args:
        panels: three matplotlib.axes.Axes.
        records: list of RunRecord, each with phases; of a single one the phases are named.
    """
    for number, (name, record) in enumerate(zip(names(records), records, strict=True)):
        colour = f'C{number % 10}'
        for phase in record.phases:
            _draw(panels, phase, colour)
        for panel in panels:
            for phase in record.phases[1:]:
                panel.axvline(phase.start, color=colour, linewidth=0.6, linestyle=':')
        panels[0].plot([], [], color=colour, label=name)
    if len(records) == 1:
        for phase in records[0].phases:
            place = {'xycoords': ('data', 'axes fraction'), 'fontsize': 'x-small', 'va': 'bottom'}
            panels[0].annotate(phase.name, (phase.start, 1.01), rotation=20, **place)
    panels[0].plot([], [], color='grey', linewidth=0.8, alpha=0.6, label='training')
    panels[0].plot([], [], color='grey', marker='o', markersize=3, label='validation')
    panels[0].legend(fontsize='small')
    panels[0].set_ylabel('loss')
    panels[1].set_ylabel('top-1 accuracy (%)')
    panels[2].set_ylabel('learning rate')
    _set_scales(panels, [line for r in records for p in r.phases for line in p.train])
    panels[2].set_xlabel('epochs, phases one after the other')
    for panel in panels:
        panel.grid(alpha=0.3)


def _set_scales(panels, lines):
    """Logarithmic for learning rates, and for losses that are of several kinds."""
    panels[0].set_xlim(left=0)
    losses, rates = (
        [line[name] for line in lines if (line[name] or 0) > 0] or [1]
        for name in ('loss', 'learning_rate')
    )
    if max(losses) > 100 * min(losses):
        panels[0].set_yscale('log')
    panels[2].set_yscale('log')
    # The last steps of a cosine would take all the room.
    panels[2].set_ylim(bottom=max(min(rates), 1e-4 * max(rates)) / 2)


def _draw(panels, phase, colour):
    """The curves of one phase: training thin, validation with a mark for each."""
    for panel, metric, factor in zip(panels, ('loss', 'top1'), (1, 100), strict=False):
        epochs, values = phase.curve('train', metric)
        panel.plot(epochs, factor * values, color=colour, linewidth=0.8, alpha=0.6)
        epochs, values = phase.curve('validation', metric)
        panel.plot(epochs, factor * values, color=colour, marker='o', markersize=3)
    epochs, values = phase.curve('train', 'learning_rate')
    panels[2].plot(epochs, values, color=colour)
