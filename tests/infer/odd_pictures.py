"""Two hundred odd and broken pictures in nested folders, the same ones for the same seed.

  python tests/infer/odd_pictures.py DIR

writes them and lists what is expected of each. File names and contents are made up; nothing is
downloaded. No two whole pictures are of the same size, as far as their oddity leaves that open.
"""

import dataclasses
import io
import os
import pathlib
import struct
import sys

import numpy as np
import PIL
from PIL import Image, features

if str(pathlib.Path(__file__).parent) not in sys.path:
  sys.path.insert(0, str(pathlib.Path(__file__).parent))

import handmade
import odd_failures

TOTAL = 200
_DEEP_TIFF = {"I;16": np.uint16, "I": np.int32, "F": np.float32}
# EXIF orientations under which rows and columns change places.
_LYING = (5, 6, 7, 8)


@dataclasses.dataclass(frozen=True)
class Odd:
  """One entry.

  `outcome` is "ok"; "broken": it has a picture's name and cannot be read; or "not a picture": it
  has no picture's name, or is a folder. `size` is the (height, width) of what is ok, upright.
  """

  path: pathlib.Path
  outcome: str
  size: tuple[int, int] | None
  oddity: str


class Maker:
  """Writes pictures below a folder and remembers them."""

  def __init__(self, folder: pathlib.Path, seed: int):
    self.folder = folder
    self.rng = np.random.default_rng(seed)
    self.made: list[Odd] = []
    self._sizes: set[tuple[int, int]] = set()

  def size(self, low: int = 8, high: int = 160) -> tuple[int, int]:
    """A (height, width) that no picture before has had."""
    while True:
      size = tuple(int(v) for v in self.rng.integers(low, high, 2))
      if size not in self._sizes:
        self._sizes.add(size)
        return size

  def photo(self, size: tuple[int, int] | None = None) -> np.ndarray:
    """Soft colours with an edge and some noise: uint8 [H, W, 3]."""
    height, width = size or self.size()
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    phase = self.rng.uniform(0, 6, 3)
    waves = [np.sin(5 * x + p) + np.cos(4 * y + 2 * p) for p in phase]
    picture = np.stack(waves, -1) * 50 + 128 + 40 * (x + y > 0.7)[..., None]
    noise = self.rng.normal(0, 4, picture.shape)
    return np.clip(picture + noise, 0, 255).astype(np.uint8)

  def add(self, name: str, data: bytes, size: tuple[int, int] | None, oddity: str,
          outcome: str | None = None) -> None:  # fmt: skip
    """Writes bytes; without a size they are "broken" unless said otherwise."""
    path = self.folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    self.note(path, size, oddity, outcome)

  def note(self, path: pathlib.Path, size: tuple[int, int] | None, oddity: str,
           outcome: str | None = None) -> None:  # fmt: skip
    """Remembers what was written otherwise."""
    self.made.append(Odd(path, outcome or ("ok" if size else "broken"), size, oddity))

  def save(self, name: str, image: Image.Image, form: str, oddity: str, turned: bool = False,
           **options) -> None:  # fmt: skip
    """Encodes a whole picture and writes it."""
    width, height = image.size
    size = (width, height) if turned else (height, width)
    self.add(name, encoded(image, form, **options), size, oddity)


def encoded(image: Image.Image, form: str, **options) -> bytes:
  """A picture file's bytes."""
  buffer = io.BytesIO()
  image.save(buffer, form, **options)
  return buffer.getvalue()


