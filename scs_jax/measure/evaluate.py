"""One ruler for all methods: colour held-out pictures and measure, exactly, whatever the batching.

A held-out picture is grayed and reduced, the method colours (and enlarges) it, and the result is
compared with the picture itself. Three modes, as in SCSNet's protocol (Section 4.2): "automatic";
"self", the reference being the picture itself, elastically distorted; "random", another picture,
distorted too. Ours besides, where asked for: "mirrored", as "self" with left and right exchanged,
so that no place of the reference is where it belongs.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from scs_jax.core import contract
from scs_jax.core.contract import Query, TrainState
from scs_jax.errors import UserError
from scs_jax.measure.baselines import BASELINES, welsh_keys
from scs_jax.metrics import image as metrics
from scs_jax.metrics.color import COLORFULNESS
from scs_jax.ops import color, warp
from scs_jax.ops.degrade import degrade, to_eight_bits

Array = jax.Array

MODES = ("automatic", "self", "random")
MORE_MODES = (*MODES, "mirrored")
# Of a result and the true picture.
METRICS: Mapping[str, Callable[[Array, Array], Array]] = {
  "psnr_rgb": metrics.psnr_rgb,
  "psnr_rgb_true_l": metrics.psnr_rgb_true_lightness,
  "psnr_ab": metrics.psnr_ab,
  "psnr_lightness": metrics.psnr_lightness,
  "ssim_rgb": metrics.ssim_rgb,
  "ssim_lightness": metrics.ssim_lightness,
}
SMALLEST = 11  # pixels: the side of SSIM's window


@dataclasses.dataclass(frozen=True)
class Protocol:
  """How held-out pictures become queries.

  Attributes:
    mode: one of MORE_MODES.
    scale: magnification asked of the method: picture size over input size, any real number.
    reference_size: height and width of the reference, pixels.
    seed: of the references' elastic distortion.
  """

  mode: str
  scale: float
  reference_size: int
  seed: int = 0

  def __post_init__(self):
    if self.mode not in MORE_MODES:
      raise UserError(f"mode is {self.mode!r}; use one of {', '.join(MORE_MODES)}")

  def query(self, image: Array, other: Array, index: Array) -> Query:
    """Pictures RGB [N, H, W, 3] in [0, 1] -> what the method is given.

    Args:
      image: the true pictures.
      other: what the references are made from: the pictures themselves in modes "self" and
        "mirrored", others in mode "random", not looked at in mode "automatic".
      index: uint32 [N], numbers of the pictures: each has its own distortion, whatever the batch.
    """
    size = image.shape[1:3]
    small = degrade(image, tuple(max(1, round(s / self.scale)) for s in size))
    gray = color.lightness_to_gray(color.lightness(small))
    reference = None
    if self.mode != "automatic":
      side = self.reference_size
      reference = degrade(other, (side, side))
      keys = contract.example_keys(jax.random.key(self.seed), index)
      alpha, sigma = warp.default_elastic(side)
      distort = jax.vmap(lambda k, x: warp.elastic_distortion(k, x, alpha, sigma))
      reference = distort(keys, reference)
    return Query(gray, size, reference)


def measure(rgb: Array, truth: Array) -> dict[str, Array]:
  """Every metric, one number a picture: {name: float32 [N]}; both on the 256 levels of a file."""
  rgb = to_eight_bits(rgb)
  scores = {name: metric(rgb, truth) for name, metric in METRICS.items()}
  return scores | {name: metric(rgb) for name, metric in COLORFULNESS.items()}


@jax.jit
def measure_alone(image: Array) -> dict[str, Array]:
  """What can be said of the true pictures uint8 [N, H, W, 3]: {name: float32 [N]}."""
  return {name: metric(image / jnp.float32(255)) for name, metric in COLORFULNESS.items()}


def pair_next(batches: Iterable[Mapping]) -> list[dict]:
  """Batches for mode "random": "other" holds, for each picture, the next one that can be read.

  All pictures are held at once; `scs_jax.data.heldout` reads them one by one.

  Raises:
    UserError: there are fewer than two.
  """
  batches = list(batches)
  images = np.concatenate([batch["image"][batch["mask"]] for batch in batches])
  if len(images) < 2:
    raise UserError(
      "mode random takes another picture as the reference, but there is one picture that can be "
      "read; give two or more"
    )
  paired, done = [], 0
  for batch in batches:
    paired.append({**batch, "other": images[(done + np.cumsum(batch["mask"])) % len(images)]})
    done += int(batch["mask"].sum())
  return paired


@dataclasses.dataclass
class Result:
  """Scores of every picture, and the pictures where they were asked for.

  Attributes:
    scores: {metric: float64 [pictures]}.
    rgb: uint8 [pictures, H, W, 3], or None.
    gray: uint8 [pictures, h, w], the inputs, or None.
    reference: uint8 [pictures, r, r, 3], or None.
  """

  scores: dict[str, np.ndarray]
  rgb: np.ndarray | None = None
  gray: np.ndarray | None = None
  reference: np.ndarray | None = None

  def mean(self) -> dict[str, float]:
    """Means over the pictures, exact: every picture counts once."""
    return {name: float(np.mean(values)) for name, values in self.scores.items()}


class Evaluator:
  """Colours and measures batches of equal shape under one protocol; compiles once a shape.

  Args:
    predict: (state, query) -> Prediction, a method's; or a baseline's name.
    protocol: see Protocol.
  """

  def __init__(self, predict, protocol: Protocol):
    self.protocol = protocol
    # The modes with a reference differ in what they are handed, not in the program.
    mode = "automatic" if protocol.mode == "automatic" else "self"
    self._ask = _query_program(dataclasses.replace(protocol, mode=mode))
    self._answer = _prediction_program(predict, protocol.seed)

  def ask(self, batch: Mapping) -> tuple[Query, dict[str, Array]]:
    """The query of one batch, and its pictures as `start` returns them.

    Args:
      batch: "image" uint8 [N, H, W, 3], "record" int32 [N], the pictures' numbers, and in mode
        "random" "other", uint8 [N, H, W, 3], what the references are made from.
    """
    other = batch["other"] if self.protocol.mode == "random" else batch["image"]
    if self.protocol.mode == "mirrored":
      other = other[:, :, ::-1]
    return self._ask(batch["image"], other, _numbers(batch))

  def start(self, state: TrainState | None, batch: Mapping, asked=None) -> tuple[dict, dict]:
    """(scores, pictures) of every place of one batch, still on the device; waits for nothing.

    Args:
      state: a method's; None for a baseline.
      batch: as for `ask`.
      asked: what `ask` returned for it, where several predictors share a protocol.

    Returns:
      {metric: float32 [N]}, and uint8 "rgb" [N, H, W, 3], "gray" [N, h, w] and, where there is one,
      "reference" [N, r, r, 3].
    """
    query, pictures = self.ask(batch) if asked is None else asked
    scores, rgb = score(self.answer(state, query, batch), batch["image"])
    return scores, {**pictures, "rgb": rgb}

  def answer(self, state: TrainState | None, query: Query, batch: Mapping) -> Array:
    """What the predictor gives, float32 [N, H, W, 3]."""
    return self._answer(state, query, _numbers(batch))

  def __call__(self, state: TrainState | None, batches: Sequence[Mapping], keep=False) -> Result:
    """Runs over batches as `start` takes them, with "mask" bool [N], one at a time.

    Padded places of the last batch (mask False) are computed and left out. `keep` keeps the
    pictures, all of them.
    """
    parts, shown = [], []
    for batch in batches:
      found = self.start(state, batch)
      values, pictures = jax.device_get(found if keep else (found[0], {}))
      mask = batch["mask"]
      parts.append({name: np.asarray(v, np.float64)[mask] for name, v in values.items()})
      shown.append({name: v[mask] for name, v in pictures.items()})
    if not parts:
      raise UserError("no pictures to evaluate; check data.heldout")
    scores = _joined(parts)
    if not len(scores["psnr_rgb"]):
      raise UserError("none of the held-out pictures can be read; check data.heldout")
    return Result(scores, **_joined(shown))


def _joined(parts: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
  return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _numbers(batch: Mapping) -> np.ndarray:
  return np.asarray(batch["record"]).astype(np.uint32)


def _to_bytes(x: Array) -> Array:
  return jnp.round(x * 255.0).astype(jnp.uint8)


# Asking, answering and measuring are programs of their own: predictors share the first and last,
# which are most of what there is to compile.
@functools.lru_cache(maxsize=32)
def _query_program(protocol: Protocol):
  @jax.jit
  def ask(image, other, index):
    query = protocol.query(image / jnp.float32(255), other / jnp.float32(255), index)
    pictures = {"gray": _to_bytes(query.gray[..., 0])}
    if query.reference is not None:
      pictures["reference"] = _to_bytes(query.reference)
    return query, pictures

  return ask


@functools.lru_cache(maxsize=32)
def _prediction_program(predict, seed: int):
  @jax.jit
  def answer(state, query, index):
    if isinstance(predict, str):
      return BASELINES[predict](query, welsh_keys(seed, index))
    return predict(state, query).rgb

  return answer


@jax.jit
def score(rgb: Array, image: Array) -> tuple[dict[str, Array], Array]:
  """(scores, uint8 [N, H, W, 3]) of results in [0, 1] and the true pictures, uint8."""
  return measure(rgb, image / jnp.float32(255)), _to_bytes(rgb)
