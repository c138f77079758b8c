"""Reports in Markdown, laid out so that they read well on a terminal too."""

from tfnets.files import remove, write_json, write_text
from tfnets.training.evaluation import percent
from tfnets.training.seeds import SEEDS_FOR_A_CLAIM

# The headings of `seed_cells`.
SEED_CELLS = ('top-1 (%)', '± is', 'each seed (%)')

ABOUT_SPREAD = (
    '± is the spread: the larger of the standard deviation over the seeds and of the standard '
    "error of a binomial draw of so many photos, the networks' largest."
)
ABOUT_CLAIMS = (
    'Two are told apart where the difference of their means exceeds the spread of both, and each '
    f'has at least {SEEDS_FOR_A_CLAIM} seeds. That is no test of significance: with three seeds, '
    'of two that are equal one pair in five would be told apart so by chance.'
)


def save(folder, text, numbers):
    """Writes report.json and report.md; while the latter is there, both are of one writing.

    Args:
        folder: pathlib.Path.
        text: of report.md.
        numbers: of report.json.
    """
    remove(folder / 'report.md')
    write_json(folder / 'report.json', numbers)
    write_text(folder / 'report.md', text)


def head_lines(head):
    """What a run was, a line for each fact.

    Args:
        head: dict from a fact's name to its value.

    Returns:
        List of str.
    """
    return [f'- {name}: {value}' for name, value in head.items()]


def table(rows):
    """A table whose columns, but the first, end flush right.

    Args:
        rows: list of lists of str, all equally long; the first holds the headings.

    Returns:
        str of several lines.
    """
    rows = [[cell.replace('|', r'\|') for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]

    def line(cells):
        flush_right = (text.rjust(width) for text, width in zip(cells[1:], widths[1:], strict=True))
        return f'| {" | ".join([cells[0].ljust(widths[0]), *flush_right])} |'

    rule = [':' + '-' * (widths[0] - 1), *('-' * (width - 1) + ':' for width in widths[1:])]
    return '\n'.join(line(cells) for cells in [rows[0], rule, *rows[1:]])


def seed_cells(seeds):
    """What tables show of Seeds, in percent: mean and spread, what the spread is, each seed.

    Args:
        seeds: training.seeds.Seeds.

    Returns:
        List of str.
    """
    each = ', '.join(f'{seed}: {100 * top1:.2f}' for seed, top1 in seeds.top1.items())
    kind = 'deviation' if (seeds.deviation or 0.0) > seeds.binomial else 'binomial'
    return [percent(seeds.mean, seeds.spread), kind, each]


def scores(results, first):
    """A table of networks that were scored, a row each.

    Args:
        results: dicts of 'top1', 'top1_error', 'balanced', 'loss', 'examples', maybe 'top5' and
            'minutes'.
        first: dict from the heading of each further column, which stand before, to its key.

    Returns:
        str of several lines; without top-5 and minutes where no result has them.
    """
    columns = {heading: lambda r, key=key: str(r[key]) for heading, key in first.items()}
    columns['top-1 (%)'] = lambda r: percent(r['top1'], r['top1_error'])
    if any('top5' in r for r in results):
        columns['top-5 (%)'] = lambda r: f'{100 * r["top5"]:.2f}'
    columns |= {
        'balanced (%)': lambda r: f'{100 * r["balanced"]:.2f}',
        'loss': lambda r: f'{r["loss"]:.4f}',
        'photos': lambda r: str(r['examples']),
    }
    if any('minutes' in r for r in results):
        columns['minutes'] = lambda r: f'{r["minutes"]:.1f}'
    return table([[*columns], *([cell(r) for cell in columns.values()] for r in results)])
