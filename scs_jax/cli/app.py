"""`scs-jax app`: a page on this machine that colours photographs and shows training runs."""

from scs_jax.cli import arguments, quantities

HELP = """Serves a page for a browser on this machine, for people who use no command line:

  Photos         drop photographs, colour them alone or by a reference, at any magnification;
                 compare before and after, download one or all, names and metadata kept; click a
                 point to see where the network looked
  Pairs          a monochrome and a colour camera's picture: result, disparity, confidence, and
                 what is wrong with the pair
  Training runs  curves, held-out scores and panels of the runs below --runs, while they train

It needs Gradio (pip install -e '.[app]'). Nothing leaves the machine; what is uploaded is deleted
when its page is closed, and all of it at the end. Pictures are coloured one at a time, those of
several people in turn. Other machines reach it with --host and a password alone. Ctrl-C ends it."""

EXAMPLES = """
scs-jax app
scs-jax app --checkpoint runs/small runs/pairs --runs runs --port 8000
SCS_JAX_AUTH=anna:secret scs-jax app --host 0.0.0.0 --max-upload 20MB --max-pixels 3e7
"""


def add_arguments(parser) -> None:
  parser.add_argument(
    "--checkpoint",
    nargs="+",
    default=[],
    metavar="RUN",
    help=f"{arguments.TRAINED}; offered before the models that ship with the package",
  )
  parser.add_argument(
    "--runs",
    default="runs",
    metavar="DIR",
    help="show the training runs below this folder; default runs",
  )
  group = parser.add_argument_group("who reaches it")
  group.add_argument(
    "--port", type=quantities.port, metavar="N", help="default: the first free one from 7860 on"
  )
  group.add_argument(
    "--host",
    default="127.0.0.1",
    metavar="ADDRESS",
    help="listen at this address, 0.0.0.0 for all; default 127.0.0.1, this machine alone",
  )
  group.add_argument(
    "--auth",
    metavar="USER:PASSWORD",
    help="ask for it. The environment's SCS_JAX_AUTH does the same, and other users of the machine "
    "do not see it among the processes",
  )
  group = parser.add_argument_group("limits")
  group.add_argument(
    "--max-upload",
    type=quantities.memory,
    metavar="SIZE",
    help="of an uploaded file; default 100MiB",
  )
  group.add_argument(
    "--max-pixels",
    type=quantities.pixels,
    metavar="N",
    help="of a picture, and of a result; default 1e8",
  )
  group.add_argument(
    "--max-jobs",
    type=quantities.jobs,
    metavar="N",
    help="at work and waiting together; default 20",
  )
  group.add_argument(
    "--memory-limit",
    type=quantities.memory,
    metavar="SIZE",
    help="what to plan for, as of `scs-jax colorize`; default: 80 %% of what is free",
  )


def run(args) -> int:
  import contextlib
  import os
  import sys
  import threading

  from scs_jax.app import serving
  from scs_jax.core import stop
  from scs_jax.infer import display

  auth = args.auth if args.auth is not None else os.environ.get("SCS_JAX_AUTH") or None
  limits = {
    name: getattr(args, name)
    for name in ("max_upload", "max_pixels", "max_jobs", "memory_limit")
    if getattr(args, name) is not None
  }
  settings = serving.Settings(
    args.checkpoint, args.runs, args.host, args.port, auth and _pair(auth), **limits
  )
  told = contextlib.suppress(KeyboardInterrupt, SystemExit)
  with told, stop.exiting(0), serving.served(settings) as address:
    display.say(f"open {address} in a browser; Ctrl-C ends it")
    threading.Event().wait()
  # A thread may be at work in XLA, for minutes: nothing of it is to be kept.
  sys.stdout.flush()
  os._exit(0)


def _pair(auth: str) -> tuple[str, str]:
  """(user, password)."""
  from scs_jax.errors import UserError

  user, _, password = auth.partition(":")
  if not (user and password):
    raise UserError("--auth (or SCS_JAX_AUTH): expected USER:PASSWORD, as anna:secret")
  return user, password
