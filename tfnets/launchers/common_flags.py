"""The flags that every launcher shares, in groups. Imports no TensorFlow."""

from absl import flags

from tfnets.data import presets
from tfnets.launchers import flag_values
from tfnets.models import registry

# Flags that may differ when a run is gone on with: they change where and how fast, not what. But
# for skip_damaged, without which a run that meets a damaged photo to evaluate could not go on, and
# data_service, whose batches never come in the same order twice.
CHANGEABLE = (
    'strategy',
    'tpu',
    'xla',
    'logical_devices',
    'data_dir',
    'cache_dir',
    'run_dir',
    'overwrite',
    'dry_run',
    'log_file',
    'log_level',
    'skip_damaged',
    'data_service',
    'checkpoint_minutes',
    'checkpoint_steps',
    'keep_checkpoints',
    'profile',
    'peak_tflops',
    'stop_after_validations',
)

# Flags that belong to some schedules only; a stage's prefix goes before each.
SCHEDULE_FLAGS = {
    'constant': (),
    'cosine': (),
    'cosine_per_epoch': (),
    'steps': ('drop_every', 'drop_at', 'drop_factor'),
    'wave': ('wave_epochs', 'wave_lowest', 'wave_later'),
    'plateau': ('drop_factor', 'plateau_patience', 'plateau_threshold', 'plateau_metric'),
}


def define_training_run(train_preprocessing, eval_preprocessing):
    """All that a run which trains has, but for the course of its stages.

    Args:
        train_preprocessing: line, the launcher's default.
        eval_preprocessing: the same for tests.
    """
    define_model()
    define_data()
    define_splits()
    define_input(train_preprocessing, eval_preprocessing)
    define_training()
    define_arithmetic()
    define_devices()
    define_run()


def define_network():
    """--model and its options."""
    flags.DEFINE_string('model', 'mbconv_c', 'Network: ' + registry.about())
    flags.DEFINE_integer(
        'num_classes', 0, 'Classes of the output; 0 for those of the data set.', lower_bound=0
    )
    for name, (kind, text) in registry.OPTIONS.items():
        define = {float: flags.DEFINE_float, str: flags.DEFINE_string}[kind]
        define(name, None, text)


def model_options():
    """The flags that belong to some networks only: dict from name to value, None if not given."""
    return {name: flags.FLAGS[name].value for name in registry.OPTIONS}


def define_model():
    """--model, its options, and its weights."""
    define_network()
    flags.DEFINE_string(
        'weights',
        None,
        'File of pre-trained weights: .weights.h5, .keras, .h5, .pth, .safetensors; for keras:NAME '
        'also `imagenet`, where there is a network.',
    )
    flags.DEFINE_bool(
        'new_head',
        False,
        'Load all of --weights but the classifier, which starts anew: for other classes.',
    )


def define_data():
    """--dataset and what belongs to it."""
    flags.DEFINE_string(
        'dataset',
        'sample',
        '`sample`: the photos in this package; a path (./photos): a folder of class folders, or of '
        'train/, validation/ and test/ with class folders; else a TensorFlow Datasets name.',
    )
    flags.DEFINE_string('data_dir', None, "Where TFDS's data sets lie; its own place by default.")
    flags.DEFINE_enum(
        'cache',
        'memory',
        ('memory', 'disk', 'none'),
        'Where the encoded photos are held: read into memory at the start; each a file under '
        '--cache_dir; or read from where they lie, TFDS sets as a stream, in an order of its own.',
    )
    flags.DEFINE_string('cache_dir', '~/.cache/tfnets', 'For --cache=disk.')
    flags.DEFINE_bool(
        'skip_damaged',
        False,
        'Evaluate without the files that do not decode, instead of stopping. (Training always '
        'leaves them out, and names them; of a stream, --cache=none, only with this flag, which '
        'looks through all of it once.)',
    )


def define_splits():
    """Which part of the data is for what."""
    define_train_split()
    flags.DEFINE_string('validation_split', 'validation', 'Split that choices are made on.')
    flags.DEFINE_string('test_split', 'test', 'Split that is reported on.')


def define_train_split():
    """--train_split alone."""
    flags.DEFINE_string(
        'train_split',
        'train',
        'Split to train on; of a TFDS set any slice of it (train[:50%]), of a folder train, '
        'validation, test or all.',
    )


