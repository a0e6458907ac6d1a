"""Executors without a process or a wait: frames, environment, words for how a process ended, foreign executors."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from concurrent.futures import CancelledError, Executor, Future
from concurrent.futures.process import BrokenProcessPool
from queue import SimpleQueue
from threading import Event

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discompute_lite.host import child, foreign_executors
from discompute_lite.host.child import FRAME_PREFIX, pack_outcome, pack_request, unpack_outcome, unpack_request
from discompute_lite.host.child_process import THREAD_COUNTS, child_environ, describe_exit
from discompute_lite.host.exchange import OUTCOME_BYTES, Exchange
from discompute_lite.host.foreign_executors import ExternalExecutor
from discompute_lite.model.limits import Limits
from discompute_lite.tasks.work import OutputTap, WorkOutcome, WorkRequest

ECHO = WorkRequest("run", "echo", b"7", "t/0.1")


# ---- frames -------------------------------------------------------------------------------------------

requests = st.builds(
    WorkRequest, st.sampled_from(["split", "run", "merge"]), st.text(), st.binary(), st.text(),
    target=st.integers(0, 99))
outcomes = st.builds(
    WorkOutcome, st.booleans(), st.binary(), st.text(), st.text(), st.text(), st.floats(0, 1e9),
    st.sampled_from(["", "task"]))


def body_of(frame):
    head, data = frame
    assert int.from_bytes(head[:FRAME_PREFIX], "big") == len(head) - FRAME_PREFIX + len(data)
    return head[FRAME_PREFIX:] + data


@given(requests)
def test_requests_cross_the_pipe(request):
    assert unpack_request(body_of(pack_request(request))) == request


@given(outcomes)
def test_outcomes_cross_the_pipe(outcome):
    assert unpack_outcome(body_of(pack_outcome(outcome))) == outcome


def test_the_golden_frame():
    head, data = pack_request(ECHO)
    assert head + data == b'\x00\x00\x00\x1d["run", "echo", "t/0.1", 0]\n7'


@pytest.mark.parametrize("body",
    [b"", b"\n", b"[]\n", b"[true]\n", b"{}\n", b"5\n", b"\xff\n", b'[1,2,3,4,"x",6]\n', b"[" * 20,
     b"[" * 100_000 + b"\n", b'[1,"","","",' + b"9" * 400 + b',""]\n'])
def test_what_is_no_outcome_is_noticed(body):
    with pytest.raises((ValueError, TypeError)):
        unpack_outcome(body)


def test_a_frame_longer_than_any_outcome_is_not_read():
    reading, writing = os.pipe()
    exchange = Exchange(ECHO, 1.0)
    try:
        os.write(writing, (OUTCOME_BYTES + 1).to_bytes(FRAME_PREFIX, "big"))
        with pytest.raises(ValueError, match="so long"):
            exchange.read(reading)
    finally:
        os.close(reading)
        os.close(writing)


def test_a_result_that_could_not_be_sent_is_told_by_its_size(monkeypatch):
    monkeypatch.setattr(child, "WORK_LIMITS", Limits(message_bytes=10))
    assert unpack_outcome(body_of(child._sendable(WorkOutcome(True, b"x" * 10)))).ok
    refused = unpack_outcome(body_of(child._sendable(WorkOutcome(True, b"x" * 11))))
    assert (refused.ok, refused.error_type, refused.blame) == (False, "TooLarge", "task")
    assert "11 bytes, and 10 can be sent" in refused.error


# ---- a child's surroundings ---------------------------------------------------------------------------------


def test_a_child_sees_little_of_the_nodes_environment():
    given_ = {"PATH": "/bin", "SECRET_TOKEN": "x", "HOME": "/home/me", "PYTHONPATH": "/evil", "LC_ALL": "C"}
    environ = child_environ(given_, "/scratch/1")
    assert environ["PATH"] == "/bin" and environ["LC_ALL"] == "C" and environ["LANG"]
    assert "SECRET_TOKEN" not in environ and "PYTHONPATH" not in environ
    assert {environ[name] for name in ("HOME", "TMPDIR", "TEMP", "TMP", "USERPROFILE")} == {"/scratch/1"}
    assert all(environ[name] == "1" for name in THREAD_COUNTS)


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_ends_are_put_into_words():
    assert describe_exit(-int(signal.SIGSEGV)).startswith("the process was killed by signal 11 (SIGSEGV, segmentation")
    assert describe_exit(-int(signal.SIGKILL)).startswith("the process was killed by signal 9 (SIGKILL")
    assert describe_exit(-99) == "the process was killed by signal 99"
    assert describe_exit(3) == "the process ended by itself with exit status 3"
    assert describe_exit(1, "No module named x") == "the process could not start: No module named x"


# ---- foreign executors ------------------------------------------------------------------------------------------


class HandExecutor(Executor):
    """A foreign executor that runs nothing until it is told to."""

    def __init__(self):
        self.work = SimpleQueue()
        self.was_shut_down = []

    def submit(self, function, *arguments):
        if self.was_shut_down:
            raise RuntimeError("cannot schedule new futures after shutdown")
        future = Future()
        self.work.put((future, function, arguments))
        return future

    def take(self):
        """Return what came next: its future, and what is to be called with what."""
        return self.work.get(timeout=10)

    def run_one(self):
        future, function, arguments = self.take()
        future.set_running_or_notify_cancel()
        future.set_result(function(*arguments))

    def shutdown(self, wait=True):
        self.was_shut_down.append(wait)


@pytest.fixture
def hand():
    return HandExecutor()


@pytest.fixture
def external(hand):
    executor = ExternalExecutor(hand)
    yield executor
    executor.shutdown()


def test_any_executor_will_do(external, hand):
    future = external.submit(ECHO)
    assert not future.done()
    hand.run_one()
    assert future.result(10).data == b"7"
    future.stop("too late")
    assert future.result(0).ok


def test_stopping_cancels_what_has_not_begun(external, hand):
    future = external.submit(ECHO)
    inner, _, _ = hand.take()
    future.stop("not wanted")
    with pytest.raises(CancelledError):
        inner.result(10)
    outcome = future.result(0)
    assert (outcome.ok, outcome.error, outcome.error_type, outcome.blame) == (False, "not wanted", "Stopped", "")


def test_stopping_disowns_what_runs(external, hand):
    future = external.submit(ECHO)
    inner, function, arguments = hand.take()
    inner.set_running_or_notify_cancel()
    future.stop("not wanted")
    inner.set_result(function(*arguments))
    assert future.result(0).error == "not wanted"


@pytest.mark.parametrize("trouble", ["cancel", "break"])
def test_an_executor_that_fails_is_the_devices_fault(external, hand, trouble):
    future = external.submit(ECHO)
    inner, _, _ = hand.take()
    if trouble == "cancel":
        inner.cancel()
        assert future.result(10).error == "its executor cancelled it"
    else:
        inner.set_exception(OSError("pool is broken"))
        assert future.result(10).blame == "device" and "OSError: pool is broken" in future.result(0).error


def test_after_shutdown_there_is_an_outcome_and_no_exception(external, hand):
    waiting = external.submit(ECHO)
    external.shutdown(now=True)
    assert hand.was_shut_down == [False]
    assert waiting.result(0).error == "the node is shutting down"
    assert external.submit(ECHO).result(0).blame == "device"


class Maker:
    """Make executors one after the other; keep what was said."""

    def __init__(self, *problems):
        self.made, self.said, self.problems = [], SimpleQueue(), list(problems)
        self.executor = ExternalExecutor(self(), make=self, say=self.said.put)

    def __call__(self):
        if self.made and self.problems:
            raise self.problems.pop(0)
        self.made.append(HandExecutor())
        return self.made[-1]

    def fail(self, error, count=1):
        """So many of what the newest one was given fail."""
        for inner, _, _ in [self.made[-1].take() for _ in range(count)]:
            inner.set_exception(error)


@pytest.fixture
def maker():
    maker = Maker()
    yield maker
    maker.executor.shutdown()


def test_an_executor_that_breaks_is_made_anew_and_that_is_said_once(maker):
    futures = [maker.executor.submit(ECHO) for _ in range(3)]
    maker.fail(BrokenProcessPool("a child was killed"), 3)
    assert all(future.result(10).blame == "device" for future in futures), "they are tried again, as on any device"
    assert "the executor broke (BrokenProcessPool: a child was killed); a new one is in its place" in maker.said.get(
        timeout=10)
    assert len(maker.made) == 2 and maker.made[0].was_shut_down == [False] and maker.said.empty()
    future = maker.executor.submit(ECHO)
    maker.made[1].run_one()
    assert future.result(10).ok


def test_one_that_refuses_because_it_is_broken_is_made_anew_and_the_work_goes_there(maker, monkeypatch):

    def refuse(*_):
        raise BrokenProcessPool("broken before")

    monkeypatch.setattr(maker.made[0], "submit", refuse)
    future = maker.executor.submit(ECHO)
    maker.said.get(timeout=10)
    maker.executor.submit(ECHO)
    maker.made[1].run_one()
    maker.made[1].run_one()
    assert future.result(10).ok


def test_a_split_that_an_executor_broke_under_is_tried_once_more_in_the_new_one(maker):
    split = maker.executor.submit(WorkRequest("split", "echo", b'{"parts":[1]}', "t"))
    maker.fail(BrokenProcessPool("a child was killed"))
    maker.said.get(timeout=10)
    assert not split.done()
    maker.fail(BrokenProcessPool("again"))
    assert split.result(10).blame == "device"
    maker.said.get(timeout=10)


def test_what_cannot_be_made_anew_is_said_and_tried_again_with_the_next_work(monkeypatch):
    maker = Maker(OSError("no scheduler answers"))
    monkeypatch.setattr(maker.made[0], "submit", lambda *_: (_ for _ in ()).throw(BrokenProcessPool("gone")))
    assert maker.executor.submit(ECHO).result(10).blame == "device"
    assert "none can be made in its place (no scheduler answers)" in maker.said.get(timeout=10)
    future = maker.executor.submit(ECHO)
    assert "a new one is in its place" in maker.said.get(timeout=10)
    maker.executor.shutdown(now=True)
    assert future.done()


def test_one_that_could_not_be_made_anew_is_tried_again_though_the_broken_one_says_only_that_it_is_shut_down():
    maker = Maker(OSError("no scheduler answers"))
    maker.executor.submit(ECHO)
    maker.fail(BrokenProcessPool("a child was killed"))
    assert "none can be made in its place" in maker.said.get(timeout=10)
    future = maker.executor.submit(ECHO)
    assert "(BrokenProcessPool: a child was killed); a new one is in its place" in maker.said.get(timeout=10)
    maker.made[1].run_one()
    assert future.result(10).ok
    maker.executor.shutdown()


def test_a_maker_that_would_end_the_program_ends_nothing(maker):
    maker.problems.append(SystemExit("no licence"))
    maker.executor.submit(ECHO)
    maker.fail(BrokenProcessPool("a child was killed"))
    assert "none can be made in its place (no licence)" in maker.said.get(timeout=10)
    maker.executor.submit(ECHO)
    assert "a new one is in its place" in maker.said.get(timeout=10)


def test_what_waits_when_none_can_be_made_fails_with_it_and_makes_no_further_ones(monkeypatch):
    maker, begun, may_go_on = Maker(*[OSError("no scheduler answers")] * 2), Event(), Event()

    def refuse(*_):
        begun.set()
        may_go_on.wait(10)
        raise BrokenProcessPool("gone")

    monkeypatch.setattr(maker.made[0], "submit", refuse)
    first = maker.executor.submit(ECHO)
    assert begun.wait(10)
    waiting = [maker.executor.submit(ECHO) for _ in range(3)]
    may_go_on.set()
    assert all("no scheduler answers" in future.result(10).error for future in [first, *waiting])
    maker.executor.shutdown()
    assert len(maker.problems) == 1, "one was tried to be made"


class HangingExecutor(Executor):
    """A foreign executor that does not come back, whatever it is asked."""

    def __init__(self):
        self.asked, self.may_end = SimpleQueue(), Event()

    def submit(self, *_):
        self.asked.put("submit")
        self.may_end.wait()

    def shutdown(self, wait=True):
        self.asked.put("shutdown")
        self.may_end.wait()


@pytest.mark.parametrize("asked", ["submit", "shutdown"])
def test_one_that_hangs_holds_up_neither_who_submits_nor_the_nodes_end(monkeypatch, asked):
    monkeypatch.setattr(foreign_executors, "SHUTDOWN_S", 0.05)
    hanging = HangingExecutor()
    executor = ExternalExecutor(hanging)
    futures = [executor.submit(ECHO) for _ in range(2)] if asked == "submit" else []
    if futures:
        assert hanging.asked.get(timeout=10) == "submit"
    executor.shutdown(now=True)
    assert [future.result(0).error for future in futures] == ["the node is shutting down"] * len(futures)
    if not futures:
        assert hanging.asked.get(timeout=10) == "shutdown"
    hanging.may_end.set()


def test_one_whose_cancelling_hangs_holds_up_nobody(external, hand):
    """Dask's asks its scheduler."""
    may_go_on = Event()
    future = external.submit(ECHO)
    inner, _, _ = hand.take()
    inner.add_done_callback(lambda _: may_go_on.wait(10))
    future.stop("not wanted")
    assert future.result(0).error == "not wanted" and not may_go_on.is_set()
    may_go_on.set()


