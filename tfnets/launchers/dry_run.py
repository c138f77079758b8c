"""What --dry_run shows: the phases of a recipe, and how long they would take here."""

import time

from absl import flags

FLAGS = flags.FLAGS


def show(phases, networks, inputs, trainer, left_out='evaluations'):
    """Prints phases with their steps and measured speed; trains nothing that is kept.

    Args:
        phases: list of Phase.
        networks: dict from what a network is called to the keras.Model.
        inputs: recipes.inputs.Inputs.
        trainer: training.Trainer.
        left_out: what also takes time, and is not among the phases.
    """
    for name, network in networks.items():
        parameters = sum(variable.numpy().size for variable in network.trainable_variables)
        print(f'{name}: {parameters:,} trainable parameters')
    print(
        f'{len(inputs.train)} photos to train on, {len(inputs.validation)} for validation, '
        f'{len(inputs.test)} for the test; {inputs.train.num_classes} classes'
    )
    total = 0.0
    for phase in phases:
        seconds = phase.steps * _seconds_per_step(trainer, phase)
        total += seconds
        print(
            f'{phase.name}: {phase.epochs:g} epochs, {phase.steps} steps of '
            f'{phase.data.batch_size} at {phase.data.preprocessing.resolution} px, '
            f'about {_duration(seconds)}'
        )
    print(f'about {_duration(total)} of training in all, {left_out} not counted')


def _duration(seconds):
    return f'{seconds:.0f} seconds' if seconds < 120 else f'{seconds / 60:.0f} minutes'


def _seconds_per_step(trainer, phase):
    """Measures a few steps, input included, compilation not."""
    count = min(10, phase.steps // 2)
    if not count:
        return 0.0
    advance = trainer.stepper(phase)
    advance(1)
    start = time.monotonic()
    advance(count)
    return (time.monotonic() - start) / count
