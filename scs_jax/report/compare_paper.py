"""Rows of the papers' tables, as printed in papers.toml: facts to stand beside ours, never ours."""

import pathlib
import tomllib
from collections.abc import Mapping
from typing import NamedTuple


class Row(NamedTuple):
  """Holds a method's row.

  Attributes:
    part: "automatic" or "referential"; of pairs "first" or "second".
    name: as the paper calls it.
    values: {data set: (FID, CN)} or (PSNR, SSIM).
    parameters: millions; fps: pictures a second.
  """

  part: str
  name: str
  values: Mapping[str, tuple[float, float]]
  parameters: float | None = None
  fps: float | None = None


def _rows(table: Mapping) -> tuple[Row, ...]:
  """Reads the rows of one table of the file."""
  return tuple(
    Row(part, name, dict(zip(table["sets"], map(tuple, figures), strict=True)), *costs)
    for part, name, figures, *costs in table["rows"]
  )


def _pairs(table: Mapping, real: Mapping) -> tuple[Row, ...]:
  """Reads those of pairs: Table II joins second-time rows, Table III first-time ones."""
  more = {name: rest for name, *rest in real["rows"]}
  found = []
  for row in _rows(table):
    psnr, ssim, milliseconds = more[row.name]
    if row.part == "second":
      found.append(row._replace(values={**row.values, real["set"]: (psnr, ssim)}))
    else:
      found.append(row._replace(fps=1000 / milliseconds))
  return tuple(found)


_PRINTED = tomllib.loads(pathlib.Path(__file__).with_name("papers.toml").read_text("utf-8"))
SCSNET, CYCLE = (_PRINTED[table]["paper"] for table in ("scsnet_1", "pairs"))
HARDWARE = _PRINTED["scsnet_1"]["hardware"]
TABLE_1, TABLE_2 = _rows(_PRINTED["scsnet_1"]), _rows(_PRINTED["scsnet_2"])
REAL_CN = dict(zip(_PRINTED["scsnet_1"]["sets"], _PRINTED["scsnet_1"]["real_cn"], strict=True))
PAIRS = _pairs(_PRINTED["pairs"], _PRINTED["pairs_real"])


def sets_of(rows: tuple[Row, ...]) -> list[str]:
  """Lists the paper's data sets, in its order."""
  return list(dict.fromkeys(name for row in rows for name in row.values))


def find_set(name: str, rows: tuple[Row, ...]) -> str | None:
  """Finds the paper's data set that a name means, whatever its case and signs; None: another."""
  plain = lambda text: "".join(c for c in text.lower() if c.isalnum())
  known = {plain(s): s for s in sets_of(rows) if s != "Average"}
  return known.get(plain(name))
