"""What each operation of a compiled program reads and writes, from its HLO text.

The compiler's own total (`hlo.bytes_accessed`) says neither which operations the bytes belong to
nor where the arrays lie, and counts a loop once. Here a loop counts as often as it runs, an array
with the padding that its layout has in memory, and what the compiler keeps on the chip, in the
vector memory of a TPU, apart from what goes through the device's memory.
"""

import collections
import itertools
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from scs_jax.training import hlo

# Instructions that name arrays and move none; what a loop or a call moves is its body's.
_STILL = {
  "after-all", "async-start", "bitcast", "call", "conditional", "constant", "get-tuple-element",
  "iota", "opt-barrier", "parameter", "partition-id", "replica-id", "tuple", "while",
}  # fmt: skip
_STILL_CALLS = {"AllocateBuffer", "ConcatBitcast"}  # of a TPU
_PRODUCTS = {"convolution", "dot"}  # a fusion with one of them is named after it
# A fusion of nothing else only brings an array into another order.
_ORDER = {"bitcast", "copy", "parameter", "reshape", "transpose"}
_SLICES = {"dynamic-slice", "gather", "slice"}
_ARRAY = re.compile(
  r"\b(?P<kind>pred|[suf]\d+\w*|bf16|c64)\[(?P<sizes>[\d,]*)\](?:\{(?P<layout>[^}]*)\})?"
)
_TARGET = re.compile(r'custom_call_target="(?P<name>[^"]*)"')
_TILE = re.compile(r"T\((?P<tile>[\d,]+)\)")
_SPACE = re.compile(r"S\((?P<space>\d+)\)")
_HOST = "5"  # memory space of arrays that lie with the host
_SOURCE = re.compile(r'op_name="(?P<path>[^"]*)"')


class Moved(NamedTuple):
  """Bytes that go through the device's memory, and those that stay on the chip.

  Attributes:
    memory: of arrays in the device's memory, padding included.
    chip: of arrays that the compiler keeps in the chip's own.
  """

  memory: float = 0.0
  chip: float = 0.0

  def __add__(self, other: "Moved") -> "Moved":
    return Moved(self.memory + other.memory, self.chip + other.chip)

  def times(self, count: int) -> "Moved":
    return Moved(self.memory * count, self.chip * count)


class Operation(NamedTuple):
  """Operations of one kind that come from one place of the source.

  Attributes:
    kind: "convolution", "dot", "copy" (a change of order included), "fusion" of others, the name of
      a library's function, or the instruction's own.
    source: the path of modules and primitives that it was traced at; numbers of a repeated block
      as "*", a gradient's as "gradient of ...".
    runs: how often such operations run in one run of the program.
    read, written: bytes.
  """

  kind: str
  source: str
  runs: int
  read: Moved
  written: Moved

  @property
  def memory(self) -> float:
    """Bytes that go through the device's memory."""
    return self.read.memory + self.written.memory

  @property
  def chip(self) -> float:
    """Bytes that do not leave the chip."""
    return self.read.chip + self.written.chip


def by_operation(text: str) -> list[Operation]:
  """Lists what a compiled program moves, the largest share of the device's memory first.

  Of an array that an operation only cuts a slice from, or writes a slice of, the slice counts.

  Args:
    text: optimised HLO of one device.
  """
  program = hlo.Program(text)
  found = collections.defaultdict(lambda: Operation("", "", 0, Moved(), Moved()))
  known = collections.defaultdict(dict)
  for here, instruction, runs in program.instructions():
    known[here][instruction.name] = instruction.result
    if not program.runs_apart(here) or _still(instruction):
      continue
    kind, source = _kind(program, instruction), _source(instruction.line)
    read, written = _moves(program, known[here], instruction)
    before = found[kind, source]
    found[kind, source] = Operation(
      kind,
      source,
      before.runs + runs,
      before.read + read.times(runs),
      before.written + written.times(runs),
    )
  return sorted(found.values(), key=lambda operation: -operation.memory)


def to_record(operation: Operation) -> dict[str, Any]:
  """Gives an operation as plain values by name, as JSON keeps them."""
  read, written = operation.read._asdict(), operation.written._asdict()
  return operation._asdict() | {"read": read, "written": written}


def from_record(record: Mapping[str, Any]) -> Operation:
  """Gives back what `to_record` was given."""
  return Operation(
    **(record | {"read": Moved(**record["read"]), "written": Moved(**record["written"])})
  )


def table(operations: Iterable[Operation], most: int = 30) -> str:
  """Writes the operations that move most, with their shares, as a Markdown table."""
  operations = list(operations)
  total = sum(operation.memory for operation in operations) or 1.0
  lines = [
    "| GB read | written | share | GB on the chip | runs | kind | source |",
    "|---:|---:|---:|---:|---:|---|---|",
  ]
  row = lambda found, kind, source: (
    f"| {found.read.memory / 1e9:.2f} | {found.written.memory / 1e9:.2f} | "
    f"{found.memory / total:.1%} | {found.chip / 1e9:.2f} | {found.runs} | {kind} | {source} |"
  )
  lines += [row(found, found.kind, f"`{found.source}`") for found in operations[:most]]
  if rest := operations[most:]:
    lines.append(row(_sum(rest), "others", ""))
  return "\n".join([*lines, row(_sum(operations), "all", "")])


def _sum(operations: list[Operation]) -> Operation:
  return Operation(
    "",
    "",
    sum(operation.runs for operation in operations),
    sum((operation.read for operation in operations), Moved()),
    sum((operation.written for operation in operations), Moved()),
  )


