"""The paper's ablation tables as overlays on `paper`: what to change, and what the paper found.

    config = paper.get_config()
    for key, value in ABLATIONS["attention"][0].overlay.items(): ...

PSNR (dB) and SSIM are those of the paper, on 1,000 pictures of ImageNet.
"""

from typing import Any, NamedTuple


class Row(NamedTuple):
  """One row of a table.

  Attributes:
    name: what is trained.
    claim: where the paper prints it, and its figures; "psnr" and "ssim".
    overlay: dotted config keys and their values; empty where it is `paper` itself.
  """

  name: str
  claim: dict[str, Any]
  overlay: dict[str, Any]


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
