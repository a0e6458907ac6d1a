"""What a parent hears of its child: end, stops, and that it goes on; with waitid and, as on older macOS, without."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from discompute_lite.host.child_news import ChildNews, named_signal

pytestmark = pytest.mark.skipif(not hasattr(os, "waitid"), reason="os.waitid, with which these tests wait")


class Child:
    """A process that waits for its end, its news, and the time."""

    def __init__(self):
        # In a group of its own: SIGTSTP stops nobody whose group has no parent in the session, as where a check runs.
        self.process = subprocess.Popen([sys.executable, "-I", "-S", "-c", "input()"], stdin=subprocess.PIPE,
                                        preexec_fn=os.setpgrp)
        self.now = 100.0
        self.news = ChildNews(self.process, threading.Lock(), lambda: self.now)
        #: Tests wait by it though the code may have to do without.
        self._waitid = os.waitid

    def get(self, name):
        """Send it a signal, and wait until that has come."""
        self.process.send_signal(getattr(signal, name))
        told = {"SIGCONT": os.WCONTINUED, "SIGKILL": os.WEXITED}.get(name, os.WSTOPPED)
        self._waitid(os.P_PID, self.process.pid, told | os.WNOWAIT)


@pytest.fixture(params=["waitid", "waitpid"])
def child(request, monkeypatch):
    child = Child()
    if request.param == "waitpid":
        monkeypatch.delattr(os, "waitid")
    yield child
    child.process.kill()
    child.process.wait()
    child.process.stdin.close()


def test_of_a_child_that_runs_there_is_no_news(child):
    assert not child.news.has_ended() and child.news.stopped_s() == 0.0


def test_a_stop_lasts_until_it_goes_on(child):
    child.get("SIGSTOP")
    assert not child.news.has_ended() and 0.0 < child.news.stopped_s() < 0.001
    child.now += 5.0
    assert not child.news.has_ended() and child.news.stopped_s() == 5.0
    assert child.news.stop_signal == f"signal {int(signal.SIGSTOP)} (SIGSTOP)"
    child.get("SIGCONT")
    assert not child.news.has_ended() and child.news.stopped_s() == 0.0


def test_who_stops_again_and_again_is_never_stopped_for_long(child):
    for _ in range(3):
        child.get("SIGSTOP")
        assert not child.news.has_ended() and child.news.stopped_s() < 0.001
        child.now += 5.0
        child.get("SIGCONT")
    child.get("SIGTSTP")
    assert not child.news.has_ended() and child.news.stopped_s() < 0.001 and "SIGTSTP" in child.news.stop_signal


def test_the_end_of_one_that_is_stopped_is_heard_and_its_status_is_still_to_be_had(child):
    child.get("SIGSTOP")
    assert not child.news.has_ended()
    child.get("SIGKILL")
    assert child.news.has_ended() and child.news.has_ended()
    assert child.process.wait() == -signal.SIGKILL


def test_signals_are_named():
    assert named_signal(int(signal.SIGSEGV)).startswith("signal 11 (SIGSEGV, segmentation fault")
    assert named_signal(int(signal.SIGKILL)) == "signal 9 (SIGKILL)" and named_signal(99) == "signal 99"
