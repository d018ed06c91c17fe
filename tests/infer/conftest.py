"""A small SCSNet with every kind of layer, its parameters drawn at random."""

import pytest

from scs_jax.core import resolve


@pytest.fixture(scope="session")
def pieces_method(make_tiny_config):
  config = make_tiny_config()
  config.network.levels = 2
  return resolve.build(config.lock())


@pytest.fixture(scope="session")
def pieces_state(pieces_method, draw_state):
  return draw_state(pieces_method)
