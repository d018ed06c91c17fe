"""Time and parameters of a row: batch 1, warm, the median; what a program reads of the network."""

import jax
import jax.numpy as jnp
import numpy as np

from scs_jax.core.contract import Prediction, Query
from scs_jax.measure import compare_speed, pairs
from scs_jax.measure.baselines import BASELINES, welsh_keys
from scs_jax.measure.compare_rows import Row
from scs_jax.measure.compare_settings import Plan
from scs_jax.metrics.estimates import REFERENTIAL
from scs_jax.report.compare_tables import Facts


def weigh(plan: Plan, row: Row, facts: Facts, part: str, size: tuple[int, int]) -> None:
  """Adds a row's figures for a part: "automatic", "referential" or "pairs".

  Pictures are noise of the sizes measured: time does not depend on what they show.

  Args:
    size: (height, width) of the results.
  """
  if row.kind == "results":
    told = row.record["told"]
    facts.parameters |= {part: int(told["parameters"])} if "parameters" in told else {}
    if "pictures_a_second" in told:
      facts.speed[part] = told["pictures_a_second"]
    return
  query = _query(plan, part, size)
  predict = _predict(plan, row)
  if row.kind != "baseline":
    facts.parameters[part] = _count(row, predict, query)
  if not plan.timing_runs:
    return
  answer = lambda state, query: predict(state, query).rgb
  compiled = row.kind != "baseline" or row.name not in pairs.UNCOMPILED
  facts.speed[part] = compare_speed.measure(
    answer, row.state, query, runs=plan.timing_runs, compiled=compiled
  )


def _query(plan: Plan, part: str, size: tuple[int, int]) -> Query:
  rng = np.random.default_rng(plan.seed)
  noise = lambda *shape: jnp.asarray(rng.random(shape, np.float32))
  if part == "pairs":
    return Query(noise(1, *size, 1), size, noise(1, *size, 3))
  small = (max(1, round(side / plan.scale)) for side in size)
  side = plan.reference_size
  reference = noise(1, side, side, 3) if part == REFERENTIAL else None
  return Query(noise(1, *small, 1), size, reference)


def _predict(plan: Plan, row: Row):
  """(state, query) -> Prediction."""
  if row.kind != "baseline":
    given = lambda query: query if row.referential else query.replace(reference=None)
    return lambda state, query: row.predict(state, given(query))
  if plan.track == "pairs":
    return lambda state, query: pairs.BASELINES[row.name](state, query)[0]
  keys = welsh_keys(plan.seed, jnp.zeros(1, jnp.uint32))
  return lambda state, query: Prediction(BASELINES[row.name](query, keys))


def _count(row: Row, predict, query: Query) -> int:
  states = row.state if row.kind == "cascade" else {"": row.state}
  params = {name: state.params for name, state in states.items()}

  def call(params, query):
    changed = {name: states[name].replace(params=params[name]) for name in states}
    return predict(changed if row.kind == "cascade" else changed[""], query).rgb

  shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), (params, query))
  return compare_speed.count_parameters(call, *shapes)
