"""Speeds, measured so that they can be compared: in one process, in turns."""

import contextlib
import dataclasses
import json
import statistics
import subprocess
import sys
import tempfile
import time

import keras
import numpy as np
import tensorflow as tf

from tfnets.analysis import flops
from tfnets.data import pipeline
from tfnets.errors import InputError
from tfnets.models import freezing
from tfnets.models.layers import example_seeds
from tfnets.training import checkpoints


@dataclasses.dataclass(frozen=True)
class Speed:
    """Images per second over the rounds of one benchmark.

    Attributes:
        name: of what was measured.
        median: of the rounds.
        low: slowest round.
        high: fastest round.
        ratio: to the first contestant, as the first number of `ratios`.
        rounds: of each round.
    """

    name: str
    median: float
    low: float
    high: float
    ratio: float
    rounds: tuple[float, ...]

    def ratios(self, other):
        """How many times as fast it was as another Speed of the same rounds.

        Each round gives one ratio: what other processes took from both falls out.

        Returns:
            List of float: median, lower and upper quartile over the rounds.
        """
        return _ratios(self.rounds, other.rounds)


def _ratios(own, others):
    return np.percentile(np.divide(own, others), (50, 25, 75)).tolist()


def alternate(contestants, images, rounds):
    """Lets each contestant run once a round, in turns.

    Args:
        contestants: dict of functions without arguments; each is called once before it is timed.
        images: how many a call handles.
        rounds: how many.

    Returns:
        List of Speed, in the order of the contestants; ratios are to the first.
    """
    for run in contestants.values():
        run()
    speeds = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, run in contestants.items():
            start = time.perf_counter()
            run()
            speeds[name].append(images / (time.perf_counter() - start))
    first = next(iter(speeds.values()))
    return [
        Speed(name, statistics.median(own), min(own), max(own), _ratios(own, first)[0], tuple(own))
        for name, own in speeds.items()
    ]


def latency(run, calls):
    """The median time of a call.

    Args:
        run: function without arguments; it is called three times before it is timed.
        calls: how many.

    Returns:
        Seconds.
    """
    times = []
    for number in range(-3, calls):
        start = time.perf_counter()
        run()
        if number >= 0:
            times.append(time.perf_counter() - start)
    return statistics.median(times)


def bare_step(network, optimizer, batch_size, resolution, steps, xla=False):
    """The least that training can cost: forward, backward and update on one batch in memory.

    Args:
        network: keras.Model from pixels to logits.
        optimizer: Keras optimizer.
        batch_size: images.
        resolution: their side in pixels.
        steps: in one call.
        xla: whether to compile.

    Returns:
        Function without arguments that makes the steps.
    """
    gradients_of = _gradient_function(network, batch_size, resolution, xla)
    optimizer.build(network.trainable_variables)

    @tf.function
    def train():
        loss = tf.constant(0.0)
        for _ in tf.range(steps):
            loss, gradients = gradients_of()
            optimizer.apply(gradients, network.trainable_variables)
        return loss

    return lambda: train().numpy()


def keras_fit(network, optimizer, batch_size, resolution, steps, xla=False):
    """The same steps by Keras' own loop, as many in one call; see `bare_step`."""
    images, labels, seeds = _one_batch(network, batch_size, resolution)
    network.compile(
        optimizer,
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=['accuracy'],
        jit_compile=xla,
        steps_per_execution=steps,
    )
    dataset = tf.data.Dataset.from_tensors((images, labels)).repeat()

    def run():
        with example_seeds(seeds):
            network.fit(dataset, steps_per_epoch=steps, shuffle=False, verbose=0)

    return run


class TorchSteps:
    """The same steps in PyTorch, in a process of their own that waits while it is not called.

    Args:
        network: keras.Model from pixels to logits.
        **settings: what torch_peer.trainer takes beside it.

    Raises:
        InputError: if it cannot be made there; from the process's last line.
    """

    def __init__(self, network, **settings):
        self._said = tempfile.TemporaryFile('w+')  # noqa: SIM115 - as long as the process
        self._process = subprocess.Popen(
            [sys.executable, '-m', 'tfnets.analysis.torch_peer'],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
        )
        with tempfile.TemporaryDirectory() as folder:
            path = f'{folder}/network.keras'
            checkpoints.save_model(network, path)
            self._process.stdin.write(json.dumps({'network': path, **settings}) + '\n')
            self()  # by then it has read the file

    def __call__(self):
        """Makes the steps."""
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write('\n')
            self._process.stdin.flush()
        if not self._process.stdout.readline():
            self._said.seek(0)
            reason = self._said.read().strip().rpartition('\n')[2]
            raise InputError(f'--peer=torch: {reason.removeprefix("tfnets.errors.InputError: ")}')

    def close(self):
        """Ends the process."""
        with contextlib.suppress(BrokenPipeError):
            self._process.communicate()


