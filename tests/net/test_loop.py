"""The loop calls back on its own thread: what is due, what is ready, and what other threads ask for."""

from __future__ import annotations

import logging
import os
import socket
import threading
from typing import Any, Callable, Iterator, List

import pytest

from discompute_lite.net.loop import Loop


@pytest.fixture
def loop() -> Iterator[Loop]:
    value = Loop()
    yield value
    value.close()


def run_until_idle(loop: Loop, *callbacks: Callable[[], Any]) -> None:
    """Run the loop until everything that is due now, or soon, has been called."""
    for callback in callbacks:
        callback()
    loop.call_later(0.02, loop.stop)
    loop.run()


# ---- timers ---------------------------------------------------------------------------------------------------


def test_timers_are_called_in_the_order_of_their_times(loop):
    called: List[str] = []
    now = loop.now()
    loop.call_at(now + 0.004, called.append, "third")
    loop.call_at(now + 0.002, called.append, "first")
    loop.call_at(now + 0.002, called.append, "second")
    loop.call_at(now - 5.0, called.append, "overdue")
    loop.call_later(0.006, loop.stop)
    loop.run()
    assert called == ["overdue", "first", "second", "third"] and loop.now() >= now + 0.004


def test_a_cancelled_timer_is_not_called(loop):
    called: List[str] = []
    timer = loop.call_later(0.0, called.append, "no")
    timer.cancel()
    timer.cancel()
    run_until_idle(loop)
    assert called == []


def test_a_timer_may_cancel_another_that_is_due_at_the_same_time(loop):
    called: List[str] = []
    now = loop.now()
    timers: List[Any] = []
    loop.call_at(now, lambda: timers[0].cancel())
    timers.append(loop.call_at(now, called.append, "no"))
    loop.call_at(now, called.append, "yes")
    run_until_idle(loop)
    assert called == ["yes"]


def test_a_timer_that_was_called_may_be_cancelled(loop):
    called: List[int] = []
    timer = loop.call_later(0.0, called.append, 1)
    run_until_idle(loop)
    timer.cancel()
    assert called == [1]


def test_what_can_wait_is_called_with_what_cannot(loop):
    called: List[str] = []
    now = loop.now()
    loop.call_between(now, now + 60.0, called.append, "patient")
    loop.call_between(now + 30.0, now + 60.0, called.append, "more patient")
    loop.call_between(now, now + 60.0, called.append, "cancelled").cancel()
    loop.call_later(0.01, called.append, "due")
    loop.call_later(0.02, loop.stop)
    loop.run()
    assert called == ["due", "patient"]


def test_what_can_wait_is_called_once_when_its_time_is_over(loop):
    called: List[str] = []
    now = loop.now()
    loop.call_between(now + 0.005, now + 0.01, called.append, "patient")
    loop.call_later(0.03, loop.stop)
    loop.run()
    assert called == ["patient"] and loop.now() >= now + 0.01


def test_timers_set_by_timers_are_called(loop):
    called: List[int] = []

    def again(count: int) -> None:
        called.append(count)
        loop.call_later(0.0, again, count + 1) if count < 5 else loop.stop()

    loop.call_later(0.0, again, 0)
    loop.run()
    assert called == [0, 1, 2, 3, 4, 5]


# ---- posts ------------------------------------------------------------------------------------------------------


def test_posts_of_many_threads_all_arrive_on_the_loops_thread_in_order(loop):
    arrived: List[Any] = []
    threads_seen = set()

    def take(sender: int, number: int) -> None:
        threads_seen.add(threading.get_ident())
        arrived.append((sender, number))
        if len(arrived) == 8 * 500:
            loop.stop()

    def send(sender: int) -> None:
        for number in range(500):
            loop.post(take, sender, number)

    senders = [threading.Thread(target=send, args=(sender,)) for sender in range(8)]
    for thread in senders:
        thread.start()
    loop.run()
    for thread in senders:
        thread.join()
    assert threads_seen == {threading.get_ident()}
    for sender in range(8):
        assert [number for who, number in arrived if who == sender] == list(range(500))


def test_a_post_wakes_a_sleeping_loop(loop):
    asleep = threading.Event()
    loop.post(asleep.set)
    thread = threading.Thread(target=loop.run)
    thread.start()
    # Without the wake-up byte this would take LONGEST_SLEEP_S.
    assert asleep.wait(10)
    for _ in range(100):
        answered = threading.Event()
        loop.post(answered.set)
        assert answered.wait(10)
    loop.stop()
    thread.join(10)
    assert not thread.is_alive()


