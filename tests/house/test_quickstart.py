"""The quickstart notebook runs from top to bottom as it stands."""

import pathlib

import pytest

nbclient = pytest.importorskip("nbclient", reason="needs pip install -e .[docs]")
pytest.importorskip("ipykernel", reason="needs pip install -e .[docs]")
import nbformat  # noqa: E402, comes with nbclient

PATH = pathlib.Path(__file__).resolve().parents[2] / "docs" / "quickstart.ipynb"


@pytest.mark.slow
def test_it_runs(tmp_path, monkeypatch, xla_flags):
  monkeypatch.setenv("XLA_FLAGS", xla_flags(1))
  for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "MPLCONFIGDIR"):
    monkeypatch.setenv(name, str(tmp_path / "own"))
  notebook = nbformat.read(PATH, as_version=4)
  where = {"metadata": {"path": str(tmp_path)}}
  done = nbclient.NotebookClient(notebook, timeout=600, kernel_name="python3", resources=where)
  done.execute()
  code = [cell for cell in notebook.cells if cell.cell_type == "code"]
  said = {cell.id: "".join(out.get("text", "") for out in cell.outputs) for cell in code}
  assert "(192, 128) -> (480, 320)" in said["by-reference"]
  assert "step 6 of 6" in said["train"]
  assert (tmp_path / "runs/comparison/report.html").is_file(), said["compare"]


def test_it_is_small_and_clean():
  assert PATH.stat().st_size < 300_000
