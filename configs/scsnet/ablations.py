"""SCSNet's ablations as overlays: Table 4, Table 5, and CPM against Meta-SR (Section 4.3).

Tables 4 and 5 are of the referential mode: their full rows repeat Table 1's FID (so FID and CN are
of the 2,500 referential images, 500 by themselves and 2,000 by others) and Table 2's PSNR (so PSNR
and SSIM are of the 500 self-references).
"""

from typing import Any

from scs_jax.core.ablations import NO_COLORNET, NO_INCEPTION, Column, Row, Table


def _claim(where: str, fid: float, cn: float, psnr: float, ssim: float) -> dict[str, Any]:
  return {"where": where, "fid": fid, "cn": cn, "psnr": psnr, "ssim": ssim}


# The paper's tables are of the paper's attention, at any size: `small` has another.
_AS_PRINTED = {
  "network.correlation": "dot",
  "network.carry_chroma": False,
  "reference.twin_start": False,
}
_SHUFFLE = {"network.upsampler": "pixel_shuffle"}
_CONCAT = {"network.aggregation": "concat"}
_BASIC = {"network.levels": 1, "network.valves": False}
_FULL = (9.632, 5.288, 27.694, 0.923)

ABLATIONS: dict[str, tuple[Row, ...]] = {
  "losses": (
    Row(
      "L_C",
      _claim("Table 4", 16.290, 4.128, 26.172, 0.898),
      {"loss.perceptual": 0.0, "loss.adversarial": 0.0},
    ),
    Row("L_C + L_P", _claim("Table 4", 15.068, 4.196, 27.456, 0.918), {"loss.adversarial": 0.0}),
    Row("L_C + L_Adv", _claim("Table 4", 11.616, 5.171, 26.536, 0.906), {"loss.perceptual": 0.0}),
    Row("L_C + L_P + L_Adv", _claim("Table 4", *_FULL), {}),
  ),
  "components": (
    Row("Baseline", _claim("Table 5", 17.541, 4.763, 25.517, 0.887), {**_CONCAT, **_SHUFFLE}),
    Row("BCAttn", _claim("Table 5", 16.635, 4.767, 26.173, 0.896), {**_BASIC, **_SHUFFLE}),
    Row("PVCAttn", _claim("Table 5", 15.334, 4.863, 26.619, 0.907), _SHUFFLE),
    Row("CPM", _claim("Table 5", 9.978, 5.059, 26.796, 0.905), _CONCAT),
    Row("PVCAttn + CPM", _claim("Table 5", *_FULL), {}),
  ),
  "upsampler": (
    # 0.45M is Meta-SR's head for 64 features exactly; the rest of the network stays as it is.
    Row(
      "Meta-SR, 64 features",
      {"where": "Section 4.3", "parameters": 0.45},
      {"network.upsampler": "meta_sr", "network.fused_features": 64},
    ),
    Row(
      "CPM, 64 features",
      {"where": "not in the paper"},
      {"network.fused_features": 64},
      "ours: CPM on as many features as Meta-SR",
    ),
    Row("CPM", {"where": "Section 4.3", "parameters": 0.35}, {}),
  ),
}

_REFERENTIAL = (
  Column("FID", "fid", "referential/fid", -1, 3, NO_INCEPTION),
  Column("CN", "cn", "", 1, 3, NO_COLORNET),
  Column("colourf.", "", "referential/colorfulness_hs", 0, 2),
  Column("PSNR", "psnr", "self/psnr_rgb", 1, 3),
  Column("SSIM", "ssim", "self/ssim_rgb", 1, 4),
  Column("PSNR ab", "", "self/psnr_ab", 1, 3),
)
_HEADS = "parameters:generator/cpm|generator/meta_sr"
_SPEC = {
  "method": "scsnet",
  "columns": _REFERENTIAL,
  "modes": ("self", "random"),
  "pictures": {"self": 500, "random": 2000},
  "images": "2,500 referential images of ImageNet-C's validation set: FID and CN on all of them "
  "(500 by themselves, distorted; 2,000 by other pictures, distorted), PSNR and SSIM on the 500",
  "channels": "not stated; ours: R, G and B together, and a and b",
  "curves": ("self/psnr_rgb", "self/psnr_ab", "loss/content"),
}

TABLES: dict[str, Table] = {
  "scsnet.losses": Table(
    title="Loss terms",
    where="Table 4",
    rows=ABLATIONS["losses"],
    base="L_C",
    # `small` trains without a feature network; its adversarial weight stays.
    shared={"small": {"loss.perceptual": 5.0, **_AS_PRINTED}},
    notes=(
      "the perceptual term needs a feature network's weights, which the user brings: "
      "--config.loss.perceptual_file (and perceptual_network, where it is not the paper's VGG16)",
    ),
    **_SPEC,
  ),
  "scsnet.components": Table(
    title="Network components",
    where="Table 5",
    rows=ABLATIONS["components"],
    base="Baseline",
    # Pixel shuffle has one whole factor, so that all rows are trained and measured at it.
    shared={
      "small": {"magnification": (2.0, 2.0), "data.crop": 96, "evaluate.scale": 2.0, **_AS_PRINTED}
    },
    notes=(
      "Baseline: concatenation and a 3 x 3 convolution in the place of attention, pixel shuffle "
      "in the place of CPM; the paper names neither",
    ),
    **_SPEC,
  ),
  "scsnet.upsampler": Table(
    title="CPM against Meta-SR's weight prediction",
    where="Section 4.3",
    method="scsnet",
    rows=ABLATIONS["upsampler"],
    base="Meta-SR, 64 features",
    columns=(
      Column("head, M parameters", "parameters", _HEADS, -1, 3),
      Column("PSNR at 2x", "", "self@2/psnr_rgb", 1, 3),
      Column("PSNR at 3.3x", "", "self@3.3/psnr_rgb", 1, 3),
      Column("PSNR at 4x", "", "self@4/psnr_rgb", 1, 3),
      Column("PSNR L at 4x", "", "self@4/psnr_lightness", 1, 3),
      Column("SSIM at 4x", "", "self@4/ssim_rgb", 1, 4),
      Column("ms at 2x", "", "ms@2", -1, 1),
      Column("ms at 3.3x", "", "ms@3.3", -1, 1),
      Column("ms at 4x", "", "ms@4", -1, 1),
    ),
    modes=("self",),
    pictures={"self": 500},
    images="none: the paper compares parameters and speed (0.35M and 178 FPS against 0.45M and 92 "
    "FPS, device and sizes not stated)",
    channels="ours: R, G and B together; L",
    # Magnifications from 2 to 4 are trained, so that all three that are measured were seen.
    shared={
      "small": {"magnification": (2.0, 4.0), "data.crop": 192, **_AS_PRINTED},
      "paper": {"magnification": (2.0, 4.0)},
    },
    curves=("self/psnr_rgb", "loss/content"),
    notes=(
      "ms: the whole network by reference, batch 1, warm, median; the heads alone are timed by "
      "benchmarks/upsampler.py",
    ),
  ),
}