def _still(instruction: hlo.Instruction) -> bool:
  target = _TARGET.search(instruction.line)
  return (
    instruction.opcode in _STILL
    or instruction.opcode.endswith("-done")
    or (target is not None and target["name"] in _STILL_CALLS)
  )


def _kind(program: hlo.Program, instruction: hlo.Instruction) -> str:
  opcode = instruction.opcode.removesuffix("-start")
  if found := _TARGET.search(instruction.line):
    return found["name"]
  if opcode != "fusion":
    return "copy" if opcode in _ORDER else opcode
  inside = {step.opcode for step in program.inside(instruction)}
  if products := _PRODUCTS & inside:
    return min(products)
  return "copy" if inside <= _ORDER else "fusion"


def _source(attributes: str) -> str:
  """ "jit(step)/transpose(jvp(Net))/block_3/dot" as "gradient of Net/block_*/dot"."""
  found = _SOURCE.search(attributes)
  path = found["path"] if found else ""
  parts = [part for part in path.split("/") if not part.startswith("jit(")]
  gradient = any(part.startswith("transpose(") for part in parts)
  names = [re.sub(r"\w+\(|\)", "", part) for part in parts]
  short = re.sub(r"(?<=_)\d+", "*", "/".join(name for name in names if name))
  return f"gradient of {short}" if gradient else short


def _moves(
  program: hlo.Program, known: dict[str, str], instruction: hlo.Instruction
) -> tuple[Moved, Moved]:
  """Returns what one run of an instruction reads and writes."""
  results = _arrays(instruction.result)
  # ((operands), result, state), or of a copy (result, operand, state)
  if instruction.opcode.endswith("-start"):
    results = _arrays(instruction.result.partition("), ")[2])[:1] or results[:1]
  operands = [_arrays(known.get(name, "")) for name in instruction.operands]
  if instruction.opcode == "fusion":
    return _fused(program, instruction, operands, results)
  if instruction.opcode.removesuffix("-start") in _SLICES:
    return _placed(results, operands[0]), _moved(results)
  if instruction.opcode == "dynamic-update-slice":
    return _moved(operands[1]), _moved(operands[1])
  return _moved(itertools.chain(*operands)), _moved(results)


def _fused(program: hlo.Program, instruction: hlo.Instruction, operands, results):
  """Returns what one run of a fusion reads and writes."""
  inside = program.inside(instruction)
  read, written = Moved(), Moved()
  for step in inside:
    if step.opcode == "parameter":
      arrays = operands[int(step.operands[0])]
      part = _parts(program, inside, step.name)
      read += _placed(arrays if part is None else itertools.chain(*map(_arrays, part)), arrays)
  root = inside[-1]
  roots = root.operands if root.opcode == "tuple" else [root.name]
  for name, array in zip(roots, results, strict=False):
    part = _update({step.name: step for step in inside}, name)
    written += _placed([array] if part is None else _arrays(part), [array])
  return read, written


def _parts(program: hlo.Program, inside: list[hlo.Instruction], name: str) -> list[str] | None:
  """Lists the shapes of what is read of an array where slices alone are; None where all of it is.

  `inside`: the steps of a fusion, some of which may be fusions.
  """
  found: list[str] = []
  for step in inside:
    for place in (place for place, operand in enumerate(step.operands) if operand == name):
      if step.opcode in _SLICES and place == 0:
        deeper = [step.result]
      elif step.opcode == "bitcast":
        deeper = _parts(program, inside, step.name)
      elif step.opcode == "fusion":
        steps = program.inside(step)
        own = {it.operands[0]: it.name for it in steps if it.opcode == "parameter"}
        deeper = _parts(program, steps, own[str(place)])
      else:  # what is written over is not read
        deeper = [] if step.opcode == "dynamic-update-slice" and place == 0 else None
      if deeper is None:
        return None
      found += deeper
  # The result itself is read by others: all of it.
  return None if inside[-1].name == name else found


def _update(by_name: dict[str, hlo.Instruction], name: str) -> str | None:
  """Gives the shape of what is written into an array in its place; None where all of it is."""
  step = by_name.get(name)
  if step is None or step.opcode not in ("bitcast", "dynamic-update-slice"):
    return None
  if step.opcode == "bitcast":
    return _update(by_name, step.operands[0])
  return by_name[step.operands[1]].result


class _Array(NamedTuple):
  size: int
  on_chip: bool


def _arrays(shapes: str) -> list[_Array]:
  """Sizes in memory of each array in a shape or a tuple of shapes, and where they lie."""
  return [_array(found) for found in _ARRAY.finditer(shapes)]


def _array(found: re.Match) -> _Array:
  sizes = [int(size) for size in found["sizes"].split(",") if size]
  order, _, rest = (found["layout"] or "").partition(":")
  tile, space = _TILE.search(rest), _SPACE.search(rest)
  if tile:
    minor_first = [sizes[int(axis)] for axis in order.split(",") if axis]
    steps = [int(step) for step in tile["tile"].split(",")][::-1]
    sizes = [-(-size // step) * step for size, step in zip(minor_first, steps, strict=False)]
    sizes += minor_first[len(steps) :]
  on_chip = space is not None and space["space"] != _HOST
  return _Array(hlo.width(found["kind"]) * math.prod(sizes), on_chip)


def _moved(arrays: Iterable[_Array]) -> Moved:
  total = Moved()
  for size, on_chip in arrays:
    total += Moved(0.0, size) if on_chip else Moved(size, 0.0)
  return total


def _placed(parts: Iterable[_Array], whole: list[_Array]) -> Moved:
  """Adds up parts of an array, which lie where that array does."""
  on_chip = bool(whole) and whole[0].on_chip
  return _moved(part._replace(on_chip=on_chip) for part in parts)
