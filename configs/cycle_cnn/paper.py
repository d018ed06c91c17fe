"""Cycle CNN with the paper's numbers; sections are those of the paper."""

from ml_collections import ConfigDict

from .. import common


def get_config() -> ConfigDict:
  config = common.get_config()
  with config.unlocked():
    config.method.name = "cycle_cnn"
    config.network = ConfigDict(
      {
        # Section III-I: n = 16 in all networks.
        "features": 16,
        # Residual pairs of each ResNet: 1 + 7 in Table I; Section III-I says 7.
        "pairs": 8,
        # d, a multiple of 16: not stated; chosen: an eighth of the crop's width. It must exceed the
        # largest disparity of the cameras (scs-jax data check-stereo tells).
        "search_range": 64,
        # Eq. 1, c in {Y, Cb, Cr}. False (Table VII): Cb and Cr alone.
        "luma": True,
        # Section III-C: "curve". Table VII also has "transfer" (Reinhard et al. 2001) and "none".
        "adjust": "curve",
        # Eq. 6: M. Eq. 7-8: P_I.
        "confidence": True,
        "position": True,
        # Section III-H.
        "refinement": True,
        # Table I gives ResNet2 one output: once for each of Cb and Cr. True: both at once.
        "refine_together": False,
        # Table I takes the ReLU from its last layer, not the BatchNorm.
        "residue_norm": True,
        # Not in the paper: 0. Above it results are smoothed along the edges of their Y, by weighted
        # least squares of this strength (ops/smooth.py); no training step sees it.
        "smooth": 0.0,
        # Not in the paper: 0, all matches count. Above it, colours of matches whose Y differs from
        # I_G by more are replaced by those around (methods/cycle_cnn/matches.py), in use alone.
        "match_tolerance": 0.0,
      }
    )
    config.loss = ConfigDict(
      {
        # Section III-G: lambda_1, lambda_2, lambda_3.
        "structure": 1.0,
        "cycle": 1.0,
        "smooth": 0.1,
        # Eq. 9. "learned" (Table VII): as in [4], reconstructed; needs structure_share.
        "structure_kind": "ssim",
      }
    )
    config.optimizer = ConfigDict(
      {
        # Section IV-B: RMSProp, constant learning rate 0.001.
        "name": "rmsprop",
        "learning_rate": 1e-3,
        "schedule": "constant",
        # Which one is not stated; chosen: Keras 2's, part of TensorFlow when the paper was written,
        # whose usual rate 0.001 is. It adds eps to the root, "keras3" under it: with gradients of
        # 1e-4 and less the latter's first steps are smaller. "tensorflow1" starts its mean square
        # at 1, so that its first steps are the gradient's size.
        "rmsprop": "keras2",
        # Not stated; its defaults: no momentum, 0.9 of the mean square kept.
        "b1": 0.0,
        "b2": 0.9,
        "eps": 1e-7,
        # Not mentioned: none.
        "weight_decay": 0.0,
        "clip_norm": 0.0,
      }
    )
    # Section IV-B: batch size 1.
    config.batch_size = 1
    # Not stated: "about 23 hours" on Titan X cards, which at some second a step is 120 times the
    # 700 training pairs; chosen: 100 times for the cycle and 20 for the refinement after it.
    config.steps = 84_000
    # Share of the steps, the last ones, that train the refinement.
    config.refine_share = 1 / 6
    # Share, the first ones, that train a learned structure loss; of "ssim" there are none.
    config.structure_share = 0.0
    config.data = common.pairs_data()
    # Figures of a paper are of its data: no other stands in for it unasked.
    config.data.source = config.data.heldout = ""
    # Section IV-B: 256 x 512, at random places. 700 of the 1000 pairs are trained on.
    config.data.crop = (256, 512)
    config.checkpoint.every_steps = 2000
    # What is held out has no truth in the paper's data, and the second-time figures do not tell
    # (Section IV-F): the last state is used.
    config.checkpoint.best_metric = ""
    config.checkpoint.keep_best = 0
    config.log.evaluate_every = 2000
    config.log.panels_every = 2000
    config.evaluate.modes = ("first", "second")
    # Whole pairs, of any size.
    config.evaluate.batch_size = 1
    config.evaluate.scale = 1.0
    # The paper counts no parameters.
    config.reported.parameters = ()
  return config
