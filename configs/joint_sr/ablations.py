"""What the report compares: each row a config of this folder, and what is changed in it."""

from collections.abc import Mapping
from typing import Any, NamedTuple


class Row(NamedTuple):
  """A variant.

  Attributes:
    name: what is trained.
    claim: what the report says of it, and where.
    base: the config it starts from.
    overlay: dotted config keys to change in it.
  """

  name: str
  claim: str
  base: str
  overlay: Mapping[str, Any]


ABLATIONS: dict[str, tuple[Row, ...]] = {
  "variants": (
    Row(
      "joint",
      "Table III: PSNR 30.04 dB on COCO val, channels not stated, true L",
      "joint_sr/paper",
      {},
    ),
    Row(
      "joint, residual",
      "Section IV: wishes without a figure (residual blocks, 512 channels, L from the input)",
      "joint_sr/residual",
      {},
    ),
    Row(
      "colorization alone",
      "Section II: no figure; first half of the pipeline f_r(f_c(x)) of Section I",
      "joint_sr/colorization",
      {},
    ),
    Row(
      "super-resolution alone",
      "Section II: no figure; better with more residual blocks; second half of the pipeline",
      "joint_sr/super_resolution",
      {},
    ),
    Row(
      "super-resolution alone, SRGAN (tried and dropped)",
      "Section II: 'infeasible', mode collapse; no figure. Weight of Ledig et al. 2017",
      "joint_sr/super_resolution",
      {"loss.adversarial": 1e-3},
    ),
  ),
}
