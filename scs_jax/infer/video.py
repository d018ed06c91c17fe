"""A video through ffmpeg: frames by pipe, each coloured by itself, and by pipe into an MP4.

  - ffmpeg is the one on PATH, else the one that the package imageio_ffmpeg brings.
  - Frames are coloured one by one; nothing ties neighbours together, so colours may flicker.
  - The result has a constant frame rate (the input's nominal one), H.264 where ffmpeg has libx264,
    else MPEG-4 part 2; 8 bits, 4:2:0, BT.709. A side of odd length gets its last row or column
    again, as 4:2:0 wants even sides. Rotation is applied; the shape of the pixels is kept.
  - Sound is copied, or turned into AAC where few players expect its format in an MP4. Subtitles and
    further streams are left out.
"""

import contextlib
import errno
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator
from typing import IO, NamedTuple

import numpy as np

from scs_jax.data.decode import MAX_PIXELS, DecodeError
from scs_jax.errors import UserError

_COPIED = {"aac", "mp3", "ac3", "eac3", "alac"}


class Stream(NamedTuple):
  """Holds what is known of a video before it is decoded.

  Attributes:
    size: (height, width) of upright frames.
    rate: frames a second as ffmpeg writes it, "30000/1001".
    shape: width to height of a pixel, "1/1" where not stated.
    frames: about how many there are, None where that is not known.
    sounds: formats of the sound, by ffmpeg's names.
  """

  size: tuple[int, int]
  rate: str
  shape: str
  frames: int | None
  sounds: tuple[str, ...]


def find_ffmpeg() -> str:
  """Finds the program. Raises UserError where there is none."""
  if found := shutil.which("ffmpeg"):
    return found
  try:
    import imageio_ffmpeg

    return imageio_ffmpeg.get_ffmpeg_exe()
  except (ImportError, RuntimeError) as error:
    raise UserError(
      "videos need ffmpeg, and there is none; install it (or `pip install imageio-ffmpeg`), or "
      "give a folder of frames"
    ) from error


def probe(path: str | os.PathLike) -> Stream:
  """Decodes the first frame into YUV4MPEG2, whose header says what a pipe of pixels does not.

  Raises:
    DecodeError: no video that ffmpeg can read, or frames of more than MAX_PIXELS.
  """
  command = [
    *_reading(path),
    *_words("-map 0:v:0 -frames:v 1 -pix_fmt yuv420p -strict -1 -f yuv4mpegpipe -"),
  ]
  command[command.index("-loglevel") + 1] = "info"  # which states the duration
  done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL)
  header = done.stdout.partition(b"\n")[0].decode("ascii", "replace").split(" ")
  if header[0] != "YUV4MPEG2":
    raise DecodeError(f"{path}: no video that ffmpeg can read ({_last_line(done.stderr)})")
  fields = {field[0]: field[1:] for field in header[1:] if field}
  size = int(fields["H"]), int(fields["W"])
  if size[0] * size[1] > MAX_PIXELS:
    raise DecodeError(f"{path}: frames of {size[1]}x{size[0]} pixels; the limit is {MAX_PIXELS}")
  rate, shape = (fields.get(key, "").replace(":", "/") for key in "FA")
  frames = None
  if length := re.search(rb"Duration: (\d+):(\d+):(\d+(?:\.\d+)?)", done.stderr):
    hours, minutes, seconds = map(float, length.groups())
    over, _, under = rate.partition("/")
    frames = round((3600 * hours + 60 * minutes + seconds) * int(over) / int(under or 1))
  sounds = re.findall(r"Stream #0:\d+.*: Audio: (\w+)", done.stderr.decode("utf-8", "replace"))
  return Stream(size, rate, "1/1" if shape in ("", "0/0") else shape, frames, tuple(sounds))


def color_video(
  source: str | os.PathLike,
  target: str | os.PathLike,
  paint: Callable[[np.ndarray], np.ndarray],
  show: Callable[[Iterable[np.ndarray], int | None], Iterable[np.ndarray]] = lambda f, n: f,
) -> list[str]:
  """Colours a video; `target` is whole or not there.

  Args:
    source: the video.
    target: the result, an MP4 whatever its name.
    paint: uint8 [H, W, 3] -> uint8 [P, Q, 3], the same [P, Q] for all frames.
    show: wraps the frames (and about how many there are) with a display of progress.

  Returns:
    Lines for the log: what ffmpeg complained about though it went on.

  Raises:
    DecodeError: no video that can be read, or one that cannot be encoded.
    UserError: no ffmpeg.
    OSError: the result cannot be written.
  """
  target = pathlib.Path(target)
  stream = probe(source)
  target.parent.mkdir(parents=True, exist_ok=True)
  aside = target.with_name(f".{target.name}.partial")
  with contextlib.ExitStack() as stack:
    stack.callback(aside.unlink, missing_ok=True)
    complaints = stack.enter_context(tempfile.TemporaryFile())
    decoder = _start(stack, _decoding(source, stream), complaints, stdout=subprocess.PIPE)
    frames = show(_frames(decoder.stdout, stream.size), stream.frames)
    _encode(source, aside, map(paint, frames), stream)
    code = decoder.wait()
    said = _read_back(complaints)
    if code:
      raise DecodeError(f"{source}: ffmpeg stopped reading it ({_last_line(said)})")
    os.replace(aside, target)
  return [f"ffmpeg reports damage: {_last_line(said)}"] if said.strip() else []


