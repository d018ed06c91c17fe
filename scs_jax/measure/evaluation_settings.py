"""The flags of `scs-jax evaluate`, checked, with what they leave to the run's config filled in."""

import dataclasses
import pathlib

from scs_jax.core import spelling
from scs_jax.core.rules import ENGINE_RULES, Between
from scs_jax.errors import UserError
from scs_jax.measure import pairs
from scs_jax.measure.evaluate import MODES, MORE_MODES, SMALLEST
from scs_jax.measure.learned import Perceptual, perceptual
from scs_jax.training import models
from scs_jax.training.models import Model

_LARGEST = 8192  # pixels a side


@dataclasses.dataclass
class Settings:
  """One evaluation.

  Attributes:
    checkpoint: as the user wrote it.
    run: the trained network that is measured; step: its; which: how it was chosen.
    model: what it is called in tables.
    data, reference_data: as `sources.open_source` takes them; name: of the data, short.
    modes: in order; modes_asked: whether the user named them.
    size: (height, width) of the pictures measured; None: whole pairs, each at its own.
    enlarge: whether smaller pictures are enlarged to it, else left out.
    out: where results are written; overwrite: whatever is there.
    warped: whether the truth of pairs is the colour view's colours, carried over.
    lpips: {"lpips": the metric} where its weights are given, else nothing.
    notes: what the user should see.
  """

  checkpoint: str
  run: Model
  step: int
  which: str
  model: str
  data: str
  reference_data: str | None
  name: str
  modes: tuple[str, ...]
  modes_asked: bool
  scale: float
  size: tuple[int, int] | None
  enlarge: bool
  limit: int | None
  batch_size: int
  seed: int
  out: pathlib.Path
  overwrite: bool
  panels: int
  baselines: bool
  warped: bool = False
  lpips: dict[str, Perceptual] = dataclasses.field(default_factory=dict)
  notes: list[str] = dataclasses.field(default_factory=list)

  def drop(self, mode: str, why: str) -> None:
    """Leaves a mode out and says so."""
    self.modes = tuple(m for m in self.modes if m != mode)
    self.notes.append(f"mode {mode} is left out: {why}")


def open_run(args) -> Model:
  """The trained network that the flags name.

  Raises:
    UserError: there is none.
  """
  return models.find(args.checkpoint, read_step(args.step))


def read(args, run: Model) -> Settings:
  """The settings for pictures.

  Raises:
    UserError: a value out of range.
  """
  if args.truth is not None:
    raise UserError("--truth is for methods that colour pairs; drop the flag")
  config, method = run.config, run.method
  data = config.data.heldout if args.data is None else args.data
  if not data:
    raise UserError(
      "which pictures? the run has no held-out ones (its config.data.heldout is empty) and --data "
      "is not given; expected a folder of pictures, or bundled:heldout"
    )
  scale = read_scale(args.scale, config, method)
  size = config.data.crop, config.data.crop
  if args.size is not None:
    size = read_size(args.size)
  setting = common(args, run, data, MODES, f"{scale:g}x-{short(size)}px", size)
  setting.scale = scale
  _choose_modes(setting, args.modes, method)
  setting.notes += trained_on(config, data)
  return setting


def common(args, run: Model, data: str, modes, what: str, size) -> Settings:
  """What pictures and pairs have in common, checked; `what` the name of the results says of them.

  Raises:
    UserError: a value out of range.
  """
  for flag, value, least in (
    ("--limit", args.limit, 1),
    ("--batch-size", args.batch_size, 1),
    ("--panels", args.panels, 0),
    ("--seed", args.seed, 0),
  ):
    if value is not None and not least <= value < 2**31:
      raise UserError(f"{flag} {value}: expected a whole number from {least}")
  lpips = perceptual(args.lpips_weights)
  for metric in lpips.values():
    metric.require_size(size)
  name = data.replace(":", "-") if data.startswith("bundled") else pathlib.Path(data).resolve().name
  return Settings(
    checkpoint=args.checkpoint,
    run=run,
    step=run.step,
    which=args.step,
    model=run.name,
    data=data,
    reference_data=args.reference_data,
    name=name,
    modes=tuple(modes),
    modes_asked=args.modes is not None,
    scale=1.0,
    size=size,
    enlarge=args.enlarge,
    limit=args.limit,
    batch_size=args.batch_size or run.config.evaluate.batch_size,
    seed=args.seed,
    out=_out(args.out, run, f"{name}-{what}-step{run.step}"),
    overwrite=args.overwrite,
    panels=args.panels,
    baselines=not args.no_baselines,
    warped=args.truth == "warped",
    lpips=lpips,
  )


