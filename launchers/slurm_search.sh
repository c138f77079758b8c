#!/usr/bin/env bash
# A search as a SLURM array: one trial for each task of it, all in one folder.
#
#   python -m tfnets.launchers.compound_scaling --flagfile=... --mode=search --dry_run   # how many
#   sbatch --array=0-17 launchers/slurm_search.sh --flagfile=... --run_dir=/shared/runs/search
#
# When all have ended, the same command without --trial ranks them and writes the report.
#SBATCH --gpus=1
#SBATCH --cpus-per-task=8
#SBATCH --time=04:00:00
#SBATCH --signal=TERM@60
#SBATCH --requeue
#SBATCH --open-mode=append
set -uo pipefail
# The last --mode counts, behind that of a flagfile.
srun --ntasks=1 --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" \
    python -m tfnets.launchers.compound_scaling "$@" --mode=search --trial="$SLURM_ARRAY_TASK_ID"
code=$?
[ "$code" -eq 75 ] && scontrol requeue "${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID"
exit "$code"
