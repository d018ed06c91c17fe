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


def size_text(size: float) -> str:
  """Bytes, as 12.3 MB."""
  for unit in ("bytes", "kB", "MB", "GB"):
    if size < 1000:
      return f"{size:.3g} {unit}" if unit != "bytes" else f"{size:.0f} bytes"
    size /= 1000
  return f"{size:,.1f} TB"
