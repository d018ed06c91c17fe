"""The joint network, narrow and on a few hundred photos: learns something in twenty minutes.

What differs from the report's config, and why, stands at each number. Figures of this config say
nothing about the report's.
"""

from ml_collections import ConfigDict

from . import paper


def get_config() -> ConfigDict:
  config = paper.get_config()
  with config.unlocked():
    # 48 to 128, a quarter of the pixels at the same magnification.
    config.input_sizes = (48,)
    config.data.source, config.data.heldout = "bundled", "bundled:heldout"
    config.data.crop = 128
    # Few photos: each is seen at many sizes and both ways round.
    config.data.max_zoom = 1.6
    config.data.flip = True
    # A quarter of the multiplications.
    config.network.width = 0.5
    # The same widths for whoever trains the other tasks from here (--config.task=...).
    config.network.features = 24
    config.network.blocks = 4
    config.network.color_features = (32, 64, 128)
    config.network.color_blocks = 2
    config.discriminator.width = 16
    # Minutes, not days: larger steps, and down to 0 at the end, since a plateau would hardly be
    # seen before it.
    config.optimizer.learning_rate = 2e-3
    config.optimizer.schedule = "cosine"
    config.optimizer.plateau_window = 100
    config.optimizer.weight_decay = 1e-4
    config.optimizer.clip_norm = 1.0
    config.batch_size = 16
    # 0.21 s a step on two cores.
    config.steps = 4800
    config.epochs = 0.0
    config.data.exclude_gray = True
    config.checkpoint.every_steps = 200
    config.log.every_steps = 20
    config.log.evaluate_every = 200
    config.log.panels_every = 400
    config.evaluate.limit = 32
    config.evaluate.batch_size = 8
  return config
