"""Devices: the strategy that a flag names, and what replicas have to agree on."""

import tensorflow as tf

from tfnets.models import roles


def make_strategy(name='auto'):
    """Returns the tf.distribute.Strategy that a flag names.

    Args:
        name: 'one_device', 'mirrored' (all GPUs of this host, or without one all logical CPUs), or
            'auto': mirrored when there is more than one of them.
    """
    gpus = tf.config.list_logical_devices('GPU')
    devices = [device.name for device in gpus or tf.config.list_logical_devices('CPU')]
    if name == 'one_device' or (name == 'auto' and len(devices) == 1):
        return tf.distribute.get_strategy()
    if gpus:
        return tf.distribute.MirroredStrategy(devices)
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
    # Those that nothing moves are left alone: the mean of equal numbers may differ from them.
    moving = [
        norm
        for model in models
        for norm in roles.batch_norms(model)
        if not getattr(norm, 'inference_mode', False)
    ]
    for variable in (variable for norm in moving for variable in norm.non_trainable_variables):
        local = strategy.experimental_local_results(variable.value)
        variable.assign(tf.add_n([tf.identity(value) for value in local]) / replicas)
