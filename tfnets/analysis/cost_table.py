"""Tables of what networks cost, in Markdown: one network, or several side by side."""

from tfnets.analysis import flops, markdown

_HEADINGS = ('output', 'parameters', 'MACs (M)')


def table(model_cost, by_layer=False):
    """A Markdown table of a network's stages, or layers, with totals.

    Args:
        model_cost: flops.ModelCost.
        by_layer: whether its rows are layers.

    Returns:
        str of several lines; what is counted stands in the last ones.
    """
    total = model_cost.macs
    rows = [['layer' if by_layer else 'stage', *_HEADINGS, 'share (%)']]
    for row in _rows(model_cost, by_layer):
        share = f'{100 * row.macs / total if total else 0:.1f}'
        rows.append([row.name, *_cells(row), share])
    rows.append(['total', *_totals(model_cost), '100.0' if total else '0.0'])
    rows.append(['of it trainable', '', f'{model_cost.trainable:,}', '', ''])
    return '\n'.join([markdown.table(rows), '', *_remarks([('', model_cost)])])


def comparison(named, by_layer=False):
    """A Markdown table of several networks side by side.

    Rows of the same name stand in one line; a row that only some have stands beside its kin.

    Args:
        named: list of (name, flops.ModelCost), at least one; ratios are to the first.
        by_layer: whether rows are layers, else stages.

    Returns:
        str of several lines; what is counted stands in the last ones.
    """
    columns = [{row.name: row for row in _rows(cost, by_layer)} for _, cost in named]
    rows = [['layer' if by_layer else 'stage']]
    for name, _ in named:
        rows[0] += [name, *_HEADINGS[1:]]
    for name in _merged(columns):
        cells = (_cells(column[name]) if name in column else [''] * 3 for column in columns)
        rows.append([name, *sum(cells, [])])
    costs = [cost for _, cost in named]
    rows.append(['total', *sum((_totals(cost) for cost in costs), [])])
    rows.append(['of it trainable', *sum((['', f'{c.trainable:,}', ''] for c in costs), [])])
    rows.append([f'ratio to {named[0][0]}', *sum((_ratios(c, costs[0]) for c in costs), [])])
    return '\n'.join([markdown.table(rows), '', *_remarks(named)])


def _rows(model_cost, by_layer):
    return model_cost.layers if by_layer else flops.stages(model_cost)


def _cells(row):
    size = 'x'.join(str(size or '?') for size in row.output_shape)
    return [size, f'{row.parameters:,}', f'{row.macs / 1e6:,.2f}']


def _totals(model_cost):
    return ['', f'{model_cost.parameters:,}', f'{model_cost.macs / 1e6:,.2f}']


def _ratios(model_cost, first):
    def ratio(part, whole):
        return f'{part / whole:.3f}' if whole else ''

    return [
        '',
        ratio(model_cost.parameters, first.parameters),
        ratio(model_cost.macs, first.macs),
    ]


def _merged(columns):
    """The names of all columns in one order, each column's own names in theirs.

    A name that the columns before do not have stands before the next one that they do have if the
    two are kin (stage2.big and stage2.little), else behind the last of its kin; without kin, too,
    before the next one.
    """
    names = list(columns[0])
    for column in columns[1:]:
        known = set(names)
        place = len(names)
        for name in reversed(column):
            if name in known:
                place = names.index(name)
                continue
            kin = [there in known and _are_kin(there, name) for there in names]
            if any(kin) and not _are_kin(name, *names[place : place + 1]):
                place = len(kin) - kin[::-1].index(True)
            names.insert(place, name)
    return names


def _are_kin(*names):
    return len(names) > 1 and len({name.split('.')[0] for name in names}) == 1


def _remarks(named):
    lines = [flops.COUNTED]
    for name, model_cost in named:
        if model_cost.not_counted:
            where = f' in {name}' if name else ''
            lines.append(
                f'Not counted{where}, though they multiply, so that its MACs are more than this: '
                f'{", ".join(model_cost.not_counted)}.'
            )
    return lines
