"""Section II: super-resolution alone, "using the structure of SRResNet", x4.

A colour picture in, a colour picture out: in the cascade it enlarges what colorization alone gives.
"""

from ml_collections import ConfigDict

from . import paper


def get_config() -> ConfigDict:
  config = paper.get_config()
  with config.unlocked():
    config.task = "super_resolution"
    # x4, as SRResNet; the report does not say. Any magnification can be asked for; to train at the
    # joint network's as well: (64, 96).
    config.input_sizes = (64,)
    # As SRResNet.
    config.batch_size = 16
    # An epoch at this batch size.
    config.optimizer.plateau_window = 7393
    config.checkpoint.every_steps = 2000
    # Held-out pictures come gray: what can be told there is how well L is enlarged.
    config.checkpoint.best_metric = "automatic/psnr_lightness"
    config.log.evaluate_every = 2000
    config.log.panels_every = 2000
    config.evaluate.scale = 4.0
  return config
