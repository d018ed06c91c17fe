"""`scs-jax demo`: the shipped models shown, with tiny stand-ins for them; nothing else is faked."""

import base64
import io
import json
import re

import jax
import numpy as np
import pytest
from PIL import Image
from skimage.color import lab2rgb, rgb2lab

from scs_jax.cli import main as cli
from scs_jax.core import config as configs
from scs_jax.core import resolve
from scs_jax.data import bundled
from scs_jax.measure import demo_models
from scs_jax.training import model_file, models

PHOTOS = {
  "input_size": 16, "magnification": "1.0,4.0", "data.crop": 64, "reference.size": 16,
  "network.widths": "4,4,8", "network.source_blocks": "0,0,0",
  "network.reference_blocks": "0,0,0", "network.decoder_blocks": "0,0,0",
  "network.levels": 1, "network.texture_blocks": 0, "network.fused_features": 8,
  "network.level_features": 8, "network.key_features": 4, "network.cpm_widths": "8,8,8",
  "evaluate.reference_size": 24,
}  # fmt: skip
PAIRS = {"network.pairs": 0, "network.features": 2, "network.search_range": 16, "data.reduce": 8}
ORDER = ("chelsea.png", "coffee.png", "china.jpg")
CARD = {"summary": "A stand-in, <not> trained.", "licence": "none", "figures": []}


def export(folder, name, config, keys, draw_state):
  config = configs.apply_overrides(configs.load(config), [f"{k}={v}" for k, v in keys.items()])
  method = resolve.build(config)
  state = draw_state(method)
  state = state.replace(model_state=jax.tree.map(np.abs, state.model_state))  # variances
  left_out = tuple(method.training_only)
  path = folder / f"{name}.safetensors"
  model_file.write(path, config, state, left_out=left_out, card=CARD)


@pytest.fixture(scope="module")
def shipped(tmp_path_factory, draw_state):
  """A folder of stand-ins for the shipped models."""
  folder = tmp_path_factory.mktemp("models")
  export(folder, "scsnet", "scsnet/released", PHOTOS, draw_state)
  export(folder, "cycle_cnn", "cycle_cnn/released", PAIRS, draw_state)
  return folder


@pytest.fixture
def there(shipped, monkeypatch):
  monkeypatch.setattr(models, "FOLDER", shipped)


