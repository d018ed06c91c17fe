"""The order of samples: each once an epoch, for any hosts; streams that share no numbers."""

import numpy as np
import pytest
from scipy import stats

from scs_jax.data import order
from scs_jax.errors import UserError


@pytest.mark.parametrize("n", [1, 2, 7, 30])
def test_each_record_once_an_epoch(n):
  shown = [order.record_at(p, n, seed=5) for p in range(4 * n)]
  for epoch in range(4):
    assert sorted(shown[epoch * n:(epoch + 1) * n]) == list(range(n))
  if n >= 7:
    assert shown[:n] != shown[n:2 * n]
    assert shown[:n] != [order.record_at(p, n, seed=6) for p in range(n)]


def test_permutations_are_uniform():
  # 24 orders of 4 records over 2400 epochs: chi-square, 23 degrees of freedom.
  orders = [tuple(order.record_at(e * 4 + i, 4, seed=1) for i in range(4)) for e in range(2400)]
  _, counts = np.unique(orders, axis=0, return_counts=True)
  assert len(counts) == 24
  assert stats.chisquare(counts).pvalue > 1e-3


def test_cipher_of_huge_data_sets_is_a_permutation(monkeypatch):
  monkeypatch.setattr(order, "_HELD", 0)
  n = 5000
  first = [order.record_at(p, n, seed=2) for p in range(n)]
  assert sorted(first) == list(range(n)) and first != list(range(n))
  assert order.record_at(n + 3, n, 2) != first[3] or order.record_at(n + 4, n, 2) != first[4]


def test_random_access_far_out():
  n = 1000
  assert 0 <= order.record_at(10 ** 15 + 17, n, seed=0) < n
  assert order.record_at(10 ** 15 + 17, n, 0) == order.record_at(10 ** 15 + 17, n, 0)


@pytest.mark.parametrize("hosts", [1, 2, 3, 4, 6, 8])
@pytest.mark.parametrize("n", [5, 24, 37])
def test_hosts_together_read_the_global_batches(hosts, n):
  batch, start, steps = 24, 3, 4
  per_host = order.host_batch_size(batch, 0, hosts)
  seen = {}
  for host in range(hosts):
    for local in range(per_host * steps):
      position = order.host_position(local, start, batch, host, hosts)
      seen[(local // per_host, host, local % per_host)] = position
  positions = [seen[key] for key in sorted(seen)]
  assert positions == list(range(start * batch, (start + steps) * batch))
  records = [order.record_at(p, n, 0) for p in range(2 * n)]
  assert sorted(records) == sorted(2 * list(range(n)))


def test_uneven_split_names_a_batch_size_that_fits():
  with pytest.raises(UserError, match="30 is not divisible by 8 hosts; use 32"):
    order.host_batch_size(30, 0, 8)
  with pytest.raises(UserError, match="expected 0 <= host < hosts"):
    order.host_batch_size(8, 2, 2)


def test_streams_are_pure_and_distinct():
  def draw(*key):
    return tuple(order.philox(*key).random(4))
  assert draw(1, order.CROP, 9) == draw(1, order.CROP, 9)
  keys = [(s, stream, i) for s in (0, 1, 2 ** 40, -1) for stream in (0, 1, 2)
          for i in (0, 1, 2 ** 33)]
  assert len({draw(*key) for key in keys}) == len(keys)


def test_epochs_to_steps():
  assert order.epochs_to_steps(10, 4, 1) == 3
  assert order.epochs_to_steps(10, 4, 2) == 5
  assert order.epochs_to_steps(407041, 4 * 8, 50) == 636002  # 20352050 / 32 = 636001.56
  assert order.epochs_to_steps(10, 1000, 0.5) == 1
  with pytest.raises(UserError, match="got 0"):
    order.epochs_to_steps(0, 4, 1)
