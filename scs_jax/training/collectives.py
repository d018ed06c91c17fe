"""Counts what a compiled program sends between devices, from its HLO text."""

import math
import re


def sent_bytes(text: str, devices: int) -> float:
  """Counts bytes that each device sends in the collectives of a compiled program.

  By rings, the least that any algorithm sends: an all-reduce of S bytes over n devices sends
  2 S (n - 1) / n from each, gathers, scatters and exchanges S (n - 1) / n, a permutation S. What
  stands in a loop counts once a round, where the compiler knows how many there are.

  Args:
    text: optimised HLO, of one device.
    devices: in all, where an instruction does not name its groups.
  """
  own: dict[str, float] = {}
  callers: dict[str, tuple[str, int]] = {}  # of a computation: who calls it, and how often
  here = ""
  for line in text.splitlines():
    if head := _COMPUTATION.match(line):
      here = head[1]
      continue
    own[here] = own.get(here, 0.0) + _sent(line, devices)
    rounds = _ROUNDS.search(line)
    for kind, name in _CALLS.findall(line):
      callers[name] = here, int(rounds[1]) if rounds and kind == "body" else 1
  return sum(sent * _times(name, callers) for name, sent in own.items())


# "%body.3 (p: (s32[], f32[8])) -> (s32[], f32[8]) {", "ENTRY %main.7 (...) -> f32[] {"
_COMPUTATION = re.compile(r"(?:ENTRY )?%?([\w.-]+) \(.*\) -> .*\{$")
_CALLS = re.compile(r"\b(body|calls|to_apply)=%?([\w.-]+)")
_ROUNDS = re.compile(r'"known_trip_count":\s*\{"n":\s*"(\d+)"\}')
_COLLECTIVE = re.compile(
  r"= (?P<result>.*?) (?P<kind>all-reduce|all-gather|reduce-scatter|all-to-all|"
  r"collective-permute)(?P<start>-start)?\("
)
_SHAPE = re.compile(r"\b(pred|[suf]\d+|bf16|c64)\[([\d,]*)\]")
_WIDTH = {"pred": 1, "bf16": 2, "c64": 8}


def _times(name: str, callers: dict[str, tuple[str, int]]) -> int:
  """Tells how often a computation runs in one run of the program."""
  times = 1
  while name in callers:
    name, rounds = callers[name]
    times *= rounds
  return times


def _sent(line: str, devices: int) -> float:
  found = _COLLECTIVE.search(line)
  if found is None:
    return 0.0
  kind, n = found["kind"], _group_size(line, devices)
  sizes = [_bytes(*shape) for shape in _SHAPE.findall(found["result"])]
  if not sizes or n < 2:
    return 0.0
  # An asynchronous gather's result holds its operand too; the gathered array is the larger.
  gathers = kind in ("all-gather", "collective-permute") and found["start"]
  size = max(sizes) if gathers else sum(sizes)
  if kind == "collective-permute":
    return float(size)
  factor = {"all-reduce": 2, "reduce-scatter": n}.get(kind, 1)
  return factor * size * (n - 1) / n


def _bytes(kind: str, dimensions: str) -> int:
  width = _WIDTH.get(kind) or max(1, int(kind[1:]) // 8)
  return width * math.prod(int(d) for d in dimensions.split(",") if d)


def _group_size(line: str, devices: int) -> int:
  if listed := re.search(r"replica_groups=\{\{([\d,]+)\}", line):
    return listed[1].count(",") + 1
  if shaped := re.search(r"replica_groups=\[(\d+),(\d+)\]", line):
    return int(shaped[2])
  return devices