def forward_backward(network, batch_size, resolution, calls, xla=False):
    """Loss and gradients of one batch in memory, one call after the other; nothing is updated.

    Args:
        network: keras.Model from pixels to logits; its moving statistics follow.
        batch_size: images.
        resolution: their side in pixels.
        calls: how many.
        xla: whether to compile.

    Returns:
        Function without arguments that makes the calls.
    """
    gradients_of = _gradient_function(network, batch_size, resolution, xla)

    def run():
        for _ in range(calls):
            loss, _ = gradients_of()
            loss.numpy()

    return run


def _gradient_function(network, batch_size, resolution, xla):
    """A function without arguments that answers the loss of one batch, and its gradients."""
    images, labels, seeds = _one_batch(network, batch_size, resolution)

    @tf.function(jit_compile=xla, autograph=False)
    def gradients_of():
        with tf.GradientTape() as tape:
            with example_seeds(seeds):
                logits = network(images, training=True)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
            loss = tf.reduce_mean(losses)
        return loss, tape.gradient(loss, network.trainable_variables)

    return gradients_of


def _one_batch(network, batch_size, resolution):
    """Images, labels and seeds of a batch in memory, made up."""
    rng = np.random.default_rng(0)
    shape = (batch_size, resolution, resolution, 3)
    images = tf.constant(rng.integers(0, 256, shape, np.uint8))
    labels = tf.constant(rng.integers(0, network.output_shape[-1], batch_size, np.int32))
    return images, labels, tf.constant(rng.integers(0, 2**31, (batch_size, 2), np.int32))


def synthetic(network, batch_size, resolution):
    """The same batch over and over, as the training loop reads it.

    Returns:
        tf.data.Dataset without end, its elements as those of `pipeline.training_dataset`.
    """
    images, labels, seeds = _one_batch(network, batch_size, resolution)
    element = {'image': images, 'label': labels, 'seed': seeds}
    return tf.data.Dataset.from_tensors(element).repeat()


def inference(network, batch_size, resolution, calls, xla=False, frozen=False):
    """Answers to one batch in memory, one call after the other.

    Args:
        network: keras.Model from pixels to logits.
        batch_size: images.
        resolution: their side in pixels.
        calls: how many.
        xla: whether to compile.
        frozen: whether the weights are constants of the graph, see `freezing.freeze`; not compiled.

    Returns:
        Function without arguments that makes the calls.
    """
    shape = (batch_size, resolution, resolution, 3)
    images = tf.constant(np.random.default_rng(0).integers(0, 256, shape, np.uint8))
    if frozen:
        answer = freezing.freeze(network, shape)
    else:

        @tf.function(jit_compile=xla, autograph=False)
        def answer(images):
            return network(images, training=False)

    def run():
        for _ in range(calls):
            answer(images).numpy()

    return run


@dataclasses.dataclass(frozen=True)
class StageTime:
    """What a stage of a network takes in inference.

    Attributes:
        network: label.
        name: of the stage.
        seconds: of a batch; the median time up to its end less that up to the one before.
        macs: multiply-adds of one image.
    """

    network: str
    name: str
    seconds: float
    macs: int


def by_stage(networks, batch_size, resolution, calls, rounds, **options):
    """Times networks that are cut off behind each of their stages, in turns.

    Args:
        networks: dict from a label to a keras.Model.
        batch_size: as in `inference`.
        resolution: as in `inference`.
        calls: in one round.
        rounds: how many.
        **options: as in `inference`.

    Returns:
        List of StageTime.
    """
    stages = {label: flops.cost(network, resolution) for label, network in networks.items()}
    contestants, rows = {}, []
    for label, cost in stages.items():
        ends = {}
        for layer in cost.layers:
            # Branches of a stage run side by side; only what joins them ends it.
            stage = layer.stage.partition('.')[0]
            if stage:
                ends[stage] = layer.name, ends.get(stage, (None, 0))[1] + layer.macs
        for stage, (layer, macs) in ends.items():
            network = networks[label]
            part = keras.Model(network.input, network.get_layer(layer).output)
            contestants[label, stage] = inference(part, batch_size, resolution, calls, **options)
            rows.append((label, stage, macs))
    before = dict.fromkeys(networks, 0.0)
    times = []
    for (label, stage, macs), speed in zip(
        rows, alternate(contestants, calls * batch_size, rounds), strict=True
    ):
        seconds = batch_size / speed.median
        times.append(StageTime(label, stage, max(seconds - before[label], 1e-9), macs))
        before[label] = seconds
    return times


def input_alone(batches, steps):
    """Reading and preparing alone, nothing trained.

    Args:
        batches: data.pipeline.Batches.
        steps: batches in one call.

    Returns:
        Function without arguments.
    """

    def read():
        # Opened anew each time, or else what was prepared in the others' turns would count.
        for batch in pipeline.training_dataset(batches, 0, steps):
            batch['image'].numpy()

    return read
