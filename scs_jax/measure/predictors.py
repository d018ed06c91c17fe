"""Whatever colours pictures and can stand in a table: networks, cascades, baselines."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from scs_jax.core.contract import ColorizeTwice, Method, Prediction, Query, TrainState, twice
from scs_jax.measure import pairs
from scs_jax.measure.baselines import BASELINES, baselines_of, welsh_keys
from scs_jax.measure.score import Answer
from scs_jax.metrics import image as metrics
from scs_jax.ops.degrade import to_eight_bits
from scs_jax.ops.resize import resize_bicubic

Array = jax.Array


class Predictor:
  """Answers what a track asks.

  Attributes:
    name: its row's.
    kind: "run", "cascade", "results" or "baseline".
    state: what `single` takes.
    referential: whether it takes a reference picture.
    takes_pairs: whether it colours pairs, rather than photographs.
    method, config: of a trained network; of a cascade the config of its colorizer.
    true_light: whether it is handed the L of the true picture.
    compiled: whether `single` can be part of a program.
    record: what a report says of it.
  """

  kind = ""
  state: Any = None
  referential = True
  takes_pairs = False
  method: Method | None = None
  config: Any = None
  true_light = False
  compiled = True

  def __init__(self, name: str, record: Mapping | None = None):
    self.name, self.record = name, dict(record or {})

  @property
  def network(self) -> bool:
    """Tells whether it is one, so that its speed is worth marking."""
    return self.kind != "baseline"

  @property
  def trained(self) -> tuple[str, ...]:
    """Fingerprints of the checkpoints that it is made of."""
    marks = [self.record, *(self.record.get(k, {}) for k in ("colorizer", "enlarger"))]
    return tuple(mark["fingerprint"] for mark in marks if "fingerprint" in mark)

  def identity(self) -> Mapping:
    """Says what decides its figures."""
    return {"kind": self.kind, "fingerprints": list(self.trained)}

  def takes(self, mode: str) -> bool:
    """Tells whether it has an answer in a mode."""
    return self.referential or mode in ("automatic", *pairs.MODES)

  def single(self, state, query: Query) -> Array:
    """Colours by a pure function: float32 [N, *query.size, 3] in [0, 1]."""
    raise NotImplementedError

  def answer(self, query: Query, batch: Mapping, mode: str) -> Answer:
    """Colours photographs."""
    raise NotImplementedError

  def answer_pair(self, query: Query, batch: Mapping, extras: bool) -> tuple[Answer, Answer]:
    """Colours both views of pairs; `extras`: with the method's named ones, of the first."""
    raise NotImplementedError

  def measure(self, track, answer: Answer, batch: Mapping, mode: str):
    """Scores an answer, as `track` does."""
    return track.measure(answer.rgb, batch, mode)

  def noted(self) -> Any:
    """Gives what it noted while it answered (score.Noting)."""

  def join(self, noted: Sequence[Any]) -> None:
    """Takes what it noted in all processes."""

  def unfit(self) -> str:
    """Says why its scores cannot be used, once all pictures were asked for; "" where they can."""
    return ""

  def on(self, data, sets) -> "Predictor":
    """Gives the row for a data set of several; `sets`: the names of all."""
    del data, sets
    return self