def read_step(text: str) -> str | int:
  if text in ("best", "last"):
    return text
  if text.isdecimal():
    return int(text)
  raise UserError(f"--step {text}: expected best, last or the number of a step")


def read_scale(scale: float | None, config, method) -> float:
  """Within the engine's range and the method's own; the config's where none is given."""
  scale = config.evaluate.scale if scale is None else scale
  for rule in (ENGINE_RULES["evaluate.scale"], Between(*method.scales)):
    if not rule.allows(scale):
      near = rule.nearest(scale)
      advice = "" if near is None else f"; the nearest allowed is {near:g}"
      raise UserError(f"--scale {scale:g}: {config.method.name} takes {rule.expected()}{advice}")
  return scale


def read_size(text: str) -> tuple[int, int]:
  """--size as (height, width)."""
  parts = text.lower().split("x")
  if len(parts) > 2 or not all(part.isdecimal() for part in parts):
    raise UserError(f"--size {text}: expected pixels a side, as 256, or WIDTHxHEIGHT, as 320x240")
  width, height = int(parts[0]), int(parts[-1])
  if not SMALLEST <= min(width, height) <= max(width, height) <= _LARGEST:
    raise UserError(
      f"--size {text}: expected {SMALLEST} (the window of SSIM) to {_LARGEST} pixels a side"
    )
  return height, width


def short(size: tuple[int, int]) -> str:
  """As --size takes it: 160, or 320x240."""
  height, width = size
  return f"{width}" if height == width else f"{width}x{height}"


def _out(out: str | None, run: Model, name: str) -> pathlib.Path:
  if out is not None:
    if not out:
      raise UserError("--out is empty: expected a folder")
    return pathlib.Path(out)
  if run.run is None:  # beside a shipped model is no place for results
    return pathlib.Path("evaluation", run.stem, name)
  if "://" in str(run.run):
    raise UserError("the checkpoint is not on a local disk: give --out, a folder for the results")
  return pathlib.Path(run.run) / "evaluation" / name


def read_modes(asked: str, modes, others, why: str) -> tuple[str, ...]:
  """--modes, in order.

  Args:
    modes: those that there are; others: those of the other kind of method; why: they are not.
  """
  names = [name.strip() for name in asked.split(",") if name.strip()]
  for name in names:
    if name in others:
      raise UserError(f"--modes {asked}: {why}; its modes are {','.join(modes)}")
    if name not in modes:
      raise UserError(f"--modes {asked}: no mode {name!r}; {spelling.hint(name, modes)}")
  if not names:
    raise UserError(f"--modes is empty: expected some of {','.join(modes)}")
  return tuple(mode for mode in modes if mode in names)


def _choose_modes(setting: Settings, asked: str | None, method) -> None:
  if asked is not None:
    setting.modes = read_modes(
      asked, MORE_MODES, pairs.MODES, f"{setting.model} colours single pictures"
    )
    if setting.modes != ("automatic",) and not method.takes_reference:
      raise UserError(f"--modes {asked}: {setting.model} takes no reference; use --modes automatic")
  elif not method.takes_reference:
    for mode in ("self", "random"):
      setting.drop(mode, f"{setting.model} takes no reference")
  if setting.reference_data and "random" not in setting.modes:
    raise UserError("--reference-data is for mode random, which is not among the modes; drop one")


def trained_on(config, data: str) -> list[str]:
  """A warning where pictures were trained on."""
  source = config.data.source
  bundled = source in ("bundled", "bundled:train") and data in ("bundled", "bundled:train")
  folders = "bundled" not in (source.partition(":")[0], data.partition(":")[0]) and source
  trained = pathlib.Path(source).resolve()
  if bundled or (folders and pathlib.Path(data).resolve().is_relative_to(trained)):
    return ["the model was trained on some or all of these pictures: this measures its memory"]
  return []
