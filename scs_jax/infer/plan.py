"""Memory that a picture will need, from shapes alone, before anything runs."""

import contextlib
import math
import pathlib
from typing import NamedTuple

import jax
import numpy as np
import psutil

from scs_jax.core import heap
from scs_jax.core.stages import MemoryStage, PaintStage, PointStage, Recipe, TileStage
from scs_jax.infer import painter as painters
from scs_jax.infer.painter import Memory, Painter, Size
from scs_jax.nn.border import Place


class Need(NamedTuple):
  """Bytes: of feature maps, memories and the result on the host, and of the largest program."""

  host: int
  program: int


class Walk:
  """Walks a recipe as Painter does, with shapes (channels, dtype, stride) instead of maps.

  It compiles the programs that it asks about; Painter then finds them compiled.
  """

  def __init__(self, painter: Painter, align: int):
    self.painter, self.align = painter, align
    self.host = self.program = 0

  def __call__(self, stages, maps: dict, size: Size, memories: dict, keep: set[str]) -> None:
    for number, stage in enumerate(stages):
      held = 0
      if isinstance(stage, TileStage):
        maps |= self._tiles(stage, maps, size)
      elif isinstance(stage, PointStage):
        before = maps[stage.reads]
        maps[stage.writes] = self._points(stage, before, memories[stage.memory])
        held = map_bytes(before, size)
      else:
        memories[stage.name] = self._memory(stage, maps)
        held = 2 * sum(x.size * x.dtype.itemsize for x in memories[stage.name][:2])
      self.host = max(self.host, held + sum(map_bytes(m, size) for m in maps.values()))
      painters.drop_unread(maps, stages[number + 1 :], keep)

  def paint(self, stage: PaintStage, maps: dict, size: Size, out_size: Size) -> None:
    place, windows = self._tile(stage, maps, size)
    axis, span = stage.axis(2, 2), painters.tiles.Span(0, 0, 2)
    run = (0, 2), (0, 2)
    arguments = painters.paint_arguments(stage, windows, place, (axis, axis), (span, span), run)
    self._compile(painters.painting(stage), *arguments)
    result = 3 * 4 * math.prod(out_size)
    self.host = max(self.host, result + sum(map_bytes(m, size) for m in maps.values()))

  def _tile(self, stage, maps: dict, size: Size):
    tile = self.painter.tile_of(stage, size, self.align)
    windows = {
      name: jax.ShapeDtypeStruct((1, tile // stride, tile // stride, maps[name][0]), maps[name][1])
      for name, stride in stage.reads.items()
    }
    return Place(*(np.int32(0) for _ in range(4)), tile=tile), windows

  def _tiles(self, stage: TileStage, maps: dict, size: Size) -> dict:
    place, windows = self._tile(stage, maps, size)
    found = self._compile(stage.function, stage.variables, windows, place)
    return {n: (found[n].shape[-1], found[n].dtype, s) for n, s in stage.writes.items()}

  def _points(self, stage: PointStage, before, memory: Memory):
    channels, dtype, stride = before
    block = jax.ShapeDtypeStruct((1, painters.POINTS, channels), dtype)
    mean = jax.ShapeDtypeStruct((1, channels), np.float32)
    found = self._compile(stage.function, stage.variables, block, mean, *memory)
    return found.shape[-1], found.dtype, stride

  def _memory(self, stage: MemoryStage, maps: dict) -> Memory:
    capacity = painters.capacity_of(stage, self.painter.most_keys)
    buffers = (
      jax.ShapeDtypeStruct((1, capacity, maps[name][0]), maps[name][1])
      for name in (stage.key, stage.value)
    )
    return Memory(*buffers, jax.ShapeDtypeStruct((), np.int32))

  def _compile(self, function, *arguments):
    program = self.painter.programs.get(function, *arguments)
    self.program = max(self.program, program.bytes)
    return program.result


def measure(
  painter: Painter, recipe: Recipe, size: Size, out_size: Size, reference_size: Size | None = None
) -> Need:
  """Measures what a picture of `size` needs in a painter's tiles, which `has_tiles` must allow."""
  walk, memories = Walk(painter, recipe.align), {}
  if reference_size is not None:
    walk(recipe.reference, {"rgb": (3, np.dtype(np.float32), 1)}, reference_size, memories, set())
  maps = {"gray": (1, np.dtype(np.float32), 1)}
  walk(recipe.source, maps, size, memories, set(recipe.paint.reads))
  walk.paint(recipe.paint, maps, size, out_size)
  return Need(walk.host, walk.program)


def has_tiles(
  painter: Painter, recipe: Recipe, size: Size, reference_size: Size | None = None
) -> bool:
  """Tells whether every stage has a tile larger than its halos, or that holds the whole picture."""
  asked = [(stage, size) for stage in (*recipe.source, recipe.paint)]
  if reference_size is not None:
    asked += [(stage, reference_size) for stage in recipe.reference]
  return all(
    painter.tile_of(stage, shape, recipe.align) is not None
    for stage, shape in asked
    if isinstance(stage, TileStage | PaintStage)
  )


def least_tile(recipe: Recipe) -> int:
  """Returns the smallest tile that serves pictures of all sizes."""
  stages = (*recipe.source, *recipe.reference, recipe.paint)
  tiled = [stage for stage in stages if isinstance(stage, TileStage | PaintStage)]
  return recipe.align + 2 * max(painters.halo_of(stage, recipe.align) for stage in tiled)


def map_bytes(shape, size: Size) -> int:
  """Returns the bytes of a map (channels, dtype, stride) of a picture."""
  channels, dtype, stride = shape
  return math.prod(-(-s // stride) for s in size) * channels * np.dtype(dtype).itemsize


def available_bytes() -> tuple[int | None, int]:
  """Measures free memory: (of the accelerator, None on CPUs or where it does not say; of the host).

  The host's is that of its container where that has a bound.
  """
  device, free = jax.local_devices()[0], None
  if device.platform != "cpu":
    stats = device.memory_stats() or {}
    if "bytes_limit" in stats:
      free = stats["bytes_limit"] - stats.get("bytes_in_use", 0)
  heap.give_back_freed()
  host = psutil.virtual_memory().available
  group = pathlib.Path("/sys/fs/cgroup")
  with contextlib.suppress(OSError, ValueError):  # no such files, or no bound ("max")
    bound, used = ((group / f"memory.{name}").read_text() for name in ("max", "current"))
    host = min(host, int(bound) - int(used))
  return free, host
