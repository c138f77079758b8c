"""The report of a network that was trained on labels and tested."""

import dataclasses

from tfnets.files import write_json, write_text


def write_report(run_dir, outcome, plan, head):
    """Writes report.md and report.json into a run's folder.

    Args:
        run_dir: pathlib.Path.
        outcome: what the recipe returned.
        plan: the recipe's settings.
        head: dict of what the run was: flagfile, model, data, hardware and the like.

    Returns:
        The text of report.md.
    """
    results = [
        {'split': 'test', 'resolution': row.resolution, **row.evaluation.numbers()}
        for row in outcome.rows
    ]
    write_json(
        run_dir / 'report.json',
        {
            'run': head,
            'deployed': outcome.deployed,
            'epochs': outcome.epochs,
            'minutes': outcome.minutes,
            'validation': dataclasses.asdict(outcome.validation),
            'results': results,
        },
    )
    text = _markdown(outcome, plan, head, results)
    write_text(run_dir / 'report.md', text)
    return text


def _markdown(outcome, plan, head, results):
    top5 = any('top5' in row for row in results)
    columns = ['tested at (px)', 'top-1 (%)', *(['top-5 (%)'] if top5 else [])]
    columns += ['balanced (%)', 'loss', 'photos']
    lines = [f'# {head["model"].split(",")[0]}', '']
    lines += [f'- {name}: {value}' for name, value in head.items()]
    lines += ['', f'| {" | ".join(columns)} |', f'|{"---:|" * len(columns)}']
    for row in results:
        cells = [f'{row["resolution"]}', f'{100 * row["top1"]:.2f} ± {100 * row["top1_error"]:.2f}']
        cells += [f'{100 * row["top5"]:.2f}'] if top5 else []
        cells += [f'{100 * row["balanced"]:.2f}', f'{row["loss"]:.4f}', f'{row["examples"]}']
        lines.append(f'| {" | ".join(cells)} |')
    lines += [
        '',
        f'{outcome.epochs:g} epochs at {plan.resolution} px in {outcome.minutes:.1f} minutes of '
        f'training; on the validation split top-1 is {100 * outcome.validation.top1:.2f} % at the '
        'end. Accuracies are on the test split, ± one standard error of a binomial draw.',
        '',
    ]
    return '\n'.join(lines)
