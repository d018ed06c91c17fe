"""Plans: the search for a batch, what bounds a step, and real compilations."""

import dataclasses
import importlib.util
import json
import math
import os
import pathlib
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scs_jax.core import resolve
from scs_jax.errors import UserError
from scs_jax.training import chips, plan, planned
from scs_jax.training.gpus import GPUS
from scs_jax.training.machines import GIB, Machine
from scs_jax.training.plan import PhasePlan, Planner, TooLarge


def test_the_batch_found_is_the_last_that_fits():
  for fixed, each, room in [(3.0, 1.0, 100.0), (0.0, 7.0, 20.0), (90.0, 11.0, 100.5), (0, 1, 64)]:
    asked = []

    def measure(batch, fixed=fixed, each=each, room=room, asked=asked):
      asked.append(batch)
      needed = fixed + each * batch
      # Far beyond its memory the compiler gives up without a figure.
      return math.inf if needed > 3 * room else needed

    best = int((room - fixed) / each)
    if best < 1:
      continue
    assert plan._search(measure, room, lambda batch: [batch]) == (best, [best])
    assert len(asked) <= 6, asked


def test_a_batch_whose_memory_jumps_is_still_found():
  needed = lambda batch: batch * (1.0 if batch < 5 else 3.0)
  best, _ = plan._search(needed, 30.0, lambda batch: [])
  assert best == 10


def test_one_that_does_not_fit_is_an_error():
  def refuse(batch):
    raise TooLarge("too large", 5.0)

  with pytest.raises(TooLarge):
    plan._search(lambda batch: 5.0, 1.0, refuse)


def test_bounds_are_the_work_over_the_peak():
  chip = chips.Chip("toy", bfloat16=100.0, float32=50.0, memory=10, bandwidth=20.0, links=4.0)
  found = PhasePlan("train", flops=200.0, memory=5, memory_bytes=30.0, sent=2.0)
  assert found.bounds(chip, "bfloat16") == {"arithmetic": 2.0, "memory": 1.5, "interconnect": 0.5}
  assert found.bounds(chip, "float32")["arithmetic"] == 4.0
  nodes = dataclasses.replace(chip, network=0.5)
  assert "network" not in found.bounds(nodes, "bfloat16")
  assert dataclasses.replace(found, sent_between=3.0).bounds(nodes, "bfloat16")["network"] == 6.0


