"""What the report compares: each row a config of this folder, and what is changed in it."""

from scs_jax.core.ablations import Column, Row, Table

ABLATIONS: dict[str, tuple[Row, ...]] = {
  "variants": (
    Row(
      "joint",
      {"where": "Table III: COCO val, channels not stated, true L", "psnr": 30.04},
      base="joint_sr/paper",
    ),
    Row(
      "joint, residual",
      {"where": "Section IV: wishes (residual blocks, 512 channels, L from the input); no figure"},
      base="joint_sr/residual",
    ),
    Row(
      "colorization alone",
      {"where": "Section II, first half of the pipeline f_r(f_c(x)) of Section I; no figure"},
      base="joint_sr/colorization",
    ),
    Row(
      "super-resolution alone",
      {"where": "Section II, second half of the pipeline: better with more residual blocks; no "
                "figure"},
      base="joint_sr/super_resolution",
    ),
    Row(
      "super-resolution alone, SRGAN (tried and dropped)",
      {"where": "Section II: 'infeasible', mode collapse; no figure. Weight of Ledig et al. 2017"},
      {"loss.adversarial": 1e-3},
      base="joint_sr/super_resolution",
    ),
  ),
}  # fmt: skip

_ENLARGES = {"task": "super_resolution", "input_sizes": (32,), "evaluate.scale": 4.0}

TABLES: dict[str, Table] = {
  "joint.variants": Table(
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
