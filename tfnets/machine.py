"""What this machine has for a process, without TensorFlow."""

import itertools
import os
import resource
import subprocess
import sys


def usable_cores():
    """How many CPU cores this process may use; a scheduler may give it fewer than there are."""
    if hasattr(os, 'sched_getaffinity'):  # Linux
        return len(os.sched_getaffinity(0))
    return os.cpu_count()


def most_memory():
    """The most memory that this process has used so far, in bytes."""
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used if sys.platform == 'darwin' else 1024 * used


def visible_gpus():
    """The NVIDIA GPUs that processes may use, as CUDA_VISIBLE_DEVICES names them or would."""
    named = os.environ.get('CUDA_VISIBLE_DEVICES')
    if named is None:
        return gpus()
    # As CUDA reads it: to the first that is none. NoDevFiles is SLURM's word for that.
    ends = ('', '-1', 'NoDevFiles')
    return list(itertools.takewhile(lambda name: name not in ends, named.split(',')))


def gpus():
    """Numbers of the NVIDIA GPUs that there are, as text."""
    try:
        command = ['nvidia-smi', '--query-gpu=index', '--format=csv,noheader']
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return done.stdout.split() if done.returncode == 0 else []
