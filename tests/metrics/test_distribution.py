"""The Frechet distance against closed forms and SciPy's matrix square root; streamed statistics."""


import numpy as np
import pytest
import scipy.linalg

from scs_jax.errors import UserError
from scs_jax.metrics import distribution
from scs_jax.metrics.distribution import Statistics


def _features(n=60, size=7, seed=0):
  rng = np.random.default_rng(seed)
  return rng.normal(size=(n, size)) @ rng.normal(size=(size, size)) + rng.normal(size=size)


def _covariance(size, seed):
  root = np.random.default_rng(seed).normal(size=(size, size))
  return root @ root.T / size


def _by_sqrtm(a, b):
  """As pytorch-fid computes it, from the samples."""
  means, covariances = zip(*((x.mean(0), np.cov(x, rowvar=False)) for x in (a, b)), strict=True)
  root = scipy.linalg.sqrtm(covariances[0] @ covariances[1])
  shift = means[0] - means[1]
  return shift @ shift + sum(map(np.trace, covariances)) - 2 * np.trace(root).real


def frechet_distance(mean_a, covariance_a, mean_b, covariance_b):
  """Of two sets with these means and covariances."""
  sets = []
  for mean, covariance in ((mean_a, covariance_a), (mean_b, covariance_b)):
    found = Statistics(len(mean))
    found.count, found.mean, found.scatter = 101, mean, 100 * covariance
    sets.append(found)
  return sets[0].frechet(sets[1])


def test_one_dimension_by_hand():
  # N(1, 4) and N(4, 9): (1 - 4)^2 + (2 - 3)^2.
  found = frechet_distance(np.array([1.0]), np.array([[4.0]]), np.array([4.0]), np.array([[9.0]]))
  assert found == pytest.approx(10, abs=1e-12)


def test_commuting_covariances_have_a_closed_form():
  # Of one eigenbasis: |mu|^2 + sum of squared differences of the deviations.
  basis = np.linalg.qr(np.random.default_rng(3).normal(size=(5, 5)))[0]
  a, b = np.array([0.1, 1, 2, 3, 10]), np.array([4, 0.0, 2, 1, 7])
  shift = np.arange(5.0)
  cov = [basis @ np.diag(d**2) @ basis.T for d in (a, b)]
  found = frechet_distance(np.zeros(5), cov[0], shift, cov[1])
  assert found == pytest.approx(30 + ((a - b) ** 2).sum(), rel=1e-12)


def test_two_gaussians_of_rotated_axes():
  # C_1 = diag(4, 1), C_2 = the same turned by 45 degrees: for 2 x 2 matrices
  # Tr M^(1/2) = sqrt(Tr M + 2 sqrt(det M)), M = C_1 C_2 with Tr M = 12.5 and det M = 16.
  second = np.array([[2.5, 1.5], [1.5, 2.5]])
  found = frechet_distance(np.zeros(2), np.diag([4.0, 1.0]), np.zeros(2), second)
  assert found == pytest.approx(5 + 5 - 2 * np.sqrt(12.5 + 8), rel=1e-13)


def test_equals_sqrtm_of_random_covariances():
  a, b = _covariance(12, 0), _covariance(12, 1)
  mean = np.linspace(-1, 1, 12)
  expected = mean @ mean + np.trace(a + b - 2 * scipy.linalg.sqrtm(a @ b).real)
  assert frechet_distance(mean, a, np.zeros(12), b) == pytest.approx(expected, rel=1e-10)


def test_equals_pytorch_fids_formula_on_samples():
  a, b = _features(seed=1), _features(80, seed=2)
  found = Statistics.of(a).frechet(Statistics.of(b))
  assert found == pytest.approx(_by_sqrtm(a, b), rel=1e-10)
  assert Statistics.of(b).frechet(Statistics.of(a)) == pytest.approx(found, rel=1e-12)


def test_samples_of_two_known_gaussians_approach_the_closed_form():
  rng = np.random.default_rng(0)
  deviations = np.array([1.0, 2.0, 0.5]), np.array([2.0, 1.0, 0.5])
  shift = np.array([0.0, 1.0, -1.0])
  a = Statistics.of(rng.normal(size=(200_000, 3)) * deviations[0])
  b = Statistics.of(rng.normal(size=(200_000, 3)) * deviations[1] + shift)
  assert a.frechet(b) == pytest.approx(4.0, abs=0.03)  # 2 of the means, 1 + 1 + 0 of deviations


@pytest.mark.parametrize("count", [2, 3, 40])
def test_fewer_samples_than_features(count):
  """Ranks of 1, 2 and 39 in 256 dimensions: against singular values of the samples themselves."""
  rng = np.random.default_rng(count)
  a, b = rng.normal(size=(count, 256)), 3 * rng.normal(size=(count + 5, 256)) + 1
  # Covariances X^T X / (n - 1) of centred samples: the trace is the nuclear norm of X_a X_b^T.
  x, y = ((f - f.mean(0)) / np.sqrt(len(f) - 1) for f in (a, b))
  shift = a.mean(0) - b.mean(0)
  nuclear = np.linalg.svd(x @ y.T, compute_uv=False).sum()
  expected = shift @ shift + (x**2).sum() + (y**2).sum() - 2 * nuclear
  assert Statistics.of(a).frechet(Statistics.of(b)) == pytest.approx(expected, rel=1e-11)


