"""SCSNet, narrow and short: learns something visible on two CPU cores in minutes.

What differs from the paper's config, and why, stands at each number. Figures of this config say
nothing about the paper's.
"""

from ml_collections import ConfigDict

from . import paper


def get_config() -> ConfigDict:
  config = paper.get_config()
  with config.unlocked():
    # 48 x 48 in, 2 to 3.3 times as much out: small enough for minutes, and one model serves every
    # magnification in between.
    config.input_size = 48
    config.magnification = (2.0, 3.3)
    config.data.source, config.data.heldout = "bundled", "bundled:heldout"
    config.data.crop = 158
    config.data.max_zoom = 1.5
    config.data.reference_size = 64
    config.reference.size = 64
    # The paper's strength at 64 pixels (ops.warp.default_elastic).
    config.reference.alpha = 64.0
    config.reference.sigma = 5.12
    # As `base`.
    config.network.correlation = "cosine"
    config.reference.twin_start = True
    config.network.carry_chroma = True
    # Eight photos hold few colours: turned ones make the network read them off the reference
    # instead of learning the photos by heart.
    config.reference.hue_probability = 0.5
    config.network.widths = (16, 32, 64)
    config.network.source_blocks = (0, 1, 1)
    config.network.reference_blocks = (0, 1, 1)
    config.network.decoder_blocks = (0, 1, 1)
    config.network.texture_blocks = 2
    config.network.fused_features = 32
    config.network.level_features = 48
    config.network.key_features = 16
    config.network.cpm_widths = (48, 48, 32)
    # Sharp detail takes long to learn; minutes are better spent on colour.
    config.network.residual_lightness = True
    config.discriminator.width = 16
    config.discriminator.layers = 2
    # No weights needed to start.
    config.loss.perceptual = 0.0
    config.loss.adversarial = 0.005
    # After 150 referential steps (no turned hues, no adversary) ab PSNR on training crops was
    # 27.8 dB with it and 22.2 dB with Adam; the reference's mean chroma gives 24.7 dB there.
    config.optimizer.name = "muon"
    config.optimizer.learning_rate = 2.5e-3
    config.optimizer.schedule = "cosine"
    config.optimizer.clip_norm = 1.0
    config.optimizer.weight_decay = 0.0
    config.batch_size = 8
    config.steps = 640
    config.epochs = 0.0
    config.data.exclude_gray = False
    config.checkpoint.every_steps = 160
    config.log.every_steps = 20
    config.log.evaluate_every = 160
    config.log.panels_every = 320
    config.evaluate.modes = ("automatic", "self")
    config.evaluate.scale = 2.0
    config.evaluate.reference_size = 64
    config.evaluate.limit = 8
    config.reported.parameters = ()
  return config
