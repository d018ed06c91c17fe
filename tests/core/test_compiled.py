"""Compiled programs in the user's cache folder: where, and what happens when it is at fault."""

import os
import pathlib
import subprocess
import sys
import warnings

import pytest

from scs_jax.core import cache, compiled, kept

# Compiles functions of these names as a command would; says how many came from the folder.
_COMMAND = """
import sys
from scs_jax.core import compiled
compiled.keep()
import jax
from jax import monitoring
hits = []
monitoring.register_event_listener(lambda name, **_: hits.append(name.endswith("/cache_hits")))
for number, name in enumerate(sys.argv[1:]):
  double = lambda x: 2 * x + number
  double.__name__ = name
  assert float(jax.jit(double)(1.0)) == 2 + number
print(sum(hits))
"""


def _start(cache: pathlib.Path, *names: str, **variables: str) -> subprocess.Popen:
  ours = {k: v for k, v in os.environ.items() if not k.startswith(("JAX_COMP", "JAX_PERSIST"))}
  environment = ours | {
    "XDG_CACHE_HOME": str(cache),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    **variables,
  }
  return subprocess.Popen(
    [sys.executable, "-c", _COMMAND, *names],
    env=environment,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )


def _entries(cache: pathlib.Path, name: str) -> list[pathlib.Path]:
  return list((cache / "scs_jax").rglob(f"jit_{name}-*-cache"))


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
  """Two commands at once in an empty cache folder."""
  cache = tmp_path_factory.mktemp("cache")
  commands = [_start(cache, "first", "second") for _ in range(2)]
  for command in commands:
    _, err = command.communicate()
    assert (command.returncode, err) == (0, "")
  return cache


def test_two_commands_at_once_then_one_that_finds_a_damaged_entry(filled):
  (whole,), (damaged,) = _entries(filled, "first"), _entries(filled, "second")
  content = damaged.read_bytes()
  damaged.write_bytes(content[: len(content) // 2])
  command = _start(filled, "first", "second")
  out, err = command.communicate()
  assert (command.returncode, out) == (0, "1\n")
  assert err.count("\n") == 1
  assert "could not be read, and is made anew" in err
  assert [len(x.read_bytes()) > 1000 for x in (whole, damaged)] == [True, True]
  out, err = _start(filled, "first", "second").communicate()
  assert (out, err) == ("2\n", "")


def test_the_folder_is_bounded(tmp_path):
  bound = 4000  # bytes; an entry here has some 2,500
  names = [f"number_{i}" for i in range(5)]
  command = _start(tmp_path, *names, JAX_COMPILATION_CACHE_MAX_SIZE=str(bound))
  _, err = command.communicate()
  assert (command.returncode, err) == (0, "")
  sizes = [path.stat().st_size for path in _entries(tmp_path, "*")]
  assert 0 < sum(sizes) <= bound
  assert _entries(tmp_path, names[-1]) and not _entries(tmp_path, names[0])


@pytest.fixture
def environment(tmp_path, monkeypatch):
  """An environment with an empty cache folder; what `keep` does to Python is put back."""
  monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
  yield {"XDG_CACHE_HOME": str(tmp_path)}
  kept.open_folder(None)


def test_the_folder_is_for_its_owner_alone(environment, tmp_path):
  compiled.keep(environment=environment)
  folder = pathlib.Path(environment["JAX_COMPILATION_CACHE_DIR"])
  assert folder.is_relative_to(tmp_path / "scs_jax" / "compiled")
  assert folder.stat().st_mode & 0o077 == 0
  assert int(environment["JAX_COMPILATION_CACHE_MAX_SIZE"]) + kept.MOST_BYTES == 512 * 2**20
  assert (folder / "kept").is_dir() and kept.is_open()


def test_nothing_is_kept_where_others_may_write(environment, tmp_path, capsys):
  compiled.keep(environment=environment)
  pathlib.Path(environment.pop("JAX_COMPILATION_CACHE_DIR")).chmod(0o777)
  kept.open_folder(None)
  environment[cache.VARIABLE] = str(tmp_path / "scs_jax")
  compiled.keep(environment=environment)
  assert "JAX_COMPILATION_CACHE_DIR" not in environment and not kept.is_open()
  assert "others may write there" in capsys.readouterr().err


def test_each_number_of_processors_has_its_folder(environment):
  """XLA splits a program's loops for as many, and JAX does not ask how many when it finds it."""
  folders = set()
  for count in "124":
    given = environment | {"NPROC": count}
    compiled.keep(environment=given)
    folders.add(given["JAX_COMPILATION_CACHE_DIR"])
  assert len(folders) == 3


@pytest.mark.parametrize(
  ("on", "more"),
  [
    (False, {}),
    (True, {"SCS_JAX_CACHE": "off"}),
    (True, {"JAX_COMPILATION_CACHE_DIR": "/theirs"}),
    (True, {"JAX_COMPILATION_CACHE_DIR": ""}),
  ],
)
def test_off(on, more, environment, tmp_path):
  given = environment | more
  compiled.keep(on, given)
  assert given == environment | more
  assert not list(tmp_path.iterdir()) and not kept.is_open()


@pytest.mark.parametrize("asked", [False, True])
def test_no_folder_can_be_made(asked, environment, tmp_path, capsys):
  (tmp_path / "scs_jax").write_text("a file")
  given = {"SCS_JAX_CACHE": str(tmp_path / "scs_jax")} if asked else environment
  compiled.keep(environment=given)
  assert "JAX_COMPILATION_CACHE_DIR" not in given
  said = capsys.readouterr().err
  assert said.count("\n") == asked
  assert not asked or said.startswith("scs-jax: SCS_JAX_CACHE: no compiled programs are kept")


def test_what_was_left_unfinished_is_removed(environment):
  compiled.keep(environment=environment)
  folder = pathlib.Path(environment.pop("JAX_COMPILATION_CACHE_DIR"))
  old, new, whole = (folder / f"jit_{name}-0-cache" for name in ("old", "new", "whole"))
  for path in (old, new, whole):
    path.write_bytes(b"half")
    os.utime(path, (0, 0) if path != new else None)
  (folder / "jit_whole-0-atime").write_bytes(b"12345678")
  compiled.keep(environment=environment)
  assert [path.exists() for path in (old, new, whole)] == [False, True, True]


def test_a_full_disk_is_one_remark(environment, capsys):
  compiled.keep(environment=environment)
  folder = pathlib.Path(environment["JAX_COMPILATION_CACHE_DIR"])
  half = folder / "jit_f-0-cache"
  half.write_bytes(b"half")
  text = "Error writing persistent compilation cache entry for 'jit_f': OSError: [Errno 28] Full"
  for _ in range(2):
    warnings.showwarning(UserWarning(text), UserWarning, "compiler.py", 1)
  assert not half.exists()
  assert capsys.readouterr().err.count("could not be written (OSError: [Errno 28] Full)") == 1


@pytest.mark.parametrize(("kind", "stays"), [("Timeout", True), ("JaxRuntimeError", False)])
def test_only_what_is_damaged_is_taken_out(kind, stays, environment):
  compiled.keep(environment=environment)
  folder = pathlib.Path(environment["JAX_COMPILATION_CACHE_DIR"])
  (folder / "jit_f-0-cache").write_bytes(b"entry")
  (folder / "jit_f-0-atime").write_bytes(b"12345678")
  text = f"Error reading persistent compilation cache entry for 'jit_f': {kind}: why"
  warnings.showwarning(UserWarning(text), UserWarning, "compiler.py", 1)
  assert bool(list(folder.glob("jit_f-*"))) == stays
