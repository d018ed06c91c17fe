"""Studies of a few small pictures, and servers that are gone after a test."""

import contextlib
import pathlib
import sys
import threading

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from simulated import paint

from scs_jax.study import make
from scs_jax.study.server import Server

METHODS = ("secret_one", "secret_two", "secret_three")


@pytest.fixture
def draw(tmp_path):
  """A function: a study of so many pictures of three methods -> its folder."""

  def draw(kind, pictures=3, name="study", **more):
    names = [f"harbour_{i}" for i in range(pictures)]
    results = {}
    for number, method in enumerate(METHODS):
      results[method] = tmp_path / "results" / method
      paint(results[method], number, names)
    make.make(kind, results, tmp_path / name, progress=False, **more)
    return tmp_path / name

  return draw


@pytest.fixture
def serve():
  """A function: a study's folder -> a running server."""
  with contextlib.ExitStack() as stack:

    def serve(folder):
      server = Server(folder)
      thread = threading.Thread(target=server.serve_forever, args=(0.02,))
      thread.start()
      stack.callback(server.server_close)
      stack.callback(thread.join)
      stack.callback(server.shutdown)
      return server

    yield serve
