"""What lies ahead in a child's pipe: when it may be written there, and what its answer follows."""

from __future__ import annotations

import os
import sys
from types import SimpleNamespace

import pytest

from discompute_lite.host.ahead import AHEAD_BYTES, Ahead, write_ahead
from discompute_lite.host.child import pack_outcome, pack_request
from discompute_lite.host.exchange import Exchange
from discompute_lite.host.process_executor import ProcessExecutor
from discompute_lite.host.process_slot import MEMORY_EVERY, ProcessSlot
from discompute_lite.host.request_pipe import RequestPipe
from discompute_lite.model.limits import Limits
from discompute_lite.tasks.work import WorkOutcome, WorkRequest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="pipes wait for their reader there")

RUNS, NEXT = (WorkRequest("run", "echo", data, "t/0.1", may_repeat=True) for data in (b"runs", b"next"))
DONE, NEXT_DONE = WorkOutcome(True, b"done", output="x" * 9000), WorkOutcome(True, b"next done")


@pytest.fixture
def child():
    pipe = RequestPipe()
    yield SimpleNamespace(pipe=pipe, request_fd=pipe.fd, take_back=pipe.take_back, serves=lambda request: True)
    pipe.close()


@pytest.fixture
def running(child):
    exchange = Exchange(RUNS, 3600.0)
    exchange.write(child.request_fd)
    return exchange


def future_of(request):
    return SimpleNamespace(request=request)


def frame(request):
    return b"".join(pack_request(request))


def test_it_lies_behind_the_one_that_runs_and_can_be_taken_back(child, running):
    ahead = write_ahead(child, running, future_of(NEXT), 9.0)
    assert running.is_followed and ahead.exchange.is_sent and running.claim("anybody")
    assert child.take_back(ahead.exchange.sent_bytes)
    assert os.read(child.pipe.child_end, 9999) == frame(RUNS)


@pytest.mark.parametrize("why", ["read by another", "its thread's", "not written yet", "large", "full", "nearly full"])
def test_what_is_not_plain_waits_and_leaves_nothing_in_the_pipe(child, running, why):
    request, before = NEXT, frame(RUNS)
    if why == "read by another":
        running.claim("another")
    elif why == "its thread's":
        running.has_left = True
    elif why == "not written yet":
        running = Exchange(RUNS, 9.0)
    elif why == "large":
        request = WorkRequest("run", "echo", bytes(AHEAD_BYTES + 1), "t/0.1", may_repeat=True)
    else:
        before += fill(child.request_fd)
        if why == "nearly full":
            request = WorkRequest("run", "echo", bytes(AHEAD_BYTES), "t/0.1", may_repeat=True)
            before = before[4096:]
            os.read(child.pipe.child_end, 4096)
    assert write_ahead(child, running, future_of(request), 9.0) is None and not running.is_followed
    assert os.read(child.pipe.child_end, 1 << 17) == before


def fill(fd):
    sent = 0
    try:
        while True:
            sent += os.write(fd, b"." * 4096)
    except BlockingIOError:
        return b"." * sent


@pytest.mark.parametrize("step", [1, 3, 4, 5, 64, 9999])
def test_each_reads_its_own_outcome_however_they_come(child, running, step):
    ahead = write_ahead(child, running, future_of(NEXT), 9.0)
    frames = b"".join(pack_outcome(DONE) + pack_outcome(NEXT_DONE))
    outcomes, due = [], [running, ahead.exchange]
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    try:
        for start in range(0, len(frames), step):
            os.write(writing, frames[start:start + step])
            while due:
                try:
                    outcome = due[0].read(reading)
                except BlockingIOError:
                    break
                if outcome is not None:
                    outcomes.append(outcome)
                    del due[0]
    finally:
        os.close(reading)
        os.close(writing)
    assert outcomes == [DONE, NEXT_DONE]


def test_its_time_begins_with_its_turn(child, running):
    ahead = write_ahead(child, running, future_of(NEXT), 5.0).exchange
    ahead.began_at -= 60.0
    ahead.deadline -= 60.0
    ahead.start_clock()
    assert ahead.deadline == ahead.began_at + 5.0 and ahead.began_at >= running.began_at


@pytest.mark.parametrize("change, may", [
    ({}, True), ({"served": 0}, False), ({"served": 2}, True), ({"served": 8}, False),
    ({"served": MEMORY_EVERY - 1, "most": 999}, False), ({"served": MEMORY_EVERY, "most": 999}, True),
    ({"current": None}, False), ({"exchange": None}, False), ({"is_reserved": True}, False), ({"ahead": "one"}, False),
    ({"child": None}, False), ({"request": WorkRequest("run", "echo", b"", "t/0.1")}, False),
])
def test_what_may_follow(child, running, change, may):
    slot = ProcessSlot(0)
    slot.child, slot.exchange, slot.current, slot.served = child, running, future_of(RUNS), 1
    request, most = change.pop("request", NEXT), change.pop("most", 9)
    for name, value in change.items():
        setattr(slot, name, value)
    assert slot.may_be_followed(request, Limits(child_requests=most)) is may


def test_whoever_waits_for_the_one_before_does_not_take_the_next_ones_exchange_for_its_own(child, tmp_path):
    executor, former, reads = ProcessExecutor(1, [], {}, str(tmp_path)), SimpleNamespace(done=lambda: True), []
    executor._lane = SimpleNamespace(begin=lambda slot: None, read_here=lambda *what: reads.append(what))
    child.is_ready = lambda: True

    class SlotSeen(ProcessSlot):
        """Have another thread look at it after each step."""

        def __setattr__(self, name, value):
            super().__setattr__(name, value)
            if hasattr(self, "first_bytes"):
                executor.finish_here(former, 0.005)

    slot = SlotSeen(0)
    executor._slots = [slot]
    slot.child, slot.current = child, former
    slot.ahead = Ahead(future_of(NEXT), Exchange(NEXT, 9.0), child)
    following = slot.ahead
    assert executor._goes_on(slot)
    assert (slot.current, slot.exchange, reads) == (following.future, following.exchange, [])
