"""The trained networks that the page offers, by name, and those that are open."""

import collections
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from scs_jax.core.contract import Method, TrainState
from scs_jax.errors import UserError
from scs_jax.infer import attention
from scs_jax.infer.colorizer import Colorizer
from scs_jax.infer.pairs import PairColorizer
from scs_jax.infer.pictures import Picture
from scs_jax.training import models
from scs_jax.training.models import Model

BY_TASK = ""
"""The name that leaves the choice to the task at hand, as `scs-jax colorize` does."""

_WARM = 512  # pixels a side
_OPEN = 4  # networks with their programs in memory
_Open = TypeVar("_Open")


class Networks:
  """What colours, by the names that are offered.

  Args:
    given: trained networks besides those that ship with the package, as models.find takes them.
    memory_limit: of Colorizer and PairColorizer.

  Attributes:
    photographs, pairs: names of those for either, the given ones first.

  Raises:
    UserError: a given one that is not there, or that colours nothing.
  """

  def __init__(self, given: Sequence[str] = (), memory_limit: int | None = None):
    self._memory_limit = memory_limit
    shipped = {name: models.shipped(name) for name in models.names()}
    self._models: dict[str, Model] = {name: models.find(name) for name in given} | {
      name: model for name, model in shipped.items() if name not in given
    }
    one_picture = lambda method: not (method.takes_pairs or method.only_enlarges)
    self.photographs = [n for n, m in self._models.items() if one_picture(m.method)]
    self.pairs = [n for n, m in self._models.items() if m.method.takes_pairs]
    if useless := [name for name in given if name not in (*self.photographs, *self.pairs)]:
      raise UserError(
        f"{useless[0]} only enlarges what has colours already: leave it out of --checkpoint"
      )
    if not set(given) & set(self.photographs):
      self.photographs.insert(0, BY_TASK)
    self._opened: collections.OrderedDict = collections.OrderedDict()

  def name_for(self, name: str, alone: bool) -> str:
    """The network that a name stands for.

    Args:
      name: one of `photographs`.
      alone: whether a photograph is coloured at its own size without a reference.
    """
    return name or models.DEFAULTS["automatic" if alone else "photographs"]

  def summary(self, name: str) -> str:
    """A line on what a network is and what its weights may be used for."""
    if not name:
      alone, other = models.DEFAULTS["automatic"], models.DEFAULTS["photographs"]
      return f"{alone} colours alone; {other} by a reference, or at another size."
    model = self._models[name]
    if not model.card:
      return f"{model.name}, step {model.step}."
    return f"{model.card['summary']} Weights: {model.card['licence']}"

  def search_range(self, name: str) -> int | None:
    """Of a network of `pairs`: the disparities that it looks at, in pixels."""
    return self._models[name].method.search_range

  def colorizer(self, name: str) -> Colorizer:
    """The Colorizer of a network of `photographs`, opened where it is not. Raises UserError."""
    return self._open(
      name, lambda: Colorizer.from_checkpoint(self._find(name), memory_limit=self._memory_limit)
    )

  def pair_colorizer(self, name: str, mono_view: str) -> PairColorizer:
    """The PairColorizer of a network of `pairs`, with maps, likewise."""
    limits = {"memory_limit": self._memory_limit, "want_maps": True}
    return self._open(
      (name, mono_view),
      lambda: PairColorizer.from_checkpoint(self._find(name), mono_view=mono_view, **limits),
    )

  def warm(self) -> None:
    """Opens what colours a photograph alone, and compiles it, before somebody waits for it."""
    gray = np.zeros((_WARM, _WARM), np.float32)
    self.colorizer(self.name_for(self.photographs[0], alone=True)).color(Picture(gray))

  def looker(self, name: str) -> tuple[Method, TrainState]:
    """A network whose attention to a reference can be shown. Raises UserError where it has none."""
    model = self._find(name)
    attention.require(model.method)
    return self._open((name, attention), lambda: (model.method, model.restore()))

  def has_attention(self, name: str) -> bool:
    """Whether `looker` gives this one."""
    try:
      attention.require(self._find(name).method)
    except UserError:
      return False
    return True

  def _find(self, name: str) -> Model:
    if name not in self._models:  # a page sends what it likes
      raise UserError(f"no network is called {name!r}; choose one of the list")
    return self._models[name]

  def _open(self, key, make: Callable[[], _Open]) -> _Open:
    if key not in self._opened:
      self._opened[key] = make()
      while len(self._opened) > _OPEN:
        self._opened.popitem(last=False)
    self._opened.move_to_end(key)
    return self._opened[key]
