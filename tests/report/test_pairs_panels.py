"""Maps and curves as pictures: colours at known places."""

import numpy as np

from scs_jax.report import pairs_panels


def test_the_most_confident_is_green_and_the_least_red():
  shown = pairs_panels.paint_confidence(np.array([[0.25, 0.75], [0.5, 0.25]]))
  np.testing.assert_array_equal(shown[0], [[255, 0, 0], [0, 255, 0]])
  np.testing.assert_array_equal(shown[1, 0], [128, 128, 0])
  flat = pairs_panels.paint_confidence(np.ones((2, 2)))  # GCA without confidence
  np.testing.assert_array_equal(flat, np.full((2, 2, 3), [128, 128, 0]))


def test_far_is_dark_and_near_is_light():
  shown = pairs_panels.paint(np.array([[0.0, 5.0, 10.0, 20.0]]), 0.0, 10.0)
  brightness = shown.astype(float) @ [0.299, 0.587, 0.114]
  assert brightness[0, 0] < brightness[0, 1] < brightness[0, 2] == brightness[0, 3]
  np.testing.assert_array_equal(shown[0, 0], [28, 18, 74])
  assert (pairs_panels.paint(np.ones((2, 3)), 1.0, 1.0) == shown[0, 0]).all()


def test_the_curve_goes_up_and_unknown_nodes_are_hollow():
  nodes = np.arange(64) * 4.0
  support = np.where(nodes < 100, 50.0, 1e-9)
  shown = pairs_panels.plot_curve(nodes / 2 + 60, support)
  at = lambda x, y: shown[round((1 - y / 255) * 159), round(x / 255 * 159)].tolist()
  assert at(48, 84) == [20, 70, 140] and at(200, 160) == [255, 255, 255]
  assert at(20, 20) == [200, 200, 200]  # the diagonal
  assert at(200, 40) == [255, 255, 255]
  whole = pairs_panels.plot_curve(nodes / 2 + 60)
  assert whole[round((1 - 160 / 255) * 159), round(200 / 255 * 159)].tolist() == [20, 70, 140]


def test_a_strip_has_what_the_method_gives():
  picture, gray = np.zeros((4, 6, 3), np.uint8), np.zeros((4, 6, 1), np.uint8)
  place = {"mono": gray, "color": picture, "first": picture, "second": picture}
  captions = {"first": "one", "second": "two"}
  assert [c for c, _ in pairs_panels.strip(place, captions)] == [
    "monochrome view", "colour view", "one", "two"
  ]  # fmt: skip
  maps = {
    "disparity": np.linspace(1, 9, 24).reshape(4, 6, 1),
    "confidence": np.linspace(0.25, 1, 24).reshape(4, 6, 1),
    "curve": np.arange(64) * 4.0,
    "curve_support": np.ones(64),
    "unrefined": np.full((4, 6, 3), 1.2),
  }
  found = pairs_panels.strip(place | maps | {"truth": picture}, captions)
  words = [caption for caption, _ in found]
  assert "truth of the monochrome view" in words
  assert "expected disparity 1.0 (dark) to 9.0 pixels (light)" in words
  assert "confidence 0.25 (red) to 1 (green)" in words
  assert dict(found)["first-time before the refinement"].max() == 255
  assert all(image.dtype == np.uint8 for _, image in found)
