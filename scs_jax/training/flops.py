"""Floating-point operations of a function, counted in its jaxpr.

XLA's own cost analysis counts the body of a loop once, however often it runs, and so would miss
most of a streamed attention. Here scans count by their length.
"""

import math
from collections.abc import Callable
from typing import Any

import jax


def count(function: Callable, *shapes, **static) -> int:
  """Multiplications and additions of matrix products and convolutions in one call; nothing is run.

  Element-wise work is left out, as in the usual accounts of a model's FLOPs. What autodiff and
  rematerialisation add inside `function` counts. A convolution over a dilated input (the transpose
  of a strided one) counts the products with what is there, not those with the zeros between. A
  `cond` counts as its dearest branch, a `while` of unknown length as one round.

  Args:
    function: traceable.
    shapes: its arguments: trees of arrays or jax.ShapeDtypeStruct.
    static: keyword arguments that are not traced.
  """
  return _of(jax.make_jaxpr(lambda *a: function(*a, **static))(*shapes).jaxpr)


def _of(jaxpr) -> int:
  return sum(_equation(equation) for equation in jaxpr.eqns)


def _equation(equation) -> int:
  name, params = equation.primitive.name, equation.params
  if name == "dot_general":
    return _dot(equation)
  if name == "conv_general_dilated":
    return _convolution(equation)
  if name == "scan":
    return params["length"] * _of(params["jaxpr"].jaxpr)
  if name == "cond":
    return max(_of(branch.jaxpr) for branch in params["branches"])
  # A program over a mesh's devices by hand names the work of one of them.
  times = params["mesh"].size if name == "shard_map" else 1
  times *= params["global_axis_size"] if name == "xla_pmap" else 1
  return times * sum(_of(inner) for value in params.values() for inner in _jaxprs(value))


def _jaxprs(value: Any):
  """Yields the jaxprs that a parameter of an equation is or holds."""
  if hasattr(value, "eqns"):
    yield value
  elif hasattr(value, "jaxpr"):
    yield from _jaxprs(value.jaxpr)
  elif isinstance(value, list | tuple):
    for item in value:
      yield from _jaxprs(item)


def _dot(equation) -> int:
  (contracted, _), _ = equation.params["dimension_numbers"]
  inner = math.prod(equation.invars[0].aval.shape[i] for i in contracted)
  return 2 * math.prod(equation.outvars[0].aval.shape) * inner


def _convolution(equation) -> int:
  params = equation.params
  kernel = equation.invars[1].aval.shape
  spec = params["dimension_numbers"].rhs_spec  # (output channels, input channels a group, space...)
  window = math.prod(kernel[i] for i in spec[2:]) * kernel[spec[1]]
  holes = math.prod(params["lhs_dilation"])
  return 2 * math.prod(equation.outvars[0].aval.shape) * window // holes
