"""Every verb of the table: its module, its help, and examples that its own parser takes."""

import importlib
import shlex

import pytest

from scs_jax.cli import arguments
from scs_jax.cli import main as cli


def _commands(text: str) -> list[list[str]]:
  """The command lines among examples; comments and continuation marks taken out."""
  lines = text.replace("\\\n", " ").splitlines()
  words = [shlex.split(line, comments=True) for line in lines]
  return [line for line in words if line[:1] == ["scs-jax"]]


@pytest.mark.parametrize("name", cli.VERBS)
def test_help_shows_the_examples(name, capsys):
  module = importlib.import_module(cli.VERBS[name].module)
  assert cli.main([name, "--help"]) == 0
  shown = capsys.readouterr().out
  commands = _commands(module.EXAMPLES)
  assert commands and all(command[1] == name for command in commands)
  for line in module.EXAMPLES.strip().splitlines():
    assert line.strip() in shown
  assert cli.main(["help", name]) == 0
  assert capsys.readouterr().out == shown


@pytest.mark.parametrize("name", cli.VERBS)
def test_every_example_is_a_command_line_that_it_takes(name):
  verb = cli.VERBS[name]
  module = importlib.import_module(verb.module)
  commands = _commands(f"{verb.example}\n{module.EXAMPLES}")
  for command in commands:
    parser = arguments.make_parser(name, module.HELP, module.EXAMPLES)
    module.add_arguments(parser)
    args = arguments.parse(parser, command[2:])
    if hasattr(args, "config") and args.config and not args.config.endswith(".py"):
      arguments.load_config(args)
