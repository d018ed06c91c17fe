"""Parameters of a Linen network as PyTorch's tensors, by path."""

import flax.traverse_util
import jax
import numpy as np
import torch

LAYOUTS = ("contiguous", "channels_last")


def draw(module, *inputs, **options):
  """Draws variables of a Linen module in NumPy, none of them zero; variances are positive."""
  rng = np.random.default_rng(0)
  shapes = jax.eval_shape(lambda *x: module.init(jax.random.key(0), *x, **options), *inputs)

  def leaf(path, shape):
    last = path[-1].key
    if last in ("scale", "var"):
      return rng.uniform(0.5, 1.5, shape.shape).astype(np.float32)
    fan_in = np.prod(shape.shape[:-1]) if len(shape.shape) > 1 else 100
    return (rng.normal(size=shape.shape) * np.sqrt(1.5 / fan_in)).astype(np.float32)

  return jax.tree_util.tree_map_with_path(leaf, shapes)


def memory_format(dimensions: int, layout: str):
  """Returns PyTorch's memory format of a tensor of 4 or 5 axes; others have but one."""
  if layout == "contiguous" or dimensions not in (4, 5):
    return torch.contiguous_format
  return torch.channels_last if dimensions == 4 else torch.channels_last_3d


def tensors(tree, layout: str, spread=()) -> dict[str, torch.Tensor]:
  """Turns a tree of Linen's arrays into {"block_1/conv_0/kernel": tensor}, in PyTorch's order.

  Args:
    tree: kernels [..., Cin, Cout], vectors and scalars.
    layout: one of LAYOUTS.
    spread: layers of transposed convolutions; a part of their path. PyTorch's kernels of these are
      [Cin, Cout, ...], and 2-D ones are turned by 180 degrees, as Zhang et al.'s converter does.
  """
  found = {}
  for path, array in flax.traverse_util.flatten_dict(tree, sep="/").items():
    array = np.array(array, np.float32)
    axes = array.ndim - 2
    if path.endswith("kernel") and any(part in path for part in spread):
      array = array[::-1, ::-1] if axes == 2 else array
      array = array.transpose(axes, axes + 1, *range(axes))
    elif path.endswith("kernel"):
      array = array.transpose(axes + 1, axes, *range(axes))
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    found[path] = tensor.contiguous(memory_format=memory_format(tensor.ndim, layout))
  return found


def picture(x, layout: str) -> torch.Tensor:
  """Turns [N, H, W, C] into a tensor [N, C, H, W]."""
  tensor = torch.from_numpy(np.array(x, np.float32)).permute(0, 3, 1, 2)
  return tensor.contiguous(memory_format=memory_format(4, layout))
