"""Raters who send what the page sends, and pictures by whose pixels they tell methods apart."""

import http.client
import io
import json
import pathlib
import time
import urllib.parse

import numpy as np
from PIL import Image, PngImagePlugin

SIDE = 6


def paint(folder, method, names, side=SIDE):
  """Writes one method's pictures: red is the method's number, green the picture's."""
  for number, name in enumerate(names):
    path = pathlib.Path(folder, f"{name}.png")
    path.parent.mkdir(parents=True, exist_ok=True)
    told = PngImagePlugin.PngInfo()
    told.add_text("Software", f"method {method}")
    pixels = np.full((side, side, 3), (40 * method, number, 7), np.uint8)
    Image.fromarray(pixels).save(path, pnginfo=told)


class Rater:
  """Speaks to a server as the page does, and goes on asking while it is away.

  Attributes:
    sent: [(position, question's pictures, answer)] of the votes that were confirmed.
    received: all bytes that came, heads included.
  """

  def __init__(self, address, name, patience=0.0):
    self._place, self.name = urllib.parse.urlsplit(address), name
    self._patience, self._seen = patience, {}
    self._line = http.client.HTTPConnection(self._place.hostname, self._place.port, timeout=20)
    self.sent, self.received, self.code = [], b"", None

  def request(self, method, path, body=None):
    """One request: (status, body); what got lost is sent again as long as patience lasts."""
    end = time.monotonic() + self._patience
    while True:
      try:
        self._line.request(method, path, body)
        reply = self._line.getresponse()
        content = reply.read()
      except (http.client.HTTPException, OSError):
        self._line.close()
        if time.monotonic() > end:
          raise
        time.sleep(0.02)
      else:
        self.received += str(reply.headers).encode() + content
        return reply.status, content

  def post(self, action, **body):
    status, content = self.request("POST", f"/api/{action}", json.dumps(body))
    return status, json.loads(content)

  def join(self):
    status, reply = self.post("join", name=self.name, ticket=f"ticket of {self.name}")
    assert status == 200, reply
    self.code = reply["code"]
    return self.next()

  def next(self):
    status, reply = self.post("next", code=self.code)
    assert status == 200, reply
    return reply

  def look(self, url):
    """The method's and the picture's number of a picture, by its pixels."""
    if url not in self._seen:
      status, content = self.request("GET", f"/{url}")
      assert status == 200
      red, green, _ = np.asarray(Image.open(io.BytesIO(content)))[0, 0]
      self._seen[url] = int(red) // 40, int(green)
    return self._seen[url]

  def answer(self, question, answer):
    status, reply = self.post(
      "vote", code=self.code, position=question["position"], answer=answer, seconds=0.5
    )
    assert status == 200, reply
    self.sent.append((question["position"], tuple(map(self.look, question["pictures"])), answer))
    return reply

  def go_through(self, choose, question=None, most=10**6):
    """Answers up to `most` questions; choose: ([(method, picture)], position) -> answer."""
    question = question or self.join()
    for _ in range(most):
      if "pictures" not in question:
        break
      shown = [self.look(url) for url in question["pictures"]]
      question = self.answer(question, choose(shown, question["position"]))
    return question
