"""Devices: the strategy that a flag names, and what replicas have to agree on."""

import tensorflow as tf

from tfnets.errors import InputError

STRATEGIES = ('auto', 'one_device', 'mirrored')


def make_strategy(name='auto'):
    """Returns the tf.distribute.Strategy that a flag names.

    Args:
        name: 'one_device', 'mirrored' (all GPUs, or all logical CPUs, of this host), or 'auto':
            mirrored when there is more than one GPU.

    Raises:
        InputError: if the name is unknown.
    """
    if name not in STRATEGIES:
        raise InputError(f'--strategy={name}: expected one of {", ".join(STRATEGIES)}')
    gpus = tf.config.list_logical_devices('GPU')
    if name == 'auto':
        name = 'mirrored' if len(gpus) > 1 else 'one_device'
    if name == 'one_device':
        return tf.distribute.get_strategy()
    if gpus:
        return tf.distribute.MirroredStrategy([device.name for device in gpus])
    devices = [device.name for device in tf.config.list_logical_devices('CPU')]
    # Collectives among logical CPUs break when a process makes a second strategy.
    return tf.distribute.MirroredStrategy(devices, tf.distribute.ReductionToOneDevice())


def default_xla():
    """Whether steps should be compiled: on accelerators; a CPU is faster without."""
    return bool(tf.config.list_logical_devices('GPU'))


def synchronize_statistics(models, strategy):
    """Gives every replica the mean of all replicas' moving statistics.

    Replicas read their own when they evaluate, while a checkpoint holds the mean: without this, a
    run that was resumed would differ from one that was not.
    """
    replicas = strategy.num_replicas_in_sync
    if replicas == 1:
        return
    for model in models:
        for variable in model.non_trainable_variables:
            if variable.dtype.startswith('float'):
                local = strategy.experimental_local_results(variable.value)
                variable.assign(tf.add_n([tf.identity(value) for value in local]) / replicas)
