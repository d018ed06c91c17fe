"""The ruler: against NumPy and scikit-image, and the same whatever the batches."""

import contextlib
import pathlib
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import skimage.color
import skimage.metrics

from scs_jax.core.contract import Method, Prediction, TrainState
from scs_jax.errors import UserError
from scs_jax.measure import photos as photos_track
from scs_jax.measure.baselines import BASELINES
from scs_jax.measure.photos import Photos, pair_next
from scs_jax.measure.predictors import Network, PhotoBaseline
from scs_jax.measure.score import Kept, Stream, in_memory, score

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "metrics"))

from plain_colorfulness import hasler_suesstrunk

HEIGHT, WIDTH, COUNT, SCALE, SIDE = 24, 20, 5, 2.0, 16
CORRUPT = 1


def photos():
  """Smooth colourful pictures (noise would make every score alike)."""
  y, x = np.mgrid[:HEIGHT, :WIDTH] / 10.0
  made = []
  for i in range(COUNT):
    waves = [np.sin(y * (1 + i) + c) * np.cos(x * (2 + c) - i) for c in range(3)]
    colour = np.array([(i & 1) - 0.5, (i >> 1 & 1) - 0.5, (i >> 2) - 0.5])
    made.append(0.6 * np.stack(waves, axis=-1) + 0.6 * colour)
  return np.round(127.5 + 127.5 * np.array(made)).astype(np.uint8)


def batches(size, pictures=None, corrupt=(CORRUPT,)):
  """The pictures in batches of `size`, the last padded with bright garbage."""
  pictures = photos() if pictures is None else pictures
  made = []
  for start in range(0, len(pictures), size):
    record = np.arange(start, start + size)
    there = record < len(pictures)
    image = np.full((size, *pictures.shape[1:]), 255, np.uint8)
    image[: there.sum()] = pictures[start : start + size]
    mask = there & ~np.isin(record, corrupt)
    record = np.where(there, record, -1).astype(np.int32)
    gray = np.zeros(size, bool)
    made.append({"image": image, "mask": mask, "record": record, "gray": gray})
  return made


class Result:
  """Scores and pictures of one row, in the order of the records."""

  def __init__(self, row, mode, given, scale=SCALE, seed=0):
    kept = Kept()
    track = Photos(scale, SIDE, seed)
    scores = score([row], track, [in_memory(given, [mode])], see=kept)
    self.scores = scores.of[mode][row.name] if scores.of else {}
    self.real = scores.real.get(mode)
    places = kept.places.get(mode, {})
    stack = lambda name: np.stack([places[i][name] for i in scores.records[mode]])
    self.rgb, self.gray = stack(row.name), stack("gray")
    self.reference = None if mode == "automatic" else stack("reference")


def baseline(name, mode, given, seed=0):
  return Result(PhotoBaseline(name, seed), mode, given, seed=seed)


def network(predict, state, mode, given, scale=SCALE):
  """A row of a function of (state, query)."""
  method = Method(None)
  method.predict = predict
  return Result(Network("net", method, state), mode, given, scale)


# --- an independent computation


def resize_matrix(size, target):
  """MATLAB's imresize, one axis: Keys' cubic, widened when shrinking, borders mirrored."""
  scale = target / size
  width = max(1.0, 1.0 / scale)
  matrix = np.zeros((target, size))
  for i in range(target):
    centre = (i + 0.5) / scale - 0.5
    for j in range(-3 * size, 4 * size):
      d = abs(centre - j) / width
      weight = 1.5 * d**3 - 2.5 * d**2 + 1 if d <= 1 else -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2
      if d < 2:
        mirrored = j % (2 * size)
        matrix[i, mirrored if mirrored < size else 2 * size - 1 - mirrored] += weight
  return matrix / matrix.sum(axis=1, keepdims=True)


def resize(image, height, width):
  rows, columns = resize_matrix(image.shape[0], height), resize_matrix(image.shape[1], width)
  return np.einsum("ph,hwc,qw->pqc", rows, image, columns)


