"""A method is reached by name alone: nothing outside its folder asks which one it is."""

import ast
import pathlib
import re

import pytest

from scs_jax.core import resolve
from scs_jax.training import models

ROOT = pathlib.Path(__file__).resolve().parents[2] / "scs_jax"
CLASSES = {target.rpartition(":")[2] for target in resolve.BUILTIN.values()}
# A name alone; with more behind it, it is a config (scsnet/small) or a table (scsnet.losses).
_NAME = re.compile(rf"(?<![\w./])({'|'.join(resolve.BUILTIN)})(?![\w./]*[/.]\w)\b")
# Where a verb is about one method's own figure, or reads that method's published weights.
OWN_FIGURES = {
  "cli/convert.py": "smsanet",
  "cli/visualize_attention.py": "scsnet",
  "cli/visualize_confidence.py": "cycle_cnn",
  "infer/attention.py": "scsnet",
  "report/attention_numbers.py": "scsnet",
  "report/attention_panel.py": "scsnet",
}


def _files():
  aside = {"methods", "models", "configs"}
  paths = (p for p in sorted(ROOT.rglob("*.py")) if p.relative_to(ROOT).parts[0] not in aside)
  return [path for path in paths if path != ROOT / "core" / "resolve.py"]


def _told(tree):
  """Texts that users read: docstrings, HELP, EXAMPLES and a verb's line, and `help=`."""
  for node in ast.walk(tree):
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
      yield node.value
    elif isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.AST):
      target = node.targets[0] if isinstance(node, ast.Assign) else node.target
      if ast.unparse(target) in ("HELP", "EXAMPLES", "VERBS"):
        yield node.value
    elif isinstance(node, ast.keyword) and node.arg == "help":
      yield node.value


def _knows(node, own, models):
  """Whether a node of a module's tree knows a method; see `findings`."""
  if isinstance(node, ast.Call):
    function, arguments = ast.unparse(node.func), [ast.unparse(part) for part in node.args]
    if function in ("isinstance", "issubclass"):
      return set(re.findall(r"\w+", arguments[1])) & CLASSES
    return function in ("getattr", "hasattr") and re.search(r"(^|[._])method$", arguments[0])
  if isinstance(node, ast.Import | ast.ImportFrom):
    names = re.findall(r"scs_jax\.methods[\w.]*", ast.unparse(node))
    return any(not own or not name.startswith(f"scs_jax.methods.{own}") for name in names)
  if isinstance(node, ast.Constant) and isinstance(node.value, str):
    return any(name not in (own, *models) for name in _NAME.findall(node.value))
  return False


def findings(source, own="", models=()):
  """What in a module knows a method.

  Args:
    source: its text.
    own: the method that it may know.
    models: names of shipped models that it may name.
  """
  tree = ast.parse(source)
  told = {id(part) for text in _told(tree) for part in ast.walk(text)}
  nodes = (node for node in ast.walk(tree) if id(node) not in told)
  return [ast.unparse(node) for node in nodes if _knows(node, own, models)]


def test_nothing_outside_asks_which_method_it_is():
  found = []
  for path in _files():
    place, text = path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")
    shipped = models.names() if path.name == "models.py" else ()
    found += [f"{place}: {one}" for one in findings(text, OWN_FIGURES.get(place, ""), shipped)]
  assert not found, "\n".join(found)


@pytest.mark.parametrize(
  "source",
  [
    "x = isinstance(method, JointSR)",
    "x = issubclass(kind, (int, module.SCSNet))",
    "x = getattr(row.method, 'scales', None)",
    "x = hasattr(method, 'recipe')",
    "from scs_jax.methods.joint_sr.method import JointSR",
    "from scs_jax.methods import scsnet",
    "import scs_jax.methods.scsnet.network",
    "x = config.method.name == 'scsnet'",
    "x = {'joint_sr': 1}",
    "raise E('take a run of cycle_cnn')",
  ],
)
def test_what_knows_a_method_is_found(source):
  assert len(findings(source)) == 1


@pytest.mark.parametrize(
  "source",
  [
    "HELP = 'a run of scsnet'",
    "add('--run', help='of scsnet')",
    "x = config.load('scsnet/small')",
    "x = tables['scsnet.losses']",
    "x = method.keeps_luminance",
    "x = getattr(node, 'scales', None)",
  ],
)
def test_what_knows_none_is_not(source):
  assert not findings(source)
