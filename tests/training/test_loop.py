"""The loop: any interruption, any device count, the same run; and one line for what is wrong."""

import functools
import json
import math
import os
import signal
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from scs_jax.core import config as configs
from scs_jax.core.contract import Collective, Method, Prediction, TrainState, example_keys
from scs_jax.data import opening
from scs_jax.errors import UserError
from scs_jax.training import loop, monitor, watch
from scs_jax.training.checkpoint import Checkpoints
from scs_jax.training.checkpoint_arrays import restore_for_inference
from scs_jax.training.checkpoint_folder import find_checkpoint, read_config
from scs_jax.training.parallel import Parallel

BATCH, SIDE = 8, 12


class Toy(Method):
  """Learns the mean colour of what it sees, with noise, at two rates that take turns."""

  def __init__(self, width=3, poison=None):
    self.width, self.poison = width, poison
    self.stepped = False

  def load_frozen(self):
    return {"offset": np.float32(0.5)}

  def init(self, key, batch):
    w = jax.random.normal(key, (self.width,))
    return TrainState(
      step=jnp.zeros((), jnp.int32),
      params={"generator": {"w": w}},
      opt_state={"generator": {"sum": jnp.zeros(self.width)}},
      model_state={},
    )

  def phase(self, step):
    return "slow" if step % 2 else "fast"

  def train_step(self, state, batch, key, collective, phase):
    self.stepped = True
    noise = jax.vmap(lambda k: jax.random.normal(k, (3,)))(example_keys(key, batch["index"]))
    seen = batch["image"].astype(jnp.float32).mean((1, 2)) / 255 + 0.1 * noise
    mean = collective.mean(seen.mean(0)) - state.frozen["offset"]
    rate = {"slow": 0.1, "fast": 0.3}[phase]
    w = state.params["generator"]["w"]
    loss = jnp.square(w[:3] - mean).mean()
    w = w + rate * (jnp.resize(mean, w.shape) - w)
    if self.poison is not None:
      at, what = self.poison
      loss = jnp.where((state.step + 1 == at) & (what == "loss"), jnp.nan, loss)
      w = jnp.where(state.step + 1 >= at, jnp.nan, w)
    total = state.opt_state["generator"]["sum"] + w
    state = state.replace(
      step=state.step + 1,
      params={"generator": {"w": w}},
      opt_state={"generator": {"sum": total}},
    )
    return state, {"loss/mean": loss}

  def predict(self, state, query):
    shape = (query.gray.shape[0], *query.size, 3)
    return Prediction(jnp.broadcast_to(jax.nn.sigmoid(state.params["generator"]["w"][:3]), shape))


TOY = Toy()


class Batches:
  """Batch s is a function of s alone; `hook(s)` runs before it is handed out."""

  def __init__(self, start, hook=None, bad=()):
    self.step, self.hook, self.bad, self.closed = start, hook, bad, False

  def __iter__(self):
    return self

  def __next__(self):
    if self.hook is not None:
      self.hook(self.step)
    rng = np.random.default_rng(self.step)
    batch = {
      "image": rng.integers(0, 256, (BATCH, SIDE, SIDE, 3), dtype=np.uint8),
      "index": np.arange(BATCH, dtype=np.uint32) + self.step * BATCH,
      "record": np.zeros(BATCH, np.int32),
      "bad": np.resize(np.array([*self.bad, -1], np.int32), BATCH),
    }
    self.step += 1
    return batch

  def close(self):
    self.closed = True


class Source:
  """A Data whose iterators are remembered."""

  def __init__(self, hook=None, bad=(), **more):
    self.opened = []

    def open_batches(start):
      self.opened.append(Batches(start, hook, bad))
      return self.opened[-1]

    identity = {"records": 5, "fingerprint": "a"}
    self.data = opening.Data(open_batches, **{"identity": identity, **more})


@pytest.fixture(autouse=True)
def two_devices(monkeypatch):
  """Unless a test says otherwise: programs for all eight take longer to compile."""
  on(2, monkeypatch)


