"""The saliency networks' table: what it says without weights; no name takes another's file."""

import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scs_jax.errors import UserError
from scs_jax.nn.saliency.networks import NETWORKS

# An array that each network's file surely holds.
HELD = {"pfanet": "C12_conv/C12_conv/kernel:0", "csnet_l_x2": "stage0.0.conv1x1.conv.weight"}


def test_names():
  assert {name: network.name for name, network in NETWORKS.items()} == {n: n for n in HELD}


@pytest.mark.parametrize("name", HELD)
def test_without_a_file_the_user_hears_what_to_do(tmp_path, name):
  network = NETWORKS[name]
  for path in ("", None):
    with pytest.raises(UserError, match=f"^no {network.title} weights: ") as caught:
      network.load(path)
    assert str(caught.value) == network.missing()
  for hint in ("github.com/", "loss.salient_file=FILE", "loss.salient=0"):
    assert hint in network.missing()
  with pytest.raises(UserError, match=r"nowhere\.npz: no such file: the salient term"):
    network.load(tmp_path / "nowhere.npz")


@pytest.mark.parametrize(("name", "other"), [tuple(HELD), tuple(reversed(HELD))])
def test_no_network_goes_under_the_name_of_another(tmp_path, name, other):
  np.savez(tmp_path / "w.npz", **{HELD[other]: np.zeros((3, 3, 3, 3), np.float32)})
  with pytest.raises(UserError, match=rf"w\.npz: expected {NETWORKS[name].title} by "):
    NETWORKS[name].load(tmp_path / "w.npz")
  np.savez(tmp_path / "w.npz", **{HELD[name]: np.zeros((3, 3, 3, 3), np.float32)})
  with pytest.raises(UserError, match=f"expected the weights of {NETWORKS[name].title}.*missing"):
    NETWORKS[name].load(tmp_path / "w.npz")


class _Writes:
  """Unpickled, it would make a file."""

  def __init__(self, path):
    self.path = path

  def __reduce__(self):
    return os.mkdir, (self.path,)


@pytest.mark.parametrize("name", HELD)
def test_nothing_in_a_file_is_run(tmp_path, name):
  torch = pytest.importorskip("torch")
  torch.save({"state_dict": _Writes(str(tmp_path / "made"))}, tmp_path / "w.pth")
  with pytest.raises(UserError, match="refused"):
    NETWORKS[name].load(tmp_path / "w.pth")
  assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("name", HELD)
def test_only_rgb_is_taken(name):
  for shape, message in (((8, 8, 3), "4 dimensions"), ((1, 8, 8, 1), "3 channel")):
    with pytest.raises(ValueError, match=f"rgb: expected {message}"):
      jax.eval_shape(lambda x: NETWORKS[name].apply({}, x), jnp.zeros(shape))
