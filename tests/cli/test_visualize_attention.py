"""`scs-jax visualize attention` from its flags to its files; points, numbers and the panel."""

import json
import math

import jax
import numpy as np
import pytest
from PIL import Image
from skimage import data

from scs_jax.cli import main as cli
from scs_jax.core import resolve
from scs_jax.data.remote import Place
from scs_jax.methods.scsnet.attention_maps import Level
from scs_jax.report import attention_numbers as numbers
from scs_jax.report import attention_panel as panel
from scs_jax.training.checkpoint import Checkpoints


def _save(folder, config, draw_state, change=lambda path, x: x):
  method = resolve.build(config)
  state = draw_state(method)
  state = state.replace(params=jax.tree_util.tree_map_with_path(change, state.params))
  state = state.replace(opt_state={name: () for name in state.params}, step=np.int32(3))
  with Checkpoints(folder, keep_last=1) as checkpoints:
    checkpoints.save(3, state, data={}, config=config, metrics={}, wait=True)


@pytest.fixture(scope="module")
def place(make_tiny_config, make_smsanet_config, draw_state, tmp_path_factory):
  """A folder with runs of networks small enough to wait for, and a few pictures."""
  place = tmp_path_factory.mktemp("attention")
  config = make_tiny_config()
  config.network.levels, config.network.texture_blocks = 2, 0
  for name in ("source_blocks", "reference_blocks", "decoder_blocks"):
    config.network[name] = (0, 0, 0)
  _save(place / "run", config, draw_state)
  no_query = lambda path, x: x * ("query" not in jax.tree_util.keystr(path))
  _save(place / "even", config, draw_state, no_query)
  basic = make_tiny_config()
  basic.network.levels, basic.network.valves, basic.network.carry_chroma = 1, False, False
  basic.network.upsampler = "pixel_shuffle"
  _save(place / "basic", basic, draw_state)
  _save(place / "other", make_smsanet_config(), draw_state)
  photo = Image.fromarray(data.astronaut())
  photo.resize((53, 37)).convert("L").save(place / "gray.png")
  photo.resize((45, 31)).save(place / "color.png")
  alpha = photo.resize((33, 47)).convert("RGBA")
  alpha.putalpha(Image.linear_gradient("L").resize((33, 47)))
  alpha.save(place / "alpha.png")
  Image.new("L", (1, 1), 90).save(place / "dot.png")
  (place / "text.png").write_text("no picture")
  return place


@pytest.fixture
def call(place, tmp_path, monkeypatch):
  """A function: runs the verb in `place`, output in a fresh folder; its exit code."""
  monkeypatch.chdir(place)

  def call(*flags, gray="gray.png", reference="color.png", run="run", out=tmp_path / "a.png"):
    given = [gray, "--reference", reference, "--checkpoint", run, "--out", str(out), *flags]
    return cli.main(["visualize", "attention", *given])

  return call


