"""The server against what it must not take, and against being killed."""

import json
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import threading

import pytest
from simulated import Rater

from scs_jax.cli import main as cli
from scs_jax.errors import UserError
from scs_jax.study.server import Server
from scs_jax.study.votes import Votes


def _start(folder, port=0):
  """`scs-jax study serve` as a process of its own: (process, address)."""
  command = [sys.executable, "-m", "scs_jax", "study", "serve", str(folder), "--port", str(port)]
  process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
  process.stdout.readline()
  return process, process.stdout.readline().split()[0]


def test_killing_the_server_between_votes_loses_none(draw):
  folder = draw("pairwise", pictures=12)
  process, address = _start(folder)
  try:
    raters = [Rater(address, f"rater {i}", patience=60) for i in range(4)]
    choose = lambda shown, position: position % 2
    threads = [threading.Thread(target=rater.go_through, args=(choose,)) for rater in raters]
    for thread in threads:
      thread.start()
    for wanted in (15, 50):
      while sum(len(rater.sent) for rater in raters) < wanted:
        threads[0].join(0.01)
      process.kill()
      process.wait()
      process, _ = _start(folder, address.rstrip("/").rpartition(":")[2])
    for thread in threads:
      thread.join(60)
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0
  finally:
    process.kill()
    process.stdout.close()
  votes = Votes(folder)
  assert [there for _, there in votes.raters()] == [(24, 24)] * 4
  kept = {(vote.rater, vote.position): vote for vote in votes.all()}
  for rater in raters:
    number = votes.find(rater.code)
    assert [position for position, _, _ in rater.sent] == list(range(24))
    for position, shown, answer in rater.sent:
      vote = kept.pop((number, position))
      # The picture that was chosen, as the study knows it: ours or the other.
      assert vote.answer == (shown[answer][0] != 0)
  assert not kept
  votes.close()


@pytest.fixture
def rater(draw, serve):
  """A rater with one answered question; `question`: what is asked next."""
  server = serve(draw("pairwise"))
  rater = Rater(server.address, "Ada")
  rater.question = rater.go_through(lambda shown, position: 0, most=1)
  rater.server = server
  return rater


def test_votes_that_are_not_taken(rater):
  vote = lambda **changes: rater.post(
    "vote", **{"code": rater.code, "position": 1, "answer": 0, "seconds": 1.0} | changes
  )
  for changes, status, words in (
    ({"position": 0, "answer": 1}, 409, "has been answered"),  # twice, and another answer
    ({"position": 2}, 409, "not the next"),
    ({"position": 6}, 409, "not the next"),
    ({"code": "AAAA-AAAA-AAAA"}, 403, "Nobody has this code"),
    ({"code": rater.code[:-1]}, 403, "Nobody has this code"),
    ({"code": "' OR 1=1 --"}, 403, "Nobody has this code"),
    ({"code": "\ud800"}, 403, "Nobody has this code"),
    ({"code": 1}, 400, "makes no sense"),
    ({"answer": 2}, 400, "makes no sense"),
    ({"answer": True}, 400, "makes no sense"),
    ({"answer": 0.5}, 400, "makes no sense"),
    ({"position": -1}, 400, "makes no sense"),
    ({"position": 10**30}, 400, "makes no sense"),
    ({"seconds": float("nan")}, 400, "makes no sense"),
    ({"seconds": "1"}, 400, "makes no sense"),
  ):
    found, reply = vote(**changes)
    assert (found, words in reply["error"]) == (status, True), (changes, reply)
  status, reply = vote(position=0)  # the same again, as after a lost reply
  assert (status, reply["position"]) == (200, 1)
  assert len(rater.server.votes.all()) == 1


def test_requests_that_make_no_sense(rater):
  for body in (b"", b"{", b"[]", b"null", b"[" * 4000, b"\xff\xfe"):
    status, content = rater.request("POST", "/api/vote", body)
    assert status == 400 and json.loads(content)["error"]
  assert rater.request("POST", "/api/vote", b"x" * 5000)[0] == 413
  assert rater.request("POST", "/api/report", b"{}")[0] == 404
  assert rater.post("join", name="Bea", ticket=None)[0] == 400
  assert rater.next()["position"] == 1


