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


def _leaves(verbs=cli.VERBS, path: str = "") -> dict[str, cli.Verb]:
  """Every verb that runs, by its words: "train", "data check-stereo"."""
  found = {}
  for name, verb in verbs.items():
    own = getattr(importlib.import_module(verb.module), "VERBS", None)
    found |= {path + name: verb} if own is None else _leaves(own, f"{path}{name} ")
  return found


_LEAVES = _leaves()
_GROUPS = [name for name in cli.VERBS if name not in _LEAVES]


@pytest.mark.parametrize("name", _LEAVES)
def test_help_shows_the_examples(name, capsys):
  module, words = importlib.import_module(_LEAVES[name].module), name.split()
  assert cli.main([*words, "--help"]) == 0
  shown = capsys.readouterr().out
  commands = _commands(module.EXAMPLES)
  assert commands and all(command[1 : 1 + len(words)] == words for command in commands)
  for line in module.EXAMPLES.strip().splitlines():
    assert line.strip() in shown
  assert cli.main(["help", *words]) == 0
  assert capsys.readouterr().out == shown


@pytest.mark.parametrize("name", _GROUPS)
def test_help_of_a_group_lists_its_verbs(name, capsys):
  module = importlib.import_module(cli.VERBS[name].module)
  assert cli.main([name, "--help"]) == 0
  shown = capsys.readouterr().out
  assert module.HELP in shown and f"usage: scs-jax {name} VERB" in shown
  for verb, entry in module.VERBS.items():
    assert f"\n  {verb}" in shown and entry.summary in shown and entry.example in shown
  assert cli.main(["help", name]) == 0
  assert capsys.readouterr().out == shown
  assert cli.main([name]) == 2  # nothing asked for


@pytest.mark.parametrize("name", _GROUPS)
def test_the_example_of_a_group_is_one_of_its_verbs(name):
  verbs = importlib.import_module(cli.VERBS[name].module).VERBS
  assert cli.VERBS[name].example in [verb.example for verb in verbs.values()]


@pytest.mark.parametrize("name", _LEAVES)
def test_every_example_is_a_command_line_that_it_takes(name):
  verb, words = _LEAVES[name], name.split()
  module = importlib.import_module(verb.module)
  commands = _commands(f"{verb.example}\n{module.EXAMPLES}")
  for command in commands:
    assert command[1 : 1 + len(words)] == words
    parser = arguments.make_parser(name, module.HELP, module.EXAMPLES)
    module.add_arguments(parser)
    args = arguments.parse(parser, command[1 + len(words) :])
    if hasattr(args, "config") and args.config and not args.config.endswith(".py"):
      arguments.load_config(args)
