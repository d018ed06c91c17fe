"""The raters' page, served by the standard library: fixed files, pictures, three requests.

What is sent names no method: pictures have drawn names, and which side is whose stays here. A file
is found by its name in a table, never by a path of the request's.

POST api/join {"name", "ticket"}: a new rater's {"code"}, the same one for the same ticket.
POST api/next {"code"}: the question to ask.
POST api/vote {"code", "position", "answer", "seconds"}: commits the vote and answers as `next`.
What is refused gets {"error": a sentence for the rater}.
"""

import errno
import http.server
import importlib.resources
import json
import pathlib
import socket
import socketserver
import sqlite3
import sys
import urllib.parse

from scs_jax.errors import UserError
from scs_jax.study import design as designs
from scs_jax.study import schedule
from scs_jax.study.votes import Refused, Unknown, Votes

_PAGE = {
  "/": ("index.html", "text/html; charset=utf-8"),
  "/page.css": ("page.css", "text/css; charset=utf-8"),
  "/page.js": ("page.js", "text/javascript; charset=utf-8"),
}
_HEADERS = {
  "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'",
  "Referrer-Policy": "no-referrer",
  "X-Content-Type-Options": "nosniff",
}
_MOST = 4096  # bytes of a request's body
_AHEAD = 3  # trials whose pictures the page loads before they are shown


class Server(http.server.ThreadingHTTPServer):
  """Serves one study until `shutdown`; a thread a connection.

  Attributes:
    address: of the page.

  Args:
    folder: the study's.
    host: name or address to listen at.
    port: 0 takes one that is free.

  Raises:
    UserError: the folder is no study's, or the address cannot be had.
  """

  daemon_threads = True  # a reply that is cut off is asked for again, and no vote hangs on it
  request_queue_size = 128

  def __init__(self, folder: pathlib.Path, host: str = "127.0.0.1", port: int = 0):
    if not host:  # as of an unset variable; it would mean every network of this machine
      raise UserError("--host is empty: expected an address, such as 127.0.0.1")
    self.design = designs.read(folder)
    self.votes = Votes(folder)
    place = importlib.resources.files("scs_jax.study").joinpath("page")
    self.page = {
      path: (place.joinpath(name).read_bytes(), kind) for path, (name, kind) in _PAGE.items()
    }
    names = {f for t in self.design.trials for f in (*t.files, t.scene) if f}
    self.pictures = {f"/pictures/{n}.png": folder / designs.PICTURES / f"{n}.png" for n in names}
    try:
      super().__init__((host, port), _Handler)
    except (OSError, OverflowError) as error:
      self.votes.close()
      why = {
        errno.EADDRINUSE: "another program listens there; give another --port, or 0 for a free one",
        errno.EACCES: "no permission; give a --port from 1024 on",
      }.get(getattr(error, "errno", None), f"{error}; check --host and --port")
      raise UserError(f"cannot listen at {host}:{port}: {why}") from error
    shown = socket.gethostname() if host == "0.0.0.0" else host
    self.address = f"http://{shown}:{self.server_address[1]}/"

  def server_bind(self) -> None:
    """Binds without asking a name server what this machine is called, which may take long."""
    socketserver.TCPServer.server_bind(self)
    self.server_name, self.server_port = self.server_address[:2]

  def handle_error(self, request, client_address) -> None:
    """Shows what went wrong, except that a browser went away."""
    if not isinstance(sys.exception(), (ConnectionError, TimeoutError)):
      super().handle_error(request, client_address)

  def server_close(self) -> None:
    super().server_close()
    self.votes.close()

  def join(self, body: dict) -> dict:
    """Enters a rater."""
    questions = lambda number: schedule.schedule(self.design, number)
    return {"code": self.votes.join(_text(body, "name"), _text(body, "ticket"), questions)}

  def next(self, body: dict) -> dict:
    """Finds what a rater is asked next; without "pictures" where all is answered."""
    rater = self.votes.find(_text(body, "code"))
    position, total = self.votes.progress(rater)
    design = self.design
    reply = {
      "kind": design.kind,
      "levels": designs.LEVEL_NAMES if design.kind == designs.LEVELS else [],
      "display": design.seconds,
      "position": position,
      "total": total,
    }
    shown = [self._shown(q) for q in self.votes.questions(rater, position, 1 + _AHEAD)]
    if shown:
      ahead = [url for later in shown[1:] for url in later["pictures"] + later["scene"]]
      reply |= shown[0] | {"ahead": ahead}
    return reply

  def vote(self, body: dict) -> dict:
    """Commits a vote, then finds what is asked next."""
    rater = self.votes.find(_text(body, "code"))
    position = _number(body, "position", 1 << 31, whole=True)
    answer = _number(body, "answer", self.design.answers, whole=True)
    seconds = _number(body, "seconds", 1e9)
    asked = self.votes.questions(rater, position, 1)
    flipped = bool(asked) and asked[0].flipped
    self.votes.vote(rater, position, 1 - answer if flipped else answer, seconds)
    return self.next(body)

  def _shown(self, question: schedule.Question) -> dict[str, list[str]]:
    trial = self.design.trials[question.trial]
    files = trial.files[::-1] if question.flipped else trial.files
    url = lambda name: f"pictures/{name}.png"
    return {"pictures": [*map(url, files)], "scene": [url(trial.scene)] if trial.scene else []}


