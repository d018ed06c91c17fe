"""Says what a method is: a few pure functions over explicit state, in the manner of optax."""

import functools
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flax.struct
import jax
import numpy as np

from scs_jax.core.stages import Recipe
from scs_jax.ops import color
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
    """Returns the state to color with: averaged parameters where there are any."""
    return self.replace(params=self.average, average={}) if self.average else self


@flax.struct.dataclass
class Query:
  """Holds what a method is asked to colour.

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
  """Holds what a method answers.

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
    """Returns the mean over the devices' parts (equal in size) of a tree of per-device means."""
    return tree if self.axis_name is None else jax.lax.pmean(tree, self.axis_name)


class Method:
  """A method: configured once, pure afterwards.

  A method inherits from this class. It writes `init`, `train_step` and `predict`, and sets those
  attributes in which it differs from what stands here: in its class or, where the config decides,
  in `__init__`. Whoever deals with methods looks at nothing else of them.
  """

  RULES: Mapping[str, Any] = {}
  """Dotted config keys and the ranges they must keep (core.rules)."""

  EARLIER: Mapping[str, Any] = {}
  """Dotted config keys that came after the first runs, with the values as which those ran: a config
  without such a key gets its value."""

  ablations: str = ""
  """The module with its ablation tables, as `TABLES` (core.ablations); "" if it has none."""

  task: str = ""
  """Which of its tasks it was built for, shown beside its name; "" where there is only one."""

  takes_reference: bool = True
  """Whether a Query may have a reference."""

  takes_pairs: bool = False
  """Whether it colours a monochrome view from a colour view beside it, of one size and rectified. A
  Query then has both, and training batches have "mono" and "color" in place of "image"."""

  search_range: int | None = None
  """Of a method of pairs: the candidates along a row that it looks at, from a pixel's own column to
  the right, which is the largest disparity and one; None if there is no such bound."""

  remarks: Sequence[str] = ()
  """Lines that belong beside the figures of a method of pairs, wherever they are printed."""

  keeps_luminance: bool = False
  """Whether it predicts chroma alone, so that the result's L is the input's: whoever has the
  original at more detail takes L from there, and `compare` shows it with the true L as well."""

  only_enlarges: bool = False
  """Whether it colours nothing, but enlarges a colour picture of the input's size that it is handed
  as the reference: such a method is the second part of a cascade."""

  scales: tuple[float, float] = (0.0, float("inf"))
  """The least and the largest output size over input size along an axis."""

  usual_scale: float = 1.0
  """Output size over input size as in training: what a method is asked for where its chroma alone
  is taken, or where it enlarges in a cascade."""

  usual_side: int | None = None
  """Longest side in pixels that a method which keeps luminance is to see unless the user says
  otherwise; None: the whole picture."""

  takes_corner: bool = False
  """Whether `predict` heeds `Query.corner`, so that one program serves pictures of many sizes.
  Without it, and without a recipe, each size of picture compiles its own."""

  multiple: int = 1
  """Sizes that the network pads to; strips of a picture are cut at multiples of it."""

  row_overlap: int | None = None
  """Rows above and below that a result depends on, so that strips of rows which overlap by as many
  give what the whole picture gives; None: no strips do."""

  training_only: Sequence[str] = ()
  """Networks, by their names in a state, that only training needs (a discriminator): they are left
  out where a trained network is exported or counted."""

  def __init__(self, config):
    self.config = config

  # -- what every method writes

  def init(self, key: Array, batch: Batch) -> TrainState:
    """Makes a fresh state, `frozen` left empty. Pure: may be traced for shapes alone."""
    raise NotImplementedError

  def train_step(
    self, state: TrainState, batch: Batch, key: Array, collective: Collective, phase: str
  ) -> tuple[TrainState, Logs]:
    """Makes all updates of one step. `key` is this step's own; `phase` is static."""
    raise NotImplementedError

  def predict(self, state: TrainState, query: Query) -> Prediction:
    """Answers a query; reads params and model_state only."""
    raise NotImplementedError

  @functools.cached_property
  def shapes(self) -> TrainState:
    """What `init` makes, as shapes."""
    return jax.eval_shape(lambda key: self.init(key, {}), jax.random.key(0))

  # -- what some methods write

  def phase(self, step: int) -> str:
    """Names the program that a step runs, as modes take turns or stages follow each other.

    The engine compiles `train_step` once a phase. (A branch inside the program would do, but XLA
    ran SCSNet's step 4.6 times slower so on a CPU, convolutions under a conditional being slow.)
    """
    del step
    return "train"

  def load_frozen(self) -> dict[str, Tree]:
    """Reads the weight files that the config names; UserError where one is needed and missing."""
    return {}

  def frozen_shapes(self) -> dict[str, Tree]:
    """Gives what `load_frozen` does, as shapes.

    A method writes it where no file need be read for that, so that `scs-jax plan` needs no weights.
    """
    frozen = self.load_frozen()
    return jax.eval_shape(lambda: frozen)

  def recipe(self, state: TrainState, referential: bool) -> Recipe | None:
    """Says how a picture of any size is coloured in pieces; None: pictures are coloured whole.

    One method has one so far. It stands here because a network with attention over the whole
    picture colours large ones in bounded memory in no other way, and only it knows its stages.
    """
    del state, referential
    return None

  def colorize_twice(self, state: TrainState, query: Query) -> tuple[Prediction, Prediction]:
    """Colours a pair as `predict` does, and then the colour view anew from that; of pairs alone.

    A method writes it where its second pass starts from more than the finished picture of the
    first: Cycle CNN's starts from colours that are not refined yet, which `predict` does not give.
    """
    return twice(self.predict)(state, query)


REQUIRED = ("init", "train_step", "predict")
"""What a method must write; all else has a body here."""

Predict = Callable[[TrainState | None, Query], Prediction]
ColorizeTwice = Callable[[TrainState | None, Query], tuple[Prediction, Prediction]]


def twice(predict: Predict) -> ColorizeTwice:
  """Colours both views of pairs by a predictor that colours the monochrome one.

  A predictor looks for the match of column i at i and to the right of it, and in the second pass
  the match is to the left: so all that goes into it is mirrored, and what comes out is mirrored
  back.

  Returns:
    (state, query) -> (first, second): first as `predict` gives it, second the colour view coloured
    anew, at its own side, without extras.
  """
  mirror = lambda x: x[:, :, ::-1]  # [N, H, W, C], each row from right to left

  def colorize(state, query: Query) -> tuple[Prediction, Prediction]:
    first = predict(state, query)
    gray = mirror(color.rgb_to_ycbcr(query.reference)[..., :1])  # Y of BT.601
    second = predict(state, Query(gray, gray.shape[1:3], mirror(first.rgb)))
    return first, Prediction(mirror(second.rgb))

  return colorize


def stream(key: Array, name: str) -> Array:
  """Returns a named stream of randomness: independent of every other name's, and of their order."""
  return jax.random.fold_in(key, zlib.crc32(name.encode()))


def example_keys(key: Array, index: Array) -> Array:
  """Returns one key an example, by its global sample index: [N] keys from uint32 [N].

  An example draws the same numbers whatever device or host it is on.
  """
  return jax.vmap(lambda i: jax.random.fold_in(key, i))(index)