def on(count, monkeypatch):
  devices = jax.devices()[:count]
  monkeypatch.setattr(loop.Parallel, "of", functools.partial(Parallel.of, devices=devices))


def toy_config():
  config = configs.load("common").copy_and_resolve_references()
  config.unlock()
  config.method.name = f"{__name__}:Toy"  # found as a user's own is
  config.batch_size = BATCH
  config.steps = 6
  config.checkpoint.every_steps = 2
  config.checkpoint.best_metric = ""
  config.log.every_steps = 1
  config.log.evaluate_every = 0
  config.log.panels_every = 0
  config.evaluate.reference_size = 4
  config.evaluate.scale = 2.0
  config.optimizer = {"learning_rate": 1.0}
  return config


@pytest.fixture
def config():
  return toy_config()


def run(config, folder, source=None, method=None, steps=None):
  if steps is not None:
    config.steps = steps
  source = source or Source()
  return loop.run_steps(config, method or TOY, source.data, folder, quiet=True)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
  """The outcome of a run that nothing stops."""
  with pytest.MonkeyPatch.context() as patch:
    on(2, patch)
    return run(toy_config(), tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def whole_scored(tmp_path_factory):
  """The same of a run with held-out pictures."""
  with pytest.MonkeyPatch.context() as patch:
    on(2, patch)
    folder = tmp_path_factory.mktemp("whole")
    return run(scored(toy_config()), folder, Source(heldout=heldout(2)))


@functools.cache
def toy_step():
  return jax.jit(Toy().train_step, static_argnums=4)


def by_hand(config, left_out=()):
  """States before the first and after each of six of the method's steps, called one by one.

  Keys come from the seed and the step, batches in order. Steps left out count, and change nothing.
  """
  method, key = Toy(), jax.random.key(config.seed)
  states = [method.init(key, {}).replace(frozen=method.load_frozen())]
  for i, batch in zip(range(6), Batches(0), strict=False):
    inputs, phase = {k: batch[k] for k in ("image", "index")}, "slow" if i % 2 else "fast"
    new, _ = toy_step()(states[-1], inputs, jax.random.fold_in(key, i), Collective(), phase)
    states.append(states[-1].replace(step=new.step) if i + 1 in left_out else new)
  return states


def lines(folder, key="loss/mean"):
  """The steps of a run's lines that have a key."""
  text = (folder / "metrics.jsonl").read_text()
  return [line["step"] for line in map(json.loads, text.splitlines()) if key in line]


def assert_same(a, b):
  a, b = a.replace(frozen={}), b.replace(frozen={})
  for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
    assert np.asarray(x).tobytes() == np.asarray(y).tobytes()


def fails(pattern):
  return pytest.raises(UserError, match=rf"\A(?!.*\n).*{pattern}")


def heldout(count, masked=(), side=SIDE):
  rng = np.random.default_rng(7)
  image = rng.integers(0, 256, (count, side, side, 3), dtype=np.uint8)
  mask = np.array([i not in masked for i in range(count)])
  return [{"image": image, "mask": mask, "record": np.arange(count, dtype=np.int32)}]


def scored(config, **more):
  config.log.evaluate_every = 2
  config.checkpoint.best_metric = "automatic/psnr_rgb"
  for name, value in more.items():
    config.evaluate[name] = value
  return config


# --- what a run is


def test_trainings_by_one_method_and_seed_share_their_programs(config, tmp_path):
  traced = []

  class Counted(Toy):
    def train_step(self, state, *rest):
      traced.append(rest[-1])
      return super().train_step(state, *rest)

  method = Counted()
  run(config, tmp_path / "first", method=method)
  assert sorted(traced) == ["fast", "slow"]
  run(config, tmp_path / "second", method=method)
  assert len(traced) == 2
  config.seed += 1
  run(config, tmp_path / "third", method=method)
  assert len(traced) == 4


def test_a_run_is_its_steps_in_order(config, whole):
  state = by_hand(config)[-1]
  assert (whole.step, whole.stopped, int(whole.state.step)) == (6, False, 6)
  np.testing.assert_allclose(
    whole.state.params["generator"]["w"], state.params["generator"]["w"], atol=1e-6
  )
  assert lines(whole.workdir) == [1, 2, 3, 4, 5, 6]


def test_the_folder_of_a_finished_run(whole):
  folder = whole.workdir
  assert {p.name for p in folder.iterdir()} == {"checkpoints", "config.json", "metrics.jsonl"}
  assert configs.from_json((folder / "config.json").read_text()).steps == 6
  assert read_config(folder).steps == 6
  root, step = find_checkpoint(folder)
  position = json.loads((root / str(step) / "data/data.json").read_text())
  assert position == {
    "step": 6,
    "best": None,
    "best_metric": "",
    "records": 5,
    "fingerprint": "a",
  }


@pytest.mark.parametrize("first", [1, 3, 4])
def test_a_run_in_two_parts_is_the_run(config, whole, tmp_path, first, capfd):
  run(config, tmp_path / "parts", steps=first)
  capfd.readouterr()
  source = Source()
  again = run(config, tmp_path / "parts", source, steps=6)
  assert_same(again.state, whole.state)
  assert source.opened[0].step >= 6 and len(source.opened) == 1
  assert lines(tmp_path / "parts") == [1, 2, 3, 4, 5, 6]
  said = capfd.readouterr().err
  assert f"going on from step {first} in {tmp_path / 'parts'}" in said
  assert f"config.steps was {first} in the checkpoint, now 6" in said


def test_steps_that_were_not_saved_stand_in_the_file_once(config, whole, tmp_path):
  """As a kill leaves it: lines up to step 5 and half of one more, a checkpoint of step 4."""
  run(config, tmp_path / "run", steps=4)
  with open(tmp_path / "run/metrics.jsonl", "a", encoding="utf-8") as file:
    file.write('{"step": 5, "loss/mean": 9.0}\n{"step": 6, "loss')
  again = run(config, tmp_path / "run", steps=6)
  assert_same(again.state, whole.state)
  assert lines(tmp_path / "run") == [1, 2, 3, 4, 5, 6]
  first, second = ((f / "metrics.jsonl").read_text() for f in (whole.workdir, tmp_path / "run"))
  losses = [[json.loads(x)["loss/mean"] for x in t.splitlines()] for t in (first, second)]
  assert losses[0] == losses[1]


def test_a_finished_run_reads_no_data_and_is_left_as_it_is(config, tmp_path, capfd):
  first = run(config, tmp_path)
  before = (tmp_path / "metrics.jsonl").read_bytes()
  method = Toy()
  again = run(config, tmp_path, Source(hook=lambda step: pytest.fail("data read")), method)
  assert (again.step, again.stopped, method.stepped) == (6, False, False)
  assert_same(first.state, again.state)
  assert "at step 6 of 6: nothing is left to do; --config.steps=N" in capfd.readouterr().err
  assert (tmp_path / "metrics.jsonl").read_bytes() == before
  assert run(config, tmp_path, steps=4).step == 6


@pytest.mark.parametrize(("mode", "count"), [("jit", 1), ("jit", 8), ("pmap", 2)])
def test_going_on_with_other_devices(config, whole, tmp_path, monkeypatch, mode, count):
  on(4, monkeypatch)
  run(config, tmp_path / "run", steps=3)
  config.parallel.mode = mode
  on(count, monkeypatch)
  again = run(config, tmp_path / "run", steps=6)
  for x, y in zip(
    jax.tree.leaves(again.state), jax.tree.leaves(whole.state), strict=True
  ):
    assert x.shape == y.shape
    np.testing.assert_allclose(np.asarray(x), np.asarray(y), atol=1e-5)


def test_a_batch_that_the_devices_do_not_divide(config, tmp_path, monkeypatch):
  on(8, monkeypatch)
  config.batch_size = 12
  with fails("batch_size 12 is not divisible by 8 devices; use 16 or 8"):
    run(config, tmp_path / "run")
  assert not (tmp_path / "run").exists()


# --- SIGTERM


def terminate(*unused):
  os.kill(os.getpid(), signal.SIGTERM)


class InterruptedCompiling(Toy):
  def train_step(self, *args):
    terminate()
    return super().train_step(*args)


class InterruptedInit(Toy):
  def init(self, *args):
    terminate()
    return super().init(*args)


@pytest.mark.parametrize(
  ("moment", "reached"),
  [
    ("reading weights", 0),
    ("making the state", 0),
    ("waiting for the first batch", 0),
    ("compiling", 1),
    ("waiting for a later batch", None),
    ("evaluating", 2),
    ("writing a line", 3),
    ("saving", 4),
    ("after the last step", 6),
  ],
)
def test_sigterm_saves_the_step(
  config, whole_scored, tmp_path, moment, reached, monkeypatch, capfd
):
  before = signal.getsignal(signal.SIGTERM)
  config = scored(config)
  config.checkpoint.every_steps = 4  # so that most moments lie between two checkpoints
  method, source = Toy(), Source(heldout=heldout(2))
  if moment == "reading weights":
    monkeypatch.setattr(method, "load_frozen", lambda: terminate() or {"offset": np.float32(0.5)})
  elif moment == "making the state":
    method = InterruptedInit()
  elif moment == "compiling":
    method = InterruptedCompiling()
  elif moment == "waiting for the first batch":
    source = Source(hook=lambda step: step == 0 and terminate(), heldout=heldout(2))
  elif moment == "waiting for a later batch":
    source = Source(hook=lambda step: step == 5 and terminate(), heldout=heldout(2))
  elif moment == "evaluating":
    original = watch.score
    told = lambda *given, **more: (terminate(), original(*given, **more))[1]
    monkeypatch.setattr(watch, "score", told)
  elif moment == "after the last step":
    original = Checkpoints.wait
    monkeypatch.setattr(
      Checkpoints, "wait", lambda self: (self.latest_step() == 6 and terminate(), original(self))[1]
    )
  else:
    target, name, at = (Checkpoints, "save", 4)
    if "line" in moment:
      target, name, at = (monitor.Logbook, "write", 3)
    original = getattr(target, name)

    def interrupted(self, step, *args, **more):
      if step == at:
        terminate()
      return original(self, step, *args, **more)

    monkeypatch.setattr(target, name, interrupted)
  capfd.readouterr()
  outcome = run(config, tmp_path / "run", source, method)
  monkeypatch.undo()
  on(2, monkeypatch)
  assert signal.getsignal(signal.SIGTERM) == before
  assert all(batches.closed for batches in source.opened)
  assert outcome.stopped == (outcome.step < 6)
  if reached is not None:
    assert outcome.step == reached
  with Checkpoints(tmp_path / "run", create=False) as checkpoints:
    assert checkpoints.latest_step() == (outcome.step or None)
  said = f"stopped at step {outcome.step} of 6; the same command goes on from there"
  assert (said in capfd.readouterr().err) == outcome.stopped
  again = run(config, tmp_path / "run", Source(heldout=heldout(2)))
  assert_same(again.state, whole_scored.state)
  assert lines(tmp_path / "run") == [1, 2, 3, 4, 5, 6]
  assert lines(tmp_path / "run", "automatic/psnr_rgb") == [2, 4, 6]


@pytest.fixture
def pressed():
  """A function that presses Ctrl-C, in a process that heeds it."""
  before = signal.signal(signal.SIGINT, signal.default_int_handler)
  yield lambda *unused: os.kill(os.getpid(), signal.SIGINT)
  signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(("moment", "reached"), [("making the state", 0), ("a batch", 3)])
def test_ctrl_c_saves_the_step_and_ends_the_caller(
  config, whole, tmp_path, moment, reached, pressed, capfd
):
  method, source = Toy(), Source()
  if moment == "a batch":  # which is fetched ahead of the step
    source = Source(hook=lambda step: step == 5 and pressed())
  else:
    method.load_frozen = lambda: pressed() or {"offset": np.float32(0.5)}
  capfd.readouterr()
  with pytest.raises(KeyboardInterrupt):
    run(config, tmp_path / "run", source, method)
  said = capfd.readouterr().err
  assert "Ctrl-C once more ends at once, without saving" in said
  assert f"stopped at step {reached} of 6; the same command goes on from there" in said
  assert signal.getsignal(signal.SIGINT) == signal.default_int_handler
  assert signal.set_wakeup_fd(-1) == -1
  with Checkpoints(tmp_path / "run", create=False) as checkpoints:
    assert checkpoints.latest_step() == (reached or None)
  again = run(config, tmp_path / "run")
  assert_same(again.state, whole.state)


def test_a_folder_in_which_a_run_goes_is_left_to_it(config, tmp_path):
  def another(step):
    if step == 4:
      with fails(r"is in use by another training \(process \d+ on .*choose another --workdir"):
        run(config, tmp_path)

  assert run(config, tmp_path, Source(hook=another)).step == 6
  assert lines(tmp_path) == [1, 2, 3, 4, 5, 6]
  (tmp_path / ".lock").write_text("process 1, killed long ago")
  assert run(config, tmp_path, steps=8).step == 8


def test_it_says_that_it_compiles_and_how_long_that_took_last_time(config, tmp_path, capfd):
  class Slow(Toy):
    def train_step(self, *args):
      time.sleep({"fast": 1.5, "slow": 0.0}[args[-1]])  # while it is traced
      return super().train_step(*args)

  config.log.every_steps = 3
  run(config, tmp_path, method=Slow())
  told = [x for x in capfd.readouterr().err.splitlines() if "compiling" in x]
  assert told == [
    f"compiling the training step ({phase}): it takes from seconds to many minutes"
    for phase in ("fast", "slow")
  ]  # fmt: skip
  found = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
  took = found[0]["compile_seconds/fast"]
  assert 1.5 <= took < 600 and found[0]["compile_seconds/slow"] > 0
  assert not [name for name in found[1] if name.startswith("compile")]
  run(config, tmp_path, method=Slow(), steps=8)
  told = [x for x in capfd.readouterr().err.splitlines() if "compiling" in x]
  assert told[0] == (
    f"compiling the training step (fast): about as long as last time, {took:.0f} s"
  )
  assert monitor._compiling("only", 725.0).endswith("about as long as last time, 12 min")


def test_iterators_are_closed_and_the_handler_put_back_after_an_error(config, tmp_path):
  def broken(step):
    if step == 3:
      raise UserError("the disk broke")

  before = signal.getsignal(signal.SIGTERM)
  source = Source(hook=broken)
  with fails("the disk broke"):
    run(config, tmp_path, source)
  assert source.opened[0].closed and signal.getsignal(signal.SIGTERM) == before


# --- numbers that are none


@pytest.mark.parametrize(
  ("what", "lines_every"), [("loss", 1), ("loss", 10), ("parameters", 1)]
)
def test_the_last_good_state_is_saved_and_the_batch_named(
  config, whole, tmp_path, what, lines_every
):
  """Whether the step is looked at at once or some steps late."""
  config.steps, config.checkpoint.every_steps, config.log.every_steps = 12, 100, lines_every
  method = Toy(poison=(5, what))
  source = Source(name=lambda i: f"photo{i}.jpg")
  name = {"loss": "loss/mean", "parameters": "a gradient or parameter"}[what]
  with fails(
    rf"{name} not finite at step 5 \(pictures: photo0.jpg, .*\); the last good state, step 4, is "
    "saved in .*learning_rate.*skip_nonfinite"
  ):
    run(config, tmp_path / "run", source, method, steps=12)
  with Checkpoints(tmp_path / "run", create=False) as checkpoints:
    assert checkpoints.latest_step() == 4
  told = json.loads((tmp_path / "run/nonfinite.jsonl").read_text())
  assert told == {"step": 5, "what": name, "pictures": ["photo0.jpg"] * BATCH}
  # From there on it is the run that it would have been.
  assert_same(run(config, tmp_path / "run", steps=6).state, whole.state)


def test_not_finite_from_the_first_step_on_nothing_is_saved(config, tmp_path):
  with fails("loss/mean not finite at step 1 .*; there is no checkpoint yet in"):
    run(config, tmp_path, method=Toy(poison=(1, "loss")))
  line = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[-1])
  assert (line["step"], line["loss/mean"]) == (1, None)


