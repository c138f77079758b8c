"""From flags to the objects that recipes work with. Imports TensorFlow only when it is called."""

import functools

from absl import flags, logging

from tfnets import machine
from tfnets.errors import InputError
from tfnets.files import read_json, write_json
from tfnets.launchers import app, common_flags, flag_values, named_networks, run_folder
from tfnets.models import registry
from tfnets.training import cluster

FLAGS = flags.FLAGS


def strategy(precision='float32'):
    """Imports TensorFlow, sets the precision of networks to be built, and makes the strategy."""
    app.import_tensorflow(FLAGS.logical_devices, initialize=not cluster.is_asked(FLAGS.strategy))
    import keras

    from tfnets.data import pipeline
    from tfnets.training import distribution

    keras.config.set_dtype_policy(precision)
    made = distribution.make_strategy(FLAGS.strategy, FLAGS.tpu)
    if not cluster.is_chief():
        app.keep_quiet()
    replicas = made.num_replicas_in_sync
    pipeline.replica_batch(FLAGS.batch_size, replicas)
    if FLAGS.sync_batch_norm and replicas > 1 and FLAGS.xla:
        raise InputError(
            '--sync_batch_norm, --xla: XLA cannot compile what several devices do together; '
            'expected one of them'
        )
    return made


def xla():
    """Whether to compile: --xla, or else on GPUs only, and not with --sync_batch_norm."""
    from tfnets.training import distribution

    if FLAGS.xla is None:
        return distribution.default_xla() and not FLAGS.sync_batch_norm
    return FLAGS.xla


def trainer(folder, made_strategy):
    """The Trainer of a run's folder."""
    from tfnets.training.trainer import Trainer

    return Trainer(
        folder,
        made_strategy,
        xla=xla(),
        steps_per_call=FLAGS.steps_per_call,
        checkpoint_minutes=FLAGS.checkpoint_minutes,
        checkpoint_steps=FLAGS.checkpoint_steps,
        best_metric=FLAGS.best_metric,
        keep_checkpoints=FLAGS.keep_checkpoints,
        stop_after_validations=FLAGS.stop_after_validations,
        watch=_watch(made_strategy),
    )


def _watch(made_strategy):
    """What is to be looked at, by --profile and --peak_tflops."""
    from tfnets.analysis import flops
    from tfnets.training import watching

    peak = flag_values.peak_tflops()
    if peak == 'measured':
        peak = watching.measure_peak(made_strategy) / 1e12
        logging.info('a large matrix product: %.3g TFLOP/s', peak)
    # A walk through the networks' graphs, which no line of the log needs to make anew.
    operations = functools.lru_cache(maxsize=1)(flops.of_training)
    return watching.Watch(flag_values.profile(), operations, peak and 1e12 * peak)


def network_builder(num_classes, made_strategy):
    """A function that builds the network of --model for a seed (--seed), the same each time."""

    def build():
        return registry.build(
            FLAGS.model,
            num_classes,
            weights=FLAGS.weights,
            new_head=FLAGS.new_head,
            **common_flags.model_options(),
        )

    return _seeded(build, made_strategy)


def named_builder(network, num_classes, made_strategy, weights=None, new_head=False):
    """The same for a NamedNetwork and a file of its weights."""
    return _seeded(
        lambda: network.build(num_classes, weights=weights, new_head=new_head), made_strategy
    )


def normalising(build, source, folder=None):
    """A builder whose networks normalise pixels by the statistics of a source's photos.

    Args:
        build: what `network_builder` answered.
        source: Source or StreamedSource to train on.
        folder: of the run, where the statistics are kept; None to measure them each time.
    """
    from tfnets.data import pixel_statistics

    path = folder / 'pixels.json' if folder else None
    known = read_json(path) if path else None
    if not known:
        mean, deviation = pixel_statistics.measure(source)
        known = {'mean': mean, 'deviation': deviation}
        logging.info('pixels to train on: mean %s, deviation %s', *map(_rounded, known.values()))
    if path:
        write_json(path, known)

    def build_for(seed=None):
        network = build(seed)
        pixel_scaling(network).normalise_by(**known)
        return network

    return build_for


def pixel_scaling(network):
    """The layer by which a network can be made to normalise pixels; refuses one without."""
    from tfnets.models import layers

    found = [layer for layer in network.layers if isinstance(layer, layers.PixelScaling)]
    # One of mode 'none' leaves the scaling to layers of keras.applications' own.
    if not found or found[0].mode == 'none':
        raise InputError(
            f'--pixel_statistics=training: {FLAGS.model} scales pixels in a way of its own; '
            'take --pixel_statistics=imagenet, which leaves it as it is'
        )
    return found[0]


def _rounded(numbers):
    return ', '.join(f'{number:.4f}' for number in numbers)


def _seeded(build, made_strategy):
    import keras

    from tfnets.models import roles

    def build_for(seed=None):
        keras.utils.set_random_seed(FLAGS.seed if seed is None else seed)
        with made_strategy.scope():
            network = build()
        for norm in roles.batch_norms(network):
            norm.synchronized = FLAGS.sync_batch_norm
        return network

    return build_for


