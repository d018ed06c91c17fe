"""Shared test set-up: eight CPU devices and a persistent compilation cache."""

import contextlib
import functools
import gc
import html.parser
import importlib.metadata
import logging
import os
import pathlib
import secrets
import subprocess
import tempfile

_CACHE = pathlib.Path(__file__).resolve().parent.parent / ".cache" / "jax"
# In the environment, so that processes that tests start have them as well.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["JAX_COMPILATION_CACHE_DIR"] = str(_CACHE)
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.1"
# Tests compile much and compute little: without LLVM's optimizations they take half the time, and
# without XLA's newer emitters of fusions a third to two thirds of the rest. From jaxlib 0.11 on
# there may be no others: XLA ends the process at a flag that it does not know.
_COMPILE = {"--xla_backend_optimization_level": "0"}
if importlib.metadata.version("jaxlib").startswith("0.10."):
  _COMPILE["--xla_cpu_use_fusion_emitters"] = "false"


def _flags(devices, given=""):
  wanted = {"--xla_force_host_platform_device_count": devices} | _COMPILE
  flags = [f"{flag}={value}" for flag, value in wanted.items() if flag not in given]
  return " ".join([given, *flags]).strip()


os.environ["XLA_FLAGS"] = _flags(8, os.environ.get("XLA_FLAGS", ""))

import jax  # noqa: E402
import numpy as np  # noqa: E402
import psutil  # noqa: E402
import pytest  # noqa: E402

# Tracing makes millions of objects, few of them garbage: looking for it takes a fifth of its time.
gc.freeze()
gc.set_threshold(50_000, 20, 20)

_MOST_MEMORY = 4e9  # bytes of a worker between two files


@pytest.fixture(scope="module", autouse=True)
def _forget_programs():
  """Compiled programs of one file are of no use to the next, and take gigabytes together.

  What a file puts in a method's place stays in that file: the next has methods of its own.
  """
  from scs_jax.core import resolve

  yield
  resolve.made.cache_clear()
  if psutil.Process().memory_info().rss > _MOST_MEMORY:
    jax.clear_caches()
    gc.collect()


@pytest.fixture(scope="session")
def xla_flags():
  """A function: XLA_FLAGS of a process with so many devices, which compiles as the tests do."""
  return _flags


@pytest.fixture(scope="module")
def plain_volumes():
  """Cycle CNN's volumes go through XLA's own convolutions, as on GPUs: far fewer operations.

  For tests that are about something else than those for CPUs, which have theirs in
  methods/cycle_cnn (test_volume.py, test_first_layer.py, test_unet.py, test_wac.py).
  """
  from scs_jax.ops import platform

  with platform.compiling_for("gpu"):
    yield


