#!/usr/bin/env bash
# One list on many GPUs, as an array of SLURM jobs, without `imap submit`. Edit the lines below for your cluster.
# Usage: sbatch --array=0-15 [--partition NAME ...] scripts/slurm/array.sh sample|renoise setting=value ...
# Run it from the folder that the settings' paths start from, in the environment that has imap. A task that is preempted
# or runs out of time is requeued, and goes on. Numbers of tasks follow one another: --array=0-15, or one number for one
# task. `imap view RUN` draws the pictures afterwards.
#SBATCH --job-name=imap
#SBATCH --array=0-3
#SBATCH --gpus=1
#SBATCH --time=240
#SBATCH --requeue
#SBATCH --signal=B:USR1@120
#SBATCH --open-mode=append
#SBATCH --output=imap-%A_%a.log
set -uo pipefail
[ $# -ge 1 ] && [ -n "${SLURM_ARRAY_TASK_ID:-}" ] || { sed -n '3,6s/^# //p' "$0" >&2; exit 2; }

stop() { kill -TERM "$task"; wait "$task"; } # imap ends after its current write
requeue() { stop; scontrol requeue "${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID"; exit 0; }
trap requeue USR1
trap stop TERM # the cluster requeues a preempted job itself

command=$1
shift
imap "$command" pictures=false "$@" "shard.index=$((SLURM_ARRAY_TASK_ID - SLURM_ARRAY_TASK_MIN))" \
  "shard.count=$SLURM_ARRAY_TASK_COUNT" &
task=$!
wait "$task"
