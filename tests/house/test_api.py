"""What `scs_jax` exports: there under its name, and imported only when it is asked for."""

import pkgutil
import subprocess
import sys

import pytest

import scs_jax


@pytest.mark.parametrize("name", scs_jax._EXPORTS)
def test_an_export_is_there(name):
  assert hasattr(scs_jax, name) and name in dir(scs_jax)


def test_what_is_not_exported_is_an_attribute_error():
  with pytest.raises(AttributeError, match="has no attribute 'trian'"):
    scs_jax.trian  # noqa: B018


def test_no_module_has_the_name_of_an_export():
  """Importing such a module would put it in the export's place."""
  modules = {module.name for module in pkgutil.iter_modules(scs_jax.__path__)}
  assert not modules & {*scs_jax._EXPORTS, "evaluate", "compare", "ablate"}


def test_importing_the_package_imports_no_array_library():
  slow = {"jax", "numpy", "ml_collections"}
  code = f"import sys, scs_jax; dir(scs_jax); print({slow} & {{*sys.modules}})"
  done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
  assert done.stdout == "set()\n"