@pytest.fixture(scope="module")
def quick_matches():
  """Views are matched at half as many corners, and those of one pair of pictures but once."""
  from scs_jax.data import matching

  known, match = {}, matching.match

  def remembered(first, second, points=400, **more):
    key = first.tobytes(), second.tobytes(), points, *more.values()
    if key not in known:
      known[key] = match(first, second, points=points // 2, **more)
    return known[key]

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(matching, "match", remembered)
    yield


@pytest.fixture(scope="module")
def one_device():
  """Trainings of this process use one device: programs for eight take longer to compile."""
  first = jax.devices()[:1]
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(jax, "devices", lambda *_: first)
    yield


def _unlocked(name):
  from scs_jax.core import config as configs

  config = configs.load(name).copy_and_resolve_references()
  config.unlock()
  return config


def _tiny_config():
  config = _unlocked("scsnet/small")
  config.input_size = 8
  config.magnification = (2.0, 2.0)
  config.data.crop = 16
  config.reference.size = 8
  config.reference.alpha = 1.0
  config.reference.sigma = 0.64
  config.network.widths = (4, 4, 8)
  config.network.source_blocks = (0, 0, 1)
  config.network.reference_blocks = (0, 0, 1)
  config.network.decoder_blocks = (0, 0, 1)
  config.network.texture_blocks = 1
  config.network.fused_features = 8
  config.network.level_features = 8
  config.network.key_features = 4
  config.network.cpm_widths = (8, 8, 8)
  config.discriminator.width = 4
  config.discriminator.layers = 1
  config.optimizer.learning_rate = 1e-3
  config.optimizer.name = "adam"
  config.reference.hue_probability = 0.0
  config.optimizer.schedule = "constant"
  config.optimizer.weight_decay = 1e-4
  config.optimizer.clip_norm = 0.0
  config.batch_size = 8
  config.steps = 4
  config.checkpoint.every_steps = 2
  config.log.every_steps = 1
  config.log.evaluate_every = 4
  config.log.panels_every = 4
  config.evaluate.reference_size = 8
  config.evaluate.batch_size = 2
  config.evaluate.limit = 2
  return config


@pytest.fixture
def tiny_config():
  """scsnet/small at the smallest sizes that still have every part: a fresh, unlocked copy."""
  return _tiny_config()


@pytest.fixture(scope="session")
def make_tiny_config():
  """The same as a function, for fixtures that live longer than one test."""
  return _tiny_config


@pytest.fixture(scope="session")
def make_smsanet_config():
  """A function: smsanet/small at the smallest sizes that still have every part, unlocked."""

  def make():
    config = _unlocked("smsanet/small")
    config.network.width = 1 / 16
    config.network.attention_blocks = (4,)
    config.data.crop = 16
    config.optimizer.name = "adam"
    config.optimizer.learning_rate = 1e-3
    config.optimizer.schedule = "constant"
    config.optimizer.clip_norm = 0.0
    config.batch_size = 8
    config.steps = 4
    return config

  return make


@pytest.fixture(scope="session")
def make_joint_config():
  """A function: joint_sr/small at the smallest sizes that still have every part, by task."""

  def make(task="joint"):
    config = _unlocked("joint_sr/small")
    config.task = task
    config.input_sizes = (12,)
    config.data.crop = 32
    config.network.width = 1 / 16
    config.network.features = 4
    config.network.blocks = 1
    config.network.color_features = (4, 6)
    config.network.color_blocks = 1
    config.discriminator.width = 2
    config.optimizer.schedule = "plateau"
    config.optimizer.plateau_window = 2
    config.optimizer.plateau_patience = 1
    config.optimizer.learning_rate = 3e-3
    config.optimizer.weight_decay = 0.0
    config.optimizer.clip_norm = 0.0
    config.batch_size = 8
    config.steps = 4
    return config

  return make


@pytest.fixture(scope="session")
def make_cycle_config():
  """A function: cycle_cnn/small at the smallest sizes that still have every part, unlocked."""

  def make():
    config = _unlocked("cycle_cnn/small")
    config.network.features = 2
    config.network.pairs = 1
    config.network.search_range = 16
    config.data.crop = (16, 32)
    config.data.reduce = 1
    config.optimizer.schedule = "constant"
    config.batch_size = 2
    config.steps = 4
    config.refine_share = 0.5
    config.checkpoint.every_steps = 2
    config.log.every_steps = 1
    config.log.evaluate_every = 4
    config.log.panels_every = 4
    config.evaluate.limit = 2
    return config

  return make


@pytest.fixture(scope="session")
def _store():
  """A store that speaks as S3 does, for this process and those that it starts; a client of it."""
  server = pytest.importorskip("moto.server")
  files = pytest.importorskip("s3fs")
  logging.getLogger("werkzeug").setLevel(logging.WARNING)
  running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
  running.start()
  address = "http://{}:{}".format(*running.get_host_and_port())
  keys = dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "test")
  with pytest.MonkeyPatch.context() as patch:
    environment = keys | {"AWS_DEFAULT_REGION": "us-east-1", "AWS_ENDPOINT_URL": address}
    for name, value in environment.items():
      patch.setenv(name, value)
    yield files.S3FileSystem()
    files.S3FileSystem.clear_instance_cache()
  running.stop()


@pytest.fixture
def bucket(_store, tmp_path, monkeypatch):
  """(its address, a function: its objects' names); copies on the disk are in tmp_path/copies."""
  (tmp_path / "copies").mkdir()
  monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "copies"))
  name = f"test-{secrets.token_hex(4)}"
  _store.mkdir(name)

  def objects():
    _store.invalidate_cache()
    return sorted(path.removeprefix(f"{name}/") for path in _store.find(name))

  return f"s3://{name}", objects


@contextlib.contextmanager
def _small_disk(folder, size):
  folder.mkdir()
  command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
  try:
    mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
  except FileNotFoundError:
    mounted = False
  if not mounted:
    pytest.skip("mounting a small tmpfs is not permitted here")
  try:
    yield folder
  finally:
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture(scope="session")
def small_disk():
  """A context: a new folder on a disk of `size` ("2m"); skips where mounting is not permitted."""
  return _small_disk


