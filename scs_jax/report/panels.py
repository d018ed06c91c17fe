"""Labelled pictures side by side, and pictures as PNG and JPEG."""

import io
import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_GAP = 6
_HEAD = 18


def fit(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
  """uint8 [h, w] or [h, w, 3] -> uint8 RGB [*size, 3], pixels repeated so that they can be seen."""
  picture = Image.fromarray(image).convert("RGB")
  return np.asarray(picture.resize((size[1], size[0]), Image.Resampling.NEAREST))


def panel(rows: Sequence[Sequence[tuple[str, np.ndarray]]]) -> np.ndarray:
  """Pictures side by side, a caption above each.

  Args:
    rows: for each row (caption, uint8 [h, w] or [h, w, 3]) pairs; a row's pictures are brought to
      the size of its last one, and stand as far apart as their captions need.

  Returns:
    uint8 RGB [H, W, 3].
  """
  font = ImageFont.load_default(12)
  advance = lambda row, text: _GAP + max(row[-1][1].shape[1], math.ceil(font.getlength(text)))
  heights = [row[-1][1].shape[0] for row in rows]
  widths = [sum(advance(row, caption) for caption, _ in row) + _GAP for row in rows]
  canvas = Image.new("RGB", (max(widths), sum(h + _HEAD + _GAP for h in heights)), "white")
  draw, top = ImageDraw.Draw(canvas), 0
  for row, height in zip(rows, heights, strict=True):
    size = row[-1][1].shape[:2]
    left = _GAP
    for caption, image in row:
      draw.text((left, top + 2), caption, fill="black", font=font)
      canvas.paste(Image.fromarray(fit(image, size)), (left, top + _HEAD))
      left += advance(row, caption)
    top += height + _HEAD + _GAP
  return np.asarray(canvas)


def png(image: np.ndarray) -> bytes:
  """uint8 [H, W] or [H, W, 3] -> a PNG file's bytes."""
  buffer = io.BytesIO()
  Image.fromarray(image).save(buffer, "PNG", optimize=True)
  return buffer.getvalue()


def jpeg(image: np.ndarray) -> bytes:
  """uint8 [H, W] or [H, W, 3] -> a JPEG file's bytes, a tenth of a PNG's, chroma at full size."""
  buffer = io.BytesIO()
  Image.fromarray(image).save(buffer, "JPEG", quality=92, subsampling=0)
  return buffer.getvalue()
