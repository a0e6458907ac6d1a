"""Whatever the size of a crowd, it stays under a hundred datagrams a second, and few stay as quick as they were."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discompute_lite.core.pacing import ANSWERS_WANTED, KNOWN_ENOUGH, SLOWEST_PACE_S, STRETCH_AT_ONCE, Pace


def pace(least_s=2.5, roll=0.5):
    return Pace(least_s, lambda: roll)


@pytest.mark.parametrize("present, targets, every_s", [
    (0, 1, 2.5), (1, 3, 2.5), (49, 1, 2.5), (49, 3, 2.5), (186, 1, 2.5), (399, 1, 5.0), (399, 2, 5.0), (9999, 9, 5.0),
])
def test_the_interval_follows_those_who_are_listed_and_doubles_at_most(present, targets, every_s):
    assert pace().next_interval(100.0, present, targets) == pytest.approx(every_s)


def test_a_crowd_beyond_any_table_is_counted_by_what_is_heard():
    """Ten thousand at 100 s each are a hundred a second; only 4,096 can be listed."""
    ours = pace()
    now, every_s = 0.0, ours.next_interval(0.0, 4095, 1)
    for _ in range(8):
        ours.heard(100.0, count=round(9_999 / 100.0 * every_s))
        now += every_s
        every_s = ours.next_interval(now, 4095, 1)
    assert ours.crowd == pytest.approx(10_000, rel=0.01) and every_s == pytest.approx(133.3, rel=0.01)


def test_one_look_at_a_wave_is_half_believed():
    """In a trough of a crowd that speaks in waves half of it is heard, on a crest half as many again."""
    ours = pace()
    for now, count in ((0.0, 0), (100.0, 100), (200.0, 100), (300.0, 100), (400.0, 100), (500.0, 50), (600.0, 150)):
        ours.heard(100.0, count)
        ours.next_interval(now, 10, 1)
        if now == 500.0:
            assert 70 < ours.crowd < 80
    assert 105 < ours.crowd < 115


def test_few_are_quick_again_when_the_crowd_has_gone():
    ours = pace()
    for step in range(10):
        ours.next_interval(step, 9_999, 1)
    assert ours.every_s > 100.0
    assert ours.next_interval(1000.0, 3, 1) == 2.5


@pytest.mark.parametrize("every_s", [0.0, -1.0, 1e300, float("inf"), float("nan")])
def test_odd_intervals_of_others_count_for_no_more_than_the_longest(every_s):
    ours = pace()
    ours.next_interval(0.0, 0, 1)
    ours.heard(every_s)
    assert ours.next_interval(10.0, 0, 1) >= 2.5 and ours.crowd <= 1.0 + SLOWEST_PACE_S / 10.0


def test_who_wants_to_speak_seldom_is_not_made_to_speak_oftener():
    assert pace(least_s=600.0).next_interval(0.0, 0, 1) == 600.0


def test_the_first_beacons_ask_until_enough_are_known():
    assert pace().asks_again(0) and pace().asks_again(KNOWN_ENOUGH - 1) and not pace().asks_again(KNOWN_ENOUGH)


@pytest.mark.parametrize("present", [0, 49, ANSWERS_WANTED - 1])
def test_where_few_are_all_answer(present):
    assert pace(roll=0.999).answers(100.0, present)


@pytest.mark.parametrize("crowd", [200, 10_000])
def test_of_a_crowd_as_many_answer_as_a_newcomer_can_use(crowd):
    rng = random.Random(5)
    nodes = [Pace(2.5, rng.random) for _ in range(crowd)]
    answers = sum(node.answers(7.0, crowd - 1) for node in nodes)
    assert ANSWERS_WANTED * 0.6 < answers < ANSWERS_WANTED * 1.4


def test_many_who_ask_at_once_share_the_answers():
    """A thousand start within a second among a thousand: a million answers would be no news to anybody."""
    rng = random.Random(5)
    ours = Pace(2.5, rng.random)
    answered = sum(ours.answers(number / 1000.0, 1_000) for number in range(1_000))
    assert answered < 10
    assert sum(ours.answers(10.0 + number, 49) for number in range(20)) == 20, "afterwards all is as before"


@pytest.mark.parametrize("present, most", [(0, 0.2), (399, 0.5)])
def test_nodes_that_began_together_do_not_go_on_together(present, most):
    rng = random.Random(5)
    ours = Pace(2.5, rng.random)
    every_s = ours.next_interval(0.0, present, 1)
    waits = [ours.wait_s() / every_s for _ in range(500)]
    assert 1.0 - most <= min(waits) < 1.0 - 0.9 * most and 1.0 + 0.9 * most < max(waits) <= 1.0 + most


@given(st.lists(st.tuples(st.floats(0.01, 500), st.integers(0, 5000), st.integers(0, 9), st.floats(0, 1e6),
                          st.integers(0, 300))))
def test_no_interval_is_shorter_than_wanted_or_longer_than_twice_the_last(looks):
    ours, now = pace(), 0.0
    for passed_s, present, targets, every_s, count in looks:
        now += passed_s
        before = ours.every_s
        ours.heard(every_s, count)
        after = ours.next_interval(now, present, targets)
        assert 2.5 <= after <= min(SLOWEST_PACE_S, before * STRETCH_AT_ONCE) and after == ours.every_s
        assert ours.crowd >= 1.0 + present
