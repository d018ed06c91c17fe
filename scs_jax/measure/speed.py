"""How long one picture takes, and how many parameters take part in it: Table 1's last columns."""

import statistics
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from scs_jax.core.contract import Query
from scs_jax.measure.predictors import Network, Predictor
from scs_jax.metrics.estimates import REFERENTIAL
from scs_jax.report.compare_tables import Facts, Speed

RUNS, LEAST = 20, 3
SECONDS = 20.0  # spent at most, once there are LEAST runs


def query_of(
  part: str, size: tuple[int, int], scale: float, reference_size: int, seed: int = 0
) -> Query:
  """Makes what one picture asks; it shows noise, as time does not depend on what it shows.

  Args:
    part: "automatic", "referential" or "pairs".
    size: (height, width) of the result.
    scale: of photographs, result over input; reference_size: pixels a side.
  """
  rng = np.random.default_rng(seed)
  noise = lambda *shape: jnp.asarray(rng.random(shape, np.float32))
  if part == "pairs":
    return Query(noise(1, *size, 1), size, noise(1, *size, 3))
  small = (max(1, round(side / scale)) for side in size)
  reference = noise(1, reference_size, reference_size, 3) if part == REFERENTIAL else None
  return Query(noise(1, *small, 1), size, reference)


def weigh(row: Predictor, facts: Facts, part: str, query: Query, runs: int) -> None:
  """Adds a row's parameters and time for a part to its facts; 0 runs: no time."""
  told = row.record.get("told")
  if told is not None:  # of pictures that are given, what is said of their method
    if "parameters" in told:
      facts.parameters[part] = int(told["parameters"])
    if "pictures_a_second" in told:
      facts.speed[part] = told["pictures_a_second"]
    return
  if row.network:
    facts.parameters[part] = row.parameters(query)
  if runs:
    facts.speed[part] = measure(row.single, row.state, query, runs=runs, compiled=row.compiled)


def milliseconds(network: Network, query: Query, runs: int = 5) -> float:
  """Times one picture: the median of a few warm calls."""
  return 1000 * measure(network.single, network.state, query, runs=runs).seconds


def measure(
  function: Callable, *args, runs: int = RUNS, seconds: float = SECONDS, compiled: bool = True
) -> Speed:
  """Times `function(*args)`; one call before is not counted, in it compilation.

  Args:
    function: of arrays; what it gives is waited for.
    args: brought to the device before the first call.
    runs, seconds: calls at most, and time spent at most once there are LEAST calls.
    compiled: whether it is to be one program; False: it runs programs of its own.
  """
  if compiled:
    function = jax.jit(function)
    args = jax.device_put(args, jax.local_devices()[0])
  jax.block_until_ready(function(*args))
  taken: list[float] = []
  start = time.perf_counter()
  while len(taken) < runs and (len(taken) < LEAST or time.perf_counter() - start < seconds):
    before = time.perf_counter()
    jax.block_until_ready(function(*args))
    taken.append(time.perf_counter() - before)
  return Speed(statistics.median(taken), min(taken), max(taken), len(taken))
