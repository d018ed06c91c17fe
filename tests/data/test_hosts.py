"""Each host reads its own part: over up to 8 hosts, uneven sizes, other hosts on resuming."""

import collections
import itertools

import numpy as np
import pytest
from PIL import Image

from scs_jax.data import order
from scs_jax.data.pipeline import BatchSpec, eval_batches, train_batches

BATCH = 120  # divisible by the numbers of hosts
HOSTS = (1, 2, 3, 4, 5, 6, 8)


class Numbers:
  """n pictures of 2 x 2 pixels that show their number; counts what is opened."""

  fingerprint = "numbers"

  def __init__(self, n):
    self.n, self.opened = n, []

  def __len__(self):
    return self.n

  def __getitem__(self, i):
    return self.load(i)

  def load(self, i, min_short_side=None):
    return np.asarray(self.open(i, min_short_side))

  def open(self, i, min_short_side=None):
    self.opened.append(i)
    return Image.new("RGB", (2, 2), (i & 255, i >> 8 & 255, i % 7))

  def name(self, i):
    return str(i)


def read(n, hosts, steps, start=0, batch=BATCH):
  """(records of the global batches [steps, batch], what each host opened)."""
  spec = BatchSpec(batch_size=batch, crop=2, max_zoom=1.0, seed=4, threads=0)
  parts, opened = [], []
  for host in range(hosts):
    source = Numbers(n)
    with train_batches(source, spec, start_step=start, host=host, hosts=hosts) as batches:
      taken = list(itertools.islice(batches, steps))
    shown = np.stack([b["record"] for b in taken])
    pixels = np.stack([b["image"][:, 0, 0].astype(int) for b in taken])
    np.testing.assert_array_equal(pixels[..., 0] + 256 * pixels[..., 1], shown)
    parts.append(shown)
    opened.append(source.opened)
  return np.concatenate(parts, axis=1), opened


@pytest.fixture(scope="module")
def expected():
  """Records of three global batches of 131 pictures, as the order alone gives them."""
  return np.array([order.record_at(p, 131, 4) for p in range(3 * BATCH)]).reshape(3, BATCH)


@pytest.mark.parametrize("hosts", HOSTS)
def test_global_batches_are_the_same_for_any_host_count(expected, hosts):
  shown, opened = read(131, hosts, 2)
  np.testing.assert_array_equal(shown, expected[:2])
  # A host opens its own part of each batch and nothing else.
  for host, its in enumerate(opened):
    part = BATCH // hosts
    assert its == expected[:2, host * part : (host + 1) * part].ravel().tolist()


@pytest.mark.parametrize(("n", "steps"), [(131, 3), (120, 3), (119, 2), (17, 1), (5, 1), (1, 1)])
def test_no_sample_twice_in_an_epoch_and_none_lost(n, steps):
  for hosts in HOSTS:
    shown = read(n, hosts, steps)[0].ravel()
    for start in range(0, len(shown), n):
      epoch = shown[start : start + n]
      counts = collections.Counter(epoch.tolist())
      assert max(counts.values()) == 1
      if len(epoch) == n:
        assert sorted(counts) == list(range(n))


def test_a_run_goes_on_with_another_host_count(expected):
  first = read(131, 8, 1)[0]
  second = read(131, 3, 1, start=1)[0]
  third = read(131, 5, 1, start=2)[0]
  np.testing.assert_array_equal(np.concatenate([first, second, third]), expected)


@pytest.mark.parametrize("n", [1, 7, 24, 50])
def test_evaluation_shows_each_record_once_for_any_host_count(n):
  for hosts in HOSTS:
    batch = 3 * hosts
    parts = []
    for host in range(hosts):
      with eval_batches(Numbers(n), 2, batch, host=host, hosts=hosts, threads=0) as batches:
        parts.append(list(batches))
    assert len({len(part) for part in parts}) == 1  # as many steps on every host
    steps = [np.concatenate([p[s]["record"] for p in parts]) for s in range(len(parts[0]))]
    masks = [np.concatenate([p[s]["mask"] for p in parts]) for s in range(len(parts[0]))]
    shown, mask = np.concatenate(steps), np.concatenate(masks)
    assert shown[mask].tolist() == list(range(n)) and (shown[~mask] == -1).all()
