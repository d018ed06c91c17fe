#!/usr/bin/env bash
# Trains or measures in several processes on this machine: tries what a pod does, without one.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: launch/local_processes.sh [--processes N] [--devices D] [--verb VERB] [--logs DIR] \
         [--dry-run] -- ARGUMENTS

Runs `scs-jax train ARGUMENTS` in N processes (default 2) that train one model together, each
with D CPU devices (default 1); or evaluate, compare or ablate as --verb, which share the pictures.
The output of process i goes to DIR/process_i.log (default: logs).
Ctrl-C saves a training and ends; a second one ends at once. The same command again goes on from
the last checkpoint, or measures anew. When one process fails, the others are ended and its log is
shown. PYTHON=/path/to/python picks the interpreter (default: .venv's of this folder, then python3).

example:
  launch/local_processes.sh --processes 2 -- --config scsnet/small --workdir runs/two
  launch/local_processes.sh --verb evaluate -- --checkpoint runs/two --data photos
TEXT
}

fail() { echo "local_processes.sh: error: $*" >&2; exit 2; }
whole_number() { [[ "$2" =~ ^[1-9][0-9]*$ ]] || fail "$1 is '$2': expected a whole number from 1"; }

processes=2 devices=1 verb=train logs=logs dry=
while (($#)); do
  case "$1" in
    --processes | --devices | --verb | --logs)
      (($# > 1)) || fail "$1 needs a value"
      case "$1" in --processes) processes=$2 ;; --devices) devices=$2 ;; --verb) verb=$2 ;; --logs) logs=$2 ;; esac
      shift 2 ;;
    --dry-run) dry=1; shift ;;
    -h | --help) usage; exit 0 ;;
    --) shift; break ;;
    *) fail "unexpected argument '$1'; the arguments of scs-jax $verb follow after --" ;;
  esac
done
whole_number --processes "$processes"
whole_number --devices "$devices"
[[ $verb =~ ^(train|evaluate|compare|ablate)$ ]] || fail "--verb is '$verb': expected train, evaluate, compare or ablate"
(($#)) || fail "no arguments for scs-jax $verb; write them after -- (see --help)"

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=${PYTHON:-$([[ -x $here/.venv/bin/python ]] && echo "$here/.venv/bin/python" || echo python3)}
# A port that is free now; with nothing to run, any number shows the command.
port=12345
[[ $dry ]] || port=$("$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
flags="${XLA_FLAGS:-} --xla_force_host_platform_device_count=$devices"

command_of() {
  printf '%s\n' "$python" -m scs_jax "$verb" "${@:2}" \
    --coordinator "127.0.0.1:$port" --num-processes "$processes" --process-id "$1"
}

if [[ $dry ]]; then
  for ((i = 0; i < processes; i++)); do
    mapfile -t line < <(command_of "$i" "$@")
    echo "JAX_PLATFORMS=cpu XLA_FLAGS='$flags' ${line[*]@Q} > $logs/process_$i.log"
  done
  exit 0
fi

mkdir -p "$logs"
pids=()
signal=TERM
stop() { for pid in "${pids[@]}"; do kill -"$signal" "$pid" 2>/dev/null || true; done; }
asked() {
  echo "local_processes.sh: stopping: a training saves the step at hand; once more ends all at once" >&2
  stop
  signal=KILL
}
trap asked INT TERM
for ((i = 0; i < processes; i++)); do
  mapfile -t line < <(command_of "$i" "$@")
  JAX_PLATFORMS=cpu XLA_FLAGS="$flags" "${line[@]}" >"$logs/process_$i.log" 2>&1 &
  pids+=($!)
done

all=process_0.log
((processes == 1)) || all+=" to process_$((processes - 1)).log"
echo "local_processes.sh: $processes processes $verb; what they say is in $logs/$all:" \
  "tail -f $logs/process_0.log"

code=0
while ((${#pids[@]})); do
  ended='' status=0
  wait -n -p ended "${pids[@]}" || status=$?
  for i in "${!pids[@]}"; do # none, where a signal to this script ended the wait
    [[ ${pids[i]} == "${ended:-}" ]] || continue
    unset "pids[i]"
    ((status != 0 && code == 0)) || continue
    code=$status
    echo "local_processes.sh: process $i ended with code $status; $logs/process_$i.log ends in:" >&2
    tail -n 15 "$logs/process_$i.log" >&2
    stop
  done
done
if ((code == 0)); then
  echo "local_processes.sh: done; $logs/process_0.log ends in: $(tail -n 1 "$logs/process_0.log")"
fi
exit "$code"