def test_what_has_not_begun_is_cancelled_before_the_executor_is_shut_down(external, hand):
    external.submit(ECHO)
    inner, _, _ = hand.take()
    seen = []
    inner.add_done_callback(lambda inner: seen.append((inner.cancelled(), list(hand.was_shut_down))))
    external.shutdown(now=True)
    assert seen == [(True, [])] and hand.was_shut_down == [False]


class LostProcess:
    """A process of a pool which that has lost from sight."""

    def __init__(self, events):
        self._events = events

    def kill(self):
        self._events.append("killed")


def test_the_processes_of_a_pool_that_broke_are_ended_before_it_is_waited_for(maker):
    """A pool may hold its lock while it joins them, and `shutdown` takes that lock."""
    events = []
    maker.made[0]._processes = {1: LostProcess(events), 2: LostProcess(events)}
    maker.made[0].shutdown = lambda wait: events.append("shut down")
    maker.executor.submit(ECHO)
    maker.fail(BrokenProcessPool("a child was killed"))
    maker.said.get(timeout=10)
    assert events == ["killed", "killed", "shut down"]


class StubbornProcess:
    """A child that ends only when it has to."""

    def __init__(self, events):
        self.terminate, self.kill = lambda: events.append("terminate"), lambda: events.append("kill")
        self.join = lambda limit_s: events.append("join")


