"""Zhang et al. 2017's network a second time: its published tensors, and a forward pass in NumPy.

Written from the published description, channels first, in float64; nothing of the package is used.
"""

import numpy as np

# (name, input channels, output channels, kernel side); "up" spreads, all else slides.
CONVOLUTIONS = (
  ("model1.0", 4, 64, 3), ("model1.2", 64, 64, 3),
  ("model2.0", 64, 128, 3), ("model2.2", 128, 128, 3),
  ("model3.0", 128, 256, 3), ("model3.2", 256, 256, 3), ("model3.4", 256, 256, 3),
  ("model4.0", 256, 512, 3), ("model4.2", 512, 512, 3), ("model4.4", 512, 512, 3),
  ("model5.0", 512, 512, 3), ("model5.2", 512, 512, 3), ("model5.4", 512, 512, 3),
  ("model6.0", 512, 512, 3), ("model6.2", 512, 512, 3), ("model6.4", 512, 512, 3),
  ("model7.0", 512, 512, 3), ("model7.2", 512, 512, 3), ("model7.4", 512, 512, 3),
  ("model8up.0", 512, 256, 4), ("model3short8.0", 256, 256, 3),
  ("model8.1", 256, 256, 3), ("model8.3", 256, 256, 3),
  ("model9up.0", 256, 128, 4), ("model2short9.0", 128, 128, 3), ("model9.1", 128, 128, 3),
  ("model10up.0", 128, 128, 4), ("model1short10.0", 64, 128, 3), ("model10.1", 128, 128, 3),
  ("model_out.0", 128, 2, 1),
)  # fmt: skip
NORMS = (
  ("model1.4", 64), ("model2.4", 128), ("model3.6", 256), ("model4.6", 512), ("model5.6", 512),
  ("model6.6", 512), ("model7.6", 512), ("model8.5", 256), ("model9.3", 128),
)  # fmt: skip


def shapes(width=1.0, class_head=True):
  """{name: shape} of every published tensor, `num_batches_tracked` included."""
  cut = lambda channels: channels if channels in (2, 4) else round(channels * width)
  found = {}
  for name, c_in, c_out, side in CONVOLUTIONS:
    pair = (cut(c_in), cut(c_out)) if "up" in name else (cut(c_out), cut(c_in))
    found[f"{name}.weight"], found[f"{name}.bias"] = (*pair, side, side), (cut(c_out),)
  for name, channels in NORMS:
    for part in ("weight", "bias", "running_mean", "running_var"):
      found[f"{name}.{part}"] = (cut(channels),)
    found[f"{name}.num_batches_tracked"] = ()
  if class_head:
    found["model_class.0.weight"], found["model_class.0.bias"] = (529, cut(256), 1, 1), (529,)
  return found


def draw(width=1.0, seed=0, class_head=True):
  """Random tensors by the published names that keep activations alive through all blocks."""
  rng = np.random.default_rng(seed)
  found = {}
  for name, shape in shapes(width, class_head).items():
    if name.endswith("num_batches_tracked"):
      found[name] = np.array(7, np.int64)
    elif name.endswith("running_var") or (len(shape) == 1 and name.endswith("weight")):
      found[name] = rng.uniform(0.5, 1.5, shape).astype(np.float32)
    elif len(shape) == 1:
      found[name] = rng.normal(0.1, 0.2, shape).astype(np.float32)
    else:
      fan_in = shape[0] * 4 if "up" in name else np.prod(shape[1:])
      found[name] = rng.normal(0, np.sqrt(2 / fan_in), shape).astype(np.float32)
  return found


def convolve(x, weight, bias, dilation=1):
  """x [I, H, W], weight [O, I, k, k], zero-padded to the same size."""
  side, (_, h, w) = weight.shape[-1], x.shape
  pad = dilation * (side // 2)
  x = np.pad(x, ((0, 0), (pad, pad), (pad, pad)))
  total = np.zeros((len(weight), h, w)) + bias[:, None, None]
  for i in range(side):
    for j in range(side):
      window = x[:, i * dilation : i * dilation + h, j * dilation : j * dilation + w]
      total += np.einsum("oi,ihw->ohw", weight[:, :, i, j], window)
  return total


def spread(x, weight, bias):
  """Transposed convolution, stride 2, padding 1: each input adds its kernel [I, O, 4, 4]."""
  _, h, w = x.shape
  total = np.zeros((weight.shape[1], 2 * h + 2, 2 * w + 2))
  for i in range(h):
    for j in range(w):
      total[:, 2 * i : 2 * i + 4, 2 * j : 2 * j + 4] += np.einsum("i,iokl->okl", x[:, i, j], weight)
  return total[:, 1:-1, 1:-1] + bias[:, None, None]


def forward(tensors, x):
  """The network's ab [H, W, 2] for x [H, W, 4]: (L - 50) / 100, ab / 110, mask.

  At sizes that 8 does not divide, a spread result is cut to the shortcut that it meets.
  """
  relu = lambda a: np.maximum(a, 0)
  get = lambda name: (tensors[f"{name}.weight"], tensors[f"{name}.bias"])

  def block(number, x, places, norm, dilation=1):
    for place in places:
      x = relu(convolve(x, *get(f"model{number}.{place}"), dilation))
    name = f"model{number}.{norm}"
    mean, var = (tensors[f"{name}.running_{part}"][:, None, None] for part in ("mean", "var"))
    scale, shift = (p[:, None, None] for p in get(name))
    return scale * (x - mean) / np.sqrt(var + 1e-5) + shift

  def join(up, short, below, above):
    raised = spread(below, *get(up))[:, : above.shape[1], : above.shape[2]]
    return relu(raised + convolve(above, *get(short)))

  x = np.moveaxis(np.asarray(x, np.float64), -1, 0)
  one = block(1, x, (0, 2), 4)
  two = block(2, one[:, ::2, ::2], (0, 2), 4)
  three = block(3, two[:, ::2, ::2], (0, 2, 4), 6)
  x = block(4, three[:, ::2, ::2], (0, 2, 4), 6)
  x = block(5, x, (0, 2, 4), 6, dilation=2)
  x = block(6, x, (0, 2, 4), 6, dilation=2)
  x = block(7, x, (0, 2, 4), 6)
  x = block(8, join("model8up.0", "model3short8.0", x, three), (1, 3), 5)
  x = block(9, join("model9up.0", "model2short9.0", x, two), (1,), 3)
  x = convolve(join("model10up.0", "model1short10.0", x, one), *get("model10.1"))
  x = np.where(x > 0, x, 0.2 * x)
  return 110 * np.moveaxis(np.tanh(convolve(x, *get("model_out.0"))), 0, -1)
