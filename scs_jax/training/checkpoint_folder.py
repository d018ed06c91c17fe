"""Checkpoint folders as they lie on disk: found, judged whole or not, and read as text.

The layout stands in checkpoint.py; nothing here reads or writes an array.
"""

import errno
import json
import os
from collections.abc import Sequence
from typing import Any

import jax
from etils import epath
from ml_collections import ConfigDict

from scs_jax.core import config as config_lib
from scs_jax.core.overrides import flatten
from scs_jax.errors import UserError
from scs_jax.training import checksums

FOLDER = "checkpoints"
ARRAYS = ("weights", "training")
JSON_ITEMS = ("data", "config", "about")
REMOVED = "removed"  # old steps are renamed into it, then deleted: never half there by number
UNFINISHED = "orbax-checkpoint-tmp"
WHAT_TO_GIVE = f"give a run's folder, its {FOLDER}/ folder or one numbered folder in there"
_AGAIN = "and run the same command again"
_ADVICE = {
  errno.ENOSPC: f"free space {_AGAIN}",
  errno.EDQUOT: f"free space {_AGAIN}",
  errno.EACCES: f"make the folder writable {_AGAIN}",
  errno.EPERM: f"make the folder writable {_AGAIN}",
  errno.EROFS: "choose another working folder",
  errno.ENOTDIR: "choose another working folder",
  errno.EEXIST: "choose another working folder",
}


def find_checkpoint(
  path: str | os.PathLike[str], which: str | int = "last"
) -> tuple[epath.Path, int]:
  """Finds (folder of checkpoints, step) of a run, its checkpoints/ or one numbered folder.

  Args:
    path: where to look; a numbered folder decides the step itself.
    which: "last", "best" (the last where no save was given a metric) or a step.

  Raises:
    UserError: missing, a file, nothing of ours in it, half-written, no such step.
  """
  folder = absolute(path)
  if not folder.exists():
    raise UserError(f"no checkpoint at {folder}: no such folder; {WHAT_TO_GIVE}")
  if not folder.is_dir():
    raise UserError(f"{folder} is a file, expected a folder; {WHAT_TO_GIVE}")
  if (folder / FOLDER).is_dir():
    folder = folder / FOLDER
  elif _is_step(folder):
    _require_whole(folder)
    return folder.parent, int(folder.name)
  steps = whole_steps(folder)
  if isinstance(which, int) and (folder / str(which)).is_dir():
    _require_whole(folder / str(which))
  if not steps:
    raise _nothing_in(folder)
  if which == "best":
    best = find_best(folder)
    return folder, steps[-1] if best is None else best
  if which != "last" and which not in steps:
    raise UserError(
      f"{folder} has no checkpoint of step {which}; it has {', '.join(map(str, steps))}"
    )
  return folder, steps[-1] if which == "last" else int(which)


def read_config(folder: str | os.PathLike[str], step: int | None = None) -> ConfigDict:
  """Reads the resolved config of a checkpoint, locked; the last one's by default.

  Raises:
    UserError: as `find_checkpoint`.
  """
  root, step = find_checkpoint(folder, "last" if step is None else step)
  return parse_config(read_json(root / str(step), "config"))


def parse_config(stored: dict) -> ConfigDict:
  """Parses a stored config, locked.

  Keys of the engine's that came after it was written have the values under which what it describes
  is what it was: those of EARLIER, else their defaults.

  Raises:
    UserError: it is no config.
  """
  config = config_lib.from_json(json.dumps(stored))
  if "parallel" in config:  # made from configs/common.py
    with config.unlocked():
      config.update_from_flattened_dict(missing_earlier(config))
      _complete(config, engine_defaults(config))
  return config


EARLIER = {"data.enlarge": True, "data.resample_on": "host"}
"""Keys of photos' data that came after the first runs, and the values as which those ran."""


def missing_earlier(config: ConfigDict) -> dict[str, Any]:
  """Selects those of EARLIER that a config of photos lacks."""
  return {k: v for k, v in EARLIER.items() if _of_photos(config) and k not in flatten(config)}


def engine_defaults(config: ConfigDict) -> ConfigDict:
  """Defaults of the keys that all configs of this one's kind share: those of pairs have a section
  `data` of their own."""
  defaults = config_lib.load("common")
  if not _of_photos(config):
    with defaults.unlocked():
      del defaults.data
  return defaults


def _of_photos(config: ConfigDict) -> bool:
  return "data" in config and config.data.get("kind", "photos") == "photos"


def read_stored(folder: str | os.PathLike[str], step: int) -> ConfigDict:
  """Reads the config of a checkpoint just as it was written."""
  root, step = find_checkpoint(folder, step)
  return config_lib.from_json(json.dumps(read_json(root / str(step), "config")))


def _complete(config: ConfigDict, defaults: ConfigDict) -> None:
  for name, value in defaults.items():
    if name not in config:
      config[name] = value
    elif isinstance(value, ConfigDict):
      _complete(config[name], value)


def absolute(path: str | os.PathLike[str]) -> epath.Path:
  """Returns the path from the root on, ~ replaced; an address such as gs://... as it is."""
  text = os.fspath(path)
  return epath.Path(text if "://" in text else os.path.abspath(os.path.expanduser(text)))