class Stumbling(Toy):
  """Has a loss that is no number at some steps."""

  def __init__(self, at):
    super().__init__()
    self.at = jnp.array(at)

  def train_step(self, state, *args):
    new, logs = super().train_step(state, *args)
    return new, {"loss/mean": jnp.where((self.at == new.step).any(), jnp.nan, logs["loss/mean"])}


@pytest.mark.parametrize("mode", ["jit", "pmap"])
def test_updates_that_are_not_finite_are_left_out_as_often_as_allowed(
  config, tmp_path, mode, capfd
):
  config.skip_nonfinite, config.parallel.mode = 2, mode
  outcome = run(config, tmp_path / "run", method=Stumbling([2, 5]))
  assert (outcome.step, int(outcome.state.step), int(outcome.state.skipped)) == (6, 6, 2)
  said = capfd.readouterr().err
  assert "loss/mean not finite at step 2 (pictures: 0, 0," in said
  assert said.count("the update was left out\n") == 2
  last = json.loads((tmp_path / "run/metrics.jsonl").read_text().splitlines()[-1])
  assert last["skipped_updates"] == 2.0
  state = by_hand(config, left_out=(2, 5))[-1]
  for tree in ("params", "opt_state"):
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6),
      getattr(outcome.state, tree), getattr(state, tree),
    )  # fmt: skip


