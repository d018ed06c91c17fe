"""Colours files, folders and videos in one call: `scs_jax.colorize`, and so `scs-jax colorize`."""

import functools
import os
from collections.abc import Sequence

from scs_jax.data import decode
from scs_jax.errors import UserError
from scs_jax.infer import batch, display, pair_inputs, pictures, record, references
from scs_jax.infer import inputs as tasks
from scs_jax.infer.batch import Outcome
from scs_jax.infer.colorizer import Colorizer
from scs_jax.training import models

Path = str | os.PathLike[str]


def colorize(
  inputs: Path | Sequence[Path],
  out: Path,
  *,
  mono: Path | None = None,
  color: Path | None = None,
  mono_view: str | None = None,
  checkpoint: Path | models.Model | None = None,
  step: int | str | None = None,
  reference: Path | None = None,
  scale: float | None = None,
  size: tuple[int | None, int | None] | None = None,
  keep_luminance: bool = False,
  saturation: float = 1.0,
  input_side: int | None = None,
  format: str = "same",
  quality: int = 95,
  white_level: float | None = None,
  max_pixels: int | None = None,
  memory_limit: int | None = None,
  overwrite: bool = False,
  quiet: bool = False,
) -> Outcome:
  """Colours pictures and videos, and writes each result beside the others.

  What is done already with the same settings is skipped, so the same call goes on where it was
  interrupted. What is wrong with one picture stops no other.

  Args:
    inputs: pictures, videos or folders, here or in a bucket (gs://, s3://), or patterns; empty
      where pairs are given.
    out: folder of the results, here or in a bucket; of one picture also a file's name.
    mono, color: of a pair the monochrome and the colour view: two files, or two folders.
    mono_view: where the monochrome camera stood (infer.pairs.VIEWS); None: found from each pair.
    checkpoint: as `models.find` takes it; None: the shipped model for what is asked.
    step: which checkpoint of a run: "best" (the default), "last", or a number.
    reference: a colour picture, or a folder of them.
    scale, size: at most one of them; size is (height, width), one of which may be None: by aspect.
    keep_luminance, saturation, input_side: as of Colorizer.color.
    format: of the results: "same", or a key of infer.inputs.FORMATS.
    quality: of JPEG and WebP, 1 to 100.
    white_level: the value that is white in pictures of more than 8 bits; None: as the file says.
    max_pixels: larger pictures are refused; None: data.decode.MAX_PIXELS.
    memory_limit: bytes to plan for; None: 80 % of what is free.
    overwrite: do everything again, and replace files that were not made here.
    quiet: no progress bar.

  Returns:
    Counts, and (name, cause) of what could not be coloured.

  Raises:
    UserError: nothing to colour, arguments that do not go together, no such network, a file in the
      way. OSError: results cannot be written; what was finished before is kept.
  """
  given = [inputs] if isinstance(inputs, str | os.PathLike) else list(inputs)
  given, out = list(map(os.fspath, given)), os.fspath(out)
  for name, path in (("checkpoint", checkpoint), ("reference", reference), ("mono", mono),
                     ("color", color)):  # fmt: skip
    if path == "":  # as of an unset variable
      raise UserError(f"--{name} is empty: expected a path")
  paired = _is_paired(given, mono, color, mono_view, reference)
  settings = batch.Settings(scale, size, keep_luminance, saturation, input_side, quality)
  found = pair_inputs.find(mono, color, out, format) if paired else tasks.find(given, out, format)
  if checkpoint is not None:
    model = models.find(checkpoint, step)
  elif step is not None:
    raise UserError("--step goes with --checkpoint, which is missing")
  else:
    alone = reference is None and scale is None and size is None
    model = models.default("pairs" if paired else "automatic" if alone else "photographs")
  read = functools.partial(
    pictures.read, max_pixels=max_pixels or decode.MAX_PIXELS, white_level=white_level
  )
  lenders, lent, view = None, None, {}
  if paired:
    lent = view = {"mono_view": mono_view or "auto"}
    lenders = pair_inputs.Partners(found.tasks, read)
  elif reference is not None:
    lenders = references.References(reference, read)
    lent = lenders.fingerprint
  identity = {**settings.__dict__, "checkpoint": model.fingerprint(), "reference": lent}
  if white_level is not None:  # not otherwise, so that what was made before stays done
    identity["white_level"] = white_level
  outcome = batch.color_all(
    found.tasks,
    settings,
    record.Record(None if found.single else out, identity),
    lambda: _open_colorizer(model, memory_limit, **view),
    lenders,
    overwrite=overwrite,
    quiet=quiet,
    read=read,
  )
  outcome.broken[:0] = found.unreadable
  outcome.others, outcome.results, outcome.spare = found.others, found.results, found.spare
  return outcome


def _is_paired(given: Sequence[str], mono, color, mono_view, reference) -> bool:
  """Tells whether pairs are given; refuses what goes with neither or with one of the two alone."""
  if mono is None and color is None:
    if not given:
      raise UserError("nothing to colour: give pictures or folders, or --mono and --color")
    if mono_view is not None:
      raise UserError("--mono-view goes with --mono and --color, which are missing")
    return False
  if mono is None or color is None:
    one, other, what = (
      ("color", "mono", "monochrome") if mono is None else ("mono", "color", "colour")
    )
    raise UserError(f"--{one} needs --{other}: the {what} camera's picture or folder")
  if given:
    raise UserError(f"{given[0]} beside --mono and --color: give pictures, or pairs")
  if reference is not None:
    raise UserError("of a pair --color is the reference: leave --reference out")
  return True


def _open_colorizer(model: models.Model, memory_limit: int | None, **pairs):
  """Opens what colours photos, or with `mono_view` pairs."""
  display.say(f"colouring with {model.place}")
  if pairs:
    from scs_jax.infer.pairs import PairColorizer  # photographs need none of its filters

    kind = PairColorizer
  else:
    kind = Colorizer
  return kind.from_checkpoint(model, memory_limit=memory_limit, note=display.say, **pairs)