def eight_bits(image):
  return np.round(np.clip(image, 0, 1) * 255) / 255


def gray_of(lightness):
  """sRGB gray of a CIE lightness [h, w, 1], each channel."""
  lab = np.concatenate([lightness, np.zeros((*lightness.shape[:2], 2))], axis=-1)
  return np.clip(skimage.color.lab2rgb(lab), 0, 1)


def network_input(picture):
  small = eight_bits(resize(picture / 255, round(HEIGHT / SCALE), round(WIDTH / SCALE)))
  return gray_of(skimage.color.rgb2lab(small)[..., :1])[..., :1]


def baseline_of(picture, ab):
  gray = np.clip(resize(network_input(picture), HEIGHT, WIDTH), 0, 1)
  lightness = skimage.color.rgb2lab(np.repeat(gray, 3, axis=-1))[..., :1]
  lab = np.concatenate([lightness, np.broadcast_to(ab, (HEIGHT, WIDTH, 2))], axis=-1)
  return lab_to_rgb(lab)


def lab_to_rgb(lab):
  """Clipped, out-of-gamut colours included (scikit-image's own clips XYZ and warns)."""
  fy = (lab[..., 0] + 16) / 116
  f = np.stack([fy + lab[..., 1] / 500, fy, fy - lab[..., 2] / 200], axis=-1)
  xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29))
  xyz = xyz * skimage.color.xyz_tristimulus_values(illuminant="D65", observer="2")
  linear = xyz @ np.linalg.inv(skimage.color.colorconv.xyz_from_rgb).T
  positive = np.maximum(linear, 0)
  rgb = np.where(
    positive <= 0.0031308, 12.92 * positive, 1.055 * np.maximum(positive, 1e-9) ** (1 / 2.4) - 0.055
  )
  return np.clip(rgb, 0, 1)


def _with_lightness(lab, other):
  return lab_to_rgb(np.concatenate([other[..., :1], lab[..., 1:]], axis=-1))


def scores_of(rgb, picture):
  """PSNR and SSIM by scikit-image, on 256 levels."""
  rgb, truth = eight_bits(rgb), picture / 255
  mine, true = skimage.color.rgb2lab(rgb), skimage.color.rgb2lab(truth)
  psnr, ssim = skimage.metrics.peak_signal_noise_ratio, skimage.metrics.structural_similarity
  style = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
  return {
    "psnr_rgb": psnr(truth, rgb, data_range=1.0),
    "psnr_rgb_true_l": psnr(truth, _with_lightness(mine, true), data_range=1.0),
    "psnr_ab": psnr(true[..., 1:], mine[..., 1:], data_range=220.0),
    "psnr_lightness": psnr(true[..., 0], mine[..., 0], data_range=100.0),
    "ssim_rgb": ssim(truth, rgb, data_range=1.0, channel_axis=-1, **style),
    "ssim_lightness": ssim(true[..., 0], mine[..., 0], data_range=100.0, **style),
  }


def close(found, expected):
  for name, value in expected.items():
    np.testing.assert_allclose(
      found[name], value, rtol=0, atol=1e-3 if name.startswith("ssim") else 0.02, err_msg=name
    )


def kept():
  return [photo for i, photo in enumerate(photos()) if i != CORRUPT]


# --- baselines


def test_bicubic_gray_against_numpy_and_scikit_image():
  result = baseline("bicubic_gray", "automatic", batches(2))
  for i, photo in enumerate(kept()):
    close({n: v[i] for n, v in result.scores.items()}, scores_of(baseline_of(photo, 0), photo))
    expected = np.round(network_input(photo)[..., 0] * 255)
    assert np.abs(result.gray[i] - expected).max() <= 1
  assert result.reference is None and result.rgb.shape == (4, HEIGHT, WIDTH, 3)


