"""What the verbs of `scs-jax data` have in common: types of flags, and opening what is checked."""

import argparse
import math
import re


def count(text: str) -> int:
  """A whole number of 1 or more."""
  if not re.fullmatch(r"\d{1,9}", text, re.ASCII) or not int(text):
    raise argparse.ArgumentTypeError(f"expected a whole number from 1 on; got {text!r}")
  return int(text)


def amount(text: str) -> float:
  """A number of 0 or more."""
  try:
    value = float(text)
  except ValueError:
    value = math.nan
  if not 0 <= value < math.inf:  # so that nan is refused as well
    raise argparse.ArgumentTypeError(f"expected a number from 0 on; got {text!r}")
  return value


def add_common(parser) -> None:
  """Adds `--threads` and `--quiet`."""
  parser.add_argument(
    "--threads", type=count, metavar="N", help="readers at once; default: one a core"
  )
  parser.add_argument("--quiet", action="store_true", help="no progress bar")


def open_pictures(spec: str):
  """A stored source of a spec that is not empty.

  Raises:
    UserError: there is no such data set.
  """
  from scs_jax.data import sources
  from scs_jax.errors import UserError

  if not spec:  # as of an unset variable; a path would take it for the current folder
    raise UserError("the data set is empty text: expected a folder, a list or another spec")
  return sources.open_source(spec)


def require_place(paths: list[str], overwrite: bool) -> None:
  """Before work: whether files can stand at these paths, of one folder, here or in a bucket.

  Raises:
    UserError: no such folder, or one of them is there and is not to be replaced.
  """
  from scs_jax.data import remote
  from scs_jax.errors import UserError

  place, _ = remote.split(paths[0])
  try:
    if not place.remote and not place.exists():
      raise UserError(f"no folder {place.root} for the list; make it, or give another --out")
    there = [path for path in paths if remote.split(path)[0].exists(remote.split(path)[1])]
  except OSError as error:
    raise UserError(f"cannot look into {place.root} ({error}); check the address") from error
  if there and not overwrite:
    raise UserError(f"{', '.join(there)}: there already; give another --out, or --overwrite")


def write(path: str, content: bytes) -> None:
  """Writes a file, here or in a bucket, whole or not at all.

  Raises:
    UserError: a bucket refuses. OSError: a disk does.
  """
  from scs_jax.data import remote
  from scs_jax.errors import UserError

  place, name = remote.split(path)
  try:
    place.write(name, content)
  except OSError as error:
    if not place.remote:
      raise
    raise UserError(f"cannot write {path} ({error}); check the address and your login") from error


def size_text(size: float) -> str:
  """Bytes, as 12.3 MB."""
  for unit in ("bytes", "kB", "MB", "GB"):
    if size < 1000:
      return f"{size:.3g} {unit}" if unit != "bytes" else f"{size:.0f} bytes"
    size /= 1000
  return f"{size:,.1f} TB"
