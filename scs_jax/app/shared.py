"""What the tabs of the page share."""

import dataclasses
from collections.abc import Iterable

import gradio as gr

from scs_jax.app import markup, words
from scs_jax.app.networks import Networks
from scs_jax.app.places import Places
from scs_jax.app.turns import Turns
from scs_jax.data.listing import EXTENSIONS
from scs_jax.errors import UserError

PICTURES = ["image", *sorted(EXTENSIONS)]
"""What an upload offers to choose: what browsers take for pictures, and what they do not."""

EVENT = {"api_visibility": "private", "concurrency_limit": None}
"""Of every event: the page alone asks for it, and who waits for whom is Turns' to say."""


@dataclasses.dataclass(frozen=True)
class Shared:
  """What the tabs share.

  Attributes:
    networks, places, turns: the page's.
    max_upload: files of more bytes are refused.
    max_pixels: pictures, and results, of more pixels are refused.
    runs: the folder below which training runs are shown.
    stopped: sessions whose job is to end after the photograph at work.
  """

  networks: Networks
  places: Places
  turns: Turns
  max_upload: int
  max_pixels: int
  runs: str
  stopped: set[str] = dataclasses.field(default_factory=set)

  @property
  def most(self) -> str:
    """The limits of a picture, in words."""
    return f"up to {self.max_upload / 2**20:.3g} MiB and {self.max_pixels / 1e6:.3g} megapixels"

  def refusal(self, error: Exception, session: str, folder: object = None) -> str:
    """Says as HTML why a session's job ended; one whose page was closed lost its files, no more."""
    try:
      self.places.require(session)
    except UserError as closed:
      error = closed
    return markup.refusal(words.explain(error, folder))

  def hold(self, sent, request: gr.Request) -> None:
    """Takes down the file or files that a session's page sent, so that they go with it."""
    paths: Iterable[str] = [sent] if isinstance(sent, str) else sent or ()
    self.places.hold(request.session_hash, map(str, paths))
