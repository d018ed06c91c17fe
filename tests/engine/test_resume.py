"""What a run goes on from: its best score counts for the held-out pictures that it is of."""

import math

from scs_jax.engine import resume

OF = {"records": 5, "fingerprint": "f", "heldout": "a"}
METRIC = "automatic/psnr_rgb"


def test_the_best_score_is_of_one_metric_and_one_list_of_pictures():
  position = resume.position(3, 20.0, METRIC, OF)
  assert resume.best_so_far(position, METRIC, OF) == 20.0
  assert resume.best_so_far(position, "self/psnr_ab", OF) == -math.inf
  assert resume.best_so_far(position, METRIC, OF | {"heldout": "b"}) == -math.inf
  assert resume.best_so_far(resume.position(3, -math.inf, METRIC, OF), METRIC, OF) == -math.inf


def test_other_held_out_pictures_are_said_where_there_is_a_best():
  position = resume.position(3, 20.0, METRIC, OF)
  assert resume.moved(position, OF) == []
  (line,) = resume.moved(position, OF | {"heldout": "b"})
  assert line.startswith("other held-out pictures than those of the checkpoint")
  none = resume.position(3, -math.inf, METRIC, OF)
  assert resume.moved(none, OF | {"heldout": "b"}) == []
  changed = resume.moved(position, OF | {"records": 4})
  assert changed == ["the training data changed since the checkpoint (records 5 -> 4)"]
