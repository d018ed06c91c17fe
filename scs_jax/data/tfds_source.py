"""Data sets of tensorflow-datasets as sources: random access to their ArrayRecord files.

Reading needs no TensorFlow; preparing most of them does (docs/data.md). A prepared folder is read
from its own metadata, so that the code of a data set, which may import TensorFlow, is not run.
Pictures stay encoded until decode.py decodes them, at reduced scale where that is enough.
"""

import contextlib
import difflib
import hashlib
import importlib
import io
import os
import pathlib
import re
from typing import Any, NamedTuple

import numpy as np

from scs_jax.data import decode, remote, scan
from scs_jax.data.source import Stored
from scs_jax.errors import UserError

_SPEC = re.compile(
  r"tfds:(?P<name>[^:#]+(:\d+\.\d+\.\d+)?)(:(?P<split>[^#]*))?(#(?P<feature>.+))?", re.DOTALL
)
_EXPECTED = "expected tfds:NAME[/CONFIG][:VERSION][:SPLIT][#FEATURE], as tfds:coco/2017:train"


class Spec(NamedTuple):
  """A spec in parts.

  Attributes:
    name: NAME[/CONFIG][:VERSION], or the path of a prepared folder.
    split: "train", "train[:1%]", "train+test": what tfds understands.
    feature: of which the pictures are; None: the one there is, or "image".
  """

  name: str
  split: str
  feature: str | None


class TfdsSource(Stored):
  """A split of a data set that was prepared as ArrayRecord.

  Names are "NAME/CONFIG/VERSION/SPLIT/number".

  Args:
    spec: see parse.
    data_dir: where data sets are prepared; None: $TFDS_DATA_DIR, or ~/tensorflow_datasets.

  Raises:
    UserError: no such data set, split or feature; not prepared, or in another format.
  """

  def __init__(self, spec: str, data_dir: str | os.PathLike | None = None):
    self._spec = parse(spec)
    builder = _builder(self._spec, data_dir)
    self._feature = _choose_feature(builder, self._spec.feature)
    _check_split(builder, self._spec.split)
    self._data = _open(builder, self._spec.split, self._feature)
    self._prefix = f"{builder.info.full_name}/{self._spec.split}"
    self.root = os.fspath(builder.data_dir)
    parts = [self._prefix, self._feature, len(self._data)]
    splits = builder.info.splits
    parts += [[name, list(splits[name].shard_lengths), splits[name].num_bytes] for name in splits]
    self.fingerprint = hashlib.sha256(repr(parts).encode()).hexdigest()[:32]

  def __len__(self) -> int:
    return len(self._data)

  def encoded(self, i: int) -> bytes:
    with decode.explain_failures(self.name(i)):
      value = self._data[i]
      for part in self._feature.split("/"):
        value = value[part]
    return value

  def file(self, i: int) -> scan.File:
    # No size before it is read; the fingerprint stands for a time of change.
    return scan.File(self.name(i), 0, int(self.fingerprint[:15], 16))

  def name(self, i: int) -> str:
    return f"{self._prefix}/{i:07d}"


def parse(spec: str) -> Spec:
  """Parses tfds:NAME[/CONFIG][:VERSION][:SPLIT][#FEATURE]; the split is "train" by default.

  Raises:
    UserError: it is none.
  """
  if remote.is_remote(spec.partition("[")[0]):
    raise _not_local(spec)
  match = _SPEC.fullmatch(spec)
  if match is None or match["split"] == "":
    raise UserError(f"cannot read {spec!r}; {_EXPECTED}")
  return Spec(match["name"], match["split"] or "train", match["feature"])


def _not_local(what: str) -> UserError:
  return UserError(
    f"{what}: data sets of tensorflow-datasets are read from local disks or mounted buckets alone; "
    "put it there once with `scs-jax data pack tfds:NAME:SPLIT gs://bucket/folder` and give that "
    "address, or mount the bucket (gcsfuse)"
  )


