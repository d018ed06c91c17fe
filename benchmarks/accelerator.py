"""What an accelerator does with this code, in a given time; started by accelerator.sh.

Each case runs in a process of its own, within what is left of the time; one that does not end in it
is ended and counts as skipped. The same call again goes on: what --out has is not measured again,
on the same kind of machine, and trainings go on. See accelerator_cases.py for what is measured.
"""

import argparse
import datetime
import importlib.metadata
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import harness
from plan_table import CONFIGS

PARTS = ("tests", "step", "infer", "train")
METHODS = ("scsnet", "smsanet", "joint_sr", "cycle_cnn")
# Seconds that a case needs at the least to be worth beginning, and that a training is given to save
# and end; and the share of all the time that one case may take.
LEAST, SAVING, MOST = 15, 20, 1 / 3
# Overrides that make a method's small config compile and run in seconds on a CPU.
TINY = {
  "scsnet": (
    "input_size=8", "magnification=2,2", "data.crop=16", "reference.size=8",
    "network.widths=4,4,8", "network.source_blocks=0,0,1", "network.reference_blocks=0,0,1",
    "network.decoder_blocks=0,0,1", "network.texture_blocks=1", "network.fused_features=8",
    "network.level_features=8", "network.key_features=4", "network.cpm_widths=8,8,8",
    "discriminator.width=4", "discriminator.layers=1",
  ),
  "smsanet": ("network.width=0.0625", "network.attention_blocks=1,10", "data.crop=16"),
  "joint_sr": ("network.width=0.125", "input_sizes=12,", "data.crop=32"),
  "cycle_cnn": (
    "network.pairs=0", "network.features=2", "network.search_range=16", "data.crop=16,32",
    "data.heldout_crop=32,64",
  ),
}  # fmt: skip
# And a training end in seconds, after scores on held-out pictures.
TINY_TRAINING = (
  "steps=20", "log.every_steps=5", "log.evaluate_every=20", "log.panels_every=0", "evaluate.limit=2"
)  # fmt: skip


def main() -> int:
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--started", type=float, default=time.time(), help=argparse.SUPPRESS)
  parser.add_argument("--minutes", type=float, default=10.0)
  parser.add_argument("--out", default="runs/accelerator.json", type=_place)
  parser.add_argument("--platform", choices=("cpu", "gpu", "tpu"))
  parser.add_argument("--tiny", action="store_true")
  parser.add_argument("--data", default="bundled", type=_place)
  parser.add_argument("--pairs", default="bundled", type=_place)
  parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
  args = parser.parse_args()
  signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # ends the case under way, too
  out = pathlib.Path(args.out)
  end = args.started + 60 * args.minutes
  environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(harness.ROOT / ".cache" / "jax")}
  if args.platform:
    environment["JAX_PLATFORMS"] = _platforms(args.platform)
  if args.tiny:  # a try need not wait for LLVM
    flags = [os.environ.get("XLA_FLAGS", ""), "--xla_backend_optimization_level=0"]
    # Nor for the newer emitters of fusions, which take as long again. From jaxlib 0.11 on there may
    # be no others: XLA ends the process at a flag that it does not know.
    if importlib.metadata.version("jaxlib").startswith("0.10."):
      flags.append("--xla_cpu_use_fusion_emitters=false")
    environment["XLA_FLAGS"] = " ".join(flags).strip()
  most = {"seconds": 60 * MOST * args.minutes}
  run = lambda case: _run(most | case, end, environment)
  results = {"date": str(datetime.date.today()), "minutes": args.minutes, "tiny": args.tiny}
  results["machine"] = run({"part": "machine", "tiny": args.tiny})
  there = _earlier(out, results)
  if there:
    results["minutes"] += there["minutes"]
  known = {case["name"]: case for case in there.get("cases", ())}
  if platform := results["machine"].get("platform"):
    environment["JAX_PLATFORMS"] = _platforms(platform)
  results["cases"] = []
  waiting = [case for case in _cases(args) if case["part"] in args.parts]
  while waiting:
    case = waiting.pop(0)
    if case["name"] in known:
      results["cases"].append(known[case["name"]])
      continue
    print(f"{case['name']} ...", file=sys.stderr, flush=True)
    if case["part"] == "step":
      case["matmul_tflops"] = results["machine"].get("matmul_tflops")
    if case["part"] == "train":  # equal shares of what is left, of as many as it is enough for
      left = end - time.time()
      enough = max(1, int(left / (LEAST + SAVING)))
      case["seconds"] = left / min(1 + len(waiting), enough) - SAVING
    found = run(case)
    print(f"  {json.dumps(found)[:200]}", file=sys.stderr, flush=True)
    results["cases"].append(case | found)
    harness.save(out, results, _markdown(results))
  harness.save(out, results, _markdown(results))
  print(_markdown(results))
  return 0


