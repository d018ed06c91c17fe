"""The command line: verbs, flags, and what a user sees when something goes wrong."""

import errno
import os
import subprocess
import sys
import types

import pytest

from scs_jax.cli import arguments
from scs_jax.cli import main as cli
from scs_jax.core import compiled, config, heap
from scs_jax.errors import UserError


@pytest.fixture
def verb(monkeypatch):
  """A verb `fake` whose `run` the test sets."""
  module = types.ModuleType("fake_verb_of_test")
  module.HELP = "does nothing"
  module.EXAMPLES = "scs-jax fake --config common"

  def add_arguments(parser):
    arguments.add_config(parser, default="common")
    parser.add_argument("--workdir", default="runs")

  module.add_arguments = add_arguments
  module.run = lambda args: 0
  monkeypatch.setitem(sys.modules, module.__name__, module)
  monkeypatch.setitem(cli.VERBS, "fake", cli.Verb(module.__name__, "does nothing", "scs-jax fake"))
  return module


def _raiser(error):
  def run(args):
    raise error

  return run


def test_help_lists_verbs_and_examples_without_jax():
  code = (
    "import sys; from scs_jax.cli.main import main; code = main(['--help']);"
    "slow = {'jax', 'numpy', 'flax', 'ml_collections'} & set(sys.modules);"
    "sys.exit(code or bool(slow))"
  )
  done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
  assert done.returncode == 0, done.stderr
  for name, entry in cli.VERBS.items():
    assert f"\n  {name}" in done.stdout
    assert entry.example in done.stdout


def test_python_dash_m_is_the_same_command():
  done = subprocess.run(
    [sys.executable, "-m", "scs_jax", "trian"], capture_output=True, text=True, cwd=_root()
  )
  assert done.returncode == 2
  assert done.stderr == "scs-jax: error: unknown verb 'trian'; did you mean train?\n"


def _root() -> str:
  return os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def test_no_verb_shows_the_help_and_fails(capsys):
  assert cli.main([]) == 2
  assert "verbs:" in capsys.readouterr().err


def test_version_names_what_a_report_needs(capsys):
  assert cli.main(["--version"]) == 0
  line = capsys.readouterr().out
  assert "scs_jax 0" in line and ", jax 0." in line and f"python {sys.version_info[0]}." in line


def test_overrides_reach_the_config(verb):
  seen = []
  verb.run = lambda args: seen.append((args.workdir, arguments.load_config(args))) or 0
  keys = ["--config.seed=3", "--config.log.every_steps", "7"]
  assert cli.main(["fake", "--workdir", "w", *keys, "--config", "common"]) == 0
  workdir, loaded = seen[0]
  changed = config.difference(config.load("common"), loaded)
  assert (workdir, changed) == ("w", [("log.every_steps", 50, 7), ("seed", 0, 3)])


@pytest.mark.parametrize(
  ("argv", "part"),
  [
    (["fake", "--workdri", "x"], "unknown flag --workdri; did you mean --workdir?"),
    (["fake", "--workdri=x"], "unknown flag --workdri; did you mean --workdir?"),
    (["fake", "--zzzz"], "unknown flag --zzzz; see `scs-jax fake --help`"),
    (["fake", "--work", "x"], "did you mean --workdir?"),  # no abbreviations
    (["fake", "stray"], "unexpected argument 'stray'"),
    (["fake", "--workdir"], "expected one argument"),
    (["fake", "--config.seed"], "--config.seed: expected a value"),
    (["fake", "--config.seed", "--workdir", "x"], "--config.seed: expected a value"),
    (["fake", "--config", "comon"], "no config is called 'comon'"),
    (["fake", "--config.sed=1"], "did you mean --config.seed?"),
    (["--workdir", "x"], "unknown flag '--workdir'"),
    (["fake", "--workdir", "gs://b/x"], "gs://b/x is in a bucket"),
    (["fakee"], "did you mean fake?"),
  ],
)
def test_a_wrong_command_line_is_one_line_and_two(verb, capsys, argv, part):
  verb.run = lambda args: arguments.load_config(args) and 0
  assert cli.main(argv) == 2
  err = capsys.readouterr().err
  assert err.startswith("scs-jax: error: ") and err.count("\n") == 1
  assert part in err


def test_config_keys_for_a_verb_without_config():
  parser = arguments.make_parser("bare", "text", "scs-jax bare")
  with pytest.raises(UserError, match="takes no config"):
    arguments.parse(parser, ["--config.seed=1"])


