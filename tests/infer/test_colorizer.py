"""The three lines of the README, and what they do when memory or sense runs out."""

import functools
import warnings

import jax
import numpy as np
import pytest
from PIL import Image
from skimage import color as scikit

from scs_jax.core.contract import Method, Prediction, Query, TrainState
from scs_jax.errors import UserError
from scs_jax.infer import colorizer as colorizers
from scs_jax.infer import painter, plan, resizing
from scs_jax.infer.colorizer import Colorizer
from scs_jax.training.checkpoint import Checkpoints


@pytest.fixture(scope="module")
def run_folder(pieces_method, pieces_state, tmp_path_factory):
  folder = tmp_path_factory.mktemp("run")
  opt_state = {name: () for name in pieces_state.params}
  state = pieces_state.replace(opt_state=opt_state, step=np.int32(3))
  with Checkpoints(folder) as checkpoints:
    checkpoints.save(3, state, data={}, config=pieces_method.config, wait=True)
  return folder


@pytest.fixture(scope="module")
def make(pieces_method, pieces_state):
  """A function: a Colorizer of the same network, with none of its programs compiled."""
  return functools.partial(Colorizer, pieces_method, pieces_state)


@pytest.fixture(scope="module")
def free(make):
  """One of large tiles, which memory does not bound."""
  return make(tile=416)


@pytest.fixture(scope="module")
def colorizer(run_folder):
  return Colorizer.from_checkpoint(run_folder, tile=80)


def _photo(size, seed=0):
  """Smooth, in colour: uint8 [H, W, 3]."""
  rng = np.random.default_rng(seed)
  small = rng.integers(30, 220, (4, 5, 3)).astype(np.uint8)
  return np.asarray(Image.fromarray(small).resize((size[1], size[0]), Image.Resampling.BICUBIC))


def test_colors_from_a_checkpoint_equal_the_method(colorizer, pieces_method, pieces_state):
  gray = np.random.default_rng(1).random((40, 52)).astype(np.float32)
  found = colorizer(gray, scale=1.5)
  query = Query(gray[None, ..., None], (60, 78))
  expected = np.asarray(jax.jit(pieces_method.predict)(pieces_state, query).rgb)[0]
  assert found.dtype == np.uint8 and found.shape == (60, 78, 3)
  assert np.abs(found - 255 * expected).max() <= 0.51


def test_reference_changes_the_colors_and_is_kept_for_the_next_picture(colorizer, monkeypatch):
  gray = _photo((40, 52))[..., 0]
  reference = _photo((30, 30), seed=5)
  automatic = colorizer(gray)
  by_reference = colorizer(gray, reference)
  assert np.abs(automatic.astype(int) - by_reference).max() > 2
  monkeypatch.setattr(colorizer._painter, "remember", None)  # would be called again
  np.testing.assert_array_equal(colorizer(gray, reference), by_reference)


def test_kinds_in_are_kinds_out(colorizer, tmp_path):
  photo = _photo((24, 31))
  array = colorizer(photo)
  assert isinstance(array, np.ndarray)
  image = colorizer(Image.fromarray(photo))
  assert isinstance(image, Image.Image) and image.size == (31, 24) and image.mode == "RGB"
  np.testing.assert_array_equal(np.asarray(image), array)
  alpha = np.arange(24 * 31, dtype=np.uint8).reshape(24, 31, 1)
  with_alpha = colorizer(np.concatenate([photo, alpha], axis=-1))
  np.testing.assert_array_equal(with_alpha[..., :3], array)
  np.testing.assert_array_equal(with_alpha[..., 3:], alpha)
  path = tmp_path / "photo.png"
  Image.fromarray(photo).save(path)
  assert isinstance(colorizer(path), Image.Image)
  np.testing.assert_array_equal(np.asarray(colorizer(str(path))), array)
  of_jax = colorizer(jax.numpy.asarray(photo))
  assert isinstance(of_jax, np.ndarray) and of_jax.dtype == np.uint8
  np.testing.assert_array_equal(of_jax, array)
  # What is asked about is the gray of it: the same as of the gray picture of equal luminance.
  gray = scikit.rgb2lab(photo)[..., 0]
  neutral = scikit.lab2rgb(np.stack([gray, 0 * gray, 0 * gray], axis=-1))[..., 0]
  by_gray = colorizer(neutral.astype(np.float32))
  assert np.abs(by_gray.astype(int) - array).max() <= 1