def make(folder: pathlib.Path, seed: int = 0) -> list[Odd]:
  """Writes TOTAL entries below a folder.

  What a machine cannot do (AVIF, links, permissions for the superuser, names that are no UTF-8) is
  replaced by plain pictures.
  """
  maker = Maker(pathlib.Path(folder), seed)
  for part in (_sizes, _modes, _deep, _tiffs, _orientations, _profiles, _transparent, _several,
               _jpegs, _names, odd_failures.truncated, odd_failures.corrupted,
               odd_failures.foreign):  # fmt: skip
    part(maker)
  count = 0
  while len(maker.made) < TOTAL:
    high = 400 if count < 4 else 120
    form, suffix = (("JPEG", "jpg"), ("PNG", "png"))[count % 2]
    photo = maker.photo(maker.size(high * 3 // 4, high) if count < 4 else None)
    maker.save(f"plain/{count:03d}.{suffix}", Image.fromarray(photo), form, "nothing odd")
    count += 1
  return maker.made


def _sizes(maker: Maker) -> None:
  for height, width in ((1, 1), (1, 300), (300, 1), (7, 5), (1, 2), (2, 1), (2, 33), (5, 280)):
    image = Image.fromarray(maker.photo((height, width)))
    maker.save(f"sizes/{height}x{width}.png", image, "PNG", "size")
  for height, width in ((1, 4), (4, 1), (9, 8)):
    image = Image.fromarray(maker.photo((height, width)))
    maker.save(f"sizes/{height}x{width}.jpg", image, "JPEG", "size")
  maker.save("sizes/gray/1x5.png", Image.fromarray(maker.photo((1, 5))).convert("L"), "PNG", "size")


def _modes(maker: Maker) -> None:
  everything = {
    "PNG": ("1", "L", "P", "LA", "RGB", "RGBA"),
    "TIFF": ("1", "L", "P", "LA", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB"),
    "JPEG": ("L", "RGB", "CMYK"),
    "WEBP": ("L", "RGB", "RGBA"),
    "BMP": ("1", "L", "P", "RGB"),
    "GIF": ("L", "RGB"),
    "PPM": ("1", "RGB"),
  }
  if features.check("avif"):
    everything["AVIF"] = ("L", "RGBA")
  if int(PIL.__version__.split(".")[0]) < 13:  # which cannot read it
    everything["TIFF"] = tuple(mode for mode in everything["TIFF"] if mode != "YCbCr")
  suffixes = {"PNG": "png", "TIFF": "tif", "JPEG": "jpg", "WEBP": "webp", "BMP": "bmp",
              "GIF": "gif", "PPM": "ppm", "AVIF": "avif"}  # fmt: skip
  for form, modes in everything.items():
    for mode in modes:
      photo = Image.fromarray(maker.photo())
      image = photo.convert("P").convert("PA") if mode == "PA" else photo
      if mode == "LAB":
        image = Image.frombytes("LAB", photo.size, photo.tobytes())
      elif mode != "PA":
        image = photo.convert(mode)
      if mode.endswith("A"):
        image.putalpha(Image.fromarray(maker.photo(photo.size[::-1])[..., 0]))
      maker.save(f"modes/{form.lower()}/{mode}.{suffixes[form]}", image, form, f"mode {mode}")


def _deep(maker: Maker) -> None:
  gray = lambda: maker.photo()[..., 0].astype(np.uint16) * 257
  for form, suffix in (("PNG", "png"), ("TIFF", "tiff"), ("PPM", "pgm")):
    maker.save(f"deep/gray16.{suffix}", Image.fromarray(gray()), form, "16-bit gray")
  for mode, kind in _DEEP_TIFF.items():
    values = gray() / 65535.0 if mode == "F" else gray()
    maker.save(f"deep/{mode}.tif", Image.fromarray(values.astype(kind)), "TIFF", f"mode {mode}")
  for color_type, name in ((2, "rgb"), (4, "la"), (6, "rgba")):
    photo = maker.photo()
    deep = np.dstack([photo, photo[..., :1]]).astype(np.uint16) * 257
    samples = {2: deep[..., :3], 4: deep[..., 2:], 6: deep}[color_type]
    data = handmade.png(samples, color_type, 16)
    maker.add(f"deep/{name}16.png", data, photo.shape[:2], "16 bits a channel")
  for depth in (1, 2, 4):
    samples = maker.photo()[..., 0] >> (8 - depth)
    key = handmade.chunk(b"tRNS", struct.pack(">H", 1))
    maker.add(f"deep/gray{depth}.png", handmade.png(samples, 0, depth, [key]), samples.shape,
              f"{depth}-bit gray with a transparent level")  # fmt: skip
  photo = maker.photo()
  data = handmade.png(photo, 2, 8, interlaced=True)
  maker.add("deep/interlaced.png", data, photo.shape[:2], "interlaced PNG")
  levels = maker.photo((11, 13))[..., 0].astype(int) * 3
  text = f"P2\n# plain\n13 11\n1000\n{' '.join(map(str, levels.reshape(-1)))}\n"
  maker.add("deep/plain.pgm", text.encode(), (11, 13), "PGM in ASCII, white is 1000")


def _tiffs(maker: Maker) -> None:
  for compression in ("tiff_lzw", "packbits", "tiff_adobe_deflate", "jpeg"):
    image = Image.fromarray(maker.photo())
    maker.save(f"tiffs/{compression}.tif", image, "TIFF", compression, compression=compression)
  page = Image.fromarray(maker.photo()).convert("1")
  maker.save("tiffs/fax.tif", page, "TIFF", "group 4", compression="group4")
  maker.save("tiffs/big.tif", Image.fromarray(maker.photo()), "TIFF", "BigTIFF", big_tiff=True)
  height, width = maker.size()
  values = maker.photo((height, width))[..., 0].astype(">u2") * 257
  data = handmade.tiff((width, height), values.astype(">u2").tobytes(), (16,), 1, big_endian=True)
  maker.add("tiffs/motorola.tif", data, (height, width), "big-endian 16-bit gray")
  data = handmade.tiff((width, height), values.astype("<u2").tobytes(), (16,), 0)
  maker.add("tiffs/white_is_zero.tif", data, (height, width), "16-bit gray, white is zero")
  data = handmade.tiff((2, 2), bytes([0x12, 0x34, 0x56] * 2), (12,), 1)
  maker.add("tiffs/twelve.tif", data, (2, 2), "12-bit gray")


def _orientations(maker: Maker) -> None:
  forms = (("PNG", "png"), ("TIFF", "tif"), ("WEBP", "webp"))
  for orientation in (*range(1, 9), 0, 9):
    tags = Image.Exif()
    tags[0x0112] = orientation
    lossless = [forms[orientation % 3]] if 1 <= orientation <= 8 else []
    for form, suffix in (("JPEG", "jpg"), *lossless):
      image = Image.fromarray(maker.photo())
      maker.save(f"orientation/{orientation}.{suffix}", image, form, f"orientation {orientation}",
                 turned=orientation in _LYING, exif=tags)  # fmt: skip


def _profiles(maker: Maker) -> None:
  srgb, gray = handmade.rgb_profile(), handmade.gray_profile(handmade.curve(1.8))
  swapped = handmade.rgb_profile(red=handmade.GREEN, green=handmade.RED)
  for name, mode, profile in (
    ("srgb", "RGB", srgb), ("swapped", "RGB", swapped), ("gamma18", "L", gray),
    ("broken", "RGB", srgb[:200]), ("noise", "RGB", b"profile" * 40), ("rgb_on_gray", "L", srgb),
    ("gray_on_rgb", "RGB", gray), ("rgb_on_cmyk", "CMYK", swapped),
  ):  # fmt: skip
    form, suffix = ("JPEG", "jpg") if mode == "CMYK" or name == "swapped" else ("PNG", "png")
    image = Image.fromarray(maker.photo()).convert(mode)
    maker.save(f"profiles/{name}.{suffix}", image, form, f"profile {name}", icc_profile=profile)
  deep = Image.fromarray(maker.photo()[..., 0].astype(np.uint16) * 257)
  maker.save("profiles/gamma18_16.tif", deep, "TIFF", "16-bit gray profile", icc_profile=gray)
  image = Image.fromarray(maker.photo()).convert("RGBA")
  maker.save("profiles/swapped.webp", image, "WEBP", "profile swapped", icc_profile=swapped)


def _transparent(maker: Maker) -> None:
  for name, alpha in (("opaque", 255), ("invisible", 0), ("half", 128)):
    image = Image.fromarray(maker.photo()).convert("RGBA")
    image.putalpha(alpha)
    maker.save(f"alpha/{name}.png", image, "PNG", f"alpha {name}")
  palette = Image.fromarray(maker.photo()).convert("P")
  maker.save("alpha/one_index.png", palette, "PNG", "one transparent index", transparency=3)
  ramp = bytes(range(0, 256))
  maker.save("alpha/ramp.png", palette.resize((30, 31)), "PNG", "alpha by index", transparency=ramp)
  maker.save("alpha/index.gif", palette.resize((31, 30)), "GIF", "transparent index",
             transparency=5)  # fmt: skip
  image = Image.fromarray(maker.photo())
  maker.save("alpha/key.png", image, "PNG", "a transparent colour",
             transparency=image.getpixel((0, 0)))  # fmt: skip
  image = Image.fromarray(maker.photo()).convert("L")
  maker.save("alpha/level.png", image, "PNG", "a transparent level", transparency=128)
  image = Image.fromarray(maker.photo()).convert("RGBA")
  image.putalpha(Image.fromarray(maker.photo(image.size[::-1])[..., 0]))
  maker.save("alpha/lossless.webp", image, "WEBP", "alpha", lossless=True)


def _several(maker: Maker) -> None:
  for form, suffix in (("GIF", "gif"), ("WEBP", "webp"), ("PNG", "png"), ("TIFF", "tif")):
    size = maker.size()
    frames = [Image.fromarray(maker.photo(size)) for _ in range(3)]
    maker.save(f"several/frames.{suffix}", frames[0], form, "three frames", save_all=True,
               append_images=frames[1:])  # fmt: skip


def _jpegs(maker: Maker) -> None:
  for name, options in (
    ("progressive", {"progressive": True}), ("tiny_quality", {"quality": 1}),
    ("subsampled", {"subsampling": 2}),
    ("restarts", {"restart_marker_blocks": 1}), ("comment", {"comment": b"caf\xe9 \xf0\x9f"}),
    ("broken_exif", {"exif": b"Exif\0\0II*\0\xff\xff\xff\xff"}),
    ("exif_of_noise", {"exif": b"Exif\0\0" + bytes(range(256))}), ("dpi", {"dpi": (1, 60000)}),
  ):  # fmt: skip
    maker.save(f"jpegs/{name}.jpg", Image.fromarray(maker.photo()), "JPEG", name, **options)
  photo = maker.photo()
  data = encoded(Image.fromarray(photo), "JPEG")
  maker.add("jpegs/garbage_behind.jpg", data + b"garbage" * 50, photo.shape[:2], "garbage behind")
  # Pillow writes CMYK upside down, as Adobe does, with Adobe's marker; without it:
  photo = maker.photo()
  data = encoded(Image.fromarray(photo).convert("CMYK"), "JPEG")
  at = data.index(b"\xff\xee")
  (length,) = struct.unpack_from(">H", data, at + 2)
  plain = data[:at] + data[at + 2 + length :]
  maker.add("jpegs/cmyk_unmarked.jpg", plain, photo.shape[:2], "CMYK without Adobe's marker")


def _names(maker: Maker) -> None:
  names = ["with space.png", "Grüße aus Köln.png", "写真.png", "📷.png", "UPPER.PNG",
           "-dash.png", "--out.png", "a.b.c.png", "[1].png", "star*.png",
           "it's \"quoted\".png", "back\\slash.png", "$HOME.png", "semi;colon & co.png",
           f"{'long' * 50}.png", "deep/er/and/deep/er/still/x.png", "folder.png/inside.png",
           "same.png", "same.jpg"]  # fmt: skip
  for name in names:
    form = "JPEG" if name.lower().endswith(("jpg", "jpeg")) else "PNG"
    maker.save(f"names/{name}", Image.fromarray(maker.photo()), form, "name")
  maker.note(maker.folder / "names/folder.png", None, "a folder", "not a picture")
  try:
    maker.save("names/" + os.fsdecode(b"latin-\xe9.png"), Image.fromarray(maker.photo((6, 9))),
               "PNG", "name that is no UTF-8")  # fmt: skip
    target = Image.fromarray(maker.photo())
    maker.save("names/target.png", target, "PNG", "name")
    link = maker.folder / "names/link.png"
    link.symlink_to("../sizes/7x5.png")
    maker.note(link, (7, 5), "a link to a picture")
  except OSError:
    pass  # a file system that has neither
  for name, form, wrong in (("png", "PNG", "jpg"), ("jpeg", "JPEG", "png"), ("webp", "WEBP", "tif"),
                            ("gif", "GIF", "jpeg"), ("bmp", "BMP", "webp")):  # fmt: skip
    maker.save(f"names/wrong/really_{name}.{wrong}", Image.fromarray(maker.photo()), form,
               f"{form} called .{wrong}")  # fmt: skip


if __name__ == "__main__":
  if len(sys.argv) != 2:
    sys.exit("usage: python tests/infer/odd_pictures.py DIR")
  for odd in make(pathlib.Path(sys.argv[1])):
    size = "x".join(map(str, odd.size)) if odd.size else ""
    print(f"{odd.outcome:14}{size:10}{odd.oddity:40}{str(odd.path)!a}")
