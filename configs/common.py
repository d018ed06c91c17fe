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
      # Colouring modes scored along the way: automatic, self, random (engine/evaluate.py).
      "modes": ("automatic",),
      # Side of the square reference of the modes that have one, in pixels.
      "reference_size": 128,
      # A batch is padded to this and never dropped.
      "batch_size": 4,
      # Output size over input size, by axis; the papers' super-resolution is x4.
      "scale": 4.0,
      # Held-out pictures scored during training; 0 means all. Few, as this is only the curve.
      "limit": 16,
    }
  )
  # jit over a mesh of all devices; pmap is the other way, kept for comparison.
  config.parallel = ConfigDict({"mode": "jit"})
  # The paper's own figures, shown beside ours: reported.parameters = ((row, millions), ...).
  config.reported = ConfigDict()
  return config.lock()


def _data() -> ConfigDict:
  return ConfigDict(
    {
      # A folder of pictures, or the photos that ship with scikit-image and scikit-learn.
      "source": "bundled",
      "heldout": "bundled:heldout",
      # Leave out pictures without colour: they teach a colorizer gray.
      "exclude_gray": False,
      # Side of the square training picture, in pixels of the output.
      "crop": 512,
      # A crop is cut at 1 to this many times its size, then shrunk: mild variation of scale without
      # enlarging anything. 1.0 switches it off.
      "max_zoom": 1.25,
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
