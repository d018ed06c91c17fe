"""Runs a method's recipe (core/stages.py) over pictures of any size, in tiles of a few sizes.

Feature maps lie in the host's memory; a tile at a time is cut out, computed and put back. Beside
the maps only one tile's program is alive, so that what a picture needs can be told before it runs
(plan.py).
"""

import collections
import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from scs_jax.core.stages import MemoryStage, PaintStage, PointStage, Recipe, TileStage
from scs_jax.infer import tiles
from scs_jax.infer.programs import Programs
from scs_jax.nn.border import Place

LADDER = (192, 512)
"""Tile sides in pixels, halos included: two, so that a small picture does not pay for a large tile
and yet a folder of any sizes needs few programs."""

POINTS = 4096
"""Positions at a time in a PointStage."""

_BLOCK = 128  # output pixels a side that are computed at a time
_MOST_SCALE = 4  # one run of a PaintStage gives at most this times the tile's side

Maps = dict[str, np.ndarray]
Size = tuple[int, int]


class Memory(NamedTuple):
  """Holds what attention looks at: the first `count` of key and value [1, capacity, C]."""

  key: jax.Array
  value: jax.Array
  count: np.int32


@dataclasses.dataclass
class Painter:
  """Executes recipes; keeps the compiled programs between pictures.

  Attributes:
    ladder: tile sides to choose from, pixels, rising.
    programs: compiled so far.
    note: receives a line about what a user would want to know.
    most_keys: bound of a memory's positions below the recipe's own; None: the recipe's.
  """

  ladder: tuple[int, ...] = LADDER
  programs: Programs = dataclasses.field(default_factory=Programs)
  note: Callable[[str], None] = lambda line: None
  most_keys: int | None = None

  def remember(self, recipe: Recipe, rgb: np.ndarray) -> dict[str, Memory]:
    """Makes memories of a reference picture, float32 [h, w, 3] in [0, 1]."""
    memories: dict[str, Memory] = {}
    self._run(recipe.reference, {"rgb": rgb}, memories, set(), recipe.align)
    return memories

  def paint(
    self,
    recipe: Recipe,
    gray: np.ndarray,
    size: Size,
    memories: Mapping[str, Memory] | None = None,
  ) -> np.ndarray:
    """Colours gray [H, W], float32 in [0, 1]: RGB in [0, 1], float32 [*size, 3]."""
    maps = {"gray": gray[..., None]}
    self._run(recipe.source, maps, dict(memories or {}), set(recipe.paint.reads), recipe.align)
    return self._paint(recipe.paint, maps, size, recipe.align)

  def tile_of(self, stage: TileStage | PaintStage, size: Size, align: int) -> int | None:
    """Gives the tile side for a stage and a picture; None where all are too small for its halo."""
    every = getattr(stage, "every_size", True)
    ladder = [-(-tile // align) * align for tile in (self.ladder if every else self.ladder[-1:])]
    return tiles.best_tile(ladder, size, halo_of(stage, align), align)

  # -- stages --------------------------------------------------------------------------------------

  def _run(self, stages, maps: Maps, memories: dict, keep: set[str], align: int) -> None:
    size = next(iter(maps.values())).shape[:2]
    for number, stage in enumerate(stages):
      if isinstance(stage, TileStage):
        maps |= self._tiles(stage, maps, size, align)
      elif isinstance(stage, PointStage):
        maps[stage.writes] = self._points(stage, maps[stage.reads], memories[stage.memory])
      else:
        memories[stage.name] = self._memory(stage, maps[stage.key], maps[stage.value])
      drop_unread(maps, stages[number + 1 :], keep)

  def _tiles(self, stage: TileStage, maps: Maps, size: Size, align: int) -> Maps:
    written: Maps = {}

    def put_back(spans, results) -> None:
      for name, stride in stage.writes.items():
        found = np.asarray(results[name])[0]
        if name not in written:
          shape = (*(-(-s // stride) for s in size), found.shape[-1])
          written[name] = np.empty(shape, found.dtype)
        to, part = zip(*(tiles.kept(span, stride) for span in spans), strict=True)
        written[name][to] = found[part]

    with _Behind(put_back) as behind:
      for spans, windows, place in self._cut(stage, maps, size, align):
        program = self.programs.get(stage.function, stage.variables, windows, place)
        behind.push(spans, program.run(stage.variables, windows, place))
    return written

  def _cut(self, stage, maps: Maps, size: Size, align: int) -> Iterator[tuple]:
    """Yields ((row span, column span), windows, place) of every tile."""
    tile, halo = self.tile_of(stage, size, align), halo_of(stage, align)
    if tile is None:
      raise ValueError(f"{stage.name}: tiles {self.ladder} are too small for its halo {halo}")
    rows, columns = (tiles.spans(s, tile, halo) for s in size)
    for spans in ((r, c) for r in rows for c in columns):
      windows = {
        name: tiles.window(maps[name], spans, stride, tile) for name, stride in stage.reads.items()
      }
      numbers = (np.int32(n) for n in (spans[0].start, spans[1].start, *size))
      yield spans, windows, Place(*numbers, tile=tile)

  def _memory(self, stage: MemoryStage, key: np.ndarray, value: np.ndarray) -> Memory:
    capacity = capacity_of(stage, self.most_keys)
    factor = tiles.pooling(key.shape[:2], capacity)
    if factor > 1:
      positions = "{} x {}".format(*key.shape[:2])
      key, value = tiles.mean_pool(key, factor), tiles.mean_pool(value, factor)
      self.note(
        f"attention ({stage.name}): {positions} positions averaged over {factor} x {factor}, as "
        f"{capacity:,} are the most that it looks at one by one"
      )
    count = key.shape[0] * key.shape[1]
    held = []
    for x in (key, value):
      buffer = np.zeros((1, capacity, x.shape[-1]), x.dtype)
      buffer[0, :count] = x.reshape(count, -1)
      held.append(jnp.asarray(buffer))
    return Memory(*held, np.int32(count))

  def _points(self, stage: PointStage, source: np.ndarray, memory: Memory) -> np.ndarray:
    flat = source.reshape(-1, source.shape[-1])
    mean = flat.mean(0, dtype=np.float32, keepdims=True)
    parts = []
    with _Behind(lambda length, found: parts.append(np.asarray(found)[0, :length])) as behind:
      for start in range(0, len(flat), POINTS):
        part = flat[start : start + POINTS]
        block = np.zeros((1, POINTS, flat.shape[-1]), flat.dtype)
        block[0, : len(part)] = part
        program = self.programs.get(stage.function, stage.variables, block, mean, *memory)
        behind.push(len(part), program.run(stage.variables, block, mean, *memory))
    return np.concatenate(parts).reshape(*source.shape[:2], -1)

  def _paint(self, stage: PaintStage, maps: Maps, out_size: Size, align: int) -> np.ndarray:
    size = maps["gray"].shape[:2]
    axes = [stage.axis(a, b) for a, b in zip(size, out_size, strict=True)]
    out = np.empty((*out_size, 3), np.float32)

    def put_back(run, pixels) -> None:
      (top, bottom), (left, right) = run
      out[top:bottom, left:right] = np.asarray(pixels)[: bottom - top, : right - left]

    with _Behind(put_back) as behind:
      for spans, windows, place in self._cut(stage, maps, size, align):
        rows, columns = (
          tiles.pixel_runs(axis.low, span, _MOST_SCALE * place.tile)
          for axis, span in zip(axes, spans, strict=True)
        )
        for run in ((r, c) for r in rows for c in columns):
          arguments = paint_arguments(stage, windows, place, axes, spans, run)
          program = self.programs.get(painting(stage), *arguments)
          behind.push(run, program.run(*arguments))
    return out


class _Behind:
  """Takes results back one call late, so that the device works while the host copies."""

  def __init__(self, take: Callable):
    self._take, self._waiting = take, collections.deque()

  def __enter__(self) -> "_Behind":
    return self

  def push(self, *work) -> None:
    self._waiting.append(work)
    if len(self._waiting) > 1:
      self._take(*self._waiting.popleft())

  def __exit__(self, kind, *_) -> None:
    while self._waiting and kind is None:
      self._take(*self._waiting.popleft())


def halo_of(stage: TileStage | PaintStage, align: int) -> int:
  """Returns a stage's reach, rounded up to where tiles may begin."""
  return -(-stage.reach // align) * align


def capacity_of(stage: MemoryStage, most: int | None) -> int:
  """Positions of a memory's buffer."""
  return stage.capacity if most is None else min(stage.capacity, most)


def drop_unread(maps: dict, later: Sequence, keep: set[str]) -> None:
  """Takes maps out that no later stage reads."""
  read = set(keep)
  for stage in later:
    if isinstance(stage, TileStage):
      read |= set(stage.reads)
    else:
      read |= {stage.key, stage.value} if isinstance(stage, MemoryStage) else {stage.reads}
  for name in set(maps) - read:
    del maps[name]


def paint_arguments(stage: PaintStage, windows, place: Place, axes, spans, run) -> tuple:
  """Arguments of `painting` for one run of output pixels: (first, last + 1) of rows and columns."""
  block = min(_BLOCK, place.tile)
  length = -(-_MOST_SCALE * place.tile // block) * block
  parts, counts = [], []
  for axis, span, (first, last) in zip(axes, spans, run, strict=True):
    pad = (0, length - (last - first))
    part = type(axis)(*(np.pad(x[first:last], pad, mode="edge") for x in axis))
    parts.append(part._replace(low=part.low - np.int32(span.start)))
    counts.append(np.int32(-(-(last - first) // block)))
  return stage.variables, windows, place, *parts, *counts


def _paint(
  features: Callable, pixels: Callable, variables, windows, place, rows, columns, row_blocks,
  column_blocks,
):  # fmt: skip
  block = min(_BLOCK, place.tile)
  found = features(variables, windows, place)
  out = jnp.zeros((len(rows.low), len(columns.low), 3), jnp.float32)

  def one_block(i, out):
    top, left = i // column_blocks * block, i % column_blocks * block
    cut = lambda axis, first: jax.tree.map(
      lambda x: jax.lax.dynamic_slice_in_dim(jnp.asarray(x), first, block), axis
    )
    rgb = pixels(variables, found, cut(rows, top), cut(columns, left))
    return jax.lax.dynamic_update_slice(out, rgb[0], (top, left, 0))

  return jax.lax.fori_loop(0, row_blocks * column_blocks, one_block, out)


_painting = functools.lru_cache(maxsize=64)(functools.partial(functools.partial, _paint))


def painting(stage: PaintStage) -> Callable:
  """Paints a tile's features, then as many blocks of output pixels as the run has, in one program.

  In one, so that the features never leave the device; the number of blocks is known only when it
  runs, so every magnification shares it.
  """
  return _painting(stage.features, stage.pixels)
