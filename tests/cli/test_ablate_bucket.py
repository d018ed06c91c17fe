"""`scs-jax ablate` with its folder in a bucket, of a store that speaks as S3 does."""

import pathlib
import sys

import pytest

from scs_jax.cli import main as cli
from scs_jax.data.remote import Place
from scs_jax.measure import ablate

sys.path.insert(0, str(pathlib.Path(__file__).parent))
sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

import quick_training
from answers import one_line

# Two rows of a method that trains in no time.
_TABLES = """
from scs_jax.core.ablations import Column, Row, Table
TABLES = {
  "quick.seed": Table(
    title="Seeds", where="ours", rows=(Row("one", overlay={"checkpoint.keep_best": 2}), Row("two")),
    base="two", columns=(Column("PSNR ab", ours="automatic/psnr_ab"),), modes=("automatic",),
    pictures={"automatic": 3}, curves=("loss/mean",),
  )
}
"""


@pytest.fixture
def setup(tmp_path, monkeypatch, bucket, one_device):
  """A working folder with five photographs; (the bucket's address, its objects)."""
  monkeypatch.syspath_prepend(str(tmp_path))
  monkeypatch.chdir(tmp_path)
  quick_training.write(tmp_path, 2)
  method = pathlib.Path("quick_of_test.py")
  text = method.read_text().replace(
    "class Method(contract.Method):",
    'class Method(contract.Method):\n  takes_reference = False\n  ablations = "tables_of_test"',
  )
  method.write_text(text)
  pathlib.Path("tables_of_test.py").write_text(_TABLES)
  config = pathlib.Path("quick.py")
  text = config.read_text().replace('"photos", ""', '"photos", "photos"')
  config.write_text(text.replace("panels_every = 0", "panels_every = 0\n  c.evaluate.scale = 1.0"))
  yield bucket
  for name in ("quick_of_test", "tables_of_test"):
    sys.modules.pop(name, None)


def run(*flags, workdir):
  argv = ["ablate", "quick.seed", "--config", "quick.py", "--workdir", workdir, "--quiet"]
  return cli.main([*argv, *flags])


def test_jobs_share_a_table_in_a_bucket_and_go_on_with_it(setup, capfd, monkeypatch):
  address, objects = setup
  out = f"{address}/ablation"
  assert run("--dry-run", workdir=out) == 0 and objects() == []
  assert run("--index", "0", "--count", "2", workdir=out) == 0  # the first row
  assert f"table: {out}/table.md, table.csv, report.html\n" in capfd.readouterr().out
  assert "not trained yet" in Place(out).read("table.md").decode()
  assert run("--index", "1", "--count", "2", workdir=out) == 0  # another job's
  assert "not trained yet" not in Place(out).read("table.md").decode()
  names = {name for name in objects() if "/checkpoints/" not in name}
  rows = ("config.json", "metrics.jsonl", "row.json", "scores.npz")
  assert names == {f"ablation/{row}/{name}" for row in ("one", "two") for name in rows} | {
    f"ablation/{name}" for name in ("data_scan_sizes.json", "report.html", "spec.json", "table.csv",
                                    "table.md")
  }  # fmt: skip
  trained = ablate.train
  monkeypatch.setattr(ablate, "train", lambda *a, **k: pytest.fail("trained again"))
  assert run(workdir=out) == 0
  assert capfd.readouterr().out.count("done already") == 2
  assert run("--steps", "3", workdir=out) == 2
  one_line(capfd, f"{out}/one holds this row trained with other settings (steps 2, now 3)")
  assert run(workdir=f"{address}-none/x") == 2
  one_line(capfd, f"cannot read or write {address}-none/x (")
  get = Place.get

  def losing(place, name, path):  # a checkpoint that another job's training removes meanwhile
    if "/checkpoints/" in name:
      raise FileNotFoundError(name)
    get(place, name, path)

  with monkeypatch.context() as patch:
    patch.setattr(Place, "get", losing)
    assert run("--collect", workdir=out) == 0
  capfd.readouterr()
  done = Place(out).read("two/row.json")
  Place(out).remove("two/row.json")
  assert run(workdir=out) == 2  # a checkpoint of no row of a table is not gone on with
  one_line(capfd, f"{out}/two holds a run that is no row of a table")

  def train(config, workdir, **more):  # of a row that broke off before its figures were there
    assert workdir == f"{out}/two" and b'"running"' in Place(out).read("two/row.json")
    return trained(config, workdir, **more)

  monkeypatch.setattr(ablate, "train", train)
  Place(out).write("two/row.json", done.replace(b'"done"', b'"running"'))
  assert run(workdir=out) == 0
  assert f"{out}/two is at step 2 of 2: nothing is left to do" in capfd.readouterr().err
  assert b'"done"' in Place(out).read("two/row.json")
