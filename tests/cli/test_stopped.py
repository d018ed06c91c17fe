"""A training in a terminal: Ctrl-C, pressed once and twice, and a second training beside it.

Real processes, of a method that compiles in no time and keeps the pace that a test asks for.
"""

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

import nursery
import quick_training

ROOT = pathlib.Path(__file__).resolve().parents[2]
PATIENCE = 200  # seconds; processes start on a machine that may be busy


@pytest.fixture
def folder(tmp_path):
  quick_training.write(tmp_path, steps=10000)
  return tmp_path


@pytest.fixture(scope="module")
def home(tmp_path_factory):
  with nursery.opened(tmp_path_factory.mktemp("said"), XLA_FLAGS="") as home:
    yield home


@pytest.fixture
def start(home, folder):
  """Starts a training in a process group of its own, as a shell with a terminal does."""
  # Nobody reads what a bar says.
  command = ["train", "--config", "quick.py", "--workdir", "run", "--quiet"]
  return lambda *more, **environment: home.start(
    [*command, *more], folder, **{"PACE": "0.1", **environment}
  )


def press_ctrl_c(process):
  """What a terminal does: all processes of the command are told."""
  os.killpg(process.pid, signal.SIGINT)


def wait_for(process, reached):
  deadline = time.monotonic() + PATIENCE
  while not reached():
    assert process.poll() is None, f"ended before the moment: {process.said()}"
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
  assert second.wait(PATIENCE) == 2
  assert re.fullmatch(
    rf"scs-jax: error: run is in use by another training \(process {first.pid} on \S+, since "
    r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\): two would mix .*choose another --workdir\n",
    second.said(),
  )
  before = len(steps(folder))
  wait_for(first, lambda: len(steps(folder)) > before)  # which goes on undisturbed
  press_ctrl_c(first)
  assert first.wait(PATIENCE) == 130, first.said()
  err = first.said()
  last = steps(folder)[-1]
  assert 3 <= last < 10000 and saved(folder) == [last]
  assert "Ctrl-C once more ends at once, without saving" in err
  assert f"stopped at step {last} of 10000; the same command goes on from there" in err
  assert "scs-jax: interrupted\n" in err and "Traceback" not in err

  third = start()
  wait_for(third, lambda: len(steps(folder)) > last)
  third.kill()  # which leaves no lock
  third.wait()
  reached = steps(folder)[-1]

  fourth = start()  # from what was saved: it takes back the lines after that
  wait_for(fourth, lambda: last < len(steps(folder)) != reached)
  fourth.terminate()
  assert fourth.wait(PATIENCE) == 0 and f"going on from step {last}" in fourth.said()
  assert steps(folder) == list(range(1, steps(folder)[-1] + 1))
  assert not (folder / "run/.lock").exists()


def test_a_second_ctrl_c_ends_at_once_also_while_a_compiler_works(folder, start):
  process = start("--config.data.workers=1", STUCK_AT="2")
  wait_for(process, (folder / "stuck").exists)
  readers = psutil.Process(process.pid).children(recursive=True)
  assert readers
  press_ctrl_c(process)
  # Answered though Python runs nothing of the main thread's; and nothing ends yet.
  wait_for(process, lambda: "Ctrl-C once more" in process.said())
  with pytest.raises(subprocess.TimeoutExpired):
    process.wait(1)
  press_ctrl_c(process)
  assert process.wait(30) == 130  # which is nothing beside what the compiler would take
  assert "scs-jax: interrupted, without saving\n" in process.said()
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
