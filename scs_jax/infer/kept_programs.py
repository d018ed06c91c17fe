"""Compiled programs kept whole for the next command, which then need not even trace them.

JAX's own cache (core/compiled.py) knows a program by its text, so that the text must be made first:
for a command that colours one picture that takes longer than colouring. Here a program is known by
the function, what it was configured with, and the shapes of its arguments.
"""

import contextlib
import dataclasses
import functools
import pickle
import types
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from flax import linen as nn
from jax.experimental import serialize_executable
from jax.experimental.compilation_cache import compilation_cache

from scs_jax.core import config, kept
from scs_jax.core.contract import Method
from scs_jax.ops import platform

_KIND = "program"


def describe(function: Any, tree: Any, shapes: Any) -> str | None:
  """Describes a function and its arguments in words that another process uses as well.

  Args:
    function: one of this package's, a method of a Method, or a partial of such, with arguments that
      are numbers, texts, dtypes, Methods, networks, and sequences of them.
    tree, shapes: of its arguments.

  Returns:
    A text, or None where nothing is kept or the function is not such a one.
  """
  if not kept.is_open() or jax.process_count() > 1:
    return None
  try:
    device = jax.devices()[0]
    where = platform.target(), device.id, device.platform, device.device_kind
    return f"{_name(function)} {tree} {shapes} {where}"
  except _Unknown:
    return None


class _Unknown(Exception):
  """What a program is made from cannot be told."""


def _name(value: Any) -> str:
  if isinstance(value, functools.partial):
    keywords = sorted(value.keywords.items())
    return f"{_name(value.func)}({_name(value.args)}, {_name(keywords)})"
  if isinstance(value, types.MethodType):
    return f"{_name(value.__self__)}.{value.__name__}"
  if isinstance(value, types.FunctionType) and kept.is_ours(value):
    if "<" in value.__qualname__:  # made within another function, from what cannot be seen here
      raise _Unknown
    return f"{value.__module__}.{value.__qualname__}"
  if isinstance(value, Method) and kept.is_ours(type(value)):
    return f"{type(value).__module__}.{type(value).__qualname__}({config.to_json(value.config)})"
  if isinstance(value, nn.Module) and kept.is_ours(type(value)):
    fields = [f.name for f in dataclasses.fields(value) if f.name not in ("parent", "name")]
    about = _name([(name, getattr(value, name)) for name in fields])
    return f"{type(value).__module__}.{type(value).__qualname__}({about})"
  if isinstance(value, tuple | list):
    return f"[{', '.join(map(_name, value))}]"
  if value is None or isinstance(value, bool | int | float | str):
    return repr(value)
  try:
    dtype = np.dtype(value)
  except (TypeError, ValueError, AttributeError):
    dtype = None
  if dtype is None or dtype.hasobject:  # as of any class
    raise _Unknown
  return str(dtype)


def find(about: str | None) -> tuple | None:
  """Returns (what runs, shapes of its result, bytes), as `keep` got them, or None."""
  content = None if about is None else kept.get(_KIND, about)
  if content is None:
    return None
  try:
    compiled, result, size = pickle.loads(content)  # of a folder that its owner alone can write
    device = jax.devices()[0]
    run = serialize_executable.deserialize_and_load(*compiled, execution_devices=[device])
  except Exception as error:  # whatever another machine's or version's bytes lead to
    kept.remove(_KIND, about, type(error).__name__)
    return None
  return run, result, size


def stands_alone(lowered: jax.stages.Lowered) -> bool:
  """Tells whether a program needs nothing besides itself, so that it may be kept.

  A call of another library, as LAPACK for a tridiagonal system, needs what JAX prepares while it
  lowers it: another process, which does not, would crash.
  """
  return not kept.is_open() or "custom_call" not in lowered.as_text()


@contextlib.contextmanager
def compiling(about: str | None) -> Iterator[None]:
  """Within it a program that `keep` is to keep is compiled without JAX's own cache, on a CPU.

  What that cache gives there can be run, but not be written once more: its functions are missing
  from the copy, which is noticed only when that is run.
  """
  if about is None or jax.default_backend() != "cpu":
    yield
    return
  before = jax.config.jax_enable_compilation_cache
  _use_cache(False)
  try:
    yield
  finally:
    _use_cache(before)


def _use_cache(on: bool) -> None:
  jax.config.update("jax_enable_compilation_cache", on)
  compilation_cache.reset_cache()  # JAX looks at it once


def keep(about: str | None, compiled: jax.stages.Compiled, result: Any, size: int) -> None:
  """Keeps a program, if it can be described and XLA can write it for this device."""
  if about is None:
    return
  try:
    content = pickle.dumps((serialize_executable.serialize(compiled), result, size))
  except Exception:  # a platform that does not write programs, a tree that pickle does not
    return
  kept.put(_KIND, about, content)
