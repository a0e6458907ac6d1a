"""The way of calls to the node's thread and back, with a thread that is turned by hand."""

import threading

import pytest

from discompute_lite.beside import PromisedAnswer
from discompute_lite.faces.dispatch import STREAMS_KEPT, STREAMS_NAMED, Dispatch, StreamKey, has_raised
from discompute_lite.faces.options import CallOptions
from discompute_lite.faces.packing import PackedLine
from discompute_lite.roles.call_units import CallUnit, UnitOutcome


class FakeStream:
    work_s, permit = 0.5, None

    def __init__(self, named):
        self.named, self.units, self.is_sealed = named, [], False

    unit = staticmethod(CallUnit)

    def add(self, units):
        self.units += units

    def cancel(self, unit):
        unit.is_over = True

    def cancel_waiting(self):
        for unit in self.units:
            if not unit.is_over:
                end(unit, error="it was cancelled", blame="cancelled")

    def seal(self):
        self.is_sealed = True


class FakeStreams:
    def __init__(self):
        self.opened = []

    def open(self, line, **named):
        self.opened.append(FakeStream(dict(named, line=line)))
        return self.opened[-1]

    def total_slots(self):
        return 6


class Thread:
    """The node's thread, turned by hand."""

    def __init__(self):
        self.posted, self.alive = [], True

    def post(self, callback, *arguments):
        self.posted.append((callback, arguments))

    def turn(self):
        while self.posted:
            callback, arguments = self.posted.pop(0)
            callback(*arguments)

    def is_alive(self):
        return self.alive


@pytest.fixture
def thread():
    return Thread()


@pytest.fixture
def streams():
    return FakeStreams()


@pytest.fixture
def dispatch(thread, streams):
    return Dispatch(thread.post, thread, streams)


def key(name="f", is_pure=False, **options):
    return StreamKey(PackedLine(name.encode(), name * 2, ()), CallOptions(**options), is_pure)


def end(unit, line=b'{"value":1}', **more):
    outcome = UnitOutcome(**{"line": b"" if more.get("error") else line, "device_id": "d", "attempts": 1, **more})
    unit.is_over = True
    unit.done(unit, outcome)


RAISED = b'{"values":[],"raised":{"name":"ValueError"}}'


def test_calls_of_one_function_share_a_stream_and_go_together(dispatch, thread, streams):
    outcomes = []
    for _ in range(3):
        dispatch.send(key(priority=7, requires=("gpu",), devices=2, timeout=3.0), b"data", 2, outcomes.append)
    assert streams.opened == [] and len(thread.posted) == 1, "the thread is woken once"
    thread.turn()
    (stream,) = streams.opened
    assert [(unit.data, unit.calls) for unit in stream.units] == [(b"data", 2)] * 3 and dispatch.slots == 6
    assert stream.named == {"line": b"f", "function": "ff", "priority": 7, "requires": ("gpu",), "max_devices": 2,
                            "pure": False, "wall_s": 3.0}
    end(stream.units[1], attempts=4)
    assert [outcome.attempts for outcome in outcomes] == [4]


def test_other_options_are_another_stream(dispatch, thread, streams):
    for each in (key(), key(is_pure=True), key(retries=1), key("g"), key()):
        dispatch.send(each, b"", 1, print)
    thread.turn()
    assert len(streams.opened) == 4
    assert dispatch.work_s(key()) == 0.5 and dispatch.work_s(key("h")) == 0.0


def test_streams_that_nobody_uses_are_closed_the_oldest_first(dispatch, thread, streams):
    dispatch.send(key("used"), b"", 1, print)
    for number in range(STREAMS_KEPT + 5):
        dispatch.send(key(f"f{number}"), b"", 1, lambda outcome: None)
        thread.turn()
        end(streams.opened[-1].units[0])
    assert [stream.named["line"] for stream in streams.opened if stream.is_sealed] == [
        b"f%d" % number for number in range(6)]
    dispatch.send(key("f0"), b"", 1, print)
    thread.turn()
    assert streams.opened[-1].named["line"] == b"f0" and len(streams.opened[-1].units) == 1


def test_a_crowd_of_functions_goes_without_names(dispatch, thread, streams):
    for number in range(STREAMS_NAMED + 3):
        dispatch.send(key(f"f{number}"), b"", 1, print)
        thread.turn()
    assert [bool(stream.named["function"]) for stream in streams.opened] == [True] * STREAMS_NAMED + [False] * 3


