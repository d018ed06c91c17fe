"""The raters' page in a real browser: keyboard at 1280 pixels, fingers at 390, a server away."""

import threading

import chromium
import pytest

from scs_jax.study.server import Server

pytestmark = [
  pytest.mark.slow,
  pytest.mark.skipif(chromium.COMMAND is None, reason="no chromium here"),
]


@pytest.fixture
def browse(tmp_path):
  """A function: window and address -> a page of a browser that ends with the test."""
  pages = []

  def browse(address, *window):
    pages.append(chromium.Page(tmp_path / f"profile{len(pages)}", *window))
    pages[-1].open(address)
    return pages[-1]

  yield browse
  for page in pages:
    page.close()


_SHOWN = "!document.getElementById('{}').hidden"


def _begin(page, name):
  page.wait(_SHOWN.format("start"))
  page.run(f"document.getElementById('name').value = '{name}'")
  page.run("document.querySelector('#join button').click()")
  page.wait(_SHOWN.format("rest"))
  code = page.run("document.getElementById('own').textContent")
  page.run("document.activeElement.click()")  # the button that begins has the focus
  page.wait("began > 0")
  return code


def _votes(server):
  return [(vote.position, vote.answer) for vote in server.votes.all()]


def test_pairs_by_keyboard_with_a_pause_a_reload_and_a_server_that_is_away(draw, serve, browse):
  folder = draw("pairwise", pictures=2, seconds=0.3)
  server = serve(folder)
  page = browse(server.address, 1280, 800)
  _begin(page, "Ada")
  covered = "document.getElementById('pictures').className"
  assert page.run(f"{covered} === '' && document.querySelectorAll('figure img').length === 2")
  page.wait(f"{covered} === 'covered'")  # after its time; the answer may come later
  page.press("x")
  page.press("ArrowRight")
  page.wait("now.position === 1 && began > 0")
  page.press("p")
  page.wait(_SHOWN.format("rest"))
  page.press("ArrowLeft")  # answers nothing now
  page.open(server.address)
  page.wait(_SHOWN.format("rest"))
  assert page.run("document.getElementById('heading').textContent") == "1 of 4 answered"
  assert len(server.votes.all()) == 1
  page.run("document.getElementById('go').click()")
  page.wait("began > 0")
  server.shutdown()
  server.server_close()
  page.press("ArrowLeft")
  page.wait("document.getElementById('trouble').textContent.includes('tries again')")
  assert page.run("JSON.parse(localStorage['scs-jax study vote']).position") == 1
  page.open("about:blank")  # the page is closed, and the server comes back later
  later = Server(folder, port=server.server_port)
  thread = threading.Thread(target=later.serve_forever, args=(0.02,))
  thread.start()
  page.open(server.address)
  page.wait(_SHOWN.format("rest"))
  assert page.run("now.position") == 2
  later.shutdown()
  thread.join()
  sides = {q: later.votes.questions(1, q, 1)[0].flipped for q in (0, 1)}
  assert _votes(later) == [(0, int(not sides[0])), (1, int(sides[1]))]
  later.server_close()


def test_levels_by_touch_to_the_end_and_from_another_device(draw, serve, browse):
  server = serve(draw("levels", pictures=1, modes=["automatic"], repeats=0.3))
  page = browse(server.address, 390, 844, True)
  code = _begin(page, "Bea")
  assert page.run("document.documentElement.scrollWidth === innerWidth")
  assert page.run("document.documentElement.scrollHeight === innerHeight")
  names = page.run("[...document.querySelectorAll('#answers button')].map(b => b.innerText)")
  assert [name.split("\n")[0] for name in names] == [
    "Perfect", "Few Errors", "Partly Wrong", "Mostly Wrong", "Totally Wrong",
  ]  # fmt: skip
  page.tap("#answers button:nth-child(2)")
  page.wait("now.position === 1 && began > 0")
  other = browse(server.address, 1280, 800)
  other.run(f"document.getElementById('code').value = ' {code.lower()} '")
  other.run("document.querySelector('#return button').click()")
  other.wait(_SHOWN.format("rest"))
  other.run("document.getElementById('go').click()")
  for position, key in ((2, "5"), (3, "1")):
    other.wait("began > 0")
    other.press(key)
    other.wait(f"now.position === {position}")
  page.tap("#answers button:nth-child(4)")  # a question that was answered elsewhere
  page.wait("document.getElementById('trouble').textContent.includes('has been answered')")
  page.tap("#go")
  page.wait("began > 0")
  page.tap("#answers button:nth-child(5)")
  page.wait(_SHOWN.format("done"))
  assert _votes(server) == [(0, 1), (1, 4), (2, 0), (3, 4)]
