"""Disparity files, byte for byte as the data sets publish them."""

import struct

import numpy as np
import pytest
from PIL import Image

from scs_jax.data import disparity_files
from scs_jax.data.decode import DecodeError
from scs_jax.data.disparity_files import DisparityFile, read, read_pfm

VALUES = np.array([[1.5, 2.25, 3.0], [40.125, 0.0, 7.0]], np.float32)


def pfm(values, order="<", header=None) -> bytes:
  """Rows from the bottom up, as the format has it."""
  height, width = values.shape
  header = header or b"Pf\n%d %d\n%s1.0\n" % (width, height, b"-" if order == "<" else b"")
  rows = [struct.pack(f"{order}{width}f", *row) for row in values[::-1]]
  return header + b"".join(rows)


def write(path, content: bytes) -> str:
  path.write_bytes(content)
  return str(path)


@pytest.mark.parametrize("order", ["<", ">"])
def test_pfm_of_both_byte_orders_reads_from_the_bottom_up(tmp_path, order):
  np.testing.assert_array_equal(read_pfm(write(tmp_path / "d.pfm", pfm(VALUES, order))), VALUES)


@pytest.mark.parametrize(
  "header",
  [b"Pf 3 2 -1\n", b"Pf \n3 2 \n-1.0\n", b"Pf\r\n3 2\r\n-1.0\r\n", b"Pf\n3 2\n-0.003922\n"],
)
def test_headers_as_found_in_the_wild(tmp_path, header):
  # The last is Middlebury 2014's: the scale's size does not touch the values.
  found = read_pfm(write(tmp_path / "d.pfm", pfm(VALUES, header=header)))
  np.testing.assert_array_equal(found, VALUES)


def test_bytes_that_look_like_blanks_after_the_header_are_pixels(tmp_path):
  values = np.frombuffer(b"\n \n " + b"    ", "<f4").reshape(1, 2)
  found = read_pfm(write(tmp_path / "d.pfm", pfm(values)))
  np.testing.assert_array_equal(found, values)


def test_what_is_not_finite_is_unknown(tmp_path):
  found = read_pfm(write(tmp_path / "d.pfm", pfm(np.array([[np.inf, -np.inf, np.nan, 2.0]]))))
  np.testing.assert_array_equal(found, [[np.nan, np.nan, np.nan, 2.0]])


@pytest.mark.parametrize(
  ("content", "cause"),
  [
    (b"", "no PFM file"),
    (b"P6\n3 2\n255\n" + bytes(18), "no PFM file"),
    (b"PF\n3 2\n-1.0\n" + bytes(72), "three channels"),
    (b"Pf\n3 2\n0\n" + bytes(24), "scale is '0'"),
    (b"Pf\n3 2\n-e-\n" + bytes(24), "scale is '-e-'"),
    (b"Pf\n0 2\n-1.0\n", "0x2 pixels"),
    (b"Pf\n99999999 99999999\n-1.0\n", "99999999x99999999 pixels"),
    (b"Pf\n3 2\n-1.0\n" + bytes(23), "truncated: 23 bytes after the header, 3x2 pixels take 24"),
    (b"Pf\n3 2\n-1.0\n" + bytes(25), "too long: 25 bytes"),
    (b"Pf\n3 2\n-1.0 ", "no PFM file"),
  ],
)
def test_broken_pfm_is_named_with_its_cause(tmp_path, content, cause):
  path = write(tmp_path / "broken.pfm", content)
  with pytest.raises(DecodeError, match=r"broken\.pfm") as error:
    read_pfm(path)
  assert cause in str(error.value) and "\n" not in str(error.value)
  with pytest.raises(DecodeError, match="cannot be opened"):
    read_pfm(tmp_path / "none.pfm")


@pytest.mark.parametrize(("scale", "expected"), [(1.0, 60.0), (2.0, 30.0), (3.0, 20.0)])
def test_gray_by_its_scale_zero_unknown(tmp_path, scale, expected):
  Image.fromarray(np.array([[0, 60]], np.uint8)).save(tmp_path / "disp1.png")
  found = read(DisparityFile(str(tmp_path / "disp1.png"), "gray", scale))
  assert found.dtype == np.float32
  np.testing.assert_array_equal(found, [[np.nan, expected]])


def test_cityscapes_16_bits(tmp_path):
  # Its page: float disparity = (float(p) - 1) / 256 for p > 0.
  Image.fromarray(np.array([[0, 1, 257, 32769]], np.uint16)).save(tmp_path / "d.png")
  found = read(DisparityFile(str(tmp_path / "d.png"), "cityscapes"))
  np.testing.assert_array_equal(found, [[np.nan, 0.0, 1.0, 128.0]])


def test_sintel_three_channels(tmp_path):
  # R * 4 + G / 64 + B / 16384, to a part in 16384 of a pixel.
  Image.fromarray(np.array([[[10, 32, 0], [0, 0, 8]]], np.uint8)).save(tmp_path / "d.png")
  found = read(DisparityFile(str(tmp_path / "d.png"), "sintel"))
  np.testing.assert_array_equal(found, np.array([[40.5, 8 / 16384]], np.float32))


def test_npz(tmp_path):
  np.savez(tmp_path / "d.npz", np.array([[np.inf, 3.5]], np.float32))
  np.testing.assert_array_equal(
    read(DisparityFile(str(tmp_path / "d.npz"), "npz")), [[np.nan, 3.5]]
  )
  np.savez(tmp_path / "e.npz", np.zeros(3, np.uint8))
  for name in ("e.npz", "none.npz"):
    with pytest.raises(DecodeError, match=name):
      read(DisparityFile(str(tmp_path / name), "npz"))


def test_a_picture_of_another_kind_is_refused(tmp_path):
  Image.fromarray(np.zeros((2, 2, 3), np.uint8)).save(tmp_path / "rgb.png")
  Image.fromarray(np.zeros((2, 2), np.uint8)).save(tmp_path / "gray.png")
  with pytest.raises(DecodeError, match="mode RGB, expected gray"):
    read(DisparityFile(str(tmp_path / "rgb.png"), "gray"))
  with pytest.raises(DecodeError, match="mode L, expected RGB"):
    read(DisparityFile(str(tmp_path / "gray.png"), "sintel"))
  torn = (tmp_path / "gray.png").read_bytes()[:40]
  with pytest.raises(DecodeError, match=r"torn\.png"):
    read(DisparityFile(write(tmp_path / "torn.png", torn), "gray"))


@pytest.mark.parametrize("arguments", [("tiff",), ("gray", 0.0), ("gray", float("nan"))])
def test_nonsense_is_a_slip_of_the_caller(arguments):
  with pytest.raises(ValueError, match="expected"):
    DisparityFile("d.png", *arguments)
  assert disparity_files.ENCODINGS
