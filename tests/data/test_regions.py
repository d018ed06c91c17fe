"""Crops that the device makes of regions, against those that the host resamples with Pillow."""

import numpy as np
import PIL
import pytest
from PIL import Image
from skimage import data

from scs_jax.data import order, pipeline, regions, transforms
from scs_jax.data.sources import FolderSource
from scs_jax.errors import UserError
from scs_jax.ops.regions import resample_regions

PHOTO = Image.fromarray(data.astronaut())
CROP = 48


def crops_of(batch, name="image"):
  side = batch[name].shape[1]
  return np.asarray(
    resample_regions(batch[name], batch[regions.place_of(name)], regions.crop_of(side))
  )


def both(picture, where, crop=CROP):
  """The crop by the host and by the device."""
  batch = regions.stack({"image": crop}, [regions.take("image", picture, crop, where)])
  return transforms.apply_crop(picture, crop, where).astype(int), crops_of(batch)[0].astype(int)


@pytest.mark.parametrize(
  ("size", "where"),
  [
    ((100, 75), transforms.Crop(1.0, 0.0, 0.3)),
    ((100, 75), transforms.Crop(1.25, 0.99, 0.99, True)),
    ((75, 100), transforms.Crop(1.1, 0.4, 0.0, True)),
    ((95, 95), transforms.Crop(1.0, 0.0, 0.0)),
    ((95, 300), transforms.Crop(1.0, 0.99, 0.5)),
    ((30, 40), transforms.Crop(1.2, 0.5, 0.7)),
    ((64, 48), transforms.Crop(1.0, 0.0, 0.5, True)),
  ],
)
def test_the_device_makes_pillows_crop_but_for_rounding(size, where):
  host, device = both(PHOTO.resize(size), where)
  apart = np.abs(host - device)
  # Pillow's weights are whole numbers, and single values round the other way. Of a tall picture
  # Pillow 13 gives others: a fifth by a level, single ones by up to six.
  other = size == (95, 300) and int(PIL.__version__.split(".")[0]) >= 13
  mean, most = (0.25, 8) if other else (0.02, 1)
  assert apart.mean() < mean and apart.max() <= most


@pytest.mark.parametrize("flip", [False, True])
def test_pixels_that_are_not_resampled_stay_as_they_are(flip):
  host, device = both(PHOTO.resize((70, CROP)), transforms.Crop(1.0, 0.0, 0.6, flip))
  np.testing.assert_array_equal(device, host)


def test_what_does_not_fit_the_square_the_host_resamples():
  where = transforms.Crop(1.0, 0.3, 0.3, True)
  host, device = both(PHOTO, where)  # 512 pixels to 48
  np.testing.assert_array_equal(device, host)


def test_every_reduction_that_decoding_leaves_fits():
  """Else the host would resample after all: reductions up to half, corners of all kinds."""
  for short in range(CROP, 2 * CROP):
    for y in (0.0, 0.37, 0.99):
      taken = regions.take("image", PHOTO.resize((150, short)), CROP, transforms.Crop(1.0, y, y))
      height, width, _ = taken["image"].shape
      assert max(height, width) <= regions.side_of(CROP)
      np.testing.assert_allclose(taken["image_place"][:, 1], short / CROP, rtol=0.01)
      np.testing.assert_array_equal(taken["image_place"][:, 2], (height, width))


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
  folder = tmp_path_factory.mktemp("photos")
  for number in range(5):
    photo = PHOTO.crop((40 * number, 0, 40 * number + 300, 220))
    photo.resize((150 + 9 * number, 110)).save(folder / f"{number}.jpg", quality=95)
  return FolderSource(folder)


def read(source, start=0, **options):
  spec = pipeline.BatchSpec(
    4, CROP, max_zoom=1.3, reference_size=24, reference_probability=0.5, seed=3, **options
  )
  with pipeline.train_batches(source, spec, start_step=start) as batches:
    return [next(batches) for _ in range(2)]


def test_batches_are_those_of_the_host(photos):
  for host, device in zip(read(photos), read(photos, on_device=True), strict=True):
    assert set(device) == set(host) | {"image_place", "reference_place"}
    for name in ("index", "record", "bad", "use_reference"):
      np.testing.assert_array_equal(device[name], host[name])
    for name in ("image", "reference"):
      assert np.abs(crops_of(device, name) - host[name].astype(float)).mean() < 0.02
    unused = ~host["use_reference"]
    assert unused.any() and not unused.all()
    assert (crops_of(device, "reference")[unused] == 0).all()


def test_a_run_that_goes_on_sees_the_same_crops(photos):
  first = read(photos, on_device=True)[1]
  again = read(photos, start=1, on_device=True, threads=0)[0]
  for name in ("image", "reference"):
    np.testing.assert_array_equal(crops_of(first, name), crops_of(again, name))


def test_regions_are_of_crops_that_are_resampled():
  with pytest.raises(UserError, match="on_device is about resampling"):
    pipeline.BatchSpec(2, 8, resample=False, on_device=True)


def test_draws_are_those_of_the_host():
  """The same place is cut: a ramp tells where each pixel came from."""
  ramp = np.broadcast_to(np.arange(200, dtype=np.uint8)[None, :, None], (100, 200, 3))
  for number in range(6):
    where = transforms.draw_crop(order.philox(0, order.CROP, number), 1.5)
    host, device = both(Image.fromarray(np.ascontiguousarray(ramp)), where)
    assert np.abs(host - device).max() <= 1
