"""The launch scripts: what they would run, what they refuse, and real runs: of two processes on
this machine, and of what the others would run, with stand-ins for the cluster's own programs."""

import json
import os
import pathlib
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time

import pytest
import yaml

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

import quick_training

ROOT = pathlib.Path(__file__).resolve().parents[2]
LAUNCH = ROOT / "launch"
SCRIPTS = sorted(LAUNCH.glob("*.sh"))
TRAIN = ["--config", "scsnet/small", "--workdir", "runs/a b"]


def script(name, *arguments, cwd=None, **environment):
  command = ["bash", str(LAUNCH / name), *arguments]
  environment = os.environ | {"PYTHON": sys.executable} | environment
  return subprocess.run(
    command, capture_output=True, text=True, env=environment, cwd=cwd, timeout=400
  )


def commands(text):
  return [shlex.split(line) for line in text.splitlines()]


def test_all_are_there():
  assert [path.name for path in SCRIPTS] == ["gpu_slurm.sh", "local_processes.sh", "tpu_pod.sh"]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_the_shell_reads_it_and_it_explains_itself(path):
  assert os.access(path, os.X_OK)
  subprocess.run(["bash", "-n", path], check=True)
  told = script(path.name, "--help")
  assert told.returncode == 0
  assert told.stdout.startswith("usage: ")
  assert "example" in told.stdout


@pytest.mark.parametrize(
  ("name", "arguments", "expected"),
  [
    ("local_processes.sh", ["--bogus"], "unexpected argument '--bogus'"),
    ("local_processes.sh", ["--processes", "two", "--", *TRAIN], "expected a whole number"),
    ("local_processes.sh", ["--processes"], "--processes needs a value"),
    ("local_processes.sh", ["--dry-run"], "no arguments for scs-jax train"),
    ("local_processes.sh", ["--verb", "demo", "--", *TRAIN], "expected train, evaluate, compare"),
    ("tpu_pod.sh", ["--name", "a", "--", *TRAIN], "--zone and --bucket are needed"),
    ("tpu_pod.sh", ["--name", "a", "--zone", "z", "--bucket", "b"], "no training arguments"),
    ("gpu_slurm.sh", [], "no training arguments"),
  ],
)
def test_nonsense_is_refused_in_one_line(name, arguments, expected):
  told = script(name, *arguments)
  assert told.returncode == 2
  assert expected in told.stderr
  assert told.stderr.count("\n") == 1


def test_local_processes_differ_in_their_number_alone():
  told = script("local_processes.sh", "--dry-run", "--processes", "3", "--devices", "2",
                "--", *TRAIN, XLA_FLAGS="--xla_foo=1")  # fmt: skip
  lines = commands(told.stdout)
  assert len(lines) == 3
  for i, line in enumerate(lines):
    assert "XLA_FLAGS=--xla_foo=1 --xla_force_host_platform_device_count=2" in line
    assert line[line.index("train") + 1 :][:4] == TRAIN
    assert line[line.index("--process-id") + 1] == str(i)
    assert line[line.index("--num-processes") + 1] == "3"
  assert len({line[line.index("--coordinator") + 1] for line in lines}) == 1
  told = script("local_processes.sh", "--dry-run", "--verb", "evaluate", "--", "--checkpoint", "a")
  for line in commands(told.stdout):
    assert line[line.index("scs_jax") + 1 :][:3] == ["evaluate", "--checkpoint", "a"]


def test_local_processes_end_together_and_tell_what_went_wrong(tmp_path):
  """One of two slips; the other would go on for long, and ends with the code of a SIGTERM."""
  stand_ins(
    tmp_path / "bin",
    python="""
      [[ $1 == -c ]] && { echo 1234; exit; }
      [[ "$*" == *"--process-id 1"* ]] && {
        until [[ -e ready ]]; do sleep 0.05; done
        echo "scs-jax: error: a slip" >&2; exit 2; }
      trap 'echo told; exit 0' TERM
      touch ready
      for ((i = 0; i < 600; i++)); do sleep 0.1; done""",
  )
  done = script("local_processes.sh", "--", *TRAIN, cwd=tmp_path,
                PYTHON=str(tmp_path / "bin/python"))  # fmt: skip
  assert done.returncode == 2 and "done" not in done.stdout
  said = "local_processes.sh: process 1 ended with code 2; logs/process_1.log ends in:"
  assert done.stderr.splitlines() == [said, "scs-jax: error: a slip"]
  assert (tmp_path / "logs/process_0.log").read_text() == "told\n"