def children(folder: epath.Path) -> list[epath.Path]:
  """Lists what is in a folder, by name; nothing where there is none."""
  return sorted(folder.iterdir(), key=lambda child: child.name) if folder.is_dir() else []


def missing_items(folder: epath.Path) -> list[str]:
  """Lists the items that a step's folder lacks; none where it is whole."""
  return [item for item in ARRAYS + JSON_ITEMS if not (folder / item).is_dir()]


def _is_step(folder: epath.Path) -> bool:
  """Tells whether a folder is one step, whole or not, rather than one of steps or of others."""
  if UNFINISHED in folder.name:
    return True
  there = {*ARRAYS, *JSON_ITEMS}.difference(missing_items(folder))
  return bool(there) if folder.name.isdigit() else {"weights", "about"} <= there


def whole_steps(root: epath.Path) -> list[int]:
  """Numbers of the whole checkpoints in a folder of checkpoints, ascending."""
  numbered = (child for child in children(root) if child.name.isdigit())
  return sorted(int(child.name) for child in numbered if not missing_items(child))


def _require_whole(folder: epath.Path) -> None:
  missing = missing_items(folder)
  if folder.name.isdigit() and not missing:
    return
  others = [step for step in whole_steps(folder.parent) if str(step) != folder.name]
  advice = f"use step {others[-1]} beside it" if others else "there is no other beside it"
  if UNFINISHED in folder.name or missing:
    detail = f" (no {', '.join(missing)})" if missing else ""
    raise UserError(f"{folder} is a half-written checkpoint{detail}; {advice}")
  raise UserError(
    f"{folder} is a checkpoint under another name; name the folder by its step, "
    f"{read_json(folder, 'about')['step']}"
  )


def _nothing_in(root: epath.Path) -> UserError:
  names = [child.name for child in children(root) if child.name != REMOVED]
  unfinished = [name for name in names if UNFINISHED in name]
  if unfinished:
    return UserError(
      f"{root} holds only a half-written checkpoint ({unfinished[0]}); the run that wrote it has "
      "not completed one: run it (again) first"
    )
  if not names:
    return UserError(f"{root} is empty: no checkpoint has been written yet; {WHAT_TO_GIVE}")
  found = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
  return UserError(f"{root} holds no checkpoint of scs_jax, but {found}; {WHAT_TO_GIVE}")


def require_writable(directory: epath.Path) -> None:
  """Makes the folder, writes and removes a file in it, and refuses numbered folders of others."""
  probe = directory / f".writable-{jax.process_index()}"
  try:
    directory.mkdir(parents=True, exist_ok=True)
    probe.write_text("")
    probe.unlink()
  except OSError as error:
    reason, advice = explain(error)
    raise UserError(f"cannot write checkpoints to {directory}: {reason}; {advice}") from error
  for child in children(directory):
    # Ours are renamed whole, so this is a damaged copy or another program's, not ours to delete.
    if child.name.isdigit() and (missing := missing_items(child)):
      raise UserError(
        f"{child} is not a whole checkpoint of scs_jax (no {', '.join(missing)}); move it away or "
        "choose another working folder"
      )


def find_best(root: epath.Path, metric: str | None = None) -> int | None:
  """Finds the best step by `metric`, or by the one that the newest scored step names."""
  scored = []
  for step in reversed(whole_steps(root)):
    score = read_json(root / str(step), "about")["score"]
    if score is None:
      continue
    metric = metric or score["name"]
    if score["name"] == metric:
      scored.append((score["value"] if score["mode"] == "max" else -score["value"], step))
  return max(scored)[1] if scored else None


def read_json(folder: epath.Path, item: str) -> dict:
  """Reads one of a step's texts. UserError where that fails, or it is not what was written."""
  if changes := checksums.find_changes(folder, [item]):
    raise damaged(folder, changes)
  try:
    return json.loads((folder / item / f"{item}.json").read_text())
  except (OSError, ValueError) as error:
    what = f"{item}/{item}.json cannot be read ({explain(error)[0]})"
    raise damaged(folder, [what]) from error


def damaged(folder: epath.Path, changes: Sequence[str]) -> UserError:
  """Makes the error for a step's folder that is not what was written, with what can be done."""
  more = f", and {len(changes) - 1} more" if len(changes) > 1 else ""
  others = [step for step in whole_steps(folder.parent) if str(step) != folder.name]
  advice = "there is no other step beside it"
  if others:
    advice = (
      f"or use step {others[-1]} (--step {others[-1]}; a training goes on from there once "
      f"{folder.name} is moved away)"
    )
  return UserError(f"{folder} is damaged: {changes[0]}{more}; copy it again; {advice}")


def explain(error: BaseException) -> tuple[str, str]:
  """Returns (the system's words, what to do); array libraries give the error as text only."""
  link: BaseException | None = error
  while link is not None:
    code = link.errno if isinstance(link, OSError) else None
    for known in _ADVICE:
      if code == known or os.strerror(known) in str(link):
        return os.strerror(known), _ADVICE[known]
    link = link.__cause__ or link.__context__
  while error.__cause__ is not None:  # what others were raised from says more than they do
    error = error.__cause__
  # TensorStore says in brackets where in its source it is.
  first = str(error).strip().split("\n")[0].partition(" [")[0][:200] or "no reason given"
  return f"{type(error).__name__}: {first}", f"mend that {_AGAIN}"
