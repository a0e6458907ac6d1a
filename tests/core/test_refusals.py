"""A refusal is told at once, a flood of them in a few counts that are right, however long it lasts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from discompute_lite.core.refusals import FIRST_COUNT_S, LONGEST_COUNT_S, REFUSALS_APART, RefusalTally


def test_the_first_is_told_at_once_and_those_after_it_are_counted():
    tally = RefusalTally()
    assert tally.due() is None
    assert tally.add("stranger", "10.0.0.9", 5.0)
    assert not any(tally.add("stranger", "10.0.0.9", 6.0) for _ in range(1000))
    assert tally.add("code", "10.0.0.9", 7.0), "another rule is another line"
    assert tally.due() == 5.0 + FIRST_COUNT_S
    assert tally.take(65.0) == [("stranger", "10.0.0.9", 1000, 60)]
    assert tally.due() is None and tally.take(66.0) == []


def test_a_crowd_of_addresses_is_one_number():
    tally = RefusalTally()
    told = [tally.add("stranger", f"10.0.{number // 256}.{number % 256}", 0.0) for number in range(10_000)]
    assert sum(told) == REFUSALS_APART and all(told[:REFUSALS_APART])
    assert tally.take(60.0) == [("stranger", "", 10_000 - REFUSALS_APART, 60)]


def test_a_flood_that_lasts_is_told_ever_more_seldom_and_one_after_a_rest_at_once():
    tally, now, lines = RefusalTally(), 0.0, 0
    while now < 24 * 3600.0:
        for address in range(REFUSALS_APART + 4):
            lines += tally.add("handshake", f"10.0.0.{address}", now)
        now += 2.0
        if now >= tally.due():
            lines += len(tally.take(now))
    assert lines < 30 * 3 * REFUSALS_APART, "some fifty lines an hour"
    tally.take(now)
    now += 2 * LONGEST_COUNT_S
    assert tally.add("handshake", "10.0.0.1", now) and tally.due() == now + FIRST_COUNT_S


@given(st.lists(st.tuples(st.sampled_from(["stranger", "code"]), st.integers(0, 40), st.floats(0, 500)), max_size=300))
def test_nobody_is_forgotten_and_nobody_counted_twice(refusals):
    tally, now, told = RefusalTally(), 0.0, 0
    for rule, address, pause_s in refusals:
        now += pause_s
        if tally.due() is not None and tally.due() <= now:
            told += sum(each.times for each in tally.take(now))
        told += tally.add(rule, f"10.0.0.{address}", now)
    assert told + sum(each.times for each in tally.take(now)) == len(refusals)
