"""Compiled programs by function and shapes: counted, and their memory known before they run."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from scs_jax.infer import kept_programs

Tree = Any


class Program(NamedTuple):
  """A compiled function.

  Attributes:
    run: call it with arrays of the shapes it was compiled for.
    result: the shapes and dtypes of what it returns.
    bytes: memory while it runs: arguments, results, temporaries. On CPUs XLA does not count the
      scratch of the library that it hands small graphs to.
  """

  run: Callable
  result: Tree
  bytes: int


class Programs:
  """Compiles a function once for each combination of argument shapes; `len` of it counts them.

  A command's programs stay for the next one, which then neither traces nor compiles them.
  """

  def __init__(self):
    self._compiled: dict[Any, Program] = {}

  def __len__(self) -> int:
    return len(self._compiled)

  def get(self, function: Callable, *arguments: Tree) -> Program:
    """Returns the program for these arguments (arrays or ShapeDtypeStructs).

    Static fields of the arguments' trees are part of what it is compiled for.
    """
    leaves, tree = jax.tree.flatten(arguments)
    key = function, tree, tuple((x.shape, x.dtype) for x in leaves)
    if key not in self._compiled:
      about = kept_programs.describe(*key)
      found = kept_programs.find(about)
      if found is None:
        like = tree.unflatten([jax.ShapeDtypeStruct(x.shape, x.dtype) for x in leaves])
        lowered = jax.jit(function).lower(*like)
        about = about if kept_programs.stands_alone(lowered) else None
        with kept_programs.compiling(about):
          compiled = lowered.compile()
        result = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), lowered.out_info)
        found = compiled, result, _bytes(compiled)
        kept_programs.keep(about, *found)
      self._compiled[key] = Program(*found)
    return self._compiled[key]


def _bytes(compiled) -> int:
  analysis = compiled.memory_analysis()
  if analysis is None:
    return 0
  return (
    analysis.argument_size_in_bytes
    + analysis.output_size_in_bytes
    + analysis.temp_size_in_bytes
    - analysis.alias_size_in_bytes
  )