def test_a_run_in_two_parts_counts_what_is_left_out_on(config, tmp_path):
  config.skip_nonfinite = 1
  run(config, tmp_path / "parts", method=Stumbling([2, 5]), steps=4)
  with fails("not finite at step 5 .* the last good state, step 4"):
    run(config, tmp_path / "parts", method=Stumbling([2, 5]), steps=6)
  # Allowed no more, it goes on until the next.
  config.skip_nonfinite = 0
  with fails("not finite at step 5 .* step 4"):
    run(config, tmp_path / "parts", method=Stumbling([2, 5]), steps=6)
  assert run(config, tmp_path / "parts", method=Stumbling([2]), steps=6).step == 6


# --- averages


def test_averages_color_and_training_goes_on_from_the_parameters(config, tmp_path):
  config = scored(config)
  config.ema_decay = 0.5
  plain = run(config, tmp_path / "plain", Source(heldout=heldout(2)))
  run(config, tmp_path / "parts", Source(heldout=heldout(2)), steps=3)
  part = run(config, tmp_path / "parts", Source(heldout=heldout(2)), steps=6)
  assert_same(part.state, plain.state)
  w = [np.asarray(s.params["generator"]["w"], np.float64) for s in by_hand(config)]
  average = w[0]
  for t, now in enumerate(w[1:]):
    decay = min(0.5, (1 + t) / (10 + t))
    average = decay * average + (1 - decay) * now
  found = np.asarray(plain.state.average["generator"]["w"])
  np.testing.assert_allclose(found, average, atol=1e-6)
  assert np.abs(found - w[-1]).max() > 1e-3
  # What is scored on the way, and read for use, is the average.
  mse = np.square(heldout(2)[0]["image"] / 255 - np.round(255 / (1 + np.exp(-average))) / 255)
  line = json.loads((tmp_path / "plain/metrics.jsonl").read_text().splitlines()[-1])
  expected = np.mean(-10 * np.log10(mse.mean((1, 2, 3))))
  assert line["automatic/psnr_rgb"] == pytest.approx(expected, abs=1e-3)
  shapes = jax.eval_shape(lambda: Toy().init(jax.random.key(0), {}))
  params, _ = restore_for_inference(tmp_path / "plain", (shapes.params, {}), "last")
  assert np.asarray(params["generator"]["w"]).tobytes() == found.tobytes()


