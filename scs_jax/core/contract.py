"""What a method is: a few pure functions over explicit state, in the manner of optax."""

import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import flax.struct
import jax
import numpy as np

from scs_jax.ops.corner import Corner

Array = jax.Array
Tree = Any
Batch = Mapping[str, Array]
Logs = Mapping[str, Array]


@flax.struct.dataclass
class TrainState:
  """All that a training step reads and writes.

  Attributes:
    step: int32 scalar, updates done.
    params: trained parameters by network name, e.g. {"generator": ..., "discriminator": ...}.
    opt_state: optimizer state by the same names.
    model_state: what a network carries that no gradient trains (BatchNorm averages, the vectors
      of spectral normalisation), by network name.
    frozen: weights that a loss reads and no step changes (VGG16, a saliency network). They come
      from files of the user's, are arguments of the step rather than constants in the program,
      and stay out of checkpoints.
    average: running averages of `params`, by the same names; empty where config.ema_decay is 0.
      The engine's own: no method reads or writes them.
    skipped: int32 scalar, updates left out since they were not finite; the engine's own too.
  """

  step: Array
  params: dict[str, Tree]
  opt_state: dict[str, Tree]
  model_state: dict[str, Tree]
  frozen: dict[str, Tree] = flax.struct.field(default_factory=dict)
  average: dict[str, Tree] = flax.struct.field(default_factory=dict)
  skipped: Array = flax.struct.field(default_factory=lambda: np.zeros((), np.int32))

  def for_use(self) -> "TrainState":
    """The state to color with: averaged parameters where there are any."""
    return self.replace(params=self.average, average={}) if self.average else self


@flax.struct.dataclass
class Query:
  """What a method is asked to color.

  Attributes:
    gray: float32 [N, H, W, 1] in [0, 1], the sRGB gray level of the input picture.
    size: (height, width) of the result.
    reference: float32 RGB [N, h, w, 3] in [0, 1], a colour picture of any size, or None.
    want_extras: ask for the method's named extras (attention maps, ...); they may be large.
    corner: the picture fills a corner of `gray`, and its result that of the answer. For methods
      that say so (`takes_corner`); what the rest of the answer holds is undefined.
  """

  gray: Array
  size: tuple[int, int] = flax.struct.field(pytree_node=False)
  reference: Array | None = None
  want_extras: bool = flax.struct.field(pytree_node=False, default=False)
  corner: Corner = Corner()


@flax.struct.dataclass
class Prediction:
  """What a method answers.

  Attributes:
    rgb: float32 [N, height, width, 3] in [0, 1], at the size asked for.
    extras: named arrays that the method documents.
  """

  rgb: Array
  extras: Mapping[str, Any] = flax.struct.field(default_factory=dict)


@flax.struct.dataclass
class Collective:
  """Batch-wide means, the same for a step under jit over a mesh and under pmap.

  Under jit arrays are global and a mean already is the mean over the whole batch; under pmap a
  device sees its own part, and the mean goes over the axis. Every mean over the batch goes
  through here, so that the number of devices changes nothing.

  The rest is how core/step.py is to do its part; no method looks at it.

  Attributes:
    axis_name: of pmap, or None.
    remat: config.remat: what is kept for the gradient.
    gather: brings together parameters that lie cut over devices; None where none do.
    finite: receives, while a step is traced, whether each update's loss and gradients are finite;
      None where nobody asks.
  """

  axis_name: str | None = flax.struct.field(pytree_node=False, default=None)
  remat: str = flax.struct.field(pytree_node=False, default="none")
  gather: Callable[[Tree], Tree] | None = flax.struct.field(pytree_node=False, default=None)
  finite: list[Array] | None = flax.struct.field(pytree_node=False, default=None)

  def mean(self, tree: Tree) -> Tree:
    """Mean over the devices' parts (equal in size) of a tree of per-device means."""
    return tree if self.axis_name is None else jax.lax.pmean(tree, self.axis_name)


