"""`scs-jax convert`: PyTorch's network against the converted one, and files that are no such."""

import itertools
import pathlib
import pickle
import sys

import jax
import numpy as np
import pytest
from PIL import Image
from skimage.color import lab2rgb, rgb2lab

from scs_jax.cli import main as cli
from scs_jax.core.contract import Query
from scs_jax.methods.smsanet import weights
from scs_jax.methods.smsanet.network import Colorizer, base_input
from scs_jax.nn.features import files
from scs_jax.ops import color
from scs_jax.training import models

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "methods" / "smsanet"))
import zhang_forward as zhang


def _modules(nn):
  """The published network's modules by name, written down from its description."""

  def conv(c_in, c_out, dilation=1):
    return nn.Conv2d(c_in, c_out, 3, padding=dilation, dilation=dilation)

  def block(widths, dilation=1, first=()):
    layers = list(first)
    for c_in, c_out in itertools.pairwise(widths):
      layers += [conv(c_in, c_out, dilation), nn.ReLU()]
    return nn.Sequential(*layers, nn.BatchNorm2d(widths[-1]))

  relu, one = [nn.ReLU()], nn.Sequential
  return {
    "model1": block([4, 64, 64]),
    "model2": block([64, 128, 128]),
    "model3": block([128, 256, 256, 256]),
    "model4": block([256, 512, 512, 512]),
    "model5": block([512, 512, 512, 512], 2),
    "model6": block([512, 512, 512, 512], 2),
    "model7": block([512, 512, 512, 512]),
    "model8up": one(nn.ConvTranspose2d(512, 256, 4, stride=2, padding=1)),
    "model3short8": one(conv(256, 256)),
    "model8": block([256, 256, 256], first=relu),
    "model9up": one(nn.ConvTranspose2d(256, 128, 4, stride=2, padding=1)),
    "model2short9": one(conv(128, 128)),
    "model9": block([128, 128], first=relu),
    "model10up": one(nn.ConvTranspose2d(128, 128, 4, stride=2, padding=1)),
    "model1short10": one(conv(64, 128)),
    "model10": one(nn.ReLU(), conv(128, 128), nn.LeakyReLU(0.2)),
    "model_class": one(nn.Conv2d(256, 529, 1)),
    "model_out": one(nn.Conv2d(128, 2, 1), nn.Tanh()),
  }


def _forward(m, x):
  """x [N, 4, H, W] -> ab [N, 2, H, W]."""
  one = m["model1"](x)
  two = m["model2"](one[:, :, ::2, ::2])
  three = m["model3"](two[:, :, ::2, ::2])
  deep = m["model4"](three[:, :, ::2, ::2])
  for name in ("model5", "model6", "model7"):
    deep = m[name](deep)
  eight = m["model8"](m["model8up"](deep) + m["model3short8"](three))
  nine = m["model9"](m["model9up"](eight) + m["model2short9"](two))
  ten = m["model10"](m["model10up"](nine) + m["model1short10"](one))
  return 110 * m["model_out"](ten)


@pytest.fixture(scope="module")
def published(tmp_path_factory):
  """(PyTorch's network with random weights and running averages, its file)."""
  torch = pytest.importorskip("torch")
  torch.manual_seed(0)
  net = torch.nn.ModuleDict(_modules(torch.nn)).eval()
  with torch.no_grad():
    for module in net.modules():
      if isinstance(module, torch.nn.BatchNorm2d):
        for tensor in (module.weight, module.running_var):
          tensor.uniform_(0.5, 1.5)
        module.bias.normal_(0.1, 0.2)
        module.running_mean.normal_(0.1, 0.2)
      elif isinstance(module, torch.nn.Conv2d | torch.nn.ConvTranspose2d):
        torch.nn.init.kaiming_normal_(module.weight)
  assert {name: tuple(t.shape) for name, t in net.state_dict().items()} == zhang.shapes()
  path = tmp_path_factory.mktemp("torch") / "siggraph17.pth"
  torch.save(net.state_dict(), path)
  return net, path


