"""A training step of Cycle CNN (Eq. 2-12) on top of `wac`: both passes, GCA, SSIM and RMSProp."""

import torch
import torch.nn.functional as F

from . import wac


def ssim(a, b):
  """Computes Wang et al. 2004's index with their Gaussian window, where it lies inside."""
  channels = a.shape[1]
  taps = torch.exp(-0.5 * ((torch.arange(11) - 5) / 1.5) ** 2)
  window = torch.outer(taps, taps) / taps.sum() ** 2
  moments = torch.cat([a, b, a * a, b * b, a * b], 1)
  window = window.expand(5 * channels, 1, 11, 11)
  mean_a, mean_b, aa, bb, ab = F.conv2d(moments, window, groups=5 * channels).chunk(5, 1)
  c1, c2 = 0.01**2, 0.03**2
  luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
  spread = aa - mean_a**2 + bb - mean_b**2
  return (luminance * (2 * (ab - mean_a * mean_b) + c2) / (spread + c2)).mean()


def adjusted(w, luma, gray, pairs):
  """Brings I_C^Y to the levels of I_G by the curve of Eq. 2-8."""
  x, y = 255 * luma, 255 * gray
  height, width = x.shape[2:]
  rows, columns = (torch.arange(side).float() for side in (height, width))
  rows, columns = (torch.minimum(at, len(at) - 1 - at) for at in (rows, columns))
  place = torch.stack([rows[:, None].expand(height, width), columns.expand(height, width)])
  seen = torch.cat([x, y, place[None].expand(len(x), -1, -1, -1)], 1)
  log_confidence = wac.resnet(w, None, "resnet", seen, pairs, F.logsigmoid)
  nodes = 4 * torch.arange(64.0)
  distance = -((x.flatten(1)[:, None] - nodes[:, None]) ** 2) / 50  # [N, 64, H W]
  shares = (distance + log_confidence.flatten(1)[:, None]).softmax(2)
  curve = torch.einsum("nmp,np->nm", shares, y.flatten(1))
  return torch.einsum("nmp,nm->np", distance.softmax(1), curve).reshape(x.shape) / 255


class Step:
  """Holds the parameters of WAC and GCA and their optimizer; a call is one step.

  Attributes:
    wac, gca: parameters by path.
    pairs, depth, layout: of the networks.
  """

  def __init__(self, wac_tensors, gca_tensors, pairs, depth, layout):
    self.wac, self.gca = wac_tensors, gca_tensors
    self.pairs, self.depth, self.layout = pairs, depth, layout
    leaves = [t.requires_grad_() for w in (wac_tensors, gca_tensors) for t in w.values()]
    self.optimizer = torch.optim.RMSprop(leaves, 1e-3, alpha=0.9, eps=1e-7)

  def color(self, gray, reference):
    return wac.forward(self.wac, None, gray, reference, self.pairs, self.depth, self.layout)

  def __call__(self, gray, reference):
    """Makes one update from I_G [N, 1, H, W] and R_C [N, 3, H, W]; returns the loss of Eq. 12."""
    self.optimizer.zero_grad()
    first, smooth = self.color(gray, reference)
    mono = torch.cat([gray, first[:, 1:]], 1)
    second, again = self.color(reference[:, :1].flip(3), mono.flip(3))
    structure = 1 - ssim(adjusted(self.gca, first[:, :1], gray, self.pairs), gray)
    cycle = 1 - ssim(second.flip(3)[:, 1:], reference[:, 1:])
    loss = structure + cycle + 0.1 * (smooth + again) / 2
    loss.backward()
    self.optimizer.step()
    return loss.detach()