def _earlier(out: pathlib.Path, now: dict) -> dict:
  """What an earlier call found, without what it skipped and trainings; {} on another machine."""
  there = json.loads(out.read_text()) if out.exists() else {}
  device = now["machine"].get("device")
  same = there.get("tiny") == now["tiny"] and there["machine"].get("device") == device
  if not same or device is None:
    return {}
  left_out = lambda case: case["part"] == "train" or {"skipped", "failed"} & set(case)
  return there | {"cases": [case for case in there["cases"] if not left_out(case)]}


def _place(name: str) -> str:
  """A path as seen from anywhere, since the cases run in the source tree."""
  return name if name == "bundled" else str(pathlib.Path(name).resolve())


def _platforms(name: str) -> str:
  return {"gpu": "cuda,cpu", "tpu": "tpu,cpu"}.get(name, name)


def _cases(args) -> list[dict]:
  """All there is to do, what matters most first."""
  found = [{"part": "tests", "name": "tests"}]
  for config, (batch, settings) in CONFIGS.items():
    method = config.partition("/")[0]
    case = {"part": "step", "name": f"{config} step", "config": config, "batch": batch}
    case["settings"] = [*settings, *_tiny_settings(method, args.tiny)]
    found.append(_made_tiny(case, method, {"batch": 1}, args.tiny))
  for method, batch, size, out, reference in (
    ("scsnet", 1, 128, 512, True),
    ("scsnet", 8, 128, 512, True),
    ("smsanet", 1, 256, 256, False),
    ("smsanet", 8, 256, 256, False),
    ("joint_sr", 1, 96, 256, False),
    ("joint_sr", 8, 96, 256, False),
  ):
    case = {
      "part": "infer", "name": f"{method}/paper inference {size} to {out}, batch {batch}",
      "config": f"{method}/paper", "batch": batch, "size": size, "out": out,
      "reference": reference,
      "settings": ["dtype=bfloat16", *_tiny_settings(method, args.tiny)],
    }  # fmt: skip
    found.append(_made_tiny(case, method, {"size": 16, "out": 32}, args.tiny))
  for size in ("256x200", "512x400", "1024x800"):  # Table III of Cycle CNN
    case = {"part": "infer", "name": f"cycle_cnn/paper inference {size}", "size": size}
    case |= {"config": "cycle_cnn/paper", "script": "cycle_cnn_time.py", "kind": "pair"}
    case |= {"dtype": "bfloat16", "limit": "12GB", "repeats": 5}
    found.append(_made_tiny(case, "cycle_cnn", {"size": "64x48", "repeats": 1}, args.tiny))
  for method in METHODS:
    source = args.pairs if method == "cycle_cnn" else args.data
    case = {"part": "train", "name": f"{method}/released training", "config": f"{method}/released"}
    case |= {"workdir": str(pathlib.Path(args.out).parent / "accelerator" / method)}
    few = TINY_TRAINING if args.tiny else ()
    case |= {"settings": [f"data.source={source}", *_tiny_settings(method, args.tiny), *few]}
    found.append(_made_tiny(case, method, {}, args.tiny))
  return found


def _tiny_settings(method: str, tiny: bool) -> tuple[str, ...]:
  return TINY[method] if tiny else ()


def _made_tiny(case: dict, method: str, changes: dict, tiny: bool) -> dict:
  if not tiny:
    return case
  name = case["name"].replace("paper", "small").replace("released", "small")
  return case | changes | {"config": f"{method}/small", "name": f"{name}, tiny"}


def _run(case: dict, end: float, environment: dict) -> dict:
  """What a case found, {"skipped": why} where there is no time, {"failed": why} else."""
  left = min(case["seconds"], end - time.time())
  if left < LEAST:
    return {"skipped": "no time left"}
  code, printed, said = _process(_command(case), left, environment)
  last = (printed.strip().splitlines() or [""])[-1]
  if case["part"] == "train":
    return _trained(case, code, said)
  if code is None:
    return {"skipped": f"not done in {left:.0f} s"}
  if case["part"] == "tests":
    return {"passed": code in (0, 5), "summary": last}
  if code:
    return {"failed": _reason(code, said)}
  return json.loads(last)


def _command(case: dict) -> list[str]:
  here, python = pathlib.Path(__file__).parent, sys.executable
  if case["part"] == "tests":
    return [python, "-m", "pytest", "-q", "-m", "gpu", "tests/contract/test_gpu.py"]
  if case["part"] == "train":
    settings = [f"--config.{setting}" for setting in case["settings"]]
    where = ["--workdir", case["workdir"], "--quiet"]
    return [python, "-m", "scs_jax", "train", "--config", case["config"], *where, *settings]
  script = str(here / case.get("script", "accelerator_cases.py"))
  extra = ["--config", case["config"]] if "script" in case else []
  return [python, script, "--case", json.dumps(case), *extra]


