"""Futures alone: how they take an outcome, are cancelled, and call back."""

import asyncio
import concurrent.futures
import gc
import pickle
import threading
import weakref

import pytest

from discompute_lite.faces.dispatch import OpenStream, SentCall
from discompute_lite.faces.futures import ClusterFuture, PoisonedSubtask, RemoteTimeout, failure_of
from discompute_lite.model.errors import TaskCancelled, TaskFailed, TaskRejected
from discompute_lite.roles.call_units import UnitOutcome
from discompute_lite.tasks.raised import RemoteTraceback, describe_exception
from discompute_lite.tasks.values import dump_value


class Away:
    """What a future needs of its cluster."""

    def __init__(self):
        self.later, self.given_up = [], []

    def future(self):
        future = ClusterFuture(self.later.append, self.given_up.append)
        self.sent = SentCall(OpenStream(None), b"", 1, 0, None, None)
        future.carry(self.sent)
        return future

    def deliver(self):
        later, self.later = self.later, []
        for callback in later:
            callback()


@pytest.fixture
def away():
    return Away()


@pytest.fixture
def future(away):
    return away.future()


def came_to(value=7, **more):
    return UnitOutcome(dump_value({"value": value, **more}), "", "", "the-device", 2)


def raised(error, **more):
    return UnitOutcome(dump_value({"values": [], "raised": describe_exception(error), **more}), "", "", "d", 1)


def test_a_result_comes_with_its_device_and_what_was_printed(future):
    assert not future.done() and not future.running() and (future.device, future.attempts, future.logs) == ("", 0, "")
    future.settle(came_to([1, (2,)], printed="hello\n"), ())
    assert future.done() and future.result() == [1, (2,)] and future.exception() is None
    assert (future.device, future.attempts, future.logs) == ("the-device", 2, "hello\n")
    assert future.result(0) is future.result(), "it is read once"


def test_what_it_raised_is_raised_with_the_traceback_from_there(future):
    try:
        {}["a"]
    except KeyError as error:
        future.settle(raised(error, printed="so far\n"), ())
    with pytest.raises(KeyError, match="a") as caught:
        future.result()
    assert isinstance(caught.value.__cause__, RemoteTraceback) and "KeyError" in str(caught.value.__cause__)
    assert future.exception() is caught.value and future.logs == "so far\n"


def test_what_it_raised_does_not_keep_the_future_alive(away):
    future = away.future()
    future.settle(raised(ValueError("no")), ())
    with pytest.raises(ValueError):
        future.result()
    dead = weakref.ref(future)
    del future
    gc.collect()
    assert dead() is None


@pytest.mark.parametrize("blame, kind", [
    ("poison", PoisonedSubtask), ("timeout", RemoteTimeout), ("timeout", TimeoutError), ("stopped", TaskCancelled),
    ("task", TaskFailed), ("cancelled", concurrent.futures.CancelledError),
])
def test_a_call_without_outcome_says_why(future, blame, kind):
    assert isinstance(failure_of("why", blame), kind)
    future.settle(UnitOutcome(b"", "why", blame, "", 3), ())
    with pytest.raises(kind):
        future.result()
    assert future.cancelled() == (blame == "cancelled") and future.attempts == 3 and future.logs == ""


@pytest.mark.parametrize("outcome, state", [
    (None, "pending"), (came_to(5), "finished returned int"), (came_to(None), "finished returned NoneType"),
    (raised(KeyError("x")), "finished raised KeyError"),
    (UnitOutcome(b"", "why", "task"), "finished raised TaskFailed"),
    (UnitOutcome(b"", "why", "cancelled"), "cancelled"),
    (UnitOutcome(b"nonsense"), "finished raised TaskRejected"),
])
def test_a_future_shows_its_state_and_the_type_of_its_outcome(future, outcome, state):
    if outcome is not None:
        future.settle(outcome, ())
    assert repr(future) == f"<ClusterFuture at {id(future):#x} state={state}>"


def test_a_call_that_ends_its_process_is_named_by_its_function(future):
    future.settle(UnitOutcome(b"", "it failed 3 times, all on a: each time it died", "poison"), (), name="score")
    error = future.exception()
    assert str(error).startswith("the call of score failed 3 times, all on a: each time it died; make that call in")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is PoisonedSubtask and str(again) == str(error)