@pytest.mark.parametrize("mode", ["self", "random"])
def test_mean_chroma_against_numpy_and_scikit_image(mode):
  """With the mean of the very reference that was used (its 256 levels cost a little)."""
  result = baseline("mean_chroma", mode, pair_next(batches(2)))
  for i, photo in enumerate(kept()):
    ab = skimage.color.rgb2lab(result.reference[i])[..., 1:].mean(axis=(0, 1))
    expected = scores_of(baseline_of(photo, ab), photo)
    found = {name: v[i] for name, v in result.scores.items()}
    for name, value in expected.items():
      assert found[name] == pytest.approx(value, abs=2e-3 if "ssim" in name else 0.1), name


def test_without_a_reference_every_baseline_is_gray():
  query = Photos(SCALE, SIDE).ask(batches(5)[0], ["automatic"])["automatic"].query
  gray, *others = (PhotoBaseline(name).answer(query, batches(5)[0], "").rgb for name in BASELINES)
  assert len(others) == 2
  for other in others:
    np.testing.assert_allclose(gray, other, atol=1e-6)


# --- references


def test_the_reference_is_the_picture_or_the_next_one_that_can_be_read():
  """Undistorted, a reference's mean colour is its picture's: tells which picture it is."""
  means = np.array([photo.mean(axis=(0, 1)) for photo in kept()])
  for mode, order in (("self", [0, 1, 2, 3]), ("random", [1, 2, 3, 0])):
    for size in (2, 3):
      # Welsh's takes all modes; what it answers is not looked at.
      result = baseline("welsh", mode, pair_next(batches(size)))
      found = result.reference.mean(axis=(1, 2))
      distance = np.linalg.norm(found[:, None] - means[None], axis=-1)
      assert distance.argmin(axis=1).tolist() == order, (mode, size)


def test_a_mirrored_reference_is_the_picture_left_to_right():
  """The left half's mean colour is that of the picture's right half."""
  result = baseline("welsh", "mirrored", batches(2))
  half = result.reference.shape[2] // 2
  found = np.stack(
    [result.reference[:, :, :half].mean((1, 2)), result.reference[:, :, half:].mean((1, 2))]
  )
  for i, photo in enumerate(kept()):
    middle = photo.shape[1] // 2
    right, left = photo[:, middle:].mean((0, 1)), photo[:, :middle].mean((0, 1))
    straight = np.abs(found[0, i] - left).sum() + np.abs(found[1, i] - right).sum()
    mirrored = np.abs(found[0, i] - right).sum() + np.abs(found[1, i] - left).sum()
    assert mirrored < straight


def test_references_are_distorted_each_in_its_own_way_and_the_seed_decides():
  same = np.repeat(photos()[:1], 3, axis=0)
  made = [
    baseline("welsh", "self", batches(3, same, corrupt=()), seed).reference.astype(int)
    for seed in (0, 0, 1)
  ]
  np.testing.assert_array_equal(made[0], made[1])
  plain = np.round(eight_bits(resize(same[0] / 255, SIDE, SIDE)) * 255)
  for other in (made[0][0], made[0][1], made[2][0]):
    assert np.abs(other - plain).mean() > 1.0
  assert np.abs(made[0][0] - made[0][1]).mean() > 1.0
  assert np.abs(made[0][0] - made[2][0]).mean() > 1.0


def test_too_few_pictures():
  with pytest.raises(UserError, match=r"random takes another .* one picture"):
    pair_next(batches(1, photos()[:1], corrupt=()))
  track, none = Photos(SCALE, SIDE), batches(5, corrupt=range(COUNT))
  assert not score([PhotoBaseline("welsh")], track, [in_memory(none, ["self"])]).of


# --- batches


def colourful(state, query):
  """A method whose answer depends on gray, reference and state."""
  gray = jnp.repeat(jax.image.resize(query.gray, (*query.gray.shape[:1], *query.size, 1), "linear"),
                    3, axis=-1)  # fmt: skip
  tint = 0.0
  if query.reference is not None:
    tint = query.reference.mean(axis=(1, 2), keepdims=True) - 0.5
  return Prediction(jnp.clip(gray + tint + state.params["bias"], 0, 1))


