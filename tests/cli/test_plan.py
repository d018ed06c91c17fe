"""`scs-jax plan` whole: tables and JSON, the batch that fits, what cannot be planned."""

import importlib.util
import json
import sys

import jax
import pytest

from scs_jax.cli import main as cli
from scs_jax.training import chips, machines

_METHOD = """
import jax, jax.numpy as jnp, optax
from scs_jax.core import contract
from scs_jax.core.contract import Prediction, TrainState
from scs_jax.core.step import gradient_update
class Method(contract.Method):
  def __init__(self, config):
    self.transform = optax.sgd(0.1)
  def load_frozen(self):
    raise AssertionError("a plan reads no weights")
  def frozen_shapes(self):
    return {"basis": jax.ShapeDtypeStruct((48, 48), jnp.float32)}
  def init(self, key, batch):
    w = {"w": jax.random.normal(key, (48, 64))}
    opt_state = {"net": self.transform.init(w)}
    return TrainState(jnp.zeros((), jnp.int32), {"net": w}, opt_state, {})
  def phase(self, step):
    return "first" if step < 3 else "second"
  def train_step(self, state, batch, key, collective, phase):
    x = batch["image"].reshape(-1, 48).astype(jnp.float32) @ state.frozen["basis"]
    loss = lambda p: (jnp.square(jnp.tanh(x @ p["w"])).mean(), None)
    w, opt_state, value, _ = gradient_update(
      loss, self.transform, state.params["net"], state.opt_state["net"], collective
    )
    state = state.replace(step=state.step + 1, params={"net": w}, opt_state={"net": opt_state})
    return state, {"loss/mean": value}
  def predict(self, state, query):
    return Prediction(jnp.zeros((query.gray.shape[0], *query.size, 3)))
"""
_CONFIG = """
from scs_jax.core import config as configs
def get_config():
  c = configs.load("common").copy_and_resolve_references()
  c.unlock()
  c.method.name, c.batch_size, c.data.crop = "planned_of_test:Method", 16, 64
  c.steps, c.epochs = 0, 2.0
  return c
"""
# Work of the second product, its gradient and the frozen one, for an example of 64 x 64 / 16 rows.
FLOPS = 256 * 2 * 48 * (48 + 2 * 64)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
  (tmp_path / "planned_of_test.py").write_text(_METHOD)
  (tmp_path / "tiny.py").write_text(_CONFIG)
  monkeypatch.syspath_prepend(str(tmp_path))
  monkeypatch.chdir(tmp_path)
  yield tmp_path
  sys.modules.pop("planned_of_test", None)


@pytest.fixture
def machine(monkeypatch):
  """Two of this machine's devices, as chips that we know."""
  chip = chips.Chip("toy", 1e9, 5e8, memory=2**22, bandwidth=1e12, links=1e9)
  monkeypatch.setattr(
    machines, "local", lambda: machines.Machine("two toys", jax.devices()[:2], "cpu", chip)
  )
  return chip


def run(*more):
  return cli.main(["plan", "--config", "tiny.py", *more])


def test_the_devices_at_hand_without_peak_figures(capsys):
  assert run("--per-device-batch", "1", "--by-operation") == 0
  shown = capsys.readouterr().out
  assert "first: what moves bytes" in shown and "| 100.0% |" in shown
  assert "8 local devices (cpu), 8 x cpu, 1 a chip, 8 a step" in shown
  assert "parameters: 3,072 (net 3,072)" in shown
  assert "\nfirst " in shown and "\nsecond " not in shown  # epochs of an unknown set: one step
  assert "no bound on the time" in shown


def test_operations_are_plain_numbers_in_json(capsys):
  assert run("--per-device-batch", "1", "--by-operation", "--json") == 0
  (program,) = json.loads(capsys.readouterr().out)["programs"]
  products = [each for each in program["operations"] if each["kind"] == "dot"]
  assert products and all(each["read"]["memory"] > 0 < each["runs"] for each in products)


def test_figures_of_a_whole_run(machine, capsys):
  """1000 pictures twice at 16 a step: 125 steps, 2000 examples."""
  assert run("--images", "1000", "--json") == 0
  found = json.loads(capsys.readouterr().out)
  assert (found["chips"], found["per_device_batch"], found["batch"]) == (2, 8, 16)
  assert found["parameters"] == {"net": 3072}
  assert [p["share_of_steps"] for p in found["programs"]] == pytest.approx([3 / 125, 122 / 125])
  for program in found["programs"]:
    assert program["flops_per_chip"] == pytest.approx(8 * FLOPS, rel=1e-6)  # the hand's, and few
    assert 0 < program["memory_bytes"] == machine.memory - program["memory_free_bytes"]
    # The gradient crosses once: 2 S (n - 1) / n of 12 KiB, and the loss.
    assert 3072 * 4 <= program["sent_bytes_per_chip"] < 3072 * 4 + 64
    assert program["bound_by"] == "arithmetic"
    assert program["seconds_at_least"] == pytest.approx(8 * FLOPS / 5e8)
  assert found["examples_shown"] == 2000
  seconds = 8 * FLOPS / 5e8
  assert found["step_seconds_at_least"] == pytest.approx(seconds)
  assert found["images_per_second_at_most"] == pytest.approx(16 / seconds)
  assert found["hours_at_least"] == pytest.approx(125 * seconds / 3600)
  assert run("--images", "1000", "--per-device-batch", "4") == 0
  assert "2,000 examples in the whole run: at least" in capsys.readouterr().out


