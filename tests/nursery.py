"""`python -m scs_jax` in processes that fork from one that has imported it: imports take longest.

Each is a process like any other: of a group of its own, told by signals, ended as Python ends.
"""

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

_NURSERY = """
import json, os, runpy, signal, sys
import scs_jax.training.run, scs_jax.cli.train
for line in sys.stdin:
  job = json.loads(line)
  read, write = os.pipe()
  keeper = os.fork()
  if keeper:
    os.close(write)
    print(os.read(read, 20).decode(), flush=True)
    os.close(read)
    continue
  child = os.fork()
  if child:  # keeps what the child ended with
    os.write(write, b"%d" % child)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with open(job["said"] + ".part", "w") as file:
      file.write(str(code))
    os.rename(file.name, job["said"] + ".code")
    os._exit(0)
  os.setsid()
  # The tests themselves may be a job in the background, which ignores Ctrl-C.
  signal.signal(signal.SIGINT, signal.default_int_handler)
  said = os.open(job["said"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
  for number, file in enumerate((os.open(os.devnull, os.O_RDONLY), said, said)):
    os.dup2(file, number)
  os.environ.update(job["environment"])
  os.chdir(job["folder"])
  sys.path[:0] = ["", job["folder"]]
  sys.argv = ["scs-jax", *job["argv"]]
  runpy.run_module("scs_jax", run_name="__main__", alter_sys=True)
"""


class Process:
  """One of them: `pid`, and what a subprocess.Popen has as well."""

  def __init__(self, pid, said):
    self.pid, self._said, self.returncode = pid, pathlib.Path(said), None

  def said(self):
    """All that it has written to stdout and stderr."""
    return self._said.read_text() if self._said.exists() else ""

  def poll(self):
    code = pathlib.Path(f"{self._said}.code")
    if self.returncode is None and code.exists():
      self.returncode = int(code.read_text())
    return self.returncode

  def wait(self, timeout=60):
    end = time.monotonic() + timeout
    while self.poll() is None:
      if time.monotonic() > end:
        raise subprocess.TimeoutExpired(f"process {self.pid}", timeout)
      time.sleep(0.01)
    return self.returncode

  def send_signal(self, number):
    if self.poll() is None:
      os.kill(self.pid, number)

  def terminate(self):
    self.send_signal(signal.SIGTERM)

  def kill(self):
    self.send_signal(signal.SIGKILL)


class Nursery:
  """Starts them; `folder` receives what they say, `environment` is that of the imports."""

  def __init__(self, folder, **environment):
    self.folder, self.started = folder, []
    self._python = subprocess.Popen(
      [sys.executable, "-c", _NURSERY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
      env=os.environ | {"JAX_PLATFORMS": "cpu"} | environment,
    )  # fmt: skip

  def start(self, argv, folder, **environment):
    said = str(self.folder / f"said-{len(self.started)}")
    job = {"argv": argv, "folder": str(folder), "environment": environment, "said": said}
    self._python.stdin.write(json.dumps(job) + "\n")
    self._python.stdin.flush()
    self.started.append(Process(int(self._python.stdout.readline()), said))
    return self.started[-1]

  def close(self):
    for process in self.started:
      if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
          os.killpg(process.pid, signal.SIGKILL)  # those that read pictures for it too
        process.wait()
    self._python.stdin.close()
    self._python.wait()


@contextlib.contextmanager
def opened(folder, **environment):
  nursery = Nursery(folder, **environment)
  try:
    yield nursery
  finally:
    nursery.close()
