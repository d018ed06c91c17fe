"""SIGTERM where Python ignores what a handler raises."""

import signal
import time

import pytest

from scs_jax.core import stop


class Told:
  """Is told to stop while it is being thrown away."""

  def __del__(self):
    signal.raise_signal(signal.SIGTERM)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_exit_that_a_finalizer_swallows_comes_again(monkeypatch, capsys):
  monkeypatch.setattr(stop, "AGAIN", 0.2)
  before = signal.getsignal(signal.SIGTERM)
  with pytest.raises(SystemExit) as ended, stop.exiting(7, "told"):
    told = Told()
    del told  # the exit is lost here
    time.sleep(30)
  assert ended.value.code == 7 and capsys.readouterr().err.count("told\n") == 1
  assert signal.getsignal(signal.SIGTERM) == before
  time.sleep(0.3)  # nothing comes after that