@pytest.mark.slow
def test_activations_are_those_of_pytorch(published, tmp_path, capsys):
  """The whole published network, hint and mask included, and the model's file without: 1e-4."""
  import torch

  net, path = published
  out = tmp_path / "zhang2017.safetensors"
  assert cli.main(["convert", "zhang2017", str(path), str(out)]) == 0
  shown = capsys.readouterr().out
  assert "34,051,074 parameters; 135,953 of the class head left out; mask not centred" in shown
  variables = weights.from_published(files.read_arrays(path)).variables
  rng = np.random.default_rng(0)
  lightness = rng.uniform(0, 100, (1, 24, 16, 1)).astype(np.float32)
  mask = (rng.random((1, 24, 16, 1)) < 0.1).astype(np.float32)
  hint = rng.uniform(-60, 60, (1, 24, 16, 2)).astype(np.float32) * mask
  x = np.concatenate([(lightness - 50) / 100, hint / 110, mask], -1)
  with torch.no_grad():
    want = _forward(net, torch.from_numpy(x.transpose(0, 3, 1, 2))).numpy().transpose(0, 2, 3, 1)
  ours = Colorizer(attention="none")
  found = jax.jit(ours.apply)(variables, base_input(lightness, hint, mask))
  assert np.abs(want).max() > 30 and np.std(want) > 5
  np.testing.assert_allclose(found / 110, want / 110, atol=1e-4)

  x[..., 1:] = 0  # automatic: neither hint nor mask
  with torch.no_grad():
    want = _forward(net, torch.from_numpy(x.transpose(0, 3, 1, 2))).numpy().transpose(0, 2, 3, 1)
  model = models.find(out)
  gray = color.lab_to_rgb(np.concatenate([lightness, 0 * hint], -1))[..., :1]
  query = Query(gray, (24, 16), want_extras=True)
  found = jax.jit(model.method.predict)(model.restore(), query).extras["ab"]
  np.testing.assert_allclose(found / 110, want / 110, atol=1e-4)


def test_the_table_by_hand():
  table = [
    ("model1.0.weight", (64, 4, 3, 3), "params/block_1/conv_0/kernel", (3, 3, 4, 64)),
    ("model1.4.num_batches_tracked", (), "left out: counter", None),
  ]
  assert weights.Converted({}, table, 0).coverage() == [
    "tensor                        shape           ours                          shape",
    "model1.0.weight               64 x 4 x 3 x 3  params/block_1/conv_0/kernel  3 x 3 x 4 x 64",
    "model1.4.num_batches_tracked  scalar          left out: counter",
  ]


@pytest.fixture
def narrow(monkeypatch):
  """The verb for a network of 1/64 of the channels, so that a file is small."""
  whole = weights.from_published
  monkeypatch.setattr(
    weights, "from_published", lambda arrays, source: whole(arrays, 1 / 64, source)
  )


@pytest.mark.parametrize(("flags", "centre"), [([], 0.0), (["--centred-mask"], 0.5)])
def test_every_tensor_is_told_and_the_mask_is_kept(narrow, tmp_path, capsys, flags, centre):
  tensors = zhang.draw(1 / 64)
  np.savez(tmp_path / "in.npz", **tensors)
  out = tmp_path / "zhang.safetensors"
  argv = ["convert", "zhang2017", str(tmp_path / "in.npz"), str(out), *flags]
  assert cli.main(argv) == 0
  lines = capsys.readouterr().out.splitlines()
  assert {line.split()[0] for line in lines[1 : 1 + len(tensors)]} == set(tensors)
  assert sorted(path.name for path in tmp_path.iterdir()) == ["in.npz", "zhang.safetensors"]
  model = models.find(out)
  assert model.name == "smsanet (zhang)" and model.config.network.attention == "none"
  first = model.restore().params["colorizer"]["block_1"]["conv_0"]
  # A centred mask without a hint is -0.5 everywhere.
  bias = tensors["model1.0.bias"] - centre * tensors["model1.0.weight"][:, 3].sum((1, 2))
  np.testing.assert_allclose(first["bias"], bias, rtol=1e-5)
  np.testing.assert_array_equal(first["kernel"][:, :, 0, 0], tensors["model1.0.weight"][0, 0])


