"""Allowed ranges of config values, checked before anything is traced or compiled.

A rule knows what it expects (in words), whether it allows a value, and the nearest value that it
would allow. A method lists its own in `RULES: dict[str, Rule]`, by dotted path.
"""

import dataclasses
import math
import numbers
from collections.abc import Mapping
from typing import Any, Protocol

from ml_collections import ConfigDict

from scs_jax.core import spelling
from scs_jax.errors import UserError


class Rule(Protocol):
  """Says what one config value may be."""

  def expected(self) -> str:
    """Returns the allowed values in words: `a number in [0, 1]`."""

  def allows(self, value: Any) -> bool:
    """Tells whether `value` is allowed."""

  def nearest(self, value: Any) -> Any:
    """Gives the allowed value nearest to `value`; None where there is none (an open bound, say)."""


def _is_number(value: Any) -> bool:
  """Checks for a real number; bool is an int to Python but not to a reader, and NaN is none."""
  return (
    isinstance(value, numbers.Real) and not isinstance(value, bool) and not math.isnan(value)
  )


@dataclasses.dataclass(frozen=True)
class Between:
  """A number between `low` and `high`, bounds included unless marked open."""

  low: float
  high: float
  open_low: bool = False
  open_high: bool = False

  def expected(self) -> str:
    if self.low == -math.inf and self.high == math.inf:
      return "a number"
    if self.high == math.inf:
      return f"a number {'above' if self.open_low else 'of at least'} {self.low}"
    if self.low == -math.inf:
      return f"a number {'below' if self.open_high else 'of at most'} {self.high}"
    left, right = "(" if self.open_low else "[", ")" if self.open_high else "]"
    return f"a number in {left}{self.low}, {self.high}{right}"

  def allows(self, value: Any) -> bool:
    if not _is_number(value):
      return False
    above = value > self.low if self.open_low else value >= self.low
    below = value < self.high if self.open_high else value <= self.high
    # An unbounded rule still means a finite number: an infinite learning rate is a slip.
    return above and below and math.isfinite(value)

  def nearest(self, value: Any) -> Any:
    if not _is_number(value):
      return None
    bound, is_open = (
      (self.low, self.open_low) if value <= self.low else (self.high, self.open_high)
    )
    return None if is_open or math.isinf(bound) else bound


# A finite number above zero.
Positive = Between(0, math.inf, open_low=True)


def AtLeast(low: float) -> Between:
  """Makes the rule of a finite number of at least `low`."""
  return Between(low, math.inf)


@dataclasses.dataclass(frozen=True)
class OneOf:
  """One of the listed values: `OneOf("jit", "pmap")`."""

  choices: tuple[Any, ...]

  def __init__(self, *choices: Any):
    object.__setattr__(self, "choices", choices)

  def expected(self) -> str:
    return "one of " + ", ".join(map(str, self.choices))

  def allows(self, value: Any) -> bool:
    # By type as well: 1 == True == 1.0, yet they are different settings.
    return any(type(value) is type(choice) and value == choice for choice in self.choices)

  def nearest(self, value: Any) -> Any:
    if _is_number(value) and all(map(_is_number, self.choices)):
      return min(self.choices, key=lambda choice: abs(choice - value))
    if isinstance(value, str):
      near = spelling.nearest(value, [c for c in self.choices if isinstance(c, str)], cutoff=0.5)
      return near[0] if near else None
    return None


