"""Training batches (read, decode, crop, mirror, batch) against bare JPEG decoding of the files.

    python benchmarks/data_pipeline.py --pictures photos --out benchmarks/results/data_cpu.json
    python benchmarks/data_pipeline.py --folder imagenet/train --crops 256:1 512:1.25

One thread, so that images/s are those of one core. Every round does all cases one after the other,
on the same files; a ratio is of two times of one round, and the median over rounds is told with
its quartiles. On a shared machine read the ratios. Bare decoding is Pillow's, at full size, into an
array.

--pictures: photos to make JPEGs of ImageNet's size from, 500 x 375 at --quality: each is four
photos side by side, so that no pixel is enlarged and the files are about as dense as ImageNet's.
--folder: JPEGs as they are. Crops: SIDE:MAX_ZOOM as config.data.crop and config.data.max_zoom, or
SIDE:cut for crops from pictures as they are decoded (BatchSpec.resample off). Resampled crops are
timed both ways: made by the host, and sent to the device as the regions that it makes them of; how
far the two are apart, in grey levels, is told of the first pictures.
"""

import argparse
import dataclasses
import datetime
import itertools
import os
import pathlib
import platform
import sys
import tempfile
import time

import harness
import numpy as np
from PIL import Image

from scs_jax.core import heap
from scs_jax.data import pack, pipeline, regions, sources
from scs_jax.ops.regions import resample_regions

# The crops of the configs: smsanet/small, joint_sr/small, scsnet/small, then the papers'.
CROPS = ("96:1.25", "128:1.6", "158:1.5", "256:1", "512:1.25", "128:cut", "256:cut")
SIZE = (500, 375)


def main() -> int:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawTextHelpFormatter
  )
  where = parser.add_mutually_exclusive_group(required=True)
  where.add_argument("--pictures", help="folder of photos that JPEGs are made from")
  where.add_argument("--folder", help="folder of JPEGs, used as they are")
  parser.add_argument("--count", type=int, default=200, help="how many files")
  parser.add_argument("--quality", type=int, default=95, help="of the JPEGs that are made")
  parser.add_argument("--crops", nargs="*", default=CROPS, metavar="SIDE:MAX_ZOOM")
  parser.add_argument("--rounds", type=int, default=9)
  parser.add_argument("--out", help="JSON file; a .md table is written beside it")
  args = parser.parse_args()
  heap.keep_freed()  # as every command does
  with tempfile.TemporaryDirectory() as scratch:
    scratch = pathlib.Path(scratch)
    folder = scratch / "jpeg"
    if args.folder:
      _link(sources.FolderSource(args.folder), folder, args.count)
    else:
      _make(sources.open_source(args.pictures), folder, args.count, args.quality)
    results = measure(folder, scratch / "packed", args.crops, args.rounds)
  results |= {
    "date": str(datetime.date.today()),
    "machine": {
      "processor": _processor(),
      "cores": os.cpu_count(),
      "python": platform.python_version(),
      "pillow": __import__("PIL").__version__,
    },
    "quality": None if args.folder else args.quality,
  }
  print(table(results))
  harness.save(args.out, results, table(results) + "\n")
  return 0


def measure(folder: pathlib.Path, packed: pathlib.Path, crops, rounds: int) -> dict:
  """{"files": ..., "cases": {name: {"images_per_s", "ratio", "quartiles"}}}."""
  source = sources.FolderSource(folder)
  pack.pack(source, packed, progress=False)
  names = [folder / source.name(i) for i in range(len(source))]
  cases = {"bare decoding": lambda: _bare(names)}
  apart = {}
  for crop in crops:
    name, spec = _spec(crop)
    cases[name] = lambda spec=spec: _batches(source, spec)
    if spec.resample:
      region = f"crop {spec.crop}, its region for the device"
      device = dataclasses.replace(spec, on_device=True)
      cases[region] = lambda device=device: _batches(source, device)
      apart[region] = _apart(source, spec, device)
  shards = sources.open_source(packed)
  cases[f"{name}, packed"] = lambda: _batches(shards, spec)
  times: dict[str, list[float]] = {name: [] for name in cases}
  for turn in range(rounds + 1):
    for name, run in cases.items():
      start = time.perf_counter()
      run()
      if turn:  # the first round warms up
        times[name].append(time.perf_counter() - start)
  bare = np.array(times["bare decoding"])
  found = {}
  for name, seconds in times.items():
    ratio = np.array(seconds) / bare
    found[name] = {
      "images_per_s": len(source) / float(np.median(seconds)),
      "ratio": float(np.median(ratio)),
      "quartiles": np.percentile(ratio, (25, 75)).tolist(),
    } | apart.get(name, {})
  sizes = [source.file(i).size for i in range(len(source))]
  shape = Image.open(names[0]).size
  return {
    "files": {"count": len(source), "mean_bytes": float(np.mean(sizes)), "first_size": shape},
    "rounds": rounds,
    "cases": found,
  }


