"""What the report compares: each row a config of this folder, and what is changed in it."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from scs_jax.core.ablations import Column, Table


class Row(NamedTuple):
  """A variant.

  Attributes:
    name: what is trained.
    claim: what the report says of it, and where.
    base: the config it starts from.
    overlay: dotted config keys to change in it.
    figures: those of the report.
  """

  name: str
  claim: str
  base: str
  overlay: Mapping[str, Any]
  figures: Mapping[str, float] = MappingProxyType({})


ABLATIONS: dict[str, tuple[Row, ...]] = {
  "variants": (
    Row(
      "joint",
      "Table III: PSNR 30.04 dB on COCO val, channels not stated, true L",
      "joint_sr/paper",
      {},
      {"psnr": 30.04},
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

_ENLARGES = {"task": "super_resolution", "input_sizes": (32,), "evaluate.scale": 4.0}

TABLES: dict[str, Table] = {
  "variants": Table(
    title="The joint network and what it is compared with",
    where="Table III and Sections I, II, IV",
    method="joint_sr",
    rows=ABLATIONS["variants"],
    base="joint",
    columns=(
      Column("PSNR RGB, true L", "psnr", "automatic/psnr_rgb_true_l"),
      Column("PSNR RGB", "", "automatic/psnr_rgb"),
      Column("PSNR ab", "", "automatic/psnr_ab"),
      Column("PSNR L", "", "automatic/psnr_lightness"),
      Column("SSIM", "", "automatic/ssim_rgb", 1, 4),
    ),
    modes=("automatic",),
    pictures={"automatic": 5000},
    images="COCO's validation pictures, 5,000 in val2017; how many is not stated",
    channels="not stated, with the true L; ours: R, G and B together with the true and with the "
    "enlarged L, a and b, L",
    # Of `small`, 48 to 128: the same tasks at its size.
    tasks={
      "joint, residual": {"task": "joint_residual", "input_sizes": (32, 48, 64)},
      "colorization alone": {"task": "colorization", "evaluate.scale": 1.0},
      "super-resolution alone": _ENLARGES,
      "super-resolution alone, SRGAN (tried and dropped)": _ENLARGES,
    },
    curves=("automatic/psnr_ab", "automatic/psnr_lightness", "automatic/psnr_rgb"),
    notes=(
      "the tasks differ: colorization alone enlarges nothing and keeps its input's L; "
      "super-resolution alone is given the gray picture here, four times smaller, and colours "
      "nothing. The cascade of the two is a row of a comparison, not of this table",
    ),
  ),
}
