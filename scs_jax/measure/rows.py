"""The rows of a comparison: what is asked for, opened; what fails stops no other."""

import os
import pathlib
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence

import jax

from scs_jax.core import failures
from scs_jax.core.contract import TrainState
from scs_jax.errors import UserError
from scs_jax.measure import passes, remarks, settings
from scs_jax.measure.given import Given
from scs_jax.measure.predictors import Cascade, Network, Predictor, TrueLightness
from scs_jax.training import distributed, ending, models
from scs_jax.training.model_file import SUFFIX
from scs_jax.training.models import Model

Spec = str | os.PathLike[str] | Model
Specs = Spec | Mapping[str, Spec] | Sequence[Spec]
"""{name: what}, or a list of what, or one; a text may name it: "NAME=WHAT"."""


class Failures(dict[str, str]):
  """Holds {row or data set: why}; what fails is told at once, and the others go on.

  What fails in one of several processes fails in all of them.
  """

  def __init__(self, debug: bool = False):
    super().__init__()
    self._debug = debug

  def catch(self, name: str, work: Callable, *args, around=distributed.agreeing):
    """Returns work(*args), or None where it failed.

    Args:
      around: ending.failing_alike, where processes wait for each other in the work.

    Raises:
      FailedAlone: see there.
    """
    try:
      with around():
        return work(*args)
    except ending.FailedAlone:
      raise
    except Exception as error:
      self.add(name, error)
      return None

  def add(self, name: str, error: Exception) -> None:
    """Notes an error."""
    why = failures.describe(error)
    if self._debug or failures.explain(error) is None:
      traceback.print_exception(error)
    self[name] = f"{self[name]}; {why}" if name in self else why
    print(f"failed: {name}: {why}", file=sys.stderr)


def open_all(
  runs: Specs, cascades: Specs, results: Specs, step: int | str, failed: Failures
) -> list[Predictor]:
  """Opens what can be opened, each under a name of its own.

  Args:
    runs: trained networks. cascades: "COLORIZER+ENLARGER". results: folders of pictures.
    step: of all networks.
    failed: receives what cannot be opened.
  """
  step = settings.read_step(step)
  wanted = [(_open_run, *one) for one in _named("runs", runs, Model)]
  wanted += [(_open_cascade, *one) for one in _named("cascade", cascades)]
  given = lambda name, spec, step: Given(name, spec)
  wanted += [(given, *one) for one in _named("results", results)]
  rows: list[Predictor] = []
  taken: set[str] = set()
  for work, name, spec in wanted:
    base, n = name, 1
    while name in taken:
      n += 1
      name = f"{base} ({n})"
    taken.add(name)
    row = failed.catch(name, work, name, spec, step)
    rows += [row] if row else []
  return rows


def _named(flag: str, specs: Specs, *kinds: type) -> list[tuple[str, Spec]]:
  """Returns [(name, what)]; without a name the last parts of the paths."""
  return [(name or _shorten(spec), spec) for name, spec in split_all(flag, specs, *kinds)]


def _shorten(spec: str | Model) -> str:
  if isinstance(spec, Model):
    return spec.stem
  last = lambda path: pathlib.PurePosixPath(path.rstrip("/")).name.removesuffix(SUFFIX) or path
  return " + ".join(map(last, spec.split("+")))


def split_all(flag: str, specs: Specs, *kinds: type) -> list[tuple[str, str | Model]]:
  """Returns [(name, what)] of Specs, paths as texts; the name is "" where there is none.

  A name in a text has no slash, so that a path may have a = in one of its folders.

  Args:
    flag: what they are given by; kinds: what they may be besides texts and paths.
  """
  if isinstance(specs, Mapping):
    named = [(str(name), spec) for name, spec in specs.items()]
  elif isinstance(specs, Iterable) and not isinstance(specs, str | os.PathLike):
    named = [("", spec) for spec in specs]
  else:
    named = [("", specs)]
  found = []
  for name, spec in named:
    if not isinstance(spec, (str, os.PathLike, *kinds)):
      raise UserError(f"--{flag} {spec!r}: expected a text or a path, or several")
    if isinstance(spec, str) and not isinstance(specs, Mapping):
      before, equals, rest = spec.partition("=")
      if equals and rest and re.fullmatch(r"[^/\\]+", before):
        name, spec = before.strip(), rest
    found.append((name, os.fspath(spec) if isinstance(spec, os.PathLike) else spec))
  return found


def _open_run(name: str, spec: str, step: int | str) -> Network:
  found, state, record = _restore(spec, step)
  return passes.network(name, found.method, state, config=found.config, record=record)


def _open_cascade(name: str, spec: str, step: int | str) -> Network:
  parts = spec.split("+")
  if len(parts) != 2 or not all(parts):
    raise UserError(f"--cascade {spec}: expected two runs, COLORIZER+ENLARGER")
  (first, state_c, record_c), (second, state_e, record_e) = (
    _restore(part, step) for part in parts
  )
  colors, enlarger = first.method, second.method
  if not enlarger.only_enlarges:
    raise UserError(f"{parts[1]} enlarges no colour pictures: expected a run of a method that does "
                    "that alone, as the joint network with task=super_resolution")  # fmt: skip
  if colors.takes_pairs or colors.only_enlarges:
    raise UserError(f"{parts[0]} colours no single pictures: expected a run that does")
  both = Cascade(colors, enlarger)
  record = {"colorizer": record_c, "enlarger": record_e, "enlarged": both.factor}
  state = {"colorizer": state_c, "enlarger": state_e}
  return Network(name, both, state, kind="cascade", config=first.config, record=record)


def _restore(spec: str, step: int | str) -> tuple[Model, TrainState, dict]:
  found = models.find(spec, step)
  record = remarks.checkpoint_record(found, step, found.fingerprint())
  return found, jax.device_put(found.restore()), record


def require_photos(row: Predictor, scale: float) -> Predictor:
  """Refuses what cannot colour photographs at a magnification.

  Raises:
    UserError: says why not.
  """
  if row.takes_pairs:
    raise UserError("it colours pairs of a monochrome and a colour view, not photos")
  if row.method is not None:
    if row.method.only_enlarges:
      raise UserError("it enlarges colour pictures: name it in --cascade, after a colorizer")
    settings.read_scale(scale, row.config, row.method)
  return row


def with_true_lightness(row: Predictor, scale: float) -> list[Predictor]:
  """Gives the row; of a method that enlarges the input's L beside its colours, one with the true L
  too."""
  if scale == 1 or row.method is None or not row.method.keeps_luminance:
    return [row]
  other = TrueLightness(row, f"{row.name}, true L")
  row.name = f"{row.name}, L interpolated"
  return [row, other]
