"""The user's cache folder: for compiled programs, and for the shards of data sets in buckets."""

import os
import pathlib
import sys
from collections.abc import Mapping

VARIABLE = "SCS_JAX_CACHE"
"""Environment variable: another folder; or "off", which keeps no programs (shards must be kept)."""


def folder(environment: Mapping[str, str] = os.environ) -> pathlib.Path:
  """Returns the folder that the user asks for, or the default one; it need not exist."""
  asked = environment.get(VARIABLE, "")
  if asked and asked.lower() != "off":
    return pathlib.Path(os.path.expanduser(asked)).absolute()
  return default_folder(environment)


def default_folder(environment: Mapping[str, str], system: str = sys.platform) -> pathlib.Path:
  """Returns the user's cache folder for scs_jax, by the system's convention; it need not exist.

  XDG_CACHE_HOME is heeded everywhere; without it ~/Library/Caches on macOS, %LOCALAPPDATA% on
  Windows, ~/.cache elsewhere. FileNotFoundError where there is no home to be found.
  """
  given = environment.get("XDG_CACHE_HOME", "")
  if os.path.isabs(given):  # others are to be ignored, says the XDG specification
    return pathlib.Path(given) / "scs_jax"
  try:
    home = pathlib.Path("~").expanduser()
  except RuntimeError as error:
    raise FileNotFoundError(str(error)) from error
  if system == "darwin":
    return home / "Library" / "Caches" / "scs_jax"
  if system == "win32":
    local = environment.get("LOCALAPPDATA") or home / "AppData" / "Local"
    return pathlib.Path(local) / "scs_jax" / "cache"
  return home / ".cache" / "scs_jax"
