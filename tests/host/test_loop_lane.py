"""Who reads a child's outcome: the loop, whoever waits for it, or its slot's thread; always one of them.

One thread plays them all. At each step that others can see (a claim was made, a pipe is watched or not, waited for,
read) whatever else could happen in that moment may happen.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from functools import partial
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discompute_lite.host import loop_lane as lane_module
from discompute_lite.host import process_executor as executor_module
from discompute_lite.host.child import pack_outcome
from discompute_lite.host.child_process import ChildProcess
from discompute_lite.host.exchange import Exchange
from discompute_lite.host.executors import WorkFuture
from discompute_lite.host.loop_lane import LANE_S, LoopLane
from discompute_lite.host.process_executor import ProcessExecutor
from discompute_lite.tasks.work import WorkOutcome, WorkRequest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="pipes are not watched there")

ECHO = WorkRequest("run", "echo", b"7", "t/0.1")
DONE = WorkOutcome(True, b"7")
FRAME = b"".join(pack_outcome(DONE))


class Interrupt(BaseException):
    """Ctrl-C."""


class World:
    """A loop, a child, a slot and its thread, and what happens to them in between."""

    def __init__(self, happenings):
        self.happenings = iter(happenings)
        self.clock, self.posted, self.timers, self.watched, self.told = 0.0, [], [], {}, []
        self.asked, self.writing = os.pipe()
        self.reading, self.answering = os.pipe()
        for fd in (self.writing, self.reading):
            os.set_blocking(fd, False)
        self.unsent, self.is_killed, self.is_busy, self.is_interrupted = FRAME, False, False, False
        #: Who got what, and how often it was read at the same time.
        self.outcomes, self.handed = [], []
        self.readers = 0
        self.lane = LoopLane(self, self.done, lambda slot: self.handed.append(slot.exchange))
        child = SimpleNamespace(request_fd=self.writing, outcome_fd=self.reading, wait_outcome=self.wait_outcome,
                                kill=self.kill)
        self.slot = SimpleNamespace(child=child, exchange=WatchedExchange(self))

    # ---- the loop ----

    is_watching_for_all = True

    def now(self):
        return self.clock

    def post(self, callback, *arguments):
        self.posted.append((callback, arguments))

    def call_later(self, delay_s, callback, *arguments):
        self.timers.append((self.clock + delay_s, callback, arguments))

    def watch(self, fd, on_readable, on_writable):
        self.happen()
        self.watched[fd] = on_readable
        self.happen()

    def unwatch(self, fd):
        self.happen()
        self.watched.pop(fd, None)
        self.happen()

    def turn(self):
        """Let the loop's thread go round once."""
        if not self.is_busy:
            self.is_busy = True
            for callback in [*self.told, *(self.watched.values() if self.is_readable() else ())]:
                callback()
            self.told = []
            posted, self.posted = self.posted, []
            due = [timer for timer in self.timers if timer[0] <= self.clock]
            self.timers = [timer for timer in self.timers if timer not in due]
            for callback, arguments in [*posted, *(timer[1:] for timer in due)]:
                callback(*arguments)
            self.is_busy = False

    # ---- the child ----

    def is_readable(self, fd=None):
        import select
        poll = select.poll()
        poll.register(self.reading if fd is None else fd, select.POLLIN)
        return bool(poll.poll(0))

    def answer(self, count):
        if not self.is_killed:
            os.write(self.answering, self.unsent[:count])
            self.unsent = self.unsent[count:]

    def kill(self):
        if not self.is_killed:
            self.is_killed = True
            os.close(self.answering)

    def wait_outcome(self, seconds, awake_s):
        self.happen()
        if not self.is_readable():
            self.clock += max(0.0, seconds)
            self.happen()
        return self.is_readable()

    def done(self, slot, exchange, outcome):
        if slot.exchange is exchange:
            self.outcomes.append(outcome)
            slot.exchange = None

    # ---- what happens ----

    def happen(self):
        what = next(self.happenings, None)
        if what == "turn":
            self.turn()
        elif what == "told":
            # Its system has told the loop, which comes round to it later.
            self.told += [callback for callback in self.watched.values() if self.is_readable()]
        elif what == "part":
            self.answer(5)
        elif what == "rest":
            self.answer(len(self.unsent))
        elif what == "late":
            # No thread stands still for longer in the midst of a step.
            self.clock = max(self.clock, LANE_S)
        elif what == "end":
            self.lane.give_up()
        elif what == "interrupt" and not self.is_busy and not self.is_interrupted:
            self.is_interrupted = True  # Nobody presses it twice within microseconds.
            raise Interrupt

    def finish(self):
        """Let everything come that was to come."""
        self.happenings = iter(())
        self.answer(len(self.unsent))
        for _ in range(5):
            self.turn()
            self.clock += LANE_S
        for exchange in self.handed:
            self.outcomes.append(exchange.problem or Exchange.read(exchange, self.reading))

    def close(self):
        self.kill()
        for fd in (self.asked, self.writing, self.reading):
            os.close(fd)


