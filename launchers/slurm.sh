#!/usr/bin/env bash
# A SLURM job: a task for each GPU, on as many nodes as you ask for.
#
#   sbatch --nodes=2 launchers/slurm.sh fixres --flagfile=flags/fixres/imagenet_resnet50.cfg \
#       --run_dir=/shared/runs/resnet50
#
# --run_dir must be on a file system that all nodes see. A minute before its time is over, or when it
# is preempted, each task gets a SIGTERM, saves and leaves with code 75; the job then puts itself back
# into the queue and goes on from there. (Where a task failed by itself, the others leave with code 76,
# and the job ends.)
#SBATCH --gpus-per-task=1
#SBATCH --ntasks-per-node=8
#SBATCH --cpus-per-task=8
#SBATCH --time=12:00:00
#SBATCH --signal=TERM@60
#SBATCH --requeue
#SBATCH --open-mode=append
set -uo pipefail
launcher=$1
shift

# The tasks find each other through what SLURM says to each of them.
# Not every srun takes the number of cores from sbatch.
srun --kill-on-bad-exit=0 --distribution=block --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" \
    python -m "tfnets.launchers.$launcher" "$@" --strategy=multi_worker
code=$?
[ "$code" -eq 75 ] && scontrol requeue "$SLURM_JOB_ID"
exit "$code"
