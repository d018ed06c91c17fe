"""One training, from a config to its outcome: `scs_jax.train`, and what `scs-jax train` calls."""

import copy
import dataclasses
import os

from ml_collections import ConfigDict

from scs_jax.core import config as configs
from scs_jax.core import files, resolve, stop
from scs_jax.data import opening
from scs_jax.training import bucket, loop, models, resume
from scs_jax.training.outcome import Outcome


def train(
  config: ConfigDict | str,
  workdir: str | os.PathLike[str],
  *,
  quiet: bool = False,
  profile: tuple[int, int] | None = None,
  scans: str | os.PathLike[str] | None = None,
  stopped: stop.Flag | None = None,
) -> Outcome:
  """Trains a method, and goes on where an earlier run in the folder stopped.

  The folder receives checkpoints, metrics.jsonl, config.json and panels/*.png. After a SIGTERM the
  step at hand is saved and the function returns; after Ctrl-C too, but with KeyboardInterrupt.

  Args:
    config: of `load_config`, changed as you like, or a config's name; it is left as it is.
    workdir: the run's folder, made where missing; here or in a bucket (gs://, s3://).
    quiet: no progress bars.
    profile: (first step, steps) to trace into workdir/profile.
    scans: the folder in which a scan of the training pictures is kept, for runs that share one;
      None: workdir.
    stopped: raised where a SIGTERM came before.

  Raises:
    UserError: a key out of range; pictures or weights that are not there; another run's folder, or
      one in which a training runs; no room; a loss that is not finite.
    KeyboardInterrupt: Ctrl-C was pressed; the state is saved.
  """
  files.require_workdir(workdir)
  with bucket.copied(workdir) as there:
    if there is None:
      return _train(config, workdir, quiet, profile, scans, stopped, None)
    outcome = _train(config, there.folder, quiet, profile, scans, stopped, there)
  return dataclasses.replace(outcome, workdir=os.fspath(workdir))


def _train(config, workdir, quiet, profile, scans, stopped, there: bucket.Copy | None) -> Outcome:
  """As `train`; the folder is the copy of one in a bucket, if there is one."""
  config = copy.deepcopy(configs.load(config) if isinstance(config, str) else config)
  kept = resume.keep_earlier(workdir, config)
  method = resolve.build(config)
  method.load_frozen()  # says what is missing before any picture is read
  if config.get("init_from") and not resume.has_begun(workdir):
    models.find(config.init_from)  # likewise
  data, steps = opening.open_data(
    config, workdir if scans is None else scans, not quiet, method.search_range
  )
  with config.unlocked():
    config.steps, config.epochs = steps, 0.0
  method = resolve.build(config)  # again: a schedule depends on the number of steps
  data.notes = [*kept, *data.notes]
  return loop.run_steps(config, method, data, workdir, quiet, profile, stopped, there)
