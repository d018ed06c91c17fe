"""A training in a terminal: Ctrl-C, pressed once and twice, and a second training beside it.

Real processes, of a method that compiles in no time and keeps the pace that a test asks for.
"""

import contextlib
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import psutil
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

import quick_training

ROOT = pathlib.Path(__file__).resolve().parents[2]
PATIENCE = 200  # seconds; processes start on a machine that may be busy


@pytest.fixture
def folder(tmp_path):
  quick_training.write(tmp_path, steps=10000)
  return tmp_path


@pytest.fixture
def start(folder):
  """Starts a training in a process group of its own, as a shell with a terminal does."""
  started = []

  def start(*more, **environment):
    command = [sys.executable, "-m", "scs_jax", "train", "--config", "quick.py"]
    command += ["--workdir", "run", "--quiet"]  # nobody reads what a bar says
    paths = {"PYTHONPATH": f"{ROOT}:{folder}", "JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""}
    paths["PACE"] = "0.1"
    process = subprocess.Popen(
      [*command, *more], cwd=folder, env=os.environ | paths | environment, text=True,
      stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
      # The tests themselves may be a job in the background, which ignores it.
      preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    started.append(process)
    return process

  yield start
  for process in started:
    with contextlib.suppress(ProcessLookupError):
      os.killpg(process.pid, signal.SIGKILL)  # reader processes too: they would keep the pipes
    process.communicate()


def press_ctrl_c(process):
  """What a terminal does: all processes of the command are told."""
  os.killpg(process.pid, signal.SIGINT)


def wait_for(process, reached):
  deadline = time.monotonic() + PATIENCE
  while not reached():
    assert process.poll() is None, f"ended before the moment: {process.communicate()[1]}"
    assert time.monotonic() < deadline, "the moment never came"
    time.sleep(0.01)


def steps(folder):
  path = folder / "run/metrics.jsonl"
  text = path.read_text() if path.exists() else ""
  return [json.loads(line)["step"] for line in text.splitlines(keepends=True) if line[-1] == "\n"]


def saved(folder):
  return sorted(int(p.name) for p in (folder / "run/checkpoints").iterdir() if p.name.isdigit())


def test_one_training_at_a_time_that_ctrl_c_a_kill_and_sigterm_end(folder, start):
  first = start("--config.data.workers=1")  # told as well by a terminal, and not to die of it
  wait_for(first, lambda: len(steps(folder)) >= 1)
  second = start()
  _, err = second.communicate(timeout=PATIENCE)
  assert second.returncode == 2
  assert re.fullmatch(
    rf"scs-jax: error: run is in use by another training \(process {first.pid} on \S+, since "
    r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\): two would mix .*choose another --workdir\n",
    err,
  )
  before = len(steps(folder))
  wait_for(first, lambda: len(steps(folder)) > before)  # which goes on undisturbed
  press_ctrl_c(first)
  _, err = first.communicate(timeout=PATIENCE)
  assert first.returncode == 130, err
  last = steps(folder)[-1]
  assert 3 <= last < 10000 and saved(folder) == [last]
  assert "Ctrl-C once more ends at once, without saving" in err
  assert f"stopped at step {last} of 10000; the same command goes on from there" in err
  assert "scs-jax: interrupted\n" in err and "Traceback" not in err

  third = start()
  wait_for(third, lambda: len(steps(folder)) > last)
  third.kill()  # which leaves no lock
  third.communicate()
  reached = steps(folder)[-1]

  fourth = start()  # from what was saved: it takes back the lines after that
  wait_for(fourth, lambda: last < len(steps(folder)) != reached)
  fourth.terminate()
  _, err = fourth.communicate(timeout=PATIENCE)
  assert fourth.returncode == 0 and f"going on from step {last}" in err
  assert steps(folder) == list(range(1, steps(folder)[-1] + 1))
  assert not (folder / "run/.lock").exists()


def test_a_second_ctrl_c_ends_at_once_also_while_a_compiler_works(folder, start):
  process = start("--config.data.workers=1", STUCK_AT="2")
  wait_for(process, (folder / "stuck").exists)
  readers = psutil.Process(process.pid).children(recursive=True)
  assert readers
  press_ctrl_c(process)
  # Answered though Python runs nothing of the main thread's; and nothing ends yet.
  line = process.stderr.readline()
  while "Ctrl-C once more" not in line:
    line = process.stderr.readline()
    assert line, "not answered"
  with pytest.raises(subprocess.TimeoutExpired):
    process.wait(1)
  press_ctrl_c(process)
  assert process.wait(30) == 130  # which is nothing beside what the compiler would take
  assert "scs-jax: interrupted, without saving\n" in process.stderr.read()
  _, alive = psutil.wait_procs(readers, timeout=20)
  assert alive == []
  assert saved(folder) == []


def test_a_job_in_the_background_of_a_shell_ignores_ctrl_c_as_before(folder):
  code = (
    "import os, signal; from scs_jax.core import stop\n"
    "flag = stop.Flag()\n"
    "with stop.interrupting(flag): os.kill(os.getpid(), signal.SIGINT)\n"
    "print(bool(flag))"
  )
  script = f"{sys.executable} -c '{code}' & wait"  # a shell without a terminal ignores it for jobs
  done = subprocess.run(["bash", "-c", script], cwd=ROOT, capture_output=True, text=True)
  assert (done.returncode, done.stdout, done.stderr) == (0, "False\n", "")
