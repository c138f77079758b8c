"""Several processes, maybe on several hosts, that train one network together.

All of them run the same program and take part in every collective operation, in the same order;
reading a variable that replicas share is one, and so is saving it. What they must not decide each
for itself (what stands in a file, what the time is) the first of them, the chief, decides for all.
Only the chief's files are kept.

A process belongs to one cluster as long as it lives, so that this is known to the module. A process
on its own is a cluster of one. TensorFlow is imported only to join others.
"""

import contextlib
import json
import os
import pathlib
import socket
import tempfile
import time

import numpy as np
from absl import logging

from tfnets import files
from tfnets.errors import InputError, WorkerLost
from tfnets.training import preemption

# What TensorFlow raises in a collective operation when one that takes part in it is gone.
_LOST = ('UnavailableError', 'AbortedError', 'CancelledError', 'DeadlineExceededError')

_strategy = None
_scratch = None


def named():
    """Whether TF_CONFIG names several workers."""
    try:
        return len(json.loads(os.environ.get('TF_CONFIG', '{}'))['cluster']['worker']) > 1
    except (ValueError, LookupError, TypeError):
        return False


def is_asked(strategy):
    """Whether a strategy of that name, as --strategy gives it, is that of a cluster here."""
    return strategy == 'multi_worker' or (strategy == 'auto' and named())


def join():
    """Takes this process's place among the others; to be called before TensorFlow does anything.

    Who they are is in TF_CONFIG, {'cluster': {'worker': ['host:port', ...]}, 'task': {'type':
    'worker', 'index': 0}}, or else in the environment of a SLURM step, a process for each task.

    Returns:
        tf.distribute.MultiWorkerMirroredStrategy, once all others have joined.

    Raises:
        InputError: if neither names any others, or they are no workers, or this process cannot
            listen at its address.
        Preempted: after a SIGTERM while the others are waited for.
    """
    global _strategy, _scratch
    import tensorflow as tf

    resolver = _resolver()
    _wait_for_others(resolver)
    _strategy = tf.distribute.MultiWorkerMirroredStrategy(resolver)
    preemption.install()  # again: TensorFlow has put a handler of its own in its place
    if not is_chief():
        _scratch = tempfile.TemporaryDirectory(prefix='tfnets')
        files.discard()
    return _strategy


def _wait_for_others(resolver):
    """Returns once all others can be reached; until then this process can be asked to end.

    TensorFlow would wait for them too, but swallow every signal meanwhile.
    """
    addresses = resolver.cluster_spec().as_dict()['worker']
    own = addresses[resolver.task_id]
    try:
        listening = socket.create_server(('', int(own.rpartition(':')[2])), backlog=len(addresses))
    except (OSError, ValueError, OverflowError) as error:
        raise InputError(
            f'--strategy=multi_worker: cannot listen at {own} ({error}); take another port'
        ) from None
    with listening:
        missing = [address for address in addresses if address != own]
        logging.info('process %d of %d, waiting', 1 + addresses.index(own), len(addresses))
        while missing := [address for address in missing if not _answers(address)]:
            time.sleep(0.2)


def _answers(address):
    host, _, port = address.rpartition(':')
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except OSError:
        return False
    return True


def _resolver():
    import tensorflow as tf

    if os.environ.get('TF_CONFIG'):
        resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
        try:
            workers = resolver.cluster_spec().as_dict()
            place = resolver.task_id
            known = set(workers) == {'worker'} and resolver.task_type == 'worker'
            known = known and 0 <= place < len(workers['worker'])
        except (ValueError, LookupError, TypeError, AttributeError):
            known = False
        if not known:
            raise InputError(
                f'--strategy=multi_worker: TF_CONFIG={os.environ["TF_CONFIG"]}: expected workers '
                'alone, {"cluster": {"worker": ["host:port", ...]}, "task": {"type": "worker", '
                '"index": 0}}'
            )
        return resolver
    if int(os.environ.get('SLURM_STEP_NUM_TASKS', 0)) > 1:
        return tf.distribute.cluster_resolver.SimpleClusterResolver(
            tf.train.ClusterSpec({'worker': _slurm_workers()}),
            task_type='worker',
            task_id=int(os.environ['SLURM_PROCID']),
        )
    raise InputError(
        '--strategy=multi_worker: expected the other processes in TF_CONFIG, or a SLURM step of '
        'several tasks (srun); there is neither'
    )


def _slurm_workers():
    """The addresses of a SLURM step's tasks, by their numbers.

    SlurmClusterResolver itself puts node10 before node2, where SLURM counts the tasks of node2
    first; and it looks for GPUs with a program that hosts without any lack.
    """
    from tensorflow.python.distribute.cluster_resolver import slurm_cluster_resolver as slurm

    hosts = slurm.expand_hostlist(os.environ['SLURM_STEP_NODELIST'])
    counts = slurm.expand_tasks_per_node(os.environ['SLURM_STEP_TASKS_PER_NODE'])
    # Jobs that share a host must not share ports.
    first = 20_000 + int(os.environ.get('SLURM_JOB_ID', 0)) * 64 % 20_000
    return [
        f'{host}:{first + place}'
        for host, count in zip(hosts, counts, strict=True)
        for place in range(count)
    ]


def size():
    """How many processes there are."""
    return len(_strategy.cluster_resolver.cluster_spec().as_dict()['worker']) if _strategy else 1


def is_chief():
    """Whether this process is the one that decides, and whose files are kept."""
    return not _strategy or _strategy.cluster_resolver.task_id == 0


def total(numbers):
    """Adds up numbers over all processes; none goes on before all have come to this.

    Args:
        numbers: list of int, of the same length in every process.

    Returns:
        List of int.
    """
    return _add(np.array(numbers, np.int64)).tolist() if _strategy else list(map(int, numbers))


def wait():
    """Lets no process go on before all have come to this."""
    total([0])


def agreed(value):
    """What the chief's value is, in every process.

    Args:
        value: anything that JSON can hold; looked at in the chief alone.
    """
    if not _strategy:
        return value
    text = json.dumps(value).encode() if is_chief() else b''
    (length,) = total([len(text)])
    letters = np.zeros(length, np.int64)
    letters[: len(text)] = list(text)
    return json.loads(bytes(_add(letters).tolist()))


def own(folder):
    """Where this process writes what belongs into a folder: there, if its files are kept."""
    if is_chief():
        return pathlib.Path(folder)
    scratch = pathlib.Path(_scratch.name) / str(pathlib.Path(folder).absolute()).lstrip('/')
    scratch.mkdir(parents=True, exist_ok=True)
    return scratch


@contextlib.contextmanager
def minding_others():
    """Turns the many ways in which a process learns that another is gone into one.

    Raises:
        WorkerLost: some ten seconds after another process has ended.
    """
    try:
        yield
    except Exception as error:
        if _strategy and type(error).__name__ in _LOST:
            raise WorkerLost('another process has ended, or cannot be reached') from error
        raise


def _add(array):
    """The sum of all processes' arrays, each counted once."""
    import tensorflow as tf

    def of_replica(context):
        # A process with several devices counts with the first of them.
        devices = context.num_replicas_in_sync // size()
        is_first = context.replica_id_in_sync_group % devices == 0
        return tf.constant(array if is_first else np.zeros_like(array))

    values = _strategy.experimental_distribute_values_from_function(of_replica)
    return _strategy.reduce('SUM', values, axis=None).numpy()
