"""Counts parameters by network and module, and sets them beside a paper's."""

from collections.abc import Mapping, Sequence

import jax

from scs_jax.core import spelling
from scs_jax.errors import UserError


def count(method) -> dict[str, int]:
  """Counts {"network": parameters, "network/module": parameters, ...}, from shapes alone."""
  state = method.shapes
  counts = {}
  for network, modules in state.params.items():
    counts[network] = _size(modules)
    for module, tree in modules.items():
      counts[f"{network}/{module}"] = _size(tree)
  return counts


def _size(tree) -> int:
  return sum(leaf.size for leaf in jax.tree.leaves(tree))


def compare(counts: Mapping[str, int], reported: Sequence) -> list[dict]:
  """Sets ours beside the totals of a paper: (name, (network or network/module, ...), millions).

  Raises:
    UserError: a part that the networks do not have.
  """
  rows = []
  for name, parts, millions in reported:
    for part in parts:
      if part not in counts:
        raise UserError(
          f"config.reported.parameters, {name!r}: no network or module {part!r}; "
          f"{spelling.hint(part, counts)}"
        )
    ours = sum(counts[part] for part in parts)
    difference = ours / (millions * 1e6) - 1
    rows.append({"name": name, "ours": ours, "paper": millions, "difference": difference})
  return rows
