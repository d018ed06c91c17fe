"""What the documents point at is there."""

import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCUMENTS = sorted(
  path
  for path in ROOT.rglob("*.md")
  if not {".venv", "runs", ".git", ".cache"} & set(path.relative_to(ROOT).parts)
)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_relative_links_lead_somewhere(path):
  links = re.findall(r"\]\(([^)#\s]+)", path.read_text(encoding="utf-8"))
  missing = [link for link in links if "://" not in link and not (path.parent / link).exists()]
  assert not missing
