"""What the README tells a newcomer to type does what it says, on small data and a small network."""

import pathlib
import re
import shlex
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from skimage import data

from scs_jax.cli import main as cli
from scs_jax.core import config as configs
from scs_jax.core import resolve
from scs_jax.methods.smsanet import weights
from scs_jax.study import server
from scs_jax.training import model_file, models

ROOT = pathlib.Path(__file__).resolve().parents[2]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
# Networks that compile and train in seconds, in place of those that the README names.
TINY = {
  "input_size": 8,
  "magnification": "2,2",
  "data.crop": 16,
  "reference.size": 8,
  "network.widths": "4,4,8",
  "network.levels": 1,
  "network.source_blocks": "0,0,0",
  "network.reference_blocks": "0,0,0",
  "network.decoder_blocks": "0,0,0",
  "network.texture_blocks": 0,
  "network.fused_features": 8,
  "network.level_features": 8,
  "network.key_features": 4,
  "network.cpm_widths": "8,8,8",
  "discriminator.width": 4,
  "discriminator.layers": 1,
}
TINY_SMSANET = {
  "network.width": 1 / 16,
  "network.attention_blocks": "4,",
  "data.crop": 16,
}
TINY_PAIRS = {
  "network.pairs": 0,
  "network.features": 2,
  "network.search_range": 16,
  "data.crop": "16,32",
  "data.heldout_crop": "32,64",
  "refine_share": 0.5,
  "evaluate.batch_size": 1,
  "evaluate.limit": 1,
  "batch_size": 1,
  "steps": 2,
}
EVERY = {
  "evaluate.reference_size": 8,
  "evaluate.scale": 2,
  "evaluate.batch_size": 2,
  "evaluate.limit": 2,
  "batch_size": 8,
  "steps": 1,
  "epochs": 0,
}


def blocks(language: str) -> list[str]:
  return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def commands() -> list[list[str]]:
  """The `scs-jax` command lines, in order, without their comments."""
  lines = "\n".join(blocks("sh")).replace("\\\n", " ").splitlines()
  words = [shlex.split(line, comments=True) for line in lines]
  return [line[1:] for line in words if line and line[0].endswith("scs-jax")]


@pytest.fixture(scope="module")
def place(tmp_path_factory, make_tiny_config, make_smsanet_config, draw_state):
  """A folder with all that the README takes for granted, and nothing else."""
  folder = tmp_path_factory.mktemp("readme")
  photos = [data.astronaut(), data.coffee(), data.chelsea()]
  for where in ("path/to/photos", "imagenet/train", "imagenet/val", "scans"):
    (folder / where).mkdir(parents=True)
    for number, photo in enumerate(photos):
      small = Image.fromarray(photo).resize((64, 48))
      small.save(folder / where / f"{number}.png")
  Image.fromarray(data.coffee()).resize((50, 40)).save(folder / "scans" / "old.jpg")
  Image.fromarray(data.coffee()).resize((50, 40)).save(folder / "photo.jpg")
  shutil.copytree(folder / "scans", folder / "out/deoldify")  # what another software made of them
  # In the published layout, though not in PyTorch's format, which the reader tells by its content.
  tensors = {t.name: np.zeros(t.shape, np.float32) for t in weights.layout()}
  with open(folder / "siggraph17-df00044c.pth", "wb") as file:
    np.savez_compressed(file, **tensors)
  left, right, _ = data.stereo_motorcycle()
  views = [Image.fromarray(view[100:228, 200:392]) for view in (left, right)]
  for scene in ("one", "two"):
    (folder / "pairs" / scene).mkdir(parents=True)
    for name, view in zip(("left", "right"), views, strict=True):
      view.save(folder / "pairs" / scene / f"{name}.png")
  views[0].save(folder / "color.png")
  views[1].convert("L").save(folder / "mono.png")
  (folder / "models").mkdir()  # a stand-in: what ships is tested in test_packaging.py
  card = {"summary": "A stand-in.", "licence": "none", "figures": [], "data": [], "limits": []}
  for config in (make_tiny_config(), make_smsanet_config()):
    state = draw_state(resolve.build(config.lock()))
    state = state.replace(model_state=jax.tree.map(np.abs, state.model_state))  # variances
    standin = folder / "models" / f"{config.method.name}.safetensors"
    model_file.write(standin, config, state, card={**card, "budget": {}})
  mine = next(block for block in blocks("python") if "mine.py" in block)
  (folder / "mine.py").write_text(mine)
  return folder


@pytest.fixture(scope="module")
def quick_steps(drawn_starts):
  """Trainings make steps that change nothing, so that nothing large is compiled.

  All around them is what a training is. What the methods' steps do is tested in tests/methods and
  tests/contract.
  """

  def step(self, state, *unused):
    return state.replace(step=state.step + 1), {"loss/content": jnp.float32(1)}

  with pytest.MonkeyPatch.context() as patch:
    for name in resolve.BUILTIN:
      patch.setattr(resolve.resolve(name), "train_step", step)
    yield


