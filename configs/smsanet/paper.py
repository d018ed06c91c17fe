"""SMSANet with the paper's numbers; sections are those of the paper."""

from ml_collections import ConfigDict

from .. import common

# Parameters of the published base: 34,051,074 with four input channels; L alone has three slices of
# the first convolution, 3 x 3 x 64 each, less.
_BASE = 34_051_074 - 3 * 9 * 64
_MODULES = (
  *(f"colorizer/block_{i}" for i in range(1, 11)),
  *(f"colorizer/{kind}_{i}" for kind in ("up", "short") for i in (8, 9, 10)),
  "colorizer/output",
)


def get_config() -> ConfigDict:
  config = common.get_config()
  with config.unlocked():
    config.method.name = "smsanet"
    # Figures of a paper are of its data: no other stands in for it unasked.
    config.data.source = config.data.heldout = ""
    # What to start from (Section 2.1: "based on Zhang et al."): a file that `scs-jax convert
    # zhang2017` wrote, the attention then being random. Empty: all is random. Table 3's first row
    # is Table 1's published figure of Zhang et al., and 40K steps at 1e-5 are few: the paper most
    # likely starts from the published weights.
    config.init_from = ""

    config.network = ConfigDict(
      {
        # Multiplies the published channel counts.
        "width": 1.0,
        # Section 2.2: smsa. Table 2's others are cbam and senet; none is the base alone.
        "attention": "smsa",
        # "In different convolutional layers", not stated which; chosen: after each of the ten
        # blocks of Figure 1's base.
        "attention_blocks": tuple(range(1, 11)),
        # Where in a block: not stated. "after_relu", before its BatchNorm; chosen, since Eq. 1's
        # GAP(F) is to tell pictures apart, and after a BatchNorm with the batch's statistics the
        # means of a batch's pictures always come to the same: each then says how a picture differs
        # from those that it happens to be with, and of one picture alone nothing. SENet, too, goes
        # "after the non-linearity" of plain networks, and the BatchNorm takes the 1.4 F that F'
        # starts as back to the scale that weights of `init_from` know. "after_norm", behind the
        # whole block, is what earlier runs have, and the simplest to write.
        "attention_place": "after_relu",
        # Eq. 1: n; Figure 1 draws three spatial scales and the channel one.
        "scales": 4,
        # W_1 and W_2 of Eq. 2: not stated; the ratio of SENet and CBAM, which it follows.
        "reduction": 16,
        # lambda_k before training: not stated; the middle of (0, 1).
        "start": 0.5,
      }
    )
    config.loss = ConfigDict(
      {
        # Eq. 5: delta = 1, unit not stated; chosen: ab units, as the base's own code has it. The
        # other unit, "normalized", is ab / 110, where delta = 1 is a squared error throughout.
        "huber_delta": 1.0,
        "huber_unit": "ab",
        # Ours, off in the paper: errors weigh 1 plus this times the true chroma over 110.
        "chroma_weight": 0.0,
        # Eq. 7: alpha_1 = 1. Above 0 the term needs weights, a file that the user brings.
        "salient": 1.0,
        # Eq. 6: PFANet.
        "salient_network": "pfanet",
        "salient_file": "",
        # "Binary map", which passes no gradient; chosen: the soft map. "binary" thresholds it and
        # passes the gradient straight through.
        "salient_mask": "soft",
        # Not stated; the middle.
        "salient_threshold": 0.5,
      }
    )
    config.optimizer = ConfigDict(
      {
        # Section 3.2: Adam 0.9 / 0.999, learning rate 1e-5.
        "name": "adam",
        "learning_rate": 1e-5,
        # No schedule is mentioned. "cosine" goes down to 0 at the last step.
        "schedule": "constant",
        "b1": 0.9,
        "b2": 0.999,
        # Not stated; the usual value. No decay or clipping is mentioned.
        "eps": 1e-8,
        "weight_decay": 0.0,
        "clip_norm": 0.0,
      }
    )
    # Not stated; chosen by the card of Section 3.2, which has 11 GB: by a count of the maps that a
    # step keeps, some 0.8 GB a picture of 256 x 256 in float32.
    config.batch_size = 8
    # Section 3.2: 40K iterations.
    config.steps = 40_000
    # Section 3.2: 256 x 256. How is not stated; chosen: the short side to 256 and a square of it.
    config.data.crop = 256
    config.data.max_zoom = 1.0
    # Not stated; as usual.
    config.data.flip = True
    config.checkpoint.every_steps = 2000
    config.checkpoint.best_metric = "automatic/psnr_rgb"
    config.log.evaluate_every = 2000
    config.log.panels_every = 2000
    # The result has the input's size.
    config.evaluate.scale = 1.0
    # In millions; the paper counts none. What the published file has, less hint and mask.
    config.reported.parameters = (("base, as published", _MODULES, _BASE / 1e6),)
  return config
