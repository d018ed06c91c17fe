"""The keys that every method shares, with the engine's defaults; method configs start from here.

    from .. import common

    def get_config():
      config = common.get_config()
      with config.unlocked():
        config.method.name = "scsnet"
        ...
      return config

A method's own number carries its paper section; a number here is the engine's, and says why.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
  """The engine's sections, locked."""
  config = ConfigDict()

  # A built-in name or "module.path:Object"; a method's own keys stand beside it.
  config.method = ConfigDict({"name": ""})
  # Every random stream is folded from this one number; 0 because some number must be the default.
  config.seed = 0
  # Activations only; parameters, losses and metrics stay float32. bfloat16 pays on accelerators.
  config.dtype = "float32"
  # Pictures a step over all devices together, so that a run means the same on any machine.
  config.batch_size = 4
  # A batch too large for the devices goes through in this many microbatches, whose mean gradient
  # makes one update: the same one, except that means over a batch (BatchNorm's, a relativistic
  # discriminator's) are then over a microbatch. One holds every accumulate-th picture of the batch.
  config.accumulate = 1
  # What is kept for the gradient: all that it needs ("none"), the results of convolutions and
  # matrix products ("dots"), or what stands between a network's blocks ("blocks"); the rest is
  # computed again. Less memory for more work, and the same numbers.
  config.remat = "none"
  # Running average of the parameters, by this factor a step (less in the first steps); pictures
  # are then coloured with the average, during training and after. 0 keeps none, as the papers do.
  config.ema_decay = 0.0
  # A run ends where a loss or gradient is not finite, its last good state saved. So many such
  # updates in all may be left out before.
  config.skip_nonfinite = 0
  # A trained network whose parameters a run begins with: a run's folder, a model's file or its name
  # (`scs-jax models`). A run that goes on from its own checkpoint does not read it.
  config.init_from = ""
  # Optimizer steps in all. Papers that count epochs set `epochs` instead: above 0 it wins, and the
  # loop derives the steps from the size of the data set.
  config.steps = 1000
  config.epochs = 0.0

  config.data = _data()
  config.checkpoint = ConfigDict(
    {
      # In steps, not seconds: what is saved must not depend on how fast the machine is.
      "every_steps": 500,
      # Resuming needs the newest alone; a half-written newer one never replaces it.
      "keep_last": 1,
      # The best by held-out score; 0 keeps none.
      "keep_best": 1,
      # Which held-out score makes a checkpoint the best: mode/metric.
      "best_metric": "automatic/psnr_rgb",
    }
  )
  config.log = ConfigDict(
    {
      # Often enough for a curve, seldom enough that reading the loss back costs nothing.
      "every_steps": 50,
      # Panels and held-out scores need a forward pass over other pictures; 0 leaves them out.
      "panels_every": 500,
      "evaluate_every": 500,
    }
  )
  config.evaluate = ConfigDict(
    {
      # Colouring modes scored along the way: automatic, self, random (measure/evaluate.py).
      "modes": ("automatic",),
      # Side of the square reference of the modes that have one, in pixels.
      "reference_size": 128,
      # A batch is padded to this and never dropped.
      "batch_size": 4,
      # Output size over input size, by axis; the papers' super-resolution is x4.
      "scale": 4.0,
      # Held-out pictures scored during training; 0 means all. Few, as this is only the curve.
      "limit": 16,
      # The user's files of LPIPS (--lpips-weights of evaluate); none: no such curve.
      "lpips_files": (),
    }
  )
  config.parallel = ConfigDict(
    {
      # jit over a mesh of all devices; pmap is the other way, kept for comparison.
      "mode": "jit",
      # Neighbouring devices that a copy of parameters and optimizer state is cut over, so that
      # each holds a part; must divide the number of devices. The batch is spread over all devices
      # either way. These networks fit one chip whole: above 1 pays where the optimizer's state does
      # not fit beside the activations.
      "fsdp": 1,
      # Arrays with fewer elements are not worth fetching in parts, and stay whole on each device.
      "fsdp_least": 2**14,
    }
  )
  # The paper's own figures, shown beside ours: reported.parameters = ((row, millions), ...).
  config.reported = ConfigDict()
  return config.lock()


