"""Configs: found by short name or path, changed from the command line, checked, written down.

A config is a Python file with `get_config()` that returns a locked `ConfigDict`. The project's own
live in `configs/` of the source tree and ship inside the package as `scs_jax.configs`; both are
reached by the same short names (`scsnet/paper`). A user's own file may start from one:

    from scs_jax.core import config

    def get_config():
      c = config.load("scsnet/small")
      c.optimizer.learning_rate = 3e-4
      return c
"""

import hashlib
import importlib
import importlib.util
import json
import math
import pathlib
import re
import sys
from types import ModuleType
from typing import Any

from ml_collections import ConfigDict, FieldReference

from scs_jax.core import spelling
from scs_jax.core.overrides import apply_overrides, flatten
from scs_jax.core.rules import (
  ENGINE_RULES,
  AtLeast,
  Between,
  Each,
  MultipleOf,
  OneOf,
  Optional,
  Positive,
  Rule,
  engine_rules,
  validate,
)
from scs_jax.errors import UserError

__all__ = [
  "ABSENT",
  "ENGINE_RULES",
  "AtLeast",
  "Between",
  "Each",
  "MultipleOf",
  "OneOf",
  "Optional",
  "Positive",
  "Rule",
  "apply_overrides",
  "difference",
  "engine_rules",
  "fingerprint",
  "flatten",
  "from_json",
  "list_configs",
  "load",
  "to_json",
  "validate",
]

_PACKAGE = "scs_jax.configs"
_GET_CONFIG = re.compile(r"^def get_config\(", re.MULTILINE)  # a file with it is a config


def _configs() -> ModuleType:
  """Returns the package `scs_jax.configs`; in a source tree not installed, `configs/` under it."""
  try:
    return importlib.import_module(_PACKAGE)
  except ModuleNotFoundError as err:
    if err.name != _PACKAGE:
      raise
  folder = pathlib.Path(__file__).resolve().parents[2] / "configs"
  init = folder / "__init__.py"
  if not init.is_file():
    raise UserError(
      f"the package's configs are missing (neither {_PACKAGE} nor {folder}); install scs_jax again"
    )
  spec = importlib.util.spec_from_file_location(
    _PACKAGE, init, submodule_search_locations=[str(folder)]
  )
  assert spec is not None and spec.loader is not None
  module = importlib.util.module_from_spec(spec)
  sys.modules[_PACKAGE] = module
  spec.loader.exec_module(module)
  sys.modules["scs_jax"].configs = module  # as an import would: `from scs_jax import configs`
  return module


def _modules() -> dict[str, pathlib.Path]:
  """Returns {short name: file} of every config that ships with the package, `common` included."""
  found = {}
  for folder in map(pathlib.Path, _configs().__path__):
    for path in folder.rglob("*.py"):
      if not path.name.startswith("_") and _GET_CONFIG.search(path.read_text(encoding="utf-8")):
        found[path.relative_to(folder).with_suffix("").as_posix()] = path
  return found


def list_configs() -> list[str]:
  """Lists the short names of the configs that can be run, sorted: ["scsnet/paper", ...]."""
  return sorted(name for name in _modules() if name != "common")


def _file_module(path: pathlib.Path) -> ModuleType:
  """Runs a user's config file as a module of its own name, so that it shadows nothing."""
  for name, known in _modules().items():  # one of ours, given as a path: it uses relative imports
    if known.resolve() == path.resolve():
      return importlib.import_module(f"{_PACKAGE}.{name.replace('/', '.')}")
  name = f"_scs_jax_config_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]}"
  spec = importlib.util.spec_from_file_location(name, path)
  assert spec is not None and spec.loader is not None
  module = importlib.util.module_from_spec(spec)
  sys.modules[name] = module  # dataclasses and the like look themselves up there
  spec.loader.exec_module(module)
  return module


def _from_file(path: pathlib.Path) -> ConfigDict:
  if not path.is_file():
    raise UserError(f"config file {path}: no such file; give a .py file with get_config(), or one "
                    f"of {', '.join(list_configs()) or 'the package configs'}")
  try:
    module = _file_module(path)
    get_config = getattr(module, "get_config", None)
    config = get_config() if callable(get_config) else None
  except UserError:
    raise
  except Exception as err:
    advice = ""
    if isinstance(err, ImportError) and "relative import" in str(err):
      advice = "; write `from scs_jax.configs import common` instead"
    raise UserError(
      f"config file {path}: {type(err).__name__}: {err}{advice} (--debug shows where)"
    ) from err
  if get_config is None:
    raise UserError(f"config file {path}: no get_config(); add one that returns a ConfigDict")
  if not isinstance(config, ConfigDict):
    raise UserError(
      f"config file {path}: get_config() returned {type(config).__name__}, expected a ConfigDict"
    )
  return config


