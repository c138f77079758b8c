"""The report of a FixRes run: what was gained, and what of it is mere extra training."""

import dataclasses

from tfnets.analysis.figures import drawing
from tfnets.analysis.markdown import head_lines, save, scores

_TITLES = {
    'train': 'trained',
    'finetune': 'fine-tuned',
    'control': 'control',
    'high_resolution': 'trained at the higher resolution',
}


def write_report(run_dir, outcome, plan, head):
    """Writes report.md, report.json and accuracy_by_resolution.png into a run's folder.

    Args:
        run_dir: pathlib.Path.
        outcome: what the recipe returned: gap, chosen, best_untuned, rows.
        plan: the recipe's settings.
        head: dict of what the run was: flagfile, model, data, hardware and the like.

    Returns:
        The text of report.md.
    """
    results = select_results(outcome, plan)
    with drawing(run_dir / 'accuracy_by_resolution.png') as axes:
        draw_curves(axes, outcome)
    text = _markdown(outcome, plan, head, results)
    numbers = {
        'run': head,
        'gap': dataclasses.asdict(outcome.gap),
        'deployed': outcome.deployed,
        'resolutions': {
            'train': plan.resolution,
            'chosen': outcome.chosen,
            'best_untuned': outcome.best_untuned,
        },
        'results': results,
        'curves': [_result(row.phase, row) for row in outcome.rows],
    }
    save(run_dir, text, numbers)
    return text


def select_results(outcome, plan):
    """The rows that tell the effect apart from mere extra training, (a) to (e), on the test split.

    Args:
        outcome: what the recipe returned.
        plan: the recipe's settings.

    Returns:
        List of dicts with name, phase, resolution, top1, top1_error, balanced, loss, examples and
        minutes.
    """
    row = {(r.phase, r.resolution): r for r in outcome.rows if r.split == 'test'}
    low, chosen, best = plan.resolution, outcome.chosen, outcome.best_untuned
    mark = {best: '; its best resolution on validation'}
    wanted = [(f'(a) trained{mark.get(low, "")}', 'train', low)]
    higher = {r for phase, r in row if phase == 'train' and r > low} | ({best} - {low})
    for pixels in sorted(higher):
        wanted.append((f'(b) trained, not fine-tuned{mark.get(pixels, "")}', 'train', pixels))
    for tune in plan.tunes:
        wanted.append((f'(c) fine-tuned: {tune}', f'finetune_{tune}', chosen))
        if plan.control:
            for pixels in sorted({low, chosen}):
                name = f'(d) control, fine-tuned at {low} px: {tune}'
                wanted.append((name, f'control_{tune}', pixels))
    if plan.high_resolution:
        wanted.append(('(e) trained at the higher resolution', 'high_resolution', chosen))
    return [_result(name, row[phase, pixels]) for name, phase, pixels in wanted]


def draw_curves(axes, outcome):
    """Draws accuracy on the test split against resolution, a line for each network.

    Args:
        axes: matplotlib.axes.Axes.
        outcome: what the recipe returned.
    """
    rows = [row for row in outcome.rows if row.split == 'test']
    for phase in dict.fromkeys(row.phase for row in rows):
        own = sorted((row for row in rows if row.phase == phase), key=lambda row: row.resolution)
        axes.errorbar(
            [row.resolution for row in own],
            [100 * row.evaluation.top1 for row in own],
            yerr=[100 * row.evaluation.top1_error for row in own],
            label=_title(phase),
            marker='o',
            markersize=4,
            capsize=2,
            linestyle='--' if phase.startswith('control') else '-',
        )
    axes.axvline(outcome.chosen, color='grey', linewidth=0.8, linestyle=':')
    axes.set_xlabel('test resolution (pixels)')
    axes.set_ylabel('top-1 accuracy on the test split (%)')
    axes.grid(alpha=0.3)
    axes.legend(fontsize='small')


def _title(phase):
    for prefix, title in _TITLES.items():
        if phase.startswith(prefix):
            tune = phase.removeprefix(prefix).strip('_')
            return f'{title}: {tune}' if tune else title
    return phase


def _result(name, row):
    return {
        'name': name,
        'phase': row.phase,
        'split': row.split,
        'resolution': row.resolution,
        **row.evaluation.numbers(),
        'minutes': round(row.minutes, 2),
    }


def _markdown(outcome, plan, head, results):
    gap = outcome.gap
    lines = ['# FixRes', '', *head_lines(head), '']
    lines += [
        f'Trained at {plan.resolution} px. A training crop covers on average '
        f'{gap.sigma["length"]:.3f} of the side and {gap.sigma["area"]:.3f} of the area of its '
        f'image, so that in a test at {plan.resolution} px objects look '
        f'{gap.ratio["length"]:.3f} (sigma read as a length, the paper) or '
        f'{gap.ratio["area"]:.3f} (as an area) times as large as in training; they look equal at '
        f'{gap.resolution["length"]} or {gap.resolution["area"]} px. '
        f'Fine-tuned at **{outcome.chosen} px**.',
        '',
        scores(results, {'network': 'name', 'tested at (px)': 'resolution'}),
        '',
        'Accuracies are on the test split, ± one standard error of a binomial draw; resolutions '
        "are chosen on the validation split. Minutes are of the training of that row's last "
        'phase. (d) is fine-tuned as (c) is, for as long, but at the training resolution: what it '
        "gains over (a) is not the resolution's.",
        '',
        '![accuracy against test resolution](accuracy_by_resolution.png)',
        '',
    ]
    return '\n'.join(lines)
