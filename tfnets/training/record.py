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
