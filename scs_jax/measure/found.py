"""Scores as they are found: batch by batch, perhaps by several processes, joined by picture."""

import functools
from collections.abc import Mapping, Sequence

import jax
import numpy as np

from scs_jax.metrics.estimates import Scores


class Found:
  """Gathers scores batch by batch.

  Args:
    metrics, predictors, modes: names, in the order of the tables.

  Attributes:
    lost: {predictor: ((stream, batch), why)} of those that failed where processes share pictures.
  """

  def __init__(self, metrics: Sequence[str], predictors: Sequence[str], modes: Sequence[str]):
    self._metrics, self._predictors, self._modes = metrics, predictors, modes
    self.lost: dict[str, tuple[tuple[int, int], str]] = {}
    self._truth: dict[str, list] = {}  # by mode: (records, {metric: values}, gray)
    self._rows: dict[str, dict[str, tuple[str, list]]] = {}  # by mode and row: (predictor, parts)

  def add_truth(self, track, batch: Mapping, modes: Sequence[str]) -> None:
    alone = jax.device_get(track.measure_alone(batch))
    for mode in modes:
      there = track.present(batch, mode) & track.measurable(batch, mode)
      part = _records(batch)[there], _where(there, alone), np.asarray(batch["gray"], bool)[there]
      self._truth.setdefault(mode, []).append(part)

  def add(self, predictor: str, row: str, mode: str, batch, there, scores: Mapping) -> None:
    parts = self._rows.setdefault(mode, {}).setdefault(row, (predictor, []))[1]
    parts.append((_records(batch)[there], _where(there, scores)))

  def forget(self, predictor: str) -> None:
    for mode, rows in self._rows.items():
      self._rows[mode] = {row: kept for row, kept in rows.items() if kept[0] != predictor}

  def noted(self) -> tuple:
    return self._truth, self._rows, self.lost

  def join(self, noted: Sequence[tuple]) -> None:
    self._truth, self._rows = {}, {}
    for truth, rows, _ in noted:
      for mode, parts in truth.items():
        self._truth.setdefault(mode, []).extend(parts)
      for mode, by in rows.items():
        for row, (predictor, parts) in by.items():
          self._rows.setdefault(mode, {}).setdefault(row, (predictor, []))[1].extend(parts)
    every = [(at, name, why) for *_, lost in noted for name, (at, why) in lost.items()]
    self.lost = {}
    for at, name, why in sorted(every, key=lambda one: (one[0], self._predictors.index(one[1]))):
      self.lost.setdefault(name, (at, why))
      self.forget(name)

  def has_nan(self, predictor: str) -> bool:
    """Tells whether a figure of it, or of a variant, is not a number."""
    return any(
      np.isnan(values).any()
      for rows in self._rows.values()
      for of, parts in rows.values() if of == predictor
      for _, by in parts
      for values in by.values()
    )  # fmt: skip

  def joined(self) -> Scores:
    whole = Scores({}, {}, {}, {})
    for mode in self._modes:
      parts = self._truth.get(mode, [])
      found = self._rows.get(mode, {})
      # A variant comes after the predictor's own row.
      order = lambda row, of=found: (self._predictors.index(of[row][0]), row != of[row][0])
      rows = {row: _concatenated(found[row][1]) for row in sorted(found, key=order)}
      rows = {row: by for row, by in rows.items() if len(by[0])}
      if not rows:
        continue
      sets = [np.unique(records) for records, _ in rows.values()]  # ascending, as one set stays
      common = functools.reduce(np.intersect1d, sets)
      ordered = lambda by: {m: by[m] for m in self._metrics if m in by}
      whole.records[mode] = common
      whole.of[mode] = {
        row: ordered(_chosen(records, common, by)) for row, (records, by) in rows.items()
      }
      records, real = _concatenated([part[:2] for part in parts])
      whole.real[mode] = ordered(_chosen(records, common, real))
      gray = np.concatenate([part[2] for part in parts])
      whole.gray[mode] = _chosen(records, common, {"": gray})[""]
    return whole


def _records(batch: Mapping) -> np.ndarray:
  return np.asarray(batch["record"], np.int64)


def _where(there: np.ndarray, values: Mapping) -> dict[str, np.ndarray]:
  return {name: np.asarray(v, np.float64)[there] for name, v in values.items()}


def _concatenated(parts: Sequence[tuple[np.ndarray, Mapping]]) -> tuple[np.ndarray, dict]:
  records = np.concatenate([found for found, _ in parts])
  return records, {name: np.concatenate([by[name] for _, by in parts]) for name in parts[0][1]}


def _chosen(records: np.ndarray, common: np.ndarray, by: Mapping) -> dict:
  """Takes the values of the records in common, in their order."""
  _, at, _ = np.intersect1d(records, common, return_indices=True)
  return {name: values[at] for name, values in by.items()}
