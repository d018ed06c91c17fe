"""The command `scs-jax`: finds the verb, runs it, and turns what a user can mend into one line.

Exit codes: 0 done; 1 a bug, with traceback, or a check that found something; 2 something the user
can mend; 130 interrupted; 141 the reader of our output went away (`scs-jax params | head`).
"""

import importlib
import os
import platform
import sys
import traceback
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import scs_jax
from scs_jax.cli import arguments
from scs_jax.core import compiled, failures, heap, spelling
from scs_jax.errors import UserError


class Verb(NamedTuple):
  """A verb's module, imported only when it is asked for.

  It has HELP, EXAMPLES, add_arguments and run; or HELP and a table VERBS of verbs of its own.
  `compiles`: it runs networks, so it keeps their compiled programs for the next time.
  """

  module: str
  summary: str
  example: str
  compiles: bool = False


VERBS = {
  "demo": Verb(
    "scs_jax.cli.demo",
    "show the shipped models on bundled pictures, in a report; or train one from nothing",
    "scs-jax demo",
    compiles=True,
  ),
  "train": Verb(
    "scs_jax.cli.train",
    "train a method; goes on by itself where an earlier run stopped",
    "scs-jax train --config scsnet/small --workdir runs/small",
    compiles=True,
  ),
  "colorize": Verb(
    "scs_jax.cli.colorize",
    "colour pictures, folders of them and videos with a trained network",
    "scs-jax colorize photos --out colored --checkpoint runs/small",
    compiles=True,
  ),
  "app": Verb(
    "scs_jax.cli.app",
    "a page on this machine for photographs, pairs of cameras and training runs",
    "scs-jax app",
    compiles=True,
  ),
  "evaluate": Verb(
    "scs_jax.cli.evaluate",
    "measure a trained model on pictures, beside baselines, with intervals and a report",
    "scs-jax evaluate --checkpoint runs/small",
    compiles=True,
  ),
  "ablate": Verb(
    "scs_jax.cli.ablate",
    "train the rows of a paper's ablation table and set them beside its figures",
    "scs-jax ablate scsnet.components --steps 600",
    compiles=True,
  ),
  "compare": Verb(
    "scs_jax.cli.compare",
    "several methods, cascades and others' pictures in the papers' tables, and one report",
    "scs-jax compare --runs runs/scsnet runs/smsanet --data photos",
    compiles=True,
  ),
  "study": Verb(
    "scs_jax.cli.study",
    "ask people which pictures look right: draw a study, serve its page, report the votes",
    "scs-jax study serve study",
  ),
  "visualize": Verb(
    "scs_jax.cli.visualize",
    "figures of what a trained network does: attention, magnifications, confidence",
    "scs-jax visualize attention gray.jpg --reference color.jpg --checkpoint runs/scsnet",
  ),
  "params": Verb(
    "scs_jax.cli.params",
    "print the parameter counts of a config beside the paper's",
    "scs-jax params --config scsnet/paper",
  ),
  "plan": Verb(
    "scs_jax.cli.plan",
    "what training takes on a machine that need not be there: memory, time, traffic",
    "scs-jax plan --config scsnet/paper --topology v5e:4x4",
  ),
  "convert": Verb(
    "scs_jax.cli.convert",
    "turn published weights into a model to colour with, or to start a training from",
    "scs-jax convert zhang2017 siggraph17-df00044c.pth zhang2017.safetensors",
  ),
  "models": Verb(
    "scs_jax.cli.models",
    "list the models that ship with the package, or show one's card",
    "scs-jax models",
  ),
  "export": Verb(
    "scs_jax.cli.export",
    "write a trained network as one file, for use alone",
    "scs-jax export runs/small small.safetensors",
  ),
  "data": Verb(
    "scs_jax.cli.data",
    "look at data, and prepare it, before a training does",
    "scs-jax data check-stereo pairs --search-range 64",
  ),
}

# Verbs whose results can go into a bucket.
_INTO_BUCKETS = (
  "train", "data ", "ablate", "colorize", "evaluate", "compare", "plan", "visualize "
)  # fmt: skip

_ABOUT = "Image colorization and super-resolution in JAX, after four papers."