def define_input(train_preprocessing, eval_preprocessing):
    """What a network sees; the lines are the launcher's defaults."""
    flags.DEFINE_integer(
        'resolution',
        0,
        "Side of the training images in pixels; 0 for the model's own.",
        lower_bound=0,
    )
    flags.DEFINE_string(
        'train_preprocessing',
        train_preprocessing,
        'From an image file to pixels, in training: operations joined by |, see '
        'tfnets/data/operations; `resolution` stands for --resolution. Lines with a name: '
        + presets.about(),
    )
    flags.DEFINE_string(
        'eval_preprocessing',
        eval_preprocessing,
        'The same for tests; `resolution` stands for the test resolution, so that lengths written '
        'as parts of it grow with it.',
    )
    flags.DEFINE_integer('batch_size', 64, 'Global batch: of all devices together.', lower_bound=1)
    flags.DEFINE_bool(
        'augment_on_device',
        False,
        'Do the operations of colour that end --train_preprocessing on the device, batch by batch; '
        'what they draw is the same, and pixels are to 1 level.',
    )
    flags.DEFINE_string(
        'data_service',
        None,
        'grpc://host:port of a tf.data service (see serve_data) whose workers prepare the training '
        'batches. They read the photos themselves: --cache=disk with a --cache_dir that all share. '
        'The order of batches is then theirs: such a run is not repeated to the bit, and where it '
        'goes on some batches come twice and some not at all.',
    )


def define_training():
    """What all training has in common."""
    flags.DEFINE_float('evaluate_every', 5.0, 'Epochs between validations.', lower_bound=1e-3)
    flags.DEFINE_float(
        'label_smoothing',
        0.0,
        'Share of the target spread over all classes.',
        lower_bound=0,
        upper_bound=1,
    )
    flags.DEFINE_float(
        'mixup',
        None,
        'Blend training images in pairs, and their labels, by shares from Beta(mixup, mixup).',
        lower_bound=0,
    )
    flags.DEFINE_float(
        'cutmix',
        None,
        'Paste rectangles of training images into others, the area from Beta(cutmix, cutmix); with '
        '--mixup each batch gets one of the two.',
        lower_bound=0,
    )


def define_course(prefix, stage, epochs, learning_rate, schedule='cosine', weight_decay=0.0):
    """Length, optimizer and schedule of one stage; `prefix` goes before each flag's name."""
    flags.DEFINE_float(
        f'{prefix}epochs', epochs, f'{stage}: walks over the training set.', lower_bound=0
    )
    define_optimizer(prefix, stage, learning_rate, schedule, weight_decay)


def define_optimizer(prefix, stage, learning_rate, schedule='cosine', weight_decay=0.0):
    """Optimizer and schedule of one stage."""
    # What was added later is None unless it is given: a run made before is still the same run.
    flags.DEFINE_enum(
        f'{prefix}optimizer', 'sgd', ('sgd', 'adam', 'adamw', 'rmsprop'), f'{stage}: the optimizer.'
    )
    flags.DEFINE_float(
        f'{prefix}learning_rate',
        learning_rate,
        f'{stage}: highest learning rate, for the global batch as it is.',
        lower_bound=0,
    )
    _define_schedule(prefix, stage, schedule)
    flags.DEFINE_float(
        f'{prefix}momentum', 0.9, f'{stage}: of sgd and rmsprop.', lower_bound=0, upper_bound=1
    )
    flags.DEFINE_bool(f'{prefix}nesterov', False, f"{stage}: Nesterov's momentum for sgd.")
    flags.DEFINE_float(
        f'{prefix}weight_decay',
        weight_decay,
        f'{stage}: L2 penalty, its gradient added before momentum or moments; for adamw decoupled.',
        lower_bound=0,
    )
    flags.DEFINE_enum(
        f'{prefix}decayed', None, ('all', 'kernels'), f'{stage}: what decays; all by default.'
    )
    flags.DEFINE_float(
        f'{prefix}clip_norm', None, f'{stage}: longest gradient, of all weights.', lower_bound=0
    )
    flags.DEFINE_integer(
        f'{prefix}accumulate',
        None,
        f'{stage}: batches to an update; the learning rate is then for so many.',
        lower_bound=1,
    )
    flags.DEFINE_float(
        f'{prefix}ema',
        None,
        f'{stage}: decay of moving averages of the weights, which are evaluated and kept: 0.9999.',
        lower_bound=0,
    )


def _define_schedule(prefix, stage, schedule):
    """The course of a stage's learning rate."""
    flags.DEFINE_enum(
        f'{prefix}schedule',
        schedule,
        tuple(SCHEDULE_FLAGS),
        f'{stage}: course of the learning rate; cosine changes with every step, cosine_per_epoch '
        'and wave with every epoch, plateau where validations stop improving.',
    )
    flags.DEFINE_float(
        f'{prefix}warmup_epochs',
        0.0,
        f'{stage}: linear rise from 0 before any schedule; a cosine spans the rest.',
        lower_bound=0,
    )
    flags.DEFINE_float(
        f'{prefix}drop_every', 30.0, f'{stage}: epochs between drops of `steps`.', lower_bound=1e-3
    )
    flags.DEFINE_list(
        f'{prefix}drop_at', None, f'{stage}: epochs of the drops of `steps`: 30,60,80.'
    )
    flags.DEFINE_float(
        f'{prefix}drop_factor', 0.1, f'{stage}: factor of each drop of `steps` and `plateau`.'
    )
    flags.DEFINE_float(
        f'{prefix}wave_epochs',
        None,
        f'{stage}: from the highest of `wave` to its lowest; 5 by default.',
        lower_bound=1e-3,
    )
    flags.DEFINE_float(
        f'{prefix}wave_lowest',
        None,
        f'{stage}: lowest learning rate of `wave`; 1e-5 by default.',
        lower_bound=0,
    )
    flags.DEFINE_string(
        f'{prefix}wave_later',
        None,
        f'{stage}: another lowest of `wave` from an epoch on: 50:1e-7.',
    )
    flags.DEFINE_integer(
        f'{prefix}plateau_patience',
        None,
        f'{stage}: validations without improvement that `plateau` puts up with; 10 by default.',
        lower_bound=0,
    )
    flags.DEFINE_float(
        f'{prefix}plateau_threshold',
        None,
        f'{stage}: share of the best that counts as improvement; 1e-4 by default.',
        lower_bound=0,
        upper_bound=1,
    )
    flags.DEFINE_enum(
        f'{prefix}plateau_metric',
        None,
        ('top1', 'top5', 'balanced', 'loss'),
        f'{stage}: metric that `plateau` watches; top1 by default.',
    )


