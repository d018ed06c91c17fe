"""scs_jax: image colorization and super-resolution in JAX and Flax, after four papers.

  load_config("scsnet/small")       a config, to be changed and handed on
  train(config, "runs/small")       trains, and goes on where an earlier run stopped
  plan(config, topology="v5e:4x4")  what training takes on a machine that need not be there
  evaluate("scsnet", "photos")      measures a trained network beside baselines
  compare(["a", "b"], "photos")     measures several, in the papers' tables
  ablate("scsnet.components")       trains the rows of an ablation and measures them
  models.names(), models.find(...)  trained networks: those that ship, files, runs
  colorize("scans", "colored")      colours files, folders and videos with one
  Colorizer, PairColorizer          colour pictures, and pairs of cameras, one by one
"""

import importlib

__version__ = "0.1.0"

# Imported when first asked for: `import scs_jax` and `scs-jax --help` load no array library.
_EXPORTS = {
  "Colorizer": "scs_jax.infer.colorizer:Colorizer",
  "PairColorizer": "scs_jax.infer.pairs:PairColorizer",
  "ablate": "scs_jax.measure.ablate:ablate",
  "colorize": "scs_jax.infer.jobs:colorize",
  "compare": "scs_jax.measure.compare:compare",
  "evaluate": "scs_jax.measure.evaluate:evaluate",
  "load_config": "scs_jax.core.config:load",
  "models": "scs_jax.training.models",
  "plan": "scs_jax.training.planned:plan",
  "train": "scs_jax.training.run:train",
}


def __getattr__(name: str):
  if name not in _EXPORTS:
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
  module, _, attribute = _EXPORTS[name].partition(":")
  found = importlib.import_module(module)
  return getattr(found, attribute) if attribute else found


def __dir__() -> list[str]:
  return sorted([*globals(), *_EXPORTS])
