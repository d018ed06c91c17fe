"""Pages that open offline: templates filled in, with style, script and pictures in one file."""

import base64
import functools

import jinja2
import numpy as np

from scs_jax.report import panels


@functools.cache
def _templates() -> jinja2.Environment:
  made = jinja2.Environment(
    loader=jinja2.PackageLoader("scs_jax.report"),
    autoescape=True,  # names of pictures may hold anything
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
  )
  made.filters |= {"png": _png, "jpeg": _jpeg}
  return made


def _png(image: np.ndarray) -> str:
  return "data:image/png;base64," + base64.b64encode(panels.png(image)).decode()


def _jpeg(image: np.ndarray) -> str:
  return "data:image/jpeg;base64," + base64.b64encode(panels.jpeg(image)).decode()


def render(template: str, **values) -> bytes:
  """Fills in a template of templates/, named without its ending, and returns an HTML file."""
  text = _templates().get_template(f"{template}.html.j2").render(**values)
  return text.encode("utf-8", "backslashreplace")  # file names may hold any bytes


def part(macro: str, *values) -> str:
  """Fills in one macro of parts.html.j2, such as "table" or "strip", and returns its HTML."""
  return str(getattr(_templates().get_template("parts.html.j2").module, macro)(*values))