def test_local_processes_train_together(tmp_path):
  quick_training.write(tmp_path, steps=3)
  train = ["--config", "quick.py", "--workdir", "a run", "--quiet"]
  done = script("local_processes.sh", "--", *train, cwd=tmp_path,
                PYTHONPATH=f"{ROOT}:{tmp_path}", XLA_FLAGS="")  # fmt: skip
  logs = {path.name: path.read_text() for path in (tmp_path / "logs").iterdir()}
  assert done.returncode == 0, (done.stderr, logs)
  assert set(logs) == {"process_0.log", "process_1.log"}
  first, last = done.stdout.splitlines()
  assert "2 processes train" in first and "logs/process_0.log to process_1.log" in first
  assert "done; logs/process_0.log ends in: a run: step 3; checkpoints" in last
  assert "a run: step 3; checkpoints" in logs["process_0.log"]  # the first speaks for all
  assert "checkpoints" not in logs["process_1.log"]
  lines = (tmp_path / "a run/metrics.jsonl").read_text().splitlines()
  assert [json.loads(line)["step"] for line in lines] == [1, 2, 3]



def test_tpu_pod_installs_mounts_and_trains_on_all_workers():
  told = script("tpu_pod.sh", "--dry-run", "--name", "big", "--zone", "z1", "--bucket", "gs://mine",
                "--source", "https://example.org/scs_jax.git", "--", *TRAIN)  # fmt: skip
  # One line a command; the last, of several lines, as bash quotes it.
  lines = [bash_words(line) for line in told.stdout.splitlines()]
  assert [line[:6] for line in lines] == [
    ["gcloud", "compute", "tpus", "tpu-vm", "ssh", "big"]
  ] * len(lines)
  assert all(line[line.index("--worker") + 1] == "all" for line in lines)
  remote = [line[line.index("--command") + 1] for line in lines]
  assert remote[0].endswith("git clone https://example.org/scs_jax.git scs_jax")
  assert 'make install EXTRAS=tpu,gcs PYTHON="$p"' in remote[1]
  assert "gcsfuse --implicit-dirs" in remote[2] and "mine bucket)" in remote[2]
  for command in remote:
    subprocess.run(["bash", "-n"], input=command, text=True, check=True)
  (trained,) = [line for line in remote[3].splitlines() if "scs-jax train --" in line]
  trained = shlex.split(trained)
  assert trained[1:7] == ["train", "--distributed", "auto", "--quiet", "--stopped-code", "75"]
  assert trained[7 : 7 + len(TRAIN)] == TRAIN
  # What it ends is an earlier training, and not the shell that it runs in.
  old = re.search("pkill -f '(.*)'", remote[3])[1]
  assert re.search(old, "/home/me/scs_jax/.venv/bin/python3.12 scs_jax/.venv/bin/scs-jax train -x")
  assert not re.search(old, f"bash -c {remote[3]}")
  assert not re.search(old, f"/usr/bin/python3 gcloud.py ssh --command {remote[3]}")


def bash_words(line):
  """The words of a line as bash reads it, $'...' included."""
  print_each = f"printf '%s\\0' {line}"
  told = subprocess.run(["bash", "-c", print_each], capture_output=True, text=True, check=True)
  return told.stdout.split("\0")[:-1]


def stand_ins(folder, **programs):
  """PATH with programs of ours, each a few lines of bash, before the machine's."""
  folder.mkdir()
  for name, text in programs.items():
    (folder / name).write_text("#!/usr/bin/env bash\n" + text)
    (folder / name).chmod(0o755)
  return f"{folder}:{os.environ['PATH']}"


