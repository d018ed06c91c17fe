"""Checkpoints: bit for bit, whole or absent, and one line for whatever is wrong."""

import errno
import gc
import hashlib
import json
import logging
import shutil

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from ml_collections import ConfigDict

from scs_jax.errors import UserError
from scs_jax.training import checkpoint, checkpoint_arrays, checkpoint_folder


class State(flax.struct.PyTreeNode):
  step: object
  params: object
  opt_state: object
  model_state: object
  frozen: object
  average: object = flax.struct.field(default_factory=dict)
  skipped: object = flax.struct.field(default_factory=lambda: np.int32(0))


OPTIMIZER = optax.chain(
  optax.clip_by_global_norm(1.0), optax.adam(optax.linear_schedule(1e-3, 0.0, 100))
)


def make_state(seed=0, width=4):
  """Every kind of leaf that occurs: float32, bfloat16, int32, a uint32 key; -0, NaN, denormals."""
  rng = np.random.default_rng(seed)
  kernel = rng.standard_normal((3, width)).astype(np.float32)
  kernel[0, :3] = [-0.0, np.nan, 1e-42]
  params = {
    "generator": {
      "conv": {"kernel": jnp.asarray(kernel), "bias": jnp.zeros(width)},
      "scale": jnp.asarray(rng.standard_normal(5), jnp.bfloat16),
    },
    "discriminator": {"layers": [jnp.ones(2), jnp.full((), 7.5)]},
  }
  return State(
    step=jnp.asarray(seed, jnp.int32),
    params=params,
    opt_state={name: OPTIMIZER.init(p) for name, p in params.items()},
    model_state={"generator": {"key": jnp.asarray([2**32 - 1, 5], jnp.uint32), "none": None}},
    frozen={"vgg16": jnp.full(3, float(seed))},
  )


def make_config(method="scsnet"):
  config = ConfigDict({"method": {"name": method, "width": 4}, "scales": (2.0, 3.3), "seed": 1})
  return config.lock()


def written(state):
  return {"step": state.step, "params": state.params, "opt_state": state.opt_state,
          "model_state": state.model_state}


def assert_same(a, b):
  """Equal in structure, dtype, shape and every bit."""
  assert jax.tree.structure(a) == jax.tree.structure(b)
  for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
    x, y = np.asarray(x), np.asarray(y)
    assert (x.dtype, x.shape) == (y.dtype, y.shape)
    assert x.tobytes() == y.tobytes()


def save(checkpoints, step, state=None, **more):
  arguments = {"data": {"position": step}, "config": make_config(), "wait": True} | more
  checkpoints.save(step, state or make_state(step), **arguments)


def steps_in(folder):
  return sorted(int(p.name) for p in (folder / "checkpoints").iterdir() if p.name.isdigit())


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  """A run with step 3, for the tests that only read."""
  folder = tmp_path_factory.mktemp("run")
  with checkpoint.Checkpoints(folder) as checkpoints:
    save(checkpoints, 3)
  return folder


def fails(pattern):
  """A UserError of one line."""
  return pytest.raises(UserError, match=rf"\A(?!.*\n).*{pattern}")


# --- what comes back


def test_round_trip_is_bitwise_and_leaves_frozen_out(run):
  like = make_state(seed=9).replace(frozen={"vgg16": "handed through"})
  with checkpoint.Checkpoints(run, create=False) as checkpoints:
    state, data = checkpoints.restore(3, like, config=make_config())
    assert checkpoints.latest_step() == 3
  assert_same(written(state), written(make_state(3)))
  assert isinstance(state, State)
  assert isinstance(state.opt_state["generator"][1][0], optax.ScaleByAdamState)
  assert state.frozen == {"vgg16": "handed through"}
  assert data == {"position": 3}
  about = json.loads((run / "checkpoints/3/about/about.json").read_text())
  assert about["versions"].keys() == {"jax", "flax", "orbax", "scs_jax", "python"}
  assert about["versions"]["jax"] == jax.__version__
  assert not [name for item in about["leaves"].values() for name in item if "vgg16" in name]


def test_config_comes_from_the_folder_alone(run):
  for folder in (run, run / "checkpoints", run / "checkpoints/3", f"{run}/"):
    config = checkpoint_folder.read_config(folder)
    assert config == make_config() and config.is_locked


