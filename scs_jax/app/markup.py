"""Lines of the page as HTML: what is under way, what was refused, remarks."""

import html
from collections.abc import Sequence


def line(text: str, busy: bool = False) -> str:
  """Says how far something is; `busy`: and that it goes on."""
  return f'<p class="{"busy" if busy else "line"}" role="status">{html.escape(text)}</p>'


def refusal(sentence: str) -> str:
  """Says why something was not done."""
  return f'<p class="refusal" role="alert">{html.escape(_whole(sentence))}</p>'


def warning(sentence: str) -> str:
  """Says what may be wrong with a result."""
  return f'<p class="warning">{html.escape(_whole(sentence))}</p>'


def notes(lines: Sequence[str]) -> str:
  """Lists what somebody may want to know, folded away; nothing where there is nothing."""
  if not lines:
    return ""
  items = "".join(f"<li>{html.escape(line)}</li>" for line in lines)
  count = "1 remark" if len(lines) == 1 else f"{len(lines)} remarks"
  return f"<details><summary>{count}</summary><ul>{items}</ul></details>"


def _whole(sentence: str) -> str:
  """With a capital where it begins with a plain word, and a full stop."""
  first = sentence.partition(" ")[0]
  begun = sentence[:1].upper() + sentence[1:] if first.isalpha() else sentence
  return begun if begun.endswith((".", "!", "?")) else f"{begun}."
