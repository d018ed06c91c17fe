"""Where a network looked in the reference for a clicked point of a photograph."""

import base64
import html

import numpy as np
from PIL import Image

from scs_jax.app import markup, words
from scs_jax.app.photographs import Done, read_within
from scs_jax.app.shared import Shared
from scs_jax.infer import attention
from scs_jax.report import attention_numbers, attention_panel, panels


def answer(shared: Shared, done: Done, clicked: tuple[int, int]) -> str:
  """Answers a click with the panel of `scs-jax visualize attention`, as HTML.

  Args:
    done: the photograph, coloured by a reference.
    clicked: (x, y) in the picture of it that the page shows.
  """
  try:
    return _answer(shared, done, clicked)
  except Exception as error:
    return markup.refusal(words.explain(error))


def _answer(shared: Shared, done: Done, clicked: tuple[int, int]) -> str:
  shared.turns.require_room()
  with shared.turns.turn():
    method, state = shared.networks.looker(done.network)
    picture = read_within(done.source, shared.max_pixels)
    reference = read_within(done.reference, shared.max_pixels)
    with Image.open(done.before) as image:
      size = image.height, image.width
    points = attention_numbers.moved(np.array([clicked[::-1]]), size, picture.gray.shape)
    gray = attention.seen(picture)
    seen = attention_numbers.moved(points, picture.gray.shape, gray.shape)
    looked = attention.look(method, state, gray, reference, seen)
  (y, x), (height, width) = points[0], picture.gray.shape
  where = f"at {x}, {y} of {width} x {height}"
  found = attention_numbers.describe(
    looked.levels, points, looked.reference.shape[:2], reference.gray.shape
  )
  sheet = attention_panel.draw(
    attention_panel.Shown(*looked[:4], [where], looked.levels, f"{done.name} by {done.network}")
  )
  data = base64.b64encode(panels.jpeg(sheet)).decode()
  lines = "".join(f"<li>{html.escape(t)}</li>" for t in attention_numbers.lines(found["points"]))
  picture = f'<img alt="where point {where} looked" src="data:image/jpeg;base64,{data}">'
  return f'<div class="wide">{picture}</div><ul>{lines}</ul>'
