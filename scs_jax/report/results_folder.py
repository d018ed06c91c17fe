"""A folder of results, here or in a bucket: whose files are there, and may they be replaced?"""

import hashlib
import json
import os
import signal
from collections.abc import Mapping, Sequence

from scs_jax.core import failures, stop
from scs_jax.data import location, remote
from scs_jax.errors import UserError

_NAMED = 4  # settings that are named where results are of others
RESULTS = "results.json"


def identify(decides: Mapping) -> dict:
  """Says what decides the figures, with its SHA-256: as results.json keeps it."""
  text = json.dumps(decides, sort_keys=True)
  return {"sha256": hashlib.sha256(text.encode()).hexdigest(), **decides}


def require_free(
  folder: str | os.PathLike, identity: Mapping, files: Sequence[str], form: str, verb: str
) -> None:
  """Refuses a folder with files of these names that are not earlier results of the same settings.

  Args:
    folder: it need not exist.
    identity: as `identify` gives it.
    files: names that results would be written under; form, verb: of results.json, its format and
      what writes it.

  Raises:
    UserError: says what is there, or which settings differ; a bucket cannot be read.
  """
  with remote.reaching(folder):
    place = remote.Place(folder)
    there = [name for name in files if place.exists(name)]
    if not there:
      return
    earlier = _read(place, form.rstrip("0123456789"))
  if earlier is None:
    raise UserError(
      f"{folder} holds {' and '.join(there)} that scs-jax {verb} did not write; give another "
      "--out, or --overwrite to replace them"
    )
  before = earlier.get("identity")
  if not isinstance(before, Mapping) or before.get("sha256") != identity["sha256"]:
    raise UserError(
      f"{folder} holds results of other settings ({_differences(before, identity)}); give another "
      "--out, or --overwrite to replace them"
    )


def claim(
  folder: str | os.PathLike, identity: Mapping, files: Sequence[str], form: str, verb: str
) -> None:
  """Makes the folder of the results, or refuses it, before anything is measured.

  Args:
    folder, identity, form, verb: as of require_free; files: too; none: whatever is there may be
      replaced.

  Raises:
    UserError: as require_free, or no folder can be made there, or a bucket cannot be written to.
  """
  require_free(folder, identity, files, form, verb)
  try:
    remote.Place(folder).make()
  except OSError as error:
    raise UserError(f"--out {folder}: {failures.explain(error) or error}") from error


def _read(place: remote.Place, start: str) -> dict | None:
  """Reads an earlier result; None where it is none. Raises OSError where that cannot be told."""
  try:
    found = json.loads(place.read(RESULTS))
  except (FileNotFoundError, ValueError):
    return None
  ours = isinstance(found, dict) and str(found.get("format", "")).startswith(start)
  return found if ours else None


def _differences(before, now: Mapping) -> str:
  if not isinstance(before, Mapping):
    return "of another version of scs_jax"
  before, now = _flat(before), _flat(now)
  names = [name for name in {**now, **before} if before.get(name) != now.get(name)]
  named = [f"{name} {_short(before.get(name))}, now {_short(now.get(name))}" for name in names]
  more = [f"and {len(named) - _NAMED} more"] if len(named) > _NAMED else []
  return ", ".join(named[:_NAMED] + more)


def _flat(decides: Mapping, start: str = "") -> dict:
  """Returns {"rows.mine.width": value}: what decides, mappings taken apart; without the SHA-256."""
  flat = {}
  for name, value in decides.items():
    if isinstance(value, Mapping) and value:
      flat |= _flat(value, f"{start}{name}.")
    elif name != "sha256" or start:
      flat[f"{start}{name}"] = value
  return flat


def _short(value) -> str:
  if value is None:
    return "none"
  text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
  return text if len(text) <= 40 else f"{text[:12]}..."


def write(folder: str | os.PathLike, contents: Mapping[str, bytes]) -> None:
  """Writes files by name, each whole or not at all; SIGTERM has its way after the last.

  In their order: results.json goes first, so that what stands beside it is then known as ours.
  """
  with stop.raising_flag() as stopped:
    for name, content in contents.items():
      location.write(remote.join(folder, name), content)
  if stopped:
    signal.raise_signal(signal.SIGTERM)
