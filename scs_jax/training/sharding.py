"""Where the arrays of a run lie: a mesh of devices, and the rule that cuts a state over it.

The mesh has two axes. The batch is spread over both. Parameters, their averages, the optimizer's
state and frozen weights are the same along "data" and cut along "fsdp", if at all: with fsdp = 4 a
device holds a quarter of them, and what a step needs of the rest it fetches from three neighbours.
"""

from typing import Any

import jax
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from scs_jax.errors import UserError

Tree = Any

DATA, FSDP = "data", "fsdp"
BATCH = P((DATA, FSDP))
"""Of everything that has an example a row."""


def make_mesh(devices=None, fsdp: int = 1) -> Mesh:
  """Makes a mesh (devices / fsdp, fsdp) over all devices (of all processes) or those given.

  Raises:
    UserError: fsdp does not divide the number of devices.
  """
  devices = jax.devices() if devices is None else devices
  if len(devices) % fsdp:
    fits = [n for n in range(1, len(devices) + 1) if len(devices) % n == 0]
    raise UserError(
      f"parallel.fsdp {fsdp} does not divide {len(devices)} devices; use one of "
      f"{', '.join(map(str, fits))}"
    )
  # fsdp comes last: make_mesh gives neighbours to the last axis, which sends the most.
  # Linen's convolutions need automatic axes; make_mesh's default became explicit ones.
  return jax.make_mesh(
    (len(devices) // fsdp, fsdp), (DATA, FSDP), axis_types=(AxisType.Auto,) * 2, devices=devices
  )


def cut(shape: tuple[int, ...], fsdp: int, least: int) -> P:
  """Applies the rule: the longest axis that fsdp divides is cut, the last of equals.

  An array of fewer than `least` elements, or without such an axis, is copied to every device.
  """
  size = 1
  for n in shape:
    size *= n
  axes = [i for i, n in enumerate(shape) if n % fsdp == 0]
  if fsdp == 1 or size < least or not axes:
    return P()
  longest = max(axes, key=lambda i: (shape[i], i))
  return P(*(FSDP if i == longest else None for i in range(len(shape))))


def of_state(mesh: Mesh, state: Tree, least: int) -> Tree:
  """Returns the sharding of every leaf (anything with a shape) of a state."""
  fsdp = mesh.shape[FSDP]
  return jax.tree.map(lambda x: NamedSharding(mesh, cut(x.shape, fsdp, least)), state)
