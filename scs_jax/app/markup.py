"""Lines of the page as HTML: what is under way, what was refused, remarks."""

import html
from collections.abc import Sequence


def line(text: str, busy: bool = False) -> str:
  """Says how far something is; `busy`: and that it goes on."""
  return f'<p class="{"busy" if busy else "line"}" role="status">{html.escape(text)}</p>'


def refusal(sentence: str) -> str:
  """Says why something was not done."""
  return f'<p class="refusal" role="alert">{html.escape(_whole(sentence))}</p>'


def said(lines: Sequence[str]) -> str:
  """Shows what the library says along the way: warnings at once, remarks folded away."""
  parts, remarks = [], []
  for one in lines:
    name, marked, rest = one.rpartition("warning: ")
    if marked:
      parts.append(warning(name + rest))
    else:
      remarks.append(f"<li>{html.escape(one)}</li>")
  if remarks:
    count = "1 remark" if len(remarks) == 1 else f"{len(remarks)} remarks"
    parts.append(f"<details><summary>{count}</summary><ul>{''.join(remarks)}</ul></details>")
  return "".join(parts)


def warning(sentence: str) -> str:
  """Says what may be wrong with a result."""
  return f'<p class="warning">{html.escape(_whole(sentence))}</p>'


def _whole(sentence: str) -> str:
  """With a capital where it begins with a plain word, and a full stop."""
  first = sentence.partition(" ")[0]
  begun = sentence[:1].upper() + sentence[1:] if first.isalpha() else sentence
  return begun if begun.endswith((".", "!", "?")) else f"{begun}."
