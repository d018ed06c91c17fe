"""The tab Training runs: curves, held-out scores and panels of a run, refreshed while it trains."""

import gradio as gr

from scs_jax.app import markup, runs, words
from scs_jax.app.shared import EVENT, Shared

SECONDS = 5
"""Between two looks at a run."""

_NEWEST = "the newest"


def build(shared: Shared) -> None:
  """Builds the tab; within a gr.Tab."""
  with gr.Row(equal_height=True):
    run = gr.Dropdown(
      [], value=None, label=f"Run, of those below {shared.runs}", elem_id="run", min_width=300
    )
    step = gr.Dropdown(
      [_NEWEST], value=_NEWEST, label="Panel of held-out pictures", elem_id="step", min_width=300
    )
    again = gr.Button("Look for runs", elem_id="again", scale=0, min_width=180)
  shown = gr.HTML(
    markup.line("Choose a run to see its curves, scores and panels; they follow while it trains."),
    elem_id="shown-run",
  )
  panel = gr.HTML(elem_id="panel")
  seen, timer = gr.State(), gr.Timer(SECONDS, active=False)

  def look_for_runs(chosen):
    found = runs.find(shared.runs)
    chosen = chosen if chosen in found else None
    line = "" if found else markup.line(
      f"no run below {shared.runs} yet: `scs-jax train --workdir {shared.runs}/NAME` makes one"
    )
    return gr.Dropdown(found, value=chosen), line if chosen is None else gr.skip()

  def show(name, at):
    if not name:
      return gr.skip(), gr.skip(), gr.skip(), gr.skip(), gr.Timer(active=False)
    try:
      stamp, found = runs.stamp(shared.runs, name), runs.read(shared.runs, name)
      steps = {runs.step_of(path): path for path in found.panels}
      path = steps.get(at) or next(iter(found.panels), None)
      drawn = runs.panel(path) if path is not None else ""
    except Exception as error:
      refused = markup.refusal(words.explain(error))
      return refused, "", gr.skip(), None, gr.Timer(active=False)
    choice = gr.Dropdown([_NEWEST, *steps], value=at if at in steps else _NEWEST)
    return runs.page(found), drawn, choice, stamp, gr.Timer(active=True)

  def refresh(name, at, seen):
    """Shows a run anew where it has written since."""
    if name and runs.stamp(shared.runs, name) == seen:
      return [gr.skip()] * 5
    return show(name, at)

  quiet = {"show_progress": "hidden", **EVENT}
  outputs = [shown, panel, step, seen, timer]
  again.click(look_for_runs, run, [run, shown], **quiet)
  run.focus(look_for_runs, run, [run, shown], **quiet)
  run.input(show, [run, step], outputs, **quiet)
  step.input(show, [run, step], outputs, **quiet)
  timer.tick(refresh, [run, step, seen], outputs, **quiet)
