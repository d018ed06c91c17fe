"""Pairs: which files, which way round, and what is asked of nobody."""

import pathlib
import pickle

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from scs_jax.data.camera import Camera, CameraPair, luma
from scs_jax.data.decode import DecodeError
from scs_jax.data.stereo import open_pairs
from scs_jax.errors import UserError

HEIGHT, WIDTH, SHIFT = 96, 160, 12


def scene(seed=0, width=WIDTH):
  """uint8 [H, width, 3], textured everywhere, with colours."""
  noise = np.random.default_rng(seed).normal(size=(HEIGHT, width, 3))
  smooth = ndimage.gaussian_filter(noise, (1.2, 1.2, 0))
  return np.clip(128 + smooth * 130, 0, 255).astype(np.uint8)


def views(seed=0, shift=SHIFT):
  """(left, right) of a plane: right pixel i is left pixel i + shift."""
  wide = scene(seed, WIDTH + abs(shift))
  first, second = wide[:, :WIDTH], wide[:, abs(shift) :]
  return (first, second) if shift >= 0 else (second, first)


def save(path, image):
  path.parent.mkdir(parents=True, exist_ok=True)
  Image.fromarray(image).save(path)


def write(root, name="a", seed=0, shift=SHIFT):
  left, right = views(seed, shift)
  save(root / name / "left.png", left)
  save(root / name / "right.png", right)
  return left, right


def pfm(path, image):
  height, width = image.shape
  path.write_bytes(b"Pf\n%d %d\n-1\n" % (width, height) + image[::-1].astype("<f4").tobytes())


def assert_oriented(pair, shift=SHIFT):
  """Every mono pixel has its match `shift` to the right."""
  np.testing.assert_array_equal(pair.mono[:, :-shift, 0], luma(pair.color)[:, shift:])


class TestOrientation:
  def test_the_right_view_is_monochrome(self, tmp_path):
    left, right = write(tmp_path)
    for mono_view in ("right", "auto"):
      pair = open_pairs(tmp_path, mono_view=mono_view).load(0)
      np.testing.assert_array_equal(pair.mono[..., 0], luma(right))
      np.testing.assert_array_equal(pair.color, left)
      np.testing.assert_array_equal(pair.truth, right)
      assert pair.disparity is None and not pair.mirrored
      assert_oriented(pair)

  def test_a_left_monochrome_view_mirrors_the_whole_pair(self, tmp_path):
    left, right = write(tmp_path)
    pfm(tmp_path / "a" / "disp_left.pfm", np.tile(np.arange(WIDTH), (HEIGHT, 1)))
    pair = open_pairs(tmp_path, mono_view="left").load(0)
    np.testing.assert_array_equal(pair.mono[..., 0], luma(left[:, ::-1]))
    np.testing.assert_array_equal(pair.color, right[:, ::-1])
    np.testing.assert_array_equal(pair.truth, left[:, ::-1])
    np.testing.assert_array_equal(pair.disparity[0], np.arange(WIDTH)[::-1])
    assert pair.mirrored
    assert_oriented(pair)

  def test_auto_finds_files_that_are_swapped(self, tmp_path):
    left, right = write(tmp_path, shift=-SHIFT)
    pair = open_pairs(tmp_path).load(0)
    np.testing.assert_array_equal(pair.truth, left)
    np.testing.assert_array_equal(pair.color, right)
    assert not pair.mirrored
    assert_oriented(pair)

  @pytest.mark.parametrize("sign", [1, -1])
  def test_auto_believes_the_sign_of_a_disparity_file(self, tmp_path, sign):
    flat = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)  # nothing to match
    save(tmp_path / "a" / "left.png", flat)
    save(tmp_path / "a" / "right.png", flat)
    with pytest.raises(DecodeError, match=r"^a: cannot tell which view .* config\.data\.mono_view"):
      open_pairs(tmp_path).load(0)
    pfm(tmp_path / "a" / "disp_left.pfm", np.full((HEIGHT, WIDTH), 5.0 * sign))
    source = open_pairs(tmp_path)
    assert source.roles(0) == ((1, False) if sign > 0 else (0, False))
    # On the right view's pixels nothing is known; swapped, the left one's k is positive.
    found = source.load(0).disparity
    assert found is None if sign > 0 else (found == 5).all()
    assert (source.candidates(0) == 5).all()

  @pytest.mark.parametrize("mono_on_left", [False, True])
  def test_real_pairs(self, tmp_path, mono_on_left):
    left, right = views()
    mono, color = (left, right) if mono_on_left else (right, left)
    save(tmp_path / "mono" / "x" / "1.png", luma(mono))
    save(tmp_path / "color" / "x" / "1.jpg", color)
    Image.fromarray(color).save(tmp_path / "color" / "x" / "1.jpg", quality=100, subsampling=0)
    spec = f"{tmp_path}/mono,{tmp_path}/color"
    side = "left" if mono_on_left else "right"
    for mono_view in ("auto", side):
      pair = open_pairs(spec, mono_view=mono_view).load(0)
      assert pair.mirrored == mono_on_left and pair.truth is None and pair.disparity is None
      turn = (lambda a: a[:, ::-1]) if mono_on_left else (lambda a: a)
      np.testing.assert_array_equal(pair.mono[..., 0], turn(luma(mono)))
      assert np.abs(pair.color.astype(int) - turn(color)).mean() < 2
    assert open_pairs(spec).name(0) == "x/1"