def test_a_gpu_keeps_room_for_what_the_compiler_does_not_see(monkeypatch):
  chip = chips.Chip("toy", 1e12, 1e12, memory=8 * GIB, bandwidth=1e11, links=1e9)
  node = [types.SimpleNamespace(process_index=i // 2) for i in range(4)]
  here = Machine("here", node, "gpu", chip)
  away = dataclasses.replace(here, absent=True)
  # JAX takes three quarters; of what a plan says, 10 % or 35 % more is kept for workspaces.
  assert here.room("float32") == 6 * GIB
  assert away.room("bfloat16") == pytest.approx(6 * GIB / 1.10)
  assert away.room("float32") == pytest.approx(6 * GIB / 1.35)
  monkeypatch.setenv("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.9")
  assert here.room("float32") == pytest.approx(7.2 * GIB)
  assert dataclasses.replace(here, kind="tpu").room("float32") == 8 * GIB
  assert here.per_node == 2 and dataclasses.replace(here, kind="tpu").per_node == 4
  memory, links = away.left_out("bfloat16")
  assert "90% of 8.0 GiB" in memory and "after another 10% for workspaces" in memory
  assert "1 GB/s inside a node and unknown between nodes" in links


@pytest.mark.parametrize(
  ("kind", "name"),
  [
    ("NVIDIA H200", "H200"),
    ("NVIDIA GH200 480GB", None),
    ("NVIDIA L4", "L4"),
    ("NVIDIA L40S", None),
    ("NVIDIA A100-SXM4-40GB", "A100 40 GB"),
    ("NVIDIA A100 80GB PCIe", "A100 80 GB PCIe"),
    ("TPU v5 lite", "TPU v5e"),
    ("TPU v5", "TPU v5p"),
    ("cpu", None),
  ],
)
def test_a_chip_is_known_by_whole_words(kind, name):
  found = chips.find(kind)
  assert (found.name if found else None) == name


def test_every_gpu_is_described_with_its_own_memory():
  for gpu in GPUS.values():
    text = gpu.description()
    assert f"device_memory_size: {int(chips.find(gpu.device_kind).memory)} " in text
    assert text.count("{") == text.count("}") == 3


def test_shares_of_phases_are_those_of_the_run():
  staged = types.SimpleNamespace(phase=lambda step: "first" if step < 30 else "second")
  assert plan._phases(staged, 40) == {"first": 0.75, "second": 0.25}
  turns = types.SimpleNamespace(phase=lambda step: "ab"[step % 2])
  assert plan._phases(turns, 1000) == {"a": 0.5, "b": 0.5}


@pytest.fixture(scope="module")
def planner(make_joint_config):
  """The plan of the tiny SRResNet for two of this machine's devices."""
  from scs_jax.data import opening

  config = make_joint_config("super_resolution").lock()
  chip = chips.Chip("toy", 1e12, 1e12, memory=2**40, bandwidth=1e11, links=1e9)
  machine = Machine("two", jax.devices()[:2], jax.default_backend(), chip)
  return config, Planner(config, machine, opening.batch_shapes)


def test_the_step_that_is_compiled_is_the_one_that_trains(planner):
  config, local = planner
  (phase,) = local.phases
  found = local.compile(2, phase)
  method = resolve.build(config)
  state = jax.eval_shape(lambda key: method.init(key, {}), jax.random.key(0))
  parameters = sum(x.size for x in jax.tree.leaves(state.params))
  assert sum(local.parameters.values()) == parameters
  # Each gradient crosses once: 4 bytes a parameter, 2 (n - 1) / n = 1; BatchNorm adds a little.
  assert 4 * parameters <= found.sent < 6 * parameters
  held = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(state))
  assert found.memory > held
  twice = local.compile(4, phase)
  assert twice.flops == pytest.approx(2 * found.flops)
  assert twice.memory > found.memory


def test_a_chip_that_is_too_small_is_said_with_both_figures(planner):
  config, local = planner
  small = chips.Chip("toy", 1e12, 1e12, memory=2**14, bandwidth=1e11)
  machine = Machine("two", local.machine.devices, local.machine.kind, small)
  with pytest.raises(TooLarge, match=r"2 examples a device need 0\.\d+ GiB, a toy has 0\.00 GiB"):
    Planner(config, machine, local._batch_shapes).compile_all(2)


RECORD = pathlib.Path(__file__).with_name("plan_h100_2.json")
CUDA = importlib.util.find_spec("jax_cuda12_plugin") is not None


def test_the_record_of_a_plan_for_two_gpus_adds_up():
  """What the test below found where JAX's CUDA plugin was installed."""
  record = json.loads(RECORD.read_text())
  (program,) = record["programs"]
  chip = chips.find(GPUS["h100"].device_kind)
  assert (record["machine"], record["chips"], record["nodes"]) == ("h100:2", 2, 1)
  assert program["bounds_seconds"] == pytest.approx(
    {
      "arithmetic": program["flops_per_chip"] / chip.float32,
      "memory": program["memory_traffic_bytes"] / chip.bandwidth,
      "interconnect": program["sent_bytes_per_chip"] / chip.links,
    }
  )
  used = program["memory_bytes"] + program["memory_free_bytes"]
  assert used == pytest.approx(0.75 * chip.memory / 1.35)
  assert program["seconds_at_least"] == max(program["bounds_seconds"].values())
  shown = planned.Planned(record).table()
  assert "h100:2, 2 x H100 SXM" in shown and "another 35% for workspaces" in shown


@pytest.mark.skipif(not CUDA, reason="needs JAX's CUDA plugin, of the extra gpu-plan")
def test_a_small_config_is_planned_for_two_gpus_that_are_not_there(planner):
  config, here = planner
  found = planned.plan(config, topology="h100:2", per_device_batch=2).record
  if os.environ.get("SCS_JAX_GOLDEN") == "write":
    RECORD.write_text(json.dumps(found, indent=2) + "\n")
  record = json.loads(RECORD.read_text())
  (program,), (recorded,) = found["programs"], record["programs"]
  # The same step as here: its work, and its gradients, which cross once.
  (phase,) = here.phases
  same = here.compile(2, phase)
  assert program["flops_per_chip"] == same.flops == recorded["flops_per_chip"]
  assert program["sent_bytes_per_chip"] == pytest.approx(same.sent, rel=0.1)
  # Versions of XLA give products to cuBLAS, with 32 MiB to work in, or do them themselves.
  assert program["memory_bytes"] == pytest.approx(recorded["memory_bytes"], abs=33 * 2**20)
  assert program["memory_traffic_bytes"] == pytest.approx(recorded["memory_traffic_bytes"], rel=0.2)


def test_pmap_cannot_be_planned(planner):
  config = planner[0].copy_and_resolve_references()
  with config.unlocked():
    config.parallel.mode = "pmap"
  with pytest.raises(UserError, match=r"the config has 'pmap'; add --config\.parallel\.mode=jit"):
    Planner(config, planner[1].machine, planner[1]._batch_shapes)


def test_the_compilers_own_refusal_is_read():
  text = (
    "RESOURCE_EXHAUSTED: XLA:TPU compile permanent error. Ran out of memory in memory space hbm. "
    "Used 33.05G of 15.75G hbm. Exceeded hbm capacity by 17.30G."
  )
  machine = Machine("v5e:2x2", [], "tpu", chips.find("TPU v5 lite"))
  error = plan.explain(RuntimeError(text), 1, machine, machine.room("bfloat16"))
  assert isinstance(error, TooLarge)
  assert error.needed == pytest.approx(33.05 * 2**30)
  assert "1 example a device need 33.05 GiB, a TPU v5e has 15.75 GiB" in str(error)
  hopeless = (
    "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required for HLO temporaries "
    "(29.67G) exceeds available HBM (15.75G)."
  )
  assert plan.explain(RuntimeError(hopeless), 1, machine, 1).needed == pytest.approx(29.67 * 2**30)
  other = RuntimeError("something else")
  assert plan.explain(other, 1, machine, 1) is other


def test_frozen_shapes_are_those_of_the_weights(make_smsanet_config):
  config = make_smsanet_config()
  config.loss.salient = 0.5
  method = resolve.build(config)
  shapes = method.frozen_shapes()["saliency"]
  rng = np.random.default_rng(0)
  drawn = jax.tree.map(lambda s: rng.normal(size=s.shape).astype(np.float32), shapes)
  rgb = jnp.zeros((1, 32, 32, 3))
  assert jax.eval_shape(method.salient.network.apply, drawn, rgb).shape == (1, 32, 32, 1)
