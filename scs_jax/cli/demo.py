"""`scs-jax demo`: trains a small SCSNet on bundled photos and shows what it does to others."""

from typing import Any, NamedTuple

HELP = """Trains scsnet/small on the colour photographs that scikit-image and scikit-learn carry,
then colours and enlarges held-out ones in automatic, self-reference and random-reference mode at 2x
and at 3.3x, beside bicubic gray and the constant mean chroma of the reference. Writes report.html,
which opens offline. About six minutes on two CPU cores; goes on where it was interrupted.
--all trains the other methods' small configs too, for a third of their steps, and sets them beside
SCSNet in automatic mode: about half an hour in all."""

EXAMPLES = """
scs-jax demo
scs-jax demo --workdir runs/demo --config.steps=3000
scs-jax demo --config.steps=20 --size 96
scs-jax demo --all
"""

SCALES = (2.0, 3.3)
OTHERS = ("smsanet/small", "joint_sr/small")
TITLES = {"scsnet": "SCSNet", "smsanet": "SMSANet", "joint_sr": "joint network"}
FIRST = TITLES["scsnet"]


def add_arguments(parser) -> None:
  from scs_jax.cli import arguments

  arguments.add_config(parser, default="scsnet/small")
  parser.add_argument(
    "--workdir", default="runs/demo", metavar="DIR", help="the run's folder; default runs/demo"
  )
  parser.add_argument(
    "--size",
    type=int,
    default=160,
    metavar="PIXELS",
    help="side of the held-out pictures, cut from the middle; default 160",
  )
  parser.add_argument("--all", action="store_true", help="the other automatic methods as well")
  parser.add_argument("--quiet", action="store_true", help="no progress bar")


def run(args) -> int:
  from scs_jax.engine import stop

  with stop.exiting():  # until the loop takes SIGTERM over, nothing is there to save
    return _run(args)


def _run(args) -> int:
  import pathlib

  from scs_jax.cli import arguments
  from scs_jax.data import pipeline, sources
  from scs_jax.engine import evaluate, report
  from scs_jax.errors import UserError

  if not args.workdir:
    raise UserError("--workdir is empty: expected the run's folder")
  if not 32 <= args.size <= 2048:
    raise UserError(f"--size {args.size}: expected 32 to 2048 pixels")
  config = arguments.load_config(args)
  if config.method.name != "scsnet":
    raise UserError(f"--config {args.config} is of {config.method.name!r}; the demo shows scsnet")
  folder = pathlib.Path(args.workdir)
  runs = [(FIRST, args.config, config, folder)]
  for name in OTHERS if args.all else ():
    short = name.partition("/")[0]
    runs.append((TITLES[short], name, _other(name, config), folder / short))
  models = {}
  for title, name, its_config, its_folder in runs:
    model = _train(name, its_config, its_folder, args.quiet)
    if model is None:
      return 0
    models[title] = model
  heldout = sources.open_source(config.data.heldout)
  with pipeline.eval_batches(heldout, args.size, config.evaluate.batch_size) as opened:
    batches = evaluate.pair_next(opened)
  names = [n for b in batches for n in pipeline.record_names(heldout, b) if n]
  print(f"colouring {len(names)} held-out photos", flush=True)
  sections = [_about(config, int(models[FIRST].state.step)), *map(_beside, runs[1:])]
  for scale in SCALES:
    section, panel = _section(config, models, batches, names, scale)
    report.write_aside(pathlib.Path(args.workdir) / f"heldout_{scale:g}x.png", report.png(panel))
    sections.append(section)
  sections.append(_curves(args.workdir))
  path = pathlib.Path(args.workdir) / "report.html"
  report.write_aside(path, report.page(f"{args.config} on held-out photographs", sections))
  print(f"report: {path.resolve()}")
  return 0


class Model(NamedTuple):
  """A trained method."""

  method: Any
  state: Any