class _Handler(http.server.BaseHTTPRequestHandler):
  """Answers the requests of one connection."""

  protocol_version = "HTTP/1.1"
  server_version, sys_version = "scs-jax", ""
  timeout = 60  # seconds without a request: browsers keep connections open
  wbufsize = -1  # head and body leave together: apart, the body waits 40 ms for the head's receipt
  server: Server

  def do_GET(self) -> None:
    path = urllib.parse.urlsplit(self.path).path
    if path in self.server.page:
      self._send(200, *self.server.page[path])
    elif path in self.server.pictures:
      try:
        content = self.server.pictures[path].read_bytes()
      except OSError as error:
        print(f"scs-jax: {error}", file=sys.stderr)
        self._fail(503, "A picture of the study cannot be read; please tell who sent you here.")
      else:
        self._send(200, content, "image/png", "private, max-age=86400, immutable")
    else:
      self._fail(404, "There is nothing here.")

  def do_POST(self) -> None:
    actions = {"/api/join": self.server.join, "/api/next": self.server.next,
               "/api/vote": self.server.vote}  # fmt: skip
    size = self.headers.get("Content-Length", "")
    if not (size.isascii() and size.isdigit() and int(size) <= _MOST):
      self.close_connection = True  # what follows is not read
      self._fail(413, "The request is too long.")
      return
    body = self.rfile.read(int(size))
    action = actions.get(self.path)
    if action is None:
      self._fail(404, "There is nothing here.")
      return
    try:
      record = json.loads(body)
      if not isinstance(record, dict):
        raise ValueError("no object")
      reply = action(record)
    except Unknown as error:
      self._fail(403, str(error))
    except Refused as error:
      self._fail(409, str(error))
    except (ValueError, RecursionError):
      self._fail(400, "The request makes no sense. Please load the page again.")
    except sqlite3.Error as error:
      print(f"scs-jax: an answer could not be saved: {error}", file=sys.stderr)
      self.close_connection = True  # the next try may meet another server
      self._fail(503, f"The study's computer cannot save answers now ({error}).")
    else:
      self._json(200, reply)

  def _fail(self, status: int, sentence: str) -> None:
    self._json(status, {"error": sentence})

  def _json(self, status: int, reply: dict) -> None:
    self._send(status, json.dumps(reply).encode(), "application/json")

  def _send(self, status: int, content: bytes, kind: str, cache: str = "no-store") -> None:
    self.send_response(status)
    headers = {"Content-Type": kind, "Content-Length": len(content), "Cache-Control": cache}
    for name, value in (headers | _HEADERS).items():
      self.send_header(name, str(value))
    if self.close_connection:
      self.send_header("Connection", "close")
    self.end_headers()
    self.wfile.write(content)

  def log_message(self, format: str, *args) -> None:
    """Keeps quiet: who asked for what is nobody's business."""


def _text(body: dict, key: str) -> str:
  if not isinstance(body.get(key), str):
    raise ValueError(key)
  return body[key]


def _number(body: dict, key: str, end: float, whole: bool = False):
  """Reads a number from 0 on, below `end`."""
  value = body.get(key)
  kinds = int if whole else (int, float)
  if isinstance(value, bool) or not isinstance(value, kinds) or not 0 <= value < end:
    raise ValueError(key)
  return value
