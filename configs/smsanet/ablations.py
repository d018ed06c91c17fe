"""The paper's ablation tables as overlays on `paper`: what to change, and what the paper found.

    config = paper.get_config()
    for key, value in ABLATIONS["attention"][0].overlay.items(): ...

PSNR (dB) and SSIM are those of the paper, on 1,000 pictures of ImageNet.
"""

from typing import Any

from scs_jax.core.ablations import Column, Row, Table


def _claim(where: str, psnr: float, ssim: float) -> dict[str, Any]:
  return {"where": where, "psnr": psnr, "ssim": ssim}


# Table 2 is trained with the Huber loss alone: its SMSA row is Table 3's "SMSANet, Huber".
_HUBER = {"loss.salient": 0.0}
_BASE = {"network.attention": "none"}

ABLATIONS: dict[str, tuple[Row, ...]] = {
  "attention": (
    Row("CBAM", _claim("Table 2", 26.2487, 0.9147), {"network.attention": "cbam", **_HUBER}),
    Row("SENet", _claim("Table 2", 26.3292, 0.9156), {"network.attention": "senet", **_HUBER}),
    Row("SMSA", _claim("Table 2", 26.5478, 0.9185), _HUBER),
    # Ours: the base trained in the same way. The paper prints it in Table 3 only, and there gives
    # the figures that Table 1 has for the published network.
    Row("none", _claim("Table 3", 25.7688, 0.9136), {**_BASE, **_HUBER}),
  ),
  "salient": (
    Row("BaseNet, Huber", _claim("Table 3", 25.7688, 0.9136), {**_BASE, **_HUBER}),
    Row("SMSANet, Huber", _claim("Table 3", 26.5478, 0.9185), _HUBER),
    Row("BaseNet, Huber + salient", _claim("Table 3", 26.5411, 0.9294), _BASE),
    Row("SMSANet, Huber + salient", _claim("Table 3", 26.6579, 0.9301), {}),
  ),
}

_SPEC = {
  "method": "smsanet",
  "columns": (
    Column("PSNR", "psnr", "automatic/psnr_rgb", 1, 4),
    Column("SSIM", "ssim", "automatic/ssim_rgb", 1, 4),
    Column("PSNR ab", "", "automatic/psnr_ab", 1, 4),
  ),
  "modes": ("automatic",),
  "pictures": {"automatic": 1000},
  "images": "1,000 pictures of ImageNet, 256 x 256",
  "channels": "not stated; ours: R, G and B together, and a and b",
  "curves": ("automatic/psnr_rgb", "automatic/psnr_ab", "loss/huber"),
}

TABLES: dict[str, Table] = {
  "smsanet.attention": Table(
    title="Attention",
    where="Table 2",
    rows=ABLATIONS["attention"],
    base="none",
    notes=("the base row stands in Table 3, with the figures that Table 1 has for the published "
           "network; ours is trained as the others are",),
    **_SPEC,
  ),
  "smsanet.loss": Table(
    title="Huber and salient loss",
    where="Table 3",
    rows=ABLATIONS["salient"],
    base="BaseNet, Huber",
    # `small` trains without a saliency network.
    shared={"small": {"loss.salient": 1.0}},
    notes=("the salient loss needs a saliency network's weights, which the user brings: "
           "--config.loss.salient_file (and salient_network, where it is not the paper's PFANet)",),
    **_SPEC,
  ),
}  # fmt: skip