def test_a_call_that_raises_is_made_again_as_often_as_was_asked(dispatch, thread, streams):
    outcomes = []
    dispatch.send(key(retries=2), b"data", 1, outcomes.append)
    thread.turn()
    (stream,) = streams.opened
    end(stream.units[0], RAISED)
    end(stream.units[1], RAISED)
    assert outcomes == [] and [unit.data for unit in stream.units] == [b"data"] * 3
    dispatch.close()
    end(stream.units[2], RAISED)
    assert [(outcome.line, outcome.attempts) for outcome in outcomes] == [(RAISED, 3)] and len(stream.units) == 3


def test_a_failure_is_final(dispatch, thread, streams):
    outcomes = []
    dispatch.send(key(retries=2), b"", 1, outcomes.append)
    thread.turn()
    end(streams.opened[0].units[0], error="poison", blame="poison")
    assert outcomes[0].blame == "poison"


@pytest.mark.parametrize("line, expected", [
    (RAISED, True), (b'{"value":"raised"}', False), (b'{"value":{"raised":1}}', False), (b'"raised"', False),
    (b'{"raised"', False),
])
def test_whether_a_call_raised_is_seen_from_its_text(line, expected):
    assert has_raised(UnitOutcome(line)) is expected and not has_raised(UnitOutcome(line, "why"))


def test_a_call_is_given_up_before_it_is_taken_while_it_runs_and_not_when_it_is_done(dispatch, thread, streams):
    outcomes = []
    first, second, third = [dispatch.send(key(), b"", 1, outcomes.append) for _ in range(3)]
    thread.posted.insert(0, (dispatch._give_up, (first,)))
    thread.turn()
    (stream,) = streams.opened
    assert len(stream.units) == 2
    dispatch.cancel(second)
    dispatch.cancel(second)
    thread.turn()
    assert stream.units[0].is_over and outcomes == []
    end(stream.units[1])
    dispatch.cancel(third)
    thread.turn()
    assert len(outcomes) == 1 and not dispatch._under_way


def test_a_call_given_up_is_not_made_again(dispatch, thread, streams):
    call = dispatch.send(key(retries=5), b"", 1, print)
    thread.turn()
    end(streams.opened[0].units[0], RAISED)
    dispatch.cancel(call)
    thread.turn()
    assert streams.opened[0].units[1].is_over and not dispatch._under_way


def test_after_the_end_nothing_is_taken(dispatch):
    dispatch.close()
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        dispatch.send(key(), b"", 1, print)


def test_what_waits_is_cancelled_at_once(dispatch, thread, streams):
    outcomes = []
    dispatch.send(key(), b"", 1, outcomes.append)
    dispatch.ask = lambda question: question()
    dispatch.cancel_waiting()
    assert [outcome.blame for outcome in outcomes] == ["cancelled"]
    dispatch.wait_idle()


def test_whoever_waits_for_the_last_call_is_told(dispatch, thread, streams):
    told = []
    dispatch.when_idle(lambda: told.append("nothing to wait for"))
    for _ in range(2):
        dispatch.send(key(), b"", 1, lambda outcome: None)
    dispatch.when_idle(lambda: told.append("all done"))
    thread.turn()
    end(streams.opened[0].units[0])
    assert told == ["nothing to wait for"]
    end(streams.opened[0].units[1])
    assert told == ["nothing to wait for", "all done"]


def test_nobody_waits_for_a_thread_that_has_ended(dispatch, thread):
    dispatch.send(key(), b"", 1, print)
    thread.alive = False
    dispatch.wait_idle()
    with pytest.raises(RuntimeError, match="shut down"):
        dispatch.ask(lambda: 1)


def test_questions_are_answered_by_the_thread(dispatch, thread):
    thread.post = lambda callback: threading.Thread(target=callback).start()
    dispatch._post = thread.post
    assert dispatch.ask(threading.get_ident) != threading.get_ident()
    with pytest.raises(ZeroDivisionError):
        dispatch.ask(lambda: 1 // 0)


def test_an_answer_may_be_promised(dispatch, thread):
    dispatch._post = lambda callback: threading.Thread(target=callback).start()
    for settle, outcome in (("resolve", 7), ("fail", ValueError("why"))):
        promise = PromisedAnswer()

        def question(promise=promise, settle=settle, outcome=outcome):
            # Settled by another thread, after the question was answered.
            threading.Timer(0.01, getattr(promise, settle), [outcome]).start()
            return promise

        if settle == "resolve":
            assert dispatch.ask(question) == 7
        else:
            with pytest.raises(ValueError, match="why"):
                dispatch.ask(question)


def test_what_waits_is_cancelled_when_the_last_stream_has_said_so(dispatch, thread, streams):
    promises = [PromisedAnswer(), PromisedAnswer()]
    for number, promise in enumerate(promises):
        dispatch.send(key(f"f{number}"), b"", 1, print)
        thread.turn()
        streams.opened[-1].cancel_waiting = lambda promise=promise: promise
    assert dispatch._cancel_waiting() is promises[-1]
