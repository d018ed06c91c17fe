"""Results, pictures and data in a bucket, of a store that speaks as S3 does."""

import json
import pathlib
import subprocess
import sys
import types

import fsspec
import numpy as np
import pytest
from PIL import Image

import scs_jax
from scs_jax.cli import main as cli
from scs_jax.data.remote import Place
from scs_jax.errors import UserError
from scs_jax.infer import pair_inputs, video
from scs_jax.training import models

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from answers import one_line, record
from painting import stand_in
from tinting import make_photos


@pytest.fixture
def setup(tmp_path, monkeypatch, bucket):
  """A working folder with ten photographs and two runs; (the bucket's address, its objects)."""
  monkeypatch.syspath_prepend(str(tmp_path))
  monkeypatch.chdir(tmp_path)
  make_photos()
  yield bucket
  sys.modules.pop("tinting_of_test", None)


def send(folder, address):
  place = Place(address)
  for path in sorted(pathlib.Path(folder).iterdir()):
    place.put(path, path.name)


def content(address):
  place, _, name = address.rpartition("/")
  return Place(place).read(name)


def evaluate(*flags, out):
  argv = ["--checkpoint", "one", "--data", "photos", "--modes", "automatic"]
  argv += ["--panels", "0", "--quiet"]
  return cli.main(["evaluate", *argv, "--out", out, *flags])


def unreadable(*names):
  """A Place.read or .get that reads all but these."""
  methods = {"read": Place.read, "get": Place.get}

  def refuse(place, name, *more):
    if name in names:
      raise OSError("the line went dead")
    return methods["get" if more else "read"](place, name, *more)

  return refuse


def test_an_evaluation_is_the_one_of_a_disk(setup, capfd, monkeypatch):
  address, objects = setup
  assert evaluate(out="here") == 0
  expected = capfd.readouterr().out.replace(f"{pathlib.Path('here').resolve()}", f"{address}/e")
  send("photos", f"{address}/photos")
  assert evaluate(out=f"{address}/e") == 0
  assert capfd.readouterr().out == expected
  names = [f"e/{path.name}" for path in sorted(pathlib.Path("here").iterdir())]
  assert [name for name in objects() if name.startswith("e/")] == names
  assert content(f"{address}/e/per_image.csv") == pathlib.Path("here/per_image.csv").read_bytes()
  assert json.loads(content(f"{address}/e/results.json"))["results"] == record("here")["results"]
  before = objects()
  assert evaluate("--seed", "1", out=f"{address}/e") == 2
  one_line(capfd, f"{address}/e holds results of other settings (seed 0, now 1)")
  Place(f"{address}/theirs").write("report.html", b"x")
  assert evaluate(out=f"{address}/theirs") == 2
  one_line(capfd, f"{address}/theirs holds report.html that scs-jax evaluate did not write")
  assert content(f"{address}/theirs/report.html") == b"x"
  with monkeypatch.context() as patch:
    patch.setattr(Place, "read", unreadable("results.json"))
    assert evaluate(out=f"{address}/e") == 2
  one_line(capfd, f"cannot read or write {address}/e (the line went dead)")
  assert evaluate("--seed", "1", "--overwrite", out=f"{address}/e") == 0
  assert objects() == sorted([*before, "theirs/report.html"])
  assert evaluate("--data", f"{address}/photos", out="far") == 0
  assert record("far")["results"] == record("here")["results"]


def test_a_comparison_with_what_it_gave_in_a_bucket(setup, capfd):
  address, objects = setup
  argv = ["compare", "--quiet", "--no-speed", "--panels", "0", "--no-baselines"]
  argv += ["--data", "photos", "--runs", "one", "blind"]
  assert cli.main([*argv, "--out", "here", "--inputs-out", "given"]) == 0
  there = ["--out", f"{address}/c", "--inputs-out", f"{address}/given"]
  assert cli.main([*argv, *there]) == 0
  assert f"report: {address}/c/report.html\n" in capfd.readouterr().out
  given = {str(path) for path in pathlib.Path("given").rglob("*.png")}
  assert {name for name in objects() if name.startswith("given/")} == given and given
  some = sorted(given)[0]
  assert content(f"{address}/{some}") == pathlib.Path(some).read_bytes()
  found = json.loads(content(f"{address}/c/results.json"))
  assert found["figures"] == record("here")["figures"]


def test_what_keeps_a_bucket_from_being_written_is_said_before_the_work(setup, capfd, monkeypatch):
  address, _ = setup
  monkeypatch.setattr(models.Model, "restore", lambda model: pytest.fail("no work yet"))
  assert evaluate(out=f"{address}-none/e") == 2
  one_line(capfd, f"cannot read or write {address}-none/e (", "check the address, your login")
  with monkeypatch.context() as patch:
    patch.setitem(sys.modules, "gcsfs", None)
    assert evaluate(out="gs://bucket/e") == 2
  one_line(capfd, "gs:// needs gcsfs, which is not installed; run pip install gcsfs")
  assert evaluate(out="sss://bucket/e") == 2
  one_line(capfd, "unknown scheme sss://; did you mean s3://?")
  files = type(fsspec.filesystem("s3"))
  for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
    monkeypatch.delenv(name)
  for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
    monkeypatch.setenv(name, "none")
  monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
  files.clear_instance_cache()
  assert evaluate(out=f"{address}/e") == 2
  one_line(capfd, f"cannot read or write {address}/e (", "check the address, your login")
  files.clear_instance_cache()