def _library():
  try:
    return importlib.import_module("tensorflow_datasets")
  except ImportError as error:
    raise UserError(
      f"tensorflow-datasets cannot be imported ({error}); run pip install tensorflow-datasets "
      "importlib_resources"
    ) from error


def _builder(spec: Spec, data_dir: str | os.PathLike | None):
  """Opens a prepared data set's builder: from its folder if that is there, else from its code."""
  tfds = _library()
  root = data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
  if remote.is_remote(root):
    raise _not_local(f"TFDS_DATA_DIR is {os.fspath(root)}")
  root = pathlib.Path(root).expanduser()
  if spec.name.startswith(("/", ".", "~")):
    return _from_folder(tfds, pathlib.Path(spec.name).expanduser(), spec)
  if not re.fullmatch(r"\w+(/[\w.-]+)?(:[\d.]+)?", spec.name):
    raise UserError(f"cannot read tfds:{spec.name!r}; {_EXPECTED}")
  folder = _prepared_folder(root, spec.name)
  if folder is not None:
    return _from_folder(tfds, folder, spec)
  name = spec.name.partition("/")[0].partition(":")[0]
  known = tfds.list_builders(with_community_datasets=False)
  if name not in known:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    raise UserError(
      f"tensorflow-datasets knows no data set {name!r}"
      + (f"; did you mean tfds:{near[0]}?" if near else " (nor is one of that name prepared)")
    )
  try:
    with contextlib.redirect_stdout(io.StringIO()):  # it prints that TensorFlow is not installed
      return tfds.builder(spec.name, data_dir=os.fspath(root))
  except ImportError as error:  # its code needs TensorFlow: that it is not prepared is known
    raise _not_prepared(spec.name, root) from error
  except (ValueError, AssertionError) as error:
    configs = list(getattr(tfds.builder_cls(name), "builder_configs", {}))
    config = spec.name.partition("/")[2].partition(":")[0]
    if config and config not in configs:
      near = difflib.get_close_matches(config, configs, n=1, cutoff=0.4)
      hint = f"did you mean tfds:{name}/{near[0]}?" if near else f"it has {', '.join(configs[:8])}"
      raise UserError(f"{name} has no config {config!r}; {hint}") from error
    message = " ".join(str(error).split())
    raise UserError(f"tfds:{spec.name} cannot be opened ({message[-300:]})") from error


def _prepared_folder(root: pathlib.Path, asked: str) -> pathlib.Path | None:
  """Finds ROOT/NAME[/CONFIG]/VERSION as download_and_prepare leaves it: the newest, or as asked.

  Without a config, that of the only one prepared; None where nothing is prepared.
  """
  name, _, version = asked.partition(":")
  versions = _versions(root / name)
  if not versions and "/" not in name:
    configs = {p.name: found for p in _folders(root / name) if (found := _versions(p))}
    if len(configs) > 1:
      raise UserError(
        f"{name} is prepared in {len(configs)} configs; choose one: "
        + ", ".join(f"tfds:{name}/{config}" for config in sorted(configs))
      )
    versions = next(iter(configs.values()), {})
  if version and versions:
    if version not in versions:
      have = ", ".join(sorted(versions))
      raise UserError(f"{name} is prepared in version {have}, not {version}; ask for that, or none")
    return versions[version]
  newest = max(versions, key=lambda v: [int(n) for n in re.findall(r"\d+", v)], default=None)
  return versions[newest] if newest else None


def _versions(folder: pathlib.Path) -> dict[str, pathlib.Path]:
  return {p.name: p for p in _folders(folder) if (p / "features.json").is_file()}


def _folders(folder: pathlib.Path) -> list[pathlib.Path]:
  if not folder.is_dir():
    return []
  return [p for p in folder.iterdir() if p.is_dir() and not p.name.startswith(("incomplete.", "."))]


def _from_folder(tfds, folder: pathlib.Path, spec: Spec):
  if not (folder / "features.json").is_file():
    raise UserError(
      f"no prepared data set in {folder}: expected a folder with dataset_info.json and "
      "features.json, as DIR/NAME/CONFIG/VERSION is"
    )
  try:
    return tfds.builder_from_directory(os.fspath(folder))
  except Exception as error:  # whatever the metadata of another version, or a damaged one, raises
    message = " ".join(str(error).split())
    raise UserError(f"the data set in {folder} cannot be opened ({message[:300]})") from error


