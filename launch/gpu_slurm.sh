#!/usr/bin/env bash
#SBATCH --job-name=scs_jax
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:USR1@180
#SBATCH --output=scs_jax_%j.log
# Trains on the GPUs of several machines under SLURM; requeued, it goes on from the last checkpoint.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: sbatch [SBATCH FLAGS] launch/gpu_slurm.sh TRAIN ARGUMENTS
       launch/gpu_slurm.sh --dry-run TRAIN ARGUMENTS

One process a machine drives all its GPUs; SLURM says who is who (--distributed auto). Three minutes
before the time is over every process is told to stop: all save the same step, and the job goes back
into the queue. A job that was preempted, or whose machine failed, is requeued by SLURM; either way
it goes on from the last checkpoint. The log of task I is scs_jax_JOB_I.log.
PYTHON=/path/to/python picks the interpreter; the workdir must lie on a file system that all share.

example:
  sbatch --nodes=4 launch/gpu_slurm.sh --config scsnet/paper --workdir /shared/runs/scsnet \
    --data /shared/imagenet --config.dtype=bfloat16
TEXT
}

dry=
case "${1:-}" in
  -h | --help) usage; exit 0 ;;
  --dry-run) dry=1; shift ;;
esac
if (($# == 0)); then
  echo "gpu_slurm.sh: error: no training arguments (see --help)" >&2
  exit 2
fi

command=(srun --kill-on-bad-exit=1 --output="scs_jax_%j_%t.log" --open-mode=append
  "${PYTHON:-python3}" -m scs_jax train --distributed auto --quiet "$@")
if [[ $dry ]]; then
  printf '%s\n' "${command[*]@Q}"
  exit 0
fi

stopped=
# To every task of every step. (srun itself would answer a SIGTERM by killing them.)
trap 'stopped=1; scancel --signal=TERM "$SLURM_JOB_ID"' USR1
"${command[@]}" &
trainer=$!
code=0
wait "$trainer" || code=$?
while kill -0 "$trainer" 2>/dev/null; do # the signal ended the wait, not the training
  code=0
  wait "$trainer" || code=$?
done
if [[ $stopped ]] && ((code == 0)); then
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