class Network(Predictor):
  """Colours by a method and its state.

  Of a photo method the colour view of a pair is the reference, if it takes one.

  Args:
    name: of its row.
    method: see Method; or what has its `predict` and `takes_reference`, as Cascade.
    state: what `predict` takes; may be exchanged for another one later.
    kind, config, record: see Predictor.
    passes: how it colours pairs; None: by its own `colorize_twice`, in one program.
    strips: {(height, width): rows of a strip}, which `passes` fills, of pairs that were too large.
  """

  def __init__(
    self,
    name: str,
    method: Any,
    state: Any = None,
    *,
    kind: str = "run",
    config: Any = None,
    record: Mapping | None = None,
    passes: Callable | None = None,
    strips: dict[tuple[int, int], int] | None = None,
  ):
    super().__init__(name, record)
    self.kind, self.state, self.config = kind, state, config
    self.method = method if isinstance(method, Method) else None
    self.referential, self.single = method.takes_reference, _single(method)
    self.takes_pairs = self.method is not None and method.takes_pairs
    self._single = jax.jit(self.single)
    both = method.colorize_twice if self.takes_pairs else _both(self.single)
    self.passes = passes or both_passes(both)
    self.strips = {} if strips is None else strips

  def answer(self, query, batch, mode) -> Answer:
    return Answer(self._single(self.state, query))

  def answer_pair(self, query, batch, extras) -> tuple[Answer, Answer]:
    found = self.passes(self.state, query, extras)
    return tuple(Answer(one.rgb, extras=one.extras) for one in found)

  def noted(self) -> dict:
    return self.strips

  def join(self, noted: Sequence[dict]) -> None:
    for strips in noted:
      self.strips.update(strips)

  def parameters(self, query: Query) -> int:
    """Counts the numbers that colouring reads, as SCSNet's Table 1 does.

    A discriminator takes no part in colouring, nor an encoder of references where there is none
    (9.954M automatic, 15.358M by reference, of one network). Only shapes are traced; a parameter
    inside a nested program counts where it is handed in.
    """
    whole = self.state
    several = not isinstance(whole, TrainState)
    params = {k: s.params for k, s in whole.items()} if several else whole.params

    def call(params, query):
      if several:
        return self.single({k: s.replace(params=params[k]) for k, s in whole.items()}, query)
      return self.single(whole.replace(params=params), query)

    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), (params, query))
    return count_read(call, *shapes)


@functools.lru_cache(maxsize=8)
def _single(method: Any) -> Callable:
  """Returns (state, query) -> rgb; the same for the same method, so that it is compiled once."""

  def single(state, query: Query) -> Array:
    given = query if method.takes_reference else query.replace(reference=None)
    return method.predict(state, given).rgb

  return single


@functools.lru_cache(maxsize=8)
def _both(single: Callable) -> ColorizeTwice:
  return twice(lambda state, query: Prediction(single(state, query.replace(want_extras=False))))


@functools.lru_cache(maxsize=8)
def both_passes(colorize: ColorizeTwice) -> Callable:
  """Compiles both passes over pairs as one program: (state, query, extras) -> two Predictions.

  Without `extras` those of UNREFINED alone are computed, where the method has them.
  """

  def run(state, query: Query, extras: bool):
    found = colorize(state, query.replace(want_extras=True))
    kept = lambda one: {k: v for k, v in one.extras.items() if extras or k == pairs.UNREFINED}
    return tuple(Prediction(one.rgb, kept(one)) for one in found)

  return jax.jit(run, static_argnums=2)


def count_read(function: Callable, params, *args) -> int:
  """Counts the numbers of `params` that the program `function(params, *args)` reads."""
  leaves, tree = jax.tree.flatten(params)
  program = jax.make_jaxpr(lambda flat, *rest: function(jax.tree.unflatten(tree, flat), *rest))
  jaxpr = program(leaves, *args).jaxpr
  used = {id(v) for equation in jaxpr.eqns for v in equation.invars} | {
    id(v) for v in jaxpr.outvars
  }
  inputs = jaxpr.invars[: len(leaves)]
  return sum(int(np.size(x)) for x, v in zip(leaves, inputs, strict=True) if id(v) in used)