class WatchedExchange(Exchange):
    """Have the world go on while it is read."""

    def __init__(self, world):
        super().__init__(ECHO, 3600.0)
        self.began_at = 0.0
        self.world = world

    def claim(self, who):
        self.world.happen()
        is_theirs = super().claim(who)
        self.world.happen()
        return is_theirs

    def read(self, fd):
        self.world.readers += 1
        assert self.world.readers == 1, "two read at once"
        try:
            self.world.happen()
            return super().read(fd)
        finally:
            self.world.readers -= 1


@pytest.fixture
def make(request):
    worlds = []

    def make(happenings=()):
        worlds.append(World(happenings))
        return worlds[-1]

    yield make
    for world in worlds:
        world.close()


def test_the_loop_reads_what_nobody_waits_for(make):
    world = make()
    world.lane.begin(world.slot)
    assert os.read(world.asked, 999).endswith(b"7") and world.reading in world.watched
    world.answer(3)
    world.turn()
    assert world.outcomes == [] and world.reading in world.watched
    world.answer(999)
    world.turn()
    assert world.outcomes == [DONE] and not world.watched


def test_whoever_waits_reads_it_and_the_loop_hears_nothing(make):
    world = make()
    exchange = world.slot.exchange
    world.lane.begin(world.slot)
    world.answer(999)
    world.lane.read_here(world.slot, exchange, 1.0)
    assert world.outcomes == [DONE] and not world.watched
    world.lane.read_here(world.slot, exchange, 1.0)
    world.finish()
    assert world.outcomes == [DONE]


def test_what_does_not_come_in_time_is_the_loops_again(make):
    world = make()
    world.lane.begin(world.slot)
    world.lane.read_here(world.slot, world.slot.exchange, 0.005)
    assert world.outcomes == [] and world.reading in world.watched
    world.answer(999)
    world.turn()
    assert world.outcomes == [DONE]


def test_while_one_reads_another_goes_away(make):
    world = make()
    exchange = world.slot.exchange
    world.lane.begin(world.slot)
    assert exchange.claim("another")
    world.lane.read_here(world.slot, exchange, 1.0)
    world.answer(999)
    world.turn()
    assert world.outcomes == [] and world.clock == 0.0
    exchange.release()
    world.turn()
    assert world.outcomes == [DONE]


def test_ctrl_c_while_waiting_gives_it_back_and_while_reading_ends_the_child(make):
    world = make()
    exchange = world.slot.exchange
    world.lane.begin(world.slot)
    world.happenings = iter([None] * 4 + ["interrupt"])
    with pytest.raises(Interrupt):
        world.lane.read_here(world.slot, exchange, 1.0)
    assert world.reading in world.watched and not world.is_killed
    world.answer(999)
    world.is_interrupted = False
    world.happenings = iter([None] * 5 + ["interrupt"])
    with pytest.raises(Interrupt):
        world.lane.read_here(world.slot, exchange, 1.0)
    assert world.is_killed and world.handed == [exchange] and isinstance(exchange.problem, EOFError)


