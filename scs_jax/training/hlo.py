"""A compiled program's text (optimised HLO): its instructions, and how often each runs."""

import math
import re
from collections.abc import Iterator
from typing import NamedTuple

import jax
from jax._src.lib import _jax  # the analysis has no public name

# "%body.3 (p: (s32[], f32[8])) -> (s32[], f32[8]) {", "ENTRY %main.7 (...) -> f32[] {"
_COMPUTATION = re.compile(r"(?P<entry>ENTRY )?%?(?P<name>[\w.-]+) \(.*\) -> .*\{$")
# "  ROOT %y.1 = (bf16[2,8]{1,0}, u8[0]{0}) custom-call(%x, %w), window=..."
_INSTRUCTION = re.compile(
  r"\s*(?:ROOT )?%?(?P<name>[\w.-]+) = (?P<result>.*?) (?P<opcode>[a-z][\w-]*)"
  r"\((?P<operands>[^)]*)\)"
)
_CALLS = re.compile(r"\b(body|calls|condition|to_apply)=%?([\w.-]+)")
_BRANCHES = re.compile(r"\bbranch_computations=\{([^}]*)\}")
_ROUNDS = re.compile(r'"known_trip_count":\s*\{"n":\s*"(\d+)"\}')
_SHAPE = re.compile(r"\b(pred|[suf]\d+|bf16|c64)\[([\d,]*)\]")
_WIDTH = {"pred": 1, "bf16": 2, "c64": 8}
# Instructions that run others one by one; a fusion or a reduction has its steps to itself.
_CONTROL = {"async-start", "call", "conditional", "while"}


class Instruction(NamedTuple):
  """One line of a program.

  Attributes:
    line: as written; the parts of it:
    name, opcode: what it gives and does.
    result: its shape, or a tuple of shapes, with their layouts.
    operands: names; of a parameter its number, of a constant its value.
  """

  line: str
  name: str
  opcode: str
  result: str
  operands: tuple[str, ...]


class _Caller(NamedTuple):
  """Who calls a computation: the computation, how often in one run of it, and whether one by one
  its instructions run (a loop's) or as the steps of a single one (a fusion's)."""

  computation: str
  rounds: int
  apart: bool


class Program:
  """A compiled program, read from its text.

  Attributes:
    computations: the instructions of each by its name, in order, so that the last gives the result;
      what stands in none is that of the name "".
  """

  def __init__(self, text: str):
    self.computations: dict[str, list[Instruction]] = {}
    here = ""
    for line in text.splitlines():
      if head := _COMPUTATION.match(line):
        here = head["name"]
      elif found := _INSTRUCTION.match(line):
        operands = tuple(name.strip().rpartition("%")[2] for name in found["operands"].split(","))
        self.computations.setdefault(here, []).append(
          Instruction(line, found["name"], found["opcode"], found["result"], operands)
        )
    self._callers: dict[str, _Caller] = {}
    for name, instructions in self.computations.items():
      for instruction in instructions:
        apart = instruction.opcode in _CONTROL
        for how, called in _called(instruction):
          rounds = self._rounds(instruction) if how in ("body", "condition") else 1
          self._callers[called] = _Caller(name, rounds, apart)

  def instructions(self) -> Iterator[tuple[str, Instruction, int]]:
    """Gives (its computation, instruction, how often it runs in one run of the program), of all.

    What stands in a loop runs once a round, where the text tells how many there are.
    """
    for name, instructions in self.computations.items():
      runs, at = 1, name
      while caller := self._callers.get(at):
        runs, at = runs * caller.rounds, caller.computation
      for instruction in instructions:
        yield name, instruction, runs

  def runs_apart(self, computation: str) -> bool:
    """Tells whether a computation's instructions run one by one, not as steps of a single one."""
    while caller := self._callers.get(computation):
      if not caller.apart:
        return False
      computation = caller.computation
    return True

  def inside(self, instruction: Instruction) -> list[Instruction]:
    """Lists the steps that a fusion is made of; none of what is no fusion."""
    names = [name for how, name in _called(instruction) if how == "calls"]
    return self.computations.get(names[0], []) if names else []

  def _rounds(self, loop: Instruction) -> int:
    """As the compiler says; else what the condition compares its counter with, from 0 upwards, as
    JAX's loops count; 1 where neither tells."""
    if known := _ROUNDS.search(loop.line):
      return int(known[1])
    condition = self.computations.get(dict(_called(loop)).get("condition", ""), [])
    numbers = {step.name: step.operands[0] for step in condition if step.opcode == "constant"}
    last = condition[-1] if condition else None
    if last is None or "direction=LT" not in last.line:
      return 1
    limits = [numbers[name] for name in last.operands if name in numbers]
    return int(limits[0]) if limits else 1


def _called(instruction: Instruction) -> list[tuple[str, str]]:
  """Lists (how, name) of the computations that an instruction runs or is made of."""
  branches = _BRANCHES.search(instruction.line)
  names = branches[1].split(",") if branches else []
  return _CALLS.findall(instruction.line) + [("branch", name.strip(" %")) for name in names]


def sizes(shapes: str) -> list[int]:
  """Bytes of each array in a shape or a tuple of shapes, such as "(f32[8]{0}, bf16[4,2])"."""
  return [_bytes(kind, dimensions) for kind, dimensions in _SHAPE.findall(shapes)]


def _bytes(kind: str, dimensions: str) -> int:
  return width(kind) * math.prod(int(d) for d in dimensions.split(",") if d)


def width(kind: str) -> int:
  """Bytes of one number, of a type as HLO names it ("f32", "bf16", "pred")."""
  return _WIDTH.get(kind) or max(1, int(re.search(r"\d+", kind)[0]) // 8)


def library_bytes(text: str) -> int:
  """Bytes that calls of a library (cuDNN's convolutions, cuBLAS's products) read and write.

  Each operand once and each result once, the least that they can do. Arrays of bytes among the
  results are a library's room to work in, and are left out.
  """
  known, total = {}, 0
  for _, instruction, runs in Program(text).instructions():
    known[instruction.name] = instruction.result
    if instruction.opcode == "custom-call":
      read = [known.get(name, "") for name in instruction.operands]
      written = re.sub(r"\b[su]8\[[\d,]*\]", "", instruction.result)
      total += runs * sum(sum(sizes(shapes)) for shapes in [*read, written])
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
