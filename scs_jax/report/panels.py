"""Sheets of captioned pictures, drawn with Pillow's font alone; pictures as PNG and JPEG."""

import io
import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

GAP = 6  # pixels between pictures
LINE = 18  # pixels of a line of text
INK, PALE, MARK = (34, 34, 34), (190, 190, 190), (214, 39, 40)

_LEAST_TITLE = 420  # pixels of a line of the title, where the pictures take fewer


class Cell(NamedTuple):
  """Holds a picture of a sheet.

  Attributes:
    caption: lines of text above it.
    image: uint8 [h, w] or [h, w, 3].
    margin: of the picture itself, which its caption leaves free on the left, pixels.
  """

  caption: str
  image: np.ndarray
  margin: int = 0

  @property
  def width(self) -> int:
    """Measures the pixels that the picture and its caption take."""
    texts = (self.margin + width_of(line) for line in self.caption.splitlines())
    return max(self.image.shape[1], *texts, 0)


BLANK = Cell("", np.full((1, 1), 255, np.uint8))
"""Takes the place of a picture that is not there."""


def sheet(
  rows: Sequence[Sequence[Cell]], title: Sequence[str] = (), aligned: bool = False
) -> np.ndarray:
  """Draws pictures at their own sizes in rows, captions above them.

  Args:
    rows: of cells; a row without captions has no room for them.
    title: lines of text above all, wrapped to the sheet's width.
    aligned: whether the rows' pictures stand in columns, or each as near to the last as it can.

  Returns:
    uint8 RGB [H, W, 3].
  """
  widths = [[cell.width for cell in row] for row in rows]
  if aligned:
    columns = [max(column) for column in itertools.zip_longest(*widths, fillvalue=0)]
    widths = [columns[: len(row)] for row in rows]
  heads = [LINE * max(len(cell.caption.splitlines()) for cell in row) for row in rows]
  heights = [max(len(cell.image) for cell in row) for row in rows]
  width = GAP + max(sum(row) + GAP * len(row) for row in widths)
  width = max(width, _LEAST_TITLE if title else 0)
  text = [part for line in title for part in wrap(line, width - 2 * GAP)]
  top = LINE * len(text) + (GAP if text else 0)
  canvas = Image.new("RGB", (width, top + sum(heads) + sum(heights) + GAP * len(rows)), "white")
  pen = ImageDraw.Draw(canvas)
  _write(pen, (GAP, GAP // 2), text)
  for row, places, head, height in zip(rows, widths, heads, heights, strict=True):
    left = GAP
    for cell, place in zip(row, places, strict=True):
      _write(pen, (left + cell.margin, top + 2), cell.caption.splitlines())
      canvas.paste(Image.fromarray(cell.image), (left, top + head))
      left += place + GAP
    top += head + height + GAP
  return np.asarray(canvas)


def panel(rows: Sequence[Sequence[tuple[str, np.ndarray]]]) -> np.ndarray:
  """Draws a sheet of (caption, picture) in which a row's pictures have the size of its last one."""
  return sheet(
    [[Cell(caption, fit(image, row[-1][1].shape[:2])) for caption, image in row] for row in rows]
  )


def spread(cells: Sequence[Cell], most: int, step: int = 50) -> list[list[Cell]]:
  """Deals cells to as few rows as `most` pixels of width allow, all about as wide."""
  fewest = _filled(cells, most)
  narrower = (_filled(cells, width) for width in range(step, most, step))
  return next((rows for rows in narrower if len(rows) == len(fewest)), fewest)


def _filled(cells: Sequence[Cell], width: int) -> list[list[Cell]]:
  rows: list[list[Cell]] = []
  used = math.inf
  for cell in cells:
    if used + cell.width + GAP > width:
      rows.append([])
      used = GAP
    rows[-1].append(cell)
    used += cell.width + GAP
  return rows


# -- pictures


def fit(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
  """Brings uint8 [h, w] or [h, w, 3] to RGB [*size, 3] by repeating pixels, so that they show."""
  picture = Image.fromarray(image).convert("RGB")
  return np.asarray(picture.resize((size[1], size[0]), Image.Resampling.NEAREST))


def reduced(image: np.ndarray, side: int) -> np.ndarray:
  """Reduces uint8 [H, W] or [H, W, 3] to `side` pixels on its longest side; never enlarges it."""
  longest = max(image.shape[:2])
  if longest <= side:
    return image
  size = tuple(max(1, round(s * side / longest)) for s in image.shape[1::-1])
  return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BOX))


def framed(image: np.ndarray, box: tuple[float, float, float, float]) -> np.ndarray:
  """Draws a rectangle (left, top, right, bottom), pixels, on a picture, which becomes RGB."""
  made = Image.fromarray(image).convert("RGB")
  last = made.width - 1, made.height - 1
  corners = [min(max(round(x), 0), last[k % 2]) for k, x in enumerate(box)]
  ImageDraw.Draw(made).rectangle(corners, outline=MARK, width=2)
  return np.asarray(made)


def barred(image: np.ndarray, ramp: np.ndarray, least: str, most: str) -> np.ndarray:
  """Adds a colour bar, uint8 [1, n, 3], with what its two ends stand for, below a picture."""
  height, width = image.shape[:2]
  canvas = Image.new("RGB", (max(width, width_of(least + most) + GAP), height + 2 * LINE), "white")
  canvas.paste(Image.fromarray(image))
  bar = Image.fromarray(ramp).resize((width, LINE - GAP), Image.Resampling.BILINEAR)
  canvas.paste(bar, (0, height + GAP))
  pen = ImageDraw.Draw(canvas)
  _write(pen, (0, height + LINE + 2), [least])
  _write(pen, (canvas.width - width_of(most), height + LINE + 2), [most])
  return np.asarray(canvas)


def colored(share: np.ndarray, ramp: np.ndarray) -> np.ndarray:
  """Paints values in [0, 1] in the colours of a ramp [n, 3]: float [..., 3] of 0 to 255."""
  place = np.clip(share, 0.0, 1.0) * (len(ramp) - 1)
  return np.stack([np.interp(place, range(len(ramp)), channel) for channel in ramp.T], axis=-1)


# -- text


def font() -> ImageFont.ImageFont:
  """Loads Pillow's own font."""
  return ImageFont.load_default(12)


def plain(text: str) -> str:
  """Replaces letters that Pillow's own font lacks; a name may hold any, or bytes that are none."""
  return text.encode("latin-1", "replace").decode("latin-1")


def width_of(text: str) -> int:
  """Measures a line of text, in pixels."""
  return math.ceil(font().getlength(plain(text)))


def wrap(text: str, width: int) -> list[str]:
  """Cuts text into lines of at most `width` pixels, but for words that are longer."""
  lines: list[str] = []
  for word in text.split():
    longer = f"{lines[-1]} {word}" if lines else word
    if lines and width_of(longer) <= width:
      lines[-1] = longer
    else:
      lines.append(word)
  return lines


def _write(pen: ImageDraw.ImageDraw, at: tuple[int, int], lines: Sequence[str]) -> None:
  for k, line in enumerate(lines):
    pen.text((at[0], at[1] + k * LINE), plain(line), fill=INK, font=font())


# -- files


def png(image: np.ndarray) -> bytes:
  """Writes uint8 [H, W] or [H, W, 3] as a PNG file's bytes."""
  buffer = io.BytesIO()
  Image.fromarray(image).save(buffer, "PNG", optimize=True)
  return buffer.getvalue()


def jpeg(image: np.ndarray) -> bytes:
  """Writes the same as a JPEG file's bytes, a tenth of a PNG's, chroma at full size."""
  buffer = io.BytesIO()
  Image.fromarray(image).save(buffer, "JPEG", quality=92, subsampling=0)
  return buffer.getvalue()
