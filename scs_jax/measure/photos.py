"""Photographs as they are scored: grayed, reduced, coloured and enlarged, compared with themselves.

Three modes, as in SCSNet's protocol (Section 4.2): "automatic"; "self", the reference being the
picture itself, elastically distorted; "random", another picture, distorted too. Ours besides, where
asked for: "mirrored", as "self" with left and right exchanged, so that no place of the reference is
where it belongs.
"""

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from scs_jax.core import contract
from scs_jax.core.contract import Query
from scs_jax.data import scan
from scs_jax.errors import UserError
from scs_jax.measure.score import Answer, Asked
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


class Photos:
  """Scores photographs (score.Track).

  Batches have "image" uint8 [N, H, W, 3], the true pictures, and for mode "random" "other", as
  large, what the references are made from, and "other_mask" bool [N] where some have none.

  Args:
    scale: magnification asked of the method: picture size over input size, any real number.
    reference_size: height and width of the reference, pixels.
    seed: of the references' elastic distortion.
    more: further metrics by name, of results and true pictures float32 [N, H, W, 3] in [0, 1].
  """

  def __init__(
    self,
    scale: float,
    reference_size: int,
    seed: int = 0,
    more: Mapping[str, Callable] | None = None,
  ):
    self.scale, self.reference_size, self.seed = scale, reference_size, seed
    self._more = more or {}
    self.metrics = (*METRICS, *COLORFULNESS, *self._more)

  def ask(self, batch: Mapping, modes: Sequence[str]) -> dict[str, Asked]:
    """Makes the queries: the picture reduced and gray, its reference reduced and distorted.

    A picture's distortion goes by its number, whatever the batch.
    """
    sources = {
      "automatic": lambda: None,
      "self": lambda: batch["image"],
      "random": lambda: batch["other"],
      "mirrored": lambda: batch["image"][:, :, ::-1],
    }
    numbers = np.asarray(batch["record"]).astype(np.uint32)
    return {
      mode: Asked(*_ask(
        batch["image"], sources[mode](), numbers, self.scale, self.reference_size, self.seed
      ))
      for mode in modes
    }  # fmt: skip

  def answers(self, predictor, asked, batch, extras) -> dict[str, dict[str, Answer]]:
    del extras  # nothing shows those of photographs
    return {"": {mode: predictor.answer(one.query, batch, mode) for mode, one in asked.items()}}

  def present(self, batch: Mapping, mode: str) -> np.ndarray:
    if mode == "random" and "other_mask" in batch:
      return batch["mask"] & batch["other_mask"]
    return np.asarray(batch["mask"])

  def measurable(self, batch: Mapping, mode: str) -> np.ndarray:
    return np.asarray(batch["mask"])

  def measure(self, rgb: Array, batch: Mapping, mode: str = "") -> tuple[dict[str, Array], Array]:
    """Measures results float32 [N, H, W, 3] in [0, 1], on the 256 levels of a file."""
    scores, shown = _measure(rgb, batch["image"])
    unit = lambda image: image / jnp.float32(255)
    more = {name: m(unit(shown), unit(batch["image"])) for name, m in self._more.items()}
    return scores | more, shown

  def measure_alone(self, batch: Mapping) -> dict[str, Array]:
    return _measure_alone(batch["image"])


# Asking, answering and measuring are programs of their own: predictors share the first and last,
# which are most of what there is to compile.
@functools.partial(jax.jit, static_argnums=(3, 4, 5))
def _ask(image, source, numbers, scale: float, side: int, seed: int):
  unit = lambda x: x / jnp.float32(255)
  size = image.shape[1:3]
  small = degrade(unit(image), tuple(max(1, round(s / scale)) for s in size))
  gray = color.lightness_to_gray(color.lightness(small))
  given = {"gray": _to_bytes(gray[..., 0])}
  reference = None
  if source is not None:
    reference = degrade(unit(source), (side, side))
    keys = contract.example_keys(jax.random.key(seed), numbers)
    alpha, sigma = warp.default_elastic(side)
    distort = jax.vmap(lambda k, x: warp.elastic_distortion(k, x, alpha, sigma))
    reference = distort(keys, reference)
    given["reference"] = _to_bytes(reference)
  return Query(gray, size, reference), given


@jax.jit
def _measure(rgb: Array, image: Array) -> tuple[dict[str, Array], Array]:
  truth, shown = image / jnp.float32(255), to_eight_bits(rgb)
  scores = {name: metric(shown, truth) for name, metric in METRICS.items()}
  scores |= {name: metric(shown) for name, metric in COLORFULNESS.items()}
  return scores, _to_bytes(rgb)


@jax.jit
def _measure_alone(image: Array) -> dict[str, Array]:
  return {name: metric(image / jnp.float32(255)) for name, metric in COLORFULNESS.items()}


def _to_bytes(x: Array) -> Array:
  return jnp.round(x * 255.0).astype(jnp.uint8)


def gray_of(pictures: Iterable[np.ndarray]) -> np.ndarray:
  """Tells which pictures, uint8 [H, W, 3] each, have no colour: bool [N]."""
  return np.array([scan.mean_chroma(picture) < scan.GRAY_CHROMA for picture in pictures])


def pair_next(batches: Iterable[Mapping]) -> list[dict]:
  """Gives batches for mode "random" their "other": the next picture that can be read.

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
