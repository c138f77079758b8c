"""What is refused before TensorFlow is imported: flags that cannot be right."""

import math
import os
import pathlib
import re
import socket

from absl import flags

from tfnets.data import preprocessing
from tfnets.data.folder_layout import is_folder
from tfnets.errors import InputError
from tfnets.launchers import common_flags, flag_values
from tfnets.models import registry

FLAGS = flags.FLAGS


def model_and_input():
    """Refuses what can be seen to be wrong without TensorFlow."""
    _check_numbers()
    registry.check(FLAGS.model, **common_flags.model_options())
    if FLAGS.phi is not None and FLAGS.phi < 0:
        raise InputError(f'--phi={FLAGS.phi}: expected at least 0, which is the base network')
    data()
    if _check_line('eval_preprocessing').is_random:
        raise InputError(
            f'--eval_preprocessing={FLAGS.eval_preprocessing}: an operation in it is random, which '
            'an evaluation may not be'
        )
    _check_line('train_preprocessing')
    weights = FLAGS.weights
    if weights == 'imagenet' and not FLAGS.model.startswith(registry.KERAS_PREFIX):
        raise InputError(
            f'--weights=imagenet: known for {registry.KERAS_PREFIX}NAME only; for {FLAGS.model} '
            'give the path of a file'
        )
    if weights and weights != 'imagenet' and not pathlib.Path(weights).is_file():
        raise InputError(f'--weights={weights}: there is no such file')
    service = FLAGS.data_service
    if service and FLAGS.cache != 'disk':
        raise InputError(
            f'--data_service, --cache={FLAGS.cache}: workers on other hosts read the photos from '
            'files; say --cache=disk, and --cache_dir for a folder that all of them share'
        )
    if service:
        reachable('data_service', service)
    if FLAGS.new_head and not weights:
        raise InputError('--new_head: there are no --weights, so that the whole network is new')
    if 'profile' in FLAGS:
        flag_values.profile()
        flag_values.peak_tflops()


def _check_line(flag):
    """Refuses a preprocessing that is no line, or does not make images of its resolution."""
    line = FLAGS[flag].value
    for pixels in (FLAGS.resolution or 224, 2 * (FLAGS.resolution or 224)):
        parsed = preprocessing.parse(line, pixels)
        if parsed.output_size != pixels:
            made = f'{parsed.output_size} px' if parsed.output_size else 'of no one size'
            raise InputError(
                f'--{flag}={line}: at a resolution of {pixels} px its images are {made}; write '
                'its last size as `resolution`, which stands for it'
            )
    return parsed


def course(prefix):
    """Refuses a warm-up that is all of the stage, and what `optimizer` refuses."""
    epochs, warmup = FLAGS[f'{prefix}epochs'].value, FLAGS[f'{prefix}warmup_epochs'].value
    if epochs and warmup >= epochs:
        raise InputError(f'--{prefix}warmup_epochs={warmup}: expected less than {epochs} epochs')
    optimizer(prefix)


def something_trained(purpose):
    """Refuses --epochs=0 where no weights are given either.

    Args:
        purpose: what is then done with the network: 'test'.
    """
    if not FLAGS.epochs and (FLAGS.new_head or not FLAGS.weights):
        raise InputError(
            '--epochs=0: this network has no trained classifier (no --weights, or --new_head), so '
            f'that there is nothing to {purpose}; train it by --epochs above 0'
        )


def any_length(flag, prefix=''):
    """Refuses schedules that fit one number of epochs, where a flag asks for another training."""
    kind = FLAGS[f'{prefix}schedule'].value
    if kind in ('steps', 'wave'):
        raise InputError(
            f'--{flag}, --{prefix}schedule={kind}: that training has a length of its own, which '
            'the epochs of this schedule do not fit; take cosine, or leave it out'
        )


def optimizer(prefix):
    """Refuses flags of another schedule than the one that is chosen, and numbers out of range."""
    kind = FLAGS[f'{prefix}schedule'].value
    for name in sorted({name for names in common_flags.SCHEDULE_FLAGS.values() for name in names}):
        flag = FLAGS[prefix + name]
        # A run's own flags.cfg gives defaults, too.
        given = flag.present and flag.value != flag.default
        if given and name not in common_flags.SCHEDULE_FLAGS[kind]:
            owners = [k for k, names in common_flags.SCHEDULE_FLAGS.items() if name in names]
            raise InputError(
                f'--{prefix}{name}={flag.value}: belongs to --{prefix}schedule='
                f'{" and ".join(owners)}, got {kind}; leave it out'
            )
    flag_values.wave_later(prefix)
    every = FLAGS[f'{prefix}drop_every']
    if flag_values.drop_at(prefix) and every.present and every.value != every.default:
        raise InputError(f'--{prefix}drop_at, --{prefix}drop_every: expected one of them')
    factor, ema = FLAGS[f'{prefix}drop_factor'].value, FLAGS[f'{prefix}ema'].value
    if not 0 < factor < 1:
        raise InputError(
            f'--{prefix}drop_factor={factor}: expected between 0 and 1; 0.1 divides by ten'
        )
    if ema and ema >= 1:
        raise InputError(f'--{prefix}ema={ema}: expected less than 1, as 0.9999')


def data():
    """Refuses folders that are not there or hold no images."""
    dataset = FLAGS.dataset
    if FLAGS.data_dir and not pathlib.Path(FLAGS.data_dir).is_dir():
        raise InputError(
            f'--data_dir={FLAGS.data_dir}: there is no such folder; prepare the data set by '
            f'python -c "import tensorflow_datasets as tfds; tfds.builder({dataset!r}, '
            f'data_dir={FLAGS.data_dir!r}).download_and_prepare()"'
        )
    folder = is_folder(dataset)
    if folder and not pathlib.Path(dataset).is_dir():
        raise InputError(f'--dataset={dataset}: there is no such folder')
    if folder and not any(path.is_dir() for path in pathlib.Path(dataset).iterdir()):
        raise InputError(
            f'--dataset={dataset}: the folder has no class folders in it; '
            f'expected {dataset.rstrip(os.sep)}/CLASS/*.jpg'
        )


def reachable(name, address):
    """Refuses a grpc://host:port where nobody listens; TensorFlow would wait for an hour."""
    match = re.fullmatch(r'grpc://(\[.+\]|[^:]+):(\d{1,5})', address)
    if not match:
        raise InputError(f'--{name}={address}: expected grpc://host:port')
    host, port = match[1].strip('[]'), int(match[2])
    try:
        socket.create_connection((host, port), timeout=5).close()
    except (OSError, OverflowError) as error:
        raise InputError(
            f'--{name}={address}: nobody listens there ({error}); start the dispatcher first'
        ) from None


def _check_numbers():
    """Refuses numbers that no bound can catch: NaN and infinity."""
    for name, value in common_flags.resolved().items():
        if isinstance(value, float) and not math.isfinite(value):
            raise InputError(f'--{name}={value}: expected a finite number')
