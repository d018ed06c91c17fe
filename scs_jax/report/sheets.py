"""Sheets of captioned pictures, each at its own size, drawn with Pillow's font alone."""

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

GAP = 8  # pixels between pictures
LINE = 17  # pixels of a line of text
INK, PALE, MARK = (34, 34, 34), (190, 190, 190), (214, 39, 40)


def font():
  return ImageFont.load_default(12)


def plain(text: str) -> str:
  """The text without letters that Pillow's own font lacks; a name may hold any, or none at all."""
  return text.encode("latin-1", "replace").decode("latin-1")


def write(pen: ImageDraw.ImageDraw, at: tuple[float, float], text: str, ink=INK) -> None:
  pen.text(at, plain(text), fill=ink, font=font())


def width_of(text: str) -> int:
  """Pixels."""
  return math.ceil(font().getlength(plain(text)))


def wrap(text: str, width: int) -> list[str]:
  """Lines of at most `width` pixels, but for words that are longer."""
  lines: list[str] = []
  for word in text.split():
    longer = f"{lines[-1]} {word}" if lines else word
    if lines and width_of(longer) <= width:
      lines[-1] = longer
    else:
      lines.append(word)
  return lines


def titled(canvas: np.ndarray, lines: Sequence[str], least: int = 420) -> np.ndarray:
  """uint8 RGB [H, W, 3] with lines of text above, wrapped to its width, `least` pixels or more."""
  width = max(canvas.shape[1], least)
  wrapped = [part for line in lines for part in wrap(line, width - 2 * GAP)]
  top = GAP + LINE * len(wrapped)
  made = Image.new("RGB", (width, top + canvas.shape[0]), "white")
  pen = ImageDraw.Draw(made)
  for k, line in enumerate(wrapped):
    write(pen, (GAP, GAP // 2 + k * LINE), line)
  made.paste(Image.fromarray(canvas), (0, top))
  return np.asarray(made)


def reduced(image: np.ndarray, side: int) -> np.ndarray:
  """uint8 [H, W] or [H, W, 3] with a longest side of at most `side` pixels; never enlarged."""
  longest = max(image.shape[:2])
  if longest <= side:
    return image
  size = tuple(max(1, round(s * side / longest)) for s in image.shape[1::-1])
  return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BOX))


def framed(image: np.ndarray, box: tuple[float, float, float, float]) -> np.ndarray:
  """The picture in RGB with a rectangle (left, top, right, bottom), pixels, drawn on it."""
  made = Image.fromarray(image).convert("RGB")
  last = made.width - 1, made.height - 1
  corners = [min(max(round(x), 0), last[k % 2]) for k, x in enumerate(box)]
  ImageDraw.Draw(made).rectangle(corners, outline=MARK, width=2)
  return np.asarray(made)
