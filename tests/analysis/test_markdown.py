"""Tables and lists in Markdown."""

from tfnets.analysis import markdown


def test_columns_end_flush_right_but_the_first():
    assert markdown.table([['name', '%'], ['a', '12.5'], ['longer', '3']]).splitlines() == [
        '| name   |    % |',
        '| :----- | ---: |',
        '| a      | 12.5 |',
        '| longer |    3 |',
    ]


def test_a_line_for_each_fact():
    assert markdown.head_lines({'data': 'sample', 'seed': 3}) == ['- data: sample', '- seed: 3']
