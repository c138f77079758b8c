"""What a run writes down while it trains: metrics.jsonl, TensorBoard, lines and a progress bar.

metrics.jsonl is the record. TensorBoard's scalars are drawn from it, so that after a restart both
hold each step once.
"""

import json
import math
import os
import sys
import time

import numpy as np
import tensorflow as tf
import tqdm
from absl import logging

from tfnets.files import write_text
from tfnets.training import cluster
from tfnets.training.record import read_metrics

# What stands in a line of the record but is no curve.
_NOT_DRAWN = ('phase', 'split', 'step', 'epoch', 'examples', 'top1_error')


class MetricsLog:
    """The record of one phase, one JSON object a line: {'phase', 'split', 'step', ...numbers}.

    Lines of all phases stand in one file. Lines of this phase behind the step that it goes on from
    are taken out: they will be written again.

    Args:
        run_dir: pathlib.Path of the run.
        phase: name of the phase.
        step: the step that training goes on from.

    Attributes:
        folder: where TensorBoard looks for this phase.
    """

    def __init__(self, run_dir, phase, step):
        self._phase = phase
        self._path = run_dir / 'metrics.jsonl'
        self.folder = run_dir / 'tensorboard' / phase
        self._writers = {}
        kept = [
            line
            for line in read_metrics(run_dir)
            if line['phase'] != phase or (step and line['step'] <= step)
        ]
        write_text(self._path, ''.join(json.dumps(line) + '\n' for line in kept))
        self._file = open(self._path, 'a')  # noqa: SIM115 - open as long as the phase runs
        own = [line for line in kept if line['phase'] == phase]
        self._redraw(own)
        self._known = {(line['split'], line['step']) for line in own}

    def write(self, split, step, numbers):
        """Adds the numbers of a split ('train', 'validation') at a step, if it has none yet."""
        if self.has(split, step):
            return
        self._known.add((split, step))
        numbers = {name: _rounded(value) for name, value in numbers.items()}
        line = {'phase': self._phase, 'split': split, 'step': step, **numbers}
        self._file.write(json.dumps(line) + '\n')
        self._file.flush()
        self._draw(line)

    def has(self, split, step):
        """Whether there is such a line."""
        return (split, step) in self._known

    def flush(self):
        """Puts all that was written on the disk; to be called before a checkpoint is saved."""
        self._file.flush()
        os.fsync(self._file.fileno())
        for writer in self._writers.values():
            writer.flush()

    def images(self, images, columns=4):
        """Shows images, uint8 [count, height, width, 3], as one sheet on TensorBoard."""
        rows = -(-len(images) // columns)
        empty = rows * columns - len(images)
        images = np.pad(images, [(0, empty), (0, 0), (0, 0), (0, 0)])
        _, height, width, channels = images.shape
        grid = images.reshape(rows, columns, height, width, channels).swapaxes(1, 2)
        sheet = grid.reshape(1, rows * height, columns * width, channels)
        with self._writer('train').as_default():
            tf.summary.image('as the network sees them', sheet, 0)

    def graph(self, network, resolution):
        """Shows a network's graph on TensorBoard."""
        write_graph(self._writer('train'), network, resolution)

    def close(self):
        """Ends the record of this phase."""
        self.flush()
        self._file.close()
        for writer in self._writers.values():
            writer.close()

    def _writer(self, split):
        if split not in self._writers:
            self._writers[split] = tf.summary.create_file_writer(str(self.folder / split))
        return self._writers[split]

    def _draw(self, line):
        with self._writer(line['split']).as_default():
            for name, value in _drawn(line).items():
                tf.summary.scalar(name, value, line['step'])

    def _redraw(self, lines):
        """Draws what earlier starts have written, and nothing else of it.

        Of a long run that is so much that TensorFlow's own writer, value by value, takes minutes.
        """
        for old in self.folder.glob('*/events.*'):
            old.unlink()
        for split in {line['split'] for line in lines}:
            # TensorBoard reads the files of a folder in the order of their names.
            path = self.folder / split / f'events.out.tfevents.{int(time.time()) - 1}.before'
            path.parent.mkdir(parents=True, exist_ok=True)
            with tf.io.TFRecordWriter(str(path)) as writer:
                for line in (line for line in lines if line['split'] == split):
                    event = tf.compat.v1.Event(wall_time=time.time(), step=line['step'])
                    for name, value in _drawn(line).items():
                        event.summary.value.add(tag=name, simple_value=value)
                    writer.write(event.SerializeToString())


def _drawn(line):
    """The values of a line that are drawn, by name."""
    return {k: v for k, v in line.items() if k not in _NOT_DRAWN and v is not None}


def _rounded(value):
    """Six digits are more than any of these numbers is worth; JSON has no NaN."""
    if isinstance(value, int):
        return value
    return float(f'{value:.6g}') if math.isfinite(value) else None


def write_graph(writer, network, resolution):
    """Writes a network's graph for TensorBoard.

    Args:
        writer: tf.summary.SummaryWriter.
        network: keras.Model from uint8 pixels.
        resolution: side of the images in pixels.
    """
    function = tf.function(lambda pixels: network(pixels, training=False))
    spec = tf.TensorSpec([None, resolution, resolution, 3], tf.uint8)
    with writer.as_default():
        tf.summary.graph(function.get_concrete_function(spec).graph)


class Progress:
    """A bar on a terminal; elsewhere a line now and then.

    Args:
        name: of the phase.
        step: the step to start from.
        steps: the step to end at.
    """

    def __init__(self, name, step, steps):
        self._name, self._step, self._steps = name, step, steps
        self._shown, self._shown_at = step, 0.0
        terminal = sys.stderr.isatty() and cluster.is_chief()
        self._bar = tqdm.tqdm(
            total=steps, initial=step, desc=name, unit='step', disable=not terminal, leave=True
        )

    def update(self, step, numbers, seconds_left):
        """Shows the numbers at a step.

        Args:
            step: steps that have been made.
            numbers: dict with 'loss', 'images_per_second', 'input_wait', maybe 'top1'.
            seconds_left: until the end of the phase.
        """
        top1 = f'top-1 {100 * numbers["top1"]:.1f} %, ' if 'top1' in numbers else ''
        text = (
            f'loss {numbers["loss"]:.4g}, {top1}{numbers["images_per_second"]:.0f} images/s, '
            f'{100 * numbers["input_wait"]:.0f} % waiting for input'
        )
        self._bar.update(step - self._step)
        self._bar.set_postfix_str(text, refresh=False)
        self._step = step
        # A tenth of the way or a minute between two lines: a log stays short, but never silent.
        due = step - self._shown >= self._steps / 10 or time.monotonic() - self._shown_at > 60
        if due or step == self._steps:
            self._shown, self._shown_at = step, time.monotonic()
            left = f'{int(seconds_left) // 60}:{int(seconds_left) % 60:02d} left'
            # Where there is a bar, the line is for a log file only.
            write = logging.info if self._bar.disable else logging.debug
            write('%s: step %d of %d: %s, %s', self._name, step, self._steps, text, left)

    def close(self):
        """Leaves the bar as it stands."""
        self._bar.close()
