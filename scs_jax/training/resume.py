"""Going on with a run: whose folder it is, and what changed since its checkpoint."""

import math
import os
import pathlib
from collections.abc import Mapping
from typing import Any

from scs_jax.core import config as configs
from scs_jax.core import resolve
from scs_jax.core.overrides import flatten
from scs_jax.core.rules import NO_EFFECT
from scs_jax.errors import UserError
from scs_jax.training.checkpoint_folder import (
  EARLIER,
  FOLDER,
  absolute,
  engine_defaults,
  missing_earlier,
  read_config,
  read_stored,
  whole_steps,
)


def require_ours(workdir: pathlib.Path) -> None:
  """Refuses a folder in which another program's files bear the names of ours.

  Raises:
    UserError: a config.json that no run wrote, or a metrics.jsonl without one.
    OSError: it cannot be read.
  """
  path = workdir / "config.json"
  name = "config.json"
  try:
    configs.from_json(path.read_text(encoding="utf-8")).method.name  # noqa: B018
    return
  except FileNotFoundError:
    if not (workdir / "metrics.jsonl").exists():
      return
    name = "metrics.jsonl"
  except NotADirectoryError:
    return  # said better by who makes the folder
  except (ValueError, AttributeError, UserError):
    pass
  raise UserError(
    f"{workdir / name} is not of a run of scs_jax and would be overwritten; choose another "
    "--workdir, or move it away"
  )


def has_begun(workdir: str | os.PathLike[str]) -> bool:
  """Tells whether a run in the folder has a checkpoint to go on from."""
  return bool(whole_steps(absolute(workdir) / FOLDER))


def keep_earlier(workdir: str | os.PathLike[str], config) -> list[str]:
  """Gives a config what the run in a folder, if any, was begun with before there was a key for it.

  Of the method's keys (`EARLIER`), since a network of the same parameters may differ by them, and
  of those that say which pictures a training sees. Call it before the method is built.

  Returns:
    One line for each key whose value was changed.
  """
  steps = whole_steps(absolute(workdir) / FOLDER)
  if not steps:
    return []
  stored, now = read_stored(workdir, steps[-1]), flatten(config)
  earlier = {p: v for p, v in _of_method(config).items() if p not in flatten(stored)}
  earlier |= missing_earlier(stored)
  changed = [p for p, value in earlier.items() if now.get(p, value) != value]
  with config.unlocked():
    config.update_from_flattened_dict({path: earlier[path] for path in changed})
  return [
    f"config.{path} stays {earlier[path]!r}, as the run in {workdir} was begun; a run in another "
    f"--workdir has {now[path]!r}"
    for path in changed
  ]


def earlier_values(config) -> dict[str, Any]:
  """Returns {key: value} of a config, older ones' missing keys as they were trained."""
  known = flatten(engine_defaults(config)) | EARLIER | _of_method(config)
  return {path: value for path, value in known.items() if path in flatten(config)}


def _of_method(config) -> Mapping[str, Any]:
  return resolve.resolve(config.method.name).EARLIER


def differences(workdir: pathlib.Path, config, step: int) -> list[str]:
  """Lists where the config of the run's checkpoint and this one differ, a line each.

  Raises:
    UserError: the checkpoint is another method's.
  """
  old = read_config(workdir, step)
  if old.method.name != config.method.name:
    raise UserError(
      f"{workdir} holds a run of method {old.method.name!r}, the config asks for "
      f"{config.method.name!r}; choose another --workdir"
    )
  resolve.complete(old)
  written = flatten(read_stored(workdir, step))
  return [
    f"config.{path} was {a!r} in the checkpoint, now {b!r}"
    for path, a, b in configs.difference(old, config)
    # What neither of the two has was filled in by reading.
    if not path.startswith((*NO_EFFECT, "evaluate."))
    and (path in written or b is not configs.ABSENT)
  ]


def position(step: int, best: float, metric: str, identity: Mapping) -> dict:
  """Makes what is written beside a checkpoint; `best` is the best score of `metric`, or -inf."""
  best_score = best if math.isfinite(best) else None
  return {"step": step, "best": best_score, "best_metric": metric, **identity}


def best_so_far(position: Mapping, metric: str, identity: Mapping) -> float:
  """Returns a position's best score of `metric`, on the same held-out pictures; else -inf."""
  best = position.get("best")
  now = {"best_metric": metric, "heldout": identity.get("heldout")}
  same = all(position.get(name) == value for name, value in now.items())
  return best if best is not None and same else -math.inf


def moved(position: Mapping, identity: Mapping) -> list[str]:
  """Tells how the data differ from the checkpoint's, a line for trained and for held-out ones."""
  changed = [
    f"{name} {position[name]} -> {value}"
    for name, value in identity.items()
    if position.get(name, value) != value and name != "heldout"
  ]
  lines = []
  if changed:
    lines.append(f"the training data changed since the checkpoint ({', '.join(changed)})")
  if position.get("best") is not None and position.get("heldout") != identity.get("heldout"):
    lines.append(
      "other held-out pictures than those of the checkpoint: the best so far does not count"
    )
  return lines
