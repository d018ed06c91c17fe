"""The files of a data set: their fingerprint, and scans of their sizes and colours, in a cache."""

import concurrent.futures
import hashlib
import io
import json
import os
import pathlib
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import tqdm
from PIL import Image

from scs_jax.data import decode, samples
from scs_jax.errors import UserError

GRAY_CHROMA = 2.0
"""Mean Lab chroma sqrt(a^2 + b^2) below which a picture counts as gray.

JPEG noise and slight casts of black-and-white photographs stay below; snow, fog and night scenes
in colour lie above. A sepia print has a uniform, high chroma and is kept.
"""

SHORT_SIDE = 64
"""Pictures are measured at about this short side: colours need no more."""

_CACHE_VERSION = 2
_CHUNK = 4096
_HEAD = 1 << 14  # bytes; the headers of most pictures are shorter


class File(NamedTuple):
  """One file of a data set: path relative to its root, with slashes; bytes; time in ns."""

  name: str
  size: int
  mtime_ns: int


_SIDEWAYS = (
  Image.Transpose.TRANSPOSE,
  Image.Transpose.ROTATE_270,
  Image.Transpose.TRANSVERSE,
  Image.Transpose.ROTATE_90,
)


def fingerprint_of(names_and_sizes: Iterable[tuple[str, int]]) -> str:
  """Returns 32 hex digits of SHA-256 over the sorted names and byte sizes."""
  digest = hashlib.sha256()
  for name, size in sorted(names_and_sizes):
    digest.update(name.encode("utf-8", "surrogateescape") + b"\0" + str(size).encode() + b"\n")
  return digest.hexdigest()[:32]


def mean_chroma(rgb: np.ndarray) -> float:
  """Computes the mean over pixels of sqrt(a^2 + b^2), CIE Lab, D65, of sRGB uint8 [H, W, 3]."""
  a, b = _ab(rgb)
  return float(np.hypot(a, b).mean())


def color_variation(rgb: np.ndarray) -> float:
  """Computes the standard deviation of the colours: sqrt(var(a) + var(b)), CIE Lab, D65.

  A uniform cast counts for nothing: a sepia print's is near 0, as a gray picture's.
  """
  a, b = _ab(rgb)
  return float(np.hypot(a.std(), b.std()))


