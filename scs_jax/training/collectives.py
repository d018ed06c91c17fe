"""Counts what a compiled program sends between devices, from its HLO text."""

import math
import re
from typing import NamedTuple

import numpy as np

from scs_jax.training import hlo


class Traffic(NamedTuple):
  """Bytes that a device sends in a step.

  Attributes:
    inside: to devices of its own node: a machine of GPUs, or the whole of a TPU slice.
    between: to devices of other nodes.
  """

  inside: float
  between: float


def traffic(text: str, devices: int, per_node: int | None = None) -> Traffic:
  """Counts what each device sends in the collectives of a compiled program.

  The least that rings send, without switches that add up on the way. Over n devices of one node an
  all-reduce of S bytes sends 2 S (n - 1) / n from each, gathers, scatters and exchanges
  S (n - 1) / n, a permutation S. Over N nodes with g devices each it goes in two levels: inside a
  node as if there were g devices, and between the nodes each device passes on the g-th part of S
  as if there were N. What stands in a loop counts once a round, where the compiler knows how many
  there are.

  Args:
    text: optimised HLO, of one device.
    devices: in all, where an instruction does not name its groups.
    per_node: neighbours in a node, numbered one after the other; None: all are in one.
  """
  inside = between = 0.0
  for _, instruction, runs in hlo.Program(text).instructions():
    if found := _COLLECTIVE.search(instruction.line):
      sent = _sent(found, instruction.line, devices, per_node or devices)
      inside, between = inside + runs * sent.inside, between + runs * sent.between
  return Traffic(inside, between)


_COLLECTIVE = re.compile(
  r"= (?P<result>.*?) (?P<kind>all-reduce|all-gather|reduce-scatter|all-to-all|"
  r"collective-permute)(?P<start>-start)?\("
)


def _sent(found: re.Match, line: str, devices: int, per_node: int) -> Traffic:
  kind, result = found["kind"], found["result"]
  # What is asynchronous may name its operands too: in a tuple of their own, ahead of the result, or
  # beside it where it is a gather or a permutation, the result then being the larger.
  apart = found["start"] and result.startswith("((")
  sizes = hlo.sizes(result.partition("), ")[2] if apart else result)
  if not sizes:
    return Traffic(0.0, 0.0)
  beside = found["start"] and not apart and kind in ("all-gather", "collective-permute")
  size = float(max(sizes) if beside else sum(sizes))
  if kind == "collective-permute":
    pairs = _listed(line, "source_target_pairs")
    crosses = {a // per_node != b // per_node for a, b in pairs if a != b}
    return Traffic(size * (False in crosses), size * (True in crosses))
  group = _group(line, devices)
  members = np.unique(group // per_node, return_counts=True)[1]
  n, g, nodes = len(group), int(members.max()), len(members)
  if kind == "all-to-all":
    return Traffic(size * (g - 1) / n, size * (n - g) / n)
  size *= {"all-reduce": 2, "reduce-scatter": n}.get(kind, 1)
  return Traffic(size * (g - 1) / g, size / g * (nodes - 1) / nodes)


def _listed(line: str, key: str) -> list[list[int]]:
  """[[0, 4], [1, 5]] of "KEY={{0,4},{1,5}}"; [] where there is none."""
  found = re.search(key + r"=\{(\{[\d,]+\}(?:,\{[\d,]+\})*)\}", line)
  return [_numbers(part) for part in re.findall(r"[\d,]+(?=\})", found[1])] if found else []


def _numbers(text: str) -> list[int]:
  return [int(number) for number in text.split(",")]


# "[2,4]T(1,0)": the numbers from 0 to 7 as an array of that shape, with its axes exchanged.
_IOTA = re.compile(r"\[(?P<shape>[\d,]+)\](?:T\((?P<order>[\d,]+)\))?")
# "replica_groups=[4,2]<=[2,4]T(1,0)": those numbers, read as four groups of two
_SHAPED = re.compile(r"replica_groups=\[\d+,(?P<each>\d+)\]<=(?P<iota>\S+)")
# "replica_groups=mesh['a'=4,'b'=2], device_ids=([2,4]T(1,0)) {'a'}": groups along axes of a mesh
_MESH = re.compile(r"replica_groups=mesh\[(?P<axes>[^\]]*)\](?P<ids>[^{]*)\{(?P<along>[^}]*)\}")
# "'a'=4"; "'a'", or "'a':(2)4": of an axis its part of 4 that has 2 before it
_AXIS = re.compile(r"'([^']+)'=(\d+)")
_ALONG = re.compile(r"'([^']+)'(?::\((\d+)\)(\d+))?")


def _group(line: str, devices: int) -> np.ndarray:
  """Devices of the first group; the others are as large, and lie in the same way."""
  if listed := _listed(line, "replica_groups"):
    return np.array(listed[0])
  if shaped := _SHAPED.search(line):
    return _iota(shaped["iota"])[: int(shaped["each"])]
  if mesh := _MESH.search(line):
    return _along(mesh)
  return np.arange(devices)


def _iota(text: str) -> np.ndarray:
  found = _IOTA.search(text)
  shape = _numbers(found["shape"])
  array = np.arange(math.prod(shape)).reshape(shape)
  return (array.transpose(_numbers(found["order"])) if found["order"] else array).ravel()


def _along(mesh: re.Match) -> np.ndarray:
  axes = {name: int(n) for name, n in _AXIS.findall(mesh["axes"])}
  parts = {
    name: (int(before or 1), int(size or axes[name]))
    for name, before, size in _ALONG.findall(mesh["along"])
  }
  shape, index = [], []
  for name, n in axes.items():
    before, size = parts.get(name, (1, 1))
    shape += [before, size, n // (before * size)]
    index += [0, slice(None), 0]
  ids = mesh["ids"]
  if "[" in ids:
    order = _iota(ids)
  elif "(" in ids:
    order = np.array(_numbers(re.search(r"\(([\d,]+)\)", ids)[1]))
  else:
    order = np.arange(math.prod(shape))
  return order.reshape(shape)[tuple(index)].ravel()