def test_tpu_pod_tries_again_and_keeps_the_log_of_every_worker(tmp_path):
  """Two workers in two folders that see one bucket; one of them fails at first."""
  project, bucket = tmp_path / "project", tmp_path / "bucket"
  project.mkdir()
  bucket.mkdir()
  (project / "setup.cfg").write_text("")
  path = stand_ins(
    tmp_path / "bin",
    gcloud="""
      case "$4" in
        scp) for w in 0 1; do
            mkdir -p "$FOLDER/w-$w" && cp "$5" "$FOLDER/w-$w/scs_jax.tar.gz"
          done ;;
        ssh) code=0
          for w in 0 1; do
            (cd "$FOLDER/w-$w" && WORKER=$w bash -c "${@: -1}") || code=$?
          done
          exit $code ;;
      esac""",
    hostname='echo "t1v-n-abc-w-$WORKER"',
    make="""
      mkdir -p .venv/bin && cat > .venv/bin/scs-jax <<'END'
#!/usr/bin/env bash
echo "worker $WORKER: $*"
tries=$(grep -c "^worker" train.log)
((WORKER == 1 && tries < 2)) && exit 75
exit 0
END
      chmod +x .venv/bin/scs-jax""",
    gcsfuse='echo "$*" >> "$FOLDER/mounted"; rmdir bucket && ln -s "$FOLDER/bucket" bucket',
    mountpoint="test -L bucket",
    pkill="exit 1",
    pgrep="exit 1",
    sleep=f"exec {shutil.which('sleep')} 0.05",
  )
  done = script("tpu_pod.sh", "--name", "big", "--zone", "z", "--bucket", "mine", "--source",
                str(project), "--", *TRAIN, PATH=path, FOLDER=str(tmp_path))  # fmt: skip
  assert done.returncode == 0, done.stderr
  assert "try 1 of 5 ended before the last step; see gs://mine/logs/big" in done.stderr
  assert (tmp_path / "mounted").read_text().count("mine bucket") == 2
  for worker in (0, 1):
    said = (bucket / f"logs/big/worker_{worker}.log").read_text().splitlines()
    line = f"worker {worker}: train --distributed auto --quiet --stopped-code 75 {' '.join(TRAIN)}"
    assert said == [line, line]


def test_tpu_pod_copies_no_environment_of_this_machine():
  told = script("tpu_pod.sh", "--dry-run", "--name", "n", "--zone", "z", "--bucket", "b",
                "--", *TRAIN)  # fmt: skip
  packed = bash_words(told.stdout.splitlines()[0])
  assert packed[0] == "tar"
  assert "--exclude=./.venv" in packed


def test_slurm_starts_a_task_a_machine():
  told = script("gpu_slurm.sh", "--dry-run", *TRAIN)
  (line,) = commands(told.stdout)
  assert line[0] == "srun"
  assert line[line.index("train") :] == ["train", "--distributed", "auto", "--quiet", *TRAIN]
  text = (LAUNCH / "gpu_slurm.sh").read_text()
  assert "#SBATCH --ntasks-per-node=1" in text
  assert "#SBATCH --requeue" in text


@pytest.mark.parametrize(("signalled", "code"), [(True, 0), (False, 3)])
def test_slurm_requeues_what_the_time_limit_stopped_and_nothing_else(tmp_path, signalled, code):
  """srun answers a SIGTERM to itself by killing its tasks: scancel must do the telling."""
  path = stand_ins(
    tmp_path / "bin",
    srun="""
      trap 'echo killed >> told; exit 143' TERM
      [[ $CODE != 0 ]] && exit "$CODE"
      touch started
      until [[ -e stop ]]; do sleep 0.05; done""",
    scancel='echo "scancel $*" >> told; touch stop',
    scontrol='echo "scontrol $*" >> told',
  )
  environment = os.environ | {"PATH": path, "SLURM_JOB_ID": "7", "CODE": str(code)}
  job = subprocess.Popen(["bash", LAUNCH / "gpu_slurm.sh", *TRAIN], cwd=tmp_path, env=environment)
  if signalled:
    end = time.monotonic() + 60
    while not (tmp_path / "started").exists() and time.monotonic() < end:
      time.sleep(0.02)
    job.send_signal(signal.SIGUSR1)
  assert job.wait(60) == code
  told = (tmp_path / "told").read_text().splitlines() if signalled else []
  assert told == (["scancel --signal=TERM 7", "scontrol requeue 7"] if signalled else [])
  assert (tmp_path / "told").exists() == signalled


def test_the_jobset_is_valid_and_whole():
  found = yaml.safe_load((LAUNCH / "gke_jobset.yaml").read_text())
  assert found["kind"] == "JobSet"
  job = found["spec"]["replicatedJobs"][0]["template"]["spec"]
  # One pod a VM, all at once.
  assert job["parallelism"] == job["completions"] == 4
  pod = job["template"]["spec"]
  (container,) = pod["containers"]
  mounted = {mount["name"] for mount in container["volumeMounts"]}
  assert mounted == {volume["name"] for volume in pod["volumes"]}
  # The command line is one that train takes; where it was told to stop, the job has not succeeded.
  command = [*container["command"], *container["args"]]
  assert command[:2] == ["scs-jax", "train"] and all(isinstance(word, str) for word in command)
  from scs_jax.cli import arguments, train

  parser = arguments.make_parser("train", train.HELP, train.EXAMPLES)
  train.add_arguments(parser)
  args = arguments.parse(parser, command[2:])
  assert args.distributed == "auto" and args.stopped_code != 0
  arguments.load_config(args)
