"""A script waits for its node, which no stop button reaches; whatever ends the script ends the node."""

from __future__ import annotations

import ctypes
import threading

import pytest

from discompute_lite.host import app_script
from discompute_lite.host.app_script import AppScript

LIMIT_S = 60.0


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    """Let a script see sooner what has happened."""
    monkeypatch.setattr(app_script, "SCRIPT_WAIT_S", 0.005)
    monkeypatch.setattr(app_script, "SCRIPT_WAIT_MOST_S", 0.005)
    monkeypatch.setattr(app_script, "SCRIPT_END_WAIT_S", 0.005)


class Clock(list):
    """Be a loop's timers: the next one is called when a test says so, and `waits` are those that there were."""

    def __init__(self):
        super().__init__()
        self.waits = []

    def now(self):
        return 100.0

    def call_between(self, first, last, callback, *arguments):
        self.waits.append((first - 100.0, last - 100.0))
        self.append((callback, arguments))

    def go_on(self):
        callback, arguments = self.pop()
        callback(*arguments)


class ScriptAndNode:
    """Hold a script in a thread of its own, as an app runs it, and its node: it works until it is stopped."""

    def __init__(self):
        self.is_at_work, self.is_to_stop, self.may_watch = threading.Event(), threading.Event(), threading.Event()
        self.may_watch.set()
        self.clock, self.end, self.node_thread = Clock(), None, None
        self.thread = threading.Thread(target=self._run)

    def _run(self):
        self.script = AppScript()
        try:
            self.script.run(self._work)
            self.end = "went on"
        except BaseException as error:
            self.end = type(error)

    def _work(self):
        self.node_thread = threading.current_thread()
        self.is_at_work.set()
        assert self.may_watch.wait(LIMIT_S)
        self.script.watch(self.is_to_stop.set, self.clock)
        assert self.is_to_stop.wait(LIMIT_S)

    def start(self):
        self.thread.start()
        assert self.is_at_work.wait(LIMIT_S)

    def press_stop(self, kind):
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self.thread.ident), ctypes.py_object(kind))

    def assert_ended(self, how):
        self.thread.join(LIMIT_S)
        self.node_thread.join(LIMIT_S)
        assert (self.end, self.node_thread.is_alive()) == (how, False)


@pytest.mark.parametrize("kind, end", [(KeyboardInterrupt, "went on"), (SystemExit, SystemExit)])
def test_the_stop_button_ends_the_node_and_never_comes_into_its_thread(kind, end):
    both = ScriptAndNode()
    both.start()
    assert both.node_thread is not both.thread
    both.press_stop(kind)
    both.assert_ended(end)


def test_a_script_that_waits_is_awake_when_its_node_looks_at_it_and_then_sees_that_it_is_to_be_stopped(monkeypatch):
    monkeypatch.setattr(app_script, "SCRIPT_WAIT_MOST_S", LIMIT_S)
    both, beats = ScriptAndNode(), []
    both.start()
    for _ in range(5):
        while not both.clock or both.script._beats in beats:
            both.is_to_stop.wait(0.001)
        # It waits for the next look, or is about to: it moves once for each, and never without.
        beats.append(both.script._beats)
        both.clock.go_on()
    both.press_stop(KeyboardInterrupt)
    both.clock.go_on()
    both.assert_ended("went on")
    assert beats == list(range(beats[0], beats[0] + 5))


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_a_node_that_takes_long_to_begin_is_left_to_end_as_soon_as_it_can(monkeypatch, kind):
    monkeypatch.setattr(app_script, "TURN_S", 0.0)
    both = ScriptAndNode()
    both.may_watch.clear()
    both.start()
    both.press_stop(kind)
    both.thread.join(LIMIT_S)
    both.may_watch.set()
    both.assert_ended(kind)


def test_a_script_goes_on_when_its_node_has_ended_by_itself():
    both = ScriptAndNode()
    both.start()
    both.is_to_stop.set()
    both.assert_ended("went on")


class InApp:
    """Say that this is an app."""

    def inside_ios(self):
        return True


@pytest.mark.parametrize("begins_late", [False, True])
def test_a_button_that_comes_into_the_thread_that_is_to_start_the_node_stops_the_script(monkeypatch, begins_late):
    """Before Python 3.12 it can: then the node never begins, or, where the machine is very busy, later than that."""
    script, begun, did = AppScript(InApp()), [], []
    monkeypatch.setattr(app_script._thread, "start_new_thread", lambda start, _: begun.append(start))
    with pytest.raises(KeyboardInterrupt):
        script.run(lambda: did.append("work"))
    if begins_late:
        begun[0]()
        begun[0].__self__.join(LIMIT_S)
    assert did == []


def test_what_the_node_raises_is_raised_in_the_script():
    def fail():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        AppScript(InApp()).run(fail)


def test_a_node_whose_script_moves_no_more_ends_after_some_looks(monkeypatch):
    script, clock, told = AppScript(InApp()), Clock(), []
    is_watching, is_to_end, looks = threading.Event(), threading.Event(), iter(range(50))

    def work():
        script.watch(lambda: told.append("stop"), clock)
        is_watching.set()
        assert is_to_end.wait(LIMIT_S)

    class Turn:
        """Be what the script waits for; let the node look once whenever the script has moved."""

        def acquire(self, _blocking, _seconds):
            assert is_watching.wait(LIMIT_S)
            if next(looks, None) is None:
                is_to_end.set()
            else:
                clock.go_on()

        def locked(self):
            return False

    monkeypatch.setattr(script, "_turn", Turn())
    script.run(work)
    # From now on it does not move; the first look sees what it did last.
    for _ in range(app_script.MISSED_SCRIPT_LOOKS + 2):
        assert told == []
        clock.go_on()
    assert (told, clock) == (["stop"], [])
    # A node that rests is not woken up for a look; one that finds something amiss looks soon.
    calm, amiss = (app_script.SCRIPT_LOOK_S, app_script.SCRIPT_LOOK_MOST_S), (app_script.SCRIPT_MISSED_S,) * 2
    missed = app_script.MISSED_SCRIPT_LOOKS
    assert calm[0] < calm[1] and clock.waits[0] == calm
    # The first look may come before the script has moved.
    assert set(clock.waits[2:-missed]) == {calm} and clock.waits[-missed:] == [amiss] * missed


def test_a_process_that_is_there_for_the_node_alone_needs_no_other_thread():
    script, seen = AppScript(), []
    script.run(lambda: seen.append(threading.current_thread()))
    script.watch(seen.append, Clock())
    assert seen == [threading.main_thread()]