def define_run():
    """The folder of a run, and what it keeps."""
    flags.DEFINE_string(
        'run_dir', None, 'Folder of the run; runs/<launcher>-<hash of the flags> by default.'
    )
    flags.DEFINE_bool(
        'overwrite',
        False,
        'Delete what an earlier run left in --run_dir; not for jobs that go back into a queue.',
    )
    flags.DEFINE_string('log_file', None, 'Add what is logged to this file too, with the time.')
    flags.DEFINE_enum(
        'log_level', 'info', ('info', 'warning', 'error'), 'The least of what is shown.'
    )
    flags.DEFINE_bool('dry_run', False, 'Show phases, steps, parameters and time; train nothing.')
    flags.DEFINE_integer(
        'steps_per_call',
        10,
        'Steps in one call, and in one line of the log; a SIGTERM is obeyed between calls.',
        lower_bound=1,
    )
    flags.DEFINE_float('checkpoint_minutes', 5.0, 'Minutes between checkpoints.', lower_bound=0)
    flags.DEFINE_integer(
        'checkpoint_steps', 0, 'Also after so many steps; 0 for by the minute alone.', lower_bound=0
    )
    flags.DEFINE_enum(
        'best_metric',
        None,
        ('top1', 'top5', 'balanced', 'loss'),
        "Also keep each phase's best network by this metric of the validation split.",
    )
    flags.DEFINE_integer('keep_checkpoints', 2, 'How many of the latest to keep.', lower_bound=1)
    flags.DEFINE_string(
        'profile',
        None,
        'START:COUNT: profile COUNT steps of each phase from step START on; TensorBoard shows it '
        '(pip install tensorboard-plugin-profile).',
    )
    flags.DEFINE_string(
        'peak_tflops',
        None,
        'Log which share (mfu) of so many 10^12 floating-point operations a second, of all devices '
        "together, training takes; 'measured': of what a large matrix product takes here.",
    )
    flags.DEFINE_integer(
        'stop_after_validations',
        0,
        'Leave a phase behind so many of its validations, all saved, as if asked to end (exit code '
        '75); the same command without this flag goes on. 0 for never.',
        lower_bound=0,
    )


def define_arithmetic():
    """What the numbers depend on beside data and method."""
    flags.DEFINE_integer(
        'seed',
        0,
        'Of weights, order and augmentation.',
        lower_bound=0,
        upper_bound=flag_values.LARGEST_SEED,
    )
    flags.DEFINE_enum(
        'precision',
        'float32',
        ('float32', 'mixed_bfloat16', 'mixed_float16'),
        'What layers compute in; weights, logits and losses are float32 always.',
    )


def define_devices():
    """Devices and compilation: where, and how fast."""
    flags.DEFINE_enum(
        'strategy',
        'auto',
        ('auto', 'one_device', 'mirrored', 'multi_worker', 'tpu'),
        'mirrored: all GPUs of this host, or all --logical_devices; multi_worker: one process of '
        'several, which TF_CONFIG or a SLURM step names; auto: multi_worker where TF_CONFIG names '
        'several, mirrored where there are several devices.',
    )
    flags.DEFINE_string('tpu', 'local', "Of --strategy=tpu: 'local', or a TPU's name.")
    flags.DEFINE_bool(
        'sync_batch_norm',
        False,
        'Batch norms normalise by the statistics of the global batch, instead of each device by '
        'those of its share.',
    )
    flags.DEFINE_bool('xla', None, 'Compile the step; by default on GPUs only, a CPU is slower so.')
    flags.DEFINE_integer(
        'logical_devices', 0, 'Split the CPU into so many devices, to try things.', lower_bound=0
    )


def resolved():
    """The flags that tfnets defines and their values, by name, without those that are None."""
    modules = flags.FLAGS.flags_by_module_dict()
    ours = {
        flag.name: flag.value
        for module, defined in modules.items()
        if not module.startswith(('absl', 'tensorflow'))
        for flag in defined
    }
    return {name: value for name, value in sorted(ours.items()) if value is not None}
