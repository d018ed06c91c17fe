"""`scs-jax convert`: PyTorch's network against the converted one, and files that are no such."""

import itertools
import pathlib
import pickle
import sys

import jax
import numpy as np
import pytest

from scs_jax.cli import convert
from scs_jax.cli import main as cli
from scs_jax.methods.smsanet import weights
from scs_jax.methods.smsanet.network import Colorizer, base_input

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
  """The whole published network, hint and mask included: ab / 110 within 1e-4."""
  import torch

  net, path = published
  out = tmp_path / "zhang2017.npz"
  assert cli.main(["convert", "zhang2017", str(path), str(out)]) == 0
  shown = capsys.readouterr().out
  assert "34,051,074 parameters; 135,953 of the class head left out; mask not centred" in shown
  variables, centre = weights.load(out)
  assert centre == 0
  rng = np.random.default_rng(0)
  lightness = rng.uniform(0, 100, (1, 24, 16, 1)).astype(np.float32)
  mask = (rng.random((1, 24, 16, 1)) < 0.1).astype(np.float32)
  hint = rng.uniform(-60, 60, (1, 24, 16, 2)).astype(np.float32) * mask
  x = np.concatenate([(lightness - 50) / 100, hint / 110, mask], -1)
  with torch.no_grad():
    want = _forward(net, torch.from_numpy(x.transpose(0, 3, 1, 2))).numpy().transpose(0, 2, 3, 1)
  net = Colorizer(attention="none")
  found = jax.jit(net.apply)(variables, base_input(lightness, hint, mask))
  assert np.abs(want).max() > 30 and np.std(want) > 5
  np.testing.assert_allclose(found / 110, want / 110, atol=1e-4)


def test_the_table_by_hand():
  table = [
    ("model1.0.weight", (64, 4, 3, 3), "params/block_1/conv_0/kernel", (3, 3, 4, 64)),
    ("model1.4.num_batches_tracked", (), "left out: counter", None),
  ]
  assert convert.coverage(table) == [
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
  argv = ["convert", "zhang2017", str(tmp_path / "in.npz"), str(tmp_path / "out.npz"), *flags]
  assert cli.main(argv) == 0
  lines = capsys.readouterr().out.splitlines()
  assert {line.split()[0] for line in lines[1 : 1 + len(tensors)]} == set(tensors)
  assert weights.load(tmp_path / "out.npz", 1 / 64)[1] == centre
  assert sorted(path.name for path in tmp_path.iterdir()) == ["in.npz", "out.npz"]


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
  assert cli.main(["convert", "zhang2017", name, "out.npz"]) == 2
  err = capsys.readouterr().err
  assert err.startswith("scs-jax: error: ") and err.count("\n") == 1 and part in err
  assert not pathlib.Path("out.npz").exists() and not pathlib.Path("harmed").exists()


@pytest.mark.parametrize(
  ("argv", "part"),
  [
    (["zhang2016", "a.pth", "b.npz"], "choose from"),
    (["zhang2017", "a.pth"], "OUT"),
    (["zhang2017", "a.pth", "b.pth"], "expected a name that ends in .npz"),
  ],
)
def test_a_slip_is_one_line_and_two(capsys, argv, part):
  assert cli.main(["convert", *argv]) == 2
  err = capsys.readouterr().err
  assert err.startswith("scs-jax: error: ") and err.count("\n") == 1 and part in err
