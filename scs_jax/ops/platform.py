"""The platform that a program is being made for, where its shape depends on it.

Usually the one it runs on. A plan for a machine that is not there compiles on a CPU for a TPU, and
layouts that are chosen while tracing must follow the target.
"""

import contextlib
import contextvars
from collections.abc import Iterator

import jax

_target: contextvars.ContextVar[str | None] = contextvars.ContextVar("target", default=None)


def target() -> str:
  """Returns one of "cpu", "gpu", "tpu"."""
  return _target.get() or jax.default_backend()


@contextlib.contextmanager
def compiling_for(platform: str) -> Iterator[None]:
  """Makes `target()` say `platform` within it. Traces made before are not made again."""
  token = _target.set(platform)
  try:
    yield
  finally:
    _target.reset(token)
