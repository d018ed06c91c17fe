"""WAC's U-Net in the plain order: the 2n-channel volume is built, PyTorch convolves it."""

import numpy as np
import pytest

try:
  import torch
  import torch.nn.functional as F
except ImportError:  # it is in no extra, for its size
  torch = F = None

needs_torch = pytest.mark.skipif(torch is None, reason="compares with PyTorch: pip install torch")


def feature_volume(a, b, depth):
  """Reading 2: [N, d, H, W, 2n] pairing F_A(j, i) with F_B(j, i + k), zero beyond the border.

  a, b: [N, H, W, n], both NumPy arrays or both tensors.
  """
  n, h, w, c = a.shape
  make = np.zeros if isinstance(a, np.ndarray) else torch.zeros
  volume = make((n, depth, h, w, 2 * c), dtype=a.dtype)
  for k in range(depth):
    volume[:, k, :, :, :c] = a
    for i in range(w - k):
      volume[:, k, :, i, c:] = b[:, :, i + k]
  return volume


def tensor(x):
  """float64, from anything; a tensor that wants a gradient stays itself."""
  return x if torch.is_tensor(x) else torch.as_tensor(np.array(x, np.float64))


def _norm_relu(x, params, stats):
  gain = tensor(params["scale"]), tensor(params["bias"])
  if stats is None:
    x = F.batch_norm(x, None, None, *gain, training=True, eps=1e-3)
  else:
    x = F.batch_norm(x, tensor(stats["mean"]), tensor(stats["var"]), *gain, eps=1e-3)
  return F.relu(x)


def unet(a, b, params, depth, stats=None):
  """Layers 1 to 19 of Table I, line by line, in float64; stats: running ones, None: the batch's.

  Args:
    a, b: tensors F_A, F_B [N, H, W, n].

  Returns:
    logits [N, d, H, W].
  """

  def layer(number, x, stride=1, transposed=False):
    name = f"layer_{number}"
    kernel = tensor(params[name]["conv"]["kernel"])
    if transposed:
      x = F.conv_transpose3d(x, kernel.permute(3, 4, 0, 1, 2), None, 2, 1, 1)
    else:
      x = F.conv3d(x, kernel.permute(4, 3, 0, 1, 2), None, stride, 1)
    return _norm_relu(x, params[name]["norm"], stats and stats[name]["norm"])

  one = layer(1, feature_volume(a, b, depth).permute(0, 4, 1, 2, 3))
  two = layer(2, one)
  five = layer(5, layer(4, layer(3, two, 2)))
  eight = layer(8, layer(7, layer(6, five, 2)))
  eleven = layer(11, layer(10, layer(9, eight, 2)))
  fourteen = layer(14, layer(13, layer(12, eleven, 2)))
  x = layer(15, fourteen, transposed=True) + eleven
  x = layer(16, x, transposed=True) + eight
  x = layer(17, x, transposed=True) + five
  x = layer(18, x, transposed=True) + two
  return F.conv3d(x, tensor(params["layer_19"]["kernel"]).permute(4, 3, 0, 1, 2), padding=1)[:, 0]