def test_inference_reads_the_weights_alone(run, tmp_path):
  shutil.copytree(run, tmp_path / "copy")
  for file in (tmp_path / "copy/checkpoints/3/training").rglob("*"):
    if file.is_file():
      file.write_bytes(b"")  # reading the optimizer's state would fail
  like = jax.eval_shape(lambda: (make_state().params, make_state().model_state))
  params, model_state = checkpoint_arrays.restore_for_inference(tmp_path / "copy", like)
  assert_same((params, model_state), (make_state(3).params, make_state(3).model_state))


def replicated(count):
  mesh = jax.make_mesh((count,), ("data",), axis_types=(AxisType.Auto,),
                       devices=jax.devices()[:count])
  return NamedSharding(mesh, PartitionSpec())


def test_restores_on_another_number_of_devices(tmp_path):
  assert jax.device_count() == 8
  state = make_state(2)
  with checkpoint.Checkpoints(tmp_path) as checkpoints:
    save(checkpoints, 2, jax.device_put(state, replicated(8)))
    for count in (1, 4):
      sharding = replicated(count)
      like = jax.tree.map(
        lambda x, sharding=sharding: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding),
        state,
      )
      back, _ = checkpoints.restore(2, like)
      assert_same(written(back), written(state))
      for leaf in jax.tree.leaves(written(back)):
        assert leaf.sharding == sharding
        assert len(leaf.addressable_shards) == count


def test_sharded_arrays_are_saved_whole(tmp_path):
  split = NamedSharding(replicated(4).mesh, PartitionSpec("data"))
  state = make_state(1)
  state = state.replace(params={"w": jax.device_put(jnp.arange(8.0), split)})
  with checkpoint.Checkpoints(tmp_path) as checkpoints:
    save(checkpoints, 1, state)
    back, _ = checkpoints.restore(1, state)
  assert back.params["w"].sharding == split
  np.testing.assert_array_equal(back.params["w"], np.arange(8.0))


# --- beside the training


def test_donating_the_state_right_after_save_changes_nothing_written(tmp_path):
  """Also with restored arrays, whose memory came from the reader."""
  advance = jax.jit(lambda x: jax.tree.map(lambda a: a * 3 + 1, x), donate_argnums=0)
  start = {"a": np.arange(2**16, dtype=np.uint32), "b": np.ones(2**15, np.uint32)}
  mesh = replicated(8)
  state = make_state().replace(params=jax.device_put(start, mesh))
  like = state
  want = start
  with checkpoint.Checkpoints(tmp_path, keep_last=4) as checkpoints:
    for step in range(4):
      save(checkpoints, step, state, wait=False)
      state = state.replace(params=advance(state.params))  # at once; the file is not there yet
    for step in range(4):
      back, _ = checkpoints.restore(step, like)
      assert_same(jax.device_get(back.params), want)
      want = {name: a * np.uint32(3) + np.uint32(1) for name, a in want.items()}
      again = advance(back.params)
      assert_same(jax.device_get(again), want)


def test_what_the_caller_changes_after_save_is_not_written(tmp_path):
  data = {"shard": [1, 2]}
  host = np.ones(3, np.float32)
  state = make_state(1).replace(params={"w": host})
  with checkpoint.Checkpoints(tmp_path) as checkpoints:
    save(checkpoints, 1, state, data=data, wait=False)
    data["shard"].append(3)
    host[:] = 5
    back, position = checkpoints.restore(None, state)
  assert position == {"shard": [1, 2]}
  np.testing.assert_array_equal(back.params["w"], np.ones(3))


def test_leaving_the_context_completes_the_save(tmp_path):
  with checkpoint.Checkpoints(tmp_path) as checkpoints:
    save(checkpoints, 1, wait=False)
  assert steps_in(tmp_path) == [1]


def test_users_see_none_of_orbax_logging(tmp_path, caplog):
  caplog.set_level(logging.INFO)
  with checkpoint.Checkpoints(tmp_path, best_metric="psnr") as checkpoints:
    save(checkpoints, 1)
    checkpoints.restore(1, make_state())
  assert [r.getMessage() for r in caplog.records if "orbax" in r.pathname] == []


# --- which are kept


