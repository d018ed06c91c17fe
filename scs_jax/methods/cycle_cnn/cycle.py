"""Colouring twice: the mono view from the reference, and the reference from the result (Fig. 4)."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

Array = jax.Array
Tree = Any


class Twice(NamedTuple):
  """Holds what the two colorizations give.

  Attributes:
    first: I_C, YCbCr of the mono view, [N, H, W, 3].
    second: R'_C, of the de-coloured reference, flipped back.
    smoothness: L_smooth, the mean over both passes, [N].
    disparity: expected, of the first pass, [N, H, W, 1].
    stats: WAC's running averages after both.
  """

  first: Array
  second: Array
  smoothness: Array
  disparity: Array
  stats: Tree


def first_pass(colorize: Callable, stats: Tree, gray: Array, reference: Array, luma: bool):
  """Returns (I_C as YCbCr, WAC's whole answer, stats); arguments as of `twice`."""
  one, stats = colorize(stats, gray, reference)
  # Without Y estimated there is only the view's own.
  return one.ycbcr if luma else recolor(gray, one.ycbcr[..., 1:]), one, stats


def flip(x: Array) -> Array:
  """Flips left to right, [N, H, W, C]."""
  return x[:, :, ::-1]


def recolor(gray: Array, chroma: Array) -> Array:
  """Joins I_G with Cb and Cr: [N, H, W, 1] and [N, H, W, 2] to [N, H, W, 3]."""
  return jnp.concatenate([gray, chroma], axis=-1)


def second_inputs(gray: Array, reference: Array, first: Array) -> tuple[Array, Array]:
  """Returns (gray view, reference) of the second pass: R_G and (I_G, I_C^Cb, I_C^Cr), both flipped.

  WAC looks to the right of a pixel; what matches a pixel of the reference lies to its left in the
  mono view. Flipping brings it to the right again (Section III-A).
  """
  return flip(reference[..., :1]), flip(recolor(gray, first[..., 1:]))


def twice(colorize: Callable, stats: Tree, gray: Array, reference: Array, luma: bool) -> Twice:
  """Runs the two passes of Section III-A.

  Args:
    colorize: (stats, gray [N, H, W, 1], reference YCbCr [N, H, W, 3]) -> (Colorized, stats): WAC.
    stats: its running averages before.
    gray: I_G.
    reference: R_C, as YCbCr.
    luma: whether WAC estimates Y; else Y is the gray view that was coloured.
  """
  first, one, stats = first_pass(colorize, stats, gray, reference, luma)
  other, stats = colorize(stats, *second_inputs(gray, reference, first))
  second = flip(other.ycbcr)
  second = second if luma else recolor(reference[..., :1], second[..., 1:])
  smoothness = 0.5 * (one.smoothness + other.smoothness)
  return Twice(first, second, smoothness, one.disparity, stats)
