"""Config values from the command line: `--config.optimizer.learning_rate=3e-4`, typed.

The type is the default's: a float takes an int or 3e-4, a bool true/false/1/0, a tuple `2,2` or
`(2,2)` of any length with the default's element type; a key that holds a placeholder or None also
takes `none`.
"""

import ast
import copy
from collections.abc import Sequence
from typing import Any

from ml_collections import ConfigDict, FieldReference

from scs_jax.core import spelling
from scs_jax.errors import UserError

_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


def flatten(config: ConfigDict, prefix: str = "") -> dict[str, Any]:
  """Lists {dotted path: value} of every leaf, sorted; an empty section has none."""
  leaves: dict[str, Any] = {}
  for key, value in sorted(config.items()):
    if isinstance(value, ConfigDict):
      leaves.update(flatten(value, f"{prefix}{key}."))
    else:
      leaves[f"{prefix}{key}"] = value
  return leaves


def _literal(text: str) -> Any:
  """Parses a value of unknown type: a Python literal, true/false/none, else the text itself."""
  word = text.strip().lower()
  if word in ("true", "false"):
    return word == "true"
  if word == "none":
    return None
  try:
    return ast.literal_eval(text.strip())
  except (ValueError, SyntaxError):
    return text


def _parse_elements(text: str, kind: type, present: Any) -> Any:
  """Parses a tuple or list; element types follow the present elements, their number is free."""
  kinds = {type(element) for element in present or ()}
  if any(issubclass(k, tuple | list) for k in kinds):
    value = ast.literal_eval(text.strip())
    if not all(type(element) in kinds for element in value):
      raise ValueError(text)
    return kind(value)
  inner = text.strip()
  if inner[:1] + inner[-1:] in ("()", "[]"):
    inner = inner[1:-1].strip()
  if kinds == {int, float}:
    kinds = {float}
  parts = [part.strip() for part in inner.split(",")]
  if parts[-1] == "":  # "" and "2," both end in nothing
    parts.pop()
  if len(kinds) != 1:
    return kind(map(_literal, parts))
  element_kind = kinds.pop()
  return kind(parse_value(part.strip("'\""), element_kind) for part in parts)


def parse_value(text: str, kind: type, present: Any = None) -> Any:
  """Parses `text` as a value of type `kind`; `present` gives the element types of a tuple.

  Raises:
    ValueError: the text is no such value.
  """
  if kind is bool:
    if text.strip().lower() not in _BOOLEANS:
      raise ValueError(text)
    return _BOOLEANS[text.strip().lower()]
  if kind is int:
    return int(text)
  if kind is float:
    return float(text)
  if kind is str:
    return text
  if issubclass(kind, tuple | list):
    try:
      return _parse_elements(text, kind, present)
    except (SyntaxError, TypeError) as err:
      raise ValueError(text) from err
  if kind is type(None):
    return _literal(text)
  raise ValueError(text)


def _describe(kind: type, present: Any) -> str:
  if kind is bool:
    return "a bool (true, false, 1 or 0)"
  if kind is int:
    return "an int"
  if kind is float:
    return "a float"
  if issubclass(kind, tuple | list):
    kinds = sorted({type(element).__name__ for element in present or ()})
    return f"a {kind.__name__} of {' or '.join(kinds) or 'values'}, as 2,2 or (2,2)"
  return f"a {kind.__name__}"


def _unknown_key(config: ConfigDict, section: ConfigDict, above: str, path: str) -> UserError:
  advice = spelling.nearest(path, flatten(config))
  if advice:
    return UserError(f"unknown key --config.{path}; did you mean --config.{advice[0]}?")
  keys = ", ".join(sorted(section.keys())) or "no keys"
  return UserError(f"unknown key --config.{path}; config{above and '.' + above} has {keys}")


def _find(config: ConfigDict, path: str) -> tuple[ConfigDict, str]:
  """Finds the section that holds the leaf at `path`, and the leaf's own key."""
  *above, leaf = path.split(".")
  section = config
  for depth, part in enumerate([*above, leaf]):
    here = ".".join(above[:depth])
    if not isinstance(section, ConfigDict):
      raise UserError(
        f"--config.{path}: config.{here} is a single value (now {section!r}), not a section; "
        f"set it with --config.{here}=VALUE"
      )
    if part not in section:
      raise _unknown_key(config, section, here, path)
    if depth < len(above):
      section = section[part]
  return section, leaf


def apply_overrides(config: ConfigDict, overrides: Sequence[str]) -> ConfigDict:
  """Returns a locked copy of `config` with `["optimizer.learning_rate=3e-4", ...]` set in order.

  Raises:
    UserError: a misspelt key (names the nearest), a value of the wrong type (names the type
      expected, what came and the present value), or a section where a leaf is meant.
  """
  config = copy.deepcopy(config)
  for override in overrides:
    path, equals, text = override.partition("=")
    if not equals or not path:
      raise UserError(f"config override {override!r}: expected KEY=VALUE, as seed=1")
    section, leaf = _find(config, path)
    present = section[leaf]
    if isinstance(present, ConfigDict):
      keys = sorted(flatten(present))
      advice = f"set one of its keys, as --config.{path}.{keys[0]}=VALUE" if keys else "it is empty"
      raise UserError(f"--config.{path} is a section with {len(keys)} keys, not a value; {advice}")
    kind = section.get_type(leaf)
    raw = dict(section.items(preserve_field_references=True))[leaf]
    may_be_none = isinstance(raw, FieldReference) or present is None
    if may_be_none and text.strip().lower() == "none":
      section[leaf] = None
      continue
    try:
      section[leaf] = parse_value(text, kind, present)
    except (ValueError, TypeError) as err:
      raise UserError(
        f"--config.{path}: expected {_describe(kind, present)}{' or none' * may_be_none}, "
        f"got {text!r} (now {present!r})"
      ) from err
  return config.lock()
