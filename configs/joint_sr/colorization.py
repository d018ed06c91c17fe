"""Section II: colorization alone, L in and a, b of the same size out.

The report's was "similar to Iizuka et al." and is not described; this one is the tables' encoder
and decoder, upsampling to the size of the input, so that a cascade differs from the joint network
in the order of things rather than in its parts.
"""

from ml_collections import ConfigDict

from . import paper


def get_config() -> ConfigDict:
  config = paper.get_config()
  with config.unlocked():
    config.task = "colorization"
    # 256-pixel pictures reduced to 96 (RGB first, since ab at that size is the target; the joint
    # network's L is reduced by itself).
    config.input_sizes = (96,)
    # Same size; held-out pictures are reduced by the crop's factor before.
    config.evaluate.scale = 1.0
  return config