def num_classes(opened):
    """Of --num_classes or else of the data; refuses metrics that so few do not have."""
    if FLAGS.num_classes and FLAGS.num_classes < opened.num_classes:
        raise InputError(
            f'--num_classes={FLAGS.num_classes}: {opened.name} has {opened.num_classes} classes'
        )
    count = FLAGS.num_classes or opened.num_classes
    for name in FLAGS if count <= 10 else ():
        if name.endswith(('best_metric', 'plateau_metric')) and FLAGS[name].value == 'top5':
            raise InputError(
                f'--{name}=top5: expected more than ten classes, got {count}; take top1'
            )
    return count


def resolution():
    """Of --resolution or else the model's own."""
    return FLAGS.resolution or registry.resolution(FLAGS.model, **common_flags.model_options())


def targets():
    """The Targets of training."""
    from tfnets.training.objectives import Targets

    return Targets(FLAGS.label_smoothing, FLAGS.mixup or 0.0, FLAGS.cutmix or 0.0)


def optimizer(prefix=''):
    """The Optimizer of one stage."""
    from tfnets.training.optimizers import Optimizer

    settings = {
        'clip_norm': FLAGS[f'{prefix}clip_norm'].value,
        'accumulate': FLAGS[f'{prefix}accumulate'].value,
        'ema': FLAGS[f'{prefix}ema'].value,
        'decayed_roles': ('kernel',) if FLAGS[f'{prefix}decayed'].value == 'kernels' else None,
    }
    return Optimizer(
        FLAGS[f'{prefix}optimizer'].value,
        FLAGS[f'{prefix}momentum'].value,
        FLAGS[f'{prefix}nesterov'].value,
        FLAGS[f'{prefix}weight_decay'].value,
        **_given(settings),
    )


def schedule(prefix=''):
    """The schedule of one stage."""
    from tfnets.training import schedules

    def value(name):
        return FLAGS[f'{prefix}{name}'].value

    kinds = {
        'constant': (schedules.Constant, {}),
        'cosine': (schedules.Cosine, {}),
        'cosine_per_epoch': (schedules.CosinePerEpoch, {}),
        'steps': (
            schedules.Steps,
            {
                'factor': value('drop_factor'),
                'every': value('drop_every'),
                'at': flag_values.drop_at(prefix),
            },
        ),
        'wave': (
            schedules.Wave,
            {
                'lowest': value('wave_lowest'),
                'half': value('wave_epochs'),
                'later': flag_values.wave_later(prefix),
            },
        ),
        'plateau': (
            schedules.Plateau,
            {
                'factor': value('drop_factor'),
                'patience': value('plateau_patience'),
                'threshold': value('plateau_threshold'),
                'metric': value('plateau_metric'),
            },
        ),
    }
    make, settings = kinds[value('schedule')]
    return make(value('learning_rate'), warmup=value('warmup_epochs'), **_given(settings))


def _given(settings):
    """Settings without those that are None, whose defaults the class itself knows."""
    return {name: value for name, value in settings.items() if value is not None}


def course(prefix=''):
    """The Course of one stage."""
    from tfnets.training.phase import Course

    return Course(FLAGS[f'{prefix}epochs'].value, optimizer(prefix), schedule(prefix))


def check_sizes(network, resolutions):
    """Refuses images that a network cannot take, as too small ones, before anything is done.

    Args:
        network: keras.Model.
        resolutions: iterable of the images' sides in pixels.
    """
    from tfnets.analysis import flops

    for pixels in sorted(resolutions):
        flops.cost(network, pixels)


def describe(folder, network, made_strategy):
    """Says what the run is made of, in run.json too; returns the head of its report."""
    import keras
    import tensorflow as tf

    from tfnets.analysis import flops

    cost, hardware = flops.cost(network, resolution()), _hardware(made_strategy)
    logging.info('on %s', hardware)
    facts = {'trainable_parameters': cost.trainable, 'multiply_adds': cost.macs}
    start = {
        'tensorflow': tf.__version__,
        'keras': keras.__version__,
        'hardware': hardware,
        'replicas': made_strategy.num_replicas_in_sync,
    }
    run = run_folder.add_facts(folder, facts, start)

    return {
        'flags': f'{folder}/flags.cfg',
        'model': f'{named_networks.from_flags().label}, {size(cost)}',
        'data': FLAGS.dataset,
        'seed': FLAGS.seed,
        **run_folder.provenance([run]),
    }


def size(cost):
    """A network's analysis.flops cost, in words."""
    return (
        f'{cost.trainable:,} trainable parameters, {cost.macs / 1e6:,.1f} M multiply-adds at '
        f'{cost.resolution} px'
    )


def _hardware(made_strategy):
    """What the devices of a strategy are."""
    import tensorflow as tf

    gpus = tf.config.list_physical_devices('GPU')
    if not gpus and machine.visible_gpus() and machine.gpus():
        logging.warning(
            'this host has GPUs, but TensorFlow sees none of them: install tfnets[gpu], or look at '
            'the driver'
        )
    each = f'{machine.usable_cores()} CPU cores'
    if gpus:
        details = tf.config.experimental.get_device_details(gpus[0])
        count = made_strategy.num_replicas_in_sync // cluster.size()
        each = f'{count} x {details.get("device_name", "GPU")}'
    return f'{cluster.size()} processes, {each}' if cluster.size() > 1 else each
