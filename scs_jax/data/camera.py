"""Colour stereo -> monochrome + colour: what two different cameras would have made of two views.

A picture (sRGB) goes through a camera as light does:

  linear light = sRGB^-1(picture)
  blur         Gaussian of sigma pixels: optics, and the colour camera's demosaicing
  exposure     times 2^stops
  noise        variance shot^2 * light + read^2, Gaussian; each channel on its own
  saturation   clipped to [0, 1]
  response     e = sRGB(light)^gamma, then (1 - contrast) e + contrast (3 e^2 - 2 e^3)
  8 bits

The monochrome view is the BT.601 luma of its picture, sent through the camera as a gray picture: a
camera that changes nothing gives exactly I_G = Y, the de-colored view of the paper, and any other
one global curve of that Y, which is what GCA is made to undo. Mixing the channels in linear light
instead would make the curve depend on the colour.

The truth of a monochrome view, for evaluation only, has the luma that its own camera gives without
blur and noise, and the Cb and Cr that the colour camera gives there without blur and noise. That is
what the network is asked for (I_G with the reference's Cb/Cr, Section III): a perfect result is at
the truth up to the noise and blur of I_G itself, no exposure counts as an error of colour, and with
cameras that change nothing the truth is the picture itself. Colours outside RGB are clipped.

Each number is drawn once a pair, evenly from [low, high], from (seed, name of the pair) alone: a
pair looks the same each time it is read, whichever subset it is read in.
"""

import dataclasses
import hashlib

import numpy as np
from scipy import ndimage

from scs_jax.data import order, samples
from scs_jax.errors import UserError

# order.py has the streams 0 to 2 of a seed, heldout.py 3.
_STREAM = 4

_LUMA = np.array([0.299, 0.587, 0.114])

Range = tuple[float, float]

LIMITS: dict[str, Range] = {
  "exposure": (-8.0, 8.0),
  "gamma": (0.2, 5.0),
  "contrast": (-1.0, 1.0),  # beyond it the response would fall somewhere
  "blur": (0.0, 20.0),
  "shot": (0.0, 1.0),
  "read": (0.0, 1.0),
}


@dataclasses.dataclass(frozen=True)
class Camera:
  """One camera: [low, high] of each number; the defaults change nothing.

  Attributes:
    exposure: stops.
    gamma: exponent after the sRGB curve; below 1 brightens.
    contrast: of the S-shaped response, in [-1, 1]; 0: none.
    blur: sigma in pixels of the pair as it is read (after data.reduce).
    shot: standard deviation of shot noise at white, in linear light.
    read: standard deviation of read noise, in linear light.
  """

  exposure: Range = (0.0, 0.0)
  gamma: Range = (1.0, 1.0)
  contrast: Range = (0.0, 0.0)
  blur: Range = (0.0, 0.0)
  shot: Range = (0.0, 0.0)
  read: Range = (0.0, 0.0)

  def __post_init__(self):
    for name, (least, most) in LIMITS.items():
      value = getattr(self, name)
      ok = len(value) == 2 and all(least <= v <= most for v in value) and value[0] <= value[1]
      if not ok:
        raise UserError(
          f"data.camera: {name} is {tuple(value)}, expected (low, high) with {least:g} <= low <= "
          f"high <= {most:g}"
        )


@dataclasses.dataclass(frozen=True)
class Shot:
  """A camera with its numbers drawn."""

  exposure: float = 0.0
  gamma: float = 1.0
  contrast: float = 0.0
  blur: float = 0.0
  shot: float = 0.0
  read: float = 0.0

  @property
  def clean(self) -> "Shot":
    """The same without blur and noise: a curve of single pixels."""
    return dataclasses.replace(self, blur=0.0, shot=0.0, read=0.0)

  def __call__(self, picture: np.ndarray, rng: np.random.Generator | None = None) -> np.ndarray:
    """Shoots a picture.

    Args:
      picture: float64 [H, W] or [H, W, C], sRGB in [0, 1].
      rng: for the noise; may be None where there is none.

    Returns:
      float64, same shape, in [0, 1]; the very picture where the camera changes nothing.
    """
    if self == Shot():
      return picture
    light = samples.to_linear(picture)
    if self.blur:
      sigma = (self.blur, self.blur) + (0.0,) * (light.ndim - 2)
      light = ndimage.gaussian_filter(light, sigma, mode="nearest")
    light = light * 2.0**self.exposure
    if self.shot or self.read:
      spread = np.sqrt(self.shot**2 * light + self.read**2)
      light = light + spread * rng.standard_normal(light.shape)
    encoded = samples.to_srgb(np.clip(light, 0.0, 1.0)) ** self.gamma
    return (1 - self.contrast) * encoded + self.contrast * encoded**2 * (3 - 2 * encoded)


@dataclasses.dataclass(frozen=True)
class CameraPair:
  """The two cameras, and the seed that everything is drawn from."""

  mono: Camera = Camera()
  color: Camera = Camera()
  seed: int = 0

  def shots(self, name: str) -> tuple[Shot, Shot, np.random.Generator]:
    """Returns (monochrome, colour camera, generator of the noise) of the pair of that name."""
    number = int.from_bytes(hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()[:8])
    rng = order.philox(self.seed, _STREAM, number)

    def draw(camera: Camera) -> Shot:
      ranges = dataclasses.asdict(camera)
      return Shot(**{n: low + (high - low) * rng.random() for n, (low, high) in ranges.items()})

    return draw(self.mono), draw(self.color), rng

  def shoot(
    self,
    name: str,
    mono: np.ndarray,
    color: np.ndarray,
    truth: bool,
    tone: np.ndarray | None = None,
  ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Shoots two colour views.

    Args:
      name: of the pair.
      mono: uint8 [H, W, 3], the view that becomes monochrome, in its true colours.
      color: uint8 [H, W, 3], the other.
      truth: whether to make it as well.
      tone: uint8 [H, W, 3], another shot of the first view, whose luma is taken in its place.

    Returns:
      (uint8 [H, W, 1], uint8 [H, W, 3], truth uint8 [H, W, 3] or None).
    """
    mono_shot, color_shot, rng = self.shots(name)
    gray = luma(mono if tone is None else tone) / 255.0
    shown = to_bytes(mono_shot(gray, rng))[..., None]
    reference = color if color_shot == Shot() else to_bytes(color_shot(color / 255.0, rng))
    if not truth:
      return shown, reference, None
    if tone is None and mono_shot.clean == color_shot.clean == Shot():
      return shown, reference, mono
    # The difference of the lumas is added to all channels: Y changes by it, Cb and Cr do not.
    seen = color_shot.clean(mono / 255.0)
    change = mono_shot.clean(gray) - seen @ _LUMA
    return shown, reference, to_bytes(seen + change[..., None])


def luma(rgb: np.ndarray) -> np.ndarray:
  """Computes BT.601 luma of uint8 [..., 3]: uint8 [...], rounded; exact for gray pictures."""
  return np.floor(rgb @ _LUMA + 0.5).astype(np.uint8)


def to_bytes(picture: np.ndarray) -> np.ndarray:
  """Converts float in [0, 1], clipped, to uint8, rounded."""
  return np.floor(np.clip(picture, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)


def from_section(section, seed: int) -> CameraPair | None:
  """Makes the cameras of config.data.camera (configs/common.py); None where it is switched off."""
  if not section.enabled:
    return None
  made = {}
  for view in ("mono", "color"):
    made[view] = Camera(**{name: tuple(section[view][name]) for name in LIMITS})
  return CameraPair(**made, seed=seed)
