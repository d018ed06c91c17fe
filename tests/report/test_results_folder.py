"""Whose results a folder holds, and what differs where they are of other settings."""

import json

import pytest

from scs_jax.errors import UserError
from scs_jax.report.results_folder import identify, require_free


def decides(**changes):
  mine = {"file": "runs/mine", "step": 300, "widths": [1, 2, 3]}
  return {"seed": 0, "rows": {"mine": mine | changes, "zero": {}}}


@pytest.mark.parametrize(
  ("now", "said"),
  [
    (decides(step=400), "rows.mine.step 300, now 400"),
    (decides(widths=[1, 2]), "rows.mine.widths 1,2,3, now 1,2"),
    (decides(scale=2), "rows.mine.scale none, now 2"),
    ({"seed": 0, "rows": {"zero": {}}}, "rows.mine.file runs/mine, now none, rows.mine.step 300, "
     "now none, rows.mine.widths 1,2,3, now none"),
    (decides(**dict.fromkeys("abcdef", 1)), "rows.mine.a none, now 1, rows.mine.b none, now 1, "
     "rows.mine.c none, now 1, rows.mine.d none, now 1, and 2 more"),
  ],
)  # fmt: skip
def test_settings_inside_settings_are_named_by_their_path(tmp_path, now, said):
  require = lambda now: require_free(tmp_path, now, ["results.json"], "mine 2", "evaluate")
  record = {"format": "mine 1", "identity": identify(decides())}
  (tmp_path / "results.json").write_text(json.dumps(record))
  require(identify(decides()))
  with pytest.raises(UserError) as error:
    require(identify(now))
  assert str(error.value) == (
    f"{tmp_path} holds results of other settings ({said}); give another --out, or --overwrite to "
    "replace them"
  )