def test_a_plan_s_json(bucket, monkeypatch, capfd):
  address, _ = bucket
  found = types.SimpleNamespace(record={"chips": 8}, show=lambda: None)
  monkeypatch.setattr(scs_jax, "plan", lambda *given, **more: found, raising=False)
  plan = lambda out: cli.main(["plan", "--config", "scsnet/small", "--json", "--out", out])
  assert plan(f"{address}/plans/one.json") == 0
  assert json.loads(capfd.readouterr().out) == {"chips": 8}
  assert json.loads(content(f"{address}/plans/one.json")) == {"chips": 8}
  monkeypatch.setattr(scs_jax, "plan", lambda *given, **more: pytest.fail("no work yet"))
  for out in (address, f"{address}/plans/"):
    assert plan(out) == 2
    one_line(capfd, f"{out}: expected a file's address, as s3://bucket/name")
  assert plan(f"{address}-none/one.json") == 2
  one_line(capfd, f"cannot read or write {address}-none")


# --- colouring


@pytest.fixture
def painter(tmp_path, monkeypatch, bucket):
  """Stands for a network; in/ of the bucket has three pictures, sub/p1.png among them."""
  monkeypatch.chdir(tmp_path)
  for i, name in enumerate(("p0.png", "sub/p1.png", "p2.png")):
    paint(f"{bucket[0]}/in/{name}", 50 + i)
  Place(f"{bucket[0]}/in").write("notes.txt", b"x")
  Place(f"{bucket[0]}/in").write("sub/", b"")  # as a store's own page makes a folder
  model = types.SimpleNamespace(fingerprint=lambda: "numbers", place="run")
  return stand_in(monkeypatch, model)


def paint(address, level, size=(8, 6)):
  Image.new("L", size, level).save("one.png")
  folder, _, name = address.rpartition("/")
  Place(folder).put("one.png", name)


def colorize(*given, out, more=()):
  return cli.main(["colorize", *given, "--out", out, "--checkpoint", "run", "--quiet", *more])


def level(address):
  pathlib.Path("read.png").write_bytes(content(address))
  with Image.open("read.png") as image:
    return image.getpixel((0, 0))


def test_a_folder_of_a_bucket_is_coloured_into_another(painter, bucket, capfd):
  address, objects = bucket
  out = f"{address}/out"
  made = ["out/.scs_jax.json", "out/p0.png", "out/p2.png", "out/sub/p1.png"]
  assert colorize(f"{address}/in", out=out) == 0
  assert "left alone: 1 file that is no picture (.txt 1)\n3 coloured\n" in capfd.readouterr().out
  assert [name for name in objects() if name.startswith("out/")] == made
  assert level(f"{out}/sub/p1.png") == (51, 51, 51)
  assert colorize(f"{address}/in", out=out) == 0  # nothing is done twice
  assert capfd.readouterr().out.endswith("3 skipped (done already)\n")
  assert len(painter.asked) == 3
  paint(f"{address}/in/p0.png", 90)  # an input that changed, of as many bytes
  Place(out).remove("p2.png")  # and a result that is gone
  assert colorize(f"{address}/in", out=out) == 0
  assert sorted(painter.levels[3:]) == [52, 90] and level(f"{out}/p0.png") == (90, 90, 90)
  # Results below a folder are no pictures of it, and a file of others is not replaced.
  assert colorize(address, out=f"{address}/all") == 0
  assert f"left out: a folder of colorize's own results ({out})" in capfd.readouterr().out
  assert len([name for name in objects() if name.startswith("all/in/")]) == 3
  Place(f"{address}/b").write("p0.png", b"theirs")
  assert colorize(f"{address}/in/p0.png", out=f"{address}/b") == 2
  one_line(capfd, f"{address}/b/p0.png is there already and was not made by this command")
  assert content(f"{address}/b/p0.png") == b"theirs"


def test_one_picture_from_and_to_a_disk_by_a_reference_of_a_bucket(painter, bucket, capfd):
  address, _ = bucket
  Image.fromarray(np.uint8(np.arange(9 * 9 * 3) % 251).reshape(9, 9, 3)).save("ref.png")
  Place(f"{address}/refs").put("ref.png", "r.png")
  reference = ["--reference", f"{address}/refs"]
  assert colorize(f"{address}/in/p0.png", out="here.png", more=reference) == 0
  assert "reference r.png, the most similar" in capfd.readouterr().out
  with Image.open("here.png") as image:
    assert image.getpixel((0, 0)) == (50, 50, 50)
  reference = ["--reference", f"{address}/refs/r.png"]
  assert colorize("here.png", out=f"{address}/far.jpg", more=reference) == 0
  assert content(f"{address}/far.jpg")[:2] == b"\xff\xd8"


