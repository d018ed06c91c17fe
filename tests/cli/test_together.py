"""Two real processes that share the pictures of `evaluate`, `compare` and `ablate`, and one alone.

What they write is the same to the last bit, times aside.
"""

import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import tinting

ROOT = pathlib.Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.slow

# Trains without a look at its pictures, so that devices add nothing up in another order.
_METHOD = """
import tinting_of_test
from scs_jax.core.ablations import Column, Row, Table
from scs_jax.core.rules import AtLeast
from scs_jax.errors import UserError
class Learning(tinting_of_test.Method):
  RULES = {"width": AtLeast(0.0)}
  ablations = "learning_of_test"
  def __init__(self, config):
    self.config = config
  def train_step(self, state, batch, key, collective, phase):
    if self.config.width > 1:
      raise UserError("too wide to be trained")
    params = {**state.params, "net": {"tint": state.params["net"]["tint"] + self.config.width}}
    return state.replace(step=state.step + 1, params=params), {"loss/none": 0.0 * self.config.width}
rows = [("narrow", 0.01), ("wide", 0.1), ("too wide", 2.0)]
TABLES = {"learning": Table(
  title="WIDTHS", where="nowhere", base="narrow", modes=("self", "random"), images="",
  rows=tuple(Row(name, {}, {"width": width}) for name, width in rows),
  pictures={"self": 4, "random": 5},
  columns=(Column("PSNR", ours="self@2/psnr_rgb"), Column("FID", ours="referential@2/fid"),
           Column("ms", ours="ms@2", better=-1)),
)}
"""

_CONFIG = """
from scs_jax.core import config
def get_config():
  c = config.load("common").copy_and_resolve_references()
  c.unlock()
  c.method.name, c.width = "learning_of_test:Learning", 0.01
  c.data.crop, c.batch_size, c.steps = 16, 4, 3
  c.data.source = c.data.heldout = "photos"
  c.evaluate.reference_size, c.evaluate.batch_size, c.evaluate.scale = 8, 2, 2.0
  c.evaluate.modes = ("self",)
  c.checkpoint.best_metric = ""
  c.log.evaluate_every = c.log.panels_every = 0
  c.lock()
  return c
"""

