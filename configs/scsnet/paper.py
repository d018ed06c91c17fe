"""SCSNet with the paper's numbers; sections are those of the paper."""

from ml_collections import ConfigDict

from .. import common


def get_config() -> ConfigDict:
  config = common.get_config()
  with config.unlocked():
    config.method.name = "scsnet"
    # Figures of a paper are of its data: no other stands in for it unasked.
    config.data.source = config.data.heldout = ""
    # Section 4.1: "We train the SCSNet with two modes alternately".
    config.mode = "alternate"
    # Section 4.1: input resolution of source and reference 128 x 128.
    config.input_size = 128
    # Section 4.1: output resolution 512, the default x4. Two different numbers draw a real
    # magnification from that range at each step.
    config.magnification = (4.0, 4.0)

    config.network = ConfigDict(
      {
        # Section 3: 64 channels at full size, 256 at a quarter; the half size lies between.
        "widths": (64, 128, 256),
        # Block counts and inner widths are not stated; chosen so that our totals are the paper's
        # (Table 1: 9.954M automatic, 15.358M with reference): `scs-jax params` prints both.
        "source_blocks": (1, 2, 3),
        "reference_blocks": (2, 3, 1),
        "decoder_blocks": (2, 2, 2),
        "texture_blocks": 16,
        # Section 3: F_cs has 256 channels.
        "fused_features": 256,
        "level_features": 128,
        # An eighth of the features, as in SAGAN, which Section 3.1 follows.
        "key_features": 32,
        # Figure 5 draws three levels.
        "levels": 3,
        "valves": True,
        # Table 5's baseline has "concat" instead: a convolution of both pictures' features.
        "aggregation": "attention",
        # Section 3.1 says only that Q and K give the correlation matrix: chosen, their product over
        # sqrt(C). "cosine" is ours; the temperature is where its learned one starts.
        "correlation": "dot",
        "temperature": 12.0,
        # Ours, off in the paper: a and b themselves are carried over by the attention maps.
        "carry_chroma": False,
        # "pixel_shuffle" (Table 5, without CPM) and "meta_sr" (Section 4.3) are for comparison.
        "upsampler": "cpm",
        # Section 3.2: four linear layers; widths chosen for the 0.35M of Section 4.3.
        "cpm_widths": (384, 384, 256),
        # "plain" builds F^{x,y} at full resolution as the paper writes it: same result, slower.
        "cpm_order": "fast",
        # Section 3.2: main feature with aligned corners, local coordinate by cells.
        "cpm_convention": "paper",
        # Floats of the widest activation in a chunk of CPM's output rows: 2^24 are 64 MiB.
        "cpm_chunk_floats": 2**24,
        # Ours, off in the paper: adds the enlarged input L to the predicted L.
        "residual_lightness": False,
        # Rows and columns of the correlation matrix that exist at a time.
        "attention_blocks": (1024, 1024),
      }
    )
    # Not described in the paper: the 70 x 70 PatchGAN, spectrally normalised.
    config.discriminator = ConfigDict({"width": 64, "layers": 3})
    config.loss = ConfigDict(
      {
        # Eq. 4: lambda_C = 10, lambda_P = 5, lambda_Adv = 1.
        "content": 10.0,
        "perceptual": 5.0,
        "adversarial": 1.0,
        # Eq. 6: VGG16 at convl_1. The weights are a file that the user brings.
        "perceptual_network": "vgg16",
        "perceptual_file": "",
        # Section 4.1: w_1 .. w_5.
        "perceptual_weights": (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0),
        # Eq. 7 is read as relativistic average least squares; "literal" takes it as printed.
        "adversarial_form": "relativistic",
        "real_target": 1.0,
        "fake_target": -1.0,
      }
    )
    config.reference = ConfigDict(
      {
        # Section 4.1: resolution of the reference image 128 for all experiments.
        "size": 128,
        "flip_probability": 0.5,
        # Ours, off in the paper: how often picture and reference have their hues turned together in
        # a referential step, so that few photos show many colours.
        "hue_probability": 0.0,
        # Ours, off in the paper, which says nothing of initialisation: the reference branch begins
        # as a copy of the source branch.
        "twin_start": False,
        # Strength not stated; about 4 pixels RMS at 128.
        "alpha": 256.0,
        "sigma": 10.24,
      }
    )
    config.optimizer = ConfigDict(
      {
        # Section 4.1: Adam 0.9 / 0.999, weight decay 1e-4 (coupled), learning rate 1e-4. The other
        # choice, "muon", is ours.
        "name": "adam",
        "learning_rate": 1e-4,
        # No schedule is mentioned. "cosine" goes down to 0 at the last step.
        "schedule": "constant",
        "b1": 0.9,
        "b2": 0.999,
        # Not stated; the usual value.
        "eps": 1e-8,
        "weight_decay": 1e-4,
        "clip_norm": 0.0,
      }
    )
    # Section 4.1: 50 epochs, batch size 4 (read as per GPU) on 8 GPUs.
    config.batch_size = 32
    config.epochs = 50.0
    config.data.crop = 512
    # Not stated: crops of the target are taken at 1 to 1.25 times their size and mirrored half of
    # the time, as usual. (The paper mentions the flip of references alone.)
    config.data.max_zoom = 1.25
    config.data.flip = True
    config.data.reference_size = 128
    config.data.exclude_gray = True  # ImageNet-C leaves out pictures of little colour
    config.checkpoint.every_steps = 2000
    config.checkpoint.best_metric = "self/psnr_ab"
    config.log.evaluate_every = 2000
    config.log.panels_every = 2000
    config.evaluate.modes = ("automatic", "self", "random")
    config.evaluate.scale = 4.0
    config.evaluate.reference_size = 128
    # Table 1 and Section 4.3, in millions of parameters.
    config.reported.parameters = (
      ("automatic", ("generator",), 9.954),
      ("automatic + referential", ("generator", "reference"), 15.358),
      ("CPM", ("generator/cpm",), 0.35),
    )
  return config