@pytest.mark.parametrize(
  ("mode", "values", "best", "kept"),
  [
    ("max", [20.0, 25.0, 22.0, 21.0], 2, [2, 4]),
    ("min", [20.0, 25.0, 18.0, 21.0], 3, [3, 4]),
    ("max", [20.0, 25.0, None, 26.0], 4, [4]),
    ("max", [20.0, float("nan"), None, float("inf")], 1, [1, 4]),  # what is not finite never wins
    ("max", [None, None, 20.0, None], 3, [3, 4]),
    ("max", [20.0, 20.0, 19.0, 18.0], 2, [2, 4]),  # the later of equals
  ],
)
def test_best_and_last_are_kept(tmp_path, mode, values, best, kept):
  state = make_state().replace(params={"w": jnp.ones(2)}, opt_state={}, model_state={})
  with checkpoint.Checkpoints(tmp_path, best_metric="psnr", best_mode=mode) as checkpoints:
    assert (checkpoints.latest_step(), checkpoints.best_step()) == (None, None)
    for step, value in enumerate(values, 1):
      metrics = None if value is None else {"psnr": value, "loss": 1.0}
      save(checkpoints, step, state, metrics=metrics, wait=False)
    checkpoints.wait()
    assert (checkpoints.latest_step(), checkpoints.best_step()) == (4, best)
  assert steps_in(tmp_path) == kept
  assert not (tmp_path / "checkpoints/removed").exists()
  assert checkpoint_folder.find_checkpoint(tmp_path, "best")[1] == best  # from the folder alone
  assert checkpoint_folder.find_checkpoint(tmp_path)[1] == 4
  with checkpoint.Checkpoints(tmp_path, best_metric="psnr", best_mode=mode) as checkpoints:
    save(checkpoints, 5, state)  # a resumed run still knows which is best
    assert checkpoints.best_step() == best
  assert steps_in(tmp_path) == sorted({best, 5})


def test_a_saved_step_is_left_as_it_is(tmp_path):
  with checkpoint.Checkpoints(tmp_path) as checkpoints:
    save(checkpoints, 1, make_state(1))
    save(checkpoints, 1, make_state(2))
    back, _ = checkpoints.restore(1, make_state())
  assert_same(written(back), written(make_state(1)))


def test_another_best_metric_in_a_resumed_run(tmp_path):
  state = make_state().replace(opt_state={}, model_state={})
  with checkpoint.Checkpoints(tmp_path, best_metric="psnr") as checkpoints:
    save(checkpoints, 1, state, metrics={"psnr": 30.0})
  with checkpoint.Checkpoints(tmp_path, best_metric="ssim") as checkpoints:
    assert checkpoints.best_step() is None
    for step, value in ((2, 0.9), (3, 0.8)):
      save(checkpoints, step, state, metrics={"ssim": value})
    assert checkpoints.best_step() == 2
    with fails(r"chosen by 'ssim', but the metrics are psnr"):
      save(checkpoints, 4, state, metrics={"psnr": 1.0})
  assert steps_in(tmp_path) == [2, 3]


# --- leftovers, a full disk

def test_leftovers_are_cleared_and_never_taken_for_whole(run, tmp_path):
  shutil.copytree(run, tmp_path / "run")
  root = tmp_path / "run/checkpoints"
  shutil.copytree(root / "3", root / "4.orbax-checkpoint-tmp")
  shutil.copytree(root / "3", root / "removed/2")
  shutil.rmtree(root / "removed/2/weights")
  with checkpoint.Checkpoints(tmp_path / "run", create=False) as reader:
    assert reader.latest_step() == 3
  assert (root / "4.orbax-checkpoint-tmp").exists()  # a reader leaves a writer's work alone
  with checkpoint.Checkpoints(tmp_path / "run") as checkpoints:
    assert checkpoints.latest_step() == 3
    save(checkpoints, 5)
  assert [p.name for p in root.iterdir()] == ["5"]


NO_NOISE = pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")