def _not_prepared(name: str, root: pathlib.Path) -> UserError:
  return UserError(
    f"tfds:{name} is not prepared in {root}; set TFDS_DATA_DIR to where it is, or prepare it: pip "
    'install "scs_jax[tf]", then python -c "import tensorflow_datasets as tfds; '
    f"tfds.builder('{name}', data_dir='{root}', file_format='array_record')"
    '.download_and_prepare()" (docs/data.md has more)'
  )


def _choose_feature(builder, asked: str | None) -> str:
  """Finds the path of the feature that holds the pictures."""
  tfds = _library()
  # Float maps, such as depth, are stored in the bytes of a PNG that shows nothing.
  features = {
    path: feature.shape
    for path, feature in sorted(_images(tfds, builder.info.features).items())
    if feature.np_dtype != np.float32
  }
  if asked is not None:
    if asked not in features:
      have = ", ".join(features) or "none"
      raise UserError(f"{builder.info.full_name} has no image feature {asked!r}; it has {have}")
    return asked
  # Masks and maps of labels have one channel; what is read as a photo has colours.
  photos = [path for path, shape in features.items() if shape[-1] in (3, 4, None)]
  for choices in (photos, list(features)):
    if "image" in choices:
      return "image"
    if len(choices) == 1:
      return choices[0]
    if choices:
      raise UserError(
        f"{builder.info.full_name} has several image features; choose one, as in "
        f"tfds:{builder.info.full_name.rpartition('/')[0]}#{choices[0]}, of {', '.join(choices)}"
      )
  raise UserError(
    f"{builder.info.full_name} has no image feature; "
    f"it has {', '.join(sorted(builder.info.features))}"
  )


def _images(tfds, features, prefix: str = "") -> dict[str, Any]:
  """Maps path to feature, of features that are one picture a record."""
  found = {}
  for name, feature in features.items():
    if isinstance(feature, tfds.features.FeaturesDict):
      found |= _images(tfds, feature, f"{prefix}{name}/")
    elif isinstance(feature, tfds.features.Image):
      found[prefix + name] = feature
  return found


def _check_split(builder, split: str) -> None:
  names = list(builder.info.splits)
  asked = re.findall(r"[A-Za-z_]\w*", re.sub(r"\[[^\]]*\]", "", split))
  for name in asked if names else ():
    if name not in (*names, "all"):
      near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
      hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(names)}"
      raise UserError(f"{builder.info.full_name} has no split {name!r}; {hint}")


def _open(builder, split: str, feature: str):
  """Opens the split, its pictures encoded; nor are other features decoded that hold pictures."""
  tfds = _library()
  decoders: dict = {}
  for path in {feature, *_images(tfds, builder.info.features)}:
    *folders, leaf = path.split("/")
    inner = decoders
    for folder in folders:
      inner = inner.setdefault(folder, {})
    inner[leaf] = tfds.decode.SkipDecoding()
  try:
    if builder.info.splits and not builder.info.splits[split].num_examples:
      raise UserError(f"{builder.info.full_name}: split {split!r} is empty; choose another")
    return builder.as_data_source(split=split, decoders=decoders)
  except UserError:
    raise
  except Exception as error:  # tfds raises many types, and long texts
    folder = pathlib.Path(builder.data_dir)
    if not folder.exists():
      name = builder.info.full_name.rpartition("/")[0]
      parents = folder.parents[name.count("/") + 1]
      raise _not_prepared(name, parents) from error
    if isinstance(error, NotImplementedError):
      raise UserError(
        f"{folder} is prepared as {builder.info.file_format.value}, which has no random access; "
        "prepare it again with file_format='array_record', in another data_dir or after removing it"
      ) from error
    message = " ".join(str(error).split())
    raise UserError(f"{folder}, split {split!r}, cannot be opened ({message[:300]})") from error
