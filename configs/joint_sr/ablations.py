"""What the report compares, as changes of `joint_sr/paper` (they fit `joint_sr/small` as well)."""

from collections.abc import Mapping
from typing import Any, NamedTuple


class Row(NamedTuple):
  """A variant: its name, what the paper says of it and where, dotted config keys to change."""

  name: str
  claim: str
  overlay: Mapping[str, Any]


ABLATIONS: dict[str, tuple[Row, ...]] = {
  "variants": (
    Row("joint", "Table III: PSNR 30.04 dB on COCO val, channels not stated, true L", {}),
    Row(
      "joint, residual",
      "Section IV: wishes without a figure (residual blocks, 512 channels, L from the input)",
      {"task": "joint_residual"},
    ),
    Row(
      "colorization alone",
      "Section II: no figure; first half of the pipeline f_r(f_c(x)) of Section I",
      {"task": "colorization"},
    ),
    Row(
      "super-resolution alone",
      "Section II: no figure; better with more residual blocks; second half of the pipeline",
      {"task": "super_resolution"},
    ),
    Row(
      "super-resolution alone, SRGAN (tried and dropped)",
      "Section II: 'infeasible', mode collapse; no figure. Weight of Ledig et al. 2017",
      {"task": "super_resolution", "loss.adversarial": 1e-3},
    ),
  ),
}