def test_late_ones_are_the_threads_also_long_after_the_first(make):
    world = make()
    for _ in range(3):
        world.lane.begin(world.slot)
        world.turn()
        world.clock += LANE_S
        world.turn()
        assert world.handed.pop() is world.slot.exchange and not world.watched
        world.slot.exchange = WatchedExchange(world)
        world.slot.exchange.began_at = world.clock


happenings = st.lists(
    st.sampled_from([None, None, "turn", "turn", "told", "part", "rest", "late", "end", "interrupt"]), max_size=40)


@given(happenings, st.integers(0, 3))
def test_whatever_comes_between_there_is_one_outcome_and_one_reader(happening, waits):
    world = World(happening)
    exchange = world.slot.exchange
    try:
        for step in [lambda: world.lane.begin(world.slot)] + [
                lambda: world.lane.read_here(world.slot, exchange, 0.005)] * waits:
            try:
                step()
            except Interrupt:
                pass
            world.turn()
        world.finish()
        (outcome,) = world.outcomes
        assert outcome == DONE or (isinstance(outcome, EOFError) and world.is_killed)
        assert not world.watched and exchange.has_left
    finally:
        world.close()


@pytest.mark.parametrize("does_wait", [False, True])
def test_ctrl_c_at_any_step_leaves_no_slot_taken_and_no_future_without_an_outcome(
        tmp_path, is_interrupted, does_wait):
    def call(world, executor, slot, future):
        assert executor._begin_in_lane(slot, future)
        if does_wait:
            world.answer(999)
            executor.finish_here(future, 0.005)

    interrupted = partial(is_interrupted, (lane_module, executor_module))
    for before in range(1000):
        world = World(())
        try:
            # Python 3.12 tells of no steps the first time.
            if not interrupted_call(world, tmp_path, partial(interrupted, before), call) and before > 1:
                break
        finally:
            world.close()
    assert 50 < before < 999


def interrupted_call(world, folder, interrupted, call):
    """Interrupt a call, look at what has become of it, make another, and return whether it came to that step."""
    world.clock = time.monotonic()
    executor = ProcessExecutor(1, [], {}, str(folder), loop=world)
    # A signal never comes between a lock's being taken and the block that lets go of it, as a step of a trace does.
    executor._lock = threading.RLock()
    slot, future, another = executor._slots[0], WorkFuture(ECHO, executor), WorkFuture(ECHO, executor)
    slot.child, slot.served = world.slot.child, 1
    is_early = interrupted(call, world, executor, slot, future)
    is_sent = world.is_readable(world.asked)
    world.answer(999 if is_sent else 0)
    for _ in range(4):
        world.turn()
        world.clock += LANE_S
    assert not world.watched
    if not slot.inbox.empty():
        assert slot.inbox.get() is slot.current is future and slot.inbox.empty(), "its thread has it"
        return is_early
    assert slot.current is None and future.done() == is_sent
    world.unsent = FRAME
    assert executor._begin_in_lane(slot, another)
    world.answer(999)
    world.turn()
    assert another.result() == DONE and not executor._lane._slots
    return is_early


@pytest.mark.parametrize("awake_s", [0.0, 0.0005, 1.0])
def test_a_thread_that_waits_hears_of_an_outcome_and_of_the_end_awake_or_asleep(awake_s):
    reading, writing = os.pipe()
    child = SimpleNamespace(outcome_fd=reading)
    try:
        assert not ChildProcess.wait_outcome(child, 0.001, awake_s)
        answering = threading.Thread(target=os.write, args=(writing, b"outcome"))
        answering.start()
        assert ChildProcess.wait_outcome(child, 60.0, awake_s)
        answering.join()
        os.read(reading, 100)
    finally:
        os.close(writing)
    assert ChildProcess.wait_outcome(child, 60.0, awake_s)
    os.close(reading)
