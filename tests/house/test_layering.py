"""The arrows between packages: ops <- nn, losses, metrics <- core <- data <- training, methods
<- infer <- measure <- study <- cli.

Training, infer and measure draw with report, which is handed what it shows.
"""

import ast
import pathlib
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]

# What each package may import of the others, besides itself, `errors` and the package root.
_NUMBERS = {"ops", "nn", "losses", "metrics"}
ALLOWED = {
  "errors": set(),
  "ops": set(),
  "nn": {"ops"},
  "losses": {"ops"},
  "metrics": {"ops"},
  "core": _NUMBERS,
  "data": {"ops", "core"},
  # What is shown is handed in. Stereo checks and attention maps, of data and of a method, have
  # plots of their own.
  "report": {"ops", "metrics", "core", "data", "methods"},
  "methods": _NUMBERS | {"core", "data"},
  "training": _NUMBERS | {"core", "data", "report"},
  "infer": _NUMBERS | {"core", "data", "methods", "training", "report"},
  "measure": _NUMBERS | {"core", "data", "methods", "training", "infer", "report"},
  "study": _NUMBERS | {"core", "data", "methods", "training", "infer", "report", "measure"},
  "app": _NUMBERS | {"core", "data", "training", "infer", "report"},
  "cli": _NUMBERS
  | {"core", "data", "methods", "training", "infer", "report", "measure", "study", "app"},
  "configs": {"core"},
  "__main__": {"cli"},
  "__init__": set(),
}
# Against the arrows, for now: held-out pictures are scored along a training by what measures them
# afterwards. The list may only become shorter.
FOR_NOW = {
  ("scs_jax.training.watch", "scs_jax.measure"),
}
# ops stays pure arrays: nothing but the standard library and these.
OPS_LIBRARIES = {"jax", "numpy"}


def imported(source: str, module: str, is_package: bool = False) -> set[str]:
  """Absolute dotted names that a module's source imports, inside functions too.

  `from a import b` counts as a.b: whether b is a module or a value, its first parts decide.
  """
  base = module.split(".") if is_package else module.split(".")[:-1]
  names: set[str] = set()
  for node in ast.walk(ast.parse(source)):
    if isinstance(node, ast.Import):
      names.update(alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      start = base[: len(base) - node.level + 1] if node.level else []
      stem = ".".join([*start, *([node.module] if node.module else [])])
      names.update(f"{stem}.{alias.name}" for alias in node.names)
  return names


def violations(source: str, module: str, is_package: bool = False) -> list[str]:
  """The imports of a module that go against the arrows."""
  parts = module.split(".")
  own = parts[1] if len(parts) > 1 else "__init__"
  found = []
  for name in sorted(imported(source, module, is_package)):
    target = name.split(".")
    if target[0] != "scs_jax":
      known = target[0] in OPS_LIBRARIES or target[0] in sys.stdlib_module_names
      if own == "ops" and not known:
        found.append(f"{module} imports {name}: ops uses jax and numpy alone")
      continue
    package = target[1] if len(target) > 1 else ""
    if package in ("", "errors", "__version__") or package == own:
      other_method = own == package == "methods" and target[2:3] != parts[2:3]
      if other_method and len(parts) > 2:
        found.append(f"{module} imports {name}: methods do not know each other")
    elif (module, f"scs_jax.{package}") in FOR_NOW:
      continue
    elif package not in ALLOWED.get(own, set()):
      found.append(f"{module} imports {name}: {own} may import {sorted(ALLOWED.get(own, ()))}")
  return found


def _sources() -> list[tuple[pathlib.Path, str, bool]]:
  found = []
  for folder, prefix in ((ROOT / "scs_jax", "scs_jax"), (ROOT / "configs", "scs_jax.configs")):
    for path in sorted(folder.rglob("*.py")):
      parts = list(path.relative_to(folder).with_suffix("").parts)
      is_package = parts[-1] == "__init__"
      found.append((path, ".".join([prefix, *(parts[:-1] if is_package else parts)]), is_package))
  return found


def test_every_import_follows_the_arrows():
  found = []
  for path, module, is_package in _sources():
    found += violations(path.read_text(encoding="utf-8"), module, is_package)
  assert not found, "\n".join(found)


def test_what_is_allowed_for_now_is_still_needed():
  found = set()
  for path, module, is_package in _sources():
    for name in imported(path.read_text(encoding="utf-8"), module, is_package):
      found.add((module, ".".join(name.split(".")[:2])))
  assert found >= FOR_NOW


def test_every_package_has_its_place_in_the_arrows():
  places = {module.split(".")[1] for _, module, _ in _sources() if module != "scs_jax"}
  assert places <= set(ALLOWED)


@pytest.mark.parametrize(
  ("module", "source"),
  [
    ("scs_jax.ops.color", "import scipy.ndimage"),
    ("scs_jax.ops.color", "from flax import linen"),
    ("scs_jax.ops.color", "from scs_jax.nn import blocks"),
    ("scs_jax.ops.color", "from ..nn import blocks"),
    ("scs_jax.nn.blocks", "from scs_jax import losses"),
    ("scs_jax.losses", "import scs_jax.metrics.image"),
    ("scs_jax.metrics.image", "from ..data import decode"),
    ("scs_jax.training.loop", "def f():\n  from scs_jax.infer.colorizer import Colorizer"),
    ("scs_jax.training.loop", "from scs_jax.methods.scsnet import method"),
    ("scs_jax.methods.scsnet.method", "from scs_jax.methods.smsanet import network"),
    ("scs_jax.methods.scsnet.method", "from ..smsanet import network"),
    ("scs_jax.methods.scsnet.method", "from scs_jax.cli import main"),
    ("scs_jax.infer.colorizer", "from scs_jax.cli import main"),
    ("scs_jax.core.config", "from scs_jax.data import decode"),
    ("scs_jax.data.opening", "from scs_jax.training.loop import train"),
    ("scs_jax.training.loop", "from scs_jax.measure import evaluate"),
    ("scs_jax.report.pages", "from scs_jax.measure import evaluate"),
    ("scs_jax.measure.compare", "from scs_jax.cli import arguments"),
    ("scs_jax.configs.scsnet.paper", "from scs_jax.methods.scsnet import method"),
  ],
)
def test_an_import_against_the_arrows_is_found(module, source):
  assert len(violations(source, module)) == 1


@pytest.mark.parametrize(
  ("module", "source"),
  [
    ("scs_jax.ops.color", "import math\nimport jax.numpy as jnp\nimport numpy as np"),
    ("scs_jax.ops.color", "from . import check\nfrom scs_jax.errors import UserError"),
    ("scs_jax.methods.scsnet.method", "from . import network\nfrom ...core import step"),
    ("scs_jax.methods.scsnet.method", "from scs_jax.methods.scsnet.network import SCSNet"),
    ("scs_jax.cli.main", "import scs_jax\nfrom scs_jax.infer import colorizer"),
    ("scs_jax.configs.scsnet.paper", "from .. import common\nfrom scs_jax.core import config"),
  ],
)
def test_an_import_along_the_arrows_is_not(module, source):
  assert violations(source, module) == []


def test_relative_imports_resolve_in_packages_too():
  assert imported("from . import a", "scs_jax.nn", is_package=True) == {"scs_jax.nn.a"}
  assert imported("from .. import a", "scs_jax.nn.blocks") == {"scs_jax.a"}


def test_no_file_is_called_utils():
  names = [path for path, _, _ in _sources() if path.stem.strip("_") in ("util", "utils")]
  assert not names