def _other(name: str, main):
  """Another method's small config, for a third of its steps; fewer where the demo is cut short."""
  from scs_jax.engine import config as configs

  own, usual = configs.load(name), configs.load("scsnet/small")
  share = min(1.0, main.steps / usual.steps) / 3
  keys = {"steps": max(1, round(own.steps * share))}
  for key in ("seed", "dtype"):  # the same pictures and numbers as the first
    keys[key] = main[key]
  for key in ("source", "heldout"):
    keys[f"data.{key}"] = main.data[key]
  # Looked at along the way as often as SCSNet is, by the share of the run.
  for key in ("checkpoint.every_steps", "log.evaluate_every", "log.panels_every"):
    keys[key] = max(1, keys["steps"] // 4)
  return configs.apply_overrides(own, [f"{key}={value}" for key, value in keys.items()])


def _train(name: str, config, workdir, quiet: bool) -> Model | None:
  """Trains, or goes on with what is in the folder; None where it was told to stop."""
  from scs_jax.cli import datasets
  from scs_jax.engine import loop, resolve

  method = resolve.build(config)
  data, steps = datasets.open_data(config, workdir)
  with config.unlocked():
    config.steps, config.epochs = steps, 0.0
  method = resolve.build(config)  # again: a schedule depends on the number of steps
  print(f"training {name} for {steps} steps on {config.data.source} photos", flush=True)
  outcome = loop.train(config, method, data, workdir, quiet=quiet)
  return None if outcome.stopped else Model(method, outcome.state)


def _about(config, step: int) -> str:
  low, high = config.magnification
  return (
    f"<p>Trained for {step} steps of {config.batch_size} crops of {config.data.source}, at "
    f"magnifications drawn from {low:g} to {high:g}. The photos below were not among them. These "
    "are figures of a small network after minutes on a few photographs; they say nothing about the "
    "paper's, which come from a network of 15 million parameters, trained on 407,041 pictures.</p>"
    "<p>PSNR in dB: over RGB, and over the ab planes of Lab alone (data range 220). "
    "<b>bicubic gray</b> enlarges the input without colour; <b>mean chroma</b> gives it the "
    "reference's average colour everywhere; <b>welsh</b> gives each pixel that of the reference's "
    "pixel most like it in lightness and texture (Welsh et al. 2002). Bold: the best of a "
    "column.</p>"
  )


def _beside(run) -> str:
  """What a reader must know of another method's row."""
  title, name, config, folder = run
  return (
    f"<p><b>{title}</b>: {name}, {config.steps} steps (a third of what its config says, or less) "
    f"of {config.batch_size} crops of {config.data.crop} pixels of {config.data.source}; automatic "
    f"mode alone. Its curves are in {folder.name}/metrics.jsonl.</p>"
  )


def _section(config, models: dict[str, Model], batches, names, scale: float):
  """HTML of tables and panel at one magnification, and the panel; also prints the means."""
  import numpy as np

  from scs_jax.engine import report
  from scs_jax.engine.baselines import baselines_of
  from scs_jax.engine.evaluate import MODES, Evaluator, Protocol

  parts, by_mode = [f"<h2>Magnification {scale:g}</h2>"], {}
  for mode in MODES:
    protocol = Protocol(mode, scale, config.evaluate.reference_size)
    results = {
      name: Evaluator(model.method.predict, protocol)(model.state, batches, keep=True)
      for name, model in models.items()
      if name == FIRST or mode == "automatic"
    }
    for name in baselines_of(mode):
      results[name.replace("_", " ")] = Evaluator(name, protocol)(None, batches, keep=True)
    by_mode[mode] = results
    rows = []
    for name, result in results.items():
      mean = result.mean()
      rows.append([name, mean["psnr_rgb"], mean["psnr_ab"], mean["ssim_rgb"]])
      print(
        f"  {scale:g}x {mode:<10} {name:<13} PSNR RGB {mean['psnr_rgb']:6.2f}  "
        f"ab {mean['psnr_ab']:6.2f}  SSIM {mean['ssim_rgb']:.3f}"
      )
    header = [f"{mode}, mean of {len(names)}", "PSNR RGB", "PSNR ab", "SSIM"]
    parts.append(report.table(header, rows, best=(1, 2, 3)))
  truth = np.concatenate([batch["image"][batch["mask"]] for batch in batches])
  panel = report.panel([_row(by_mode, truth, i) for i in range(len(truth))])
  parts.append(report.figure(panel, f"{', '.join(names)} at {scale:g}x"))
  return "\n".join(parts), panel


def _row(by_mode, truth, i: int) -> list:
  """One picture: input, every mode with its reference, the best baseline, the truth."""
  automatic, by_self, by_random = by_mode.values()

  def shown(caption, result):
    return (f"{caption} {result.scores['psnr_rgb'][i]:.1f}/{result.scores['psnr_ab'][i]:.1f}",
            result.rgb[i])  # fmt: skip

  others = [name for name in automatic if name in TITLES.values() and name != FIRST]
  return [
    ("gray input", automatic[FIRST].gray[i]),
    shown("automatic", automatic[FIRST]),
    *(shown(name, automatic[name]) for name in others),
    ("itself, distorted", by_self[FIRST].reference[i]),
    shown("by itself", by_self[FIRST]),
    shown("mean chroma", by_self["mean chroma"]),
    ("another photo", by_random[FIRST].reference[i]),
    shown("by another", by_random[FIRST]),
    ("truth (PSNR RGB/ab)", truth[i]),
  ]


def _curves(workdir) -> str:
  from scs_jax.engine import report
  from scs_jax.engine.logbook import read_curve

  shown = {
    "loss/content": "content loss on training crops",
    "self/psnr_ab": "ab PSNR of held-out crops, self-reference (dB)",
    "automatic/psnr_ab": "ab PSNR of held-out crops, automatic (dB)",
  }
  curves = [report.curve(read_curve(workdir, name), label) for name, label in shown.items()]
  return "<h2>Training</h2>" + "\n".join(curves)
