"""Programs kept whole: another process' are found without tracing, and none that do not fit."""

import functools
import pickle
import shutil
import zlib

import jax
import numpy as np
import pytest
from jax import monitoring
from jax.experimental.compilation_cache import compilation_cache

from scs_jax.core import config, kept
from scs_jax.infer import kept_programs, programs
from scs_jax.methods.smsanet import attention
from scs_jax.methods.smsanet.method import SMSANet
from scs_jax.ops import color, smooth
from scs_jax.training import models

_RGB = np.random.default_rng(0).random((5, 4, 3), np.float32)


@pytest.fixture
def folder(tmp_path):
  """An open folder; closed afterwards."""
  kept.open_folder(tmp_path / "kept")
  yield tmp_path / "kept"
  kept.open_folder(None)


@pytest.fixture
def traced():
  """A list that grows with each trace."""
  found: list[float] = []
  listen = lambda name, seconds, **_: found.append(seconds) if "jaxpr_trace" in name else None
  monitoring.register_event_duration_secs_listener(listen)
  yield found
  monitoring.unregister_event_duration_listener(listen)


def _names(folder) -> set[str]:
  return {path.name for path in folder.iterdir()}


def test_a_program_is_found_without_tracing(folder, traced):
  """As another process would, a new `Programs` knows nothing of the first one's."""
  jax.clear_caches()
  first = programs.Programs().get(color.rgb_to_lab, _RGB)
  assert traced and len(_names(folder)) == 1
  jax.clear_caches()
  traced.clear()
  second = programs.Programs().get(color.rgb_to_lab, _RGB)
  assert not traced
  assert second[1:] == first[1:]
  np.testing.assert_array_equal(second.run(_RGB), first.run(_RGB))


@pytest.fixture
def jax_cache(tmp_path):
  """JAX's own cache in an empty folder, for programs of any size; as it was afterwards."""
  names = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
  before = [getattr(jax.config, name) for name in names]
  for name, value in zip(names, (str(tmp_path / "jax"), 0.0), strict=True):
    jax.config.update(name, value)
  compilation_cache.reset_cache()
  yield tmp_path / "jax"
  for name, value in zip(names, before, strict=True):
    jax.config.update(name, value)
  compilation_cache.reset_cache()


def test_a_program_that_jax_keeps_too(folder, jax_cache):
  """What JAX's cache gives cannot be written once more: the copy would lack its functions."""

  def fill():
    jax.clear_caches()
    return programs.Programs().get(color.compress_chroma, _RGB)

  kept.open_folder(None)
  fill()
  assert any(jax_cache.iterdir())
  kept.open_folder(folder)
  expected = fill().run(_RGB)
  np.testing.assert_array_equal(fill().run(_RGB), expected)


def test_functions_networks_and_configs_are_told_apart(folder):
  networks = [attention.SMSA(scales=scales, parent=None) for scales in (2, 3)]
  configs = [config.load(f"smsanet/{name}") for name in ("small", "paper")]
  functions = [
    color.rgb_to_lab,
    color.lab_to_rgb,
    functools.partial(color.lab_to_rgb, 8),
    functools.partial(color.lab_to_rgb, depth=8),
    functools.partial(color.lab_to_rgb, np.dtype(np.float16)),
    *(functools.partial(color.lab_to_rgb, network) for network in networks),
    *(SMSANet(c).predict for c in configs),
  ]
  told = {kept_programs.describe(f, None, shape) for f in functions for shape in ((1,), (2,))}
  assert len(told) == 2 * len(functions)
  assert None not in told


def test_functions_of_others_are_not_kept(folder):
  """Whether their code has changed is not known."""
  mine = lambda rgb: color.rgb_to_lab(rgb)
  for function in (mine, functools.partial(color.rgb_to_lab, mine), np.cos):
    assert kept_programs.describe(function, None, None) is None
  programs.Programs().get(mine, _RGB)
  assert not _names(folder)


def test_programs_that_call_other_libraries_are_not_kept(folder):
  """LAPACK is prepared while JAX lowers the call: another process would crash."""
  values = np.ones((1, 8, 8, 2), np.float32)
  function = functools.partial(smooth.smooth_along, strength=4.0, spread=0.1)
  programs.Programs().get(function, values, values[..., :1])
  assert not _names(folder)


def test_a_damaged_program_is_made_anew(folder):
  programs.Programs().get(color.srgb_to_linear, _RGB)
  (path,) = folder.iterdir()
  path.write_bytes(zlib.compress(pickle.dumps("no program")))
  found = programs.Programs().get(color.srgb_to_linear, _RGB)
  assert np.isfinite(found.run(_RGB)).all()
  assert len(path.read_bytes()) > 100


def test_a_model_is_read_alike_with_kept_shapes(folder, traced, tmp_path):
  path = shutil.copy(models.shipped("joint_sr").path, tmp_path)
  first = models.find(path).restore()
  traced.clear()
  second = models.find(path).restore()
  assert not traced
  jax.tree.map(np.testing.assert_array_equal, first, second)
