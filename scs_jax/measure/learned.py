"""What FID and LPIPS need around their networks: sets streamed, the real set kept, a metric.

FID and LPIPS need published weights (nn.features.inception, nn.features.lpips). Without them both
are left out, with the reason; nothing stands in for them.
"""

import itertools
import os
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from scs_jax.data import remote
from scs_jax.errors import UserError
from scs_jax.measure import score
from scs_jax.metrics import distribution
from scs_jax.metrics.distribution import Statistics
from scs_jax.nn.features import files, inception, lpips
from scs_jax.training import distributed

Path = str | os.PathLike[str]
Look = Callable[[np.ndarray], np.ndarray]
Batches = Iterable[tuple[np.ndarray, np.ndarray | None]]


class Perceptual:
  """Measures LPIPS: (results, true pictures) float32 [N, H, W, 3] in [0, 1] -> [N].

  Attributes:
    weights: for the record, of each file; see describe_weights.

  Args:
    paths: as `lpips.load` takes them.

  Raises:
    UserError: weights that are not there, or not those that define the figure.
  """

  def __init__(self, paths: Sequence[Path]):
    self._apply, variables, net = lpips.load(*paths)
    self._variables = jax.tree.map(jnp.asarray, variables)  # copied once, not with every batch
    published = (lpips.BACKBONE_SHA256[net], lpips.PUBLISHED_SHA256[net])[: len(paths)]
    self.weights = list(map(describe_weights, paths, published))

  def __call__(self, rgb: jax.Array, truth: jax.Array) -> jax.Array:
    """Raises UserError for pictures that are too small for the network."""
    try:
      return self._apply(self._variables, rgb, truth)
    except ValueError as error:
      raise UserError(
        f"LPIPS: {error}; measure larger pictures (--size, or data.crop of a training), or leave "
        "out --lpips-weights"
      ) from error

  def require_size(self, size: tuple[int, int] | None) -> None:
    """Checks that before anything is measured; None: pictures have sizes of their own."""
    if size is not None:
      jax.eval_shape(self, *[jax.ShapeDtypeStruct((1, *size, 3), jnp.float32)] * 2)


def perceptual(paths: Path | Sequence[Path] | None) -> dict[str, Perceptual]:
  """Returns {"lpips": the metric}, as tracks take it; nothing where no weights are given."""
  if paths is None:
    return {}
  paths = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
  if not 1 <= len(paths) <= 2 or not all(isinstance(path, str | os.PathLike) for path in paths):
    raise UserError(f"--lpips-weights {paths}: expected one file or two")
  return {"lpips": Perceptual(paths)}


def perceptual_of(config) -> dict[str, Callable]:
  """Does the same by the files that a config names; configs of earlier runs have no such key.

  Measures picture by picture: a training's memory is full as it is.
  """
  named = perceptual(tuple(config.evaluate.get("lpips_files", ())) or None)
  return {name: _one_by_one(metric) for name, metric in named.items()}


def _one_by_one(metric: Callable) -> Callable:
  def measure(rgb: jax.Array, truth: jax.Array) -> jax.Array:
    return jnp.concatenate([metric(a[None], b[None]) for a, b in zip(rgb, truth, strict=True)])

  return measure


def extractor(apply: inception.Apply, variables: inception.Variables) -> Look:
  """Makes uint8 [N, H, W, 3] -> features float32 [N, D] of what `inception.load` gave.

  Bytes, as what a file of the picture would hold is what is measured.
  """
  variables = jax.tree.map(jnp.asarray, variables)  # copied once, not with every batch

  def look(image: np.ndarray) -> np.ndarray:
    if image.dtype != np.uint8:
      raise ValueError(f"image: expected uint8, got {image.dtype}; round to the levels of a file")
    return np.asarray(apply(variables, jnp.asarray(image) / jnp.float32(255)))

  return look


class Gathering:
  """Gathers statistics of features, streamed; several processes do it together (score.Noting).

  Those have the very bits that one has: they hold what they saw, 8 KB a picture and row, and when
  it is joined all of it is added in the order of the batches. Of another order the sums would have
  another rounding.

  Attributes:
    of: {key: Statistics}.
  """

  def __init__(self):
    self.of: dict[Hashable, Statistics] = {}
    self._held: list[tuple[tuple[int, int], Hashable, np.ndarray]] = []

  def add(
    self, key: Hashable, at: tuple[int, int], features: np.ndarray, there: np.ndarray | None
  ) -> None:
    """Adds a batch, float32 [N, D]; at: its place in the order of all; there: as Statistics'."""
    if distributed.count() == 1:
      self._update(key, features, there)
    else:
      self._held.append((at, key, features if there is None else features[there]))

  def _update(self, key: Hashable, features: np.ndarray, there: np.ndarray | None = None) -> None:
    self.of.setdefault(key, Statistics(features.shape[-1])).update(features, there)

  def noted(self) -> list:
    return self._held

  def join(self, noted: Sequence[list]) -> None:
    self._held = []
    for _, key, features in sorted(itertools.chain(*noted), key=lambda held: held[0]):
      self._update(key, features)


def statistics(look: Look, batches: Batches, features: int = inception.FEATURES) -> Statistics:
  """Gathers those of pictures, streamed: (uint8 [N, H, W, 3], mask bool [N] or None) each.

  Each of several processes brings its share of one set (score.Stream.share), perhaps nothing, and
  all get the same result.
  """
  found = Gathering()
  with distributed.agreeing() as look_around:
    for number, (image, mask) in enumerate(batches):
      look_around()
      found.add("", (number, jax.process_index()), look(image), mask)
  score.join([found])
  return found.of.get("", Statistics(features))


def real_statistics(
  look: Look,
  weights: str,
  batches: Callable[[], Batches],
  folder: Path | None,
  pictures: Mapping,
  features: int = inception.FEATURES,
) -> Statistics:
  """Gathers `statistics` of a real set, kept in `folder` for later runs.

  Args:
    weights: SHA-256 of their file, as `describe_weights` has it.
    batches: opens the pictures; not called where the result is known.
    folder: read and written by the first process alone; None or in a bucket: nothing is kept.
    pictures: what decides them, as JSON: `results.list_hash` of the files, size, crop. The hash of
      the weights and the network's own preprocessing are added here.
  """
  decides = {"pictures": dict(pictures), "network": inception.PREPROCESSING, "weights": weights}
  first = folder is not None and not remote.is_remote(folder) and distributed.is_first()
  known = distribution.recall(folder, decides) if first else None
  if distributed.from_first(lambda: known is not None):
    return distributed.gather(known)[0]
  found = statistics(look, batches(), features)
  if first:
    distribution.keep(folder, decides, found)
  return found


def describe_weights(path: Path, published: str | tuple[str, ...]) -> dict:
  """Records a file: its name, its SHA-256, and whether that is the published file's.

  Args:
    published: beginnings of the SHA-256 of published files: inception.PUBLISHED_SHA256,
      lpips.PUBLISHED_SHA256[net] of the heads, lpips.BACKBONE_SHA256[net].
  """
  digest = files.sha256(path)
  name = os.path.basename(os.fspath(path))
  return {"file": name, "sha256": digest, "published": digest.startswith(published)}


def fid_note(count: int) -> str | None:
  """Gives a line for figures of few pictures; None where there are enough for a full covariance."""
  if count > inception.FEATURES:
    return None
  return (
    f"FID over {count} pictures, no more than its {inception.FEATURES} features: biased upwards; "
    "compare it only with figures of as many pictures"
  )