def test_files_that_are_not_given_away(rater):
  for path in (
    "/pictures/../study.json", "/pictures/..%2fstudy.json", "/../votes.sqlite", "//etc/passwd",
    "/pictures/", "/pictures", "/page/page.js", "/pictures/0000000000000000.png",
    "/pictures/%2e%2e/votes.sqlite", "/study.json", "/votes.sqlite-wal",
  ):  # fmt: skip
    status, content = rater.request("GET", path)
    assert status == 404 and json.loads(content) == {"error": "There is nothing here."}, path


def test_names(rater):
  for name, words in (("ada", "already"), ("  ", "1 to 60"), ("x" * 61, "1 to 60"),
                      ("a\0b", "1 to 60"), ("\ud800", "1 to 60")):  # fmt: skip
    status, reply = rater.post("join", name=name, ticket="another")
    assert status == 409 and words in reply["error"]
  again = rater.post("join", name="Ada", ticket="ticket of Ada")  # the reply got lost
  assert again == (200, {"code": rater.code})
  assert rater.post("join", name="<b>'Zoë' ; DROP TABLE rater", ticket="t")[0] == 200
  spelt = "-".join(re.findall("....", rater.code.lower()))
  assert rater.post("next", code=f" {spelt} ") == (200, rater.next())


def test_a_full_disk_takes_no_vote_and_goes_on_when_there_is_space(
  draw, serve, small_disk, tmp_path, capsys
):
  made = draw("pairwise")
  with small_disk(tmp_path / "disk", "1m") as disk:
    folder = shutil.copytree(made, disk / "study")
    rater = Rater(serve(folder).address, "Ada")
    question, filler = rater.join(), disk / "filler"
    with open(filler, "wb", buffering=0) as file, pytest.raises(OSError):
      while True:
        file.write(bytes(512))
    status, reply = rater.post("vote", code=rater.code, position=0, answer=0, seconds=1)
    assert status == 503 and "cannot save answers now" in reply["error"]
    assert "an answer could not be saved" in capsys.readouterr().err
    filler.unlink()
    assert rater.answer(question, 0)["position"] == 1


def test_a_picture_that_is_gone(rater, capsys):
  shutil.rmtree(next(iter(rater.server.pictures.values())).parent)
  status, content = rater.request("GET", f"/{rater.question['pictures'][0]}")
  assert status == 503 and b"cannot be read" in content and b"/" not in content
  assert "No such file" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "content", "words"), [
  (None, None, "is no study"),
  ("study.json", b"{", "is damaged"),
  ("study.json", b"[]", "is damaged"),
  ("study.json", b'{"format": "scs_jax study 9"}', "is of format"),
  ("study.json", b'{"format": "scs_jax study 1", "trials": [{}]}', "is damaged"),
  ("votes.sqlite", b"no database, but as long as one would be" * 200, "cannot be opened"),
])  # fmt: skip
def test_a_folder_that_is_no_study_of_ours(draw, tmp_path, capsys, name, content, words):
  folder = tmp_path / "runs"
  folder.mkdir()
  if name is not None:
    folder = draw("pairwise")
    (folder / name).write_bytes(content)
  for verb in ("serve", "report"):
    assert cli.main(["study", verb, str(folder)]) == 2
    assert words in capsys.readouterr().err


def test_an_address_that_cannot_be_had(draw, serve):
  folder = draw("pairwise")
  port = serve(folder).server_port
  for host, number, words in (
    ("127.0.0.1", port, "another --port"),
    ("127.0.0.1", 70000, "--port"),
    ("no such host", 0, "--host"),
    ("", 0, "--host is empty"),
  ):
    with pytest.raises(UserError, match=words):
      Server(folder, host, number)


def test_serving_imports_no_array_library():
  code = (
    "import sys; from scs_jax.study import server; print({'numpy', 'jax', 'PIL'} & {*sys.modules})"
  )
  done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
  assert done.stdout == "set()\n"


def test_the_page_asks_nobody_else():
  page = pathlib.Path(sys.modules[Server.__module__].__file__).with_name("page")
  for path in page.iterdir():
    assert not re.search(r"https?:|//\w+\.", path.read_text())