def test_a_set_is_at_no_distance_from_itself():
  """SciPy's square root leaves 1e-5 and more of a singular covariance; here nothing is left."""
  few = Statistics.of(100 * np.random.default_rng(0).normal(size=(20, 300)))
  assert 0 <= few.frechet(few) < 1e-9 * np.trace(few.covariance())
  constant = Statistics.of(np.full((5, 3), 2.0))
  assert constant.frechet(constant) == 0
  assert constant.frechet(Statistics.of(np.full((4, 3), 1.0))) == pytest.approx(3, abs=1e-12)


def test_streaming_equals_the_whole():
  features = 1e4 + _features(101)  # far from 0: sums of squares would lose the digits
  whole = Statistics(7)
  for part in np.array_split(features, [1, 2, 17, 17, 50]):  # one is empty
    whole.update(part)
  assert whole.count == 101
  np.testing.assert_allclose(whole.mean, features.mean(0), rtol=1e-14)
  np.testing.assert_allclose(whole.covariance(), np.cov(features, rowvar=False), rtol=1e-9)
  np.testing.assert_array_equal(whole.scatter, whole.scatter.T)


def test_masked_places_do_not_count():
  features = _features(8)
  mask = np.array([1, 1, 0, 1, 0, 1, 1, 0], bool)
  padded = features.copy()
  padded[~mask] = np.nan
  found, expected = Statistics(7).update(padded, mask), Statistics.of(features[mask])
  assert found.count == 5
  np.testing.assert_array_equal(found.scatter, expected.scatter)


def test_a_distance_follows_an_update():
  a, b = Statistics.of(_features(seed=4)), Statistics.of(_features(seed=5))
  before = a.frechet(b)
  a.update(_features(30, seed=6) + 5)
  fresh = Statistics.of(np.concatenate([_features(seed=4), _features(30, seed=6) + 5]))
  assert a.frechet(b) == pytest.approx(fresh.frechet(b), rel=1e-12) != before


def test_refuses_what_has_no_distance():
  one = Statistics.of(np.zeros((1, 3)))
  with pytest.raises(UserError, match="two of each at least, got 1"):
    one.frechet(one)
  with pytest.raises(ValueError, match=r"expected \[n, 3\]"):
    one.update(np.zeros((2, 4)))
  with pytest.raises(ValueError, match="finite"):
    one.update(np.array([[0, np.nan, 0]]))
  with pytest.raises(ValueError, match="equal numbers of features"):
    one.frechet(Statistics(4))
  with pytest.raises(ValueError, match="no eigenvalue below 0"):
    frechet_distance(np.zeros(2), np.diag([1.0, -1.0]), np.zeros(2), np.eye(2))


DECIDES = {"pictures": {"sha256": "ab12", "size": [64, 64]}, "weights": "67"}


def test_what_is_kept_is_recalled_to_the_bit(tmp_path):
  folder = tmp_path / "new" / "folder"
  found = Statistics.of(_features())
  assert distribution.recall(folder, DECIDES) is None
  distribution.keep(folder, DECIDES, found)
  again = distribution.recall(folder, dict(reversed(DECIDES.items())))
  assert again.count == 60
  np.testing.assert_array_equal(again.mean, found.mean)
  np.testing.assert_array_equal(again.scatter, found.scatter)
  assert [p.suffix for p in folder.iterdir()] == [".npz"]


@pytest.mark.parametrize(
  "change",
  [{"weights": "68"}, {"pictures": {"sha256": "ab13", "size": [64, 64]}}, {"more": 1}],
)
def test_other_pictures_or_weights_are_not_recalled(tmp_path, change):
  distribution.keep(tmp_path, DECIDES, Statistics.of(_features()))
  other = DECIDES | change
  assert distribution.recall(tmp_path, other) is None
  # Nor under another's name: the file itself says what it is of.
  (file,) = tmp_path.iterdir()
  file.rename(distribution._place(tmp_path, distribution.cache_key(other)))
  assert distribution.recall(tmp_path, other) is None


def test_a_damaged_file_is_passed_over(tmp_path):
  distribution.keep(tmp_path, DECIDES, Statistics.of(_features()))
  (file,) = tmp_path.iterdir()
  whole = file.read_bytes()
  for content in (b"", b"not an archive", whole[: len(whole) // 2], whole[:-100]):
    file.write_bytes(content)
    assert distribution.recall(tmp_path, DECIDES) is None
  distribution.keep(tmp_path, DECIDES, Statistics.of(_features()))
  assert distribution.recall(tmp_path, DECIDES).count == 60


def test_a_folder_that_cannot_be_written_is_passed_over(tmp_path):
  (tmp_path / "file").write_text("")
  distribution.keep(tmp_path / "file", DECIDES, Statistics.of(_features()))
  assert distribution.recall(tmp_path / "file", DECIDES) is None
