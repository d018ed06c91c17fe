"""Lists of pictures: text files, one path a line, that stand for a folder in --data LIST.txt.

  # root: /data/imagenet/train
  n01440764/n01440764_10026.JPEG

Paths are relative to the root, and that is relative to the list's own folder, which it is where no
line tells it. Other lines that begin with # are comments; ./#name is how a name with # is written.
"""

import concurrent.futures
import os
from collections.abc import Iterable, Sequence

from scs_jax.data import remote, scan
from scs_jax.errors import UserError

SUFFIX = ".txt"
ROOT = "# root:"


def read(path: str | os.PathLike) -> tuple[str, list[str]]:
  """Reads (root, names) of a list.

  Raises:
    UserError: it cannot be read, is no text, names nothing, or one picture twice.
  """
  address = os.fspath(path)
  place, file = remote.split(address)
  try:
    raw = place.read(file)
  except OSError as error:
    hint = "give a folder, or a list as `scs-jax data select` writes it"
    cause = error.strerror or error
    raise UserError(f"cannot read the list {address} ({cause}); {hint}") from error
  if b"\0" in raw:
    raise UserError(f"{address} is no list of pictures: expected text, one path a line")
  root, names = place.root, []
  for line in raw.decode("utf-8", "surrogateescape").splitlines():
    if line.startswith(ROOT):
      named = os.path.expanduser(line[len(ROOT) :].strip())
      # A list in a bucket may be of local files.
      root = named if remote.is_remote(named) or os.path.isabs(named) else place.full(named)
    elif line.strip() and not line.startswith("#"):
      names.append(line.removeprefix("./"))
  if not names:
    raise UserError(f"the list {address} names no pictures: expected one path a line")
  if len(set(names)) < len(names):
    seen: set[str] = set()
    twice = next(name for name in names if name in seen or seen.add(name))
    raise UserError(f"the list {address} names {twice} twice; remove one of the lines")
  return root, names


def text(root: str | os.PathLike, names: Iterable[str], comments: Iterable[str] = ()) -> bytes:
  """Writes a list's content.

  Raises:
    UserError: a name with a line break in it, which a list cannot hold.
  """
  where = os.fspath(root)
  where = where if remote.is_remote(where) else os.path.abspath(where)
  lines = [*(f"# {comment}" for comment in comments), f"{ROOT} {where}"]
  for name in names:
    if len(name.splitlines()) != 1:
      raise UserError(f"{name!r} has a line break in its name, which no list can hold; rename it")
    lines.append(f"./{name}" if name.startswith("#") else name)
  return ("\n".join(lines) + "\n").encode("utf-8", "surrogateescape")


def stat_all(root: str, names: Sequence[str]) -> tuple[list[scan.File], list[str]]:
  """Splits names into (those that are there, those that are not).

  Raises:
    UserError: a remote folder cannot be listed.
  """
  if remote.is_remote(root):
    try:
      found = remote.Place(root).sizes()
    except OSError as error:
      raise UserError(f"cannot list {root} ({error}); check the address and your login") from error
    missing = [name for name in names if name not in found]
    return [scan.File(name, *found[name]) for name in names if name in found], missing

  def look(name: str) -> scan.File | None:
    try:
      stat = os.stat(os.path.join(root, name))
    except OSError:
      return None
    return scan.File(name, stat.st_size, stat.st_mtime_ns)

  with concurrent.futures.ThreadPoolExecutor(8) as pool:  # a network disk answers slowly
    looked = list(pool.map(look, names))
  missing = [name for name, file in zip(names, looked, strict=True) if file is None]
  return [file for file in looked if file is not None], missing


def stem_of(path: str | os.PathLike) -> str:
  """Returns the path or address of a list without its ending, which must be .txt.

  Raises:
    UserError: another ending, by which it would not be known for a list.
  """
  address = os.fspath(path)
  address = address if remote.is_remote(address) else os.path.expanduser(address)
  stem = address.removesuffix(SUFFIX)
  if stem == address or not stem or stem.endswith(("/", os.sep)):
    raise UserError(f"{address}: a list's name ends in {SUFFIX}; write --out {address}{SUFFIX}")
  return stem
