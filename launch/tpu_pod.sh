#!/usr/bin/env bash
# Trains on every VM of a Cloud TPU slice, and starts again where a VM was taken away.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: launch/tpu_pod.sh --name TPU --zone ZONE --bucket NAME [--project P] [--source URL_OR_DIR]
         [--tries N] [--dry-run] -- TRAIN ARGUMENTS

Runs `scs-jax train TRAIN ARGUMENTS` on all VMs (workers) of a running TPU VM slice:

  1. installs scs_jax with the extras tpu and gcs on each, and Python 3.12 where there is none that suits
     (--source: a git URL or a folder of this machine to copy; default: the folder that this script
     stands in);
  2. mounts the bucket gs://NAME at ~/bucket on each by gcsfuse, so that --data bucket/imagenet is
     the same for all. --workdir gs://NAME/runs/one needs no mount; bucket/runs/one, in it, needs a
     bucket with hierarchical namespace, where a checkpoint becomes valid by one rename;
  3. trains. The output of worker I is in train.log on its disk, and every minute in the bucket, as
     logs/TPU/worker_I.log. The workers find each other by themselves (--distributed auto);
  4. where it ends before its last step, by an error or since the machines were told to stop, tries
     again from the last checkpoint, N times in all (default 5).

Making the slice, and a queued resource for spot slices, is described in docs/scaling.md.
--dry-run prints the commands and runs none.

example:
  launch/tpu_pod.sh --name big --zone us-west4-a --bucket mine -- \
    --config scsnet/paper --workdir gs://mine/runs/scsnet --data bucket/imagenet \
    --config.dtype=bfloat16
TEXT
}

fail() { echo "tpu_pod.sh: error: $*" >&2; exit 2; }

name= zone= bucket= project= tries=5 dry=
source=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
while (($#)); do
  case "$1" in
    --name | --zone | --bucket | --project | --source | --tries)
      (($# > 1)) || fail "$1 needs a value"
      case "$1" in
        --name) name=$2 ;; --zone) zone=$2 ;; --bucket) bucket=${2#gs://} ;;
        --project) project=$2 ;; --source) source=$2 ;; --tries) tries=$2 ;;
      esac
      shift 2 ;;
    --dry-run) dry=1; shift ;;
    -h | --help) usage; exit 0 ;;
    --) shift; break ;;
    *) fail "unexpected argument '$1'; the arguments of scs-jax train follow after --" ;;
  esac
done
[[ $name && $zone && $bucket ]] || fail "--name, --zone and --bucket are needed (see --help)"
[[ "$tries" =~ ^[1-9][0-9]*$ ]] || fail "--tries is '$tries': expected a whole number from 1"
(($#)) || fail "no training arguments; write -- --config NAME --workdir gs://$bucket/runs/NAME"
where=(--zone "$zone" --worker all)
[[ $project ]] && where+=(--project "$project")

run() {
  if [[ $dry ]]; then printf '%s\n' "${*@Q}"; else "$@"; fi
}
on_all() { run gcloud compute tpus tpu-vm ssh "$name" "${where[@]}" --command "$1"; }

case "$source" in
  http*://* | git@* | ssh://*)
    on_all "test -d scs_jax || git clone $(printf %q "$source") scs_jax" ;;
  *)
    [[ -f $source/setup.cfg ]] || fail "--source $source has no setup.cfg: expected this project"
    packed=scs_jax.tar.gz
    [[ $dry ]] || packed=$(mktemp --suffix=.tar.gz)
    # What was built here is of no use there.
    run tar -czf "$packed" -C "$source" --exclude=./.venv --exclude=./.git --exclude=./.cache \
      --exclude=./runs --exclude=__pycache__ .
    run gcloud compute tpus tpu-vm scp "$packed" "$name:scs_jax.tar.gz" "${where[@]}"
    [[ $dry ]] || rm -f "$packed"
    on_all "mkdir -p scs_jax && tar -xzf scs_jax.tar.gz -C scs_jax" ;;
esac
# Images of TPU VMs may carry an older Python than 3.11: uv brings one then.
on_all 'cd scs_jax && p=$(command -v python3.12 python3.11 | head -n 1)
[ "$p" ] || { python3 -m pip install --user --quiet uv && python3 -m uv python install 3.12 &&
  p=$(python3 -m uv python find --system 3.12); } && make install EXTRAS=tpu,gcs PYTHON="$p"'
# No cache of what is there: workers write into one folder.
mount="gcsfuse --implicit-dirs --metadata-cache-ttl-secs=0 --metadata-cache-negative-ttl-secs=0"
on_all "mkdir -p bucket && (mountpoint -q bucket || $mount $(printf %q "$bucket") bucket)"

# The chips may be held by a training that another start left behind: it is told to save, and waited
# for. The pattern is of the program itself, not of the shell that has these lines as its argument.
old='^[^ ]*python[^ ]* [^ ]*scs-jax train '
logs="bucket/logs/$(printf %q "$name")"
train="scs_jax/.venv/bin/scs-jax train --distributed auto --quiet --stopped-code 75"
for argument in "$@"; do train+=" $(printf %q "$argument")"; done
# A file on a mounted bucket is there for others when it is closed: the log is copied, not written.
worker="pkill -f '$old'
for i in \$(seq 180); do pgrep -f '$old' > /dev/null || break; sleep 1; done
pkill -KILL -f '$old'
log=$logs/worker_\$(hostname | sed 's/.*-//').log
mkdir -p $logs
[ -e train.log ] || cp \"\$log\" train.log 2> /dev/null
(while sleep 60; do cp train.log \"\$log\"; done) > /dev/null 2>&1 &
copier=\$!
$train >> train.log 2>&1
code=\$?
kill \$copier
cp train.log \"\$log\"
exit \$code"

for ((try = 1; try <= tries; try++)); do
  if on_all "$worker"; then exit 0; fi
  echo "tpu_pod.sh: try $try of $tries ended before the last step; see gs://$bucket/logs/$name" >&2
  ((try < tries)) && sleep 30
done
exit 1