@pytest.mark.parametrize("end_s, in_time", [(0.0, "in 0 seconds"), (3600.0, "at once")])
def test_a_process_that_threads_or_children_hold_up_ends_with_them_and_says_so(monkeypatch, end_s, in_time):
    """In time, or when Ctrl-C is pressed once more."""
    events, ended, said, called = [], SimpleQueue(), [], {}
    monkeypatch.setattr(foreign_executors, "END_S", end_s)
    monkeypatch.setattr(multiprocessing, "active_children", lambda: [StubbornProcess(events)])
    monkeypatch.setattr(os, "_exit", ended.put)
    monkeypatch.setattr(signal, "signal", called.__setitem__)
    foreign_executors.end_process(7, said.append)
    if end_s:
        called[signal.SIGINT](signal.SIGINT, None)
    assert ended.get(timeout=10) == 7
    assert events == ["terminate", "join", "kill"], "whoever can still tidy up may"
    assert len(said) == 1 and f"have not ended {in_time} and are ended by force" in said[0]


def test_callbacks_get_the_future(external, hand):
    seen = []
    future = external.submit(ECHO)
    future.add_done_callback(seen.append)
    hand.run_one()
    future.result(10)
    assert seen == [future]


def test_while_it_lives_output_is_caught_thread_by_thread(hand):
    before = sys.stdout, sys.stderr
    executor = ExternalExecutor(hand)
    assert isinstance(sys.stdout, OutputTap) and isinstance(sys.stderr, OutputTap)
    executor.shutdown()
    executor.shutdown()
    assert (sys.stdout, sys.stderr) == before
