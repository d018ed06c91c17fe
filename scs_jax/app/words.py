"""Sentences of the library as the page says them: what they call by its flag has a label here."""

import re
import sys
import traceback

from scs_jax.core import failures
from scs_jax.infer import display

KEEP, MAGNIFICATION, NETWORK = "Keep light and dark", "Magnification", "Network"
MONO, COLOR, STOOD = "Monochrome picture", "Colour picture", "Where the monochrome camera stood"
REFERENCES, SATURATION = "Reference photographs", "Strength of the colours"

_LABELS = {
  "--checkpoint": NETWORK,
  "--color": COLOR,
  "--keep-luminance": KEEP,
  "--mono": MONO,
  "--mono-view": STOOD,
  "--reference": REFERENCES,
  "--saturation": SATURATION,
  "--scale": MAGNIFICATION,
}
_OF_THE_PAGE = {"`colorize --max-pixels`": "`scs-jax app --max-pixels`"}


def for_page(text: str, folder: object = None) -> str:
  """A sentence of the library as the page says it.

  Args:
    text: of the library.
    folder: of the job, which nobody but the page knows: paths in it become names.
  """
  for old, new in _OF_THE_PAGE.items():
    text = text.replace(old, new)
  if folder is not None:
    text = re.sub(rf"{re.escape(str(folder))}/(in|references|mono|color|out)/?", "", text)
  text = re.sub(
    r"(?<![\w`-])--[a-z]+(-[a-z]+)*", lambda m: _quoted(_LABELS.get(m.group(), m.group())), text
  )
  return display.printable(text)


def _quoted(label: str) -> str:
  return label if label.startswith("--") else f"“{label}”"


def explain(error: Exception, folder: object = None) -> str:
  """What went wrong, in one sentence; of a bug the rest is on the server's stderr."""
  message = failures.explain(error)
  if message is None:
    print("".join(traceback.format_exception(error)), file=sys.stderr)
    message = f"a bug in scs_jax, please report it: {type(error).__name__}: {error}"
  return for_page(message, folder)