def test_averaging_may_begin_and_end_in_the_middle_of_a_run(config, whole, tmp_path, capfd):
  run(config, tmp_path / "run", steps=2)
  config.ema_decay = 0.9
  begun = run(config, tmp_path / "run", steps=4)
  assert "config.ema_decay was 0.0 in the checkpoint, now 0.9" in capfd.readouterr().err
  assert begun.state.average
  config.ema_decay = 0.0
  ended = run(config, tmp_path / "run", steps=6)
  assert not ended.state.average
  assert_same(ended.state, whole.state)


# --- scores


def test_best_is_kept_and_remembered(config, tmp_path, monkeypatch):
  config = scored(config)
  config.checkpoint.every_steps = 100
  values = {2: 20.0, 4: 22.0, 6: 21.0, 8: 21.5, 10: 23.0, 12: 1.0}
  saved = []
  original = Checkpoints.save

  def save(self, step, *args, **more):
    saved.append(step)
    original(self, step, *args, **more)

  monkeypatch.setattr(Checkpoints, "save", save)
  monkeypatch.setattr(
    loop.Watch,
    "__call__",
    lambda self, parallel, state, step, last: (
      {"automatic/psnr_rgb": values[step]} if step in values else {}
    ),
  )
  run(config, tmp_path, steps=6)
  assert saved == [2, 4, 6] and find_checkpoint(tmp_path, "best")[1] == 4
  run(config, tmp_path, steps=12)
  assert saved == [2, 4, 6, 10, 12]  # 8 is better than 6, where it went on, but not the best
  assert find_checkpoint(tmp_path, "best")[1] == 10 and find_checkpoint(tmp_path)[1] == 12


