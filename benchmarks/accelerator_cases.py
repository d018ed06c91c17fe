"""One measurement of accelerator.py, in a process of its own: `--case JSON` -> JSON."""

import json
import sys
import time

import harness

_GIB = 2**30


def main() -> int:
  case = harness.parser(__doc__).parse_args().case
  run = {"machine": run_machine, "step": run_step, "infer": run_infer}[case["part"]]
  print(json.dumps(run(case)))
  return 0


def run_machine(case: dict) -> dict:
  """What this is, and what it does at best: a large matrix product, and a copy of its memory."""
  import jax
  import jax.numpy as jnp

  n, size = (256, 2**20) if case["tiny"] else (8192, 2**29)
  square = jax.random.normal(jax.random.key(0), (n, n), jnp.bfloat16)
  product = _median(jax.jit(lambda a: a @ a), square)
  copied = _median(jax.jit(lambda x: x + 1), jnp.zeros(size, jnp.bfloat16))
  return {
    **harness.machine(),
    "devices": jax.device_count(),
    "matmul_tflops": round(2 * n**3 / product / 1e12, 3),
    "copy_gb_s": round(2 * 2 * size / copied / 1e9, 1),
  }


def _median(function, *inputs, times: int = 10) -> float:
  """Seconds of a call, after one to warm up."""
  import jax

  taken = []
  for _ in range(times + 1):
    started = time.perf_counter()
    jax.block_until_ready(function(*inputs))
    taken.append(time.perf_counter() - started)
  return sorted(taken[1:])[times // 2]


def run_step(case: dict) -> dict:
  """The very programs that `train` would run, each some steps long, beside their plan."""
  import jax

  from scs_jax.core import config as configs
  from scs_jax.data import opening
  from scs_jax.training import machines
  from scs_jax.training.plan import Planner

  config = configs.apply_overrides(configs.load(case["config"]), case["settings"])
  machine = machines.local()
  planner = Planner(config, machine, opening.batch_shapes)
  rows = []
  for phase in planner.phases:
    started = time.perf_counter()
    program = planner.program(case["batch"], phase)
    compile_s = time.perf_counter() - started
    plan = planner.figures(program)
    state, batch = _drawn(program.state), _drawn(program.batch)
    state, _ = jax.block_until_ready(program.compiled(state, batch))
    steps, started = 0, time.perf_counter()
    while steps < 3 or (steps < 20 and time.perf_counter() - started < 5):
      state, logs = program.compiled(state, batch)
      jax.block_until_ready(logs)
      steps += 1
    seconds = (time.perf_counter() - started) / steps
    row = {
      "phase": phase,
      "batch": case["batch"],
      "ms": round(1e3 * seconds, 2),
      "images_per_second": round(case["batch"] * len(machine.devices) / seconds, 2),
      "tflops": round(plan.flops / seconds / 1e12, 3),
      "gib_planned": round(plan.memory / _GIB, 3),
      "gib_absent": _absent(case["config"], phase, machine),
      "compile_seconds": round(compile_s, 1),
    }
    if machine.chip is not None:
      bounds = plan.bounds(machine.chip, config.dtype)
      row |= {"ms_at_least": round(1e3 * max(bounds.values()), 2), "bounds_seconds": bounds}
    if peak := (machine.devices[0].memory_stats() or {}).get("peak_bytes_in_use"):
      row["gib_peak"] = round(peak / _GIB, 3)  # of the process so far
    if case["matmul_tflops"]:
      row["share"] = f"{plan.flops / seconds / 1e12 / case['matmul_tflops']:.0%}"
    rows.append(row)
    del state, batch, program
  return {"programs": rows}


def _absent(config: str, phase: str, machine) -> float | str:
  """GiB that plan_gpu.json has for this program on such a chip; "" where it has none."""
  record = harness.ROOT / "benchmarks" / "results" / "plan_gpu.json"
  if machine.chip is None or not record.is_file():
    return ""
  for row in json.loads(record.read_text()):
    if (row["config"], row.get("chip")) == (config, machine.chip.name):
      for program in row.get("programs", ()):
        if program["phase"] == phase:
          return round(program["memory_bytes"] / _GIB, 3)
  return ""


def _drawn(shapes):
  """Arrays for a tree of shapes; small and positive, as no value changes the time of a step."""
  import jax
  import numpy as np

  rng = np.random.default_rng(0)

  def draw(shape):
    if shape.dtype == np.uint8:
      value = rng.integers(0, 256, shape.shape, np.uint8)
    elif np.issubdtype(shape.dtype, np.integer) or shape.dtype == bool:
      value = np.zeros(shape.shape, shape.dtype)
    else:
      value = rng.uniform(0.001, 0.02, shape.shape).astype(shape.dtype)
    return jax.device_put(value, shape.sharding)

  return jax.tree.map(draw, shapes)


def run_infer(case: dict) -> dict:
  """A method's prediction at a size, compiled whole."""
  import jax

  from scs_jax.core import config as configs
  from scs_jax.core import resolve
  from scs_jax.core.contract import Query
  from scs_jax.training.plan import peak_memory

  config = configs.apply_overrides(configs.load(case["config"]), case["settings"])
  method = resolve.build(config)
  state = jax.jit(method.init)(jax.random.key(0), {}).replace(opt_state={})
  n, size, out = case["batch"], case["size"], (case["out"], case["out"])
  gray = jax.random.uniform(jax.random.key(1), (n, size, size, 1))
  color = jax.random.uniform(jax.random.key(2), (n, size, size, 3)) if case["reference"] else None
  predict = jax.jit(lambda s, g, r: method.predict(s, Query(g, out, r)).rgb)
  started = time.perf_counter()
  compiled = predict.lower(state, gray, color).compile()
  compile_s = time.perf_counter() - started
  seconds = _median(compiled, state, gray, color, times=5)
  return {
    "ms": round(1e3 * seconds, 2),
    "images_per_second": round(n / seconds, 2),
    "gib_planned": round(peak_memory(compiled) / _GIB, 3),
    "compile_seconds": round(compile_s, 1),
  }


if __name__ == "__main__":
  sys.exit(main())