def gray_psnr(name, size):
  truth = middle(name, size)
  lab = rgb2lab(np.asarray(truth.resize((size // 2, size // 2), Image.BICUBIC)))
  lab[..., 1:] = 0
  small = Image.fromarray(lab2rgb(lab)[..., 0].astype(np.float32))
  gray = np.asarray(small.resize((size, size), Image.BICUBIC)).clip(0, 1)[..., None]
  return -10 * np.log10(np.mean((gray - np.asarray(truth) / 255) ** 2))


def middle(name, size):
  """The largest central square of a bundled photograph, reduced."""
  image = Image.open(next(p.path for p in bundled.PHOTOS if p.name == name)).convert("RGB")
  side = min(image.size)
  left, top = (image.width - side) // 2, (image.height - side) // 2
  return image.crop((left, top, left + side, top + side)).resize((size, size), Image.BICUBIC)


@pytest.mark.usefixtures("plain_volumes", "one_device")
def test_everything_is_shown_and_written(there, tmp_path, capsys, monkeypatch, parse_page):
  monkeypatch.setattr(demo_models, "STEPS", 10)
  out = tmp_path / "shown"
  argv = ["demo", "--workdir", str(out), "--size", "64", "--quiet"]
  assert cli.main(argv) == 0
  said = capsys.readouterr()
  text = (out / "report.html").read_text()
  page = parse_page(text)
  assert page.counts["h2"] == 5 and page.counts["svg"] == 1  # the training's curve
  assert "A stand-in, <not> trained." in " ".join(page.words)
  assert all(link.startswith("data:image/") for link in page.fetched)
  contents = [base64.b64decode(link.partition(",")[2]) for link in page.fetched]
  pictures = [np.asarray(Image.open(io.BytesIO(c)).convert("RGB")) for c in contents]
  cells = lambda row: [re.sub("<.*?>", "", cell) for cell in re.findall("<t[dh].*?</t[dh]>", row)]
  rows = [cells(row) for row in re.findall("<tr.*?</tr>", text, re.DOTALL)]
  # One picture a magnification, the sweep, the pair: in the report as in the files.
  files = ["photos_2x.png", "photos_3.3x.png", "magnify.png", "pair.png"]
  for name, shown in zip(files, pictures, strict=True):
    np.testing.assert_array_equal(np.asarray(Image.open(out / name)), shown)
  photos = pictures[0]
  # Three rows of 64 pixels under captions; the first photograph's truth is its last picture.
  assert photos.shape[0] == 3 * (64 + 24)
  truth = photos[18 : 18 + 64]
  want = np.asarray(middle("chelsea.png", 64), float)
  distance = [np.abs(truth[:, x : x + 64] - want).mean() for x in range(photos.shape[1] - 64)]
  x = int(np.argmin(distance))
  assert distance[x] < 6 and x > photos.shape[1] * 3 // 4
  # Those that may stand anywhere are a picture of their own: the first two rows.
  free = np.asarray(Image.open(out / "demo.png"))
  np.testing.assert_array_equal(free, photos[: free.shape[0], : free.shape[1]])
  assert free.shape[0] == 2 * (64 + 24)
  modes = [row[0] for row in rows if row[0].endswith("mean of 3")]
  assert modes == [f"{m}, mean of 3" for m in ("automatic", "mirrored", "random")] * 2
  predictors = [row[0] for row in rows]
  assert predictors.count("SCSNet") == 6 and predictors.count("welsh") == 4
  assert {"Cycle CNN", "reinhard", "zero disparity"} <= set(predictors)
  # Gray at half the size, enlarged: by scikit-image's L and Pillow's bicubic.
  gray = next(row for row in rows if row[0] == "bicubic gray")
  assert float(gray[1]) == pytest.approx(np.mean([gray_psnr(name, 64) for name in ORDER]), abs=0.1)
  for part in ("2x mirrored   SCSNet", "zero disparity", "training scsnet on", "report: "):
    assert part in said.out + said.err
  assert Image.open(out / "magnify_animation.png").n_frames > 1
  # The training went on from the model: its parameters, and not those of a fresh start.
  config = json.loads((out / "training" / "config.json").read_text())
  assert config["init_from"].endswith("scsnet.safetensors") and config["steps"] == 10
  before = models.find("scsnet").restore().params["generator"]
  after = models.find(out / "training").restore().params
  moved = jax.tree.map(lambda a, b: float(np.abs(a - b).max()), before, after["generator"])
  assert 0 < max(jax.tree.leaves(moved)) < 0.05
  same = jax.tree.map(np.array_equal, models.find("scsnet").restore().params["reference"],
                      after["reference"])  # fmt: skip
  assert all(jax.tree.leaves(same))
  demo_models._require_ours(out / "training")  # so that it runs again


def test_without_models_it_says_what_to_do(tmp_path, monkeypatch, capsys):
  monkeypatch.setattr(models, "FOLDER", tmp_path / "none")
  assert cli.main(["demo", "--workdir", str(tmp_path / "out")]) == 2
  err = capsys.readouterr().err
  assert "no model 'scsnet' ships" in err and "scs-jax demo --train" in err
  assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
  "flags, expected",
  [
    (["--size", "31"], "--size 31: expected 32 to 1024 pixels"),
    (["--workdir", ""], "--workdir is empty"),
    (["--config.steps=3"], "add --train"),
    (["--all"], "add --train"),
    (["--config", "scsnet/paper"], "add --train"),
  ],
)
def test_flags_without_sense_are_refused(there, flags, expected, capsys):
  assert cli.main(["demo", *flags]) == 2
  err = capsys.readouterr().err
  assert expected in err and err.count("\n") == 1


def test_a_folder_that_cannot_be_written_is_refused_before_the_work(there, tmp_path, capsys):
  (tmp_path / "file").write_text("")
  assert cli.main(["demo", "--workdir", str(tmp_path / "file" / "out")]) == 2
  err = capsys.readouterr().err
  assert "file" in err and err.count("\n") == 1
  (tmp_path / "out" / "report.html").mkdir(parents=True)
  assert cli.main(["demo", "--workdir", str(tmp_path / "out")]) == 2
  assert "report.html" in capsys.readouterr().err


def test_somebody_elses_training_is_not_replaced(there, tmp_path, capsys):
  mine = tmp_path / "out" / "training" / "config.json"
  mine.parent.mkdir(parents=True)
  mine.write_text("{}")
  assert cli.main(["demo", "--workdir", str(tmp_path / "out")]) == 2
  assert "training is not of an earlier demo" in capsys.readouterr().err
  assert mine.read_text() == "{}"