class TestTheVerb:
  def test_draws_the_points_asked_for_and_writes_the_numbers(self, call, tmp_path, capfd):
    assert call("--points", "0,0", "52,36", "20,9", "--arrays") == 0
    out = capfd.readouterr().out
    assert "looking with run, step 3" in out and "point 3 (20,9)" in out
    assert out.splitlines()[-1] == f"wrote {tmp_path}/a.png, {tmp_path}/a.json, {tmp_path}/a.npz"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.json", "a.npz", "a.png"]
    with Image.open(tmp_path / "a.png") as image:
      assert image.mode == "RGB" and image.width > 3 * 256 and image.height > 6 * 150
    found = json.loads((tmp_path / "a.json").read_text())
    assert [point["point"] for point in found["points"]] == [[0, 0], [52, 36], [20, 9]]
    arrays = np.load(tmp_path / "a.npz")
    np.testing.assert_array_equal(arrays["points"], [[0, 0], [52, 36], [20, 9]])
    for k, point in enumerate(found["points"]):
      for level in point["levels"]:
        weights = arrays[f"weights_{level['level']}"][k]
        assert weights.shape == tuple(-(-side // level["stride"]) for side in (31, 45))
        assert weights.sum() == pytest.approx(1, abs=1e-5)
        assert level["peak_weight"] == pytest.approx(weights.max())
        x, y = level["peak"]
        assert weights[y // level["stride"], x // level["stride"]] == weights.max()
        position = [c // level["stride"] for c in reversed(point["point"])]
        valves = arrays[f"valves_{level['level']}"][:, *position]
        assert [level["source_valve"], level["reference_valve"]] == pytest.approx(list(valves))
    assert len(found["valves"]) == 2

  def test_what_is_read_and_written_can_be_in_a_bucket(self, call, bucket, place, capfd):
    address, objects = bucket
    Place(address).put(place / "gray.png", "gray.png")
    out = f"{address}/a/b.png"
    assert call("--points", "0,0", "--arrays", gray=f"{address}/gray.png", out=out) == 0
    assert capfd.readouterr().out.endswith(f"wrote {out}, {address}/a/b.json, {address}/a/b.npz\n")
    assert objects() == ["a/b.json", "a/b.npz", "a/b.png", "gray.png"]
    assert json.loads(Place(f"{address}/a").read("b.json"))["gray"] == f"{address}/gray.png"
    assert call(gray=f"{address}/gray.png", out=f"{address}/gray.png") == 2
    assert "is what is read: choose another name" in capfd.readouterr().err

  def test_chooses_points(self, call, tmp_path, capfd):
    assert call() == 0
    assert "hardly tells places" not in capfd.readouterr().out
    found = json.loads((tmp_path / "a.json").read_text())
    assert 1 < len(found["points"]) <= 4

  def test_says_where_attention_is_nearly_even(self, call, tmp_path, capfd):
    assert call("--points", "0,0", "52,36", "20,9", run="even") == 0
    assert "no weight is above 1x even" in capfd.readouterr().out
    found = json.loads((tmp_path / "a.json").read_text())
    every = [level for point in found["points"] for level in point["levels"]]
    assert [level["times_even"] for level in every] == pytest.approx([1] * len(every))

  def test_points_are_those_of_the_whole_picture(self, call, tmp_path, capfd):
    assert call("--input-side", "16", "--points", "52,36", "--arrays") == 0
    assert "gray.png, 53x37, at 16x11" in capfd.readouterr().out
    arrays = np.load(tmp_path / "a.npz")
    np.testing.assert_array_equal(arrays["points_seen"], [[15, 10]])
    assert arrays["valves_1"].shape == (2, 3, 4)

  def test_a_network_without_pyramid_and_valves_has_one_level(self, call, tmp_path, capfd):
    assert call("--points", "5,5", run="basic") == 0
    assert "has no valves" in capfd.readouterr().out
    found = json.loads((tmp_path / "a.json").read_text())
    assert found["valves"] == [] and len(found["points"][0]["levels"]) == 1
    assert "source_valve" not in found["points"][0]["levels"][0]

  @pytest.mark.parametrize(
    ("gray", "reference"),
    [("dot.png", "alpha.png"), ("alpha.png", "dot.png")],
  )
  def test_pictures_of_any_kind(self, call, tmp_path, capfd, gray, reference):
    assert call(gray=gray, reference=reference) == 0
    assert ("is gray" in capfd.readouterr().out) == (reference == "dot.png")
    assert (tmp_path / "a.png").stat().st_size > 1000

  @pytest.mark.parametrize(
    ("flags", "where", "message"),
    [
      ([], {"gray": "nothing.png"}, "GRAY: nothing.png: cannot be opened"),
      ([], {"reference": "nothing.png"}, "--reference: nothing.png: cannot be opened"),
      ([], {"reference": "text.png"}, "--reference: text.png: not a picture"),
      ([], {"reference": "run"}, "it is a folder"),
      ([], {"reference": ""}, "--reference is empty"),
      ([], {"run": "nothing"}, "no checkpoint at"),
      ([], {"run": "other"}, "smsanet, which has no attention to a reference"),
      (["--step", "7"], {}, "no checkpoint of step 7"),
      (["--points", "53,0"], {}, "outside GRAY, whose pixels go from 0,0 to 52,36"),
      (["--points", "0,37"], {}, "--points 0,37 is outside"),
      (["--points", "a,3"], {}, "expected X,Y"),
      (["--points", *["1,1"] * 17], {}, "17 are too many"),
      ([], {"out": "a.jpg"}, "expected a file's name that ends in .png"),
      ([], {"out": "gray.png"}, "is what is read"),
      (["--input-side", "0"], {}, "expected a whole number"),
    ],
  )
  def test_what_cannot_be_is_said_in_one_line(self, call, place, capfd, flags, where, message):
    before = sorted(place.iterdir())
    assert call(*flags, **where) == 2
    err = capfd.readouterr().err
    assert err.startswith("scs-jax: error: ") and err.count("\n") == 1 and message in err
    assert sorted(place.iterdir()) == before


class TestPoints:
  def test_are_corners_far_apart(self):
    gray = np.full((200, 300), 0.5, np.float32)
    corners = np.array([[40, 60], [50, 240], [150, 80], [160, 230]])
    for y, x in corners:
      gray[y : y + 9, x : x + 9] = 1.0
    found = numbers.spread_points(gray)
    assert len(found) == 4
    np.testing.assert_array_equal(numbers.spread_points(gray), found)  # nothing is drawn
    distance = np.hypot(*(found[:, None] - corners[None] - 4).transpose(2, 0, 1))
    assert sorted(distance.argmin(1)) == [0, 1, 2, 3] and distance.min(1).max() < 12

  @pytest.mark.parametrize("size", [(1, 1), (1, 300), (2, 3), (64, 48), (700, 901)])
  def test_of_nothing_are_its_middle(self, size):
    found = numbers.spread_points(np.full(size, 0.25, np.float32))
    np.testing.assert_array_equal(found, [[size[0] // 2, size[1] // 2]])

  @pytest.mark.parametrize("size", [(1, 300), (2, 3), (61, 97), (1025, 700), (3, 2000)])
  def test_lie_inside(self, size):
    found = numbers.spread_points(np.random.default_rng(0).random(size, np.float32))
    assert 1 <= len(found) <= 4 and len(set(map(tuple, found))) == len(found)
    assert (found >= 0).all() and (found < size).all()

  def test_keep_their_place_in_a_smaller_picture(self):
    points = np.array([[0, 0], [99, 199], [50, 100]])
    same = numbers.moved(points, (100, 200), (100, 200))
    np.testing.assert_array_equal(same, points)
    smaller = numbers.moved(points, (100, 200), (10, 21))
    np.testing.assert_array_equal(smaller, [[0, 0], [9, 20], [5, 10]])


class TestNumbers:
  def test_of_a_row_by_hand(self):
    weights = np.array([[0.1, 0.1, 0.4], [0.1, 0.1, 0.2]], np.float32)
    found = numbers.focus(weights, 4, (7, 10))
    assert found.peak == (2, 9)  # the middle, 2, 10, is beyond the edge
    assert (found.weight, found.even, found.least) == pytest.approx((0.4, 2.4, 0.6))
    assert found.half == pytest.approx(2 / 6)

  @pytest.mark.parametrize("shape", [(1, 1), (5, 7), (128, 128)])
  def test_of_even_weights(self, shape):
    found = numbers.focus(np.full(shape, 1 / math.prod(shape), np.float32), 4, (512, 512))
    assert found.even == pytest.approx(1) and found.least == pytest.approx(1)
    assert found.half == pytest.approx(0.5, abs=0.5 / math.prod(shape))


class TestPanel:
  def test_positions_come_back_to_their_pixels(self):
    values = np.zeros((3, 4), np.float32)
    values[1, 2] = 1.0
    spread = panel.over_pixels(values, 8, (19, 30))
    assert spread.shape == (19, 30)
    y, x = np.unravel_index(spread.argmax(), spread.shape)
    assert (y // 8, x // 8) == (1, 2) and spread[12, 20] > 0.85 and spread[4, 4] == 0
    ones = panel.over_pixels(np.ones((1, 1), np.float32), 16, (1, 1))
    np.testing.assert_array_equal(ones, [[1.0]])

  def test_hardly_differing_weights_are_not_made_to_differ(self):
    weights = np.full((4, 4), 1 / 16, np.float32)
    weights[0, 0] *= 1.01
    assert panel._stretched(weights).max() == pytest.approx(0.1, rel=0.01)
    weights[0, 0] *= 2
    stretched = panel._stretched(weights)
    assert stretched.min() == 0 and stretched.max() == 1

  @pytest.mark.parametrize("size", [(1, 1), (3, 400), (400, 3), (37, 53)])
  def test_shows_what_is_looked_at(self, size):
    """Four bright positions are bright between their middles, and the cross leaves that free."""
    weights = np.zeros((1, 4, 6), np.float32)
    weights[0, 1:3, 2:4] = 0.25
    valves = np.full((2, -(-size[0] // 4), -(-size[1] // 4)), 0.5, np.float32)
    level = Level(4, np.array([[0, 0]]), weights, valves)
    reference = np.zeros((16, 24, 3), np.uint8)
    shown = panel.Shown(
      np.full(size, 128, np.uint8),
      reference,
      np.full((*size, 3), 128, np.uint8),
      np.array([[0, 0]]),
      ["at 0, 0"],
      (level,),
      "naïve \u6f22 \udcff",
    )
    drawn = panel.draw(shown)
    assert drawn.dtype == np.uint8 and drawn.ndim == 3
    hot = np.abs(drawn.astype(int) - 0.9 * panel._HEAT[-1]).max(-1) < 12
    assert hot.any()
    without = panel.draw(shown._replace(levels=(level._replace(valves=None),)))
    assert without.shape[0] < drawn.shape[0]
