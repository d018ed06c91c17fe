"""What the benchmarks share: cases in processes of their own, and the files of the results.

Importing this puts the source tree on the path. JAX is not imported before a case asks for it.
"""

import argparse
import json
import os
import pathlib
import platform
import resource
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))


def parser(description: str) -> argparse.ArgumentParser:
  """A parser with --out, and with the --case (JSON) that `child` hands over."""
  made = argparse.ArgumentParser(
    description=description, formatter_class=argparse.RawTextHelpFormatter
  )
  made.add_argument("--out", help="JSON file; a .md table is written beside it")
  made.add_argument("--case", type=json.loads, help=argparse.SUPPRESS)
  return made


def child(script: str, case, **options) -> dict:
  """What `script --case CASE --OPTION VALUE ...` prints last, as JSON; {"failed": why} else."""
  command = [sys.executable, script, "--case", json.dumps(case)]
  command += [f"--{name}={value}" for name, value in options.items()]
  done = subprocess.run(command, capture_output=True, text=True, check=False)
  if done.returncode:
    lines = done.stderr.strip().splitlines()
    return {"failed": lines[-1] if lines else f"exit code {done.returncode}"}
  return json.loads(done.stdout.strip().splitlines()[-1])


def save(out: str | os.PathLike | None, results, table: str) -> None:
  """Writes the results and their table; nowhere if `out` is None.

  Call it after every case, so that an interrupted run keeps what it has.
  """
  if not out:
    return
  out = pathlib.Path(out)
  out.parent.mkdir(parents=True, exist_ok=True)
  out.write_text(json.dumps(results, indent=2) + "\n")
  out.with_suffix(".md").write_text(table)


def machine() -> dict:
  """What runs this; it starts JAX's backend, so it belongs in a child."""
  import jax

  device = jax.devices()[0]
  return {
    "device": device.device_kind,
    "platform": device.platform,
    "cpu_cores": os.cpu_count(),
    "python": platform.python_version(),
    "jax": jax.__version__,
  }


def peak_rss() -> int:
  """Bytes."""
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def device_peak() -> dict:
  """{"device_peak_mb"} where the device tells."""
  import jax

  stats = jax.devices()[0].memory_stats() or {}
  peak = stats.get("peak_bytes_in_use")
  return {} if peak is None else {"device_peak_mb": round(peak / 1e6, 1)}


def report(seconds: float, compile_s: float, before: int, programs: int) -> dict:
  """The figures of one run in this process; `before`: peak_rss() ahead of it."""
  return {
    "seconds": round(seconds, 2),
    "compile_seconds": round(compile_s, 1),
    "programs": programs,
    "grown_mb": round((peak_rss() - before) / 1e6, 1),
    "peak_rss_mb": round(peak_rss() / 1e6, 1),
    **device_peak(),
  }