def test_evaluations_and_panels_come_when_they_are_due(config, tmp_path):
  config = scored(config, modes=("automatic", "self"))
  config.log.panels_every = 4
  config.steps = 5
  run(config, tmp_path, Source(heldout=heldout(3, masked=(1,))))
  assert lines(tmp_path, "self/ssim_rgb") == lines(tmp_path, "automatic/psnr_ab") == [2, 4, 5]
  assert sorted(p.name for p in (tmp_path / "panels").iterdir()) == [
    "step_00000004.png", "step_00000005.png",
  ]  # fmt: skip
  with Image.open(tmp_path / "panels/step_00000005.png") as image:
    panel = np.asarray(image.convert("RGB"))
  truth = heldout(3)[0]["image"]
  # Two readable pictures, a row each, in which their truth stands somewhere.
  windows = np.lib.stride_tricks.sliding_window_view(panel, (SIDE, SIDE, 3))[..., 0, :, :, :]
  found = [bool((windows == picture).all(axis=(2, 3, 4)).any()) for picture in truth]
  assert found == [True, False, True]


def test_the_mean_of_a_score_is_what_the_toy_earns(config, tmp_path):
  config = scored(config)
  source = Source(heldout=heldout(2))
  outcome = run(config, tmp_path, source, steps=2)
  w = np.asarray(outcome.state.params["generator"]["w"], np.float64)
  rgb = np.round(255 / (1 + np.exp(-w))) / 255
  mse = np.square(source.data.heldout[0]["image"] / 255 - rgb).mean((1, 2, 3))
  text = (tmp_path / "metrics.jsonl").read_text().splitlines()[-1]
  assert json.loads(text)["automatic/psnr_rgb"] == pytest.approx(
    np.mean(-10 * np.log10(mse)), abs=1e-3
  )


