"""Adam with coupled weight decay against a loop in NumPy."""

import jax
import numpy as np
import optax
import pytest
from ml_collections import ConfigDict

from scs_jax.core.contract import Collective
from scs_jax.core.optim import make_optimizer, plateau_scale
from scs_jax.core.step import apply_gradients, gradient_update
from scs_jax.errors import UserError


def _section(**changes):
  section = {
    "name": "adam",
    "learning_rate": 1e-2,
    "schedule": "constant",
    "b1": 0.9,
    "b2": 0.999,
    "eps": 1e-8,
    "weight_decay": 1e-1,
    "clip_norm": 0.0,
  }
  return ConfigDict({**section, **changes})


def _problem(steps):
  """Parameters of two shapes and gradients of each step, of very different sizes."""
  rng = np.random.default_rng(0)
  params = {"a": rng.normal(size=(3, 2)), "b": rng.normal(size=5)}
  gradients = [
    {"a": rng.normal(size=(3, 2)) * 10.0 ** rng.integers(-4, 2), "b": rng.normal(size=5) * 1e-3}
    for _ in range(steps)
  ]
  return jax.tree.map(np.float32, (params, gradients))


def _ours(section, params, gradients, steps=100):
  optimizer = make_optimizer(section, steps)

  @jax.jit
  def step(params, state, gradient):
    updates, state = optimizer.update(gradient, state, params)
    return optax.apply_updates(params, updates), state

  state, path = optimizer.init(params), []
  for gradient in gradients:
    params, state = step(params, state, gradient)
    path.append(params)
  return path


def _numpy(section, params, gradients, rates):
  """Kingma and Ba 2015, Algorithm 1, on gradient + decay * parameter; clipped before that."""
  p = {k: v.astype(np.float64) for k, v in params.items()}
  m, v = ({k: np.zeros_like(x) for k, x in p.items()} for _ in range(2))
  path = []
  for t, (gradient, rate) in enumerate(zip(gradients, rates, strict=True), 1):
    norm = np.sqrt(sum((g.astype(np.float64) ** 2).sum() for g in gradient.values()))
    shrink = min(1.0, section.clip_norm / norm) if section.clip_norm else 1.0
    for k in p:
      g = shrink * gradient[k].astype(np.float64) + section.weight_decay * p[k]
      m[k] = section.b1 * m[k] + (1 - section.b1) * g
      v[k] = section.b2 * v[k] + (1 - section.b2) * g * g
      m_hat, v_hat = m[k] / (1 - section.b1**t), v[k] / (1 - section.b2**t)
      p[k] = p[k] - rate * m_hat / (np.sqrt(v_hat) + section.eps)
    path.append({k: x.copy() for k, x in p.items()})
  return path


def _rmsprop(section, params, gradients):
  """Mean square, then the step, eps under the root or added to it; momentum on the step."""
  p = {k: v.astype(np.float64) for k, v in params.items()}
  square, velocity = ({k: np.zeros_like(x) for k, x in p.items()} for _ in range(2))
  if section.rmsprop == "tensorflow1":
    square = {k: np.ones_like(x) for k, x in p.items()}
  path = []
  for gradient in gradients:
    for k in p:
      g = gradient[k].astype(np.float64) + section.weight_decay * p[k]
      square[k] = section.b2 * square[k] + (1 - section.b2) * g * g
      root = np.sqrt(square[k] + section.eps)
      if section.rmsprop == "keras2":
        root = np.sqrt(square[k]) + section.eps
      step = section.learning_rate * g / root
      velocity[k] = section.b1 * velocity[k] + step
      p[k] = p[k] - velocity[k]
    path.append({k: x.copy() for k, x in p.items()})
  return path


def _assert_same(found, expected):
  for ours, theirs in zip(found, expected, strict=True):
    for k in ours:
      np.testing.assert_allclose(ours[k], theirs[k], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("rmsprop", ["keras2", "keras3", "tensorflow1"])
def test_rmsprop_equals_the_loop_in_numpy(rmsprop, momentum):
  """Its epsilon of the gradients' size, so that it matters where it stands."""
  section = _section(name="rmsprop", rmsprop=rmsprop, b1=momentum, b2=0.9, eps=1e-2)
  params, gradients = _problem(12)
  _assert_same(_ours(section, params, gradients), _rmsprop(section, params, gradients))


@pytest.mark.parametrize(
  "changes",
  [{}, {"weight_decay": 0.0}, {"clip_norm": 0.05}, {"b1": 0.5, "b2": 0.9, "eps": 1e-2}],
  ids=["decay", "plain", "clipped", "other moments"],
)
def test_equals_the_loop_in_numpy(changes):
  section = _section(**changes)
  params, gradients = _problem(12)
  expected = _numpy(section, params, gradients, 12 * [section.learning_rate])
  _assert_same(_ours(section, params, gradients), expected)


def test_cosine_schedule_falls_to_zero():
  section = _section(schedule="cosine")
  params, gradients = _problem(8)
  rates = [section.learning_rate * (1 + np.cos(np.pi * t / 8)) / 2 for t in range(8)]
  _assert_same(_ours(section, params, gradients, 8), _numpy(section, params, gradients, rates))
  beyond = _ours(section, params, gradients, 4)
  np.testing.assert_array_equal(beyond[-1]["a"], beyond[3]["a"])  # nothing moves after the end


_PLATEAU = {
  "schedule": "plateau",
  "plateau_factor": 0.75,
  "plateau_patience": 2,
  "plateau_window": 3,
  "plateau_tolerance": 0.1,
}


def test_plateau_cuts_the_rate_at_the_step_computed_by_hand():
  """Windows of three losses, patience two, a fall by a tenth of the best counts."""
  section = _section(**_PLATEAU, weight_decay=0.0)
  losses = [
    (3, 9, 6),  # 6: the best so far
    (5.5, 5.6, 5.7),  # 5.6, less than 6, but not by a tenth: first bad window
    (1, 1, 4),  # 2: better, and the count starts again
    (2, 2, 2),  # bad
    (1.9, 1.9, 1.9),  # bad: 0.75 from the window's last step on
    (9, 9, 9),  # bad
    (1, 0, 0.5),  # 0.5: better
  ]
  factors = [1] * 14 + [0.75] * 7
  values = np.float32(losses).ravel()
  params, grads = _problem(len(values))
  optimizer = make_optimizer(section, 1)
  step = jax.jit(lambda g, s, p, v: apply_gradients(optimizer, g, s, p, v))
  state, path, seen = optimizer.init(params), [], []
  now = params
  for gradient, value in zip(grads, values, strict=True):
    now, state = step(gradient, state, now, value)
    path.append(now)
    seen.append(float(plateau_scale(state)))
  np.testing.assert_allclose(seen, factors)
  rates = [section.learning_rate * factor for factor in factors]
  _assert_same(path, _numpy(section, params, grads, rates))


def test_plateau_s_state_is_finite_from_the_start():
  state = make_optimizer(_section(**_PLATEAU), 1).init({"w": np.ones(2, np.float32)})
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state))


