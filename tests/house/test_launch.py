"""The launch scripts: what they would run, what they refuse, and a real run of two processes."""

import os
import pathlib
import shlex
import subprocess
import sys

import pytest
import yaml

LAUNCH = pathlib.Path(__file__).resolve().parents[2] / "launch"
SCRIPTS = sorted(LAUNCH.glob("*.sh"))
TRAIN = ["--config", "scsnet/small", "--workdir", "runs/a b"]


def script(name, *arguments, **environment):
  command = ["bash", str(LAUNCH / name), *arguments]
  environment = os.environ | {"PYTHON": sys.executable} | environment
  return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=400)


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
    ("local_processes.sh", ["--dry-run"], "no training arguments"),
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


def test_tpu_pod_installs_mounts_and_trains_on_all_workers():
  told = script("tpu_pod.sh", "--dry-run", "--name", "big", "--zone", "z1", "--bucket", "gs://mine",
                "--source", "https://example.org/scs_jax.git", "--", *TRAIN)  # fmt: skip
  lines = commands(told.stdout)
  assert [line[:6] for line in lines] == [
    ["gcloud", "compute", "tpus", "tpu-vm", "ssh", "big"]
  ] * len(lines)
  assert all(line[line.index("--worker") + 1] == "all" for line in lines)
  remote = [line[line.index("--command") + 1] for line in lines]
  assert remote[0].endswith("git clone https://example.org/scs_jax.git scs_jax")
  assert remote[1] == "cd scs_jax && make install EXTRAS=tpu"
  assert "gcsfuse --implicit-dirs mine bucket" in remote[2]
  subprocess.run(["bash", "-n"], input=remote[3], text=True, check=True)
  trained = shlex.split(remote[3].partition("; ")[2])
  at = trained.index("train")
  assert trained[at : at + 8] == ["train", "--distributed", "auto", "--quiet", *TRAIN]


def test_tpu_pod_copies_no_environment_of_this_machine():
  told = script("tpu_pod.sh", "--dry-run", "--name", "n", "--zone", "z", "--bucket", "b",
                "--", *TRAIN)  # fmt: skip
  packed = commands(told.stdout)[0]
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


def test_the_jobset_is_valid_and_whole():
  found = yaml.safe_load((LAUNCH / "gke_jobset.yaml").read_text())
  assert found["kind"] == "JobSet"
  job = found["spec"]["replicatedJobs"][0]["template"]["spec"]
  # One pod a VM, all at once.
  assert job["parallelism"] == job["completions"] == 4
  pod = job["template"]["spec"]
  (container,) = pod["containers"]
  assert container["command"] == ["scs-jax", "train", "--distributed", "auto", "--quiet"]
  mounted = {mount["name"] for mount in container["volumeMounts"]}
  assert mounted == {volume["name"] for volume in pod["volumes"]}
  from scs_jax.engine import config as configs

  given = dict(argument.removeprefix("--").split("=") for argument in container["args"])
  configs.load(given["config"])