def _spec(crop: str) -> tuple[str, pipeline.BatchSpec]:
  side, _, zoom = crop.partition(":")
  if zoom == "cut":
    return f"crop {side}, cut", pipeline.BatchSpec(10, int(side), resample=False, threads=0)
  zoom = float(zoom or 1.25)
  name = f"crop {side}, short side resampled to {side}" + ("" if zoom == 1 else f" to {zoom:g}x")
  # The crops of 512 are larger than ImageNet's pictures.
  return name, pipeline.BatchSpec(10, int(side), max_zoom=zoom, enlarge=True, threads=0)


def _bare(names) -> None:
  for name in names:
    with Image.open(name) as image:
      np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def _batches(source, spec: pipeline.BatchSpec) -> None:
  with pipeline.train_batches(source, spec) as batches:
    for _ in itertools.islice(batches, len(source) // spec.batch_size):
      pass


def _apart(source, host: pipeline.BatchSpec, device: pipeline.BatchSpec) -> dict[str, float]:
  """Compares the two ways' first crops: grey levels between them, on average and at most."""
  with (
    pipeline.train_batches(source, host) as crops,
    pipeline.train_batches(source, device) as sent,
  ):
    crop, region = next(crops)["image"], next(sent)
  place = region[regions.place_of("image")]
  made = np.asarray(resample_regions(region["image"], place, host.crop))
  levels = np.abs(made.astype(int) - crop)
  return {"mean_levels": float(levels.mean()), "most_levels": int(levels.max())}


def _make(photos, folder: pathlib.Path, count: int, quality: int) -> None:
  """JPEGs of SIZE, each of four photos."""
  folder.mkdir()
  width, height = SIZE
  rng = np.random.default_rng(0)
  for k in range(count):
    canvas = Image.new("RGB", SIZE)
    for left, top in itertools.product((0, width // 2), (0, height // 2)):
      tile = (width - width // 2, height - height // 2)
      photo = photos.open(int(rng.integers(len(photos))))
      scale = max(1.0, tile[0] / photo.width, tile[1] / photo.height)
      if scale > 1:
        photo = photo.resize([round(side * scale) + 1 for side in photo.size])
      canvas.paste(photo.crop((0, 0, *tile)), (left, top))
    canvas.save(folder / f"{k:05d}.jpg", quality=quality)


def _link(source, folder: pathlib.Path, count: int) -> None:
  folder.mkdir()
  jpegs = [i for i in range(len(source)) if source.name(i).lower().endswith((".jpg", ".jpeg"))]
  for k, i in enumerate(jpegs[:: max(1, len(jpegs) // count)][:count]):
    (folder / f"{k:05d}.jpg").write_bytes(source.encoded(i))


def _processor() -> str:
  try:
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
  except (OSError, StopIteration):
    return platform.processor()


def table(results: dict) -> str:
  """Markdown."""
  files, machine = results["files"], results["machine"]
  width, height = files["first_size"]
  lines = [
    f"{files['count']} JPEGs, the first {width} x {height}, {files['mean_bytes'] / 1000:.0f} kB on "
    f"average; one thread of {machine['processor']} ({machine['cores']} cores), Pillow "
    f"{machine['pillow']}, {results['date']}; medians of {results['rounds']} rounds.",
    "",
    "| case | images/s a core | time over bare decoding | quartiles | grey levels apart, most |",
    "|---|---:|---:|---:|---:|",
  ]
  for name, case in results["cases"].items():
    low, high = case["quartiles"]
    rate, ratio = case["images_per_s"], case["ratio"]
    levels = f"{case['mean_levels']:.3f}, {case['most_levels']}" if "mean_levels" in case else ""
    lines.append(f"| {name} | {rate:.0f} | {ratio:.2f} | {low:.2f} to {high:.2f} | {levels} |")
  return "\n".join(lines)


if __name__ == "__main__":
  sys.exit(main())