@pytest.mark.parametrize(
  ("change", "pictures", "masked", "pattern"),
  [
    ({}, 2, (0, 1), "none of the held-out pictures can be read; check config.data.heldout"),
    ({"modes": ("random",)}, 2, (0,), "'random', which takes another picture .* one held-out"),
    ({"modes": ("self",)}, 2, (), "best_metric is 'automatic/psnr_rgb', but .* self/psnr_rgb"),
    ({"modes": ()}, 2, (), "best_metric is 'automatic/psnr_rgb', but what is measured is nothing"),
  ],
)
def test_held_out_pictures_that_cannot_serve(config, tmp_path, change, pictures, masked, pattern):
  method = Toy()
  with fails(pattern):
    source = Source(heldout=heldout(pictures, masked))
    run(scored(config, **change), tmp_path / "run", source, method)
  assert not method.stepped and not (tmp_path / "run").exists()


# --- another run's folder


def test_a_checkpoint_of_another_method_or_network(config, tmp_path):
  run(config, tmp_path, steps=2)
  before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if p.is_file()}
  method = Toy(width=5)
  with fails(r"/2 .* is of another network: .*generator/w expected float32\[5\], found float32\[3"):
    run(config, tmp_path, method=method, steps=6)
  config.method.name = "other"
  told = f"{tmp_path} holds a run of method '{__name__}:Toy', the config asks for 'other'; choose"
  with fails(told):
    run(config, tmp_path, method=method)
  assert not method.stepped
  assert before == {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if p.is_file()}


