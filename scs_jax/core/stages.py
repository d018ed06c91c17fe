"""Recipes: how a method colours a picture of any size in stages with few fixed shapes.

A whole picture in one program needs memory for all of it, and a compilation for every size. A
recipe cuts the work where its shapes can stay fixed:

  TileStage    convolutions: square tiles that overlap by what reaches into a result;
  MemoryStage  keys and values of the whole picture, gathered for attention;
  PointStage   attention and what else acts on single positions: blocks of them, any picture;
  PaintStage   the last convolutions of a tile, and from its features the pixels asked for.

Stages pass feature maps by name; the map "gray" is given. Executed by infer/painter.py.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

Tree = Any


@dataclasses.dataclass(frozen=True)
class TileStage:
  """Maps computed tile by tile.

  Attributes:
    name: for plans and messages.
    function: (variables, {map: [1, t, t, C]}, nn.border.Place) -> {map: [1, u, u, D]}; t and u are
      the tile over the map's stride. Pure; traced once a tile size.
    variables: its first argument.
    reads, writes: {map: stride}, in pixels of the picture a position.
    reach: pixels around a tile that change its result.
    every_size: False where one tile size will do (the largest), since the stage is cheap or rare.
  """

  name: str
  function: Callable
  variables: Tree
  reads: Mapping[str, int]
  writes: Mapping[str, int]
  reach: int
  every_size: bool = True


@dataclasses.dataclass(frozen=True)
class MemoryStage:
  """Two maps become a memory for attention: the positions in a row, in a buffer of fixed length.

  Attributes:
    name: of the memory.
    key, value: the maps.
    capacity: positions that the buffer holds; a map with more is averaged over 2 x 2, 4 x 4, ...
  """

  name: str
  key: str
  value: str
  capacity: int


@dataclasses.dataclass(frozen=True)
class PointStage:
  """A map computed position by position, looking at a memory.

  Attributes:
    function: (variables, positions [1, B, C], their mean over the whole picture, float32 [1, C],
      key [1, capacity, c], value [1, capacity, d], count int32) -> [1, B, D]. Stages with the same
      function and shapes share a program.
    reads, writes: maps of the same stride (may be one).
    memory: name of a MemoryStage, of this picture's or of the reference's.
  """

  name: str
  function: Callable
  variables: Tree
  reads: str
  writes: str
  memory: str


@dataclasses.dataclass(frozen=True)
class PaintStage:
  """Features of a tile, and pixels of any output size from them.

  Attributes:
    features: (variables, {map: [1, t, t, C]}, place) -> arrays, the tile's.
    pixels: (variables, those arrays, rows, columns) -> RGB in [0, 1], float32 [1, S, S, 3]; rows
      and columns are the axis' arrays for S pixels each, `low` counted from the tile's first.
    axis: (input size, output size) -> a NamedTuple or dataclass of NumPy arrays [output size] with
      `low`, int32, rising: the input pixel that an output pixel begins at.
  """

  name: str
  features: Callable
  pixels: Callable
  axis: Callable
  variables: Tree
  reads: Mapping[str, int]
  reach: int


@dataclasses.dataclass(frozen=True)
class Recipe:
  """A method's stages.

  Attributes:
    source: stages over the picture to colour, in order; it has the map "gray" [H, W, 1] in [0, 1].
    paint: the last one.
    reference: stages over the reference picture, from the map "rgb" [h, w, 3] in [0, 1], that leave
      memories; empty for automatic methods and modes.
    align: pixels; tiles begin and end at multiples of it (the coarsest stride).
  """

  source: tuple[TileStage | MemoryStage | PointStage, ...]
  paint: PaintStage
  reference: tuple[TileStage | MemoryStage, ...] = ()
  align: int = 1
