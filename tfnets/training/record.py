"""Reading what a run wrote down while it trained. Imports no TensorFlow."""

import json
import pathlib


def read_metrics(run_dir):
    """Reads metrics.jsonl; a last line that was cut short is left out.

    Args:
        run_dir: folder of the run.

    Returns:
        List of dicts, empty if nothing was written yet.
    """
    path = pathlib.Path(run_dir) / 'metrics.jsonl'
    if not path.exists():
        return []
    lines = path.read_text().splitlines()
    return [json.loads(line) for line in lines if line.startswith('{') and line.endswith('}')]


def training_minutes(lines, batch_size):
    """How long the training of a phase took, interruptions and evaluations not counted.

    Args:
        lines: its lines of the split 'train', in order.
        batch_size: global.

    Returns:
        float; see `TrainingState.seconds`.
    """
    seconds, before = 0.0, 0
    for line in lines:
        seconds += (line['step'] - before) * batch_size / line['images_per_second']
        before = line['step']
    return seconds / 60