def test_keep_luminance_keeps_it_at_any_size(colorizer):
  gray = _photo((90, 70), seed=2)[..., 0].copy()
  gray[::9] = 255  # fine detail that the network, seeing 32 pixels, cannot know of
  found = colorizer(gray, keep_luminance=True, input_side=32)
  lightness = scikit.rgb2lab(found)[..., 0]
  expected = scikit.rgb2lab(np.repeat(gray[..., None], 3, axis=-1))[..., 0]
  assert np.abs(lightness - expected).max() < 0.8  # rounding to bytes
  assert found[..., 0].std() > 0 and np.abs(np.diff(found.astype(int), axis=-1)).max() > 3
  larger = colorizer(gray, keep_luminance=True, input_side=32, size=(135, 105))
  assert larger.shape == (135, 105, 3)
  np.testing.assert_array_equal(
    colorizer(gray, keep_luminance=True, saturation=0.0), np.repeat(gray[..., None], 3, axis=-1)
  )


def test_saturation_is_a_dial(colorizer):
  gray = _photo((40, 40), seed=3)[..., 0]
  chroma = [
    np.hypot(*np.moveaxis(scikit.rgb2lab(colorizer(gray, saturation=s))[..., 1:], -1, 0)).mean()
    for s in (0.0, 0.5, 1.0)
  ]
  assert chroma[0] < 0.5 and chroma[0] < chroma[1] < chroma[2]


@pytest.mark.parametrize(
  ("keywords", "message"),
  [
    ({"scale": 0.1}, "magnification of 0.1"),
    ({"scale": 40}, "magnification of 40"),
    ({"scale": float("nan")}, "scale nan"),
    ({"scale": -2}, "scale -2"),
    ({"scale": 1e9}, "at most 1,000,000,000"),
    ({"size": (0, 5)}, "size"),
    ({"size": (30, 1000)}, "magnification of 33"),
    ({"scale": 2, "size": (5, 5)}, "exclude each other"),
    ({"saturation": -1}, "saturation"),
    ({"input_side": 0}, "input side 0"),
    ({"scale": "2"}, "scale '2': expected a number"),
    ({"size": 7}, "size 7: expected .height, width."),
    ({"size": ("a", "b")}, "whole pixels"),
    ({"size": (5.5, 3)}, "whole pixels"),
  ],
)
def test_nonsense_is_refused_before_anything_compiles(make, keywords, message):
  colorizer = make()
  with pytest.raises(UserError, match=message):
    colorizer(_photo((30, 30)), **keywords)
  assert colorizer.programs == 0


def test_a_gray_reference_is_warned_about(colorizer):
  with pytest.warns(UserWarning, match="no colours to lend"):
    colorizer(_photo((30, 30)), np.full((20, 20), 90, np.uint8))
  with warnings.catch_warnings():
    warnings.simplefilter("error")
    colorizer(_photo((30, 30)), _photo((20, 20)))


def test_memory_that_runs_out_halves_the_tiles_and_goes_on(make, free, monkeypatch):
  lines = []
  colorizer = make(tile=416, note=lines.append)
  gray = _photo((230, 250))[..., 0]
  expected = free(gray)
  paint = colorizer._painter.paint

  def fail_once(*args):
    if colorizer._painter.ladder == (416,):
      raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 1 bytes")
    return paint(*args)

  monkeypatch.setattr(colorizer._painter, "paint", fail_once)
  found = colorizer(gray)
  assert np.abs(found.astype(int) - expected).max() <= 1
  assert len(lines) == 1 and "tiles of 208 pixels from here on" in lines[0]


