"""Command-line arguments: one parser for every verb, `--config NAME` and `--config.KEY=VALUE`."""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from scs_jax.cli import quantities, several
from scs_jax.core import spelling
from scs_jax.errors import UserError

if TYPE_CHECKING:  # ml_collections is slow to import, and --help needs none of it
  from ml_collections import ConfigDict

_OVERRIDE = "--config."

TRAINED = (
  "a trained network: a run's folder, one checkpoint in it or a model's file, here or in a bucket "
  "(gs://, s3://), or its name"
)
"""Of every flag that takes one; training.models finds it."""


class Parser(argparse.ArgumentParser):
  """A parser whose errors are UserErrors, and which takes no abbreviated flags."""

  def __init__(self, **kwargs):
    kwargs.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
    super().__init__(allow_abbrev=False, **kwargs)

  def error(self, message: str) -> NoReturn:
    raise UserError(f"{message} (see `{self.prog} --help`)")


def make_parser(verb: str, help_text: str, examples: str) -> Parser:
  """Makes the parser of one verb; its help ends in the examples."""
  lines = "\n".join("  " + line.strip() for line in examples.strip().splitlines())
  parser = Parser(prog=f"scs-jax {verb}", description=help_text, epilog=f"examples:\n{lines}")
  parser.add_argument("--debug", action="store_true", help="show a traceback with every error")
  return parser


def add_checkpoint(parser: argparse.ArgumentParser, of: str = "") -> None:
  """Adds `--checkpoint`, which must be given, and `--step`; `of`: what it must be of."""
  parser.add_argument("--checkpoint", required=True, metavar="RUN", help=TRAINED + of)
  add_step(parser)


def add_step(parser: argparse.ArgumentParser) -> None:
  """Adds `--step`."""
  parser.add_argument("--step", type=quantities.step, metavar="N|best|last",
                      help="which checkpoint of the run; default best")  # fmt: skip


def add_no_compile_cache(parser: argparse.ArgumentParser) -> None:
  """Adds `--no-compile-cache`, of the verbs that run networks."""
  parser.add_argument(
    "--no-compile-cache",
    action="store_true",
    help="keep no compiled programs in your cache folder, and use none from there (what "
    "SCS_JAX_CACHE=off does for all commands; SCS_JAX_CACHE=DIR puts them elsewhere)",
  )


def add_quiet(parser: argparse.ArgumentParser) -> None:
  """Adds `--quiet`."""
  parser.add_argument("--quiet", action="store_true", help="no progress bar")


def add_threads(parser: argparse.ArgumentParser) -> None:
  """Adds `--threads` and `--quiet`, of the verbs that read a data set."""
  parser.add_argument(
    "--threads", type=quantities.count, metavar="N", help="readers at once; default: one a core"
  )
  add_quiet(parser)


def values(args: argparse.Namespace, *without: str) -> dict[str, Any]:
  """Returns the values of a verb's own flags by name, as its library function takes them."""
  left_out = {"debug", "no_compile_cache", "overrides", "argv", *several.FLAGS, *without}
  return {name: value for name, value in vars(args).items() if name not in left_out}


def add_lpips(parser: argparse.ArgumentParser) -> None:
  """Adds `--lpips-weights`, of the verbs that measure."""
  parser.add_argument(
    "--lpips-weights",
    nargs="+",
    metavar="FILE",
    help="AlexNet or VGG16 and the linear heads of LPIPS, as two files or one of both; without: no "
    "LPIPS",
  )


def add_truth(parser: argparse.ArgumentParser) -> None:
  """Adds `--truth`, of the verbs that measure pairs."""
  parser.add_argument(
    "--truth",
    choices=("own", "warped"),
    help="of pairs: the monochrome view's own colours as it was published (own, the default); or, "
    "of views in other light or at another exposure, the colour view's, carried over by its known "
    "disparities, first-time figures being over the pixels that both views see (warped); no "
    "cameras are simulated then",
  )


def add_config(parser: argparse.ArgumentParser, default: str | None = None) -> None:
  """Adds `--config NAME` (required unless there is a default) and says how to change its keys."""
  what = "a config's name (scsnet/small) or a .py file with get_config()"
  parser.add_argument(
    "--config",
    metavar="NAME",
    default=default,
    required=default is None,
    help=f"{what}; default {default}" if default else what,
  )
  note = parser.add_argument_group(
    "config keys",
    "--config.KEY=VALUE sets one key, as --config.optimizer.learning_rate=3e-4; may be repeated",
  )
  # Never parsed: `split_overrides` takes these out first. Kept so that the group is shown.
  note.add_argument("--config.KEY", default=argparse.SUPPRESS, metavar="VALUE", help="(any key)")


def split_overrides(argv: Sequence[str]) -> tuple[list[str], list[str]]:
  """Takes `--config.a.b=3` and `--config.a.b 3` out: (the other arguments, ["a.b=3", ...]).

  Raises:
    UserError: a `--config.KEY` without a value.
  """
  rest: list[str] = []
  overrides: list[str] = []
  pending = iter(argv)
  for argument in pending:
    if argument == "--":
      rest += [argument, *pending]
    elif not argument.startswith(_OVERRIDE):
      rest.append(argument)
    elif "=" in argument:
      overrides.append(argument.removeprefix(_OVERRIDE))
    else:
      value = next(pending, None)
      if value is None or value.startswith("--"):
        raise UserError(f"{argument}: expected a value; write {argument}=VALUE")
      overrides.append(f"{argument.removeprefix(_OVERRIDE)}={value}")
  return rest, overrides


def parse(parser: argparse.ArgumentParser, argv: Sequence[str]) -> argparse.Namespace:
  """Parses the arguments; adds `overrides` for `config.apply_overrides`, and `argv` itself.

  Raises:
    UserError: an unknown flag (names the nearest), a missing or wrong value, or `--config.KEY` for
      a verb that takes no config.
  """
  rest, overrides = split_overrides(argv)
  args, unknown = parser.parse_known_args(rest)
  if unknown:
    known = [flag for action in parser._actions for flag in action.option_strings]
    flag = unknown[0].partition("=")[0]
    if flag.startswith("-"):
      near = spelling.nearest(flag, known)
      advice = f"did you mean {near[0]}?" if near else f"see `{parser.prog} --help`"
      raise UserError(f"unknown flag {flag}; {advice}")
    raise UserError(f"unexpected argument {unknown[0]!r}; see `{parser.prog} --help`")
  if overrides and not hasattr(args, "config"):
    key = overrides[0].partition("=")[0]
    raise UserError(f"--config.{key}: `{parser.prog}` takes no config")
  args.overrides, args.argv = overrides, list(argv)
  return args


def require_local(args: argparse.Namespace) -> None:
  """Refuses addresses in a bucket where a verb writes, which would become names of folders here.

  Raises:
    UserError: there is one.
  """
  for name in ("out", "inputs_out", "workdir"):
    value = getattr(args, name, None)
    if value is not None and "://" in value:
      raise UserError(
        f"{value} is in a bucket, where this verb cannot write; give a local path"
      )


def load_config(args: argparse.Namespace) -> "ConfigDict":
  """Loads the locked config of `--config`, changed by `--config.KEY=VALUE`.

  Ranges are checked by `resolve.build`, which knows the method's too.
  """
  from scs_jax.core import config

  return config.apply_overrides(config.load(args.config), args.overrides)