@NO_NOISE
def test_full_disk_is_one_line_and_keeps_the_last_checkpoint(tmp_path, small_disk, capfd):
  with small_disk(tmp_path / "disk", "3m") as disk:
    small = make_state(1).replace(params={"w": np.ones(2**17, np.float32)})
    many = {f"w{i}": np.full(2**14, i, np.float64) for i in range(64)}  # 8 MB, many at fault
    large = small.replace(params=many)
    checkpoints = checkpoint.Checkpoints(disk / "run")
    save(checkpoints, 1, small)
    save(checkpoints, 2, large, wait=False)
    line = (
      rf"could not write checkpoint for step 2 in {disk}/run/checkpoints: No space left on device; "
      r"the last whole checkpoint is step 1; free space and run the same command again\Z"
    )
    with fails(line):
      checkpoints.wait()
    assert steps_in(disk / "run") == [1]
    save(checkpoints, 3, large, wait=False)
    with fails("step 3 .* No space left"):  # at the next save
      save(checkpoints, 4, small)
    save(checkpoints, 4, small)  # what did not fit is gone, and there is room again
    save(checkpoints, 5, large, wait=False)
    with fails("step 5 .* No space left .*step 4"):
      checkpoints.close()
    assert steps_in(disk / "run") == [4]
    with checkpoint.Checkpoints(disk / "run") as again:
      back, _ = again.restore(4, small)
      assert_same(np.asarray(back.params["w"]), small.params["w"])
  assert "Traceback" not in capfd.readouterr().err


def test_a_failed_save_does_not_hide_what_ended_the_run(tmp_path, monkeypatch):
  def full(*arguments, **more):
    raise OSError(errno.ENOSPC, "No space left on device")

  with (
    pytest.raises(KeyboardInterrupt) as caught,
    checkpoint.Checkpoints(tmp_path) as checkpoints,
  ):
    monkeypatch.setattr(checkpoints._manager, "save", full)
    save(checkpoints, 1, wait=False)
    raise KeyboardInterrupt
  assert "there is no whole checkpoint yet; free space" in caught.value.__notes__[0]


def test_a_folder_that_vanishes_is_one_line(tmp_path):
  """Permission to write cannot be taken from root; a file in the folder's place serves as well."""
  with pytest.raises(UserError), checkpoint.Checkpoints(tmp_path / "run") as checkpoints:
    save(checkpoints, 1)
    shutil.rmtree(tmp_path / "run")
    (tmp_path / "run").write_text("")
    with fails("step 2 .*: Not a directory; there is no whole checkpoint yet; choose another"):
      save(checkpoints, 2)
    raise UserError("end")


# --- wrong content


def overwrite(path, position=None):
  """Changes four bytes in the middle of a file, or at `position`, whatever they were."""
  content = bytearray(path.read_bytes())
  start = len(content) // 2 if position is None else position
  content[start : start + 4] = bytes(b ^ 0x5A for b in content[start : start + 4])
  path.write_bytes(content)


def files_of(folder):
  return sorted(p.relative_to(folder).as_posix() for p in folder.glob("*/**/*") if p.is_file())


def test_checksums_are_of_all_files_and_those_of_sha256sum(run):
  folder = run / "checkpoints/3"
  lines = [line.split("  ") for line in (folder / "SHA256SUMS").read_text().splitlines()]
  assert [name for _, name in lines] == files_of(folder)
  assert {name.partition("/")[0] for _, name in lines} >= {
    "weights", "training", "data", "config", "about"
  }
  for digest, name in lines:
    assert digest == hashlib.sha256((folder / name).read_bytes()).hexdigest()


def test_changed_bytes_of_any_file_are_found(run, tmp_path):
  shutil.copytree(run, tmp_path / "run")
  folder = tmp_path / "run/checkpoints/3"
  like = make_state()
  with checkpoint.Checkpoints(tmp_path / "run", create=False) as checkpoints:
    for item in ("weights", "training", "data", "config", "about"):
      names = [name for name in files_of(folder) if name.startswith(item)]
      assert names
      for name in names:
        whole = (folder / name).read_bytes()
        for spoil in (overwrite, lambda path: path.write_bytes(path.read_bytes()[:-1])):
          spoil(folder / name)
          line = rf"/3 is damaged: the bytes of {name} are not those that were written; copy it ag"
          with fails(line):
            checkpoints.restore(3, like, config=make_config())
          (folder / name).write_bytes(whole)
        (folder / name).unlink()
        with fails(rf"/3 is damaged: {name} is missing; copy it again; there is no other step"):
          checkpoints.restore(3, like, config=make_config())
        (folder / name).write_bytes(whole)
    restored, _ = checkpoints.restore(3, like, config=make_config())
  assert_same(written(restored), written(make_state(3)))