def pairs_data() -> ConfigDict:
  """The section `data` of a method that takes pairs of a monochrome and a colour view."""
  return ConfigDict(
    {
      "kind": "pairs",
      # "bundled", a folder in a layout of data/stereo_layouts.py, "MONO_DIR,COLOR_DIR", or a list.
      "source": "bundled",
      "heldout": "bundled:heldout",
      # Patterns of pairs' names, as mb2005_*: which take part, in either; () takes all. What is
      # held out of one and the same source is never trained on.
      "only": (),
      "heldout_only": (),
      # Which view is monochrome: right or left; auto finds the one whose matches lie to the right.
      "mono_view": "auto",
      # Rendering (clean, final) or other exposure (E, L) of data sets that have several.
      "variant": "",
      # Views are reduced by this factor, and disparities with them: the search range as well.
      "reduce": 1,
      # (height, width) of training examples; Section IV-B of Cycle CNN.
      "crop": (256, 512),
      # (height, width) of the middle of held-out pairs that is scored; (0, 0): whole pairs, one a
      # batch.
      "heldout_crop": (0, 0),
      # Half of the examples upside down. Not stated in a paper, so off.
      "vertical_flip": False,
      "camera": _cameras(),
      "threads": 4,
      "workers": 0,
      "prefetch": 2,
    }
  )


def _cameras() -> ConfigDict:
  """Two cameras that colour stereo is shot with (data/camera.py); real pairs need none.

  Each number is drawn from (low, high) for each pair. They are not stated in a paper; chosen so
  that the views differ as those of two cameras of one make do: without a colour filter a camera
  gets more light, and no demosaicking blurs it.
  """
  mono = {
    "exposure": (0.0, 0.7),  # stops
    "gamma": (0.8, 1.1),  # exponent after the sRGB curve
    "contrast": (0.0, 0.4),  # of an S-shaped response
    "blur": (0.0, 0.4),  # sigma, pixels
    "shot": (0.005, 0.01),  # noise at white, linear light
    "read": (0.001, 0.003),  # noise at black, linear light
  }
  color = {
    "exposure": (-0.5, 0.0),
    "gamma": (0.9, 1.2),
    "contrast": (0.0, 0.2),
    "blur": (0.3, 0.8),
    "shot": (0.01, 0.03),
    "read": (0.002, 0.006),
  }
  return ConfigDict({"enabled": False, "mono": mono, "color": color})


def _data() -> ConfigDict:
  return ConfigDict(
    {
      # Single photos; pairs_data() is the section of a method that takes "pairs".
      "kind": "photos",
      # A folder of pictures, or the photos that ship with scikit-image and scikit-learn.
      "source": "bundled",
      "heldout": "bundled:heldout",
      # Leave out pictures without colour: they teach a colorizer gray.
      "exclude_gray": False,
      # Side of the square training picture, in pixels of the output.
      "crop": 512,
      # The short side is brought to 1 to this many times the crop's before the cut: mild variation
      # of scale. 1.0 switches it off.
      "max_zoom": 1.25,
      # Whether pictures may be enlarged for that: the truth that a result is compared with is then
      # blurred. If not, max_zoom ends at a picture's own size, and pictures smaller than the crop,
      # held-out ones too, are left out and counted. The papers are silent; true is for small sets.
      "enlarge": False,
      # False cuts from pictures as they are decoded, at full, 1/2, 1/4 or 1/8 size, and max_zoom
      # counts for nothing: host work is near that of bare decoding (docs/data.md).
      "resample": True,
      # Which resamples: the "host", as runs did from before there was a choice; the "device", for
      # which the host only decodes and sends about four times the pixels of the crop; or "auto",
      # the device unless that is a CPU. The two agree but for the rounding of single values.
      "resample_on": "auto",
      # Half of the crops are mirrored.
      "flip": True,
      # How often the reference is another photo, not the picture itself distorted.
      "reference_probability": 0.0,
      # Side of those photos as they are sent, in pixels.
      "reference_size": 128,
      # Decoding is the host's whole work and releases the interpreter's lock: threads suffice on a
      # small machine. Worker processes (0: none) pay from about eight cores on.
      "threads": 4,
      "workers": 0,
      # Batches held ready; two hide the decoding, more only cost memory.
      "prefetch": 2,
    }
  )