STATE = TrainState(jnp.zeros((), jnp.int32), {"bias": jnp.array([0.1, 0.0, -0.1])}, {}, {})


@pytest.mark.parametrize("mode", photos_track.MODES)
def test_scores_do_not_depend_on_the_batches(mode):
  """Five pictures, one corrupt: batches of one and five need no padding, those of three do."""
  run = lambda size: network(colourful, STATE, mode, pair_next(batches(size)))
  first = run(1)
  assert all(len(values) == COUNT - 1 for values in first.scores.values())
  for size in (3, 5):
    other = run(size)
    for name, values in first.scores.items():
      np.testing.assert_allclose(other.scores[name], values, rtol=0, atol=2e-3, err_msg=name)
    for name in ("rgb", "gray", "reference"):
      a, b = getattr(first, name), getattr(other, name)
      assert (a is None) == (b is None)
      if a is not None:
        assert np.abs(a.astype(int) - b).max() <= 1


def test_padding_and_corrupt_pictures_leave_no_trace():
  given = pair_next(batches(3))
  first = network(colourful, STATE, "random", given)
  for batch in given:
    batch["image"][~batch["mask"]] = 0  # other garbage
    batch["other"][~batch["mask"]] = 0
  again = network(colourful, STATE, "random", given)
  for name, values in first.scores.items():
    assert values.dtype == np.float64 and len(values) == COUNT - 1
    np.testing.assert_array_equal(values, again.scores[name])


def test_a_method_is_measured_as_a_file_would_be():
  """Rounded to 256 levels before it is measured, and returned as those levels."""
  result = network(colourful, STATE, "automatic", batches(2))
  for i, photo in enumerate(kept()):
    close({n: v[i] for n, v in result.scores.items()}, scores_of(result.rgb[i] / 255, photo))


def test_a_perfect_answer_is_as_good_as_float32_tells():
  photo = photos()[0]
  state = STATE.replace(params={"photo": (photo[None] / 255).astype(np.float32)})
  told = lambda state, query: Prediction(state.params["photo"])
  given = batches(1, photos()[:1], corrupt=())
  (found,) = zip(*network(told, state, "automatic", given).scores.values(), strict=True)
  mean = dict(zip(Photos(SCALE, SIDE).metrics, found, strict=True))
  assert mean["psnr_rgb"] > 140 and mean["psnr_ab"] > 140  # one level in a pixel: below 80
  assert mean["ssim_rgb"] == pytest.approx(1.0, abs=1e-6)


def test_batches_are_taken_one_at_a_time():
  """Thousands of pictures are never held at once: the next is asked for after the last is done."""
  seen, alive = [], []

  def opened():
    for i, batch in enumerate(batches(1, corrupt=())):
      assert len(seen) == i
      alive.append(batch)
      yield batch

  stream = Stream(("automatic",), COUNT, 1, lambda places: contextlib.nullcontext(opened()))
  row = PhotoBaseline("bicubic_gray")
  scores = score([row], Photos(SCALE, SIDE), [stream], advance=seen.append)
  assert len(scores.records["automatic"]) == len(alive) == COUNT


def test_colourfulness_is_that_of_the_result_and_of_the_real_picture():
  result = baseline("mean_chroma", "self", batches(5))
  real = result.real
  for i, photo in enumerate(kept()):
    for name, of_real in real.items():
      absolute = name.endswith("_abs")
      expected = hasler_suesstrunk(result.rgb[i], absolute)
      assert result.scores[name][i] == pytest.approx(expected, rel=1e-4)
      assert of_real[i] == pytest.approx(hasler_suesstrunk(photo, absolute), rel=1e-4)


def test_any_magnification_gives_the_size_of_the_picture():
  sizes = []

  def record(state, query):
    sizes.append((query.gray.shape[1:3], tuple(query.size)))
    return colourful(state, query)

  for scale in (3.3, 1.0, 0.5):
    network(record, STATE, "automatic", batches(5), scale)
  full = (HEIGHT, WIDTH)
  assert sizes == [((7, 6), full), (full, full), ((48, 40), full)]
