"""The joint network as it is trained for release: 30 CPU-minutes.

Ours: Section IV's residual variant, which predicts L as well and so needs none of the large
picture. The model that ships is the mean of two checkpoints of such a run, from before `ema_decay`
was set (benchmarks/results/models_cpu.md).

Each number that differs from `residual` has its reason.
"""

from ml_collections import ConfigDict

from . import residual


def get_config() -> ConfigDict:
  config = residual.get_config()
  with config.unlocked():
    # Magnifications 3 and 2, at a sixth of the report's pixels.
    config.input_sizes = (32, 48)
    config.data.crop = 96
    # More of the scene in a crop, as colour follows from what things are; half of them mirrored.
    config.data.max_zoom = 1.6
    config.data.flip = True
    config.data.exclude_gray = True
    # Below 4 MB as stored. Few channels where the picture is large, many where colour is decided.
    config.network.features = 20
    config.network.blocks = 2
    config.network.color_features = (48, 96, 144)
    config.network.color_blocks = 3
    # Most pixels are nearly gray: without it the answer that errs least is sepia.
    config.loss.chroma_weight = 4.0
    # Minutes, not days; muon learns several times more in as many steps than Adam.
    config.optimizer.name = "muon"
    config.optimizer.learning_rate = 2.5e-3
    config.optimizer.schedule = "cosine"
    config.optimizer.clip_norm = 1.0
    config.batch_size = 8
    # From step 1,000 to the end the colours got stronger and the error larger; the mean of both
    # checkpoints had the best of both, and such a mean is what this keeps.
    config.ema_decay = 0.998
    config.steps = 1600
    config.epochs = 0.0
    config.checkpoint.every_steps = 100
    config.log.every_steps = 25
    config.log.evaluate_every = 250
    config.log.panels_every = 500
    config.evaluate.limit = 34
    config.evaluate.batch_size = 8
    config.evaluate.scale = 2.0
  return config
