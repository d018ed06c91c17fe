"""How long one picture takes, and how many parameters take part in it: Table 1's last columns."""

import statistics
import time
from collections.abc import Callable

import jax
import numpy as np

from scs_jax.report.compare_tables import Speed

RUNS, LEAST = 20, 3
SECONDS = 20.0  # spent at most, once there are LEAST runs


def measure(
  function: Callable, *args, runs: int = RUNS, seconds: float = SECONDS, compiled: bool = True
) -> Speed:
  """Times `function(*args)`; one call before is not counted, in it compilation.

  Args:
    function: of arrays; what it gives is waited for.
    args: brought to the device before the first call.
    compiled: whether it is to be one program; False: it runs programs of its own.
  """
  if compiled:
    function = jax.jit(function)
    args = jax.device_put(args, jax.devices()[0])
  jax.block_until_ready(function(*args))
  taken: list[float] = []
  start = time.perf_counter()
  while len(taken) < runs and (len(taken) < LEAST or time.perf_counter() - start < seconds):
    before = time.perf_counter()
    jax.block_until_ready(function(*args))
    taken.append(time.perf_counter() - before)
  return Speed(statistics.median(taken), min(taken), max(taken), len(taken))


def count_parameters(predict: Callable, params, *args) -> int:
  """How many numbers of `params` the program `predict(params, *args)` reads.

  A discriminator takes no part in colouring, nor an encoder of references where there is none: the
  paper counts so too (9.954M automatic, 15.358M by reference, of one network). Only shapes are
  traced; a parameter inside a nested program counts where it is handed in.
  """
  leaves, tree = jax.tree.flatten(params)
  program = jax.make_jaxpr(lambda flat, *rest: predict(jax.tree.unflatten(tree, flat), *rest))
  jaxpr = program(leaves, *args).jaxpr
  used = {id(v) for equation in jaxpr.eqns for v in equation.invars} | {
    id(v) for v in jaxpr.outvars
  }
  inputs = jaxpr.invars[: len(leaves)]
  return sum(int(np.size(x)) for x, v in zip(leaves, inputs, strict=True) if id(v) in used)
