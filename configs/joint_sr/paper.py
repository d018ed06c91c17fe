"""The joint network with the report's numbers; sections are those of the report."""

from ml_collections import ConfigDict

from .. import common


def get_config() -> ConfigDict:
  config = common.get_config()
  with config.unlocked():
    config.method.name = "joint_sr"
    # Figures of a paper are of its data: no other stands in for it unasked.
    config.data.source = config.data.heldout = ""
    # joint: Section III. The others: joint_residual (Section IV), colorization and
    # super_resolution (Section II), each with a config of its own beside this one.
    config.task = "joint"
    # Section III-A: L at 96 x 96. Several sides take turns, a step each.
    config.input_sizes = (96,)

    config.network = ConfigDict(
      {
        # Tables I and II; a factor on their filters.
        "width": 1.0,
        # How the decoder's nearest neighbours are found where a size is no multiple of the one
        # before (6 to 8): at pixel "centers", which shifts nothing, or by "corners", as PyTorch's
        # plain "nearest" and TensorFlow 1 do. Not stated.
        "nearest": "centers",
        # The rest is of joint_residual and super_resolution; the tables' network has none of it.
        # 16 blocks of 64: SRResNet's (Ledig et al. 2017), which Section II names.
        "features": 64,
        "blocks": 16,
        # Section IV: "large feature map sizes (e.g. 512)". Widths at 1/2, 1/4, 1/8; the way down to
        # 512 and the number of blocks there are ours.
        "color_features": (128, 256, 512),
        "color_blocks": 4,
      }
    )
    # Filters of the first convolution; of super_resolution with an adversarial term alone.
    config.discriminator = ConfigDict({"width": 64})
    config.loss = ConfigDict(
      {
        # Section III-C: MSE alone. Section II tried SRGAN for super-resolution and dropped it; the
        # weight there is 1e-3 (Ledig et al. 2017).
        "adversarial": 0.0,
        # Ours, off in the report: errors weigh 1 plus this times the true chroma over 110.
        "chroma_weight": 0.0,
      }
    )
    config.optimizer = ConfigDict(
      {
        # Section III-C: Adam, learning rate 0.0001.
        "name": "adam",
        "learning_rate": 1e-4,
        # Section III-C: "regulation on loss plateau with a factor of 0.75".
        "schedule": "plateau",
        "plateau_factor": 0.75,
        # Not stated; PyTorch's defaults: 10 epochs without a fall by 1e-4 of the best. Which loss
        # is watched is not stated either: ours is the training loss.
        "plateau_patience": 10,
        "plateau_tolerance": 1e-4,
        # Steps that the loss is averaged over: an epoch, 118,287 pictures in batches of 160.
        "plateau_window": 740,
        # Not stated; the usual values.
        "b1": 0.9,
        "b2": 0.999,
        "eps": 1e-8,
        # Not mentioned: none.
        "weight_decay": 0.0,
        "clip_norm": 0.0,
      }
    )
    # Section III-C: 148 epochs, batch size 160.
    config.batch_size = 160
    config.epochs = 148.0
    # Section III-A: COCO's 118K training pictures, "downscaled to 256x256". How a picture that is
    # not square becomes so is not said: the largest square, at a random place along the long side.
    config.data.crop = 256
    config.data.max_zoom = 1.0
    # Section III-A lists what is done to a picture; mirroring is not there.
    config.data.flip = False
    # Gray pictures are not mentioned: "full training set".
    config.data.exclude_gray = False
    config.checkpoint.every_steps = 740
    config.checkpoint.best_metric = "automatic/psnr_ab"
    config.log.evaluate_every = 740
    config.log.panels_every = 740
    config.evaluate.modes = ("automatic",)
    # Section III-A: 96 to 256.
    config.evaluate.scale = 256 / 96
    # Table III's 30.04 dB stands in ablations.py. No parameter counts are reported.
    config.reported.parameters = ()
  return config