def test_a_limit_too_low_is_an_error_and_no_gray_picture(make):
  lines = []
  colorizer = make(memory_limit=1000, note=lines.append)
  with pytest.raises(UserError, match="do not fit into memory even in the smallest tiles"):
    colorizer(_photo((100, 130)))
  assert lines == []  # what lies beside the tiles is too much by itself: none was tried
  assert colorizer._painter.ladder == colorizers.LADDER  # the next picture may be smaller


def test_what_does_not_fit_as_a_whole_keeps_its_light_and_dark(make, monkeypatch):
  """The network sees less of it, without being asked; a limit on what it sees is not moved."""
  monkeypatch.setattr(colorizers, "LADDER", (96, 128))
  # With few positions at a time the maps are most of what even a small picture needs.
  monkeypatch.setattr(painter, "POINTS", 256)
  monkeypatch.setattr(colorizers, "Painter", functools.partial(painter.Painter, most_keys=64))
  gray = _photo((400, 480))[..., 0]
  whole = make()
  recipe = whole._recipe(False)
  need = plan.measure(whole._painter, recipe, gray.shape, gray.shape)
  lines = []
  limit = int(0.9 * need.host)  # no tiles are small enough
  colorizer = make(memory_limit=limit, note=lines.append)
  found = colorizer(gray)
  said = [line for line in lines if "colours are computed at" in line][-1]
  assert "light and dark are the picture's own" in said
  light = scikit.rgb2lab(found)[..., 0] - scikit.rgb2lab(np.repeat(gray[..., None], 3, -1))[..., 0]
  assert np.abs(light).max() < 0.6  # rounding to bytes
  with pytest.raises(UserError, match="do not fit into memory"):
    colorizer(gray, input_side=480)
  with pytest.raises(UserError, match="do not fit into memory"):
    colorizer(gray, scale=1.5)


def test_a_large_result_counts_in_the_plan(make):
  """With the luminance kept the network's part is small, and the result's is not."""
  gray = _photo((64, 64))[..., 0]
  colorizer = make(memory_limit=150_000_000)
  keywords = {"keep_luminance": True, "input_side": 32}
  assert colorizer(gray, size=(900, 900), **keywords).shape == (900, 900, 3)
  with pytest.raises(UserError, match=r"to 4000x4000, do not fit .* ask for a smaller result"):
    colorizer(gray, size=(4000, 4000), **keywords)


def test_xla_compiles_what_is_counted_and_no_more(make):
  """Pictures of many sizes, by a reference, luminance kept: at most ten programs in all."""
  compiled = []
  heard = lambda event, seconds, **_: compiled.append(event) if "backend_compile" in event else None
  jax.monitoring.register_event_duration_secs_listener(heard)
  try:
    colorizer = make()
    before = len(compiled)
    reference = _photo((40, 30), seed=4)
    for number, size in enumerate([(30, 41), (64, 64), (133, 20), (101, 130), (90, 7), (1, 1)]):
      keywords = {"keep_luminance": bool(number % 2), "scale": 1.0 + number / 4}
      colorizer(_photo(size), reference, **keywords)
  finally:
    jax.monitoring.unregister_event_duration_listener(heard)
  assert len(compiled) - before <= 10
  assert 0 < colorizer.programs <= len(compiled) - before <= colorizer.programs + 1


def test_a_limit_makes_tiles_smaller_for_the_picture_that_needs_it(make, free):
  """What is planned fits, and the result is the same."""
  gray = _photo((230, 250))[..., 0]
  expected = free(gray)
  lines = []
  needs = []
  for tile in (416, 208):
    one = make(tile=tile)
    recipe = one._recipe(False)
    need = plan.measure(one._painter, recipe, gray.shape, gray.shape)
    needs.append(need.host + need.program)
  assert needs[1] < needs[0]
  limit = sum(needs) // 2
  colorizer = make(tile=416, memory_limit=limit, note=lines.append)
  assert np.abs(colorizer(gray).astype(int) - expected).max() <= 1
  assert len(lines) == 1 and "tiles of 208" in lines[0]
  assert colorizer._painter.ladder == (208,)  # another one for each picture: other programs


