"""A study whole: drawn, voted on by raters of known preference through requests, reported."""

import collections
import concurrent.futures
import csv
import itertools
import json
import random
import re

import pytest
from simulated import Rater

from scs_jax.cli import main as cli
from scs_jax.study import report

# How often a rater prefers the first method to the other.
PREFERRED = {1: 0.85, 2: 0.35}


def _shares(folder):
  text = (folder / "report" / "shares.csv").read_text()
  return {row["method"]: row for row in csv.DictReader(text.splitlines())}


def test_fifty_raters_at_once_and_the_report_finds_what_they_prefer(draw, serve, parse_page):
  folder = draw("pairwise", pictures=4)
  server = serve(folder)
  raters = [Rater(server.address, f"rater {i}") for i in range(50)]
  begun = [rater.join() for rater in raters]

  def vote(rater, question):
    rng = random.Random(rater.name)

    def choose(shown, position):
      other = max(method for method, _ in shown)
      wins = rng.random() < PREFERRED[other]
      return [method for method, _ in shown].index(0 if wins else other)

    return rater.go_through(choose, question)

  with concurrent.futures.ThreadPoolExecutor(50) as pool:
    ends = list(pool.map(vote, raters, begun))
  assert all(end["position"] == end["total"] == 8 for end in ends)
  wins, firsts = collections.Counter(), 0
  for rater in raters:
    assert len({frozenset(shown) for _, shown, _ in rater.sent}) == 8  # each pair once
    firsts += sum(answer == 0 for _, _, answer in rater.sent)
    for _, shown, answer in rater.sent:
      wins[max(shown)[0]] += shown[answer][0] == 0
  assert len({tuple(shown for _, shown, _ in rater.sent) for rater in raters}) == 50  # orders
  text = report.write(folder)
  found = _shares(folder)
  for number, name in ((1, "secret_two"), (2, "secret_three")):
    share, row = wins[number] / 200, found[name]
    assert float(row["share"]) == pytest.approx(share) and int(row["raters"]) == 50
    assert int(row["ours"]) == wins[number] and int(row["other"]) == 200 - wins[number]
    assert float(row["low"]) < PREFERRED[number] < float(row["high"])
    assert f"| {100 * share:.1f} v.s. {100 - 100 * share:.1f} |" in text
  assert "| [paper] Ours v.s. ColTran | 68.6 v.s. 31.4 |" in text
  assert f"chosen in {firsts / 4:.1f} % of the votes" in text
  votes = list(csv.DictReader((folder / "report" / "votes.csv").read_text().splitlines()))
  assert len(votes) == 400 and votes[0]["picture"].startswith("harbour_")
  page = (folder / "report" / "report.html").read_text()
  parsed = parse_page(page)
  assert not parsed.open and not parsed.fetched and "rater 50" in page
  assert "secret_one v.s. secret_two (automatic)" in page
  assert (folder / "report" / "tables.md").read_text().startswith(text)


def test_levels_with_their_outliers(draw, serve, capsys):
  """Four of five raters give levels 0, 1, 3; the last one changes all answers by three."""
  folder = draw("levels", pictures=4, modes=["automatic"], repeats=0.5)
  server = serve(folder)
  levels = {0: 0, 1: 1, 2: 3}
  for number in range(5):
    rater, seen = Rater(server.address, f"rater {number}"), set()

    def choose(shown, position, number=number, seen=seen):
      (picture,) = shown
      level = levels[picture[0]]
      changed = picture in seen and number == 4
      seen.add(picture)
      return abs(level - 3) if changed else level  # 0 -> 3, 1 -> 2, 3 -> 0

    assert rater.go_through(choose)["total"] == 18
    assert len({shown for _, shown, _ in rater.sent}) == 12
    order = [shown for _, shown, _ in rater.sent]
    assert all(a != b for a, b in itertools.pairwise(order))  # a repeat never follows at once
  assert cli.main(["study", "report", str(folder)]) == 0
  text = capsys.readouterr().out
  last = collections.Counter(shown[0][0] for _, shown, _ in rater.sent)
  out = last[0] - 4 + last[2] - 4  # changed by three levels; those of 1 -> 2 stay
  assert out > 0 and f"30 annotations were asked for again; {out} of them differ" in text
  found = _shares(folder)
  assert int(found["secret_one"]["Perfect"]) == 20 - (last[0] - 4)
  assert int(found["secret_two"]["Few Errors"]) == 20
  assert int(found["secret_three"]["Mostly Wrong"]) == 20 - (last[2] - 4)
  assert float(found["secret_one"]["share"]) == 1 and float(found["secret_three"]["share"]) == 0
  assert "agree" in text and "Of all questions: 1.000" in text and "Xu, Lu, Lee" in text
  votes = list(csv.DictReader((folder / "report" / "votes.csv").read_text().splitlines()))
  assert sum(int(vote["outlier"]) for vote in votes) == 2 * out


def test_what_is_sent_names_no_method_and_no_picture(draw, serve):
  folder = draw("pairwise")
  server = serve(folder)
  rater = Rater(server.address, "one")
  rater.go_through(lambda shown, position: 0)
  for path in ("/", "/page.js", "/page.css", "/study.json", "/pictures/harbour_0.png"):
    rater.request("GET", path)
  rater.post("vote", code=rater.code, position=0, answer=1, seconds=0)
  rater.post("vote", code="secret_one", position=0, answer=1, seconds=0)
  assert not re.search(rb"secret|harbour|Software|\"ours\"", rater.received)
  assert rater.received.count(b"Content-Security-Policy") > 10


def test_raters_who_do_a_part_are_dealt_all_of_it(draw, serve):
  folder = draw("pairwise", pictures=5, per_rater=4)
  server = serve(folder)
  asked = collections.Counter()
  for number in range(5):
    rater = Rater(server.address, f"rater {number}")
    assert rater.go_through(lambda shown, position: 1)["total"] == 4
    asked.update(frozenset(shown) for _, shown, _ in rater.sent)
  assert set(asked.values()) == {2} and len(asked) == 10


def test_the_report_while_nobody_or_one_has_voted(draw, serve):
  folder = draw("levels", modes=["automatic"])
  assert "0 votes of 0 raters" in report.write(folder)
  server = serve(folder)
  Rater(server.address, "one").go_through(lambda shown, position: 2, most=1)
  text = report.write(folder)
  assert "1 votes of 1 raters, of whom 0" in text
  (row,) = [row for row in _shares(folder).values() if row["raters"] == "1"]
  assert row["low"] == "" and row["Partly Wrong"] == "1" and row["alpha"] == ""


def test_the_design_is_the_seeds(draw):
  plain = lambda folder: [
    (t["mode"], t["picture"], t["methods"])
    for t in json.loads((folder / "study.json").read_text())["trials"]
  ]
  drawn = plain(draw("pairwise", 5, "a"))
  assert drawn == plain(draw("pairwise", 5, "b"))
  assert drawn != plain(draw("pairwise", 5, "c", seed=1))
