"""The report of a compound scaling: what it says of ranks, costs, tests and another project."""

import dataclasses
import json

import pytest
from matplotlib.figure import Figure

from tfnets.analysis import scaling_costs, scaling_report
from tfnets.recipes import compound_scaling, ranking, scaled_networks
from tfnets.recipes.compound_scaling import Outcome, Plan, Stage
from tfnets.recipes.ranking import Score
from tfnets.recipes.scaled_networks import Coefficients

BASE = scaled_networks.base('mbconv_c')
CANDIDATES = [
    scaled_networks.scaled(BASE, Coefficients(*numbers), 1)
    for numbers in [(1.2, 1.05, 1.23), (1.4, 1.17, 1.02)]
]
SCALED = scaled_networks.scaled(BASE, CANDIDATES[0].coefficients, 4)


def stage(name, top1, epochs=10.0, failed=None):
    """A stage of networks with three seeds each, the third in the middle of the others."""
    scored = {
        network: {seed: Score(value + 0.01 * (0, 3, 1.5)[seed], 2000, 1.5) for seed in range(3)}
        for network, value in top1.items()
    }
    return Stage(name, epochs, ranking.rank(scored), failed or {})


@pytest.fixture
def plan():
    return Plan(
        bases=[scaled_networks.base(name) for name in ('mbconv_a', 'mbconv_b', 'mbconv_c')],
        base=BASE,
        candidates={network: [] for network in CANDIDATES},
        phi=4.0,
        coefficients=None,
        compare_epochs=10.0,
        search_epochs=10.0,
        final_epochs=20.0,
        scale_epochs=10.0,
        compare_seeds=(0, 1),
        search_seeds=(0, 1),
        scale_seeds=(0, 1),
    )


def test_like_the_best_is_what_is_not_told_apart_from_it_itself(plan):
    """Not by its rank, which says how many others are better and told apart."""
    networks = dict(zip('abc', plan.bases, strict=True))
    top1 = {'a': (0.85, 0.89, 0.91), 'b': (0.877, 0.877, 0.877), 'c': (0.866, 0.866, 0.866)}
    scored = {
        networks[name]: {seed: Score(value, 100_000, 1.0) for seed, value in enumerate(values)}
        for name, values in top1.items()
    }
    found = Stage('compare', 10.0, ranking.rank(scored), {})
    assert [one.best_rank for one in found.standings] == [1, 1, 2]
    report = scaling_report._Report(
        compound_scaling.Outcome({'compare': [found]}, {}, {}), plan, {'data': 'others'}, 2
    )
    assert 'The best is mbconv_a, not told apart from mbconv_b; mbconv_c.' in report.text()


def test_what_rounding_made_the_same_stands_beside(plan):
    first, second = CANDIDATES
    found = Stage('search', 10.0, stage('search', {first: 0.85, second: 0.83}).standings, {})
    same = dataclasses.replace(plan, candidates={first: [], second: [first]})
    for settings, heading in ((plan, False), (same, True)):
        text = scaling_report._Report(
            compound_scaling.Outcome({'search': [found]}, {}, {}), settings, {'data': 'x'}, 2
        ).text()
        assert ('the same as' in text) == heading
    (line,) = (line for line in text.splitlines() if line.startswith('| 2: 1.4, 1.17, 1.02'))
    assert line.endswith(' 1.2, 1.05, 1.23 |')


@pytest.fixture
def outcome(plan, tmp_path):
    first, second = CANDIDATES
    failed = {compound_scaling.Trial('search', second, 2, 10.0): 'exit code 3: the loss is NaN'}
    stages = {
        'compare': [stage('compare', dict(zip(plan.bases, (0.70, 0.80, 0.81), strict=True)))],
        'search': [
            stage('rung', {first: 0.6, second: 0.65}, epochs=5.0),
            stage('search', {first: 0.85, second: 0.83}, failed=failed),
        ],
        'scale': [stage('scale', {SCALED: 0.9})],
    }
    scale_trial = compound_scaling.trials('scale', [SCALED], [0], 10.0)[0]
    numbers = {'examples': 4000, 'loss': 0.3, 'top1': 0.89, 'top1_error': 0.005}
    fixres = tmp_path / 'fixres'
    fixres.mkdir()
    row = {'name': '(c) fine-tuned: all', 'resolution': 293, **numbers}
    (fixres / 'report.json').write_text(json.dumps({'results': [row]}))
    return Outcome(stages, {scale_trial: numbers}, {scale_trial: fixres})


@pytest.fixture
def report(plan, outcome, tmp_path):
    """A function that writes the report of a data set; answers its text and its numbers."""
    for run in outcome.stages.values():
        for one in run[-1].standings:
            for trial in run[-1].trials_of(one):
                write_metrics(tmp_path / 'trials' / trial.name)

    def write(data):
        head = {'flags': 'flags.cfg', 'data': data}
        text = scaling_report.write_report(tmp_path, outcome, plan, head, 2)
        assert (tmp_path / 'report.md').read_text() == text
        return text, json.loads((tmp_path / 'report.json').read_text())

    return write


def write_metrics(folder):
    folder.mkdir(parents=True)
    with open(folder / 'metrics.jsonl', 'w') as file:
        for step in (5, 10):
            line = {'phase': 'train', 'step': step, 'top1': step / 20}
            file.write(json.dumps({**line, 'split': 'train', 'epoch': step}) + '\n')
            file.write(json.dumps({**line, 'split': 'validation'}) + '\n')


def cells(text, first):
    (line,) = (line for line in text.splitlines() if line.startswith(f'| {first} '))
    return [cell.strip() for cell in line.strip('|').split('|')]


