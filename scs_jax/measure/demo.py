"""Measures the networks of the demo beside their baselines."""

from collections.abc import Callable, Mapping, Sequence

from scs_jax.core.contract import TrainState
from scs_jax.measure.baselines import baselines_of
from scs_jax.measure.evaluate import Evaluator, Protocol, Result


def measure(
  modes: Sequence[str],
  scale: float,
  reference_size: int,
  networks: Mapping[str, tuple[Callable[[Protocol], Evaluator], TrainState | None]],
  batches: Sequence[Mapping],
) -> dict[str, dict[str, Result]]:
  """Every network in automatic mode, the first of them in all modes, each beside its baselines.

  Args:
    modes: of evaluate.MORE_MODES.
    scale, reference_size: see Protocol.
    networks: {title: (what makes its Evaluator, its state)}.
    batches: as `Evaluator` takes them.
  """
  found: dict[str, dict[str, Result]] = {}
  for mode in modes:
    protocol = Protocol(mode, scale, reference_size)
    those = list(networks.items())[: None if mode == "automatic" else 1]
    found[mode] = {t: make(protocol)(state, batches, keep=True) for t, (make, state) in those}
    for name in baselines_of(mode):
      found[mode][name.replace("_", " ")] = Evaluator(name, protocol)(None, batches, keep=True)
  return found
