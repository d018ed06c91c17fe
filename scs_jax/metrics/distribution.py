"""Frechet distance between two sets of features (Heusel et al. 2017: FID, with Inception's pool3).

d^2 = |mu_1 - mu_2|^2 + Tr(C_1 + C_2 - 2 (C_1 C_2)^(1/2)), the covariances divided by n - 1, all in
float64 on the host. What is kept of a set is its count, mean and scatter: it can be streamed.

It is biased upwards for few samples, and not defined by any one number of them: compare figures of
equal counts only, and print the count.
"""

import contextlib
import hashlib
import io
import json
import os
import pathlib
import zipfile
from collections.abc import Mapping

import numpy as np
import scipy.linalg

from scs_jax.errors import UserError

_FORMAT = "scs_jax feature statistics 1"


class Statistics:
  """Count n, mean and scatter, the sum of (x - mean)(x - mean)^T, of features [n, D].

  `update` changes the object in place: the scatter of 2048 features is 34 MB.
  """

  def __init__(self, features: int):
    """Starts empty; features: D."""
    self.count = 0
    self.mean = np.zeros(features)
    self.scatter = np.zeros((features, features))
    self._factor: np.ndarray | None = None

  @classmethod
  def of(cls, features: np.ndarray) -> "Statistics":
    """Measures one array [n, D]."""
    return cls(np.shape(features)[-1]).update(features)

  def update(self, features: np.ndarray, mask: np.ndarray | None = None) -> "Statistics":
    """Adds [n, D]; those alone whose `mask` [n] is True. Returns the object itself.

    Raises:
      ValueError: another number of features, or values that are not finite.
    """
    x = np.asarray(features, np.float64)
    if x.ndim != 2 or x.shape[1] != len(self.mean):
      raise ValueError(f"features: expected [n, {len(self.mean)}], got shape {x.shape}")
    x = x if mask is None else x[np.asarray(mask, bool)]
    if not np.isfinite(x).all():
      raise ValueError("features: expected finite numbers, got NaN or infinity")
    if len(x):
      self._add(x)
    return self

  def _add(self, x: np.ndarray) -> None:
    """Adds after Chan et al. 1979: no large sums of squares, which would cancel."""
    count, mean = len(x), x.mean(axis=0)
    total = self.count + count
    shift = mean - self.mean
    between = np.sqrt(self.count * (count / total)) * shift
    rows = np.concatenate([x - mean, between[None]])
    self.scatter += rows.T @ rows
    self.mean = self.mean + shift * (count / total)
    self.count = total
    self._factor = None

  def covariance(self) -> np.ndarray:
    """Returns the scatter over n - 1 as numpy.cov and pytorch-fid have it, [D, D].

    Raises:
      UserError: fewer than two samples.
    """
    if self.count < 2:
      raise UserError(
        f"the distance of two sets of pictures needs two of each at least, got {self.count}; give "
        "more pictures"
      )
    return self.scatter / (self.count - 1)

  def frechet(self, other: "Statistics") -> float:
    """Computes the Frechet distance d^2 to another set, from 0.

    Raises:
      UserError: fewer than two samples in either.
      ValueError: another number of features.
    """
    _require_same_features(self.mean, other.mean)
    return _distance(self.mean, self._root(), other.mean, other._root())

  def _root(self) -> np.ndarray:
    """Factors the covariance: F [D, r] with F F^T; kept, as a real set is compared with many."""
    if self._factor is None:
      self._factor = _factor(self.covariance(), self.count - 1)
    return self._factor