@dataclasses.dataclass(frozen=True)
class MultipleOf:
  """An integer multiple of `unit`, at least `low` (default: `unit` itself)."""

  unit: int
  low: int | None = None

  @property
  def least(self) -> int:
    low = self.unit if self.low is None else self.low
    return -(-low // self.unit) * self.unit

  def expected(self) -> str:
    return f"a multiple of {self.unit} from {self.least}"

  def allows(self, value: Any) -> bool:
    return _is_number(value) and value >= self.least and value % self.unit == 0

  def nearest(self, value: Any) -> Any:
    if not _is_number(value) or math.isinf(value):
      return None
    return max(self.least, math.floor(value / self.unit + 0.5) * self.unit)


@dataclasses.dataclass(frozen=True)
class Each:
  """A tuple whose every element follows `rule`; of `length` elements where that is given."""

  rule: Rule
  length: int | None = None

  def expected(self) -> str:
    many = "a tuple" if self.length is None else f"a tuple of {self.length}"
    return f"{many}, each {self.rule.expected()}"

  def allows(self, value: Any) -> bool:
    return (
      isinstance(value, tuple | list)
      and (self.length is None or len(value) == self.length)
      and all(map(self.rule.allows, value))
    )

  def nearest(self, value: Any) -> Any:
    if not isinstance(value, tuple | list) or self.length not in (None, len(value)):
      return None
    near = tuple(v if self.rule.allows(v) else self.rule.nearest(v) for v in value)
    return None if None in near else near


@dataclasses.dataclass(frozen=True)
class Optional:
  """None, or what `rule` allows."""

  rule: Rule

  def expected(self) -> str:
    return f"none or {self.rule.expected()}"

  def allows(self, value: Any) -> bool:
    return value is None or self.rule.allows(value)

  def nearest(self, value: Any) -> Any:
    return self.rule.nearest(value)


NO_EFFECT = ("log.", "checkpoint.", "reported.", "data.threads", "data.workers", "data.prefetch",
             "parallel.", "remat", "skip_nonfinite")  # fmt: skip
"""Keys, or beginnings of keys, that say how a run is made and not what comes out: it may go on with
other values, and a row of an ablation that was trained with others is the same row."""

# The keys that every method of single photos shares, see configs/common.py. Sizes that a method
# divides further (crop, scale) get their tighter rule from the method. For pairs: engine_rules().
ENGINE_RULES: dict[str, Rule] = {
  "seed": Between(0, 2**31 - 1),
  "dtype": OneOf("float32", "bfloat16"),
  "batch_size": AtLeast(1),
  "accumulate": Between(1, 4096),
  "remat": OneOf("none", "dots", "blocks"),
  "ema_decay": Between(0.0, 1.0, open_high=True),
  "skip_nonfinite": AtLeast(0),
  "steps": AtLeast(0),
  "epochs": AtLeast(0.0),
  "data.kind": OneOf("photos", "pairs"),
  "data.exclude_gray": OneOf(True, False),
  "data.crop": AtLeast(1),
  "data.max_zoom": AtLeast(1.0),
  "data.resample": OneOf(True, False),
  "data.resample_on": OneOf("auto", "host", "device"),
  "data.enlarge": OneOf(True, False),
  "data.flip": OneOf(True, False),
  "data.reference_probability": Between(0.0, 1.0),
  "data.reference_size": AtLeast(4),
  "data.threads": Between(1, 256),
  "data.workers": Between(0, 256),
  "data.prefetch": Between(1, 1024),
  "checkpoint.every_steps": AtLeast(1),
  "checkpoint.keep_last": AtLeast(1),
  "checkpoint.keep_best": AtLeast(0),
  "log.every_steps": AtLeast(1),
  "log.panels_every": AtLeast(0),
  "log.evaluate_every": AtLeast(0),
  # The last two are of pairs.
  "evaluate.modes": Each(OneOf("automatic", "self", "random", "mirrored", "first", "second")),
  "evaluate.reference_size": AtLeast(4),
  "evaluate.batch_size": AtLeast(1),
  "evaluate.scale": Between(0.5, 16.0),
  "evaluate.limit": AtLeast(0),
  "parallel.mode": OneOf("jit", "pmap"),
  "parallel.fsdp": AtLeast(1),
  "parallel.fsdp_least": AtLeast(0),
}

_Camera = lambda low, high: Each(Between(low, high), 2)

# The section `data` of kind "pairs". The cameras' ranges are those of data/camera.py.
PAIRS_RULES: dict[str, Rule] = {
  "data.kind": OneOf("pairs"),
  "data.mono_view": OneOf("auto", "right", "left"),
  "data.variant": OneOf("", "clean", "final", "E", "L"),
  "data.reduce": OneOf(1, 2, 3, 4, 8),
  "data.crop": Each(AtLeast(1), 2),
  "data.heldout_crop": Each(AtLeast(0), 2),
  "data.vertical_flip": OneOf(True, False),
  "data.camera.enabled": OneOf(True, False),
  **{
    f"data.camera.{view}.{name}": _Camera(low, high)
    for view in ("mono", "color")
    for name, low, high in (
      ("exposure", -8.0, 8.0),
      ("gamma", 0.2, 5.0),
      ("contrast", -1.0, 1.0),
      ("blur", 0.0, 20.0),
      ("shot", 0.0, 1.0),
      ("read", 0.0, 1.0),
    )
  },
  **{f"data.{name}": ENGINE_RULES[f"data.{name}"] for name in ("threads", "workers", "prefetch")},
}


def engine_rules(config: ConfigDict) -> dict[str, Rule]:
  """Returns the rules of the engine's own keys, which depend on the kind of data.

  A config of an earlier run may lack data.kind, and then is of photos, data.resample,
  data.resample_on or data.enlarge.
  """
  section = config.data if "data" in config else {}
  if section.get("kind") == "pairs":
    shared = {k: rule for k, rule in ENGINE_RULES.items() if not k.startswith("data.")}
    return shared | PAIRS_RULES
  later = ("kind", "resample", "resample_on", "enlarge")
  missing = {f"data.{name}" for name in later if name not in section}
  return {k: rule for k, rule in ENGINE_RULES.items() if k not in missing}


def _value_at(config: ConfigDict, path: str) -> Any:
  value: Any = config
  for part in path.split("."):
    if not isinstance(value, ConfigDict) or part not in value:
      raise UserError(
        f"the config has no key {path}; start it from scs_jax.configs.common.get_config(), "
        "or add the key"
      )
    value = value[part]
  return value


def validate(config: ConfigDict, rules: Mapping[str, Rule]) -> None:
  """Checks each rule's key, in order; keys without a rule are left alone.

  Raises:
    UserError: a key is missing, or its value out of range; names the range and the nearest
      allowed value.
  """
  for path, rule in rules.items():
    value = _value_at(config, path)
    if rule.allows(value):
      continue
    near = rule.nearest(value)
    advice = "" if near is None else f"; the nearest allowed is {near}"
    raise UserError(
      f"config.{path}: expected {rule.expected()}, got {value!r}{advice} "
      f"(set it with --config.{path}=VALUE)"
    )
