"""Tables and lists in Markdown."""

from tfnets.analysis import markdown
from tfnets.training.seeds import Seeds


def test_columns_end_flush_right_but_the_first():
    assert markdown.table([['name', '%'], ['a', '12.5'], ['longer', '3']]).splitlines() == [
        '| name   |    % |',
        '| :----- | ---: |',
        '| a      | 12.5 |',
        '| longer |    3 |',
    ]


def test_a_line_for_each_fact():
    assert markdown.head_lines({'data': 'sample', 'seed': 3}) == ['- data: sample', '- seed: 3']


def test_a_bar_in_a_cell_is_no_end_of_it():
    assert markdown.table([['line'], ['a | b']]).splitlines()[-1] == r'| a \| b |'


def test_seeds():
    seeds = {0: 0.80, 1: 0.84, 2: 0.85}  # deviation 0.0265
    each = '0: 80.00, 1: 84.00, 2: 85.00'
    assert markdown.seed_cells(Seeds(seeds, 0.04)) == ['83.00 ± 4.00', 'binomial', each]
    assert markdown.seed_cells(Seeds(seeds, 0.02)) == ['83.00 ± 2.65', 'deviation', each]
    assert markdown.seed_cells(Seeds({0: 0.8}, 0.01)) == ['80.00 ± 1.00', 'binomial', '0: 80.00']


def test_scores():
    row = {'top1': 0.5, 'top1_error': 0.01, 'balanced': 0.4, 'loss': 1.25, 'examples': 2500}
    first = {'tested at (px)': 'resolution'}
    assert markdown.scores([{**row, 'resolution': 64}], first).splitlines()[::2] == [
        '| tested at (px) |    top-1 (%) | balanced (%) |   loss | photos |',
        '| 64             | 50.00 ± 1.00 |        40.00 | 1.2500 |   2500 |',
    ]
    table = markdown.scores([{**row, 'resolution': 64, 'top5': 0.75, 'minutes': 2.04}], first)
    assert '| top-5 (%) |' in table
    assert table.endswith('|     75.00 |        40.00 | 1.2500 |   2500 |     2.0 |')
