"""Configures the site that `make docs` builds: the Markdown of the whole repository, as it lies.

The source folder is the root of the repository, so that every page stands where GitHub shows it and
links between pages need no second spelling. Nothing is fetched, neither while the site is built nor
when it is read: no fonts, no scripts of others, and formulas as MathML, which browsers draw.
"""

import re

from docutils import nodes
from docutils.utils.math import MathError, latex2mathml
from sphinx.util import logging

import scs_jax

project = "scs_jax"
author = "The scs_jax authors"
version = release = scs_jax.__version__
copyright = f"{author}, Apache-2.0"

extensions = ["myst_nb", "sphinx.ext.autodoc"]
root_doc = "docs/index"
include_patterns = [
  "README.md",
  "CONTRIBUTING.md",
  "docs/**",
  "benchmarks/**.md",
  "scs_jax/methods/*/README.md",
]
exclude_patterns = [".*", "build", "dist", "runs", "tests", "**/__pycache__"]

# -- Markdown and the notebook, which a test executes: here it is shown as it was committed

myst_enable_extensions = ["dollarmath"]
myst_fence_as_directive = ["math"]  # as GitHub writes formulas
myst_heading_anchors = 4
nb_execution_mode = "off"
nb_ipywidgets_js = {}

# -- docstrings

autodoc_default_options = {"members": True, "special-members": "__call__"}
autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False
autodoc_typehints_format = "short"
maximum_signature_line_length = 80
nitpicky = True
# Types of other packages have no page here.
nitpick_ignore_regex = [
  ("py:.*", r"(collections|os|pathlib|typing|zipfile)\..*"),
  ("py:.*", r"(etils|flax|jax|ml_collections|numpy|optax|PIL)\..*"),
]

# -- the look

html_theme = "furo"
html_title = f"scs_jax {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_extra_path = ["_root"]
html_copy_source = False
smartquotes = False  # much of the text is code, or near it
html_math_renderer = "mathml"


def mathml(translator, node):
  """Writes a formula, inline or as a block, as MathML."""
  block = node.tagname == "math_block"
  # Else docutils puts the indices of a letter with an accent under and over it.
  text = re.sub(r"(\\(?:hat|bar|tilde){\w})(?=[_^])", r"{\1{}}", node.astext())
  try:
    text = latex2mathml.tex2mathml(text, as_block=block)
  except MathError as error:
    logging.getLogger(__name__).warning("formula: %s", error, location=node)
    text = translator.encode(node.astext())
  translator.body.append(f'<div class="math">{text}</div>\n' if block else text)
  raise nodes.SkipNode


HEADING = re.compile(r"(Args|Attributes|Raises|Returns):")
ENTRY = re.compile(r"  ([*\w]+(?:, [*\w]+)*): ")
SPECIAL = re.compile(r"`([^`]+)`|[*](?! )|[|\\]|_(?!\w)")


def restructure(app, what, name, obj, options, lines):
  """Turns a docstring of ours into RST, in place.

  That is plain text with `code`, indented examples and four kinds of lists. An extension for
  Google's docstrings would take words before a colon for types.
  """
  if what == "module":  # autodoc has taken the indent of a list of examples for the margin
    lines[:] = obj.__doc__.strip().split("\n")
  section, found = "", []
  for paragraph in "\n".join(lines).split("\n\n"):
    if paragraph.startswith("  ") and not section:
      found.append(f"::\n\n{paragraph}")
      continue
    text = []
    for line in paragraph.split("\n"):
      heading, entry = HEADING.fullmatch(line), ENTRY.match(line)
      if heading:
        section = heading[1]
        line = f":{section}:"
      elif entry and section not in ("", "Returns"):
        line = f"  - `{entry[1]}`: {line[entry.end() :]}"
      elif not line.startswith(" "):
        section = ""
      text.append(line)
    found.append(SPECIAL.sub(escape, "\n".join(text)))
  lines[:] = "\n\n".join(found).split("\n")


def escape(found):
  """Writes code as RST does, and keeps a special character from meaning anything."""
  return rf"\ ``{found[1]}``\ " if found[1] else rf"\{found[0]}"


def shorten(app, what, name, obj, options, signature, returned):
  """Leaves out what Flax adds to every module, and writes defaults so that Sphinx can read them."""
  if not signature:
    return None
  signature = re.sub(r"(, )?parent: .*, name: str \| None = None", "", signature)
  signature = signature.replace("<factory>", "...")
  return re.sub(r"<(?:class '|function )?([\w.]+).*?>", r"\1", signature), returned


def skip(app, what, name, obj, skipped, options):
  """Leaves out what says nothing: fields of a NamedTuple, defaults that are types."""
  dumb = name.endswith("dtype") or (obj.__doc__ or "").startswith("Alias for field number")
  return True if dumb else None


def setup(app):
  app.add_html_math_renderer("mathml", (mathml, None), (mathml, None))
  app.connect("autodoc-process-docstring", restructure)
  app.connect("autodoc-process-signature", shorten)
  app.connect("autodoc-skip-member", skip)