@pytest.mark.parametrize("line", [b"", b"nonsense", b'{"values":[]}', b'{"values":[1,2]}', b'{"value":{"$t":"?"}}'])
def test_an_outcome_that_cannot_be_read_is_an_exception(future, line):
    future.settle(UnitOutcome(line, "", "", "d", 1), ())
    assert isinstance(future.exception(), (TaskFailed, TaskRejected))


def test_a_result_is_waited_for_in_vain(future):
    with pytest.raises(concurrent.futures.TimeoutError):
        future.result(timeout=0)
    with pytest.raises(concurrent.futures.TimeoutError):
        future.exception(timeout=0)


# ---- cancelling -----------------------------------------------------------------------------------


def test_cancelling_gives_the_call_up_once(away, future):
    assert future.cancel() and future.cancel() and future.cancelled() and future.done() and not future.running()
    assert away.given_up == [away.sent]
    with pytest.raises(concurrent.futures.CancelledError):
        future.result()
    assert concurrent.futures.wait([future], timeout=0).done == {future}
    future.settle(came_to(), ())
    assert future.cancelled() and future.logs == ""
    future.settle(UnitOutcome(b"", "why", "task"), ())
    assert future.cancelled()


def test_what_is_done_cannot_be_cancelled(away, future):
    future.settle(came_to(), ())
    assert not future.cancel() and away.given_up == [] and future.result() == 7


def test_it_runs_while_a_chunk_carries_it(away, future):
    class Unit:
        chunk = None

    away.sent.unit = Unit()
    assert not future.running()
    away.sent.unit.chunk = object()
    assert future.running()
    future.settle(came_to(), ())
    assert not future.running()


# ---- calling back ---------------------------------------------------------------------------------


def test_callbacks_are_called_later_and_in_order(away, future):
    called = []
    for number in range(3):
        future.add_done_callback(lambda done, number=number: called.append((number, done.result())))
    future.settle(came_to(), ())
    assert called == []
    away.deliver()
    assert called == [(0, 7), (1, 7), (2, 7)]


def test_a_callback_for_what_is_done_is_called_here_and_now(away, future):
    future.settle(came_to(), ())
    called = []
    future.add_done_callback(lambda done: called.append(threading.get_ident()))
    assert called == [threading.get_ident()] and away.later == []


def test_a_callback_is_called_when_it_is_cancelled(away, future):
    called = []
    future.add_done_callback(called.append)
    future.cancel()
    away.deliver()
    assert called == [future]


# ---- those who know futures -----------------------------------------------------------------------


def test_wait_and_as_completed_know_it(away):
    futures = [away.future() for _ in range(3)]
    futures[1].settle(came_to(), ())
    done, others = concurrent.futures.wait(futures, timeout=0, return_when=concurrent.futures.FIRST_COMPLETED)
    assert done == {futures[1]} and others == {futures[0], futures[2]}
    futures[2].settle(came_to(), ())
    futures[0].cancel()
    assert set(concurrent.futures.as_completed(futures, timeout=0)) == set(futures)


@pytest.mark.parametrize("outcome, expected", [
    (came_to(5), 5), (raised(KeyError("x")), KeyError), (UnitOutcome(b"", "why", "poison"), PoisonedSubtask),
    (UnitOutcome(b"", "why", "cancelled"), asyncio.CancelledError),
])
def test_asyncio_takes_over_what_it_came_to(outcome, expected):
    async def main():
        loop = asyncio.get_running_loop()
        future = ClusterFuture(lambda callback: loop.call_soon(callback), lambda sent: None)
        wrapped = asyncio.wrap_future(future)
        future.settle(outcome, ())
        return await wrapped

    if isinstance(expected, type):
        with pytest.raises(expected):
            asyncio.run(main())
    else:
        assert asyncio.run(main()) == expected


def test_a_snapshot_is_what_the_future_says(away):
    """Newer versions of asyncio ask for it instead of the result."""
    waiting, well, ill, gone = (away.future() for _ in range(4))
    well.settle(came_to(5), ())
    ill.settle(raised(KeyError("x")), ())
    gone.cancel()
    assert waiting._get_snapshot() == (False, False, None, None) and well._get_snapshot() == (True, False, 5, None)
    assert ill._get_snapshot() == (True, False, None, ill.exception()) and gone._get_snapshot()[:2] == (True, True)
