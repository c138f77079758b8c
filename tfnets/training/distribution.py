"""Devices: the strategy that a flag names, and what replicas have to agree on."""

import math

import tensorflow as tf

from tfnets.errors import InputError, one_line
from tfnets.models import roles
from tfnets.training import cluster


def make_strategy(name='auto', tpu='local'):
    """Returns the tf.distribute.Strategy that a flag names.

    Args:
        name: 'one_device'; 'mirrored', all GPUs of this host, or without one all logical CPUs;
            'multi_worker', one process of several, see `cluster.join`; 'tpu'; or 'auto':
            multi_worker where TF_CONFIG names others, mirrored where there are several devices.
        tpu: 'local' for that of this host, or the name of one.

    Raises:
        InputError: if there is no such thing here.
    """
    if cluster.is_asked(name):
        return cluster.join()
    if name == 'tpu':
        return _tpu_strategy(tpu)
    gpus = tf.config.list_logical_devices('GPU')
    devices = [device.name for device in gpus or tf.config.list_logical_devices('CPU')]
    if name == 'one_device' or (name == 'auto' and len(devices) == 1):
        return tf.distribute.get_strategy()
    if gpus:
        return tf.distribute.MirroredStrategy(devices)
    # Collectives among logical CPUs break when a process makes a second strategy.
    return tf.distribute.MirroredStrategy(devices, tf.distribute.ReductionToOneDevice())


def _tpu_strategy(name):
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(name)
        if name != 'local':
            tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
        return tf.distribute.TPUStrategy(resolver)
    except (tf.errors.OpError, ValueError, RuntimeError, OSError) as error:
        reason = one_line(error)[:200]
        raise InputError(
            f'--strategy=tpu: TensorFlow {tf.__version__} finds no TPU {name} ({reason}); expected '
            'a TPU VM with the package tensorflow-tpu of the same version'
        ) from None


def default_xla():
    """Whether steps should be compiled: on GPUs; a CPU is faster without."""
    return bool(tf.config.list_logical_devices('GPU'))


def replica_means(variables, strategy):
    """The means over all replicas of what each of them holds for itself.

    Args:
        variables: list of keras.Variable of one dtype, such as the statistics of batch norms.
        strategy: tf.distribute.Strategy.

    Returns:
        List of tensors.
    """
    if strategy.num_replicas_in_sync == 1 or not variables:
        return [tf.identity(variable.value) for variable in variables]
    # One sum of all of them together: between hosts each takes its time, however small it is.
    joined = strategy.run(
        lambda: tf.concat([tf.reshape(variable.value, [-1]) for variable in variables], 0)
    )
    mean = strategy.reduce('MEAN', joined, axis=None)
    parts = tf.split(mean, [math.prod(variable.shape) for variable in variables])
    return [
        tf.reshape(part, variable.shape) for part, variable in zip(parts, variables, strict=True)
    ]


def statistics_synchronizer(models, strategy):
    """Makes a function that gives every replica the mean of all replicas' moving statistics.

    Replicas read their own when they evaluate, while a checkpoint holds the first one's: without
    this, a run that was resumed would differ from one that was not.

    Args:
        models: keras.Models, whose batch norms are in the mode that they are trained in.
        strategy: tf.distribute.Strategy.

    Returns:
        Function without arguments.
    """
    if strategy.num_replicas_in_sync == 1:
        return lambda: None
    # Those that nothing moves are left alone: the mean of equal numbers may differ from them.
    variables = [
        variable
        for model in models
        for norm in roles.batch_norms(model)
        if not getattr(norm, 'inference_mode', False)
        for variable in norm.non_trainable_variables
    ]

    @tf.function(autograph=False)
    def synchronize():
        for variable, mean in zip(variables, replica_means(variables, strategy), strict=True):
            variable.assign(mean)

    return synchronize
