"""Counts parameters by network and module, from shapes alone."""

import jax


def count(method) -> dict[str, int]:
  """{"network": parameters, "network/module": parameters, ...}, from shapes alone."""
  state = jax.eval_shape(lambda: method.init(jax.random.key(0), {}))
  counts = {}
  for network, modules in state.params.items():
    counts[network] = _size(modules)
    for module, tree in modules.items():
      counts[f"{network}/{module}"] = _size(tree)
  return counts


def _size(tree) -> int:
  return sum(leaf.size for leaf in jax.tree.leaves(tree))
