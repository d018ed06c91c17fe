"""One ruler for all methods: colour held-out pictures and measure, exactly, whatever the batching.

A held-out picture is grayed and reduced, the method colours (and enlarges) it, and the result is
compared with the picture itself. Three modes, as in SCSNet's protocol (Section 4.2): "automatic";
"self", the reference being the picture itself, elastically distorted; "random", another picture,
distorted too.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping

import jax
import jax.numpy as jnp
import numpy as np

from scs_jax.engine import contract
from scs_jax.engine.contract import Query, TrainState
from scs_jax.errors import UserError
from scs_jax.metrics import image as metrics
from scs_jax.ops import color, warp
from scs_jax.ops.degrade import degrade, to_eight_bits
from scs_jax.ops.resize import resize_bicubic

Array = jax.Array

MODES = ("automatic", "self", "random")
METRICS: Mapping[str, Callable[[Array, Array], Array]] = {
  "psnr_rgb": metrics.psnr_rgb,
  "psnr_ab": metrics.psnr_ab,
  "psnr_lightness": metrics.psnr_lightness,
  "ssim_rgb": metrics.ssim_rgb,
}
SMALLEST = 11  # pixels: the side of SSIM's window
# What stands beside every model: each is a function of the same query.
BASELINES = ("bicubic_gray", "mean_chroma")


@dataclasses.dataclass(frozen=True)
class Protocol:
  """How held-out pictures become queries.

  Attributes:
    mode: one of MODES.
    scale: magnification asked of the method: picture size over input size, any real number.
    reference_size: height and width of the reference, pixels.
    seed: of the references' elastic distortion.
  """

  mode: str
  scale: float
  reference_size: int
  seed: int = 0

  def __post_init__(self):
    if self.mode not in MODES:
      raise UserError(f"mode is {self.mode!r}; use one of {', '.join(MODES)}")

  def query(self, image: Array, other: Array, index: Array) -> Query:
    """Pictures RGB [N, H, W, 3] in [0, 1] -> what the method is given.

    Args:
      image: the true pictures.
      other: what the references are made from: the pictures themselves in mode "self", others in
        mode "random", not looked at in mode "automatic".
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


def baseline(name: str, query: Query) -> Array:
  """RGB [N, H, W, 3] of a method that needs no training.

  "bicubic_gray": the input enlarged, no colour. "mean_chroma": that, with the reference's mean ab
  everywhere, which is what a global colour transfer can do for a gray input.
  """
  gray = jnp.clip(resize_bicubic(query.gray, query.size), 0.0, 1.0)
  lightness = color.gray_to_lightness(gray)
  ab = jnp.zeros((*lightness.shape[:3], 2))
  if name == "mean_chroma" and query.reference is not None:
    mean = color.rgb_to_lab(query.reference)[..., 1:].mean(axis=(1, 2), keepdims=True)
    ab = ab + mean
  return color.clip_gamut(color.lab_to_rgb(jnp.concatenate([lightness, ab], axis=-1)))


def measure(rgb: Array, truth: Array) -> dict[str, Array]:
  """Every metric, one number a picture: {name: float32 [N]}; both on the 256 levels of a file."""
  rgb = to_eight_bits(rgb)
  return {name: metric(rgb, truth) for name, metric in METRICS.items()}


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
    # "self" and "random" differ in what they are handed, not in the program.
    mode = "automatic" if protocol.mode == "automatic" else "self"
    self._run = _program(predict, dataclasses.replace(protocol, mode=mode))

  def __call__(self, state: TrainState | None, batches: Iterable[Mapping], keep=False) -> Result:
    """Runs over batches of "image" uint8 [N, H, W, 3], "mask" bool [N], "record" int32 [N].

    Padded places of the last batch (mask False) are computed and left out. References of mode
    "random" are the next picture's of the whole set.
    """
    scores: dict[str, list] = {name: [] for name in METRICS}
    shown: dict[str, list] = {}
    batches = list(batches)
    if not batches:
      raise UserError("no pictures to evaluate; check data.heldout")
    images = np.concatenate([batch["image"][batch["mask"]] for batch in batches])
    if not len(images):
      raise UserError("none of the held-out pictures can be read; check data.heldout")
    if self.protocol.mode == "random" and len(images) < 2:
      raise UserError(
        "mode random takes another picture as the reference, but there is one picture that can be "
        "read; give two or more"
      )
    done = 0
    for batch in batches:
      mask = batch["mask"]
      others = batch["image"]
      if self.protocol.mode == "random":
        others = images[(done + np.cumsum(mask)) % len(images)]  # the next picture that is there
      done += int(mask.sum())
      index = batch["record"].astype(np.uint32)
      values, pictures = jax.device_get(self._run(state, batch["image"], others, index))
      for name, value in values.items():
        scores[name].append(np.asarray(value, np.float64)[mask])
      if keep:
        for name, value in pictures.items():
          shown.setdefault(name, []).append(value[mask])
    return Result(
      {name: np.concatenate(values) for name, values in scores.items()},
      **{name: np.concatenate(values) for name, values in shown.items()},
    )


@functools.lru_cache(maxsize=16)
def _program(predict, protocol: Protocol):
  """The compiled colouring and measuring of one batch; one a method and protocol."""

  @jax.jit
  def run(state, image, other, index):
    image, other = image / jnp.float32(255), other / jnp.float32(255)
    query = protocol.query(image, other, index)
    plain = isinstance(predict, str)
    rgb = baseline(predict, query) if plain else predict(state, query).rgb
    shown = {"rgb": rgb, "gray": query.gray[..., 0]}
    if query.reference is not None:
      shown["reference"] = query.reference
    as_bytes = {name: jnp.round(x * 255.0).astype(jnp.uint8) for name, x in shown.items()}
    return measure(rgb, image), as_bytes

  return run
