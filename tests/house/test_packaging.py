"""What is installed: packages, ranges, extras, the wheel's content, and the Makefile's manners."""

import configparser
import importlib
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile

import pytest
import yaml

import scs_jax
from scs_jax.training import model_card, models

ROOT = pathlib.Path(__file__).resolve().parents[2]


def _setup() -> configparser.ConfigParser:
  parser = configparser.ConfigParser()
  parser.read(ROOT / "setup.cfg", encoding="utf-8")
  return parser


def _lines(text: str) -> list[str]:
  return [line for line in text.splitlines() if line and not line.startswith("#")]


def _packages_on_disk() -> set[str]:
  """Every folder with Python files, as the package that it must be."""
  found = set()
  for folder, name in ((ROOT / "scs_jax", "scs_jax"), (ROOT / "configs", "scs_jax.configs")):
    for path in folder.rglob("*.py"):
      found.add(".".join([name, *path.parent.relative_to(folder).parts]))
  return found


def test_the_package_list_is_whole():
  assert set(_lines(_setup()["options"]["packages"])) == _packages_on_disk()


def test_every_package_has_an_init():
  for folder in (ROOT / "scs_jax", ROOT / "configs"):
    for path in folder.rglob("*.py"):
      assert (path.parent / "__init__.py").is_file(), path.parent


def test_the_entry_point_is_there():
  entry = _setup()["options.entry_points"]["console_scripts"].strip()
  name, target = (part.strip() for part in entry.split("="))
  module, function = target.split(":")
  assert name == "scs-jax"
  assert callable(getattr(importlib.import_module(module), function))


def test_every_requirement_of_the_default_install_is_bounded_below_and_tensorflow_is_not_one():
  requirements = _lines(_setup()["options"]["install_requires"])
  for requirement in requirements:
    assert ">=" in requirement, requirement
    assert not re.match(r"(tensorflow|tensorboard|torch)\b(?!-datasets)", requirement)
  assert any(r.startswith("jax>=0.10,<0.13") for r in requirements)
  assert {"cuda", "tpu", "tf", "dev"} <= set(_setup()["options.extras_require"])


def test_this_interpreter_and_these_libraries_are_in_range():
  packaging = pytest.importorskip("packaging.requirements")
  metadata = pytest.importorskip("importlib.metadata")
  for line in _lines(_setup()["options"]["install_requires"]):
    requirement = packaging.Requirement(line)
    assert metadata.version(requirement.name) in requirement.specifier, line
  assert (3, 11) <= sys.version_info[:2] <= (3, 13)


def test_pyproject_holds_the_build_system_alone():
  with open(ROOT / "pyproject.toml", "rb") as file:
    assert set(tomllib.load(file)) == {"build-system"}


def test_the_citation_names_the_four_papers_and_the_version():
  cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
  assert {"cff-version", "message", "title", "authors"} <= set(cited)
  assert cited["version"] == scs_jax.__version__
  titles = " ".join(entry["title"] for entry in cited["references"])
  assert len(cited["references"]) == 4
  for word in ("SCSNet", "Stacked Multi-Scale", "Joint Image Colorization", "Cycle CNN"):
    assert word in titles
  for entry in cited["references"]:
    assert entry["authors"] and entry["type"]


def test_the_licence_is_apache_2():
  text = (ROOT / "LICENSE").read_text(encoding="utf-8")
  assert "Apache License" in text and "Version 2.0, January 2004" in text
  assert "END OF TERMS AND CONDITIONS" in text


def test_shipped_models_are_whole_have_cards_and_are_small():
  """Sixteen megabytes in all, each of them one method's; there may be none."""
  for name in models.names():
    assert set(model_card.SECTIONS) == set(models.find(name).card), name
  sizes = [path.stat().st_size for path in models.FOLDER.glob("*")]
  assert sum(sizes) < 16e6 and len(sizes) == len(models.names())