class Cascade:
  """Follows Figure 1's pipeline f_d(f_r(f_c(x))): colorize, enlarge, reduce to the device's size.

  Args:
    colorizer: a method that colours a single picture.
    enlarger: one that enlarges a colour picture handed to it as the reference (`only_enlarges`).

  Attributes:
    factor: the magnification that the enlarger was trained at.
    takes_reference: as of the colorizer.
  """

  def __init__(self, colorizer: Method, enlarger: Method):
    self._colorizer, self._enlarger = colorizer, enlarger
    self.factor, self.takes_reference = enlarger.usual_scale, colorizer.takes_reference

  def predict(self, state, query: Query) -> Prediction:
    """Takes `state` {"colorizer": ..., "enlarger": ...}. The last stage is MATLAB's bicubic."""
    height, width = query.gray.shape[1:3]
    small = Query(query.gray, (height, width), query.reference)
    colored = self._colorizer.predict(state["colorizer"], small).rgb
    large = max(1, round(height * self.factor)), max(1, round(width * self.factor))
    found = self._enlarger.predict(state["enlarger"], Query(query.gray, large, colored)).rgb
    if large != tuple(query.size):
      found = jnp.clip(resize_bicubic(found, query.size), 0.0, 1.0)
    return Prediction(found)


class TrueLightness(Predictor):
  """Shows a predictor's photographs with the true ones' L: Bicer and Kaynak's way (Section V).

  No use of a method has that L. Its PSNR RGB is `psnr_rgb_true_l` of the same predictor.
  """

  true_light = True

  def __init__(self, of: Network, name: str):
    super().__init__(name, of.record)
    self.kind, self.method, self.config, self.state = of.kind, of.method, of.config, of.state
    self.referential, self._of = of.referential, of
    self.single, self.parameters = of.single, of.parameters

  def answer(self, query, batch, mode) -> Answer:
    return self._of.answer(query, batch, mode)

  def measure(self, track, answer, batch, mode):
    plain, _ = track.measure(answer.rgb, batch, mode)
    scores, shown = track.measure(_under_truth(answer.rgb, batch["image"]), batch, mode)
    # The metric's own value, not that of the merged picture after one more rounding.
    return {**scores, "psnr_rgb": plain["psnr_rgb_true_l"]}, shown


@jax.jit
def _under_truth(rgb: Array, image: Array) -> Array:
  return metrics.with_true_lightness(to_eight_bits(rgb), image / jnp.float32(255))


class PhotoBaseline(Predictor):
  """Colours photographs in a way that needs no training; see measure.baselines.

  Args:
    name: of BASELINES.
    seed: of Welsh's samples.
  """

  kind = "baseline"

  def __init__(self, name: str, seed: int = 0):
    super().__init__(name)
    self._seed = seed

  def takes(self, mode: str) -> bool:
    return self.name in baselines_of(mode)

  def single(self, state, query: Query) -> Array:
    return BASELINES[self.name](query, welsh_keys(self._seed, jnp.zeros(1, jnp.uint32)))

  def answer(self, query, batch, mode) -> Answer:
    numbers = np.asarray(batch["record"]).astype(np.uint32)
    return Answer(_baseline(self.name, self._seed, query, numbers))


@functools.partial(jax.jit, static_argnums=(0, 1))
def _baseline(name: str, seed: int, query: Query, numbers: Array) -> Array:
  return BASELINES[name](query, welsh_keys(seed, numbers))


class PairBaseline(Predictor):
  """Colours pairs in a way that needs no training; `name` is one of pairs.BASELINES."""

  kind = "baseline"

  def __init__(self, name: str):
    super().__init__(name)
    self.compiled = name not in pairs.UNCOMPILED
    both = pairs.BASELINES[name]
    self._both = jax.jit(both) if self.compiled else both

  def single(self, state, query: Query) -> Array:
    return pairs.BASELINES[self.name](state, query)[0].rgb

  def answer_pair(self, query, batch, extras) -> tuple[Answer, Answer]:
    return tuple(Answer(one.rgb) for one in self._both(None, query))


def photo_baselines(seed: int = 0) -> list[Predictor]:
  """Makes all of them, in the order of the tables."""
  return [PhotoBaseline(name, seed) for name in BASELINES]


def pair_baselines() -> list[Predictor]:
  """Makes all that are there (pairs.LEFT_OUT says which are not), in the order of the tables."""
  return [PairBaseline(name) for name in pairs.BASELINES]
