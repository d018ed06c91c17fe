"""The user's cache folder."""

import pathlib

import pytest

from scs_jax.core import cache


@pytest.mark.parametrize(
  ("system", "variables", "expected"),
  [
    ("linux", {}, "~/.cache/scs_jax"),
    ("linux", {"XDG_CACHE_HOME": "relative"}, "~/.cache/scs_jax"),
    ("linux", {"XDG_CACHE_HOME": "/big"}, "/big/scs_jax"),
    ("darwin", {}, "~/Library/Caches/scs_jax"),
    ("win32", {"LOCALAPPDATA": "/local"}, "/local/scs_jax/cache"),
  ],
)
def test_default_folder(system, variables, expected):
  assert cache.default_folder(variables, system) == pathlib.Path(expected).expanduser()


@pytest.mark.parametrize("asked", ["off", "OFF", ""])
def test_what_must_be_kept_goes_to_the_default_folder(asked):
  variables = {"XDG_CACHE_HOME": "/big", cache.VARIABLE: asked}
  assert cache.folder(variables) == pathlib.Path("/big/scs_jax")


def test_a_folder_that_was_asked_for():
  asked = lambda name: cache.folder({cache.VARIABLE: name})
  assert asked("~/kept") == pathlib.Path("~/kept").expanduser()
  assert asked("kept") == pathlib.Path("kept").absolute()
  assert asked("~nobody-of-this-name/kept").name == "kept"  # as a shell has it, and no error
