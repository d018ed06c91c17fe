"""The tab Pairs: a monochrome and a colour picture; result, disparity, confidence, warnings."""

import gradio as gr

from scs_jax.app import markup, pairs, words
from scs_jax.app.shared import EVENT, PICTURES, Shared
from scs_jax.infer.pairs import VIEWS


def build(shared: Shared) -> None:
  """Builds the tab; within a gr.Tab."""
  networks = shared.networks
  with gr.Row():
    with gr.Column(min_width=300, elem_classes="asked"):
      mono = gr.File(label=words.MONO, file_types=PICTURES, height=140, elem_id="mono")
      color = gr.File(label=words.COLOR, file_types=PICTURES, height=140, elem_id="color")
      start = gr.Button("Colour the pair", variant="primary", elem_id="colour-pair")
      network = gr.Dropdown(
        networks.pairs, value=networks.pairs[0], label=words.NETWORK,
        info=networks.summary(networks.pairs[0]), elem_id="pair-network",
      )  # fmt: skip
      view = gr.Dropdown(
        [("found from the pictures", "auto"), *VIEWS], value="auto", label=words.STOOD,
        info="Seen from behind the cameras, beside, below or above the colour camera.",
        elem_id="view",
      )  # fmt: skip
      saturation = gr.Slider(0.0, 4.0, 1.0, step=0.05, label=words.SATURATION)
    with gr.Column(scale=2, min_width=300, elem_classes="answered"):
      status = gr.HTML(
        markup.line(
          "Drop the two pictures that a monochrome and a colour camera took side by side at the "
          f"same moment, rectified, of one size and each of {shared.most}."
        ),
        elem_id="pair-status",
      )
      compared = gr.ImageSlider(
        label="Before and after", type="filepath", interactive=False, elem_id="pair-compared",
        buttons=["fullscreen"], visible=False, max_height=560,
      )  # fmt: skip
      result = gr.File(label="Result", interactive=False, visible=False, elem_id="pair-result")
      with gr.Row():
        look = {"interactive": False, "visible": False, "buttons": ["fullscreen"]}
        disparity = gr.Image(label="Disparity", elem_id="disparity", **look)
        confidence = gr.Image(
          label="Confidence: red is little, green is much", elem_id="confidence", **look
        )
      check = gr.Image(label="The check of the pair", elem_id="check", **look)
  shown = [compared, result, disparity, confidence, check]

  def colour(mono, color, network, view, saturation, request: gr.Request):
    if not (mono and color):
      lacks = words.COLOR if mono else words.MONO
      yield {status: markup.refusal(f"a pair has two pictures: drop one into “{lacks}”")}
      return
    yield {status: markup.line("waiting", True)} | {c: gr.update(visible=False) for c in shown}
    asked, folder = pairs.Asked(mono, color, network, view, saturation), None
    try:
      shared.turns.require_room()
      folder = shared.places.folder(request.session_hash, "pair")
      for now in pairs.color(asked, folder, networks, shared.turns, shared.max_pixels):
        shared.places.require(request.session_hash)
        yield {status: _status(now)} | results_of(now)
    except Exception as error:
      yield {status: shared.refusal(error, request.session_hash, folder)}

  def results_of(now: pairs.State) -> dict:
    if not now.output:
      return {}
    maps = {disparity: now.disparity, confidence: now.confidence, check: now.check}
    return {
      compared: gr.ImageSlider((now.before, now.after), visible=True),
      result: gr.File(now.output, visible=True),
    } | {c: gr.update(value=path or None, visible=bool(path)) for c, path in maps.items()}

  mono.upload(shared.hold, mono, **EVENT)
  color.upload(shared.hold, color, **EVENT)
  network.change(lambda name: gr.Dropdown(info=networks.summary(name)), network, network, **EVENT)
  start.click(
    colour, [mono, color, network, view, saturation], [status, *shown], show_progress="hidden",
    **EVENT,
  )  # fmt: skip


def _status(now: pairs.State) -> str:
  parts = [markup.line(now.now or "the pair is coloured", bool(now.now))]
  return "".join([*parts, *map(markup.warning, now.warnings)]) + markup.said(now.notes)
