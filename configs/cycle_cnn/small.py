"""Cycle CNN, narrow and short, on pairs at half size: learns on two CPU cores in twenty minutes.

What differs from the paper's config, and why, stands at each number. Figures of this config say
nothing about the paper's.
"""

from ml_collections import ConfigDict

from . import paper


def get_config() -> ConfigDict:
  config = paper.get_config()
  with config.unlocked():
    config.data.source, config.data.heldout = "bundled", "bundled:heldout"
    # Half the channels: a quarter of the work.
    config.network.features = 8
    # Pairs at half size have half the disparities: up to 47 of 240 columns.
    config.data.reduce = 2
    config.network.search_range = 48
    # A twelfth of the paper's pixels; wider than the search range, so that most have a match.
    config.data.crop = (64, 160)
    # Public pairs are two colour views of one camera: shot again with two different ones.
    config.data.camera.enabled = True
    config.steps = 700
    config.refine_share = 0.2
    # The last steps go down to a rate of 0, as few pairs and batches of one leave it restless.
    config.optimizer.schedule = "cosine"
    config.checkpoint.every_steps = 100
    config.log.every_steps = 25
    config.log.evaluate_every = 200
    config.log.panels_every = 200
    config.evaluate.limit = 4
  return config
