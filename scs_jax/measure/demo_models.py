"""`scs-jax demo`: the shipped models on bundled photographs and the motorcycle, and a training."""

import pathlib
import shutil
import time

import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from scs_jax.core import config as configs
from scs_jax.core import files
from scs_jax.core.contract import Query
from scs_jax.data import bundled, opening, pipeline, subset
from scs_jax.errors import UserError
from scs_jax.infer import colorizer, display
from scs_jax.infer.colorizer import Colorizer
from scs_jax.infer.pictures import Picture
from scs_jax.measure import confidence_pairs, pairs
from scs_jax.measure.photos import Photos, gray_of
from scs_jax.measure.predictors import Predictor, photo_baselines
from scs_jax.measure.score import Answer, Kept, in_memory, score
from scs_jax.metrics import image as metrics
from scs_jax.report import confidence_sheet, demo_page, magnify_sheet, pages, panels, tables
from scs_jax.report.demo_page import SCALES
from scs_jax.training import model_card, models
from scs_jax.training.models import Model
from scs_jax.training.run import train

# Held-out photographs and whose colours each is lent. Only those of the public domain meet, so that
# a picture of them may stand anywhere.
PHOTOS = {
  "chelsea.png": "coffee.png",
  "coffee.png": "chelsea.png",
  "china.jpg": "rocket.jpg",
}
MODES = ("automatic", "mirrored", "random")
SWEPT = "coffee.png"
SWEEP = (1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0)
STEPS = 30
_TILE = 192  # pixels: one tile holds an input of the usual size, and one set of programs does all
_NETWORK = "SCSNet"
_TITLE = "scs_jax: models that come with the package"
_PARTS = ("sweep", "pair", "training")  # of the report, in the order in which they come


