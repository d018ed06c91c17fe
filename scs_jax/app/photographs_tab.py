"""The tab Photos: photographs dropped, coloured, compared, downloaded; where one was looked at."""

import gradio as gr

from scs_jax.app import looking, markup, photographs, words
from scs_jax.app.shared import EVENT, PICTURES, Shared

_MOST = 4.0  # times as large a side


def build(shared: Shared) -> None:
  """Builds the tab; within a gr.Tab."""
  networks = shared.networks
  with gr.Row():
    with gr.Column(min_width=300, elem_classes="asked"):
      given = gr.File(
        label="Photographs", file_count="multiple", file_types=PICTURES, height=160,
        elem_id="photographs",
      )  # fmt: skip
      start = gr.Button("Colour", variant="primary", elem_id="colour")
      network = gr.Dropdown(
        [(name or "chosen by the task", name) for name in networks.photographs],
        value=networks.photographs[0], label=words.NETWORK,
        info=networks.summary(networks.photographs[0]), elem_id="network",
      )  # fmt: skip
      scale = gr.Slider(
        1.0, _MOST, 1.0, step=0.01, label=words.MAGNIFICATION, elem_id="magnification",
        info="How many times as large each side becomes; any number.",
      )  # fmt: skip
      keep = gr.Checkbox(
        label=words.KEEP, elem_id="keep",
        info="Takes only the colours from the network: every detail stays.",
      )  # fmt: skip
      saturation = gr.Slider(
        0.0, 4.0, 1.0, step=0.05, label=words.SATURATION, elem_id="saturation",
        info="0 is gray, 1 what the network says.",
      )  # fmt: skip
      lending = f"{words.REFERENCES} (optional)"
      with gr.Accordion(lending, open=False, elem_id="lending", elem_classes="later"):
        gr.Markdown(
          "They lend their colours. Of several, each photograph takes the one of its name, else "
          "the most similar."
        )
        references = gr.File(
          label=words.REFERENCES, file_count="multiple", file_types=PICTURES, height=140,
          elem_id="references",
        )  # fmt: skip
    with gr.Column(scale=2, min_width=300, elem_classes="answered"):
      with gr.Row(equal_height=True):
        status = gr.HTML(
          markup.line(f"Drop photographs, each of {shared.most}, and press “Colour”."),
          elem_id="status",
        )
        stop = gr.Button("Stop", elem_id="stop", scale=0, min_width=90, visible=False)
      compared = gr.ImageSlider(
        label="Before and after", type="filepath", interactive=False, elem_id="compared",
        buttons=["fullscreen"], visible=False, max_height=640,
      )  # fmt: skip
      gallery = gr.Gallery(
        label="All results: choose one", columns=4, height=220, allow_preview=False, buttons=[],
        visible=False, elem_id="gallery", object_fit="contain",
      )  # fmt: skip
      results = gr.File(
        label="Results", file_count="multiple", interactive=False, visible=False,
        elem_id="results",
      )  # fmt: skip
      archive = gr.DownloadButton("Download all (zip)", visible=False, elem_id="archive")
      with gr.Accordion("Where it looked", open=False, visible=False, elem_id="looking") as where:
        clicked = gr.Image(
          label="Click a point of the photograph", type="filepath", interactive=False, buttons=[],
          elem_id="clicked",
        )  # fmt: skip
        looked = gr.HTML(elem_id="looked")
  done, chosen = gr.State([]), gr.State(0)
  shown = [compared, gallery, results, archive, where]

  def colour(given, references, network, scale, keep, saturation, request: gr.Request):
    if not given:
      yield {status: markup.refusal("no photograph is there yet: drop one into “Photographs”")}
      return
    yield {status: markup.line("waiting", True), stop: gr.Button(visible=True)} | {
      component: gr.update(visible=False) for component in shown
    }
    asked = photographs.Asked(given, references or (), network, scale, keep, saturation)
    folder, session = None, request.session_hash
    shared.stopped.discard(session)
    try:
      shared.turns.require_room()
      folder = shared.places.folder(session, "photographs")
      for now in photographs.color(asked, folder, networks, shared.turns, shared.max_pixels):
        shared.places.require(session)
        if now.now and session in shared.stopped:
          now.now = ""
          told = markup.line("stopped") + _status(now)
          yield {status: told, stop: gr.Button(visible=False)} | results_of(now)
          return
        yield {status: _status(now), stop: gr.Button(visible=bool(now.now))} | results_of(now)
    except Exception as error:
      refused = shared.refusal(error, session, folder)
      yield {status: refused, stop: gr.Button(visible=False)}

  def results_of(now: photographs.State) -> dict:
    if not now.done:
      return {}
    last, several = now.done[-1], now.total > 1
    looks = bool(last.reference) and networks.has_attention(last.network)
    thumbnails = [(one.after, one.name) for one in now.done]
    return {
      compared: gr.ImageSlider((last.before, last.after), label=last.name, visible=True),
      gallery: gr.Gallery(thumbnails if several else None, visible=several),
      results: gr.File([one.output for one in now.done], visible=True),
      archive: gr.DownloadButton(value=now.archive or None, visible=bool(now.archive)),
      where: gr.Accordion(visible=looks),
      clicked: last.before if looks else None,
      looked: "",
      done: list(now.done),
      chosen: len(now.done) - 1,
    }

  def halt(request: gr.Request):
    shared.stopped.add(request.session_hash)
    return markup.line("stopping after the photograph at work", True), gr.Button(visible=False)

  def choose(done, event: gr.SelectData):
    one = done[event.index]
    return gr.ImageSlider((one.before, one.after), label=one.name), one.before, "", event.index

  def look(done, chosen, event: gr.SelectData):
    return looking.answer(shared, done[chosen], event.index)

  given.upload(shared.hold, given, **EVENT)
  references.upload(shared.hold, references, **EVENT)
  network.change(lambda name: gr.Dropdown(info=networks.summary(name)), network, network, **EVENT)
  asked = [given, references, network, scale, keep, saturation]
  quiet = {"show_progress": "hidden", **EVENT}
  start.click(colour, asked, [status, stop, *shown, clicked, looked, done, chosen], **quiet)
  stop.click(halt, None, [status, stop], **quiet)
  gallery.select(choose, done, [compared, clicked, looked, chosen], **quiet)
  clicked.select(look, [done, chosen], looked, **EVENT)


def _status(now: photographs.State) -> str:
  count = len(now.done)
  coloured = "1 photograph coloured" if count == 1 else f"{count} photographs coloured"
  parts = [markup.line(now.now or coloured, bool(now.now))] if now.now or count else []
  parts += [markup.refusal(f"{name}: {cause}") for name, cause in now.broken]
  return "".join(parts) + markup.said(now.notes)
