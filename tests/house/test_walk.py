"""The way from `scs_jax.train` to a gradient: as short as README says, and through those files."""

import pathlib
import re
import traceback

import pytest

import scs_jax
from scs_jax.methods.scsnet import objective
from scs_jax.training import update

ROOT = pathlib.Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "scs_jax"


class Reached(Exception):
  """The loss is being differentiated."""


@pytest.mark.usefixtures("drawn_starts", "one_device")
def test_the_files_on_the_way_are_those_that_readme_names(make_tiny_config, tmp_path, monkeypatch):
  """Stopped in the loss of SCSNet's first step, while it is traced: what is on the stack?"""
  way: list[str] = []

  def reached(*args):
    for frame in traceback.extract_stack():
      path = pathlib.Path(frame.filename)
      name = path.relative_to(PACKAGE).as_posix() if path.is_relative_to(PACKAGE) else ""
      if name and name not in way:
        way.append(name)
    raise Reached

  monkeypatch.setattr(objective, "generator_terms", reached)
  monkeypatch.setattr(update.flops, "count", lambda *args: 0)  # traces it too, for its account
  config = make_tiny_config()
  config.network.levels, config.network.texture_blocks = 1, 0
  config.log.evaluate_every = config.log.panels_every = 0
  with pytest.raises(Reached):
    scs_jax.train(config, tmp_path, quiet=True)
  text = (ROOT / "README.md").read_text(encoding="utf-8")
  (named,) = re.findall(r"To follow one training step, read (.*?), in this order", text, re.DOTALL)
  assert re.findall(r"`(.*?)`", named) == way
  assert len(way) <= 5
  assert sum(len((PACKAGE / name).read_text().splitlines()) for name in way) < 1100