@pytest.mark.parametrize(
  ("name", "content"),
  [
    ("config.json", "{"),
    ("config.json", '{"model": "bert"}'),
    ("config.json", "[1, 2]"),
    ("config.json", "\xff"),
    ("metrics.jsonl", '{"epoch": 1}\n'),
  ],
)
def test_files_of_another_program_are_not_overwritten(config, tmp_path, name, content):
  (tmp_path / name).write_text(content, encoding="latin-1")
  with fails(f"/{name} is not of a run of scs_jax and would be overwritten; choose another"):
    run(config, tmp_path)
  assert [p.name for p in tmp_path.iterdir()] == [name]
  assert (tmp_path / name).read_text(encoding="latin-1") == content


def test_other_files_beside_the_run_stay(config, tmp_path):
  (tmp_path / "notes.txt").write_text("mine")
  run(config, tmp_path, steps=1)
  assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_run_killed_before_its_first_checkpoint_starts_again(config, whole, tmp_path):
  folder = tmp_path / "run"
  folder.mkdir()
  (folder / "config.json").write_text(configs.to_json(config))
  (folder / "metrics.jsonl").write_text('{"step": 1, "loss/mean": 9.0}\n')
  assert_same(run(config, folder).state, whole.state)
  assert lines(folder) == [1, 2, 3, 4, 5, 6]


# --- what is said


def test_what_changed_is_said_and_what_is_free_is_not(config, tmp_path, capfd):
  run(config, tmp_path, steps=2)
  capfd.readouterr()
  config.optimizer.learning_rate = 0.5
  config.log.every_steps = 3
  config.checkpoint.keep_last = 2
  identity = {"records": 6, "fingerprint": "a"}
  run(config, tmp_path, Source(identity=identity, notes=["one file is empty"]), steps=4)
  said = capfd.readouterr().err
  assert "config.optimizer.learning_rate was 1.0 in the checkpoint, now 0.5\n" in said
  assert "the training data changed since the checkpoint (records 5 -> 6)\n" in said
  assert "one file is empty\n" in said
  assert "log.every" not in said and "keep_last" not in said


def test_unreadable_pictures_are_counted_and_named(config, tmp_path, capfd):
  bad = (7, 3)
  run(config, tmp_path, Source(bad=bad, name=lambda i: f"photo{i}.jpg"))
  said = capfd.readouterr().err
  expected = "pictures that cannot be read, each replaced by the next: 2 (photo3.jpg, photo7.jpg)\n"
  assert expected in said
  last = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[-1])
  assert last["unreadable_files"] == 2
  many = monitor._unreadable(range(12), lambda i: f"n{i}")
  assert many.endswith("12 (n0, n1, n2, n3, n4, n5, n6, n7, n8, n9 and 2 more)")


def test_pictures_a_second_leave_compiling_out(config, tmp_path):
  config.log.every_steps = 3
  run(config, tmp_path)
  rates = [json.loads(line)["images_per_second"]
           for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]  # fmt: skip
  assert len(rates) == 2 and all(math.isfinite(rate) and rate > 0 for rate in rates)