@pytest.fixture(autouse=True)
def there(place, plain_volumes, one_device, quick_steps, monkeypatch):
  monkeypatch.chdir(place)
  monkeypatch.setattr(models, "FOLDER", place / "models")
  monkeypatch.setattr(server.Server, "serve_forever", lambda self: None)  # else until Ctrl-C


def run(command: list[str]) -> int:
  tiny: list[str] = []
  if command[:2] == ["data", "select"]:
    tiny = ["--min-kb=0"]  # the photos here are small
  if command[0] == "compare":
    tiny = ["--no-speed", "--limit", "1"]
  if command[:3] == ["evaluate", "--checkpoint", "runs/pairs"]:
    tiny = ["--no-baselines"]  # which photos have beside them
  if command[:2] == ["study", "serve"]:
    tiny = ["--port=0"]
  if command[0] == "plan":  # for the devices at hand: TPUs need their compiler, an extra
    at = command.index("--topology")
    command = [*command[:at], *command[at + 2 :]]
    tiny = [f"--config.{key}={value}" for key, value in (TINY | EVERY).items()]
  if command[0] == "train":
    keys = (TINY_SMSANET if "smsanet/paper" in command else TINY) | EVERY
    keys = TINY_PAIRS if "cycle_cnn/small" in command else keys
    tiny = [f"--config.{key}={value}" for key, value in keys.items()]
    # Weight files are the user's and of the paper's widths; tests of their importers read such.
    command = [w for w in command if "perceptual_file" not in w and "init_from" not in w]
    if "scsnet/paper" in command:
      tiny.append("--config.loss.perceptual=0")
  return cli.main([*command, *tiny])


def test_there_are_commands_for_every_verb():
  verbs = {command[0] for command in commands()}
  assert {"train", "convert", "evaluate", "colorize", "params", "data", "plan"} <= verbs
  assert {"compare", "ablate", "visualize", "models", "export", "study", "--help"} <= verbs


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_command(command, capsys):
  if command == ["app"]:
    pytest.skip("serves until it is told to end, as in tests/app/test_page.py")
  assert run(command) == 0, capsys.readouterr().err


def test_results_are_where_the_text_says():
  for name in ("metrics.jsonl", "config.json", "checkpoints", "panels"):
    assert pathlib.Path("runs/small", name).exists()
  found = sorted(path.name for path in pathlib.Path("colored").rglob("[!.]*.*"))
  assert found == ["0.png", "1.png", "2.png", "old.jpg"]
  assert Image.open("old_color.png").size == (125, 100)
  assert Image.open("photo_color.jpg").size == (50, 40)
  evaluation = next(pathlib.Path("runs/small/evaluation").iterdir())
  written = {path.name for path in evaluation.iterdir()}
  assert {"results.json", "per_image.csv", "report.html"} <= written


@pytest.mark.parametrize("number", range(len(blocks("python"))))
def test_python(number, random_variables):
  left, right, _ = data.stereo_motorcycle()
  names = {
    "mono": right[100:228, 200:392].mean(-1).astype(np.uint8),
    "color": left[100:228, 200:392],
    "image": data.coffee()[::8, ::8],
    "photo": data.astronaut()[::8, ::8],
    "picture": np.random.default_rng(0).random((1, 24, 32)).astype(np.float32),
  }
  code = blocks("python")[number]
  if "scs_jax.train" in code:
    changes = [f"{key}={value}" for key, value in (TINY | EVERY).items()]
    names["tiny"] = lambda config: configs.apply_overrides(config, changes)
    code = code.replace("scs_jax.train(config", "scs_jax.train(tiny(config)")
  if "net.apply" in code:
    names["photo"] = np.random.default_rng(1).random((1, 20, 20, 3)).astype(np.float32)
    # Compiled whole, which takes a fraction of what its many operations one by one take.
    names["drawn"] = lambda net, key, *inputs: random_variables(net, *inputs)
    code = code.replace("net.init(", "drawn(net, ")
    code = code.replace("net.apply(", "jax.jit(net.apply, static_argnums=3)(")
    small = "*3 * [(0, 0, 0)], texture_blocks=0, fused_features=8, level_features=8, levels=1"
    code = code.replace("SCSNet()", f"SCSNet((4, 4, 8), {small}, cpm_widths=(8, 8, 8))")
    code = code.replace("481, 333", "81, 33")
  exec(compile(code, f"README.md, python block {number}", "exec"), names)
  if "outcome" in names:
    assert names["outcome"].step == 1 and names["outcome"].curves["loss/content"].shape == (1, 2)
  if "result" in names:
    assert names["result"].shape == (185, 278, 3)  # of 50 x 75
  if "colored" in names:
    assert np.asarray(names["colored"]).shape == (128, 192, 3)
  if "rgb" in names:
    assert names["rgb"].shape == (1, 81, 33, 3) and np.isfinite(names["rgb"]).all()
