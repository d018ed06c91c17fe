"""Small photographs and configs for `ablate`, at the smallest sizes that can be trained."""

import textwrap

from PIL import Image
from skimage import data

from scs_jax.core import config as configs


def make_photos(folder):
  """Four small photographs, one of them gray."""
  for i, photo in enumerate((data.astronaut(), data.coffee(), data.chelsea())):
    Image.fromarray(photo).resize((40, 32)).save(folder / f"{i}.png")
  Image.fromarray(data.camera()).resize((40, 32)).save(folder / "gray.png")


def write_scsnet(config, folder):
  """A file with the tiny SCSNet's config, in referential mode, for two steps."""
  config.mode = "referential"
  config.loss.perceptual, config.loss.adversarial = 5.0, 0.01
  config.evaluate.modes = ("self",)
  config.log.panels_every = 0
  config.steps = 2
  return _write(config, folder)


def write_cycle(config, folder):
  """A file with the tiny Cycle CNN's config, for six steps."""
  config.data.heldout_crop = (32, 64)
  config.batch_size, config.evaluate.batch_size, config.steps = 8, 1, 6
  config.log.panels_every = 0
  return _write(config, folder)


def _write(config, folder):
  """A .py file whose get_config() gives this config."""
  (folder / "tiny.json").write_text(configs.to_json(config))
  path = folder / "tiny.py"
  path.write_text(
    textwrap.dedent(f"""
      import pathlib
      from scs_jax.core import config

      def get_config():
        return config.from_json(pathlib.Path({str(folder / "tiny.json")!r}).read_text())
    """)
  )
  return path