def load(name_or_path: str) -> ConfigDict:
  """Loads the config of a short name (`scsnet/paper`) or of a path ending in `.py`, locked.

  A path's file may import this module and start from another config.

  Raises:
    UserError: no such name (names the nearest) or file, or a file that is no config.
  """
  if name_or_path.endswith(".py"):
    return _from_file(pathlib.Path(name_or_path).expanduser()).lock()
  if name_or_path not in _modules():
    advice = spelling.hint(name_or_path, list_configs())
    if pathlib.Path(name_or_path + ".py").is_file():
      advice = f"did you mean the file {name_or_path}.py?"
    raise UserError(f"no config is called {name_or_path!r}; {advice}")
  module = importlib.import_module(f"{_PACKAGE}.{name_or_path.replace('/', '.')}")
  return module.get_config().lock()


# Written form. JSON has no tuples, no typed None and no infinities: an array is a tuple, and what
# else JSON lacks is an object with one key that starts with "$", which no config key does.
_OPTIONAL_TYPES = {kind.__name__: kind for kind in (bool, int, float, str, tuple, list)}


def _encode(value: Any, path: str) -> Any:
  if isinstance(value, ConfigDict):
    items = value.items(preserve_field_references=True)
    return {key: _encode(item, f"{path}.{key}") for key, item in sorted(items)}
  if isinstance(value, FieldReference):
    kind = getattr(value.get_type(), "__name__", "")
    encoded = _encode(value.get(), path)
    return {"$optional": kind, "value": encoded} if kind in _OPTIONAL_TYPES else encoded
  if value is None or isinstance(value, bool | int | str):
    return value
  if isinstance(value, float):
    return value if math.isfinite(value) else {"$float": repr(value)}
  if isinstance(value, tuple):
    return [_encode(element, path) for element in value]
  if isinstance(value, list):
    return {"$list": [_encode(element, path) for element in value]}
  raise UserError(
    f"{path} holds a {type(value).__name__}, which cannot be written down; "
    "use numbers, strings, bools, None, tuples and sections of them"
  )


def _decode(value: Any) -> Any:
  if isinstance(value, list):
    return tuple(map(_decode, value))
  if not isinstance(value, dict):
    return value
  if "$float" in value:
    return float(value["$float"])
  if "$list" in value:
    return list(map(_decode, value["$list"]))
  if "$optional" in value:
    kind = _OPTIONAL_TYPES[value["$optional"]]
    return FieldReference(_decode(value["value"]), field_type=kind)
  section = ConfigDict()
  for key, item in value.items():
    section[key] = _decode(item)
  return section


def to_json(config: ConfigDict) -> str:
  """Writes the config as JSON text, keys sorted; `from_json` gives back equal values and types.

  Floats are exact, tuples stay tuples, a placeholder keeps its type. References between keys are
  written as their values.
  """
  return json.dumps(_encode(config, "config"), indent=2, allow_nan=False) + "\n"


def from_json(text: str) -> ConfigDict:
  """Reads the locked config that `to_json` wrote.

  Raises:
    UserError: the text is not such a config.
  """
  try:
    config = _decode(json.loads(text))
  except (ValueError, KeyError, TypeError) as err:
    raise UserError(f"the stored config cannot be read ({err}); the file is not whole") from err
  if not isinstance(config, ConfigDict):
    raise UserError("the stored config cannot be read (it is no JSON object)")
  return config.lock()


def fingerprint(config: ConfigDict) -> str:
  """Returns 12 hex digits of the written form's SHA-256: equal configs, equal fingerprints."""
  return hashlib.sha256(to_json(config).encode()).hexdigest()[:12]


class _Absent:
  """Stands in `difference` for the value of a key that one side lacks."""

  def __repr__(self) -> str:
    return "(absent)"


ABSENT = _Absent()


def _same(a: Any, b: Any) -> bool:
  """Tells whether two are equal in value and type; NaN equals NaN."""
  if type(a) is not type(b):
    return False
  if isinstance(a, tuple | list):
    return len(a) == len(b) and all(map(_same, a, b))
  return a == b or (isinstance(a, float) and math.isnan(a) and math.isnan(b))


def difference(a: ConfigDict, b: ConfigDict) -> list[tuple[str, Any, Any]]:
  """Lists (dotted path, value in a, value in b) of every leaf that differs, sorted; or `ABSENT`."""
  left, right = flatten(a), flatten(b)
  return [
    (path, left.get(path, ABSENT), right.get(path, ABSENT))
    for path in sorted(left.keys() | right.keys())
    if not _same(left.get(path, ABSENT), right.get(path, ABSENT))
  ]
