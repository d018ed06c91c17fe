"""`scs-jax demo --train`: trains a small SCSNet on bundled photos, shows what it does to others."""

import pathlib

from scs_jax.core import config as configs
from scs_jax.core import files
from scs_jax.data import pipeline, sources
from scs_jax.errors import UserError
from scs_jax.measure.photos import MODES, Photos, gray_of, pair_next
from scs_jax.measure.predictors import Network, photo_baselines
from scs_jax.measure.score import Kept, in_memory, score
from scs_jax.report import demo_page, pages, panels
from scs_jax.report.demo_page import SCALES
from scs_jax.training.outcome import Outcome
from scs_jax.training.run import train

FIRST, FIRST_CONFIG = "SCSNet", "scsnet/small"
OTHERS = {"SMSANet": "smsanet/small", "joint network": "joint_sr/small"}
CURVES = {
  "loss/content": "content loss on training crops",
  "self/psnr_ab": "ab PSNR of held-out crops, self-reference (dB)",
  "automatic/psnr_ab": "ab PSNR of held-out crops, automatic (dB)",
}


def run(args, config) -> int:
  shown = configs.load(FIRST_CONFIG).method.name
  if config.method.name != shown:
    raise UserError(f"--config {args.config} is of {config.method.name!r}; the demo shows {shown}")
  folder = pathlib.Path(args.workdir)
  runs = [(FIRST, args.config, config, folder)]
  for title, name in OTHERS.items() if args.all else ():
    runs.append((title, name, _other(name, config), folder / name.partition("/")[0]))
  outcomes = {}
  for title, name, its_config, its_folder in runs:
    outcome = _train(name, its_config, its_folder, args.quiet)
    if outcome is None:
      return 0
    outcomes[title] = outcome
  heldout = sources.open_source(config.data.heldout)
  with pipeline.eval_batches(heldout, args.size, config.evaluate.batch_size) as opened:
    batches = [{**batch, "gray": gray_of(batch["image"])} for batch in pair_next(opened)]
  names = [n for b in batches for n in pipeline.record_names(heldout, b) if n]
  print(f"colouring {len(names)} held-out photos", flush=True)
  sections = []
  networks = [
    (Network if title == FIRST else _Automatic)(title, outcome.method, outcome.state)
    for title, outcome in outcomes.items()
  ]
  for scale in SCALES:
    track, kept = Photos(scale, config.evaluate.reference_size), Kept()
    scores = score([*networks, *photo_baselines()], track, [in_memory(batches, MODES)], see=kept)
    print("\n".join(demo_page.lines(scale, scores)), flush=True)
    records = scores.records["automatic"].tolist()
    panel = panels.panel([demo_page.row(scores, kept.places, i, outcomes) for i in records])
    files.write_aside(folder / f"heldout_{scale:g}x.png", panels.png(panel))
    sections.append(demo_page.section(scale, scores, panel, names))
  page = pages.render(
    "demo_train", title=f"{args.config} on held-out photographs", config=config, others=runs[1:],
    step=outcomes[FIRST].step, sections=sections,
    curves=demo_page.curves(folder, CURVES),
  )  # fmt: skip
  path = folder / "report.html"
  files.write_aside(path, page)
  print(f"report: {path.resolve()}")
  return 0


class _Automatic(Network):
  """Is shown in automatic mode alone."""

  def takes(self, mode: str) -> bool:
    return mode == "automatic"


def _other(name: str, main):
  """Makes another method's small config, for a third of its steps, or fewer as the demo is cut."""
  own, usual = configs.load(name), configs.load(FIRST_CONFIG)
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


def _train(name: str, config, workdir, quiet: bool) -> Outcome | None:
  """Trains, or goes on with what is in the folder; None where it was told to stop."""
  length = f"{config.epochs:g} epochs" if config.epochs > 0 else f"{config.steps} steps"
  print(f"training {name} for {length} on {config.data.source} photos", flush=True)
  outcome = train(config, workdir, quiet=quiet)
  return None if outcome.stopped else outcome