@pytest.mark.parametrize(
  ("error", "parts"),
  [
    (UserError("expected a,\n got b"), ["expected a, got b"]),
    (OSError(errno.ENOSPC, "x", "/out/f"), ["disk is full: /out/f", "free some space"]),
    (OSError(errno.EDQUOT, "x"), ["quota"]),
    (OSError(errno.EACCES, "x", "/out"), ["no permission: /out"]),
    (PermissionError("may not"), ["no permission (may not)"]),
    (OSError(errno.EROFS, "x", "/out"), ["read-only file system: /out"]),
    (OSError(errno.ENOENT, "x", "/in"), ["no such file or folder: /in", "check the path"]),
    (FileNotFoundError("nothing at /in"), ["no such file or folder (nothing at /in)"]),
    (ValueError("write failed: No space left on device"), ["disk is full"]),
    (RuntimeError("RESOURCE_EXHAUSTED: Out of memory"), ["out of memory", "batch_size"]),
  ],
)
def test_what_a_user_can_mend_is_one_line(verb, capsys, error, parts):
  verb.run = _raiser(error)
  assert cli.main(["fake"]) == 2
  err = capsys.readouterr().err
  assert err.startswith("scs-jax: error: ") and err.count("\n") == 1
  for part in parts:
    assert part in err
  for argv in (["fake", "--debug"], ["--debug", "fake"]):
    assert cli.main(argv) == 2
    err = capsys.readouterr().err
    assert "Traceback" in err and err.splitlines()[-1].startswith("scs-jax: error: ")


def test_a_full_disk_behind_another_error_is_found(verb, capsys):
  def run(args):
    try:
      raise OSError(errno.ENOSPC, "x", "/ckpt")
    except OSError as err:
      raise RuntimeError("saving failed") from err

  verb.run = run
  assert cli.main(["fake"]) == 2
  assert "disk is full: /ckpt" in capsys.readouterr().err


@pytest.mark.parametrize("error", [ZeroDivisionError("x"), OSError(errno.ECONNREFUSED, "no")])
def test_a_bug_shows_its_traceback_and_asks_for_a_report(verb, capsys, error):
  verb.run = _raiser(error)
  assert cli.main(["fake"]) == 1
  err = capsys.readouterr().err
  assert "Traceback" in err and "please report" in err and "jax 0." in err


def test_an_interrupt_is_130_and_a_verb_its_own_code(verb, capsys):
  verb.run = _raiser(KeyboardInterrupt())
  assert cli.main(["fake"]) == 130
  assert "Traceback" not in capsys.readouterr().err
  verb.run = lambda args: 1
  assert cli.main(["fake"]) == 1


@pytest.mark.skipif(os.name != "posix", reason="pipes")
def test_a_reader_that_goes_away_is_no_error():
  code = (
    "import sys, types; from scs_jax.cli import main as cli;"
    "m = types.ModuleType('loud'); m.HELP = m.EXAMPLES = 'x';"
    "m.add_arguments = lambda p: None;"
    "m.run = lambda a: [print('y' * 1000) for _ in range(10000)] and 0;"
    "sys.modules['loud'] = m; cli.VERBS['loud'] = cli.Verb('loud', 'x', 'x');"
    "sys.exit(cli.main(['loud']))"
  )
  with subprocess.Popen(
    [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
  ) as process:
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == b""
  assert process.returncode == 141


def test_a_broken_pipe_elsewhere_is_a_bug(verb, capsys):
  verb.run = _raiser(BrokenPipeError(errno.EPIPE, "worker died"))
  assert cli.main(["fake"]) == 1
  assert "please report" in capsys.readouterr().err


_SLOW_TO_COMPILE = """
import time
import jax, jax.numpy as jnp
add = lambda: jax.lax.reduce_window(jnp.ones(3000), 0.0, jax.lax.add, (1001,), (1,), "SAME")
lowered, started = jax.jit(add).lower(), time.monotonic()
lowered.compile()
print(time.monotonic() - started)
"""


@pytest.mark.parametrize(("command", "quiet"), [("--version", True), ("--debug --version", False)])
def test_what_xla_says_to_those_who_develop_it_is_left_out(command, quiet):
  """The alarm is that of "Very slow compile?", which comes after two minutes, and this soon."""
  code = f"from scs_jax.cli.main import main; main({command.split()!r})\n{_SLOW_TO_COMPILE}"
  unset = ("TF_CPP_MIN_LOG_LEVEL", "JAX_COMPILATION_CACHE_DIR")
  environment = {k: v for k, v in os.environ.items() if k not in unset} | {"JAX_PLATFORMS": "cpu"}
  done = subprocess.run(
    [sys.executable, "-c", code], env=environment, capture_output=True, text=True
  )
  assert done.returncode == 0
  if not quiet and float(done.stdout.split()[-1]) < 2:  # as with jaxlib 0.12
    pytest.skip("XLA is done before it would raise its alarm")
  assert ("slow_operation_alarm" not in done.stderr) == quiet


def test_verbs_that_run_networks_keep_compiled_programs(verb, monkeypatch):
  kept = []
  monkeypatch.setattr(compiled, "keep", kept.append)
  assert cli.main(["fake"]) == 0
  assert kept == []
  monkeypatch.setitem(cli.VERBS, "fake", cli.VERBS["fake"]._replace(compiles=True))
  assert cli.main(["fake"]) == cli.main(["fake", "--no-compile-cache"]) == 0
  assert kept == [True, False]


def test_a_process_of_its_own_keeps_freed_memory_and_a_callers_does_not(verb, monkeypatch):
  kept = []
  monkeypatch.setattr(heap, "keep_freed", lambda: kept.append(True))
  cli.main(["fake"])
  assert not kept
  monkeypatch.setattr(sys, "argv", ["scs-jax", "fake"])
  cli.main()
  assert kept