class Method(Protocol):
  """A method: configured once, pure afterwards.

  Attributes:
    RULES: dotted config keys and the ranges they must keep (core.rules).
    takes_reference: whether a Query may have one; True where a class does not say.
    scales: (least, most) output size over input size along an axis; no bounds where a class does
      not say.
    keeps_luminance: whether the result's L is the input's, so that whoever has the original at
      more detail takes L from there; False where a class does not say.
    usual_side: longest side in pixels that such a method is to see unless the user says otherwise;
      None: the whole picture.
    usual_scale: output size over input size that such a method is trained at; whoever takes its
      chroma alone asks for it there. 1 where a class does not say.
    takes_pairs: whether it colours a monochrome view from a colour view beside it, of one size and
      rectified: a Query then has both, and training batches have "mono" and "color" in place of
      "image". False where a class does not say.
    search_range: candidates along the row that such a method looks at, from a pixel's own column to
      the right: the largest disparity and one; None where it takes no pairs.
    multiple: sizes that a network pads to; strips of a picture are cut at multiples of it.
    row_overlap: rows above and below that a result depends on, so that strips of rows which overlap
      by as many give what the whole picture gives; None: there are no such strips.
    training_only: networks, by their names in a state, that only training needs (a discriminator);
      left out where a trained network is exported. None where a class does not say.
    remarks: lines that belong beside the figures of a method of pairs, wherever they are printed;
      none where a class does not say.
    takes_corner: whether `predict` heeds `Query.corner`, so that one program serves pictures of
      many sizes; without it, and without a recipe, each size of picture compiles its own. False
      where a class does not say.
    EARLIER: dotted config keys that came after the first runs, and the values as which those ran:
      a config without such a key gets its value. None where a class does not say.

  A class may also have these functions; none of them is asked for:

    recipe(state, referential) -> core.stages.Recipe: how it colours a picture of any size in
      pieces. Without one, pictures are coloured whole.
    colorize_twice(state, query) -> (Prediction, Prediction), of one that takes pairs: what
      `predict` gives, and the colour view coloured anew from that, at its own side (not mirrored).
      Without one, `predict` is asked twice.
    frozen_shapes() -> what `load_frozen` gives as jax.ShapeDtypeStructs, no file being read, so
      that `scs-jax plan` needs no weights. Without one, plan loads them.
  """

  RULES: Mapping[str, Any]
  takes_reference: bool = True
  scales: tuple[float, float] = (0.0, float("inf"))
  keeps_luminance: bool = False
  usual_side: int | None = None
  usual_scale: float = 1.0
  takes_pairs: bool = False
  search_range: int | None = None
  multiple: int = 1
  row_overlap: int | None = None
  training_only: Sequence[str] = ()
  remarks: Sequence[str] = ()
  takes_corner: bool = False
  EARLIER: Mapping[str, Any] = {}

  def __init__(self, config): ...

  def load_frozen(self) -> dict[str, Tree]:
    """Reads the weight files that the config names; UserError where one is needed and missing."""

  def init(self, key: Array, batch: Batch) -> TrainState:
    """A fresh state, `frozen` left empty. Pure: may be traced for shapes alone."""

  def phase(self, step: int) -> str:
    """Which of its programs a step runs: modes that take turns, stages that follow each other.

    The engine compiles `train_step` once a phase. (A branch inside the program would do, but XLA
    ran SCSNet's step 4.6 times slower so on a CPU, convolutions under a conditional being slow.)
    """

  def train_step(
    self, state: TrainState, batch: Batch, key: Array, collective: Collective, phase: str
  ) -> tuple[TrainState, Logs]:
    """One step: all of the method's updates. `key` is this step's own; `phase` is static."""

  def predict(self, state: TrainState, query: Query) -> Prediction:
    """Colors; reads params and model_state only."""


def stream(key: Array, name: str) -> Array:
  """A named stream of randomness: independent of every other name's, and of their order."""
  return jax.random.fold_in(key, zlib.crc32(name.encode()))


def example_keys(key: Array, index: Array) -> Array:
  """One key an example, by its global sample index: [N] keys from uint32 [N].

  An example draws the same numbers whatever device or host it is on.
  """
  return jax.vmap(lambda i: jax.random.fold_in(key, i))(index)
