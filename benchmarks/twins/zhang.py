"""Zhang et al. 2017's network, by the layers of its published weights, and SMSANet on top of it."""

import torch
import torch.nn.functional as F

# Block: (convolutions, dilation, block of the shortcut); 2 to 4 see every second pixel.
BLOCKS = {
  1: (2, 1, 0), 2: (2, 1, 0), 3: (3, 1, 0), 4: (3, 1, 0), 5: (3, 2, 0), 6: (3, 2, 0), 7: (3, 1, 0),
  8: (2, 1, 3), 9: (1, 1, 2), 10: (1, 1, 1),
}  # fmt: skip
SPREAD = ("up_",)


def forward(w, s, x, scales=()):
  """Computes ab [N, 2, H, W]; H and W are multiples of 8.

  Args:
    w, s: parameters and running statistics by path.
    x: [N, 1 or 4, H, W].
    scales: k of SMSA's patches, 2^k positions a side; none: the base alone.
  """
  seen = {}
  for number, (convs, dilation, shortcut) in BLOCKS.items():
    if number in (2, 3, 4):
      x = x[:, :, ::2, ::2]
    if shortcut:
      up, short = f"up_{number}", f"short_{number}"
      x = F.conv_transpose2d(x, w[f"{up}/kernel"], w[f"{up}/bias"], 2, 1)
      x = x + F.conv2d(seen[shortcut], w[f"{short}/kernel"], w[f"{short}/bias"], padding=1)
      x = F.relu(x, inplace=True)
    name = f"block_{number}"
    for i in range(convs):
      kernel, bias = w[f"{name}/conv_{i}/kernel"], w[f"{name}/conv_{i}/bias"]
      x = F.conv2d(x, kernel, bias, padding=dilation, dilation=dilation)
      x = F.leaky_relu(x, 0.2, True) if number == 10 else F.relu(x, inplace=True)
    if scales:
      x = attention(w, f"attention_{number}", x, scales)
    if number < 10:
      mean, var = s[f"{name}/norm/mean"], s[f"{name}/norm/var"]
      x = F.batch_norm(x, mean, var, w[f"{name}/norm/scale"], w[f"{name}/norm/bias"], eps=1e-5)
    seen[number] = x
  return 110 * torch.tanh(F.conv2d(x, w["output/kernel"], w["output/bias"]))


def attention(w, name, x, scales):
  """Computes SMSA, Eq. 1-4 of its paper: F + F A_s A_n."""
  pooled = torch.cat([x.amax(1, keepdim=True), x.mean(1, keepdim=True)], 1)
  spatial = 0
  for k in scales:
    side = 2**k
    parts = F.max_pool2d(pooled[:, :1], side), F.avg_pool2d(pooled[:, 1:], side)
    logits = F.conv2d(torch.cat(parts, 1), w[f"{name}/scale_{k}/kernel"], padding=1)
    share = torch.sigmoid(w[f"{name}/logits"][k - 1])
    spatial = spatial + share * F.interpolate(torch.sigmoid(logits), scale_factor=side)
  hidden = F.relu(F.linear(x.mean((2, 3)), w[f"{name}/channel/squeeze/kernel"]))
  channel = torch.sigmoid(F.linear(hidden, w[f"{name}/channel/excite/kernel"]))
  return x + x * spatial * channel[:, :, None, None]
