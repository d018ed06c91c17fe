"""What a figure holds, and what a refusal says."""

import numpy as np


def holds(sheet, part):
  """Whether a picture, [H, W, 3], contains another one, pixel by pixel."""
  h, w = part.shape[:2]
  starts = (sheet[: len(sheet) - h + 1, : sheet.shape[1] - w + 1] == part[0, 0]).all(-1)
  return any((sheet[y : y + h, x : x + w] == part).all() for y, x in np.argwhere(starts))


def one_line(capfd, *parts):
  """All that was said as an error is one line with these parts."""
  err = capfd.readouterr().err
  assert err.count("\n") == 1 and err.startswith("scs-jax: error: "), err
  for part in parts:
    assert part in err