class TestReading:
  def test_reduce_halves_pictures_and_disparities(self, tmp_path):
    _, right = write(tmp_path)
    pfm(tmp_path / "a" / "disp_right.pfm", np.full((HEIGHT, WIDTH), SHIFT))
    pair = open_pairs(tmp_path, reduce=2).load(0)
    assert pair.mono.shape == (HEIGHT // 2, WIDTH // 2, 1)
    blocks = right.reshape(HEIGHT // 2, 2, WIDTH // 2, 2, 3).mean((1, 3))
    np.testing.assert_allclose(pair.truth, blocks, atol=0.51)
    assert pair.disparity.shape == (HEIGHT // 2, WIDTH // 2) and (pair.disparity == 6).all()
    assert_oriented(pair, SHIFT // 2)

  def test_odd_sizes_reduce_alike(self, tmp_path):
    left, right = views()
    save(tmp_path / "a" / "left.png", left[:95, :153])
    save(tmp_path / "a" / "right.png", right[:95, :153])
    pfm(tmp_path / "a" / "disp_right.pfm", np.full((95, 153), SHIFT))
    pair = open_pairs(tmp_path, reduce=4).load(0)
    assert pair.mono.shape[:2] == pair.color.shape[:2] == pair.disparity.shape == (24, 39)

  def test_training_opens_no_truth(self, tmp_path):
    left, right = views()
    save(tmp_path / "m.png", luma(right))
    save(tmp_path / "c.png", left)
    save(tmp_path / "t.png", right)
    (tmp_path / "list.csv").write_text("mono,color,truth\nm.png,c.png,t.png\n")
    before = open_pairs(tmp_path / "list.csv")
    np.testing.assert_array_equal(before.load(0).truth, right)
    (tmp_path / "t.png").write_bytes(b"torn")
    after = open_pairs(tmp_path / "list.csv")
    trained = after.load(0, extras=False)
    assert trained.truth is None
    np.testing.assert_array_equal(trained.mono, before.load(0, extras=False).mono)
    with pytest.raises(DecodeError, match=r"t\.png"):
      after.load(0)

  def test_a_camera_is_applied_once_and_for_all(self, tmp_path):
    write(tmp_path)
    noisy = CameraPair(Camera(shot=(0.02, 0.02)), Camera(shot=(0.02, 0.02)), seed=3)
    one, other = (open_pairs(tmp_path, camera=noisy) for _ in range(2))
    np.testing.assert_array_equal(one.load(0).mono, other.load(0).mono)
    np.testing.assert_array_equal(one.load(0).color, other.load(0, extras=False).color)
    assert (one.load(0).color != open_pairs(tmp_path).load(0).color).any()

  def test_pickling_and_what_is_held(self, tmp_path):
    write(tmp_path)
    source = open_pairs(tmp_path)
    first = source.load(0)
    assert source.load(0) is first
    with pytest.raises(ValueError, match="read-only"):
      first.mono[0, 0, 0] = 1
    copy = pickle.loads(pickle.dumps(source))
    np.testing.assert_array_equal(copy.load(0).color, first.color)
    assert copy.fingerprint == source.fingerprint and len(copy) == 1

  def test_the_fingerprint_tells_sets_and_files_apart(self, tmp_path):
    write(tmp_path, "a")
    one = open_pairs(tmp_path).fingerprint
    write(tmp_path, "b", 1)
    two = open_pairs(tmp_path).fingerprint
    save(tmp_path / "b" / "right.png", scene(9)[:50])
    three = open_pairs(tmp_path).fingerprint
    assert len({one, two, three}) == 3 and open_pairs(tmp_path, only=["a"]).fingerprint == one

  @pytest.mark.parametrize("what", ["torn", "gone", "size", "disparity", "truncated"])
  def test_a_bad_pair_says_why_and_stops_no_other(self, tmp_path, what):
    write(tmp_path, "a")
    write(tmp_path, "b", 1)
    source = open_pairs(tmp_path)
    right = tmp_path / "a" / "right.png"
    if what == "torn":
      right.write_bytes(right.read_bytes()[:200])
    elif what == "gone":
      right.unlink()
    elif what == "size":
      save(right, scene()[:50])
    else:
      pfm(tmp_path / "a" / "disp_right.pfm", np.zeros((3, 3)))
      if what == "truncated":
        (tmp_path / "a" / "disp_right.pfm").write_bytes(b"Pf\n160 96\n-1\n1234")
      source = open_pairs(tmp_path, mono_view="right")
    with pytest.raises(DecodeError) as error:
      source.load(0)
    expected = {"torn": "right.png", "gone": "cannot be opened", "disparity": "different sizes",
                "size": "different sizes, 160x96 and 160x50", "truncated": "truncated"}  # fmt: skip
    assert expected[what] in str(error.value) and "\n" not in str(error.value)
    assert source.load(1).mono.shape == (HEIGHT, WIDTH, 1)


class TestSpecs:
  def test_bundled_rows_make_two_sets(self):
    whole = open_pairs("bundled").load(0)
    train, heldout = (open_pairs(f"bundled:{split}") for split in ("train", "heldout"))
    assert whole.mono.shape == (500, 741, 1)
    parts = [train.load(0), heldout.load(0)]
    for k, name in enumerate(("mono", "color", "truth")):
      np.testing.assert_array_equal(np.concatenate([part[k] for part in parts]), whole[k], name)
    assert train.name(0) != heldout.name(0) and train.fingerprint != heldout.fingerprint
    # The published disparity, of the left view: matches lie k to the right of the right view's.
    k = open_pairs("bundled").candidates(0)
    y, x = np.nonzero(np.isfinite(k) & (np.arange(741) >= np.nan_to_num(k, nan=1e9)))
    left, right = luma(whole.color).astype(int), whole.mono[..., 0].astype(int)
    warped = np.abs(left[y, x] - right[y, np.rint(x - k[y, x]).astype(int)])
    assert np.median(warped) < 4 < np.median(np.abs(left - right))

  def test_only_and_without(self, tmp_path):
    for k, name in enumerate(("art", "books", "dolls")):
      write(tmp_path, name, k)
    names = lambda **kw: [r.name for r in open_pairs(tmp_path, **kw).records]
    assert names(only=["a*", "dolls"]) == ["art", "dolls"]
    assert names(without=["art"]) == ["books", "dolls"]
    assert names(only=["*s"], without=["d*"]) == ["books"]
    with pytest.raises(UserError, match=r"no pair of .* is called 'artt'; there are 3 \(art, book"):
      names(only=["artt"])
    with pytest.raises(UserError, match=r"no pair of .* is left"):
      names(without=["*"])

  def test_two_folders_match_by_name_and_say_what_is_left_out(self, tmp_path):
    for side, names in (("m", ("1.png", "2.png", "3.png")), ("c", ("2.jpg", "3.png", "4.png"))):
      for name in names:
        save(tmp_path / side / name, scene()[:8, :8])
    source = open_pairs(f"{tmp_path}/m , {tmp_path}/c")
    assert [r.name for r in source.records] == ["2", "3"]
    assert all(r.real for r in source.records)
    assert source.notes == ["monochrome pictures without a partner, left out: 1 (1.png)",
                            "colour pictures without a partner, left out: 1 (4.png)"]  # fmt: skip

  @pytest.mark.parametrize(
    ("name", "text"),
    [
      ("pairs.txt", "# two cameras\n\nm/1.png  c/1.png\n'm/2 b.png' c/2.png\n"),
      ("pairs.csv", '\ufeffmono,color\nm/1.png,c/1.png\n"m/2 b.png", c/2.png\n'),
      ("pairs.tsv", "Color\tMono\nc/1.png\tm/1.png\nc/2.png\tm/2 b.png\n"),
      ("pairs.csv", "m/1.png, {root}/c/1.png\nm/2 b.png,c/2.png"),
    ],
  )
  def test_list_files(self, tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text.replace("{root}", str(tmp_path)), encoding="utf-8")
    source = open_pairs(path)
    assert [r.name for r in source.records] == ["m/1", "m/2 b"]
    assert all(r.real for r in source.records)
    found = [tuple(map(pathlib.Path, r.views)) for r in source.records]
    assert found == [(tmp_path / "m/1.png", tmp_path / "c/1.png"),
                     (tmp_path / "m/2 b.png", tmp_path / "c/2.png")]  # fmt: skip

  def test_backslashes_and_blanks_in_a_list(self, tmp_path):
    for name in ("back\\slash.png", "my left.png", "right.png"):
      save(tmp_path / name, scene())
    path = tmp_path / "l.txt"
    path.write_text("back\\slash.png right.png\n'my left.png' right.png\n")
    views = [[pathlib.Path(v).name for v in r.views] for r in open_pairs(path).records]
    assert views == [["back\\slash.png", "right.png"], ["my left.png", "right.png"]]
    for text, part in [
      ("my left.png right.png\n", "line 1: 3 paths, expected 2 (mono, color); put a path with "
       "blanks in it in quotes, or commas between the paths"),
      ("# of Windows\nm\\1.png right.png\n", "line 2: m\\1.png is not there; write / between "
       "folders, not backslashes"),
    ]:  # fmt: skip
      path.write_text(text)
      with pytest.raises(UserError) as error:
        open_pairs(path)
      assert str(error.value) == f"{path}, {part}"

  def test_a_list_of_colour_stereo(self, tmp_path):
    left, right = write(tmp_path)
    pfm(tmp_path / "d.pfm", np.full((HEIGHT, WIDTH), SHIFT))
    (tmp_path / "l.csv").write_text("left,right,disparity\na/left.png,a/right.png,d.pfm\n")
    pair = open_pairs(tmp_path / "l.csv").load(0)
    np.testing.assert_array_equal(pair.color, left)
    np.testing.assert_array_equal(pair.truth, right)

  @pytest.mark.parametrize(
    ("text", "part"),
    [
      ("", "lists no pairs"),
      ("mono,color\n", "lists no pairs"),
      ("a.png\n", "line 1: 1 paths, expected 2 (mono, color)"),
      ("mono,color\na.png,\n", "line 2: 1 paths, expected 2"),
      ("a.png,b.png,c.png\n", "line 1: 3 paths"),
      ("mono,right\na,b\n", "expected mono and color"),
      ("left,right,truth\na,b,c\n", "left and right with or without disparity"),
      ("mono,color,colour\na,b,c\n", "the first line names colour"),
      ("mono,color,mono\na,b,c\n", "at most once"),
      ("left,right,disparity\na,b,c.png\n", "line 2: the disparity"),
      ("a.png,b.png\na.png,b.png\n", "lines 1 and 2 name the same pair"),
    ],
  )
  def test_nonsense_lists(self, tmp_path, text, part):
    (tmp_path / "l.csv").write_text(text)
    with pytest.raises(UserError) as error:
      open_pairs(tmp_path / "l.csv")
    assert part in str(error.value) and "\n" not in str(error.value)

  def test_nonsense_specs(self, tmp_path):
    write(tmp_path, "stereo")
    for name in ("1.png", "1.jpg"):
      save(tmp_path / "twice" / name, scene()[:8, :8])
    save(tmp_path / "other" / "2.png", scene()[:8, :8])
    (tmp_path / "empty").mkdir()
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "quote.txt").write_text("'a b\n")
    root = str(tmp_path)
    for spec, part in [
      ("", "which pairs?"),
      ("bundled:tarin", "no bundled pairs"),
      ("bundled:", "no bundled pairs"),
      ("gs://bucket/pairs", "remote data"),
      (f"{root}/none", "is not there"),
      (f"{root}/none.txt", "cannot read the list"),
      (f"{root}/bytes.txt", "no text file in UTF-8"),
      (f"{root}/quote.txt", "line 1: No closing quotation"),
      (f"{root}/other,{root}/none", "none is not there"),
      (f"{root}/other,{root}/other,{root}/other", "expected two folders"),
      (f"{root}/other,", "expected two folders"),
      (f"{root}/other,{root}/empty", "no pictures under"),
      (f"{root}/twice,{root}/other", "has both"),
      (f"{root}/other,{root}/stereo", "no picture of"),
      (f"{root}/empty", "no stereo pairs under"),
    ]:
      with pytest.raises(UserError) as error:
        open_pairs(spec)
      assert part in str(error.value) and "\n" not in str(error.value), spec

  def test_nonsense_settings(self, tmp_path):
    write(tmp_path)
    save(tmp_path / "a" / "right_exposureE.png", scene())
    save(tmp_path / "m" / "1.png", scene()[..., 0])
    save(tmp_path / "c" / "1.png", scene())
    for options, part in [
      ({"mono_view": "up"}, "expected one of auto, right, left"),
      ({"reduce": 5}, "expected one of 1, 2, 3, 4, 8"),
      ({"variant": "E", "mono_view": "left"}, "is of the right view"),
    ]:
      with pytest.raises(UserError, match=part):
        open_pairs(tmp_path, **options)
    for spec in (tmp_path, "bundled", f"{tmp_path}/m,{tmp_path}/c"):
      with pytest.raises(UserError, match=r"data\.variant is 'dirty': expected one of"):
        open_pairs(spec, variant="dirty")
    with pytest.raises(UserError, match="were shot by a monochrome and a colour camera"):
      open_pairs(f"{tmp_path}/m,{tmp_path}/c", camera=CameraPair())
