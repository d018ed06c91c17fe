"""Methods that colour a picture whole: the network's own answer at any size, by few programs."""

import jax
import numpy as np
import pytest

from scs_jax.core import resolve
from scs_jax.core.contract import Method, Prediction, Query, TrainState
from scs_jax.infer.colorizer import Colorizer

# All in a square of 48: high and of odd sides, a single row, one that fills it.
SIZES = [(47, 21), (1, 37), (48, 48)]


def _loud(state):
  """Weights that leave nothing at rest: biases, running statistics and last layers of their own."""
  rng = np.random.default_rng(5)

  def draw(path, x):
    names = [part.key for part in path if hasattr(part, "key")]
    noise = rng.normal(size=x.shape).astype(np.float32)
    if names[-1] in ("var", "scale"):
      return 0.5 + np.abs(noise)
    if names[-1] in ("bias", "mean"):
      return 0.3 * noise
    last = {"output", "decoder_8", "last"} & set(names)
    return noise * (0.3 / np.sqrt(x[..., 0].size) if last else 1) if last else np.asarray(x)

  return state.replace(
    params=jax.tree_util.tree_map_with_path(draw, state.params),
    model_state=jax.tree_util.tree_map_with_path(draw, state.model_state),
  )


@pytest.fixture
def build(draw_state):
  """A function: (the method of a config, weights of it)."""

  def build(config):
    method = resolve.build(config)
    return method, _loud(draw_state(method))

  return build


def _smsanet(config, attention, place="after_relu"):
  config.network.attention, config.network.attention_place = attention, place
  config.network.attention_blocks = (4, 9)
  config.data.crop = 24  # 48 pixels are its usual side
  return config


def _agree(method, state, sizes, scales=(1.0,), **keywords):
  """Colorizer and predict give the same bytes, to a rounding; returns the Colorizer."""
  colorizer = Colorizer(method, state)
  predict = jax.jit(method.predict)
  rng = np.random.default_rng(3)
  for size, scale in zip(sizes, scales * len(sizes), strict=False):
    gray = rng.uniform(0.2, 0.8, size).astype(np.float32)
    out = tuple(round(scale * s) for s in size)
    found = colorizer(gray, size=out, keep_luminance=False, **keywords)
    rgb = np.asarray(predict(state, Query(gray[None, ..., None], out)).rgb)[0]
    assert found.shape == rgb.shape
    assert np.abs(found - 255 * rgb).max() < 0.6, size
    # It colours, and not alike all over.
    assert max(size) == 1 or (rgb[..., 0] - rgb[..., 2]).std() > 0.01
  return colorizer


@pytest.mark.parametrize(
  ("attention", "place", "sizes"),
  [
    ("smsa", "after_relu", SIZES),
    # One size, padded below and on the right, shows what reads the padding.
    ("smsa", "after_norm", SIZES[:1]),
    ("cbam", "after_relu", SIZES[:1]),
    ("senet", "after_norm", SIZES[:1]),
  ],
)
def test_smsanet(make_smsanet_config, build, attention, place, sizes):
  method, state = build(_smsanet(make_smsanet_config(), attention, place))
  assert _agree(method, state, sizes).programs == 1


def test_smsanet_with_the_luminance_kept_and_at_another_size(make_smsanet_config, build):
  method, state = build(_smsanet(make_smsanet_config(), "smsa"))
  colorizer = _agree(method, state, [(33, 48)], (1.5,))
  gray = np.random.default_rng(3).uniform(0.2, 0.8, (33, 48)).astype(np.float32)
  predict = jax.jit(method.predict)
  rgb = np.asarray(predict(state, Query(gray[None, ..., None], (33, 48))).rgb)[0]
  assert np.abs(colorizer(gray) - 255 * rgb).max() < 1.1  # through Lab and back


@pytest.mark.parametrize(
  ("task", "scales"),
  [
    ("joint", (8 / 3, 1.0)),
    ("colorization", (1.0, 1.7)),
    ("joint_residual", (1.9, 1.0, 0.6)),
    ("super_resolution", (2.2,)),
  ],
)
def test_joint_network(make_joint_config, build, task, scales):
  method, state = build(make_joint_config(task))
  sizes = SIZES[: len(scales)]
  colorizer = _agree(method, state, sizes, scales)
  assert colorizer.programs <= len(scales)


def test_a_method_that_knows_no_corner_sees_the_picture_alone():
  class Plain(Method):
    takes_reference = False

    def predict(self, state, query):
      """The mean of what it is given, everywhere."""
      rgb = query.gray.mean(axis=(1, 2), keepdims=True) * np.ones((1, *query.size, 3), np.float32)
      return Prediction(rgb)

  colorizer = Colorizer(Plain(None), TrainState(np.int32(0), {}, {}, {}))
  gray = np.zeros((30, 40), np.float32)
  gray[20:] = 0.6
  np.testing.assert_array_equal(colorizer(gray), np.full((30, 40, 3), 51))  # 0.2 of 255
