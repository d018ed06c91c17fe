#!/usr/bin/env bash
# Tests, measures and trains on whatever accelerator this machine has, in a given time.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: benchmarks/accelerator.sh [--wheels DIR] [--minutes N] [--out FILE] [--platform P] [--tiny] \
         [--data DIR] [--pairs DIR] [--parts PART ...]

Runs on a machine with JAX for its accelerator, within --minutes (default 10) in all: the tests that
need one; the training steps of the four paper configs in bfloat16 (images/s, share of the measured
rate of matrix products, peak memory beside the plan's); inference at the papers' sizes; then the
trainings of the shipped models with the time that is left. Writes FILE (JSON, default
runs/accelerator.json) and a Markdown table beside it after every part, so that what was measured
stays whenever it ends. What there is no time for is skipped, and said to be; the same call again
measures that, and goes on with the trainings.

  --wheels DIR    install what is missing from these wheels, where there is no package index
  --platform P    cpu, gpu or tpu; default: what JAX takes by itself
  --tiny          tiny networks and pictures: a try of the script itself
  --data DIR      photos to train on; default: the bundled ones
  --pairs DIR     pairs for Cycle CNN; default: the bundled one
  --parts PART    of tests, step, infer, train; default: all

PYTHON=/path/to/python picks an interpreter that has everything. Without it .venv's of this folder
is taken; where there is none it is made on top of python3's own packages, so that JAX stays what
the machine has.

example:
  benchmarks/accelerator.sh --minutes 10 --out benchmarks/results/accelerator_gpu.json
TEXT
}

fail() { echo "accelerator.sh: error: $*" >&2; exit 2; }

started=$(date +%s)
wheels='' rest=()
while (($#)); do
  case "$1" in
    -h | --help) usage; exit 0 ;;
    --wheels) (($# > 1)) || fail "--wheels needs a value"; wheels=$2; shift 2 ;;
    *) rest+=("$1"); shift ;;
  esac
done
[[ -z $wheels || -d $wheels ]] || fail "--wheels: there is no folder $wheels"

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=${PYTHON:-$here/.venv/bin/python}
needed='import jax, pytest, psutil, scs_jax.configs, scs_jax.cli.train, orbax.checkpoint, grain'
if [[ ! -x $(command -v "$python") ]]; then
  [[ -z ${PYTHON:-} ]] || fail "PYTHON: $python does not run"
  python3 -m venv --system-site-packages "$here/.venv"
fi
if ! "$python" -c "$needed" >/dev/null 2>&1; then
  [[ -z ${PYTHON:-} ]] || fail "$python lacks what is needed: $python -m pip install -e '$here[dev]'"
  echo "accelerator.sh: installing into $here/.venv" >&2
  from=()
  [[ -z $wheels ]] || from=(--no-index --find-links "$wheels" --no-build-isolation)
  "$python" -m pip install --quiet --disable-pip-version-check "${from[@]}" -e "$here" pytest
fi
exec "$python" "$here/benchmarks/accelerator.py" --started "$started" "${rest[@]}"
