"""Every config that ships: loads by its short name, is locked, is written down, is in range."""

import ast
import importlib
import pathlib

import pytest

from scs_jax.core import config, resolve

ROOT = pathlib.Path(__file__).resolve().parents[2]
NAMES = config.list_configs()


def _module(name: str):
  config.load("common")  # makes scs_jax.configs importable in a source tree as well
  return importlib.import_module("scs_jax.configs." + name.replace("/", "."))


def test_every_file_with_get_config_is_listed():
  files = {
    path.relative_to(ROOT / "configs").with_suffix("").as_posix()
    for path in (ROOT / "configs").rglob("*.py")
    if "\ndef get_config(" in path.read_text(encoding="utf-8")
  }
  assert files == {*NAMES, "common"}


@pytest.mark.parametrize("name", ["common", *NAMES])
def test_it_returns_a_fresh_locked_config(name):
  first, second = _module(name).get_config(), _module(name).get_config()
  assert first.is_locked
  assert all(section.is_locked for section in first.values() if hasattr(section, "is_locked"))
  first.seed = 12345  # a shared object would leak one run's changes into the next
  assert second.seed != 12345
  assert config.to_json(config.load(name)) == config.to_json(second)


@pytest.mark.parametrize("name", ["common", *NAMES])
def test_it_survives_being_written_down(name):
  loaded = config.load(name)
  again = config.from_json(config.to_json(loaded))
  assert config.difference(loaded, again) == []
  assert config.fingerprint(again) == config.fingerprint(loaded)


@pytest.mark.parametrize("name", NAMES)
def test_it_starts_from_common_and_is_in_range(name):
  loaded, shared = config.load(name), config.load("common")
  if loaded.data.kind == "pairs":
    with shared.unlocked():
      shared.data = _module("common").pairs_data()
  assert set(config.flatten(shared)) <= set(config.flatten(loaded))
  config.validate(loaded, config.engine_rules(loaded))
  config.validate(loaded, resolve.resolve(loaded.method.name).RULES)
  assert loaded.steps > 0 or loaded.epochs > 0


@pytest.mark.parametrize("path", sorted((ROOT / "configs").rglob("*.py")), ids=lambda p: p.stem)
def test_a_config_imports_nothing_slow(path):
  tree = ast.parse(path.read_text(encoding="utf-8"))
  for node in ast.walk(tree):
    names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
    if isinstance(node, ast.ImportFrom) and not node.level:
      names = [node.module or ""]
    for name in names:
      assert name.split(".")[0] not in ("jax", "flax", "optax", "tensorflow"), f"{path}: {name}"
