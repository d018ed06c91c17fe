"""Pairs as they are scored: a monochrome view is coloured by a colour view, then that one by it.

Cycle CNN, Section III-A. First-time: the monochrome view I_G is coloured by the colour view R_C.
Second-time: R_G, the Y of R_C (BT.601), is coloured by the first-time result, and may be compared
with R_C itself: the only figure that a pair without truth has.
"""

import functools
from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from scs_jax.core.contract import ColorizeTwice, Prediction, Query, twice
from scs_jax.measure import semi_global
from scs_jax.measure.score import Answer, Asked
from scs_jax.metrics import image as metrics
from scs_jax.metrics.estimates import Scores
from scs_jax.ops import color, transfer
from scs_jax.ops.degrade import to_eight_bits

Array = jax.Array
Metrics = Mapping[str, Callable[[Array, Array], Array]]

MODES = ("first", "second")
# Of a result and the true picture: the truth of the monochrome view, or the colour view.
METRICS: Metrics = {
  "psnr_rgb": metrics.psnr_rgb,
  "psnr_rgb_true_y": metrics.psnr_rgb_true_luma,
  "psnr_cbcr": metrics.psnr_cbcr,
  "ssim_rgb": metrics.ssim_rgb,
  "ssim_rgb_true_y": metrics.ssim_rgb_true_luma,
}
UNREFINED = "unrefined"
"""The extra of a method whose colours are refined: what they were before, RGB [N, H, W, 3]."""
TRIVIAL = "zero_disparity"
"""The baseline that copies there and back: second-time it returns the colour view, whatever it is,
but for colours that left the gamut on the way."""
STEREO = "semi_global"
"""The baseline of classical stereo matching; only where OpenCV is installed."""


def zero_disparity(query: Query) -> Array:
  """Gives RGB [N, H, W, 3] in [0, 1]: Cb and Cr of the reference's same pixel under the gray."""
  return _under(query.gray, color.rgb_to_ycbcr(query.reference)[..., 1:])


def reinhard(query: Query) -> Array:
  """Returns RGB [N, H, W, 3] in [0, 1]: Cb and Cr of Reinhard's colour transfer under the gray.

  Reinhard et al. 2001 give the gray picture the mean and deviation of the reference in l, alpha
  and beta: a gray picture has none to scale in the last two, so that its colour is one tint whose
  strength goes with brightness. Ours: Y stays the input's, as in every result here; the transfer's
  own brightness is that of the other camera.
  """
  gray = jnp.repeat(query.gray, 3, axis=-1)
  moved = transfer.transfer_color(gray, query.reference)
  return _under(query.gray, color.rgb_to_ycbcr(moved)[..., 1:])


def stereo(query: Query) -> Array:
  """Gives RGB [N, H, W, 3] in [0, 1]: Cb and Cr carried over by semi-global matching.

  Matches on the host: not to be traced.
  """
  chroma = semi_global.carried_chroma(query.gray, color.rgb_to_ycbcr(query.reference))
  return _under(query.gray, chroma)


def _under(gray: Array, chroma: Array) -> Array:
  """Gives RGB in [0, 1] of this Y, Cb and Cr, clipped to the gamut."""
  return color.clip_gamut(color.ycbcr_to_rgb(jnp.concatenate([gray, chroma], axis=-1)))


def _baseline(colored: Callable[[Query], Array]) -> ColorizeTwice:
  return twice(lambda state, query: Prediction(colored(query)))


BASELINES: Mapping[str, ColorizeTwice] = {
  "reinhard": _baseline(reinhard),
  TRIVIAL: _baseline(zero_disparity),
  **({STEREO: _baseline(stereo)} if semi_global.available() else {}),
}
UNCOMPILED = (STEREO,)
"""Baselines that run on the host, and can be part of no program."""
LEFT_OUT = "" if semi_global.available() else (
  f"the baseline {STEREO} (stereo matching, colours carried over) is left out, as OpenCV is not "
  "installed; pip install -e .[stereo] brings it"
)
"""Says which baselines are not there, and why; empty where all are."""


def mark_trivial(scores: Scores) -> None:
  """Notes that the second-time figures of TRIVIAL say nothing."""
  if TRIVIAL in scores.of.get("second", ()):
    scores.trivial["second"] = TRIVIAL


