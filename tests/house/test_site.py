"""The documentation builds as a site without a warning, and loads nothing from elsewhere."""

import io
import pathlib
import re
import zlib

import pytest

import scs_jax

# Each is of the extra docs; Sphinx does not come with all of them.
application = pytest.importorskip("sphinx.application", reason="needs pip install -e .[docs]")
for module in ("myst_nb", "furo"):
  pytest.importorskip(module, reason="needs pip install -e .[docs]")

ROOT = pathlib.Path(__file__).resolve().parents[2]
SHOWN = (
  "docs/index.md", "docs/quickstart.ipynb", "docs/api/scs_jax.rst",
  "scs_jax/methods/scsnet/README.md",
)  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory):
  """(folder of the site, what Sphinx warned of).

  Every page is read and its links are followed; only those of SHOWN are written, to be quick.
  """
  out, warned = tmp_path_factory.mktemp("site"), io.StringIO()
  app = application.Sphinx(
    ROOT, ROOT / "docs", out, out / "doctrees", "html", status=None, warning=warned
  )
  app.builder.search = False  # its index needs every page
  app.build(filenames=[ROOT / name for name in SHOWN])
  for name in sorted(app.env.found_docs):
    app.env.get_and_resolve_doctree(name, app.builder, tags=app.tags)
  return out, warned.getvalue()


def test_no_warning(site):
  assert not site[1]


def test_pages_are_drawn_without_anything_from_elsewhere(site):
  for name in SHOWN:
    page = (site[0] / name).with_suffix(".html").read_text(encoding="utf-8")
    loaded = re.findall(r"<(?:script|img|iframe|link)\b[^>]*?\b(?:src|href)=\"([^\"]+)", page)
    assert loaded and not [link for link in loaded if re.match(r"(https?:)?//", link)]


def test_a_style_sheet_loads_nothing_from_elsewhere(site):
  for sheet in (site[0] / "_static").rglob("*.css"):
    text = sheet.read_text(encoding="utf-8")
    assert not re.search(r"(url\(|@import)\s*[\"']?(https?:)?//", text), sheet


def test_formulas_are_there(site):
  page = (site[0] / "scs_jax/methods/scsnet/README.html").read_text(encoding="utf-8")
  assert page.count("<math") > 8 and r"\mathcal" not in page


def test_examples_of_a_docstring_keep_their_lines(site):
  page = (site[0] / "docs/api/scs_jax.html").read_text(encoding="utf-8")
  text = re.sub("<[^>]*>", "", page)
  assert re.search(r"\n *load_config\(.*?\)       a config.*\n *train\(", text)


def test_what_is_exported_is_documented(site):
  inventory = zlib.decompress((site[0] / "objects.inv").read_bytes().split(b"zlib.\n", 1)[1])
  documented = {line.split()[0] for line in inventory.decode().splitlines()}
  functions = {f"scs_jax.{name}" for name in scs_jax._EXPORTS if name != "models"}
  assert functions | {"scs_jax.training.models.find"} <= documented
