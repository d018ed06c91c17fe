"""What a user waits for: the first picture of a command, and a folder of pictures of all sizes.

    python benchmarks/first_picture.py                    # some minutes, two cores
    python benchmarks/first_picture.py --pictures 0       # the first picture alone

One photograph of 512 x 512 (scikit-image's astronaut) by `scs-jax colorize`, each call a process of
its own: without kept programs, with an empty cache folder, and with what the call before left
there; and the first and a later photograph of a page. Then a folder of as many sizes as pictures,
from 240 to 720 pixels a side (--sides): the whole job, against the time that the same Colorizer
takes for the same pictures one after the other, already read, in the same process; both after a
first pass over some of them, so that nothing compiles.
"""

import json
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import time

import harness


def main() -> int:
  parser = harness.parser(__doc__)
  parser.add_argument("--models", nargs="*", default=["smsanet", "scsnet"])
  parser.add_argument("--repeats", type=int, default=2, help="of each call; the least counts")
  parser.add_argument("--pictures", type=int, default=200, help="in the folder; 0: no folder")
  parser.add_argument("--sides", type=int, nargs=2, default=[240, 720], help="of them, pixels")
  args = parser.parse_args()
  if args.case:
    print(json.dumps(harness.machine() if args.case == "machine" else page_pictures()))
    return 0
  results = {"machine": harness.child(__file__, "machine"), "first_pictures": {}, "folders": {}}
  print(results["machine"], flush=True)
  with tempfile.TemporaryDirectory() as folder:
    photo = write_photographs(pathlib.Path(folder), [(512, 512)])[0]
    for model in args.models:
      print(f"{model}: one picture ...", file=sys.stderr)
      results["first_pictures"][model] = first_pictures(model, photo, args.repeats)
      harness.save(args.out, results, table(results))
  results["page"] = harness.child(__file__, "page")
  harness.save(args.out, results, table(results))
  for model in args.models if args.pictures else ():
    print(f"{model}: {args.pictures} pictures ...", file=sys.stderr)
    with tempfile.TemporaryDirectory() as folder:
      found = colour_folder(model, pathlib.Path(folder), args.pictures, args.sides)
    results["folders"][model] = found
    harness.save(args.out, results, table(results))
  print(table(results), end="")
  return 0


def table(results: dict) -> str:
  """Markdown."""
  lines = ["| model | call | s of processor time | s |", "|---|---|---:|---:|"]
  for model, kinds in results["first_pictures"].items():
    for kind, (busy, wall) in kinds.items():
      lines.append(f"| {model} | {kind} | {busy:.2f} | {wall:.2f} |")
  if "page" in results:
    lines += ["", "| photograph of a page | s of processor time |", "|---|---:|"]
    lines += [f"| {name} | {value} |" for name, value in results["page"].items()]
  if results["folders"]:
    lines += ["", "| model | sizes | s to read, colour and write | s to colour alone | ratio |"]
    lines += ["|---|---:|---:|---:|---:|"]
  for model, found in results["folders"].items():
    whole, alone = found["whole"], found["alone"]
    lines.append(
      f"| {model} | {found['sizes']} | {whole:.1f} | {alone:.1f} | {whole / alone:.2f} |"
    )
  return "\n".join(lines) + "\n"


def write_photographs(folder: pathlib.Path, sizes) -> list[pathlib.Path]:
  """Writes the astronaut at sizes (height, width), as JPEG."""
  from PIL import Image
  from skimage import data

  photo, paths = Image.fromarray(data.astronaut()), []
  for number, (height, width) in enumerate(sizes):
    paths.append(folder / f"{number:03}.jpg")
    photo.resize((width, height), Image.Resampling.BICUBIC).save(paths[-1], quality=95)
  return paths


