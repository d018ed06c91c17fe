"""The quickstart notebook runs from top to bottom as it stands, and is kept small."""

import pathlib

import pytest

nbclient = pytest.importorskip("nbclient", reason="needs pip install -e .[docs]")
pytest.importorskip("ipykernel", reason="needs pip install -e .[docs]")
import nbformat  # noqa: E402 (comes with nbclient)

PATH = pathlib.Path(__file__).resolve().parents[2] / "docs" / "quickstart.ipynb"


@pytest.mark.slow
def test_it_runs(tmp_path, monkeypatch, xla_flags):
  monkeypatch.setenv("XLA_FLAGS", xla_flags(1))
  for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR"):
    monkeypatch.setenv(name, str(tmp_path / "jupyter"))
  notebook = nbformat.read(PATH, as_version=4)
  where = {"metadata": {"path": str(tmp_path)}}
  nbclient.NotebookClient(notebook, timeout=600, kernel_name="python3", resources=where).execute()
  nbformat.write(notebook, tmp_path / "executed.ipynb")  # to look at, where one of these fails
  code = [cell for cell in notebook.cells if cell.cell_type == "code"]
  said = {cell.id: "".join(out.get("text", "") for out in cell.outputs) for cell in code}
  assert "(192, 128) -> (480, 320)" in said["by-reference"]
  found, as_they_lie = (float(word) for word in said["pair"].split() if word[0].isdigit())
  assert found > as_they_lie + 5  # dB
  assert "step 4 of 4" in said["train"]
  assert "automatic: 3 of bundled-heldout" in said["compare"]
  assert (tmp_path / "runs/comparison/report.html").is_file()


def test_it_is_small_and_shows_only_pictures_that_may_be_shown():
  """The motorcycle states no licence: its pictures are cleared before the notebook is committed."""
  notebook = nbformat.read(PATH, as_version=4)
  outputs = {cell.id: cell.get("outputs", []) for cell in notebook.cells}
  assert PATH.stat().st_size < 200_000 and not outputs["pair-shown"]
  assert "/tmp/" not in str(outputs) and "/home/" not in str(outputs)
