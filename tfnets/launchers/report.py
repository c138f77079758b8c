"""Shows runs side by side, finished or not: a table, and curves over the epochs.

  python -m tfnets.launchers.report --run_dir=runs/one --run_dir=runs/another --output_dir=compared

Writes curves.md and curves.png, for a single run into its own folder.
"""

import pathlib

from absl import flags, logging

from tfnets.errors import InputError
from tfnets.files import write_text
from tfnets.launchers import app, saved_networks

FLAGS = flags.FLAGS

flags.DEFINE_multi_string('run_dir', [], 'Folder of a run; may be given several times.')
flags.DEFINE_string(
    'output_dir', None, 'Folder for curves.md and curves.png; of a single run by default its own.'
)


def check():
    """Refuses folders without a run."""
    if not FLAGS.run_dir:
        raise InputError('--run_dir: expected the folder of a run, or several')
    for folder in FLAGS.run_dir:
        saved_networks.check_run(pathlib.Path(folder))
    if not FLAGS.output_dir and len(set(FLAGS.run_dir)) > 1:
        raise InputError('--output_dir: expected a folder for the report of several runs')


def main():
    """Reads the runs, prints and writes the report."""
    from tfnets.analysis import run_comparison
    from tfnets.analysis.figures import drawing

    folders = dict.fromkeys(map(pathlib.Path, FLAGS.run_dir))
    records = [run_comparison.read(folder) for folder in folders]
    for record in records:
        if not record.phases:
            logging.warning('%s: has written no metrics yet; left out', record.path)
    records = [record for record in records if record.phases]
    if not records:
        raise InputError(
            f'--run_dir={", ".join(FLAGS.run_dir)}: no metrics yet; wait for the first line of '
            'the log'
        )
    text = run_comparison.table(records) + '\n'
    for name, record in zip(run_comparison.names(records), records, strict=True):
        text += f'\n{name}:\n\n{run_comparison.phase_table(record)}\n'
    print(text)
    output = pathlib.Path(FLAGS.output_dir or FLAGS.run_dir[0])
    with drawing(output / 'curves.png', (9, 10), panels=3) as panels:
        run_comparison.draw(panels, records)
    write_text(output / 'curves.md', f'{text}\n![curves](curves.png)\n')
    print(f'written: {output}/curves.md\nwritten: {output}/curves.png')


if __name__ == '__main__':
    app.launch(main, check)