def first_pictures(model: str, photo: pathlib.Path, repeats: int) -> dict:
  """Returns by kind of call (processor seconds, seconds), the least of the repeats."""
  found = {}
  for _ in range(repeats):
    with tempfile.TemporaryDirectory() as cache:
      for kind, flags in (
        ("nothing kept", ["--no-compile-cache"]),
        ("first call", []),
        ("second call", []),
      ):
        seconds = call(model, photo, cache, flags)
        found[kind] = min(found.get(kind, seconds), seconds)
  return found


def call(model: str, photo: pathlib.Path, cache: str, flags: list[str]) -> tuple[float, float]:
  """Returns (processor seconds, seconds) of one command."""
  out = photo.with_name("result.png")
  command = [sys.executable, "-m", "scs_jax", "colorize", photo, "--out", out, "--overwrite"]
  about_caches = ("JAX_COMP", "SCS_JAX_CACHE")
  environment = {k: v for k, v in os.environ.items() if not k.startswith(about_caches)}
  environment["XDG_CACHE_HOME"] = cache
  environment.pop("PYTHONDONTWRITEBYTECODE", None)  # a user's Python compiles our sources once
  before, started = processor_seconds(), time.perf_counter()
  subprocess.run(
    [*command, "--checkpoint", model, "--quiet", *flags],
    env=environment,
    cwd=harness.ROOT,
    check=True,
    stdout=subprocess.DEVNULL,
  )
  return processor_seconds() - before, time.perf_counter() - started


def page_pictures() -> dict:
  """Returns the processor seconds of a page's photographs, handed over as its tab does.

  The page has opened the network beforehand, as it does when it starts.
  """
  from scs_jax.app import photographs
  from scs_jax.app.networks import Networks
  from scs_jax.app.turns import Turns
  from scs_jax.core import heap

  heap.keep_freed()
  networks, turns, found = Networks(), Turns(1), []
  networks.warm()
  with tempfile.TemporaryDirectory() as folder:
    folder = pathlib.Path(folder)
    (photo,) = write_photographs(folder, [(512, 512)])
    for number in range(4):
      began = time.process_time()
      asked = photographs.Asked([str(photo)])
      for state in photographs.color(asked, folder / str(number), networks, turns, 10**9):
        assert not state.broken, state.broken
      found.append(time.process_time() - began)
  return {"first": round(found[0], 2), "later, the least of three": round(min(found[1:]), 2)}


def processor_seconds() -> float:
  """Returns what all children of this process have taken until now."""
  usage = resource.getrusage(resource.RUSAGE_CHILDREN)
  return usage.ru_utime + usage.ru_stime


def colour_folder(model: str, folder: pathlib.Path, count: int, sides: list[int]) -> dict:
  """Returns how many sizes there are, and the seconds for the whole job and to colour alone."""
  from scs_jax.core import heap
  from scs_jax.infer import batch, inputs, pictures, record
  from scs_jax.infer.colorizer import Colorizer

  heap.keep_freed()  # as a command does
  source = folder / "photos"
  source.mkdir()
  least, most = sides
  step = (most - least) / count
  sizes = [(least + round(step * i), most - round(step * (i * 7 % count))) for i in range(count)]
  paths = write_photographs(source, sizes)
  colorizer = Colorizer.from_checkpoint(model)

  def job(name: str, found: list) -> float:
    started = time.perf_counter()
    batch.color_all(
      found,
      batch.Settings(),
      record.Record(folder / name, {"job": name}),
      lambda: colorizer,
      quiet=True,
      say=lambda line: None,
    )
    return time.perf_counter() - started

  find = lambda name: inputs.find([str(source)], str(folder / name), "same").tasks
  job("first", find("first")[:: max(1, count // 10)])
  read = [pictures.read(path) for path in paths]
  started = time.perf_counter()
  for picture in read:
    colorizer.color(picture)
  alone = time.perf_counter() - started
  whole = job("second", find("second"))
  return {"sizes": len(set(sizes)), "whole": whole, "alone": alone}


if __name__ == "__main__":
  sys.exit(main())