def run(args) -> int:
  folder = pathlib.Path(args.workdir)
  photos, views = (_shipped(models.DEFAULTS[use]) for use in ("photographs", "pairs"))
  training = folder / "training"
  _require_ours(training)
  folder.mkdir(parents=True, exist_ok=True)
  about = [
    {"name": m.stem, "step": m.step, "card": model_card.headlines(m.card)} for m in (photos, views)
  ]
  shown = {"title": _TITLE, "models": about, "sections": [], **dict.fromkeys(_PARTS)}
  page = lambda: files.write_aside(folder / "report.html", pages.render("demo", **shown))
  page()  # refused before the work, where it cannot be written
  started = time.monotonic()
  say = lambda what: display.say(f"[{time.monotonic() - started:4.0f} s] {what}")
  say(f"colouring {len(PHOTOS)} photographs with {photos.place}, step {photos.step}")
  network = Colorizer.from_checkpoint(photos, tile=min(512, max(_TILE, args.size // 2)))
  found, shown["sections"] = _photographs(network, photos.config, folder, args.size)
  page()
  say(f"{SWEPT} at magnifications from {SWEEP[0]:g} to {SWEEP[-1]:g}")
  shown["sweep"] = _sweep(network, found, folder)
  page()
  say(f"colouring a pair of cameras with {views.place}, step {views.step}")
  shown["pair"] = _pair(views, folder)
  page()
  say(f"training {photos.stem} on for {STEPS} steps (compiling comes first)")
  shown["training"] = _go_on(photos, training, args.quiet)
  if shown["training"] is None:
    return 0
  page()
  say("done")
  print(f"report: {(folder / 'report.html').resolve()}")
  return 0


def _shipped(name: str) -> Model:
  if name not in models.names():
    raise UserError(
      f"no model {name!r} ships with this copy of scs_jax, and the demo shows it; `scs-jax demo "
      "--train` trains one from nothing"
    )
  return models.shipped(name)


# -- photographs -----------------------------------------------------------------------------------


class Colored(Predictor):
  """Colours as `scs-jax colorize` does: in tiles, whose few programs do every mode and size."""

  kind = "run"

  def __init__(self, name: str, network: Colorizer):
    super().__init__(name)
    self._network = network

  def answer(self, query, batch, mode) -> Answer:
    del batch, mode
    gray, lent = np.asarray(query.gray[..., 0]), query.reference
    if lent is None:
      references = [None] * len(gray)
    else:
      references = [colorizer.read(x) for x in np.asarray(jnp.round(lent * 255), np.uint8)]
    rgb = [
      self._network.color(Picture(g), reference, size=query.size, keep_luminance=False)
      for g, reference in zip(gray, references, strict=True)
    ]
    return Answer(np.stack(rgb) / np.float32(255))


def _photographs(network: Colorizer, config: ConfigDict, folder: pathlib.Path, size: int):
  """Gives (pictures at the first magnification, of score.Kept; all as demo_page.Section)."""
  source = bundled.BundledSource()
  number = {source.name(i): i for i in range(len(source))}

  def cut(names) -> dict:
    chosen = subset.Subset(source, [number[name] for name in names])
    with pipeline.eval_batches(chosen, size, len(chosen)) as batches:
      return next(iter(batches))

  batch = {**cut(PHOTOS), "other": cut(PHOTOS.values())["image"]}
  batch["gray"] = gray_of(batch["image"])
  free = {photo.name for photo in bundled.select(public_domain_only=True)}
  rows = [Colored(_NETWORK, network), *photo_baselines()]
  first, sections = None, []
  for scale in SCALES:
    track, kept = Photos(scale, config.evaluate.reference_size), Kept()
    scores = score(rows, track, [in_memory([batch], MODES)], see=kept)
    print("\n".join(demo_page.lines(scale, scores)), flush=True)
    shown = [demo_page.row(scores, kept.places, i, [_NETWORK]) for i in range(len(PHOTOS))]
    panel = panels.panel(shown)
    files.write_aside(folder / f"photos_{scale:g}x.png", panels.png(panel))
    sections.append(demo_page.section(scale, scores, panel, list(PHOTOS)))
    if first is None:
      first = kept.places
      ours = [r for r, (a, b) in zip(shown, PHOTOS.items(), strict=True) if {a, b} <= free]
      files.write_aside(folder / "demo.png", panels.png(panels.panel(ours)))
  return first, sections


def _sweep(network: Colorizer, places: demo_page.Places, folder: pathlib.Path) -> dict:
  """Colours one photograph by its mirrored self at many magnifications; also a file that moves."""
  mirrored = places["mirrored"][list(PHOTOS).index(SWEPT)]
  gray, lent = mirrored["gray"] / np.float32(255), mirrored["reference"]
  window = magnify_sheet.busiest(gray, max(16, gray.shape[0] // 2))
  results = [
    magnify_sheet.magnified(
      gray,
      network.color(Picture(gray), colorizer.read(lent), scale=scale, keep_luminance=False),
      scale,
      window,
    )
    for scale in SWEEP
  ]
  title = f"{SWEPT}, {gray.shape[1]}x{gray.shape[0]} pixels, by SCSNet and its own mirror"
  sheet = magnify_sheet.draw([title], gray, window, results, lent)
  files.write_aside(folder / "magnify.png", panels.png(sheet))
  moving = magnify_sheet.animate(magnify_sheet.frames(results), "png")
  files.write_aside(folder / "magnify_animation.png", moving)
  caption = f"{title}: one network, {network.programs} compiled programs, any magnification"
  return {"sheet": sheet, "caption": caption}


# -- a pair of cameras -----------------------------------------------------------------------------


def _pair(model: Model, folder: pathlib.Path) -> dict:
  """Colours the motorcycle: its sheet, and figures beside the baselines."""
  source = opening.open_pairs(model.config, "bundled")
  pair, name = source.load(0), source.name(0)
  answer = confidence_pairs.Oracle(model).ask(pair)
  own = answer.mirrored() if pair.mirrored else answer
  unit = lambda image: np.asarray(image, np.float32)[None] / np.float32(255)
  query = Query(unit(pair.mono), pair.mono.shape[:2], unit(pair.color))
  results = {"Cycle CNN": unit(own.found)}
  for baseline, colorize in pairs.BASELINES.items():
    results[baseline.replace("_", " ")] = colorize(None, query)[0].rgb
  truth, rows = unit(pair.truth), []
  for title, rgb in results.items():
    figures = [float(m(rgb, truth)[0]) for m in (metrics.psnr_rgb, metrics.psnr_cbcr)]
    rows.append([title, *figures])
    print(f"  {name} {title:<15} PSNR RGB {figures[0]:6.2f}  CbCr {figures[1]:6.2f}", flush=True)
  sheet = confidence_sheet.draw([f"{name}, Cycle CNN, step {model.step}"], answer)
  files.write_aside(folder / "pair.png", panels.png(sheet))
  return {
    "simulated": model.config.data.camera.enabled,
    "left_out": pairs.LEFT_OUT,
    "table": tables.make([name, "PSNR RGB", "PSNR CbCr"], rows, best=(1, 2)),
    "sheet": sheet,
  }


# -- a training ------------------------------------------------------------------------------------


def _require_ours(training: pathlib.Path) -> None:
  """Refuses a folder that an earlier demo did not make: it is made anew."""
  if not training.exists():
    return
  try:
    found = configs.from_json((training / "config.json").read_text(encoding="utf-8"))
  except (OSError, ValueError, UserError):
    found = {}
  if not found.get("init_from") and (not training.is_dir() or any(training.iterdir())):
    raise UserError(
      f"{training} is not of an earlier demo and would be replaced; choose another --workdir, or "
      "move it away"
    )


def _training_config(model: Model) -> ConfigDict:
  """Makes that of a short training which goes on from a model: its network, automatic mode alone,
  one magnification (one program), a fresh and plain optimizer, the bundled photographs."""
  config = model.config.copy_and_resolve_references()
  with config.unlocked():
    config.init_from = str(model.path)
    config.mode, config.magnification = "automatic", (2.0, 2.0)
    config.steps, config.epochs, config.batch_size = STEPS, 0.0, 8
    config.loss.adversarial = config.loss.perceptual = 0.0
    config.optimizer.update(
      name="adam", learning_rate=5e-4, schedule="cosine", clip_norm=1.0, weight_decay=0.0
    )
    config.data.update(
      source="bundled", heldout="", crop=2 * config.input_size, exclude_gray=False,
      reference_probability=0.0,
    )  # fmt: skip
    config.checkpoint.update(every_steps=STEPS, keep_best=0, best_metric="")
    config.log.update(every_steps=1, evaluate_every=0, panels_every=0)
  return config.lock()


def _go_on(model: Model, folder: pathlib.Path, quiet: bool) -> dict | None:
  """Trains, and shows the curve; None where it was told to stop."""
  shutil.rmtree(folder, ignore_errors=True)
  config = _training_config(model)
  # First of all, so that what was interrupted is known to be ours.
  files.write_aside(folder / "config.json", configs.to_json(config).encode())
  started = time.monotonic()
  if train(config, folder, quiet=quiet).stopped:
    return None
  seconds = time.monotonic() - started
  label = "content loss on random crops of the training photographs, means of 3 steps"
  return {
    "steps": STEPS,
    "batch_size": config.batch_size,
    "model": model.stem,
    "seconds": seconds,
    "curves": demo_page.curves(folder, {"loss/content": label}, mean_of=3),
  }