def _distance(mean_a, root_a, mean_b, root_b) -> float:
  """Computes Tr (C_1 C_2)^(1/2): the sum of the singular values of F_1^T F_2, C_i = F_i F_i^T.

  They are the roots of the eigenvalues of the symmetric F_1^T C_2 F_1, without the square that
  would cost half of the digits: no matrix square root of a product that is not symmetric, which
  fails or turns complex where covariances are singular, as all are of fewer samples than features.
  """
  shift = np.asarray(mean_a, np.float64) - np.asarray(mean_b, np.float64)
  product = root_a.T @ root_b
  shared = np.linalg.svd(product, compute_uv=False).sum() if product.size else 0.0
  total = shift @ shift + np.sum(root_a**2) + np.sum(root_b**2) - 2 * shared
  return float(max(total, 0.0))  # of a set with itself rounding may leave -1e-13


def _factor(covariance: np.ndarray, rank: int | None = None) -> np.ndarray:
  """Factors the covariance by eigenvectors: F [D, r] with F F^T.

  rank: no more than this many eigenvalues differ from 0. The others come out as rounding errors,
  whose roots are not small: 1e-8 for 1e-16, as often as there are features.
  """
  size = len(covariance)
  rank = size if rank is None else min(rank, size)
  # Without the sum of both the routine would read one triangle alone.
  symmetric = (covariance + covariance.T) / 2
  values, vectors = scipy.linalg.eigh(
    symmetric, subset_by_index=(size - rank, size - 1) if rank < size else None
  )
  if values[-1] > 0 and values[0] < -1e-6 * values[-1]:
    raise ValueError(f"covariance: expected no eigenvalue below 0, got {values[0]:.3g}")
  # As numpy.linalg.matrix_rank: smaller ones are rounding errors of zeros (dead features).
  values = np.where(values > size * np.finfo(np.float64).eps * values[-1], values, 0.0)
  return vectors * np.sqrt(values)


def _require_same_features(a: np.ndarray, b: np.ndarray) -> None:
  if np.shape(a) != np.shape(b):
    raise ValueError(f"expected equal numbers of features, got {np.shape(a)} and {np.shape(b)}")


def cache_key(decides: Mapping) -> str:
  """Hashes all that decides the features of a set, a JSON mapping: SHA-256.

  That is: the hash of the list of files (names and sizes), what was done to them before the
  network saw them, and the hash of the network's weights.
  """
  return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()


def recall(folder: str | os.PathLike, decides: Mapping) -> Statistics | None:
  """Reads what `keep` wrote for the same `decides`; None where there is none, or a damaged file."""
  key = cache_key(decides)
  try:
    with np.load(_place(folder, key), allow_pickle=False) as file:
      if str(file["format"]) != _FORMAT or str(file["key"]) != key:
        return None
      mean, scatter = file["mean"], file["scatter"]
      found = Statistics(len(mean))
      found.count = int(file["count"])
  except (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile):
    return None
  whole = mean.dtype == scatter.dtype == np.float64 and scatter.shape == 2 * mean.shape
  if not whole or not (np.isfinite(mean).all() and np.isfinite(scatter).all()):
    return None
  found.mean, found.scatter = mean, scatter
  return found


def keep(folder: str | os.PathLike, decides: Mapping, statistics: Statistics) -> None:
  """Writes them into `folder`, made where it is missing; whole or not at all.

  A file that cannot be written is passed over: no figure depends on it.

  Args:
    decides: as for `cache_key`; it is written into the file too, for who wants to know.
  """
  key = cache_key(decides)
  path = _place(folder, key)
  content = io.BytesIO()
  np.savez(
    content,
    format=_FORMAT,
    key=key,
    decides=json.dumps(decides, sort_keys=True),
    count=statistics.count,
    mean=statistics.mean,
    scatter=statistics.scatter,
  )
  aside = path.with_name(f".{path.name}.{os.getpid()}.partial")
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    aside.write_bytes(content.getbuffer())
    os.replace(aside, path)
  except OSError:
    with contextlib.suppress(OSError):
      aside.unlink(missing_ok=True)


def _place(folder: str | os.PathLike, key: str) -> pathlib.Path:
  return pathlib.Path(folder) / f"features-{key[:32]}.npz"
