"""Rows of the papers' tables, as printed: facts to stand beside ours, never ours."""

from collections.abc import Mapping
from typing import NamedTuple


class Row(NamedTuple):
  """A method's row.

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


SCSNET = "Zhang et al., SCSNet"
HARDWARE = "V100, batch 1"

_SETS_1 = ("ImageNet-C", "CelebA-HQ", "Flowers", "Bird", "COCO", "Average")
_TABLE_1 = """
automatic|AutoColor + ESRGAN|31.725 3.390 25.637 3.488 64.107 3.210 42.956 3.190 38.904 3.417 40.666 3.339|25.432 16.910
automatic|DRemaster + ESRGAN|33.908 2.998 34.775 3.054 74.601 2.678 45.505 2.833 37.249 3.078 45.208 2.928|65.516 9.217
automatic|InstColor + ESRGAN|26.353 3.588 31.109 3.306 48.425 3.510 36.212 3.435 24.954 3.635 33.411 3.495|66.990 5.541
automatic|AutoColor + DRN|31.666 3.389 26.083 3.489 63.891 3.210 43.034 3.189 39.208 3.417 40.776 3.339|18.560 10.781
automatic|DRemaster + DRN|33.993 2.996 34.842 3.054 74.356 2.678 45.742 2.832 37.397 3.076 45.266 2.927|58.644 7.037
automatic|InstColor + DRN|26.501 3.588 31.389 3.307 48.475 3.511 36.378 3.436 25.153 3.635 33.579 3.495|60.118 4.671
automatic|SCSNet (Ours-Auto)|25.992 4.688 27.809 3.892 46.607 4.724 34.401 4.334 24.047 4.573 31.771 4.442|9.954 33.293
referential|DRemaster + DRN|25.498 3.990 29.702 3.426 41.506 4.311 31.843 3.505 35.267 3.722 32.763 3.791|73.987 6.311
referential|DEVC + DRN|26.050 4.288 49.126 3.570 39.426 4.516 42.444 3.700 36.702 3.938 38.750 4.002|69.570 7.435
referential|ColTran|15.860 4.692 10.405 4.215 21.595 5.003 18.580 4.529 18.391 4.679 16.966 4.624|70.697 0.209
referential|SCSNet (Ours-Ref)|9.632 5.288 12.771 4.388 9.776 5.743 13.526 4.822 13.812 4.974 11.903 5.043|15.358 27.466
"""  # noqa: E501
# CN of the real test sets, in the order of _SETS_1.
REAL_CN = dict(zip(_SETS_1, (5.522, 4.344, 5.783, 5.006, 5.222, 5.175), strict=True))

_SETS_2 = ("ImageNet-C", "CelebA-HQ", "COCO")
_TABLE_2 = """
automatic|DRemaster + DRN|19.343 0.811 25.559 0.915 21.039 0.845|
automatic|InstColor + DRN|22.126 0.842 26.523 0.923 22.917 0.856|
automatic|SCSNet (Ours-Auto)|22.807 0.856 27.160 0.917 23.341 0.872|
referential|ColTran|20.734 0.845 24.495 0.914 22.787 0.857|
referential|DRemaster + DRN|24.671 0.871 28.582 0.928 26.663 0.901|
referential|SCSNet (Ours-Ref)|27.694 0.923 30.741 0.950 28.197 0.931|
"""

CYCLE = "Dong et al., Cycle CNN"
# Tables IV (PSNR) and V (SSIM), of the synthesized sets.
_SETS_PAIRS = ("Cityscapes", "Middlebury", "Sintel", "SceneFlow")
_TABLE_4_5 = """
first|Xu|38.83 0.899 33.52 0.942 37.96 0.923 33.62 0.898|
first|Lu|39.78 0.969 29.81 0.895 38.16 0.948 39.08 0.954|
first|Lee|30.58 0.870 23.74 0.830 27.10 0.777 29.05 0.807|
first|Furusawa|35.21 0.843 31.13 0.861 32.43 0.795 28.62 0.798|
first|He18|39.17 0.953 35.81 0.950 36.72 0.949 32.81 0.924|
first|He19|39.53 0.955 36.72 0.957 36.37 0.955 32.46 0.927|
first|Zhao|31.92 0.965 23.92 0.878 27.24 0.867 28.93 0.894|
first|Su|31.75 0.957 23.64 0.883 29.33 0.905 35.60 0.944|
first|Yoo|24.74 0.902 23.43 0.867 26.79 0.846 29.50 0.898|
first|Xiao|38.10 0.971 27.55 0.891 31.08 0.912 32.15 0.909|
first|Jeon|39.33 0.953 36.80 0.958 36.12 0.943 31.32 0.927|
first|Dong|44.87 0.987 42.53 0.988 44.46 0.988 45.71 0.992|
first|Cycle CNN (Ours)|45.22 0.983 42.30 0.983 43.95 0.984 45.50 0.989|
second|Xu|39.51 0.905 36.06 0.949 38.48 0.927 33.41 0.906|
second|Lu|39.22 0.962 29.93 0.891 38.45 0.947 38.93 0.951|
second|Lee|29.05 0.826 23.94 0.805 27.07 0.776 28.69 0.789|
second|Furusawa|34.42 0.852 31.13 0.873 31.73 0.793 28.13 0.805|
second|He18|40.36 0.965 36.51 0.957 37.93 0.973 33.26 0.929|
second|He19|40.62 0.962 36.59 0.957 37.48 0.963 33.15 0.931|
second|Zhao|30.82 0.961 23.21 0.867 26.86 0.861 28.31 0.891|
second|Su|29.14 0.948 23.76 0.874 28.64 0.900 27.51 0.904|
second|Yoo|29.91 0.960 29.02 0.873 29.31 0.856 34.18 0.890|
second|Xiao|38.12 0.966 27.66 0.886 31.09 0.910 31.98 0.907|
second|Jeon|40.54 0.953 36.11 0.950 37.39 0.959 31.79 0.928|
second|Dong|44.55 0.986 42.18 0.986 44.05 0.990 45.15 0.989|
second|Cycle CNN (Ours)|45.26 0.987 42.35 0.984 43.94 0.988 45.67 0.992|
"""
# Table II, and Table III: milliseconds of a pair of 512 x 400 pixels.
_REAL = """
Xu|32.41 0.8961|304
Lu|33.67 0.9135|3274
Lee|23.62 0.8225|239
Furusawa|25.53 0.8521|2361
He18|33.68 0.8986|713
He19|34.02 0.9042|34836
Zhao|33.28 0.9106|3141
Su|34.12 0.9204|977
Yoo|35.80 0.9193|3147
Xiao|27.99 0.8455|24087
Jeon|34.44 0.9067|23861
Dong|31.25 0.8741|112
Cycle CNN (Ours)|42.99 0.9707|251
"""


def _read(text: str, sets: tuple[str, ...]) -> tuple[Row, ...]:
  rows = []
  for line in text.strip().splitlines():
    part, name, figures, rest = line.split("|")
    pairs = [float(x) for x in figures.split()]
    values = dict(zip(sets, zip(pairs[::2], pairs[1::2], strict=True), strict=True))
    rows.append(Row(part, name, values, *map(float, rest.split())))
  return tuple(rows)


def _with_real(rows: tuple[Row, ...]) -> tuple[Row, ...]:
  """Adds Table II to the second-time rows and Table III to the first-time ones."""
  real = dict(line.split("|", 1) for line in _REAL.strip().splitlines())
  found = []
  for row in rows:
    figures, milliseconds = real[row.name].split("|")
    psnr, ssim = map(float, figures.split())
    if row.part == "second":
      found.append(row._replace(values={**row.values, "Real Dataset": (psnr, ssim)}))
    else:
      found.append(row._replace(fps=1000 / float(milliseconds)))
  return tuple(found)


TABLE_1 = _read(_TABLE_1, _SETS_1)
TABLE_2 = _read(_TABLE_2, _SETS_2)
PAIRS = _with_real(_read(_TABLE_4_5, _SETS_PAIRS))


def sets_of(rows: tuple[Row, ...]) -> list[str]:
  """The paper's data sets, in its order."""
  return list(dict.fromkeys(name for row in rows for name in row.values))


def find_set(name: str, rows: tuple[Row, ...]) -> str | None:
  """The paper's data set that a name means, whatever its case and signs; None for another."""
  plain = lambda text: "".join(c for c in text.lower() if c.isalnum())
  known = {plain(s): s for s in sets_of(rows) if s != "Average"}
  return known.get(plain(name))
