"""Methods by name."""

import sys

import numpy as np
import pytest

from scs_jax.core import config, contract, resolve
from scs_jax.errors import UserError

_METHOD = """
from scs_jax.core.config import AtLeast
from scs_jax.core.contract import Method
class Foo(Method):
  RULES = {"method.width": AtLeast(8)}
  def __init__(self, config):
    self.width = config.method.width
class Half(Method):
  def init(self, key, batch): ...
class Stranger:
  pass
"""
_METHOD += "".join(f"Foo.{name} = lambda *a: None\n" for name in contract.REQUIRED)


@pytest.fixture
def mylab(tmp_path, monkeypatch):
  """A user's own module in the working directory, which is not on the path."""
  (tmp_path / "mylab_of_test.py").write_text(_METHOD)
  (tmp_path / "needs_of_test.py").write_text("import not_installed_of_test\n")
  monkeypatch.chdir(tmp_path)
  monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
  yield "mylab_of_test"
  sys.modules.pop("mylab_of_test", None)


def _config(**method):
  c = config.load("common")
  with c.unlocked():
    c.method.update(method)
  return c


def test_a_method_that_writes_nothing_has_one_phase_and_no_weights_of_others():
  method = contract.Method(None)
  assert method.phase(7) == "train" and method.recipe(None, False) is None
  assert method.load_frozen() == method.frozen_shapes() == {}
  for name, arguments in {"init": 2, "train_step": 5, "predict": 2}.items():
    with pytest.raises(NotImplementedError):
      getattr(method, name)(*[None] * arguments)


def test_shapes_of_frozen_weights_are_those_of_what_is_loaded():
  class Frozen(contract.Method):
    def load_frozen(self):
      return {"net": np.ones((2, 3), np.float16)}

  found = Frozen(None).frozen_shapes()["net"]
  assert (found.shape, found.dtype) == ((2, 3), np.float16)


def test_build_checks_then_constructs(mylab):
  built = resolve.build(_config(name=f"{mylab}:Foo", width=8))
  assert built.width == 8
  with pytest.raises(UserError, match=r"config\.method\.width.*nearest allowed is 8"):
    resolve.build(_config(name=f"{mylab}:Foo", width=4))


def test_equal_configs_give_one_method_which_later_changes_of_theirs_do_not_reach(mylab):
  first, second = (_config(name=f"{mylab}:Foo", width=8) for _ in range(2))
  method = resolve.build(first)
  assert resolve.build(second) is method
  with first.unlocked():
    first.seed += 1
  assert resolve.build(first) is not method and resolve.build(second) is method


@pytest.mark.parametrize(
  ("name", "parts"),
  [
    ("", ["scsnet", "module.path:Object"]),
    ("scsnte", ["did you mean scsnet?"]),
    ("nowhere_of_test.foo:Foo", ["no module 'nowhere_of_test'", "PYTHONPATH"]),
    ("mylab_of_test:Fooo", ["has no 'Fooo'", "did you mean Foo?"]),
    ("mylab_of_test:Half", ["lacks train_step, predict"]),
    ("mylab_of_test:Stranger", ["does not inherit from Method"]),
    ("needs_of_test:Foo", ["needs the module 'not_installed_of_test'", "install"]),
    ("mylab_of_test:", ["expected module.path:Object"]),
  ],
)
def test_a_wrong_name_says_what_to_do(mylab, name, parts):
  with pytest.raises(UserError) as caught:
    resolve.resolve(name)
  for part in parts:
    assert part in str(caught.value)


def test_engine_ranges_come_before_the_method(mylab):
  c = _config(name="nowhere_of_test:Foo")
  c.batch_size = 0
  with pytest.raises(UserError, match="batch_size"):
    resolve.build(c)
  c.batch_size, c.steps = 1, 0
  with pytest.raises(UserError, match=r"--config\.steps"):
    resolve.build(c)