def notes_on_baselines(scores: Scores) -> list[str]:
  """Says which baselines are not there, and what the trivial one's figures are worth."""
  notes = [LEFT_OUT] if LEFT_OUT else []
  if "second" in scores.of:
    notes.append(
      f"{TRIVIAL} copies back in the second pass what it copied in the first: its second-time "
      "figures are near perfect by construction and say nothing of its colours"
    )
  return notes


class Pairs:
  """Scores pairs (score.Track).

  Batches have "mono" uint8 [N, H, W, 1], "color" and "truth" uint8 [N, H, W, 3] and "has_truth"
  bool [N]; where the truth is known of some pixels alone, "seen" bool [N, H, W, 1]: first-time
  figures are over these.

  Args:
    more: further metrics by name, as those of METRICS.
  """

  def __init__(self, more: Metrics | None = None):
    self._more = more or {}
    self.metrics = (*METRICS, *self._more)

  def ask(self, batch: Mapping, modes: Sequence[str]) -> dict[str, Asked]:
    """Makes the one query that both passes answer."""
    mono, seen = _unit(batch["mono"]), _unit(batch["color"])
    asked = Asked(
      Query(mono, tuple(mono.shape[1:3]), seen), {k: batch[k] for k in ("mono", "color")}
    )
    return dict.fromkeys(MODES, asked)

  def answers(self, predictor, asked, batch, extras) -> dict[str, dict[str, Answer]]:
    """Adds the variant UNREFINED: what the method says its colours were before the refinement."""
    query = next(iter(asked.values())).query
    both = predictor.answer_pair(query, batch, extras)
    found = {"": dict(zip(MODES, both, strict=True))}
    if all(UNREFINED in answer.extras for answer in both):
      before = [Answer(answer.extras[UNREFINED], answer.there) for answer in both]
      found[UNREFINED] = dict(zip(MODES, before, strict=True))
    return found

  def present(self, batch: Mapping, mode: str) -> np.ndarray:
    return np.asarray(batch["mask"])

  def measurable(self, batch: Mapping, mode: str) -> np.ndarray:
    """Tells where there is a truth; of the second pass it is the colour view itself."""
    return batch["mask"] & batch["has_truth"] if mode == "first" else np.asarray(batch["mask"])

  def measure(self, rgb: Array, batch: Mapping, mode: str) -> tuple[dict[str, Array], Array]:
    """Measures results float32 [N, H, W, 3] in [0, 1], on the 256 levels of a file."""
    shown = _levels(rgb)
    first = mode == "first"
    of = shown, batch["truth" if first else "color"], batch.get("seen") if first else None
    return _score(*of) | score(self._more, *of), shown

  def measure_alone(self, batch: Mapping) -> dict[str, Array]:
    return {}


@jax.jit
def _unit(image: Array) -> Array:
  return image / jnp.float32(255)


@jax.jit
def _levels(rgb: Array) -> Array:
  return jnp.round(to_eight_bits(rgb) * 255.0).astype(jnp.uint8)


def score(metrics: Metrics, shown: Array, true: Array, seen: Array | None) -> dict[str, Array]:
  """Returns {metric: [N]} of results, over the pixels that are seen.

  Elsewhere the result is taken to be the truth, and what differs is counted over the rest: exactly
  so in a mean squared error; SSIM and LPIPS look at neighbourhoods, which see as much of it.

  Args:
    metrics: a name that begins with psnr is of decibels, ssim of a likeness up to 1, others are of
      a distance.
    shown, true: uint8 [N, H, W, 3].
    seen: bool [N, H, W, 1]; None: all of them.
  """
  rgb, truth = _unit(shown), _unit(true)
  if seen is None:
    return {name: metric(rgb, truth) for name, metric in metrics.items()}
  share = jnp.mean(seen, axis=(1, 2, 3), dtype=jnp.float32)
  rgb = jnp.where(seen, rgb, truth)
  scores = {}
  for name, metric in metrics.items():
    value = metric(rgb, truth)
    if name.startswith("psnr"):
      scores[name] = value + 10 * jnp.log10(share)
    else:
      scores[name] = 1 - (1 - value) / share if name.startswith("ssim") else value / share
  return scores


_score = jax.jit(functools.partial(score, METRICS))
