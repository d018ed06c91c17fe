"""Videos through a real ffmpeg: frames, rate, sound, size and rotation; what breaks."""

import errno
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

from scs_jax.data.decode import DecodeError
from scs_jax.errors import UserError
from scs_jax.infer import video


@pytest.fixture(scope="module")
def ffmpeg():
  try:
    return video.find_ffmpeg()
  except UserError:
    pytest.skip("no ffmpeg here")


@pytest.fixture(scope="module")
def make(ffmpeg):
  """Runs ffmpeg for a test's input."""

  def make(*arguments):
    command = [ffmpeg, "-y", "-loglevel", "error", *map(str, arguments)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)

  return make


@pytest.fixture(scope="module")
def clip(make, tmp_path_factory):
  """12 frames of 31x21 at 30000/1001, whose gray rises by 16 a frame, with PCM sound; lossless."""
  path = tmp_path_factory.mktemp("clip") / "clip.mkv"
  ramp = "nullsrc=size=31x21:rate=30000/1001,geq=r='16*N+20':g='16*N+20':b='16*N+20',format=rgb24"
  sound = ("-f", "lavfi", "-i", "sine=frequency=440:sample_rate=44100")
  make("-f", "lavfi", "-i", ramp, *sound, "-t", "0.4004", "-frames:v", 12,
       "-c:v", "ffv1", "-c:a", "pcm_s16le", path)  # fmt: skip
  return path


def output(ffmpeg, path, *options):
  """Bytes that ffmpeg makes of a file."""
  command = [ffmpeg, "-loglevel", "error", "-i", str(path), *options, "-"]
  return subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL).stdout


def decode(ffmpeg, path, size):
  """uint8 [frames, *size, 3] by a command of its own."""
  raw = output(ffmpeg, path, "-f", "rawvideo", "-pix_fmt", "rgb24")
  return np.frombuffer(raw, np.uint8).reshape(-1, *size, 3)


def about(ffmpeg, path):
  command = [ffmpeg, "-hide_banner", "-i", str(path)]
  return subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL).stderr


