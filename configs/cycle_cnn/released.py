"""Cycle CNN as it is trained for release: an hour of two CPU cores, on pairs at half size.

The model that ships had 291 of 600 steps (benchmarks/results/models_cpu.md).

Ours, from the paper's config; each number that differs has its reason. `small` is the shorter one.
"""

from ml_collections import ConfigDict

from . import paper


def get_config() -> ConfigDict:
  config = paper.get_config()
  with config.unlocked():
    # Half the channels: a quarter of the work, so four times the steps in the same hour.
    config.network.features = 8
    # Pairs at half size (some 230 to 370 columns) have disparities up to 40; the range beyond them
    # is for use: a pair of 1,400 columns and disparities of 60 goes in whole. No parameter's size
    # depends on it.
    config.data.reduce = 2
    config.network.search_range = 64
    # BatchNorm on the residue would give it one spread whatever a crop needs, by the statistics of
    # a single crop in training and by others in use. Without it, it starts at zero all the same.
    config.network.residue_norm = False
    # The colour camera's noise caps a copy of its colours: the classical baseline gained 1.6 dB by
    # this smoothing on pairs of two simulated cameras, and lost nothing without any noise.
    config.network.smooth = 3.0
    # Worth 0.8 dB on the held-out pairs before the training was half done: a fifth of a pair is
    # seen by one camera alone or matched wrongly.
    config.network.match_tolerance = 0.03
    # At half size 64 rows are a third of a pair; 160 columns: of a typical disparity of 18, nine
    # columns in ten have their match inside. A larger crop costs steps in proportion.
    config.data.crop = (64, 160)
    # Twice the scenes for nothing: rows stay rows.
    config.data.vertical_flip = True
    # Public pairs are two colour views of one camera: shot again with two different ones. The
    # monochrome one may be darker as well as brighter, as in Middlebury's exposures E and L, where
    # it has 1.5 stops less; the colour camera stays as in `small`.
    config.data.camera.enabled = True
    config.data.camera.mono.exposure = (-1.5, 0.7)
    # RMSProp (the paper's) follows each single crop; with batches of one and few of them, an
    # average of the gradient over ten and a corrected start use them better. Its memory of squares
    # is a hundred steps, as the run has but some fifteen hundred.
    config.optimizer.name = "adam"
    config.optimizer.b1 = 0.9
    config.optimizer.b2 = 0.99
    # Twice the paper's, since it falls to 0 at the end.
    config.optimizer.learning_rate = 2e-3
    config.optimizer.schedule = "cosine"
    config.steps = 1500
    # As in the paper: a refinement step costs a third of the cycle's.
    config.refine_share = 1 / 6
    config.checkpoint.every_steps = 100
    config.log.every_steps = 25
    # One program for all held-out pairs: the middle of each, as the smallest of them has it.
    config.data.heldout_crop = (176, 208)
    config.log.evaluate_every = 250
    config.log.panels_every = 500
    config.evaluate.limit = 4
  return config
