"""Tables of costs: their rows, and how those of several networks are put together."""

from tfnets.analysis import cost_table, flops


def cost_of(*layers, not_counted=()):
    """A network of 1x1 convolutions on 8x8 images of 4 channels, as (stage, filters) each."""
    costs = [
        flops.LayerCost(
            f'{stage}.conv',
            'Conv2D',
            stage,
            (8, 8, filters),
            parameters=5 * filters,
            trainable=4 * filters,
            macs=64 * 4 * filters,
        )
        for stage, filters in layers
    ]
    return flops.ModelCost(8, tuple(costs), tuple(not_counted))


def rows_of(text):
    lines = text.partition('\n\n')[0].splitlines()
    assert len({len(line) for line in lines}) == 1
    return [[cell.strip() for cell in line.strip('|').split('|')] for line in lines]


def test_a_network_by_stage_and_by_layer():
    cost = cost_of(('stem', 1000), ('head', 3000))
    text = cost_table.table(cost)
    assert flops.COUNTED in text
    rows = rows_of(text)
    assert rows[0] == ['stage', 'output', 'parameters', 'MACs (M)', 'share (%)']
    assert rows[2:] == [
        ['stem', '8x8x1000', '5,000', '0.26', '25.0'],
        ['head', '8x8x3000', '15,000', '0.77', '75.0'],
        ['total', '', '20,000', '1.02', '100.0'],
        ['of it trainable', '', '16,000', '', ''],
    ]
    by_layer = rows_of(cost_table.table(cost, by_layer=True))
    assert [row[0] for row in by_layer[:4:3]] == ['layer', 'head.conv']


def test_a_network_without_multiplications():
    rows = rows_of(cost_table.table(flops.ModelCost(8, (), ())))
    assert rows[2] == ['total', '', '0', '0.00', '0.0']


def test_what_is_not_counted_is_named():
    cost = cost_of(('stem', 4), not_counted=['attention', 'mixing'])
    assert 'more than this: attention, mixing' in cost_table.table(cost)
    assert 'Not counted in b, ' in cost_table.comparison([('a', cost_of()), ('b', cost)])


def test_a_comparison_matches_rows_by_name_and_puts_kin_together():
    one = cost_of(('stem', 4), ('stage1.big', 4), ('head', 4))
    other = cost_of(('stem', 4), ('stage1', 4), ('extra', 4), ('head', 8))
    text = cost_table.comparison([('one', one), ('other', other)])
    assert flops.COUNTED in text
    rows = rows_of(text)
    assert rows[0] == ['stage', 'one', 'parameters', 'MACs (M)', 'other', 'parameters', 'MACs (M)']
    assert [row[0] for row in rows[2:]] == [
        *('stem', 'stage1.big', 'stage1', 'extra', 'head', 'total'),
        *('of it trainable', 'ratio to one'),
    ]
    assert rows[3] == ['stage1.big', '8x8x4', '20', '0.00', '', '', '']
    assert rows[-1] == ['ratio to one', '', '1.000', '1.000', '', '1.667', '1.667']