class _Page(html.parser.HTMLParser):
  VOID = {"meta", "img", "br"}

  def __init__(self, text):
    super().__init__()
    self.fetched, self.open, self.words, self.counts = [], [], [], {}
    self.feed(text)

  def handle_startendtag(self, tag, attrs):
    self.handle_starttag(tag, attrs, closed=True)

  def handle_starttag(self, tag, attrs, closed=False):
    self.counts[tag] = self.counts.get(tag, 0) + 1
    self.fetched += [value for name, value in attrs if name in ("src", "href", "srcset", "data")]
    if tag not in self.VOID and not closed:
      self.open.append(tag)

  def handle_endtag(self, tag):
    assert self.open.pop() == tag

  def handle_data(self, data):
    self.words.append(data)


@pytest.fixture(scope="session")
def parse_page():
  """A function: an HTML page's text -> what a browser would fetch (`fetched`), tags left `open`,
  `words`, and `counts` by tag. A tag that closes another one is an error at once.
  """
  return _Page


@pytest.fixture(scope="session")
def temporaries():
  """A function: bytes of temporaries that XLA plans for `function(*shapes)`; nothing is run.

  `shapes` are trees of anything with shape and dtype. On CPUs XLA hands small graphs to a library
  whose memory it does not count (the full attention matrix would weigh nothing): off for this.
  """

  def measure(function, *shapes) -> int:
    like = lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype)
    lowered = jax.jit(function).lower(*jax.tree.map(like, shapes))
    on_cpu = jax.default_backend() == "cpu"
    options = {"xla_cpu_experimental_ynn_fusion_type": ""} if on_cpu else {}
    return lowered.compile(compiler_options=options).memory_analysis().temp_size_in_bytes

  return measure


def _draw_leaf(rng, shape):
  fan_in = np.prod(shape.shape[:-1]) if len(shape.shape) > 1 else 16
  return (rng.normal(size=shape.shape) / np.sqrt(fan_in)).astype(np.float32)


@pytest.fixture(scope="session")
def random_variables():
  """A function: variables of a Linen module for these inputs, drawn in NumPy.

  Unlike an initialisation's, no kernel or bias is zero, so that a test sees all of them; and
  nothing is compiled. Kernels keep the variance of what they multiply.
  """

  def draw(module, *inputs, seed=0, method=None):
    rng = np.random.default_rng(seed)
    key = jax.random.key(0)
    shapes = jax.eval_shape(lambda *x: module.init(key, *x, method=method), *inputs)

    return jax.tree.map(functools.partial(_draw_leaf, rng), shapes)

  return draw


@pytest.fixture(scope="session")
def draw_state():
  """A function: a method's state whose parameters are all drawn in NumPy, none of them zero.

  An initialisation's zeros (residual branches, the gate of self-attention) would hide what lies
  behind them from a test, and compiling one takes longer than most tests.
  """

  from scs_jax.core import config as configs

  @functools.cache
  def shapes_of(init, kind, config):
    method = kind(configs.from_json(config))
    return jax.eval_shape(functools.partial(init, method), jax.random.key(0), {})

  def draw(method, seed=0, init=None):
    rng = np.random.default_rng(seed)
    kind = type(method)
    shapes = shapes_of(init or kind.init, kind, configs.to_json(method.config))
    zeros = jax.tree.map(lambda s: np.zeros(s.shape, s.dtype), shapes)

    leaf = functools.partial(_draw_leaf, rng)
    drawn = {n: jax.tree.map(leaf, getattr(shapes, n)) for n in ("params", "model_state")}
    return zeros.replace(**drawn)

  return draw


@pytest.fixture(scope="module")
def drawn_starts(draw_state):
  """The built-in methods draw the states that they begin with: compiling an init takes long."""
  from scs_jax.core import resolve

  def init(self, key, batch, asked):
    state = draw_state(self, init=asked)
    return state.replace(model_state=jax.tree.map(np.abs, state.model_state))  # variances

  with pytest.MonkeyPatch.context() as patch:
    for name in resolve.BUILTIN:
      method = resolve.resolve(name)
      patch.setattr(method, "init", functools.partialmethod(init, asked=method.init))
    yield
