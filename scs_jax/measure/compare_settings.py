"""The flags of `scs-jax compare`, checked; what they leave open comes from the first run."""

import dataclasses
import pathlib
import re
import shlex
from typing import Any

from scs_jax.core import config as configs
from scs_jax.core.rules import ENGINE_RULES
from scs_jax.errors import UserError
from scs_jax.measure import evaluation_settings, pairs
from scs_jax.measure.compare_rows import Row
from scs_jax.measure.evaluate import MODES


@dataclasses.dataclass
class Plan:
  """One comparison.

  Attributes:
    track: "photos" or "pairs".
    data: [(name, spec)].
    modes: in order.
    size: (height, width) of what is measured; None: whole pairs.
    enlarge: whether smaller photos are enlarged to it, else left out.
    warped: whether the truth of pairs is the colour view's colours, carried over.
    config: the first run's of the track, else a default: what flags leave open, and of pairs the
      cameras.
  """

  track: str
  data: list[tuple[str, str]]
  reference_data: str | None
  modes: tuple[str, ...]
  scale: float
  size: tuple[int, int] | None
  enlarge: bool
  reference_size: int
  limit: int | None
  shared: bool
  batch_size: int
  seed: int
  fid_weights: str | None
  lpips_weights: tuple[str, ...] | None
  warped: bool
  baselines: bool
  timing_runs: int
  panels: int
  inputs_out: pathlib.Path | None
  out: pathlib.Path
  overwrite: bool
  quiet: bool
  command: str
  config: Any


def named(text: str) -> tuple[str, str]:
  """`NAME=PATH` -> (NAME, PATH); the name is "" where there is none.

  A name has no slash, so that a path may have a = in one of its folders.
  """
  name, equals, rest = text.partition("=")
  if equals and rest and re.fullmatch(r"[^/\\]+", name):
    return name.strip(), rest
  return "", text


def read(args, rows: list[Row]) -> Plan:
  """The settings.

  Args:
    rows: the runs, cascades and folders that could be opened, in order.

  Raises:
    UserError: a value out of range.
  """
  for flag, value, least in (
    ("--limit", args.limit, 1),
    ("--batch-size", args.batch_size, 1),
    ("--panels", args.panels, 0),
    ("--seed", args.seed, 0),
    ("--timing-runs", args.timing_runs, 1),
    ("--reference-size", args.reference_size, 1),
  ):
    if value is not None and not least <= value < 2**31:
      raise UserError(f"{flag} {value}: expected a whole number from {least}")
  track = args.track or ("pairs" if any(row.takes_pairs for row in rows) else "photos")
  known, others = (MODES, pairs.MODES) if track == "photos" else (pairs.MODES, MODES)
  modes = known
  if args.modes is not None:
    why = f"the comparison is of {track}"
    modes = evaluation_settings.read_modes(args.modes, known, others, why)
  if track == "pairs":
    for flag in ("--scale", "--reference-data", "--reference-size", "--fid-weights",
                 "--inputs-out"):  # fmt: skip
      if getattr(args, flag[2:].replace("-", "_")) is not None:
        raise UserError(f"{flag} is for photos, and the comparison is of pairs: drop the flag")
  elif args.truth is not None:
    raise UserError("--truth is for pairs, and the comparison is of photos: drop the flag")
  config = _config(track, rows)
  size = None if args.size is None else evaluation_settings.read_size(args.size)
  if size is None and track == "photos":
    size = config.data.crop, config.data.crop
  if size is None and (args.batch_size or 1) > 1:
    raise UserError("--batch-size is for pairs of one size: give --size as well, or drop it")
  lends = [r.config for r in rows if r.config is not None and r.referential and not r.takes_pairs]
  batch_size = args.batch_size or config.evaluate.batch_size
  return Plan(
    track=track,
    data=_data(args.data),
    reference_data=args.reference_data,
    modes=modes,
    scale=_scale(args.scale, config) if track == "photos" else 1.0,
    size=size,
    enlarge=args.enlarge,
    reference_size=args.reference_size or (lends or [config])[0].evaluate.reference_size,
    limit=args.limit,
    shared=args.shared,
    batch_size=1 if size is None else batch_size,
    seed=args.seed,
    fid_weights=args.fid_weights,
    lpips_weights=None if args.lpips_weights is None else tuple(args.lpips_weights),
    warped=args.truth == "warped",
    baselines=not args.no_baselines,
    timing_runs=0 if args.no_speed else args.timing_runs,
    panels=args.panels,
    inputs_out=None if args.inputs_out is None else pathlib.Path(args.inputs_out),
    out=_folder(args.out),
    overwrite=args.overwrite,
    quiet=args.quiet,
    command=shlex.join(["scs-jax", "compare", *args.argv]),
    config=config,
  )


def _config(track: str, rows: list[Row]):
  """Of the first run of the track; a published one where there are folders of pictures alone."""
  for row in rows:
    if row.config is not None and row.takes_pairs == (track == "pairs"):
      return row.config
  return configs.load("cycle_cnn/paper" if track == "pairs" else "scsnet/paper")


def _data(specs: list[str]) -> list[tuple[str, str]]:
  found: dict[str, str] = {}
  for text in specs:
    name, spec = named(text)
    if not spec:
      raise UserError("--data is empty: expected a folder of pictures or another data set")
    bundled = spec.startswith("bundled")
    name = name or (spec.replace(":", "-") if bundled else pathlib.Path(spec).resolve().name)
    if name in found:
      raise UserError(f"--data: two data sets called {name!r}; name one of them, NAME={spec}")
    found[name] = spec
  return list(found.items())


def _scale(scale: float | None, config) -> float:
  scale = config.evaluate.scale if scale is None else scale
  rule = ENGINE_RULES["evaluate.scale"]
  if not rule.allows(scale):
    raise UserError(f"--scale {scale:g}: expected {rule.expected()}")
  return scale


def _folder(out: str) -> pathlib.Path:
  if not out:
    raise UserError("--out is empty: expected a folder")
  return pathlib.Path(out)