def test_callbacks_that_post_again_starve_nobody(loop):
    ours, theirs = socket.socketpair()
    rounds: List[int] = []

    def again() -> None:
        rounds.append(1)
        loop.post(again)

    loop.watch(ours, loop.stop, None)
    theirs.send(b"x")
    loop.post(again)
    loop.run()
    assert 0 < len(rounds) < 10
    loop.unwatch(ours)
    ours.close()
    theirs.close()


def test_stop_before_run_lets_run_return(loop):
    loop.stop()
    loop.run()


def test_a_loop_may_run_again(loop):
    for _ in range(3):
        called: List[int] = []
        loop.post(called.append, 1)
        loop.stop()
        loop.run()
        assert called == [1]


def test_closing_it_closes_what_it_still_watches():
    loop = Loop()
    ours, theirs = socket.socketpair()
    with theirs:
        loop.watch(ours, lambda: None, None)
        loop.close()
        loop.close()
        assert ours.fileno() == -1
        assert theirs.recv(1) == b""


def test_posting_to_a_closed_loop_is_harmless():
    loop = Loop()
    loop.close()
    loop.post(print, "never")
    loop.stop()


# ---- mistakes -----------------------------------------------------------------------------------------------------


def test_a_failing_callback_is_logged_and_concerns_nobody_else(loop, caplog):
    called: List[str] = []

    def fail() -> None:
        raise RuntimeError("on purpose")

    now = loop.now()
    loop.call_at(now, fail)
    loop.call_at(now, called.append, "timer")
    loop.post(fail)
    loop.post(called.append, "post")
    with caplog.at_level(logging.ERROR, logger="discompute"):
        run_until_idle(loop)
    assert called == ["timer", "post"]
    assert sum("on purpose" in str(record.exc_info) for record in caplog.records) == 2
    loop.call_now(fail)


# ---- readiness ------------------------------------------------------------------------------------------------------


@pytest.fixture
def pair() -> Iterator[Any]:
    ends = socket.socketpair()
    for end in ends:
        end.setblocking(False)
    yield ends
    for end in ends:
        end.close()


def test_readable_and_writable_are_told_apart(loop, pair):
    seen: List[str] = []
    loop.watch(pair[0], lambda: seen.append("read"), None)
    run_until_idle(loop)
    assert seen == []
    loop.watch(pair[0], lambda: seen.append("read"), lambda: (seen.append("write"), loop.watch(pair[0], None, None)))
    run_until_idle(loop)
    assert seen == ["write"]
    pair[1].send(b"x")
    run_until_idle(loop)
    assert seen == ["write"], "nobody watches any more"
    loop.watch(pair[0], lambda: (seen.append("read"), loop.unwatch(pair[0])), None)
    run_until_idle(loop)
    assert seen == ["write", "read"]


def test_unwatching_is_always_allowed(loop, pair):
    loop.unwatch(pair[0])
    loop.watch(pair[0], lambda: None, None)
    pair[0].close()
    loop.unwatch(pair[0])
    loop.unwatch(pair[0])
    run_until_idle(loop)


def test_a_dead_pair_of_wake_up_sockets_is_replaced(loop):
    """An app that slept may find its sockets dead: readable for ever, and deaf."""
    dead, other = socket.socketpair()
    other.close()
    os.dup2(dead.fileno(), loop._wake_receiver.fileno())
    dead.close()
    # epoll forgets a descriptor whose file was exchanged under it, unlike the kqueue of the apps in question.
    loop._drain_wakes()
    rounds: List[int] = []
    original = loop._run_once
    loop._run_once = lambda: (rounds.append(1), original())
    run_until_idle(loop)
    assert len(rounds) < 10, "it does not spin"
    thread = threading.Thread(target=loop.run)
    thread.start()
    for _ in range(3):
        answered = threading.Event()
        loop.post(answered.set)
        assert answered.wait(10)
    loop.stop()
    thread.join(10)


# ---- descriptors and other threads ----------------------------------------------------------------------------


def test_another_thread_may_watch_while_the_loop_waits(loop):
    if not loop.is_watching_for_all:
        pytest.skip("this system does not take note of it")
    first, second = socket.socketpair()
    came = threading.Event()
    thread = threading.Thread(target=loop.run)
    thread.start()
    try:
        waits = threading.Event()
        loop.post(waits.set)
        waits.wait()
        for _ in range(20):
            came.clear()
            loop.watch(second, lambda: (second.recv(1), came.set()), None)
            first.send(b"x")
            assert came.wait(10.0)
            loop.unwatch(second)
    finally:
        loop.stop()
        thread.join()
        first.close()
        second.close()