def test_plateau_watches_the_mean_over_devices():
  """Four devices whose losses fall and rise apart: one factor, that of the mean, on all of them."""
  section = _section(**{**_PLATEAU, "plateau_window": 1, "plateau_patience": 1})
  optimizer = make_optimizer(section, 1)
  count = min(4, len(jax.devices()))
  if count < 2:
    pytest.skip("needs two devices")
  collective = Collective("data")

  def update(params, state, target):
    loss = lambda p: (((p - target) ** 2).mean() + 10 * target, None)
    return gradient_update(loss, optimizer, params, state, collective)[:3]

  params = jax.pmap(lambda _: np.zeros(2, np.float32))(np.arange(count))
  state = jax.pmap(lambda p: optimizer.init(p))(params)
  step = jax.pmap(update, "data")
  scales = []
  for turn in range(3):  # losses of turn^2 + 10 turn and turn^2 - 10 turn: their mean rises
    target = np.float32([(-1) ** i * turn for i in range(count)])
    params, state, value = step(params, state, target)
    assert np.ptp(value) == 0
    scales.append(np.asarray(plateau_scale(state)))
  assert [set(scale.tolist()) for scale in scales] == [{1.0}, {0.75}, {0.5625}]
  assert np.ptp(np.asarray(params), axis=0).max() == 0


def test_a_value_changes_nothing_for_other_schedules():
  section = _section()
  optimizer = make_optimizer(section, 1)
  params, (gradient,) = _problem(1)
  state = optimizer.init(params)
  plain, told = (
    apply_gradients(optimizer, gradient, state, params, *value) for value in ((), (np.float32(3),))
  )
  for a, b in zip(jax.tree.leaves(plain), jax.tree.leaves(told), strict=True):
    assert np.asarray(a).tobytes() == np.asarray(b).tobytes()
  assert plateau_scale(state) is None


def test_decay_is_coupled():
  """Without a gradient, coupled decay is divided by its own size: a step of the learning rate."""
  params = {"w": np.array([4.0, -0.5], np.float32)}
  (found,) = _ours(_section(), params, [{"w": np.zeros(2, np.float32)}])
  np.testing.assert_allclose(found["w"], [4.0 - 1e-2, -0.5 + 1e-2], rtol=1e-6)


def test_muon_orthogonalises_kernels_and_leaves_the_rest_to_nadam():
  """A kernel's step has singular values near one another; biases and narrow kernels are NAdam's."""
  section = _section(name="muon", weight_decay=0.0)
  rng = np.random.default_rng(1)
  shapes = {"conv": (3, 3, 2, 6), "dense": (8, 5), "colours": (8, 3), "bias": (6,), "gate": ()}
  params = {k: rng.normal(size=s).astype(np.float32) for k, s in shapes.items()}
  # Of rank one but for a little: Adam's or plain momentum's step would be so too.
  gradient = {
    k: (np.ones(s) * np.arange(1, 1 + int(np.prod(s[-1:]))) + 0.1 * rng.normal(size=s)).astype("f4")
    for k, s in shapes.items()
  }
  (found,) = _ours(section, params, [gradient])
  for name in ("conv", "dense"):
    step = (params[name] - found[name]).reshape(-1, shapes[name][-1]) / section.learning_rate
    sizes = np.linalg.svd(step)[1]
    # As large in root mean square as 0.2, what Adam's steps commonly have.
    sizes /= 0.2 * np.sqrt(max(step.shape))
    assert sizes.min() > 0.5 and sizes.max() < 1.4
    raw = np.linalg.svd(gradient[name].reshape(step.shape))[1]
    assert raw.max() / raw.min() > 20
  # Nesterov's first step: b1 m / (1 - b1^2) + g, m = (1 - b1) g, over |g|.
  look_ahead = 0.9 * 0.1 / (1 - 0.9**2) + 1
  for name in ("colours", "bias", "gate"):
    step = (params[name] - found[name]) / section.learning_rate
    np.testing.assert_allclose(step, look_ahead * np.sign(gradient[name]), rtol=1e-3)


def test_unknown_name_is_refused():
  with pytest.raises(UserError, match=r"optimizer\.name is 'sgd'; use 'adam', 'muon' or 'rmsprop'"):
    make_optimizer(_section(name="sgd"), 1)