def _reading(path: str | os.PathLike) -> list[str]:
  # file: so that a name with a colon is none of a protocol.
  start = [find_ffmpeg(), "-nostdin", "-hide_banner", "-loglevel", "error"]
  return [*start, "-i", f"file:{os.fspath(path)}"]


def _decoding(path: str | os.PathLike, stream: Stream) -> list[str]:
  # A rate for the output makes it constant: what a pipe without times needs to stay with the sound.
  options = ["-map", "0:v:0", "-r", stream.rate, "-f", "rawvideo", "-pix_fmt", "rgb24"]
  # Frames of another size later in the stream are brought to that of the first.
  scale = f"scale={stream.size[1]}:{stream.size[0]}:flags=bicubic+accurate_rnd+full_chroma_int"
  return [*_reading(path), *options, "-vf", scale, "-"]


def _frames(pipe: IO[bytes], size: tuple[int, int]) -> Iterator[np.ndarray]:
  """Yields uint8 [H, W, 3] until the pipe ends; a part of a frame at its end is none."""
  count = 3 * size[0] * size[1]
  while len(content := pipe.read(count)) == count:
    yield np.frombuffer(content, np.uint8).reshape(*size, 3)


def _encode(source, aside, results: Iterable[np.ndarray], stream: Stream) -> None:
  """Writes the results, which are made as they are asked for, to `aside`."""
  with contextlib.ExitStack() as stack:
    complaints = stack.enter_context(tempfile.TemporaryFile())
    encoder = size = None
    try:
      for rgb in results:
        rgb = np.pad(rgb, ((0, rgb.shape[0] % 2), (0, rgb.shape[1] % 2), (0, 0)), mode="edge")
        if encoder is None:
          size = rgb.shape[:2]
          command = _encoding(source, aside, size, stream)
          encoder = _start(stack, command, complaints, stdin=subprocess.PIPE)
        if rgb.shape[:2] != size:
          raise ValueError(f"a frame of {rgb.shape[:2]} after frames of {size}")
        encoder.stdin.write(np.ascontiguousarray(rgb).data)
      if encoder is None:
        raise DecodeError(f"{source}: no frame that ffmpeg can read")
      encoder.stdin.close()
    except BrokenPipeError:
      assert encoder is not None  # it ended early, and says why below
    if encoder.wait():
      _fail(source, aside, _read_back(complaints))


def _encoding(source, aside, size: tuple[int, int], stream: Stream) -> list[str]:
  ffmpeg = find_ffmpeg()
  listed = subprocess.run([ffmpeg, "-hide_banner", "-encoders"], capture_output=True).stdout
  codec = "libx264 -crf 18" if b" libx264 " in listed else "mpeg4 -q:v 2"
  sound = "copy" if stream.sounds and set(stream.sounds) <= _COPIED else "aac"
  return [
    *(ffmpeg, "-y", "-hide_banner", "-loglevel", "error"),
    *_words(f"-f rawvideo -pix_fmt rgb24 -s {size[1]}x{size[0]} -r {stream.rate} -i -"),
    *("-i", f"file:{os.fspath(source)}"),
    *_words(f"-map 0:v:0 -map 1:a? -map_metadata 1 -c:v {codec} -c:a {sound}"),
    *("-vf", f"scale=out_color_matrix=bt709:out_range=tv,setsar={stream.shape}"),
    *_words("-pix_fmt yuv420p -colorspace bt709 -color_primaries bt709 -color_trc bt709"),
    *("-movflags", "+faststart", "-f", "mp4", f"file:{aside}"),
  ]


def _start(stack: contextlib.ExitStack, command, complaints, **pipes) -> subprocess.Popen:
  """Starts a process that has ended when the stack unwinds; its messages go to a file."""
  pipes.setdefault("stdin", subprocess.DEVNULL)
  pipes.setdefault("stdout", subprocess.DEVNULL)
  process = subprocess.Popen(command, stderr=complaints, **pipes)

  def end() -> None:
    process.kill()
    for pipe in (process.stdin, process.stdout):
      if pipe is not None:
        with contextlib.suppress(OSError):  # what is buffered cannot be delivered any more
          pipe.close()
    process.wait()

  stack.callback(end)
  return process


def _fail(source, aside, said: bytes) -> None:
  for code in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
    if os.strerror(code).encode() in said:
      raise OSError(code, os.strerror(code), str(aside))
  raise DecodeError(f"{source}: ffmpeg cannot encode the result ({_last_line(said)})")


def _words(text: str) -> list[str]:
  return text.split()


def _read_back(file: IO[bytes]) -> bytes:
  file.seek(0)
  return file.read()


def _last_line(said: bytes) -> str:
  lines = [line.strip() for line in said.decode("utf-8", "replace").splitlines() if line.strip()]
  return lines[-1] if lines else "it gives no reason"