def overview(
  command: str = "scs-jax", about: str = _ABOUT, verbs: Mapping[str, Verb] = VERBS
) -> str:
  """Writes the text of `scs-jax --help`, or of `scs-jax VERB --help` for a verb that has verbs."""
  width = max(map(len, verbs))
  lines = [
    f"usage: {command} VERB [flags]",
    "",
    about,
    "",
    "verbs:",
    *(f"  {name:<{width}}  {verb.summary}" for name, verb in verbs.items()),
    "",
    "examples:",
    *(f"  {verb.example}" for verb in verbs.values()),
    "",
    f"`{command} VERB --help` lists a verb's flags, with more examples.",
    "`--debug` adds a traceback to every error; `--version` prints the versions in use.",
  ]
  return "\n".join(lines)


def versions() -> str:
  """Returns one line with the versions that a bug report needs; imports none of them."""
  from importlib import metadata

  found = [f"scs_jax {scs_jax.__version__}", f"python {platform.python_version()}"]
  for name in ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy"):
    try:
      found.append(f"{name} {metadata.version(name)}")
    except metadata.PackageNotFoundError:
      found.append(f"{name} missing")
  return ", ".join(found)


def _run_verb(argv: Sequence[str]) -> int:
  """Reads `VERB [flags]` and runs it; returns its exit code."""
  command, about, verbs = "scs-jax", _ABOUT, VERBS
  while True:
    before = [argument for argument in argv[:1] if argument == "--debug"]
    argv = [*argv[len(before) :], *before]  # `scs-jax --debug train` is `scs-jax train --debug`
    first, rest = (argv[0], argv[1:]) if argv and argv != before else ("", [])
    if first in ("-h", "--help") or (first == "help" and not rest):
      print(overview(command, about, verbs))
      return 0
    if first == "--version":
      print(versions())
      return 0
    if first == "help":
      argv = [*rest, "--help"]
      continue
    if not first:
      print(overview(command, about, verbs), file=sys.stderr)
      return 2
    if first not in verbs:
      kind = "flag" if first.startswith("-") else "verb"
      raise UserError(f"unknown {kind} {first!r}; {spelling.hint(first, verbs)}")
    module = importlib.import_module(verbs[first].module)
    if not hasattr(module, "VERBS"):
      break
    command, about, verbs, argv = f"{command} {first}", module.HELP, module.VERBS, rest
  verb = f"{command} {first}".removeprefix("scs-jax ")
  parser = arguments.make_parser(verb, module.HELP, module.EXAMPLES)
  if verbs[first].compiles:
    arguments.add_no_compile_cache(parser)
  module.add_arguments(parser)
  args = arguments.parse(parser, rest)
  if verbs[first].compiles:
    compiled.keep(not args.no_compile_cache)
  if not verb.startswith(_INTO_BUCKETS):
    arguments.require_local(args)
  return module.run(args)


def main(argv: Sequence[str] | None = None) -> int:
  """Runs the command line `argv` (default: the process's own); returns the exit code."""
  if argv is None:
    heap.keep_freed()  # of a process that is all ours
  argv = list(sys.argv[1:] if argv is None else argv)
  debug = "--debug" in argv
  if not debug:
    # Read when jax is first imported. XLA's warnings are for those who develop it: "Very slow
    # compile? If you want to file a bug, ..." is a matter of course here. What fails raises.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
  try:
    try:
      code = _run_verb(argv)
    except SystemExit as err:  # argparse, after --help
      code = err.code if isinstance(err.code, int) else int(err.code is not None)
    sys.stdout.flush()  # a reader that went away is noticed here, not by the interpreter's exit
    return code
  except KeyboardInterrupt:
    print("scs-jax: interrupted", file=sys.stderr)
    return 130
  except Exception as err:
    if isinstance(err, BrokenPipeError) and failures.output_is_gone():
      # What is left in the buffer would fail again at exit.
      os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
      return 141
    message = failures.explain(err)
    if debug or message is None:
      traceback.print_exc()
    if message is not None:
      print(f"scs-jax: error: {message}", file=sys.stderr)
      return 2
    print(
      f"scs-jax: this is a bug ({type(err).__name__}); please report it with the lines above, "
      f"the command, and these versions: {versions()}",
      file=sys.stderr,
    )
    return 1


if __name__ == "__main__":
  sys.exit(main())