def _ab(rgb: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Computes a and b, each [H, W].

  NumPy, since it runs in worker threads beside the training step; the colour space itself is
  defined in ops/color.py.
  """
  linear = samples.to_linear(rgb.astype(np.float32) / 255.0)
  to_xyz = np.array(
    [
      [0.412453, 0.357580, 0.180423],
      [0.212671, 0.715160, 0.072169],
      [0.019334, 0.119193, 0.950227],
    ],
    np.float32,
  )
  # Dividing by the row sums puts white at exactly (1, 1, 1), and so every gray at chroma 0.
  xyz = linear @ (to_xyz / to_xyz.sum(axis=1, keepdims=True)).T
  f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
  return 500.0 * (f[..., 0] - f[..., 1]), 200.0 * (f[..., 1] - f[..., 2])


def reduced(image: Image.Image) -> np.ndarray:
  """Averages a picture over blocks to a short side of 64 to 127 pixels, for its colours: uint8."""
  return np.asarray(image.reduce(max(1, min(image.size) // SHORT_SIDE)))


def scan_chroma(
  source,
  cache: str | os.PathLike | None = None,
  threads: int | None = None,
  progress: bool = True,
) -> list[float | None]:
  """Measures the mean chroma of every picture of a stored source at reduced scale.

  None where it does not decode. The other arguments are measure_all's.
  """
  files = [source.file(i) for i in range(len(source))]
  measure = lambda i: chroma_of(source, i)
  title = "looking for gray pictures"
  return measure_all(files, measure, "mean chroma", title, cache, threads, progress)


def scan_sizes(
  source,
  cache: str | os.PathLike | None = None,
  threads: int | None = None,
  progress: bool = True,
  numbers: Sequence[int] | None = None,
) -> list[list[int] | None]:
  """Measures [height, width] of every picture of a stored source as it stands upright.

  None where it cannot be read. numbers: of the records, in order; None: all. The other arguments
  are measure_all's. Read from the headers, 0.15 ms of a core each from a local disk: a picture is
  decoded only where Pillow does not know its header.
  """
  numbers = range(len(source)) if numbers is None else [int(i) for i in numbers]
  files = [source.file(i) for i in numbers]
  measure = lambda k: list(size_of(source, numbers[k]))
  return measure_all(files, measure, "size", "reading sizes", cache, threads, progress)


def sizes_cache(cache: str | os.PathLike | None) -> pathlib.Path | None:
  """Gives the path of the cache of sizes, beside that of a scan of colours."""
  return None if cache is None else (path := pathlib.Path(cache)).with_stem(f"{path.stem}_sizes")


def size_of(source, i: int) -> tuple[int, int]:
  """Measures (height, width) of a picture as it stands upright. Raises DecodeError."""
  for read in (lambda: source.head(i, _HEAD), lambda: source.encoded(i)):
    size = _header_size(read())
    if size is not None:
      return size
  width, height = source.open(i).size
  return height, width


def _header_size(data: bytes) -> tuple[int, int] | None:
  """Reads (height, width), upright, in a picture's first bytes; None where they do not say it."""
  try:
    with Image.open(io.BytesIO(data)) as image:
      if samples.DNG_VERSION in getattr(image, "tag_v2", {}):
        return None  # it begins with a thumbnail
      width, height = image.size
      # Pillow decodes the whole of a PNG to look for its EXIF block behind the pixels; a TIFF's
      # size is upright already.
      looks = image.format != "TIFF" and (image.format != "PNG" or "exif" in image.info)
      sideways = looks and decode.upright_turn(image) in _SIDEWAYS
  except Exception:  # of a header that is cut off or unknown Pillow's plugins raise nearly any type
    return None
  return (width, height) if sideways else (height, width)


def measure_all(
  files: Sequence[File],
  measure: Callable[[int], Any],
  kind: str,
  title: str,
  cache: str | os.PathLike | None = None,
  threads: int | None = None,
  progress: bool = True,
) -> list[Any]:
  """Computes measure(i) of every file, None where it raises DecodeError.

  Args:
    files: the data set.
    measure: of the i-th file; what it returns must survive JSON.
    kind: what is measured; a cache of another kind is not used.
    title: of the progress bar.
    cache: JSON file. Entries whose size and time still hold are not read again; what was measured
      is written there atomically, also when the scan is interrupted.
    threads: readers; by default one a core. Pillow decodes outside the interpreter lock.
    progress: a bar on stderr.

  Raises:
    UserError: the cache cannot be written.
  """
  path = pathlib.Path(cache).expanduser() if cache is not None else None
  if path is not None:
    _check_writable(path)
  known = _read_cache(path, kind) if path is not None else {}
  result = {i: known[f] for i, f in enumerate(files) if f in known}
  todo = [i for i in range(len(files)) if i not in result]

  def attempt(i: int) -> Any:
    try:
      return measure(i)
    except decode.DecodeError:
      return None

  try:
    values = in_threads(attempt, todo, title, threads, progress and bool(todo))
    for i, value in zip(todo, values, strict=True):
      result[i] = value
  finally:
    if path is not None and todo:
      _write_cache(path, kind, {files[i]: value for i, value in result.items()})
  return [result[i] for i in range(len(files))]


def in_threads(
  function: Callable[[int], Any],
  numbers: Sequence[int],
  title: str,
  threads: int | None = None,
  progress: bool = True,
) -> Iterator[Any]:
  """Calls a function of each number on several threads, with a bar on stderr; results in order."""
  with (
    concurrent.futures.ThreadPoolExecutor(threads or os.cpu_count() or 1) as pool,
    tqdm.tqdm(total=len(numbers), desc=title, unit="image", disable=not progress) as bar,
  ):
    # In chunks, so that an interrupt need not wait for all of a large data set.
    for start in range(0, len(numbers), _CHUNK):
      for value in pool.map(function, numbers[start : start + _CHUNK]):
        yield value
        bar.update()


def chroma_of(source, i: int) -> float:
  """Measures the mean chroma of a picture of a stored source at reduced scale."""
  return mean_chroma(reduced(source.open(i, SHORT_SIDE)))


def _read_cache(path: pathlib.Path, kind: str) -> dict[File, Any]:
  try:
    content = json.loads(path.read_text(encoding="utf-8"))
    if (content["version"], content["kind"]) != (_CACHE_VERSION, kind):
      return {}
    return {
      File(name, size, mtime): value for name, (size, mtime, value) in content["files"].items()
    }
  except (OSError, ValueError, KeyError, TypeError, AttributeError):
    return {}  # absent or damaged: it is only a cache, the scan writes it anew


def _check_writable(path: pathlib.Path) -> None:
  if path.is_dir() or not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
    raise UserError(
      f"cannot write the scan's cache {path}; give a file in a local folder that exists and is "
      "writable"
    )


def _write_cache(path: pathlib.Path, kind: str, values: dict[File, Any]) -> None:
  content = {
    "version": _CACHE_VERSION,
    "kind": kind,
    "files": {f.name: [f.size, f.mtime_ns, value] for f, value in values.items()},
  }
  temporary = None
  try:
    # json escapes surrogates, so odd file names survive.
    with tempfile.NamedTemporaryFile(
      "w", encoding="utf-8", dir=path.parent, prefix=".scan-", delete=False
    ) as file:
      temporary = file.name
      json.dump(content, file)
    os.replace(temporary, path)
  except OSError as error:
    if temporary is not None:
      pathlib.Path(temporary).unlink(missing_ok=True)
    raise UserError(
      f"cannot write the scan's cache {path} ({error.strerror or error}); "
      "free space or give another file"
    ) from error