def test_the_largest_batch_that_fits(machine, capsys):
  assert run("--find-batch", "--json") == 0
  told = capsys.readouterr()
  found = json.loads(told.out)
  assert 1 < found["per_device_batch"] < 100
  assert all(program["memory_free_bytes"] >= 0 for program in found["programs"])
  assert f"{found['per_device_batch']} a device: " in told.err
  assert run("--per-device-batch", str(found["per_device_batch"] + 1)) == 2
  err = capsys.readouterr().err
  assert "a toy has 0.00 GiB; lower --per-device-batch" in err and "Traceback" not in err


@pytest.mark.parametrize(
  ("more", "said"),
  [
    (["--per-device-batch", "0"], "--per-device-batch is 0: expected 1 or more"),
    (["--images", "-1"], "--images is -1: expected 1 or more"),
    (["--find-batch"], "--find-batch needs a chip whose memory is known; 8 local devices (cpu)"),
    (["--config.parallel.mode=pmap"], "add --config.parallel.mode=jit"),
    (["--config.accumulate=2", "--per-device-batch", "3"], "2 microbatches each; use 32 or 16"),
  ],
)  # fmt: skip
def test_what_cannot_be_planned_is_one_line(more, said, capsys):
  assert run(*more) == 2
  err = capsys.readouterr().err
  assert said in err and err.startswith("scs-jax: error: ") and err.count("\n") == 1


@pytest.mark.parametrize(
  ("name", "said"),
  [
    ("h1000:8", "there is no kind 'h1000'; did you mean h100?"),
    ("tesla", "choose from a100-40, a100-80, b200, h100, h200, l4, rtx4090, v4, v5e, v5p, v6e"),
    ("h100:2x0", "expected KIND:GPUS or KIND:MACHINESxGPUS, as h100:8 and h100:4x8"),
    ("a100-80:8x", "expected KIND:GPUS or KIND:MACHINESxGPUS"),
  ],
)
def test_a_name_that_no_machine_has(name, said, capsys):
  assert run("--topology", name) == 2
  err = capsys.readouterr().err
  assert said in err and err.count("\n") == 1


CUDA = importlib.util.find_spec("jax_cuda12_plugin") is not None


@pytest.mark.skipif(CUDA, reason="is about an environment without JAX's CUDA plugin")
def test_gpus_without_their_compiler(capsys):
  assert run("--topology", "h100:8") == 2
  err = capsys.readouterr().err
  assert "pip install 'scs_jax[gpu-plan]' 'jax-cuda12-plugin==" in err and err.count("\n") == 1


@pytest.mark.skipif(not CUDA, reason="needs JAX's CUDA plugin, of the extra gpu-plan")
def test_two_machines_of_gpus_that_are_not_there(capsys):
  """32 examples of the method's 16: 3072 gradients cross once, in two levels."""
  assert run("--topology", "h100:2x4", "--images", "1000", "--json") == 0
  found = json.loads(capsys.readouterr().out)
  assert (found["chips"], found["nodes"], found["chip"]) == (8, 2, "H100 SXM")
  for program in found["programs"]:
    assert program["flops_per_chip"] == 2 * FLOPS
    assert 2 * 3072 * 4 * 3 / 4 <= program["sent_bytes_per_chip"] < 2 * 3072 * 4 * 3 / 4 + 64
    between = program["sent_between_nodes_bytes_per_chip"]
    assert 2 * 3072 * 4 / 4 / 2 <= between < 3072 + 64
    assert program["bounds_seconds"]["network"] == pytest.approx(between / 50e9)
  assert run("--topology", "h100:2x4", "--per-device-batch", "2") == 0
  shown = capsys.readouterr().out
  assert "to nodes" in shown and "450 GB/s inside a node and 50 GB/s between nodes" in shown
  assert "not the workspaces of" in shown


LIBTPU = importlib.util.find_spec("libtpu") is not None


def test_a_topology_that_is_none(capsys):
  assert run("--topology", "v5e:3x7") == 2
  err = capsys.readouterr().err
  expected = "is not one that libtpu knows" if LIBTPU else "pip install 'scs_jax[tpu]'"
  assert expected in err and err.count("\n") == 1


@pytest.mark.skipif(not LIBTPU, reason="needs libtpu, of the extra tpu")
def test_a_tpu_slice_that_is_not_there(capsys):
  assert run("--topology", "v5e:2x2", "--images", "1000", "--config.dtype=bfloat16", "--json") == 0
  found = json.loads(capsys.readouterr().out)
  assert (found["chips"], found["chip"], found["per_device_batch"]) == (4, "TPU v5e", 4)
  for program in found["programs"]:
    assert program["flops_per_chip"] == 4 * FLOPS
    assert 0 < program["memory_bytes"] < program["memory_free_bytes"]
    assert program["sent_bytes_per_chip"] >= 1.5 * 3072 * 4
