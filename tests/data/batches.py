"""Batches beside each other."""

import numpy as np


def assert_same(a, b):
  """Two lists of batches have the same keys, types and values."""
  assert len(a) == len(b)
  for x, y in zip(a, b, strict=True):
    assert x.keys() == y.keys()
    for key in x:
      assert x[key].dtype == y[key].dtype
      np.testing.assert_array_equal(x[key], y[key], err_msg=key)