def test_a_reference_that_changed_in_a_bucket_colours_anew(painter, bucket, capfd):
  address, _ = bucket
  for level, said in ((80, "3 coloured"), (80, "3 skipped"), (90, "3 coloured")):
    Image.new("RGB", (9, 9), (level, 9, 9)).save("ref.bmp")  # of as many bytes
    Place(f"{address}/refs").put("ref.bmp", "r.bmp")
    flags = ["--reference", f"{address}/refs"]
    assert colorize(f"{address}/in", out=f"{address}/out", more=flags) == 0
    assert said in capfd.readouterr().out


def test_a_job_that_broke_off_goes_on(painter, bucket, capfd, monkeypatch):
  address, objects = bucket
  write = Place.write

  def refusing(place, name, data):
    if name == "p2.png":
      raise OSError("the line went dead")
    write(place, name, data)

  with monkeypatch.context() as patch:
    patch.setattr(Place, "write", refusing)
    assert colorize(f"{address}/in", out=f"{address}/out") == 2
  one_line(capfd, f"cannot read or write {address}/out/p2.png (the line went dead)")
  assert "out/p0.png" in objects() and "out/p2.png" not in objects()
  painter.asked.clear()
  assert colorize(f"{address}/in", out=f"{address}/out") == 0
  assert 50 not in painter.levels and 52 in painter.levels


def test_a_video_goes_through_this_machine_s_disk(painter, bucket, capfd, monkeypatch):
  address, objects = bucket
  try:
    ffmpeg = video.find_ffmpeg()
  except UserError:
    pytest.skip("no ffmpeg here")
  gray = ["-f", "lavfi", "-i", "color=gray:size=8x6:rate=5", "-frames:v", "3", "c.mkv"]
  subprocess.run([ffmpeg, "-y", "-loglevel", "error", *gray], check=True)
  Place(f"{address}/films").put("c.mkv", "c.mkv")
  for name in ("bad.mov", "away.mov"):
    Place(f"{address}/films").write(name, b"no video")
  monkeypatch.setattr(Place, "get", unreadable("away.mov"))
  assert colorize(f"{address}/films", out=f"{address}/out") == 1
  said = capfd.readouterr().err
  assert f"{address}/films/bad.mov: no video that ffmpeg can read" in said
  assert f"{address}/films/away.mov: the line went dead" in said
  assert [n for n in objects() if n.startswith("out/")] == ["out/.scs_jax.json", "out/c.mp4"]
  Place(f"{address}/out").get("c.mp4", "c.mp4")
  assert video.probe("c.mp4").frames == 3 and len(painter.asked) == 3
  assert list(pathlib.Path("copies").iterdir()) == []


def test_pairs_are_matched_in_a_bucket(bucket):
  address, _ = bucket
  for name in ("mono/p0.png", "mono/a/p1.png", "color/p0.jpg", "color/a/p1.png", "color/p9.png"):
    Place(address).write(name, b"x")
  mono, color = f"{address}/mono", f"{address}/color"
  found = pair_inputs.find(mono, color, f"{address}/out")
  assert [(task.source, task.partner, task.output) for task in found.tasks] == [
    (f"{mono}/a/p1.png", f"{color}/a/p1.png", f"{address}/out/a/p1.png"),
    (f"{mono}/p0.png", f"{color}/p0.jpg", f"{address}/out/p0.png"),
  ]
  assert found.spare == [f"{color}/p9.png"] and not found.single
  found = pair_inputs.find(f"{mono}/p0.png", f"{color}/p9.png", "one.png")
  assert found.single and found.tasks[0].partner == f"{color}/p9.png"
  with pytest.raises(UserError, match="give two files, or two folders"):
    pair_inputs.find(f"{mono}/p0.png", color, "out")


def test_what_is_wrong_with_addresses_is_one_line(painter, bucket, capfd):
  address, objects = bucket
  before = objects()
  assert colorize(f"{address}/in", out=f"{address}/in") == 2
  one_line(capfd, f"--out {address}/in is the folder of the pictures itself")
  assert colorize(f"{address}/none", out="out") == 2
  one_line(capfd, f"no such file or folder: {address}/none; check the address")
  assert colorize(f"{address}/in", out=f"{address}-none/out") == 2
  one_line(capfd, f"cannot read or write {address}-none/out")
  Place(f"{address}/in").write("bad.png", b"no picture")
  assert colorize(f"{address}/in", out=f"{address}/out") == 1
  assert f"{address}/in/bad.png: " in capfd.readouterr().err
  assert cli.main(["export", "one", f"{address}/one.safetensors"]) == 2
  capfd.readouterr()
  assert set(before) <= set(objects())