def test_what_is_converted_colours_at_once(narrow, tmp_path, monkeypatch, capsys):
  """As the published network, given no hint, in NumPy; the photo's own light and dark kept."""
  monkeypatch.chdir(tmp_path)
  tensors = zhang.draw(1 / 64)
  for part in ("weight", "bias"):
    tensors[f"model_out.0.{part}"] *= 0.15  # colours that sRGB has
  np.savez("in.npz", **tensors)
  Image.fromarray(np.linspace(20, 230, 32 * 32).reshape(32, 32).astype(np.uint8)).save("gray.png")
  assert cli.main(["convert", "zhang2017", "in.npz", "zhang.safetensors"]) == 0
  argv = ["colorize", "gray.png", "--out", "out.png", "--checkpoint", "zhang.safetensors"]
  assert cli.main([*argv, "--quiet", "--input-side", "32"]) == 0, capsys.readouterr().err
  gray = np.asarray(Image.open("gray.png")) / 255
  lightness = rgb2lab(np.repeat(gray[..., None], 3, -1))[..., :1]
  # A picture is mirrored out to the sizes that there are programs for: here there is nothing to.
  want = zhang.forward(tensors, np.concatenate([lightness / 100 - 0.5, np.zeros((32, 32, 3))], -1))
  found = rgb2lab(np.asarray(Image.open("out.png")))
  np.testing.assert_allclose(found[..., 0], lightness[..., 0], atol=0.7)
  inside = np.abs(lab2rgb(np.concatenate([lightness, want], -1)) - 0.5).max(-1) < 0.49
  assert inside.mean() > 0.5 and np.abs(want).max() > 5
  np.testing.assert_allclose(found[inside][..., 1:], want[inside], atol=1.5)


class Harm:
  """A pickle of it would make a folder."""

  def __reduce__(self):
    return (pathlib.Path.mkdir, (pathlib.Path("harmed"),))


@pytest.mark.parametrize(
  ("name", "content", "part"),
  [
    ("none.pth", None, "none.pth"),
    ("page.pth", b"<!DOCTYPE html><html>", "a web page"),
    ("bare.pth", pickle.dumps(Harm()), "a bare Python pickle, which is refused"),
    ("other.npz", {"conv.weight": np.zeros(3, "f")}, "unknown: conv.weight"),
    ("more.npz", {**zhang.draw(1 / 64), "model12.0.weight": np.zeros(3, "f")}, "model12.0.weight"),
  ],
)
def test_a_wrong_file_is_one_clear_line(narrow, tmp_path, capsys, monkeypatch, name, content, part):
  monkeypatch.chdir(tmp_path)
  if isinstance(content, bytes):
    pathlib.Path(name).write_bytes(content)
  elif content is not None:
    np.savez(name, **content)
  assert cli.main(["convert", "zhang2017", name, "out.safetensors"]) == 2
  err = capsys.readouterr().err
  assert err.startswith("scs-jax: error: ") and err.count("\n") == 1 and part in err
  assert not pathlib.Path("out.safetensors").exists() and not pathlib.Path("harmed").exists()


@pytest.mark.parametrize(
  ("argv", "part"),
  [
    (["zhang2016", "a.pth", "b.safetensors"], "choose from"),
    (["zhang2017", "a.pth"], "OUT"),
    (["zhang2017", "a.pth", "b.pth"], "expected a name that ends in .safetensors"),
  ],
)
def test_a_slip_is_one_line_and_two(capsys, argv, part):
  assert cli.main(["convert", *argv]) == 2
  err = capsys.readouterr().err
  assert err.startswith("scs-jax: error: ") and err.count("\n") == 1 and part in err
