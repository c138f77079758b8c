"""What every launcher does around its work: flags, errors, exit codes, a quiet TensorFlow."""

import contextlib
import logging as logging_module
import os
import pathlib
import signal
import sys
import tempfile

from absl import app, flags, logging

from tfnets.errors import Failed, InputError, NotFinite, Preempted, WorkerLost
from tfnets.training import cluster, preemption

BAD_INPUT = 2
NOT_FINITE = 3
# EX_TEMPFAIL: schedulers can be told to put a job with this code back into the queue.
PREEMPTED = 75
# Another process of the cluster has ended, for a reason that its own code tells.
WORKER_LOST = 76


def launch(main, check=None, arguments=False):
    """Parses the command line, runs a launcher and turns what went wrong into one line.

    Exit codes: 0 done; 1 a file cannot be read or written, memory is not enough, a part of what was
    asked for failed, or a defect; 2 bad input; 3 the loss became NaN or infinite; 75 asked to end
    (SIGTERM), all saved, the same command goes on; 76 another process of a cluster has ended, and
    its own code says why; 130 a second Ctrl-C.

    Args:
        main: function without arguments; imports TensorFlow only through `import_tensorflow`.
        check: function without arguments that refuses bad flags, before TensorFlow is imported.
        arguments: whether the command line may hold words that are no flags. Then main and check
            are called with the list of them.
    """
    app.run(lambda argv: _guarded(main, check, arguments, argv), flags_parser=_parse)


def _guarded(main, check, arguments, argv):
    _start_logging()
    preemption.install()
    _expand_home()
    try:
        _follow_log_flags()
        words = [argv[1:]] if arguments else []
        if len(argv) > 1 and not arguments:
            raise InputError(
                f'stray argument {argv[1]!r}: this command takes flags only; in a flagfile every '
                'line begins with --, and a comment with # on a line of its own'
            )
        if check:
            check(*words)
        with cluster.minding_others():
            main(*words)
        sys.stdout.flush()
    except InputError as error:
        _end(f'error: {error}', BAD_INPUT)
    except BrokenPipeError:  # who reads has enough, as `| head`; Python must not write there again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except (OSError, Failed) as error:
        _end(f'error: {error}', 1)
    except NotFinite as error:
        _end(f'error: {error}', NOT_FINITE)
    except WorkerLost as error:
        _end(
            f'{error}; start all of this cluster again by the same command, which goes on from the '
            'last checkpoint',
            PREEMPTED if preemption.requested() else WORKER_LOST,
        )
    except Preempted as error:
        _end(f'ended as asked: {error}; the same command goes on from there', PREEMPTED)
    except Exception as error:
        # TensorFlow's class is not imported here.
        if type(error).__name__ != 'ResourceExhaustedError':
            raise
        _end(f'error: out of memory; take less at once, or a smaller network ({error})', 1)
    except KeyboardInterrupt:
        _end('interrupted; the same command goes on from the last checkpoint', 130)


def _start_logging():
    logging.use_python_logging(quiet=True)
    # Handlers choose; progress that a bar shows on a terminal is meant for a file only.
    logging.get_absl_logger().setLevel(logging.converter.STANDARD_DEBUG)
    handler = logging.get_absl_handler()
    handler.setFormatter(None)
    handler.setLevel(logging.converter.STANDARD_INFO)
    handler.addFilter(_is_ours)


def _expand_home():
    """Reads ~ in values, which shells leave as it is in --run_dir=~/run, and flagfiles too."""
    for name in flags.FLAGS:
        flag = flags.FLAGS[name]
        if isinstance(flag.value, str):
            flag.value = os.path.expanduser(flag.value)
        elif isinstance(flag.value, list):
            flag.value = [os.path.expanduser(v) if isinstance(v, str) else v for v in flag.value]


def _follow_log_flags():
    """Obeys --log_level and --log_file, in launchers that have them."""
    if 'log_file' not in flags.FLAGS:
        return
    logging.get_absl_handler().setLevel(flags.FLAGS.log_level.upper())
    path = flags.FLAGS.log_file
    if path:
        try:
            pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)
            file = logging_module.FileHandler(path)
        except OSError as error:
            raise InputError(
                f'--log_file={path}: cannot be written to ({error.strerror})'
            ) from None
        file.setFormatter(logging_module.Formatter('%(asctime)s %(levelname)s %(message)s'))
        file.addFilter(_is_ours)
        logging.get_absl_logger().addHandler(file)


def _parse(argv):
    try:
        return flags.FLAGS(argv)
    except flags.Error as error:
        if any(argument in ('--help', '-h', '--helpfull') for argument in argv):
            raise
        text = str(error).replace('ERROR:: ', '')
        _end(f'error: {text}; --help lists the flags', BAD_INPUT)


def _end(line, code):
    # Asked again while it ends, it ends all the same.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    line = ' '.join(line.split())
    logging.debug('%s', line)  # for a log file
    print(line, file=sys.stderr, flush=True)
    sys.exit(code)


def _is_ours(record):
    """Leaves out what libraries say of every file that they open and checkpoint that they write."""
    return '/tensorflow' not in record.pathname or record.levelno >= 40


def import_tensorflow(logical_devices=0, initialize=True):
    """Imports TensorFlow without the lines that it prints whatever it is told.

    Args:
        logical_devices: into how many the CPU is split; 0 leaves it whole.
        initialize: whether its devices are made too; not before a cluster is joined.

    Returns:
        The module.
    """
    os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
    with quiet():
        import tensorflow as tf

        if logical_devices:
            tf.config.set_logical_device_configuration(
                tf.config.list_physical_devices('CPU')[0],
                [tf.config.LogicalDeviceConfiguration()] * logical_devices,
            )
        if initialize:
            tf.config.list_logical_devices()
    tf.get_logger().setLevel('ERROR')
    return tf


@contextlib.contextmanager
def quiet():
    """Holds back what is written to standard error, by C++ too; shows it if it ends in an error."""
    sys.stderr.flush()
    with tempfile.TemporaryFile() as held:
        original = os.dup(2)
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(original, held.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(original, 2)
            os.close(original)


def keep_quiet():
    """Leaves to the chief of a cluster what its processes all print and log; warnings stay."""
    for handler in (logging.get_absl_handler(), *logging.get_absl_logger().handlers):
        handler.setLevel(logging.converter.STANDARD_WARNING)
    sys.stdout = open(os.devnull, 'w')  # noqa: SIM115 - until the process ends