def test_a_network_that_diverged_is_an_error_and_no_gray_picture(pieces_method, pieces_state):
  broken = jax.tree.map(lambda x: np.full_like(x, np.nan), pieces_state.params)
  colorizer = Colorizer(pieces_method, pieces_state.replace(params=broken), tile=80)
  with pytest.raises(UserError, match="not all numbers: its training has diverged"):
    colorizer(_photo((30, 30)))


def test_a_method_without_a_recipe_is_asked_whole():
  class Plain(Method):
    takes_reference = False

    def predict(self, state, query):
      """The input enlarged without interpolation, tinted."""
      height, width = query.size
      rows = np.arange(height) * query.gray.shape[1] // height
      columns = np.arange(width) * query.gray.shape[2] // width
      gray = query.gray[:, rows][:, :, columns]
      return Prediction(gray * np.array([1.0, 0.5, 0.25], np.float32))

  colorizer = Colorizer(Plain(None), TrainState(np.int32(0), {}, {}, {}))
  gray = _photo((40, 50))[..., 0]
  found = colorizer(gray)
  np.testing.assert_array_equal(found[..., 0], gray)
  np.testing.assert_array_equal(found[..., 1], np.floor(gray * 0.5 + 0.5))
  with pytest.raises(UserError, match="takes no reference"):
    colorizer(gray, _photo((9, 9)))


def test_a_method_of_chroma_alone_keeps_the_luminance_by_itself():
  class Chroma(Method):
    keeps_luminance, usual_side, usual_scale, takes_reference = True, 32, 2.0, False
    seen: list = []

    def predict(self, state, query):
      self.seen.append((query.gray.shape, query.size))
      gray = query.gray.repeat(2, axis=1).repeat(2, axis=2)
      return Prediction(gray * np.array([1.0, 0.5, 0.25], np.float32))

  colorizer = Colorizer(Chroma(None), TrainState(np.int32(0), {}, {}, {}))
  gray = _photo((90, 60), seed=2)[..., 0].copy()
  gray[::9] = 250
  found = colorizer(gray)
  # Traced once, at the usual side and to the usual scale of it.
  assert Chroma.seen == [((1, 32, 21, 1), (64, 42))]
  lightness = scikit.rgb2lab(found)[..., 0]
  expected = scikit.rgb2lab(np.repeat(gray[..., None], 3, axis=-1))[..., 0]
  assert np.abs(lightness - expected).max() < 0.8
  assert (found[..., 0].astype(int) > found[..., 2]).mean() > 0.9


def test_checkpoint_that_is_not_there(tmp_path):
  with pytest.raises(UserError, match="no such folder"):
    Colorizer.from_checkpoint(tmp_path / "nothing")


def test_a_tile_smaller_than_the_halos_is_an_error(make):
  with pytest.raises(UserError, match="tile 48 is too small for this network; give 56 or more"):
    make(tile=48)(_photo((100, 130)))


def test_resizing_equals_pillow_inside():
  """Pillow's bicubic has another border, and its own antialiasing: the same kernel, widened."""
  x = np.random.default_rng(0).random((60, 80)).astype(np.float32)
  found = resizing.resize(x[..., None], (30, 40))[..., 0]
  expected = np.asarray(Image.fromarray(x).resize((40, 30), Image.Resampling.BICUBIC))
  np.testing.assert_allclose(found[3:-3, 3:-3], expected[3:-3, 3:-3], atol=2e-5)
  assert resizing.reduce_to_side(x[..., None], 20).shape == (15, 20, 1)
  assert resizing.reduce_to_side(x[..., None], 80) is not None
  assert [resizing.bucket(n) for n in (1, 32, 33, 4096, 5000)] == [32, 32, 48, 4096, 5000]