def test_every_frame_is_coloured_in_order_and_sound_and_rate_stay(ffmpeg, clip, tmp_path):
  seen = []

  def paint(frame):
    seen.append(frame.copy())
    return np.stack([frame[..., 0], frame[..., 0] // 2, np.full_like(frame[..., 0], 90)], -1)

  assert video.color_video(clip, tmp_path / "new/out.mp4", paint) == []
  assert [int(f.mean()) for f in seen] == [16 * n + 20 for n in range(12)]
  assert all(f.shape == (21, 31, 3) and np.ptp(f) == 0 for f in seen)
  # An odd side gets its last row or column again; colours survive the 8-bit limited range.
  made = decode(ffmpeg, tmp_path / "new/out.mp4", (22, 32))
  assert len(made) == 12
  for n, frame in enumerate(made):
    level = 16 * n + 20
    assert np.abs(frame.astype(int) - (level, level // 2, 90)).max() <= 6
  text = about(ffmpeg, tmp_path / "new/out.mp4")
  assert "29.97 fps" in text and "yuv420p" in text and "bt709" in text
  assert "Audio: aac" in text  # few players know PCM in an MP4
  duration = re.search(r"Duration: 00:00:(\d+\.\d+)", text).group(1)
  assert abs(float(duration) - 0.4) < 0.05
  assert [p.name for p in (tmp_path / "new").iterdir()] == ["out.mp4"]


def test_sound_that_mp4_is_used_to_is_copied(ffmpeg, make, clip, tmp_path):
  make("-i", clip, "-c:v", "copy", "-c:a", "aac", "-b:a", "64k", tmp_path / "a.mkv")
  assert video.probe(tmp_path / "a.mkv").sounds == ("aac",)
  video.color_video(tmp_path / "a.mkv", tmp_path / "out.mp4", lambda f: f)

  packets = lambda path: output(ffmpeg, path, "-map", "0:a", "-c", "copy", "-f", "adts")
  assert packets(tmp_path / "out.mp4") == packets(tmp_path / "a.mkv") != b""


def test_a_rotated_video_without_sound_stands_upright(ffmpeg, make, tmp_path):
  wide = "nullsrc=size=64x32:rate=5:duration=0.6,geq=r='4*X':g='7*Y':b='90',format=rgb24"
  make("-f", "lavfi", "-i", wide, "-c:v", "mpeg4", tmp_path / "w.mp4")
  try:
    make("-display_rotation", 90, "-i", tmp_path / "w.mp4", "-c", "copy", tmp_path / "r.mp4")
  except subprocess.CalledProcessError:
    pytest.skip("this ffmpeg cannot state a rotation")
  assert video.probe(tmp_path / "r.mp4")[:2] == ((64, 32), "5/1")
  video.color_video(tmp_path / "r.mp4", tmp_path / "out.mp4", lambda f: f)
  made = decode(ffmpeg, tmp_path / "out.mp4", (64, 32))
  upright = decode(ffmpeg, tmp_path / "r.mp4", (64, 32))
  assert len(made) == len(upright) == 3
  assert np.abs(made.astype(int) - upright).mean() < 3
  assert video.probe(tmp_path / "out.mp4").size == (64, 32)


def test_other_sizes_progress_and_odd_names(ffmpeg, clip, tmp_path):
  source = tmp_path / "a: 100% [x]'s clip.mkv"
  shutil.copy(clip, source)
  shown = []

  def show(frames, total):
    for frame in frames:
      shown.append(total)
      yield frame

  double = lambda frame: frame.repeat(2, 0).repeat(2, 1)
  video.color_video(source, tmp_path / "out %d.mp4", double, show)
  assert shown == [12] * 12
  assert decode(ffmpeg, tmp_path / "out %d.mp4", (42, 62)).shape == (12, 42, 62, 3)


@pytest.mark.parametrize("content", [b"", b"no video" * 100, b"\x1a\x45\xdf\xa3" * 9])
def test_what_is_no_video(ffmpeg, tmp_path, content):
  (tmp_path / "x.mkv").write_bytes(content)
  with pytest.raises(DecodeError, match=r"x.mkv: no video that ffmpeg can read \(.+\)"):
    video.color_video(tmp_path / "x.mkv", tmp_path / "out.mp4", lambda f: f)
  assert not (tmp_path / "out.mp4").exists()


def test_a_file_with_sound_alone_is_no_video(make, clip, tmp_path):
  make("-i", clip, "-vn", "-c:a", "copy", tmp_path / "sound.mkv")
  with pytest.raises(DecodeError, match="no video"):
    video.color_video(tmp_path / "sound.mkv", tmp_path / "out.mp4", lambda f: f)


def test_a_cut_video_is_coloured_as_far_as_it_goes_and_says_so(make, ffmpeg, tmp_path):
  noise = "testsrc=size=64x48:rate=25:duration=1,noise=alls=60:allf=t"
  make("-f", "lavfi", "-i", noise, "-c:v", "ffv1", tmp_path / "whole.mkv")
  content = (tmp_path / "whole.mkv").read_bytes()
  (tmp_path / "cut.mkv").write_bytes(content[: len(content) // 2])
  lines = video.color_video(tmp_path / "cut.mkv", tmp_path / "out.mp4", lambda f: f)
  assert 5 < len(decode(ffmpeg, tmp_path / "out.mp4", (48, 64))) < 20
  assert len(lines) == 1 and lines[0].startswith("ffmpeg reports damage: ")


class Stop(Exception):
  pass


@pytest.mark.parametrize("at", [0, 3])
def test_nothing_half_written_is_left(clip, tmp_path, at):
  (tmp_path / "out.mp4").write_bytes(b"before")
  count = iter(range(99))

  def paint(frame):
    if next(count) == at:
      raise Stop
    return frame

  with pytest.raises(Stop):
    video.color_video(clip, tmp_path / "out.mp4", paint)
  assert [p.name for p in tmp_path.iterdir()] == ["out.mp4"]
  assert (tmp_path / "out.mp4").read_bytes() == b"before"


def test_a_full_disk_stops_and_says_so(clip):
  if not os.path.exists("/dev/full"):
    pytest.skip("no /dev/full")
  stream = video.probe(clip)
  frames = (np.zeros((22, 32, 3), np.uint8) for _ in range(3))
  with pytest.raises(OSError) as caught:
    video._encode(clip, "/dev/full", frames, stream)
  assert caught.value.errno == errno.ENOSPC


def test_without_ffmpeg_the_user_is_told(monkeypatch, tmp_path):
  monkeypatch.setenv("PATH", str(tmp_path))
  monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
  with pytest.raises(UserError, match=r"install it .*or give a folder of frames"):
    video.find_ffmpeg()
