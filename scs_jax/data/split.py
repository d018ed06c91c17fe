"""Deals stereo pairs at random to a training and a held-out list."""

import os

from scs_jax.data import draw, location, remote, stereo, stereo_lists
from scs_jax.errors import UserError


def split(
  pairs: str | os.PathLike,
  heldout: int,
  out: str | os.PathLike,
  *,
  seed: int = 0,
  overwrite: bool = False,
) -> list[str]:
  """Writes OUT/train.csv and OUT/heldout.csv, which then stand for pairs themselves.

  Args:
    pairs: as `stereo.open_pairs` takes them.
    heldout: how many are held out; which hangs on the seed and the pairs alone.
    out: a folder that is there.
    seed: of the draw, 0 or more.
    overwrite: replace the lists that are there.

  Returns:
    Lines on what was written, and what was left out.

  Raises:
    UserError: too few pairs, pairs that no list can hold, lists that are there.
  """
  paths = [os.path.join(out, name) for name in ("train.csv", "heldout.csv")]
  remote.require_free(paths, overwrite)
  source = stereo.open_pairs(pairs)
  if heldout >= len(source):
    raise UserError(
      f"--heldout {heldout}: {pairs} has {len(source)} pairs, and one at least is to be "
      "trained on; give a smaller number"
    )
  if seed < 0:
    raise UserError(f"--seed {seed}: expected 0 or more")
  held = set(map(int, draw.draw(source, heldout, seed).numbers))
  lists: tuple[list, list] = [], []
  for i, record in enumerate(source.records):
    lists[i in held].append(record)
  contents = [stereo_lists.text(records, out) for records in lists]
  for path, content in zip(paths, contents, strict=True):
    location.write(path, content)
  counts = [f"{path}: {len(records)} pairs" for path, records in zip(paths, lists, strict=True)]
  return [*counts, *source.notes]
