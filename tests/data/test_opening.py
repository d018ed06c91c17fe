"""A config's pictures and pairs as what a training is handed."""

import pathlib
import sys

import numpy as np
import pytest
from PIL import Image

from scs_jax.core import config as configs
from scs_jax.data import opening, opening_notes
from scs_jax.errors import UserError

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from planes import HEIGHT, WIDTH, write

pytestmark = pytest.mark.usefixtures("quick_matches")


@pytest.fixture
def config():
  made = configs.load("common")
  from scs_jax.configs import common

  with made.unlocked():
    made.data = common.pairs_data()
    made.batch_size = 2
    made.data.crop = (16, 24)
  return made


class TestOpenData:
  def test_bundled(self, config, tmp_path):
    data, steps = opening.open_data(config, tmp_path)
    assert steps == config.steps and data.notes == []
    with data.open_batches(3) as batches:
      batch = next(batches)
    assert batch["mono"].shape == (2, 16, 24, 1) and "truth" not in batch
    assert data.name(0) == "motorcycle_train" and data.identity["records"] == 1
    (heldout,) = data.heldout
    assert heldout["mono"].shape == (1, 200, 741, 1) and heldout["has_truth"].all()
    shapes = opening.batch_shapes(config)
    assert {k: (v.shape, v.dtype) for k, v in shapes.items()} == {
      k: (batch[k].shape, batch[k].dtype) for k in shapes}  # fmt: skip

  @pytest.mark.parametrize("resample", [True, False])
  def test_photos_are_resampled_or_cut_as_the_config_says(self, tmp_path, resample):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (19, 19, 3), np.uint8)
    (tmp_path / "photos").mkdir()
    Image.fromarray(pixels).save(tmp_path / "photos" / "a.png")
    config = configs.load("common")
    config.data.source, config.data.heldout = str(tmp_path / "photos"), ""
    config.batch_size, config.data.crop, config.data.resample = 1, 12, resample
    data, _ = opening.open_data(config, tmp_path)
    with data.open_batches(0) as batches:
      image = next(batches)["image"][0]
    pieces = np.lib.stride_tricks.sliding_window_view(pixels, (12, 12), (0, 1))
    pieces = np.moveaxis(pieces, 2, -1)
    found = any((pieces == p).all((2, 3, 4)).any() for p in (image, image[:, ::-1]))
    assert found != resample

  @pytest.mark.parametrize(
    ("asked", "platform", "on_device"),
    [("auto", "cpu", False), ("auto", "gpu", True), ("host", "tpu", False), ("device", "cpu", True),
     (None, "tpu", False)],
  )  # fmt: skip
  def test_where_photos_are_resampled(self, tmp_path, monkeypatch, asked, platform, on_device):
    """A config from before there was a choice resamples on the host."""
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (16, 16), (9, 99, 199)).save(tmp_path / "photos" / "a.png")
    config = configs.load("common")
    config.data.source, config.data.heldout = str(tmp_path / "photos"), ""
    config.batch_size, config.data.crop = 1, 12
    with config.unlocked():
      del config.data.resample_on
      config.data.update({} if asked is None else {"resample_on": asked})
    configs.validate(config, configs.engine_rules(config))
    monkeypatch.setattr(opening.jax, "default_backend", lambda: platform)
    for resample in (True, False):
      config.data.resample = resample
      data, _ = opening.open_data(config, tmp_path)
      with data.open_batches(0) as batches:
        assert ("image_place" in next(batches)) == (on_device and resample)

  @pytest.mark.parametrize("progress", [True, False])
  def test_the_scan_for_gray_pictures_is_quiet_when_told(self, progress, tmp_path, capsys):
    (tmp_path / "photos").mkdir()
    Image.fromarray(np.full((16, 16, 3), (255, 0, 0), np.uint8)).save(
      tmp_path / "photos" / "a.png"
    )
    config = configs.load("common")
    config.data.source, config.data.heldout = str(tmp_path / "photos"), ""
    config.data.exclude_gray, config.data.crop = True, 16
    opening.open_data(config, tmp_path, progress)
    assert ("gray pictures" in capsys.readouterr().err) == progress

  def test_gray_pictures_and_foreign_held_out_ones_are_said(self, tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for i in range(12):
      pixels = rng.integers(0, 256, (16, 16, 1), np.uint8).repeat(3, 2)
      if i < 5:
        pixels[..., 0] = 255 - pixels[..., 0]
      Image.fromarray(pixels).save(tmp_path / "photos" / f"{i}.png")
    config = configs.load("common")
    config.data.source, config.data.crop = str(tmp_path / "photos"), 16
    notes = lambda: opening.open_data(config, tmp_path / "run", progress=False)[0].notes
    gray, elsewhere = notes()
    assert gray.startswith("warning: 7 of 12 training pictures that were looked at are gray")
    assert elsewhere.startswith(
      f"held-out scores, and the best checkpoint by them, are of bundled:heldout, not of {tmp_path}"
    )
    config.data.exclude_gray, config.data.heldout = True, ""
    left_out, unscored = notes()
    assert left_out == "training on 5 pictures; left out: 7 gray"
    assert unscored.startswith("no held-out pictures: nothing is scored")
    config.log.evaluate_every = config.log.panels_every = 0
    assert notes() == [left_out]
    config.data.source = config.data.heldout = "bundled"
    assert notes() == []

  def test_a_paper_config_asks_for_data(self, tmp_path):
    for method in ("scsnet", "smsanet", "joint_sr", "cycle_cnn"):
      config = configs.load(f"{method}/paper")
      with pytest.raises(UserError, match=r"data.source is empty: which .*; set --data"):
        opening.open_data(config, tmp_path)
      small = configs.load(f"{method}/small").data
      assert (small.source, small.heldout) == ("bundled", "bundled:heldout")

  def test_what_is_held_out_is_not_trained_on(self, config, tmp_path):
    for k, name in enumerate(("a1", "a2", "b1", "b2")):
      write(tmp_path, name, k)
    config.data.source = config.data.heldout = str(tmp_path)
    config.data.heldout_only = ("*2",)
    config.epochs = 3.0
    data, steps = opening.open_data(config, tmp_path / "run")
    assert [data.name(i) for i in range(data.identity["records"])] == ["a1", "b1"]
    assert steps == 3 and len(data.heldout) == 2 and data.notes == []
    config.data.only = ("a*",)
    assert opening.open_data(config, tmp_path / "run")[0].identity["records"] == 1
    config.data.heldout_only = ()
    assert opening.open_data(config, tmp_path / "run")[0].notes == [
      "held-out pairs that are trained on as well: a1, a2"]  # fmt: skip

  def test_a_training_says_what_is_wrong_with_pairs(self, config, tmp_path):
    for k, down in enumerate((0, 3, 0)):
      write(tmp_path, f"p{k}", k, down)
    config.data.source, config.data.heldout = str(tmp_path), ""
    notes = lambda reach: opening.open_data(config, tmp_path / "run", search_range=reach)[0].notes
    *warnings, last, unscored = notes(64)
    assert unscored.startswith("no held-out pictures")
    assert len(warnings) == 1 and warnings[0].startswith("warning: p1: not rectified: ")
    assert last.startswith("3 of 3 pairs were looked at")
    beyond = ["beyond the search range 8" in note for note in notes(8)]  # of a plane 9 pixels off
    assert sum(beyond) == 3
    assert notes(None) == [unscored]  # a method without a range: any pair will do
    config.data.only = ("p0",)
    assert notes(64) == [unscored]

  def test_a_training_says_which_pairs_its_crops_do_not_fit(self, config, tmp_path):
    write(tmp_path, "p", 0)
    config.data.source, config.data.heldout = str(tmp_path), ""

    def warnings():
      notes = opening.open_data(config, tmp_path / "run", search_range=64)[0].notes
      return [note for note in notes if note.startswith("warning")]

    config.data.crop = (HEIGHT, WIDTH + 20)
    (warning,) = warnings()
    assert warning.startswith(
      "warning: p: 140x80 pixels, smaller than the crop of 160x80, which is filled up with"
    )
    config.data.crop = (HEIGHT, WIDTH)
    assert warnings() == []

  def test_rows_that_overlap_count_as_trained_on(self, config):
    train, heldout = opening.open_pairs(config), opening.open_pairs(config, heldout=True)
    assert opening_notes.trained_on_too(train, heldout) == []
    assert opening_notes.trained_on_too(train, opening.open_pairs(config, "bundled")) == [
      "held-out pairs that are trained on as well: motorcycle"]  # fmt: skip

  def test_cut_held_out_pairs_and_such_that_cannot_be_cut(self, config, tmp_path):
    for k, name in enumerate(("a", "b", "c")):
      write(tmp_path, name, k)
    left = tmp_path / "b" / "left.png"
    Image.open(left).crop((0, 0, 50, 50)).save(left)
    config.data.source = config.data.heldout = str(tmp_path)
    config.data.mono_view = "right"
    config.data.heldout_crop, config.evaluate.batch_size = (32, 40), 2
    data, _ = opening.open_data(config, tmp_path / "run")
    assert [b["mono"].shape for b in data.heldout] == [(2, 32, 40, 1)] * 2
    assert [b["mask"].tolist() for b in data.heldout] == [[True, False], [True, False]]
    assert "held-out pairs that cannot be scored: 1 (b); b: its pictures have diff" in data.notes[1]
    config.data.heldout_crop = (500, 500)
    with pytest.raises(UserError, match="none of the held-out pairs can be scored: a: 140x80 pix"):
      opening.open_data(config, tmp_path / "run")

  def test_the_camera_and_the_seed_reach_the_pairs(self, config):
    plain = opening.open_pairs(config, heldout=True).load(0)
    config.data.camera.enabled = True
    shot = opening.open_pairs(config, heldout=True).load(0)
    config.seed = 1
    other = opening.open_pairs(config, heldout=True).load(0)
    assert (plain.color != shot.color).any() and (shot.color != other.color).any()

  @pytest.mark.parametrize(
    ("key", "value", "message"),
    [
      ("source", "", "config.data.source is empty"),
      ("source", "nowhere", "nowhere is not there"),
      ("only", ("car",), "is called 'car'"),
    ],
  )
  def test_nonsense(self, config, tmp_path, key, value, message):
    config.data[key] = value
    with pytest.raises(UserError, match=message):
      opening.open_data(config, tmp_path)


class TestRules:
  def test_each_kind_has_its_own(self, config):
    configs.validate(config, configs.engine_rules(config))
    rules, leaves = configs.engine_rules(config), configs.flatten(config)
    assert set(rules) <= set(leaves)
    free = {"data.source", "data.heldout", "data.only", "data.heldout_only"}
    assert {k for k in leaves if k.startswith("data.")} - set(rules) == free
    photos = configs.load("common")
    assert configs.engine_rules(photos) == configs.ENGINE_RULES

  def test_a_config_from_before_there_were_pairs_is_of_photos(self):
    old = configs.load("common")
    with old.unlocked():
      del old.data.kind
    configs.validate(old, configs.engine_rules(old))

  def test_a_config_from_before_crops_could_be_left_unresampled_resamples(self, tmp_path):
    old = configs.load("common")
    with old.unlocked():
      del old.data.resample, old.data.enlarge
    configs.validate(old, configs.engine_rules(old))
    assert opening.open_data(old, tmp_path)[0].identity["records"] == 8

  def test_the_cameras_limits_are_those_of_the_data_layer(self, config):
    from scs_jax.data import camera

    rules = configs.engine_rules(config)
    for name, (low, high) in camera.LIMITS.items():
      for view in ("mono", "color"):
        rule = rules[f"data.camera.{view}.{name}"]
        assert (rule.rule.low, rule.rule.high, rule.length) == (low, high, 2)

  @pytest.mark.parametrize(
    "override",
    ["data.mono_view=up", "data.reduce=5", "data.crop=0,4", "data.crop=4,4,4", "data.variant=x",
     "data.camera.mono.blur=-1,0", "data.heldout_crop=-1,4", "data.threads=0"],
  )  # fmt: skip
  def test_out_of_range(self, config, override):
    changed = configs.apply_overrides(config, [override])
    with pytest.raises(UserError, match=override.partition("=")[0]):
      configs.validate(changed, configs.engine_rules(changed))
