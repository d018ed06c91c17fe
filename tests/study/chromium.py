"""A real browser, without a window, driven through its debugging pipe: no driver is needed."""

import base64
import fcntl
import json
import os
import shutil
import subprocess
import sys
import time

_NAMES = ("chromium", "chromium-browser", "google-chrome")
COMMAND = next(filter(None, map(shutil.which, _NAMES)), None)


class Page:
  """One page of a browser that lives as long.

  Args:
    profile: an empty folder.
    width, height: of the window, in CSS pixels.
    phone: whether it is one, with touch and two pixels to a CSS pixel.
  """

  def __init__(self, profile, width, height, phone=False):
    theirs, self._out = os.pipe()
    self._in, ours = os.pipe()
    # The browser reads from 3 and writes to 4, which may be in use here.
    high = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (theirs, ours)]
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe"]
    code = (
      "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); "
      "os.execv(sys.argv[3], sys.argv[3:])"
    )
    self._process = subprocess.Popen(
      [sys.executable, "-S", "-c", code, *map(str, high), COMMAND, *flags,
       f"--user-data-dir={profile}", "about:blank"],
      pass_fds=high, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    for end in (theirs, ours, *high):
      os.close(end)
    self._count, self._left, self._session = 0, b"", None
    target = self.call("Target.createTarget", url="about:blank")["targetId"]
    self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
    size = {"width": width, "height": height, "deviceScaleFactor": 1 + phone, "mobile": phone}
    self.call("Emulation.setDeviceMetricsOverride", **size)
    self.call("Emulation.setTouchEmulationEnabled", enabled=phone)

  def close(self):
    self._process.kill()
    self._process.wait()
    os.close(self._in), os.close(self._out)

  def call(self, method, **params):
    """One command of the DevTools protocol; events that come meanwhile are left out."""
    self._count += 1
    message = {"id": self._count, "method": method, "params": params}
    if self._session:
      message["sessionId"] = self._session
    os.write(self._out, json.dumps(message).encode() + b"\0")
    while True:
      while b"\0" not in self._left:
        part = os.read(self._in, 1 << 16)
        assert part, "the browser ended"
        self._left += part
      reply, _, self._left = self._left.partition(b"\0")
      reply = json.loads(reply)
      if reply.get("id") == self._count:
        assert "error" not in reply, reply
        return reply["result"]

  def run(self, script):
    """The value of a script."""
    result = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
    assert "exceptionDetails" not in result, result
    return result["result"].get("value")

  def wait(self, condition, seconds=30):
    """Waits until a script is true, and returns its value."""
    end = time.monotonic() + seconds
    while not (value := self.run(condition)):
      assert time.monotonic() < end, (condition, self.run("document.body.innerText"))
      time.sleep(0.03)
    return value

  def open(self, address):
    self.call("Page.navigate", url=address)
    self.wait(f"location.href === {json.dumps(address)} && document.readyState === 'complete'")

  def press(self, key):
    for kind in ("keyDown", "keyUp"):
      self.call("Input.dispatchKeyEvent", type=kind, key=key, text=key if len(key) == 1 else "")

  def tap(self, selector):
    """A finger on the middle of an element, which has to be in sight."""
    box = self.run(
      f"(e => {{ const b = e.getBoundingClientRect(); "
      f"return [b.x + b.width / 2, b.y + b.height / 2, innerWidth, innerHeight] }})"
      f"(document.querySelector({json.dumps(selector)}))"
    )
    x, y, width, height = box
    assert 0 < x < width and 0 < y < height, (selector, box)
    self.call("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": x, "y": y}])
    self.call("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])

  def shoot(self, path):
    shot = self.call("Page.captureScreenshot", format="png")["data"]
    with open(path, "wb") as file:
      file.write(base64.b64decode(shot))
