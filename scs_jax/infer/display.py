"""Lines and progress of a job, in a terminal or in a log file, whatever file names hold."""

import sys
from collections.abc import Sequence

import tqdm

_LOG_SECONDS = 10.0  # between lines of progress in a log file


def say(line: str) -> None:
  """Prints a line on stdout above the progress bar, also where the terminal lacks its letters."""
  encoding = sys.stdout.encoding or "utf-8"
  text = printable(line).encode(encoding, "backslashreplace").decode(encoding)
  if sys.stderr.isatty():
    tqdm.tqdm.write(text)
  else:  # which would write the bar again with every line
    print(text, flush=True)


def printable(text: str) -> str:
  """Returns the text with control characters and what is no letter at all written as escapes."""
  return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def complain(text: str) -> None:
  """Prints text to stderr, above the progress bar."""
  tqdm.tqdm.write(text, file=sys.stderr)


def list_broken(title: str, broken: Sequence[tuple[str, str]]) -> None:
  """Prints a count and (name, cause) pairs to stderr; nothing where there are none."""
  if broken:
    print(f"{title}: {len(broken)}", file=sys.stderr)
  for name, cause in broken:
    print(f"  {printable(f'{name}: {cause}')}", file=sys.stderr)


def bar(*items, **how) -> tqdm.tqdm:
  """Makes tqdm's bar on stderr; where that is no terminal, a line now and then."""
  if not sys.stderr.isatty():
    how |= {"file": _Lines(), "mininterval": _LOG_SECONDS, "delay": _LOG_SECONDS}
  return tqdm.tqdm(*items, **how)


class _Lines:
  """stderr that is a file: each state of a bar on a line of its own, not over the one before."""

  def write(self, text: str) -> None:
    if text := text.strip("\r\n "):
      print(text, file=sys.stderr)

  def flush(self) -> None:
    sys.stderr.flush()
