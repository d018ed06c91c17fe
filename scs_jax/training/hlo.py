"""A compiled program's text (optimised HLO), line by line, with how often each line runs."""

import math
import re
from collections.abc import Iterator

import jax
from jax._src.lib import _jax  # the analysis has no public name

# "%body.3 (p: (s32[], f32[8])) -> (s32[], f32[8]) {", "ENTRY %main.7 (...) -> f32[] {"
_COMPUTATION = re.compile(r"(?:ENTRY )?%?([\w.-]+) \(.*\) -> .*\{$")
_CALLS = re.compile(r"\b(body|calls|to_apply)=%?([\w.-]+)")
_ROUNDS = re.compile(r'"known_trip_count":\s*\{"n":\s*"(\d+)"\}')
_SHAPE = re.compile(r"\b(pred|[suf]\d+|bf16|c64)\[([\d,]*)\]")
_WIDTH = {"pred": 1, "bf16": 2, "c64": 8}
# "%y.1 = (bf16[2,8]{1,0}, u8[0]{0}) custom-call(%x, %w), window=..."
_LIBRARY = re.compile(r"%?(?P<name>[\w.-]+) = (?P<result>.*?) custom-call\((?P<operands>[^)]*)\)")
_DEFINED = re.compile(r"%?(?P<name>[\w.-]+) = (?P<result>.*?) [a-z][\w-]*\(")


def lines(text: str) -> Iterator[tuple[str, int]]:
  """(line, how often it runs in one run of the program) of every instruction.

  What stands in a loop runs once a round, where the compiler knows how many there are.
  """
  found: list[tuple[str, str]] = []
  callers: dict[str, tuple[str, int]] = {}  # of a computation: who calls it, and how often
  here = ""
  for line in text.splitlines():
    if head := _COMPUTATION.match(line):
      here = head[1]
      continue
    found.append((here, line))
    rounds = _ROUNDS.search(line)
    for kind, name in _CALLS.findall(line):
      callers[name] = here, int(rounds[1]) if rounds and kind == "body" else 1
  for name, line in found:
    yield line, _times(name, callers)


def _times(name: str, callers: dict[str, tuple[str, int]]) -> int:
  times = 1
  while name in callers:
    name, rounds = callers[name]
    times *= rounds
  return times


def sizes(shapes: str) -> list[int]:
  """Bytes of each array in a shape or a tuple of shapes, such as "(f32[8]{0}, bf16[4,2])"."""
  return [_bytes(kind, dimensions) for kind, dimensions in _SHAPE.findall(shapes)]


def _bytes(kind: str, dimensions: str) -> int:
  width = _WIDTH.get(kind) or max(1, int(kind[1:]) // 8)
  return width * math.prod(int(d) for d in dimensions.split(",") if d)


def library_bytes(text: str) -> int:
  """Bytes that calls of a library (cuDNN's convolutions, cuBLAS's products) read and write.

  Each operand once and each result once, the least that they can do. Arrays of bytes among the
  results are a library's room to work in, and are left out.
  """
  known, total = {}, 0
  for line, times in lines(text):
    if defined := _DEFINED.search(line):
      known[defined["name"]] = defined["result"]
    if (call := _LIBRARY.search(line)) is None:
      continue
    read = [known.get(name.strip(" %"), "") for name in call["operands"].split(",")]
    written = re.sub(r"\b[su]8\[[\d,]*\]", "", call["result"])
    total += times * sum(sum(sizes(shapes)) for shapes in [*read, written])
  return total


def bytes_accessed(compiled) -> float:
  """Bytes that a compiled program reads and writes, as far as XLA knows: a loop counts once."""
  cost = compiled.cost_analysis()
  if cost is None:
    # The compiler of a GPU that is not there answers nothing. The CPU's analyses any program, but
    # takes calls of libraries for nothing.
    (module,) = compiled.runtime_executable().hlo_modules()
    found = _jax.hlo_module_cost_analysis(jax.devices("cpu")[0].client, module)
    return found.get("bytes accessed", 0.0) + library_bytes(compiled.as_text())
  cost = cost[0] if isinstance(cost, list) else cost
  return cost.get("bytes accessed", 0.0)