def _process(command: list[str], seconds: float, environment: dict):
  """(exit code or None where it was ended, stdout, stderr). SIGTERM first: a training saves."""
  child = subprocess.Popen(
    command, cwd=harness.ROOT, env=environment, text=True, start_new_session=True,
    stdout=subprocess.PIPE, stderr=subprocess.PIPE,
  )  # fmt: skip
  try:
    printed, said = child.communicate(timeout=seconds)
    return child.returncode, printed, said
  except subprocess.TimeoutExpired:
    os.killpg(child.pid, signal.SIGTERM)
  except BaseException:  # no signal to this process reaches another session
    os.killpg(child.pid, signal.SIGTERM)
    raise
  try:
    printed, said = child.communicate(timeout=SAVING)
  except subprocess.TimeoutExpired:
    os.killpg(child.pid, signal.SIGKILL)
    printed, said = child.communicate()
  return None, printed, said


def _reason(code: int, said: str) -> str:
  if code < 0:
    return f"ended by {signal.Signals(-code).name}"
  return (said.strip().splitlines() or [f"exit code {code}"])[-1]


def _trained(case: dict, code: int | None, said: str) -> dict:
  log = harness.ROOT / case["workdir"] / "metrics.jsonl"
  lines = [json.loads(line) for line in log.read_text().splitlines()] if log.is_file() else []
  rates = [line["images_per_second"] for line in lines if "images_per_second" in line]
  if not rates:
    if code:
      return {"failed": _reason(code, said)}
    return {"skipped": "no time for the first line of the log"}
  scores = {k: v for line in lines for k, v in line.items() if k.startswith("automatic/psnr")}
  return {"step": lines[-1]["step"], "images_per_second": round(rates[-1], 2), "scores": scores}


_STEP_COLUMNS = (
  "phase", "batch", "ms", "images_per_second", "share", "ms_at_least", "gib_planned", "gib_absent",
  "gib_peak", "compile_seconds",
)  # fmt: skip


def _markdown(results: dict) -> str:
  machine, cases = results["machine"], results["cases"]
  of = lambda part: [case for case in cases if case["part"] == part]
  tiny = " **Tiny networks: a try of the script, not figures of anything.**" * results["tiny"]
  lines = [
    "# Measured on an accelerator" if not results["tiny"] else "# A try of accelerator.sh",
    "",
    f"{results['date']}, within {results['minutes']:g} minutes in all: "
    f"`benchmarks/accelerator.sh`.{tiny}",
    "The machine was not looked at" + _why(machine) + "."
    if "device" not in machine
    else f"{machine['devices']} x {machine['device']}, jax {machine['jax']}, Python "
    f"{machine['python']}, {machine['cpu_cores']} cores; a bfloat16 matrix product runs at "
    f"{machine['matmul_tflops']} TFLOP/s, memory copies at {machine['copy_gb_s']} GB/s here.",
    "",
    *(f"Tests that need an accelerator: {_said(case, 'summary')}" for case in of("tests")),
    "",
  ]
  if of("step"):
    lines += [
      "Share: of the matrix product's rate. Planned: what the compiler says here, algorithms "
      "chosen; without one: what `plan` said of such a chip that was not there (plan_gpu.json).",
      "",
      "| training step | program | examples a chip | ms | images/s | share | ms at least | GiB "
      "planned | without one | GiB at the peak | s to compile |",
      "|" + "---|" * 11,
    ]
  for case in of("step"):
    for row in case.get("programs", [{}]):
      cells = [row.get(column, "") for column in _STEP_COLUMNS]
      lines.append(f"| {case['name']}{_why(case)} | " + " | ".join(map(str, cells)) + " |")
  if of("infer"):
    lines += ["", "| inference | ms | images/s | GiB planned | s to compile |", "|" + "---|" * 5]
  for case in of("infer"):
    ms = case.get("ms", 1000 * case["seconds"] if "seconds" in case else "")
    cells = [ms, case.get("images_per_second", ""), case.get("gib_planned", "")]
    cells.append(case.get("compile_seconds", ""))
    lines.append(f"| {case['name']}{_why(case)} | " + " | ".join(map(str, cells)) + " |")
  if of("train"):
    lines += ["", "| training | steps so far | images/s | held-out scores |", "|" + "---|" * 4]
  for case in of("train"):
    scores = ", ".join(f"{name} {value:.2f}" for name, value in case.get("scores", {}).items())
    cells = [case.get("step", ""), case.get("images_per_second", ""), scores]
    lines.append(f"| {case['name']}{_why(case)} | " + " | ".join(map(str, cells)) + " |")
  return "\n".join(lines) + "\n"


def _why(case: dict) -> str:
  reason = next((f"{word}: {case[word]}" for word in ("skipped", "failed") if word in case), None)
  return f" ({reason})" if reason else ""


def _said(case: dict, name: str) -> str:
  return f"{case.get(name, '')}{_why(case)}".strip()


if __name__ == "__main__":
  sys.exit(main())