def test_ranks_and_costs(report):
    text, numbers = report('./photos')
    # Deviations of 0.015 exceed the binomial errors of 2,000 photos, of 0.0103 at most.
    assert cells(text, 'mbconv_c')[1:] == [
        *('64', '49,760', '3.87', '1.00', '1', '82.50 ± 1.50', 'deviation'),
        *('0: 81.00, 1: 84.00, 2: 82.50', '1 to 2', '', '1.5'),
    ]
    assert cells(text, 'mbconv_b')[8:12] == [
        '0: 80.00, 1: 83.00, 2: 81.50',
        '1 to 2',
        '-1.00, not told apart',
        '1.5',
    ]
    assert cells(text, 'mbconv_a')[9:11] == ['3', '-11.00']
    assert 'The best is mbconv_c, not told apart from mbconv_b.' in text
    assert 'The best is 1: 1.2, 1.05, 1.23, told apart from all others.' in text
    compare, rung, search, scale = numbers['stages']
    assert [s['network'] for s in compare['standings']] == ['mbconv_c', 'mbconv_b', 'mbconv_a']
    assert compare['standings'][0]['ranks'] == [1, 2]
    assert compare['standings'][0]['seeds']['1'] == pytest.approx(0.84)
    assert (rung['stage'], rung['epochs']) == ('rung', 5)
    assert scale['standings'][0]['trainable'] == 136_061
    assert scale['standings'][0]['macs'] / 1e6 == pytest.approx(39.3, abs=0.05)


def test_what_failed_is_told(report):
    text, numbers = report('./photos')
    name = 'search.mbconv_c.phi1.a1.4_b1.17_g1.02.seed2'
    assert f'Failed: {name}, exit code 3: the loss is NaN' in text
    assert numbers['stages'][2]['failed'] == {name: 'exit code 3: the loss is NaN'}


def test_the_other_projects_numbers_stand_beside_those_of_its_own_data_only(report):
    text, _ = report('cats_vs_dogs; photos: 12000')
    assert cells(text, 'mbconv_a')[-1] == '68.47'
    searched = [line for line in text.splitlines() if line.startswith('| 1: 1.2, 1.05, 1.23 ')]
    assert all(line.rstrip(' |').endswith('89.09') for line in searched)
    assert len(searched) == 2
    assert '89.77' in text
    assert 'leaked' in text
    text, _ = report('./photos')
    assert '68.47' not in text
    assert 'AdamStein97' not in text


def test_the_test_split_and_fixres(report):
    text, numbers = report('./photos')
    (tested,) = (line for line in text.splitlines() if '10 epochs |' in line)
    assert '89.00 ± 0.50 | binomial' in tested
    assert numbers['test'][0]['trial'] == 'scale.mbconv_c.phi4.a1.2_b1.05_g1.23.seed0'
    assert cells(text, '(c) fine-tuned: all')[1:] == ['293', '89.00 ± 0.50', '4000']


def test_networks_of_about_the_same_cost_have_marks_on_the_axis(plan):
    axes = Figure().subplots()
    found = stage('search', {network: 0.8 for network in CANDIDATES})
    scaling_report.draw_accuracies(axes, [found], plan, 2)
    low, high = axes.get_xlim()
    assert sum(low <= mark <= high for mark in axes.get_xticks()) >= 2


def test_pictures(report, plan, outcome, tmp_path):
    text, _ = report('./photos')
    for name in ('accuracy_by_macs', 'curves_compare', 'curves_search', 'curves_scale'):
        assert (tmp_path / f'{name}.png').read_bytes().startswith(b'\x89PNG')
        assert f']({name}.png)' in text
    axes = Figure().subplots()
    stages = [stage for run in outcome.stages.values() for stage in run]
    scaling_report.draw_accuracies(axes, stages, plan, 2)
    labels = [container.get_label() for container in axes.containers]
    assert labels == ['base networks, 10 epochs', 'candidates, 10 epochs', 'scaled, 10 epochs']
    (line, *_), (points, *_) = axes.containers[0], axes.containers[2]
    millions = [network.cost(2).macs / 1e6 for network in reversed(plan.bases)]
    assert list(line.get_xdata()) == pytest.approx(millions)  # the best first: C, B, A
    assert list(points.get_ydata()) == pytest.approx([91.5])
    names = {text.get_text() for text in axes.texts}
    assert names == {'mbconv_a', 'mbconv_b', 'mbconv_c', '1', '2', 'phi = 4'}


def test_curves_are_means_of_the_seeds():
    axes = Figure().subplots()
    seeds = [[(1.0, 0.2), (2.0, 0.4)], [(1.0, 0.4), (2.0, 0.8)]]
    scaling_report.draw_curves(axes, {'one': seeds, 'two': seeds[:1]})
    thick = [line for line in axes.lines if line.get_marker() == 'o']
    assert [list(line.get_ydata()) for line in thick] == [
        pytest.approx([30, 60]),
        pytest.approx([20, 40]),
    ]
    assert len(axes.lines) == 4


def test_tables_of_costs_before_training(plan):
    rows = scaling_costs.candidates([(CANDIDATES[0], [CANDIDATES[1]], '0 2')], BASE, 2)
    assert cells(rows, '1.2, 1.05, 1.23')[1:] == [
        *('2.002', '79', '17 23 27 34', '1 1 2 1', '53,715', '6.30', '1.63', '2', '0 2'),
        '1.4, 1.17, 1.02',
    ]
    rows = scaling_costs.networks([('phi = 4', SCALED, '')], BASE, 2)
    assert cells(rows, 'phi = 4')[1:8] == [
        *('146', '19 27 32 39', '1 2 4 2', '136,061', '39.29', '10.16', '16')
    ]
    published = scaling_costs.published(1000)
    assert cells(published, 'b7')[1:6] == ['2', '3.1', '600', '66,347,960', '37,745.88']
