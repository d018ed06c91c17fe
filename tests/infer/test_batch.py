"""The folder job with a colorizer that paints by hand: done once, in order, and never half."""

import errno
import json
import math
import os
import threading

import numpy as np
import pytest
from PIL import Image

from scs_jax.errors import UserError
from scs_jax.infer import batch, display, inputs, picture_files, record, references


class Painter:
  """Red is the gray level, green half of it, blue the mean of the reference's blue."""

  takes_reference, scales = True, (0.0, math.inf)

  def __init__(self):
    self.note = lambda line: None
    self.calls = []
    self.fail = {}  # gray level of the upper left pixel -> what to raise

  def color(self, picture, reference=None, **keywords):
    level = np.round(picture.gray * 255).astype(np.uint8)
    self.calls.append((int(level[0, 0]), keywords))
    if int(level[0, 0]) in self.fail:
      raise self.fail[int(level[0, 0])]
    self.note(f"seen {level[0, 0]}")
    blue = 0 if reference is None else int(reference.rgb[..., 2].mean())
    rgb = np.stack([level, level // 2, np.full_like(level, blue)], -1)
    height, width = keywords["size"] or rgb.shape[:2]
    return np.asarray(Image.fromarray(rgb).resize((width, height), Image.Resampling.NEAREST))


@pytest.fixture
def folder(tmp_path, monkeypatch):
  """in/ with p0.png to p4.png, whose gray levels are 10 to 14."""
  monkeypatch.chdir(tmp_path)
  (tmp_path / "in").mkdir()
  for i in range(5):
    Image.new("L", (6, 4), 10 + i).save(tmp_path / f"in/p{i}.png")
  return tmp_path


def color(given=("in",), out="out", settings=None, painter=None, job=None, lenders=None, **more):
  """Runs the job as the command does; (outcome, painter)."""
  painter, settings = painter or Painter(), settings or batch.Settings()
  found = inputs.find(given, out)
  identity = {**settings.__dict__, **(job or {})}
  kept = record.Record(None if found.single else out, identity)
  more.setdefault("quiet", True)
  return batch.color_all(found.tasks, settings, kept, lambda: painter, lenders, **more), painter


def levels(painter):
  return [level for level, _ in painter.calls]


def pixel(path):
  return Image.open(path).convert("RGB").getpixel((0, 0))


def names(path):
  return sorted(p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file())


# --- the plain case


def test_every_picture_is_coloured_in_order(folder, capsys):
  outcome, painter = color()
  assert (outcome.colored, outcome.skipped, outcome.broken) == (5, 0, [])
  assert levels(painter) == [10, 11, 12, 13, 14]
  assert [pixel(f"out/p{i}.png") for i in range(5)] == [(10 + i, (10 + i) // 2, 0)
                                                      for i in range(5)]  # fmt: skip
  assert names(folder / "out") == [".scs_jax.json", *(f"p{i}.png" for i in range(5))]
  shown = capsys.readouterr()
  assert shown.out == "".join(f"p{i}.png: seen {10 + i}\n" for i in range(5)) and shown.err == ""


def test_sizes_reach_the_colorizer_by_aspect(folder):
  def asked(**settings):
    _, painter = color(["in/p0.png"], settings=batch.Settings(**settings), overwrite=True)
    return painter.calls[0][1]["size"], Image.open("out/p0.png").size

  assert asked() == (None, (6, 4))
  assert asked(size=(8, 9)) == ((8, 9), (9, 8))
  assert asked(size=(None, 9)) == ((6, 9), (9, 6))
  assert asked(size=(1, None)) == ((1, 2), (2, 1))  # 6 / 4 rounds to even
  _, painter = color(
    ["in/p0.png"], overwrite=True, settings=batch.Settings(2.5, None, True, 1.5, 64)
  )
  assert painter.calls[0][1] == {"scale": 2.5, "size": None, "keep_luminance": True,
                                 "saturation": 1.5, "input_side": 64, "depth": 8}  # fmt: skip


def test_sixteen_bits_stay_where_the_format_holds_them(folder):
  deep = (np.arange(24, dtype=np.uint16) * 2500).reshape(4, 6)
  for name in ("in/p0.png", "in/p1.tif"):
    Image.fromarray(deep).save(name)
  wide = np.zeros((1, 70000), np.uint8)
  Image.fromarray(wide).save("in/p2.png")
  outcome, painter = color(["in/p0.png", "in/p1.tif", "in/p4.png"])
  assert [keywords["depth"] for _, keywords in painter.calls] == [16, 16, 8]
  painter = Painter()
  found = inputs.find(["in"], "jpegs", "jpg")
  kept = record.Record("jpegs", {})
  outcome = batch.color_all(found.tasks, batch.Settings(), kept, lambda: painter, quiet=True)
  assert [keywords["depth"] for _, keywords in painter.calls] == [8] * 5
  # What a JPEG cannot hold is not coloured first.
  assert outcome.broken == [(
    "in/p2.png", "JPEG holds at most 65500 pixels a side, got 70000x1; write .png or .tif"
  )]  # fmt: skip


def test_transparency_and_metadata_come_along_at_the_new_size(folder):
  image = Image.new("RGBA", (4, 4), (50, 50, 50, 0))
  image.paste((50, 50, 50, 255), (2, 0, 4, 4))
  image.save("in/p0.png", dpi=(300, 300))
  color(["in/p0.png"], settings=batch.Settings(size=(8, 16)))
  made = Image.open("out/p0.png")
  alpha = np.asarray(made)[..., 3]
  assert made.size == (16, 8) and made.mode == "RGBA"
  assert round(made.info["dpi"][0]) == 300
  assert (alpha[:, :4] == 0).all() and (alpha[:, 12:] == 255).all()


def test_progress_in_a_file_is_lines_and_now_and_then(folder, capsys, monkeypatch):
  color(quiet=False)
  assert capsys.readouterr().err == ""  # ten seconds are not over
  monkeypatch.setattr(display, "_LOG_SECONDS", 0.0)
  color(quiet=False, overwrite=True)
  lines = capsys.readouterr().err.splitlines()
  assert "0/5" in lines[0] and "5/5" in lines[-1] and "picture/s" in lines[-1]
  assert not any("\r" in line for line in lines)


# --- done already


def test_what_is_done_is_skipped_until_something_changes(folder):
  color()
  before = os.stat("out/p1.png").st_mtime_ns
  outcome, painter = color()
  assert (outcome.colored, outcome.skipped, painter.calls) == (0, 5, [])
  # An input that changed, a result that is gone, a new picture.
  Image.new("L", (6, 4), 99).save("in/p2.png")
  os.utime("in/p2.png", ns=(1, 1))  # an old time is a changed one, too
  os.remove("out/p3.png")
  Image.new("L", (6, 4), 20).save("in/q.png")
  outcome, painter = color()
  assert (outcome.colored, outcome.skipped) == (3, 3) and levels(painter) == [99, 13, 20]
  assert os.stat("out/p1.png").st_mtime_ns == before
  # Other settings, other weights, and back again; --overwrite.
  assert color(settings=batch.Settings(saturation=0.5))[0].colored == 6
  assert color(job={"checkpoint": "another"})[0].colored == 6
  assert color(job={"checkpoint": "another"})[0].skipped == 6
  assert color(["in/p0.png"])[0].colored == 1
  assert color(job={"checkpoint": "another"})[0].skipped == 5
  assert color(overwrite=True)[0].colored == 6


def test_nothing_is_loaded_where_nothing_is_to_do(folder):
  color()
  found = inputs.find(["in"], "out")
  kept = record.Record("out", batch.Settings().__dict__)
  outcome = batch.color_all(found.tasks, batch.Settings(), kept, lambda: pytest.fail("loaded"))
  assert outcome.skipped == 5


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_an_interrupted_job_keeps_what_is_finished_and_goes_on(folder, kind):
  painter = Painter()
  painter.fail[13] = kind()
  with pytest.raises(kind):
    color(painter=painter)
  assert names(folder / "out") == [".scs_jax.json", "p0.png", "p1.png", "p2.png"]
  outcome, painter = color()
  assert (outcome.colored, outcome.skipped) == (2, 3) and levels(painter) == [13, 14]


def test_a_killed_job_knows_its_own_files_again(folder):
  """The record before the first result and a result that it does not know of yet."""
  found = inputs.find(["in"], "out")
  record.Record("out", batch.Settings().__dict__).plan(found.tasks)
  Image.new("L", (6, 4), 1).save("out/p0.png")
  (folder / "out/.p1.png.partial").write_bytes(b"half")
  assert color()[0].colored == 5
  assert pixel("out/p0.png") == (10, 5, 0)
  assert names(folder / "out") == [".scs_jax.json", *(f"p{i}.png" for i in range(5))]


def test_files_of_others_are_not_replaced_unasked(folder):
  (folder / "out").mkdir()
  (folder / "out/p3.png").write_bytes(b"precious")
  with pytest.raises(UserError, match=r"out/p3.png is there already .* add --overwrite"):
    color()
  assert names(folder / "out") == ["p3.png"]
  assert color(overwrite=True)[0].colored == 5
  # A file that is named as the result is meant to be replaced.
  (folder / "x.png").write_bytes(b"old")
  assert color(["in/p0.png"], "x.png")[0].colored == 1 and pixel("x.png") == (10, 5, 0)
  assert not (folder / ".scs_jax.json").exists()


def test_two_jobs_keep_each_others_entries(folder):
  settings = batch.Settings().__dict__
  first, second = (record.Record("out", settings) for _ in range(2))
  tasks = inputs.find(["in"], "out").tasks
  os.mkdir("out")
  for kept, task in ((first, tasks[0]), (second, tasks[1])):
    Image.new("L", (1, 1)).save(task.output)
    kept.finish(task, None)
    kept.close()
  third = record.Record("out", settings)
  assert [third.is_done(task) for task in tasks] == [True, True, False, False, False]


@pytest.mark.parametrize("content", ["{", "[]", '{"version": 99}', "null"])
def test_a_damaged_record_is_told(folder, content):
  (folder / "out").mkdir()
  (folder / "out/.scs_jax.json").write_text(content)
  with pytest.raises(UserError, match=r"\.scs_jax\.json is damaged .* --overwrite"):
    color()


# --- what goes wrong


def test_broken_pictures_are_listed_with_their_cause_and_the_others_are_done(folder):
  whole = (folder / "in/p1.png").read_bytes()
  (folder / "in/p1.png").write_bytes(whole[: len(whole) // 2])
  (folder / "in/empty.jpg").write_bytes(b"")
  (folder / "in/text.png").write_text("no picture")
  os.symlink("gone.png", folder / "in/link.png")
  os.mkfifo(folder / "in/pipe.png")
  outcome, _ = color()
  assert outcome.colored == 4
  assert [name for name, _ in outcome.broken] == [
    f"in/{name}" for name in ("empty.jpg", "link.png", "p1.png", "pipe.png", "text.png")
  ]
  for (name, cause), part in zip(
    outcome.broken, ("empty", "No such file", "", "no regular file", "not a picture"), strict=True
  ):
    assert part in cause and cause and not cause.startswith(name)
  # Mended, they alone are done.
  (folder / "in/p1.png").write_bytes(whole)
  outcome, painter = color()
  assert (outcome.colored, outcome.skipped, len(outcome.broken)) == (1, 4, 4)


def test_what_the_colorizer_refuses_is_listed_a_bug_as_one(folder, capsys):
  painter = Painter()
  painter.fail = {
    10: UserError("too\nsmall"),
    11: MemoryError(),
    12: RuntimeError("RESOURCE_EXHAUSTED: out"),
    13: ZeroDivisionError("oh"),
  }
  outcome, _ = color(painter=painter)
  causes = [cause for _, cause in outcome.broken]
  assert outcome.colored == 1 and causes[0] == "too small"
  assert causes[1] == causes[2] and "--memory-limit" in causes[1]
  assert causes[3] == "a bug in scs_jax, please report it: ZeroDivisionError: oh"
  assert "Traceback" in capsys.readouterr().err


def test_a_scale_that_the_method_does_not_do_is_refused_at_once(folder):
  painter = Painter()
  painter.scales = (0.5, 16.0)
  for scale in (0.4, 17.0):
    with pytest.raises(UserError, match=r"enlarges by 0.5 to 16"):
      color(settings=batch.Settings(scale=scale), painter=painter)
  assert painter.calls == []
  # The colours alone are enlarged without it.
  color(settings=batch.Settings(scale=17.0, keep_luminance=True), painter=painter)
  assert color(settings=batch.Settings(scale=16.0), painter=painter)[0].colored == 5


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EIO])
def test_a_place_that_cannot_be_written_to_stops_the_job(folder, monkeypatch, number):
  write, count = picture_files.write, iter(range(99))

  def failing(path, *rest, **more):
    if next(count) == 2:
      raise OSError(number, os.strerror(number), str(path))
    write(path, *rest, **more)

  monkeypatch.setattr(batch.pictures, "write", failing)
  painter = Painter()
  with pytest.raises(OSError) as caught:
    color(painter=painter)
  assert caught.value.errno == number
  assert levels(painter) == [10, 11, 12, 13]  # it goes no further
  assert names(folder / "out") == [".scs_jax.json", "p0.png", "p1.png"]
  monkeypatch.undo()
  monkeypatch.chdir(folder)
  assert color()[0].skipped == 2


def test_the_list_is_in_the_order_of_the_pictures(folder, monkeypatch):
  """p0 fails while it is written, p1 while it is read, so before that is known of p0."""
  (folder / "in/p1.png").write_bytes(b"x")

  def failing(path, *rest, **more):
    raise OSError("encoder error")

  monkeypatch.setattr(batch.pictures, "write", failing)
  outcome, _ = color()
  assert [name for name, _ in outcome.broken] == [f"in/p{i}.png" for i in range(5)]


def test_what_one_format_or_name_does_not_hold_stops_nothing(folder, monkeypatch):
  write = picture_files.write

  def failing(path, *rest, **more):
    if "p1" in str(path):
      raise OSError("encoder error -2 when writing image file")
    if "p2" in str(path):
      raise OSError(errno.ENAMETOOLONG, "File name too long", str(path))
    write(path, *rest, **more)

  monkeypatch.setattr(batch.pictures, "write", failing)
  outcome, _ = color()
  assert outcome.colored == 3
  assert [c.split(" (")[0] for _, c in outcome.broken] == [
    "cannot be written", "the name of the result would be too long; rename the picture"
  ]  # fmt: skip


def test_a_folder_that_cannot_be_made_stops_before_anything_is_coloured(folder):
  (folder / "file").write_text("x")
  painter = Painter()
  with pytest.raises(UserError, match="file is a file, where a folder of results is to go"):
    color(out="file/out", painter=painter)
  assert not painter.calls


def test_names_of_any_bytes_are_coloured_and_said(folder, capsys):
  odd = ["new\nline.png", "ünï \u202eç.png", os.fsdecode(b"byte\xff.png"), "-x.png", "%s {}.png"]
  for name in odd:
    Image.new("L", (2, 2), 7).save(os.path.join("in", name))
  outcome, _ = color()
  assert outcome.colored == 10 and outcome.broken == []
  assert sorted(os.listdir("out")) == sorted([".scs_jax.json", *os.listdir("in")])
  shown = capsys.readouterr().out
  assert "new\\nline.png: seen 7" in shown and "byte\\udcff.png: seen 7" in shown
  assert color()[0].skipped == 10


# --- references


def test_references_are_said_kept_and_count_as_settings(folder, capsys):
  (folder / "refs").mkdir()
  for name, blue in (("p1", 200), ("other", 100)):
    Image.new("RGB", (5, 5), (255, 0, blue)).save(f"refs/{name}.png")
  outcome, _ = color(lenders=references.References("refs"))
  assert outcome.colored == 5
  # p1 by its name; for the others both are as alike, so the first by name.
  assert [pixel(f"out/p{i}.png")[2] for i in range(5)] == [100, 200, 100, 100, 100]
  out = capsys.readouterr().out
  assert "p1.png: reference p1.png, by name\n" in out
  assert "p0.png: reference other.png, the most similar (" in out
  kept = json.loads((folder / "out/.scs_jax.json").read_text())["results"]
  assert kept["p1.png"]["reference"] == "p1.png" and kept["p0.png"]["reference"] == "other.png"


def test_a_method_without_references_refuses_them(folder):
  Image.new("RGB", (5, 5), (255, 0, 0)).save("r.png")
  painter = Painter()
  painter.takes_reference = False
  with pytest.raises(UserError, match="takes no reference"):
    color(painter=painter, lenders=references.References("r.png"))
  assert color(painter=painter)[0].colored == 5


# --- the pipeline


def test_few_pictures_are_in_memory_and_reading_overlaps_colouring(folder, monkeypatch):
  """The next picture is read while one is coloured; no picture before that."""
  read = batch.pictures.read
  started, reading = [], threading.Event()

  def watched(source, *rest, **more):
    started.append(os.path.basename(source))
    reading.set()
    return read(source, *rest, **more)

  monkeypatch.setattr(batch.pictures, "read", watched)
  ahead = []

  class Slow(Painter):
    def color(self, picture, reference=None, **keywords):
      number = len(self.calls)
      if number < 4:
        while len(started) < number + 2:  # only the reader's thread can end this
          assert reading.wait(30)
          reading.clear()
      ahead.append(len(started) - number)
      return super().color(picture, reference, **keywords)

  assert color(painter=Slow())[0].colored == 5
  assert ahead == [2, 2, 2, 2, 1]


def test_a_video_is_coloured_by_one_reference_and_skipped_when_done(folder, monkeypatch, capsys):
  """The job's part in it; ffmpeg has tests of its own."""
  frames = [np.full((4, 6, 3), level, np.uint8) for level in (50, 60)]
  made = {}

  def color_video(source, target, paint, show):
    made[target] = [paint(frame) for frame in show(frames, 2)]
    with open(target, "wb") as file:
      file.write(b"video")
    return ["ffmpeg reports damage: x"]

  monkeypatch.setattr(batch.video, "color_video", color_video)
  monkeypatch.setattr(batch.video, "find_ffmpeg", lambda: "ffmpeg")
  (folder / "in/clip.mov").write_bytes(b"x")
  Image.new("RGB", (5, 5), (255, 0, 70)).save("r.png")
  outcome, _ = color(lenders=references.References("r.png"))
  assert outcome.colored == 6
  assert [f[0, 0].tolist() for f in made["out/clip.mp4"]] == [[50, 25, 70], [60, 30, 70]]
  assert "clip.mov: ffmpeg reports damage: x\n" in capsys.readouterr().out
  assert color(lenders=references.References("r.png"), job=None)[0].skipped == 6


def test_without_ffmpeg_a_named_video_is_refused_one_in_a_folder_listed(folder, monkeypatch):
  def missing(*unused):
    raise UserError("no ffmpeg")

  monkeypatch.setattr(batch.video, "find_ffmpeg", missing)
  (folder / "in/clip.mov").write_bytes(b"x")
  with pytest.raises(UserError, match="no ffmpeg"):
    color(["in/clip.mov", "in"])
  outcome, _ = color()
  assert outcome.colored == 5 and outcome.broken == [("in/clip.mov", "no ffmpeg")]