@pytest.mark.slow
def test_the_wheel_holds_every_package_and_its_configs_load_elsewhere(tmp_path):
  pytest.importorskip("setuptools")
  tree, out, away = tmp_path / "tree", tmp_path / "out", tmp_path / "away"
  ignore = shutil.ignore_patterns("__pycache__")
  for folder in ("scs_jax", "configs"):
    shutil.copytree(ROOT / folder, tree / folder, ignore=ignore)
  for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
    if (ROOT / name).is_file():
      shutil.copy(ROOT / name, tree)
  (tree / "scs_jax" / "models").mkdir(exist_ok=True)
  (tree / "scs_jax" / "models" / "stand_in.safetensors").write_bytes(b"weights")
  shipped = {path.name for path in (tree / "scs_jax" / "models").glob("*.safetensors")}
  out.mkdir(), away.mkdir()
  build = f"from setuptools import build_meta; build_meta.build_wheel({str(out)!r})"
  subprocess.run([sys.executable, "-c", build], cwd=tree, check=True, capture_output=True)
  (wheel,) = out.glob("*.whl")
  site = tmp_path / "site"
  with zipfile.ZipFile(wheel) as archive:
    archive.extractall(site)
  sources = {p.relative_to(tree / "scs_jax") for p in (tree / "scs_jax").rglob("*.py")}
  sources |= {"configs" / p.relative_to(tree / "configs") for p in (tree / "configs").rglob("*.py")}
  assert sources == {p.relative_to(site / "scs_jax") for p in (site / "scs_jax").rglob("*.py")}
  for package, some in (("report", {"papers.toml", "style.css"}), ("study", {"page.js"})):
    others = [
      {path.name for path in (root / "scs_jax" / package).rglob("*.*") if path.suffix != ".py"}
      for root in (site, tree)
    ]
    assert others[0] == others[1] > some
  assert shipped == {path.name for path in (site / "scs_jax" / "models").iterdir()}
  shutil.rmtree(tree)
  code = (
    "import scs_jax.configs; from scs_jax.core import config;"
    "[config.load(n) for n in ['common', *config.list_configs()]];"
    "print(scs_jax.__file__, *config.list_configs())"
  )
  env = {**os.environ, "PYTHONPATH": str(site)}
  shown = subprocess.run(
    [sys.executable, "-c", code], cwd=away, env=env, capture_output=True, text=True, check=True
  )
  from scs_jax.core import config

  assert shown.stdout.split() == [str(site / "scs_jax" / "__init__.py"), *config.list_configs()]


def _make(*arguments: str, path: pathlib.Path | None = None) -> subprocess.CompletedProcess:
  if not shutil.which("make"):
    pytest.skip("no make here")
  env = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
  for name in ("PYTHON", "VENV", "EXTRAS", "PYTEST_ARGS"):  # `make test VENV=x` hands them on
    env.pop(name, None)
  if path is not None:
    env["PATH"] = str(path)
  make = shutil.which("make")
  assert make is not None
  return subprocess.run(
    [make, *arguments], cwd=ROOT, env=env, capture_output=True, text=True, timeout=120
  )


def _stub(folder: pathlib.Path, name: str, script: str) -> None:
  path = folder / name
  path.write_text(f"#!/bin/sh\n{script}\n")
  path.chmod(0o755)


@pytest.fixture
def commands(tmp_path):
  """A PATH of its own with what the Makefile's shell needs and no Python."""
  folder = tmp_path / "bin"
  folder.mkdir()
  for name in ("sh", "touch", "mkdir"):
    (folder / name).symlink_to(shutil.which(name))
  return folder


def test_make_alone_lists_the_targets():
  shown = _make().stdout
  for target in ("demo", "install", "test", "lint", "docs", "clean"):
    assert f"make {target}" in shown


def test_make_passes_over_a_python_that_does_not_run(commands, tmp_path):
  real = f'exec {sys.executable} "$@"'
  _stub(commands, "python3.13", "echo 'the command exists in other versions'; exit 127")
  _stub(commands, "python3.12", "exit 1")  # runs, and is not what its name says
  # Makes the folder only: a whole environment takes seconds.
  _stub(commands, "python3", f'if [ "$1" = -m ]; then mkdir -p "$3"; else {real}; fi')
  env = tmp_path / "env"
  done = _make(f"VENV={env}", f"{env}/.created", path=commands)
  assert done.returncode == 0, done.stderr
  assert "(python3)" in done.stdout and (env / ".created").is_file()


@pytest.mark.parametrize(
  ("script", "parts"),
  [
    ("exit 1", ["no Python 3.11 to 3.13", "PYTHON=/path/to/python"]),
    ('case "$2" in *ensurepip*) exit 1;; esac', ["cannot make a virtual", "python3-venv"]),
  ],
)
def test_make_says_what_is_missing(commands, tmp_path, script, parts):
  _stub(commands, "python3.12", script)
  env = tmp_path / "env"
  done = _make(f"VENV={env}", f"{env}/.created", path=commands)
  assert done.returncode != 0 and not env.exists()
  for part in parts:
    assert part in done.stderr


def test_make_takes_the_named_python_alone(commands, tmp_path):
  _stub(commands, "python3.12", f'exec {sys.executable} "$@"')
  env = tmp_path / "env"
  done = _make(f"VENV={env}", "PYTHON=/no/such/python", f"{env}/.created", path=commands)
  assert done.returncode != 0 and "tried: /no/such/python" in done.stderr


def test_the_ci_script_parses_and_runs_the_tests():
  script = ROOT / ".ci" / "run"
  assert os.access(script, os.X_OK)
  if shutil.which("bash"):
    subprocess.run(["bash", "-n", str(script)], check=True)
  text = script.read_text(encoding="utf-8")
  assert "set -euo pipefail" in text and "make test" in text
