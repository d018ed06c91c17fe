"""A model's card: what it is, what it was trained on and how long, its figures, what it cannot do.

Its maker writes it as TOML or JSON, in one file or several; it travels inside the model's file:

    summary = "Colours photographs, by themselves or by another, and enlarges them."
    licence = "For research: the photographs it saw are for research."
    data = ["photos/train, 7,166 photographs of ImageNet and others; for research"]
    limits = ["Small objects stay gray."]

    [budget]
    steps = 24000
    hours = 4.1                     # by the clock
    cpu_hours = 8.0
    hardware = "two cores of a Xeon"

    [[figures]]
    what = "CBSD68, 68 photographs, by themselves, 2x"
    metric = "PSNR ab"
    unit = "dB"
    value = 31.25
    interval = [30.4, 32.1]         # 95 %
"""

import json
import os
import pathlib
import textwrap
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

from scs_jax.core import spelling
from scs_jax.errors import UserError

_WIDTH = 100
SECTIONS: Mapping[str, type] = {
  "summary": str, "licence": str, "data": list, "budget": dict, "figures": list, "limits": list,
}  # fmt: skip
_FIGURE: Mapping[str, type | tuple[type, ...]] = {
  "what": str, "metric": str, "value": (int, float), "interval": list,
}  # fmt: skip

Card = Mapping[str, Any]


def read(paths: Sequence[str | os.PathLike[str]]) -> dict[str, Any]:
  """Reads a card from its files; lists that several of them have are joined, in order.

  Args:
    paths: of .toml or .json files that together hold every section.

  Raises:
    UserError: a file that cannot be read, a section that is missing, unknown or of another kind.
  """
  card: dict[str, Any] = {}
  for path in paths:
    for name, value in _parse(path).items():
      if name not in SECTIONS:
        raise UserError(f"{path}: no section {name!r} in a card; {spelling.hint(name, SECTIONS)}")
      kind = SECTIONS[name]
      if not isinstance(value, kind):
        raise UserError(
          f"{path}: {name} is a {type(value).__name__}, expected a {kind.__name__}"
        )
      card[name] = card.get(name, []) + value if kind is list else value
  if missing := [name for name in SECTIONS if not card.get(name)]:
    raise UserError(f"the card says nothing of {', '.join(missing)}: add it to {paths[-1]}")
  for figure in card["figures"]:
    _require_figure(figure, paths[-1])
  return card


def figure(entry: Card) -> str:
  """Writes a figure as a line: `CBSD68, by themselves, 2x: PSNR ab 31.25 dB (30.4 to 32.1)`."""
  low, high = entry["interval"]
  unit = f" {entry['unit']}" if entry.get("unit") else ""
  return (
    f"{entry['what']}: {entry['metric']} {entry['value']:g}{unit} ({low:g} to {high:g})"
  )


def headlines(card: Card) -> list[str]:
  """Lists what one chooses a model by, a line each: what it does, its licence, its figures."""
  if not card:
    return ["no card"]
  return [card["summary"], f"licence of the weights: {card['licence']}",
          *map(figure, card["figures"])]  # fmt: skip


def lines(card: Card) -> list[str]:
  """Writes the whole card as text, at most 100 characters wide."""
  if not card:
    return ["no card: its maker says nothing of its data, budget or figures"]
  found = _wrapped(card["summary"])
  budget = [f"{name.replace('_', ' ')}: {value}" for name, value in card["budget"].items()]
  for title, items in (
    ("licence of the weights", [card["licence"]]),
    ("trained on", card["data"]),
    ("budget", budget),
    ("figures, with 95 % intervals", list(map(figure, card["figures"]))),
    ("what it cannot do", card["limits"]),
  ):
    found += ["", title, *(line for item in items for line in _wrapped(item, "  "))]
  return found


def _wrapped(text: str, indent: str = "") -> list[str]:
  return textwrap.wrap(
    text, _WIDTH, initial_indent=indent, subsequent_indent=indent and indent + "  "
  )


def _parse(path: str | os.PathLike[str]) -> dict[str, Any]:
  suffix = pathlib.PurePath(path).suffix
  if suffix not in (".toml", ".json"):
    raise UserError(f"{path}: expected a card that ends in .toml or .json")
  try:
    text = pathlib.Path(path).read_text(encoding="utf-8")
    found = tomllib.loads(text) if suffix == ".toml" else json.loads(text)
    found = json.loads(json.dumps(found, default=str))  # TOML has dates
  except (OSError, ValueError) as error:
    detail = error.strerror if isinstance(error, OSError) else error
    raise UserError(f"{path}: no card can be read ({detail}); mend the file") from error
  if not isinstance(found, dict):
    raise UserError(f"{path}: expected the sections of a card, got a {type(found).__name__}")
  return found


def _require_figure(entry: Any, path: str | os.PathLike[str]) -> None:
  good = isinstance(entry, dict) and all(isinstance(entry.get(k), t) for k, t in _FIGURE.items())
  number = lambda value: isinstance(value, int | float)
  if not good or len(entry["interval"]) != 2 or not all(map(number, entry["interval"])):
    raise UserError(
      f"{path}: a figure needs what, metric, value and interval = [low, high], got {entry!r}"
    )
