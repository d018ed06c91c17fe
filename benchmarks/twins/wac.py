"""WAC of Cycle CNN, line by line from Table I: 2-D ResNet, feature volume, 3-D U-Net, Eq. 1 and 11.

BatchNorm has the running statistics `s`, or the batch's where `s` is None (and then keeps no
running ones, which costs PyTorch nothing to leave out).
"""

import torch
import torch.nn.functional as F

from .weights import memory_format

SPREAD = tuple(f"layer_{number}/" for number in (15, 16, 17, 18))
HALVED = (3, 6, 9, 12)
ADDED = {15: 11, 16: 8, 17: 5, 18: 2}


def norm(w, s, name, x):
  scale, bias = w[f"{name}/scale"], w[f"{name}/bias"]
  if s is None:
    return F.batch_norm(x, None, None, scale, bias, True, eps=1e-3)
  return F.batch_norm(x, s[f"{name}/mean"], s[f"{name}/var"], scale, bias, eps=1e-3)


def conv_norm(w, s, name, x):
  kernel = w[f"{name}/conv/kernel"]
  x = F.conv2d(x, kernel, w.get(f"{name}/conv/bias"), padding=kernel.shape[-1] // 2)
  return norm(w, s, f"{name}/norm", x) if f"{name}/norm/scale" in w else x


def resnet(w, s, name, x, pairs, last=None):
  """Runs Table I's ResNet; `last`: what follows the layer to one channel, None: there is none."""
  x = F.relu(conv_norm(w, s, f"{name}/layer_1", x), inplace=True)
  for i in range(1, pairs + 1):
    y = F.relu(conv_norm(w, s, f"{name}/pair_{i}/first", x), inplace=True)
    x = x + F.relu(conv_norm(w, s, f"{name}/pair_{i}/second", y), inplace=True)
  return x if last is None else last(conv_norm(w, s, f"{name}/last", x))


def feature_volume(a, b, depth):
  """Pairs F_A(j, i) with F_B(j, i + k): [N, 2 n, d, H, W]."""
  width = a.shape[3]
  there = F.pad(b, (0, depth - 1)).unfold(3, width, 1).permute(0, 1, 3, 2, 4)
  return torch.cat([a[:, :, None].expand_as(there), there], 1)


def unet(w, s, volume):
  """Computes logits [N, d, H, W]."""
  x, kept = volume, {}
  for number in range(1, 19):
    name = f"unet/layer_{number}"
    kernel = w[f"{name}/conv/kernel"]
    if number in ADDED:
      x = F.conv_transpose3d(x, kernel, stride=2, padding=1, output_padding=1)
    else:
      x = F.conv3d(x, kernel, stride=2 if number in HALVED else 1, padding=1)
    x = F.relu(norm(w, s, f"{name}/norm", x), inplace=True)
    x = x + kept[ADDED[number]] if number in ADDED else x
    if number in ADDED.values():
      kept[number] = x
  return F.conv3d(x, w["unet/layer_19/kernel"], padding=1)[:, 0]


def smoothness(weights):
  """Computes Eq. 11, each pair of neighbours once."""
  down, across = weights.diff(dim=2).abs(), weights.diff(dim=3).abs()
  return (down.sum() + across.sum()) / (down.numel() + across.numel())


def forward(w, s, gray, reference, pairs, depth, layout):
  """Colours `gray` [N, 1, H, W] by YCbCr [N, 3, H, W]: (averages [N, 3, H, W], Eq. 11)."""
  n, width = len(gray), gray.shape[3]
  features = resnet(w, s, "resnet", torch.cat([gray, reference[:, :1]]), pairs)
  volume = feature_volume(features[:n], features[n:], depth)
  logits = unet(w, s, volume.contiguous(memory_format=memory_format(5, layout)))
  there = torch.arange(depth)[:, None] + torch.arange(width) < width
  weights = logits.masked_fill(~there[:, None], float("-inf")).softmax(1)
  candidates = F.pad(reference, (0, depth - 1)).unfold(3, width, 1)  # [N, 3, H, d, W]
  values = torch.einsum("ndhw,nchdw->nchw", weights, candidates)
  return values, smoothness(weights)