def test_damage_matters_to_who_reads_it_and_the_other_steps_are_named(run, tmp_path):
  for step in ("2", "3"):  # of the same content
    shutil.copytree(run / "checkpoints/3", tmp_path / "checkpoints" / step)
  folder = tmp_path / "checkpoints/3"
  for path in folder.glob("training/**/d/*"):
    overwrite(path)
  like = make_state()
  checkpoint_arrays.restore_for_inference(tmp_path, (like.params, like.model_state))
  with checkpoint.Checkpoints(tmp_path, create=False) as checkpoints:
    with fails(
      r"/3 is damaged: the bytes of training/\S+ are not those that were written, and \d more; "
      r"copy it again; or use step 2 \(--step 2; a training goes on from there once 3 is moved away"
    ):
      checkpoints.restore(3, like)
    checkpoints.restore(2, like)


def test_a_checkpoint_of_before_has_no_checksums_and_loads(run, tmp_path):
  shutil.copytree(run, tmp_path / "run")
  (tmp_path / "run/checkpoints/3/SHA256SUMS").unlink()
  with checkpoint.Checkpoints(tmp_path / "run", create=False) as checkpoints:
    state, _ = checkpoints.restore(3, make_state(), config=make_config())
  assert_same(written(state), written(make_state(3)))


@pytest.mark.parametrize("content", [b"0123  weights/a\n", b"\xff\xfe", b"\0" * 80 + b"\n"])
def test_damaged_checksums_are_damage(run, tmp_path, content):
  shutil.copytree(run, tmp_path / "run")
  (tmp_path / "run/checkpoints/3/SHA256SUMS").write_bytes(content)
  with fails("/3 is damaged: SHA256SUMS "):
    checkpoint_folder.read_config(tmp_path / "run")


@NO_NOISE
def test_arrays_that_cannot_be_read_without_checksums(tmp_path):
  params = {f"w{i}": np.full((64, 64), i, np.float32) for i in range(6)}  # in files, not inlined
  state = make_state(3).replace(params=params)
  with checkpoint.Checkpoints(tmp_path) as checkpoints:
    save(checkpoints, 3, state)
  folder = tmp_path / "checkpoints/3"
  (folder / "SHA256SUMS").unlink()
  for file in folder.glob("weights/*/d/*"):
    file.write_bytes(file.read_bytes()[:100])
  with checkpoint.Checkpoints(tmp_path, create=False) as checkpoints:
    with fails("/3 is damaged: its arrays cannot be read .*; copy it again") as error:
      checkpoints.restore(3, state)
    said = str(error.value)
    assert "OUT_OF_RANGE" in said and "<" not in said and "Encountered error" not in said
    gc.collect()
    (folder / "about/about.json").write_text("{")
    with fails("/3 is damaged: about/about.json cannot be read"):
      checkpoints.restore(3, state)


def test_another_method_and_another_network(run):
  with checkpoint.Checkpoints(run, create=False) as checkpoints:
    with fails("/3 was written by method 'scsnet', this run is 'smsanet'; choose the config"):
      checkpoints.restore(3, make_state(), config=make_config("smsanet"))
    with fails(
      r"/3 \(written by method 'scsnet'\) is of another network: params/generator/conv/bias "
      r"expected float32\[6\], found float32\[4\], params/generator/conv/kernel expected "
      r"float32\[3,6\], found float32\[3,4\], .* and \d more; use the config"
    ):
      checkpoints.restore(3, make_state(width=6))
    state = make_state()
    renamed = state.replace(params={"decoder": state.params["generator"]} | state.params)
    with fails("params/decoder/conv/bias expected float32.4., found nothing"):
      checkpoints.restore(3, renamed)
    sgd = state.replace(opt_state={})
    with fails("opt_state/discriminator/1/0/count expected nothing, found int32"):
      checkpoints.restore(3, sgd)
    half = state.replace(params=jax.tree.map(lambda x: x.astype(jnp.float16), state.params))
    with fails(r"expected float16\[4\], found float32\[4\]"):
      checkpoints.restore(3, half)
  with fails("expected float16"):
    checkpoint_arrays.restore_for_inference(run, (half.params, half.model_state))


def test_a_reader_does_not_write(run):
  checkpoints = checkpoint.Checkpoints(run, create=False)
  with pytest.raises(ValueError, match="expected to be read only"):
    save(checkpoints, 9)
