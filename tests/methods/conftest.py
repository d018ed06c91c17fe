"""Shared by the tests of the methods."""

import dataclasses
import re
from typing import Any

import jax
import numpy as np
import pytest

from scs_jax.core.contract import Collective, Method
from scs_jax.core.resolve import build


@dataclasses.dataclass(frozen=True)
class Traced:
  """A training step on one picture or pair, traced and not compiled; forward only."""

  method: Method = dataclasses.field(compare=False)
  jaxpr: str
  shapes: Any  # of the parameters
  logs: set


@pytest.fixture(scope="session")
def trace_step():
  """A function: (config, (height, width), phase) -> the step's `Traced`.

  Steps that differ do so in what they compute forward. Going back takes as long again to trace: the
  parameters stand in for their gradients.
  """

  def forward(loss, has_aux):
    return lambda params: (loss(params), params)

  def trace(config, size, phase):
    method, key = build(config), jax.random.key(0)
    state = jax.eval_shape(lambda: method.init(key, {})).replace(frozen=method.load_frozen())
    bytes_of = lambda channels: jax.ShapeDtypeStruct((1, *size, channels), np.uint8)
    views = {"image": bytes_of(3)}
    if method.takes_pairs:
      views = {"mono": bytes_of(1), "color": bytes_of(3)}
    batch = {**views, "index": jax.ShapeDtypeStruct((1,), np.uint32)}
    step = lambda s, b: method.train_step(s, b, key, Collective(), phase)
    with pytest.MonkeyPatch.context() as patch:
      patch.setattr(jax, "value_and_grad", forward)
      jaxpr, (_, logs) = jax.make_jaxpr(step, return_shape=True)(state, batch)
    # Functions are printed with their addresses, which differ from trace to trace.
    text = re.sub(r"0x[0-9a-f]+", "", str(jaxpr))
    return Traced(method, text, jax.tree.map(lambda x: x.shape, state.params), set(logs))

  return trace


@pytest.fixture(scope="session")
def assert_rows_differ():
  """A function: (a table's rows, row -> Traced, the base's Traced): each row computes something
  else than any other, and only one without an overlay what the base does."""

  def check(rows, of, base):
    traced = [of(row) for row in rows]
    for i, one in enumerate(traced):
      assert (one == base) == (not rows[i].overlay), rows[i].name
      assert all(one != other for other in traced[:i]), rows[i].name

  return check
