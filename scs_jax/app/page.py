"""The page: what it consists of and how it looks. Everything in it comes from this machine."""

import pathlib

import gradio as gr

from scs_jax.app import pairs_tab, photographs_tab, runs_tab
from scs_jax.app.shared import Shared

TITLE = "scs_jax: colour photographs"
STYLE = pathlib.Path(__file__).with_name("style.css")

_SANS, _MONO = ("system-ui", "sans-serif"), ("ui-monospace", "monospace")
_CLEAN_EVERY, _CLEAN_AFTER = 3600, 86400  # seconds: uploads whose page never asked for anything


def build(shared: Shared) -> gr.Blocks:
  """Builds the page."""
  with gr.Blocks(
    title=TITLE, analytics_enabled=False, delete_cache=(_CLEAN_EVERY, _CLEAN_AFTER)
  ) as page:
    gr.Markdown(
      "# Colour photographs\nWith the networks of scs_jax, on the machine that serves this page. "
      "It sends your pictures nowhere, and deletes them when you close the page."
    )
    with gr.Tabs():
      with gr.Tab("Photos"):
        photographs_tab.build(shared)
      if shared.networks.pairs:
        with gr.Tab("Pairs"):
          pairs_tab.build(shared)
      with gr.Tab("Training runs"):
        runs_tab.build(shared)

    def leave(request: gr.Request) -> None:
      shared.places.end(request.session_hash)

    page.unload(leave)
  return page


def theme() -> gr.themes.Default:
  """The look, in the system's own letters: none are fetched."""
  blue = gr.themes.colors.blue
  look = gr.themes.Default(primary_hue=blue, font=_SANS, font_mono=_MONO)
  return look.set(block_info_text_color="*neutral_600", block_info_text_color_dark="*neutral_300")