# One process: alone (of 1), or number I of 2.
_PROCESS = """
import os, pathlib, sys, time
import jax, jax.numpy as jnp, numpy as np
import scs_jax
from scs_jax.cli import main as cli
from scs_jax.errors import UserError
from scs_jax.measure import learned
from scs_jax.measure.photo_set import PhotoSet
from scs_jax.measure.photos import Photos
from scs_jax.measure.predictors import Predictor
from scs_jax.measure.score import Answer, score_set
from scs_jax.measure.settings import Setting
from scs_jax.nn.features import inception
from scs_jax.ops.resize import resize_bicubic
from scs_jax.training import distributed

def features(variables, rgb):
  return rgb.reshape(len(rgb), 4, -1, 3).mean(axis=2).reshape(-1, 12)

inception.load, inception.FEATURES = lambda path: (features, {}), 12
looked = []
look_at = learned.statistics
learned.statistics = lambda *given: looked.append(1) or look_at(*given)

class Gray(Predictor):
  def __init__(self, name, *burning):
    super().__init__(name)
    self.burning, self.asked = burning, 0
  def answer(self, query, batch, mode):
    self.asked += 1
    for i in sorted({*self.burning} & {*batch["record"].tolist()}):
      raise UserError(f"picture {i} is on fire")
    return Answer(jnp.repeat(resize_bicubic(query.gray, query.size), 3, axis=-1))

class Broken(PhotoSet):
  def read(self, source):
    if jax.process_index() == jax.process_count() - 1:
      raise UserError("the disk is gone")
    time.sleep(1)
    return super().read(source)

def work(number, count, port):
  out = pathlib.Path(f"of{count}")
  several = ["--coordinator", f"127.0.0.1:{port}", "--num-processes", "2", "--process-id"]
  several = [*several, str(number)] if count > 1 else []
  photos = ["evaluate", "--checkpoint", "one", "--data", "photos", "--out", str(out / "photos")]
  code = cli.main([*photos, "--panels", "1", "--quiet", *several])
  assert code == 1, code  # one cannot be read
  assert jax.process_count() == count
  scs_jax.compare(
    {"one": "one", "blind": "blind"}, "photos", results="theirs=others", limit=9,
    fid_weights="i.npz", timing_runs=1, panels=0, baselines=False, out=out / "compared", quiet=True,
  )
  scs_jax.evaluate("pairing", "pairs.csv", panels=0, baselines=False, out=out / "pairs", quiet=True)
  scs_jax.compare(
    ["pairing", "one"], "Stereo=pairs.csv", results="theirs=color", panels=0, timing_runs=0,
    baselines=False, out=out / "stereo", quiet=True,
  )
  looked.clear()
  table = scs_jax.ablate("learning", "tiny.py", workdir=out / "table", fid_weights="i.npz",
                         quiet=True)
  assert list(table.failed) == ["too wide"], table.failed
  assert len(looked) == 1  # at the true pictures, for all rows

  setting = Setting(modes=("automatic",), size=(16, 16), batch_size=2)
  told, track = {}, Photos(2.0, 8)
  rows = [Gray("b"), Gray("late", 8), Gray("burning", 10, 3, 7), Gray("a")]
  data = PhotoSet("", "photos", setting)
  found = score_set(rows, track, data, True, failed=told.__setitem__)
  assert [(name, str(why)) for name, why in told.items()] == [
    ("burning", "picture 3 is on fire"), ("late", "picture 8 is on fire")], told
  assert list(found.of["automatic"]) == ["b", "a"]
  assert found.records["automatic"].tolist() == [i for i in range(12) if i != 5], found.records
  rows[0].asked = 0
  try:
    score_set(rows[:1], track, Broken("", "photos", setting), True)
  except UserError as error:
    print("refused:", error, "after", rows[0].asked)
  assert distributed.gather(np.float64(0.1) + number) == [0.1 + i for i in range(count)]
  if count > 1:  # one of two machines has no such folder
    there = "nowhere" if number else "photos"
    scs_jax.evaluate("one", there, out=out / "never", quiet=True)

for given in sys.argv[1:]:  # the fork spares starts of Python
  name, *numbers = given.split(":")
  if not os.fork():
    for stream, end in ((1, "out"), (2, "err")):
      os.dup2(os.open(f"{name}.{end}", os.O_WRONLY | os.O_CREAT), stream)
    try:
      work(*map(int, numbers))
      print("done")
    except UserError as error:
      print("ended:", error)
    sys.stdout.flush()
    sys.exit(0)
for _ in sys.argv[1:]:
  os.wait()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory, xla_flags):
  """A folder in which the three processes have run."""
  folder = tmp_path_factory.mktemp("together")
  with pytest.MonkeyPatch.context() as patch:
    patch.chdir(folder)
    patch.syspath_prepend(str(folder))
    tinting.make_photos()
    tinting.make_pairs()
    sys.modules.pop("tinting_of_test", None)
  Image.fromarray(np.full((16, 16, 3), 90, np.uint8)).save(folder / "photos" / "gray.png")
  (folder / "photos" / "p3x.png").write_bytes(b"not a picture")
  shutil.copytree(folder / "photos", folder / "others" / "automatic")
  (folder / "others" / "automatic" / "p1.png").unlink()
  for name in ("i.npz", "learning_of_test.py", "tiny.py"):
    text = {"i.npz": "i", "learning_of_test.py": _METHOD, "tiny.py": _CONFIG}[name]
    (folder / name).write_text(text)
  with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]
  environment = os.environ | {
    "JAX_PLATFORMS": "cpu", "XLA_FLAGS": xla_flags(1), "PYTHONPATH": f"{ROOT}:{folder}",
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
  }  # fmt: skip
  subprocess.run(
    [sys.executable, "-c", _PROCESS, "alone:0:1:0", f"first:0:2:{port}", f"second:1:2:{port}"],
    cwd=folder, env=environment, timeout=900, check=True,
  )  # fmt: skip
  return folder


def said(folder, name, end="out"):
  return (folder / f"{name}.{end}").read_text()


def record(path):
  """What was written, without times: JSON as values, else bytes."""
  if path.suffix != ".json":
    return path.read_bytes()
  return _timeless(json.loads(path.read_bytes()))


def _timeless(value):
  if isinstance(value, dict):
    aside = ("date", "speed", "ms", "seconds_of_training", "timing")
    return {k: _timeless(v) for k, v in value.items() if k not in aside}
  return [_timeless(v) for v in value] if isinstance(value, list) else value


@pytest.mark.parametrize(
  ("where", "files"),
  [
    ("photos", ["results.json", "per_image.csv"]),
    ("compared", ["results.json", "per_image-photos.csv"]),
    ("pairs", ["results.json", "per_image.csv"]),
    ("stereo", ["results.json", "per_image-Stereo.csv", "tables.md"]),
    ("table/narrow", ["row.json"]),
    ("table/wide", ["row.json"]),
    ("table/too-wide", ["row.json"]),
  ],
)
def test_two_processes_write_what_one_does(folder, where, files):
  for file in files:
    one, two = (folder / of / where / file for of in ("of1", "of2"))
    assert one.exists(), said(folder, "alone", "err")
    assert two.exists(), said(folder, "first", "err") + said(folder, "second", "err")
    assert record(two) == record(one)


def test_a_tables_scores_are_the_same(folder):
  one, two = (np.load(folder / of / "table" / "wide" / "scores.npz") for of in ("of1", "of2"))
  assert one.files == two.files and "self@2|psnr_rgb" in one.files
  for name in one.files:
    np.testing.assert_array_equal(one[name], two[name])


def test_the_first_speaks_for_all(folder):
  one, first, second = (said(folder, name) for name in ("alone", "first", "second"))
  ours = lambda text: text[text.index("automatic:") : text.index("refused")].replace("of2", "of1")
  assert "PSNR" in one and ours(first) == ours(one)
  assert "PSNR" not in second
  assert sorted(p.name for p in folder.glob("of*")) == ["of1", "of2"]


def test_what_ends_one_process_ends_the_other_with_its_words(folder):
  assert "refused: the disk is gone" in said(folder, "alone")
  assert "refused: the disk is gone" in said(folder, "second")
  assert "refused: process 1 of 2: the disk is gone after 0" in said(folder, "first")
  assert "done" in said(folder, "alone")
  first, second = (said(folder, name).splitlines()[-1] for name in ("first", "second"))
  assert second.startswith("ended: ") and "nowhere" in second
  assert first == second.replace("ended: ", "ended: process 1 of 2: ")
  assert not (folder / "of2" / "never").exists()
