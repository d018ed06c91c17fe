"""Serves the page on this machine until it is told to end."""

import contextlib
import dataclasses
import importlib.util
import ipaddress
import logging
import os
import pathlib
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence

from scs_jax.errors import UserError

MAX_UPLOAD = 100 << 20
MAX_PIXELS = 100_000_000
MAX_JOBS = 20

_THREADS = 16  # of the page beside those of jobs


@dataclasses.dataclass(frozen=True)
class Settings:
  """How the page is served.

  Attributes:
    checkpoints: trained networks to offer first, as models.find takes them.
    runs: folder below which training runs are shown.
    host: address to listen at; others than this machine's own need `auth`.
    port: None: the first free one from 7860 on.
    auth: (user, password) that the page asks for.
    max_upload: bytes of an uploaded file.
    max_pixels: of a picture, and of a result.
    max_jobs: at work and waiting together.
    memory_limit: bytes, as of Colorizer.
    warm: compile what the first photograph will need as soon as the page is there.
  """

  checkpoints: Sequence[str] = ()
  runs: str = "runs"
  host: str = "127.0.0.1"
  port: int | None = None
  auth: tuple[str, str] | None = None
  max_upload: int = MAX_UPLOAD
  max_pixels: int = MAX_PIXELS
  max_jobs: int = MAX_JOBS
  memory_limit: int | None = None
  warm: bool = True


@contextlib.contextmanager
def served(settings: Settings) -> Iterator[str]:
  """Serves the page while the context lasts; gives its address.

  All that was uploaded and made lies in one temporary folder, which goes at the end.

  Raises:
    UserError: Gradio is not installed, a host that asks for a password without one, a port that is
      taken, a network that is not there.
  """
  if importlib.util.find_spec("gradio") is None:
    raise UserError(
      "the page needs Gradio, which is not installed: run pip install -e '.[app]' in the source "
      "tree of scs_jax, or pip install gradio"
    )
  if not is_loopback(settings.host) and settings.auth is None:
    raise UserError(
      f"--host {settings.host} lets other machines in: give --auth USER:PASSWORD (or set "
      "SCS_JAX_AUTH), or leave --host out"
    )
  with contextlib.ExitStack() as stack:
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="scs_jax_app_"))
    folder = str(pathlib.Path(folder).resolve())
    local = ",".join(["127.0.0.1", "localhost", settings.host])
    proxies = ",".join(filter(None, (os.environ.get("NO_PROXY"), local)))
    # Gradio reads these when it is imported and when it starts, and from nowhere else. It asks
    # itself whether it is there, which is not to go through a proxy.
    stack.enter_context(_environment({
      "GRADIO_TEMP_DIR": folder, "GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_OFFLINE": "1",
      "NO_PROXY": proxies, "no_proxy": proxies,
    }))  # fmt: skip
    page = _launch(settings, folder)
    stack.callback(_close, page)
    yield page.local_url


def is_loopback(host: str) -> bool:
  """Whether an address is this machine's own, which no other machine reaches."""
  try:
    return ipaddress.ip_address(host).is_loopback
  except ValueError:
    return host == "localhost"


def _launch(settings: Settings, folder: str):
  from scs_jax.app import page
  from scs_jax.app.networks import Networks
  from scs_jax.app.places import Places
  from scs_jax.app.shared import Shared
  from scs_jax.app.turns import Turns

  networks = Networks(settings.checkpoints, settings.memory_limit)
  turns = Turns(settings.max_jobs)
  limits = settings.max_upload, settings.max_pixels
  shared = Shared(networks, Places(folder), turns, *limits, settings.runs)
  blocks = page.build(shared)
  try:
    blocks.launch(
      server_name=settings.host,
      server_port=settings.port,
      auth=settings.auth,
      max_file_size=settings.max_upload,
      max_threads=settings.max_jobs + _THREADS,
      share=False,
      quiet=True,
      prevent_thread_lock=True,
      ssr_mode=False,
      mcp_server=False,
      pwa=False,
      run_history=False,
      enable_monitoring=False,
      footer_links=[],
      theme=page.theme(),
      css_paths=[page.STYLE],
    )
  except OSError as error:
    where = f"{settings.host}:{settings.port}" if settings.port else settings.host
    raise UserError(
      f"cannot listen at {where}: the port is taken, or the address is not this machine's; give "
      "another --port, or another --host"
    ) from error
  if settings.warm:
    threading.Thread(target=_warm, args=(networks, turns), daemon=True).start()
  return blocks


def _close(blocks) -> None:
  """Ends at once, whoever has the page open."""
  logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # traces of what is broken off
  blocks.server.force_exit = True
  blocks.close(verbose=False)


def _warm(networks, turns) -> None:
  """Compiles what the first photograph will need; it is then told what is wrong, if anything is."""
  with turns.turn(), contextlib.suppress(Exception):
    networks.warm()


@contextlib.contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
  before = {name: os.environ.get(name) for name in values}
  os.environ.update(values)
  try:
    yield
  finally:
    for name, value in before.items():
      if value is None:
        os.environ.pop(name, None)
      else:
        os.environ[name] = value
