"""Speeds are learnt from durations, start at the measured score, and are not thrown by one large subtask."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discompute_lite.core.paces import DEVICES_LEARNT, FUNCTIONS_LEARNT, MANY_MORE, FunctionPace, PaceBook


def learnt(durations, *, scores=None):
    """Return a pace that has learnt lists of durations by device, in turns."""
    pace = FunctionPace()
    for number in range(max(map(len, durations.values()))):
        for device_id, each in durations.items():
            if number < len(each):
                pace.learn(device_id, (scores or {}).get(device_id, 1.0), each[number])
    return pace


def test_before_anything_is_learnt_the_measured_score_counts():
    pace = FunctionPace()
    assert pace.speed("a", 3.0) == 3.0 and pace.speed("a", 0.0) == 1.0 and pace.typical_s("a") == 0.0


def test_a_device_that_is_four_times_as_fast_as_its_score_says_is_found_out():
    pace = learnt({"a": [4.0] * 40, "b": [1.0] * 40})
    assert pace.speed("b", 1.0) / pace.speed("a", 1.0) == pytest.approx(4.0, rel=0.1)
    assert pace.typical_s("a") == pytest.approx(4.0, rel=0.05)


def test_scores_that_are_right_stay_right():
    pace = learnt({"a": [8.0] * 20, "b": [1.0] * 20}, scores={"a": 0.5, "b": 4.0})
    assert pace.speed("a", 0.5) == pytest.approx(0.5, rel=0.01) and pace.speed("b", 4.0) == pytest.approx(4.0, rel=0.01)
    assert pace.work == pytest.approx(4.0) and pace.spread == pytest.approx(0.0, abs=1e-9)


def test_one_subtask_a_thousand_times_as_large_changes_little():
    pace = learnt({"a": [1.0] * 20, "b": [1.0] * 20})
    pace.learn("a", 1.0, 1000.0)
    assert pace.speed("a", 1.0) > 0.7 and pace.work < 1.1


def test_a_device_that_heats_up_is_noticed():
    pace = learnt({"a": [1.0] * 30 + [3.0] * 30, "b": [1.0] * 60})
    assert pace.speed("a", 1.0) / pace.speed("b", 1.0) == pytest.approx(1 / 3, rel=0.1)


def test_heavy_tailed_works_are_told_from_equal_ones_and_leave_speeds_right():
    rng = random.Random(4)
    works = [1.0 / (1.0 - rng.random()) ** 0.5 for _ in range(600)]
    pace = learnt({"a": works[:300], "b": [work / 2.0 for work in works[300:]]})
    assert pace.spread > 0.3
    assert pace.speed("b", 1.0) / pace.speed("a", 1.0) == pytest.approx(2.0, rel=0.4)


def test_outcomes_that_arrive_in_batches_do_not_make_a_device_look_fast():
    pace = learnt({"a": ([0.8] + [0.0] * 7) * 40, "b": [0.1] * 320})
    assert pace.typical_s("a") == pytest.approx(0.1, rel=0.3) and pace.speed("a", 1.0) > 0.6


def test_durations_of_nothing_divide_by_nothing():
    pace = learnt({"a": [0.0, 0.0]})
    assert pace.typical_s("a") > 0.0 and pace.speed("a", 1.0) > 0.0


# ---- subtasks of many calls -------------------------------------------------------------------------


@pytest.mark.parametrize("start_s", [0.0, 0.08, 2.0])
@pytest.mark.parametrize("each_s", [0.0, 0.001, 0.02])
@pytest.mark.parametrize("call_s, calls", [(1e-6, 25_000), (2e-5, 2500), (1e-3, 50), (0.02, 8)])
def test_what_a_lone_call_took_beside_its_work_is_forgotten_when_subtasks_hold_many(start_s, each_s, call_s, calls):
    pace, units = FunctionPace(), 20 + int(start_s / (each_s + call_s * calls))
    pace.learn("a", 1.0, start_s + each_s + call_s)
    for _ in range(3):
        pace.learn("a", 1.0, each_s + call_s)
    for _ in range(units):
        pace.learn("a", 1.0, each_s + call_s * calls, calls)
    right_s = call_s + each_s / calls
    assert 0.9 * right_s <= pace.typical_s("a") <= 3.0 * right_s and pace.work <= 5.0 * right_s


def test_lone_calls_between_large_subtasks_are_put_right_again():
    pace = FunctionPace()
    for calls, number in [(25_000, 10), (1, 200), (25_000, 10)]:
        for _ in range(number):
            pace.learn("a", 1.0, 0.001 + 1e-6 * calls, calls)
        assert pace.typical_s("a") == pytest.approx(0.001 if calls == 1 else 1e-6, rel=0.2)


def test_when_calls_turn_out_shorter_speeds_stay():
    pace = learnt({"a": [0.08] * 9, "b": [0.16] * 9, "c": [0.02] * 9})
    before = [pace.speed(name, 1.0) for name in "abc"]
    assert pace.learn("b", 1.0, 0.05, 25_000) and pace.typical_s("b") == pytest.approx(2e-6)
    assert [pace.speed(name, 1.0) for name in "abc"] == pytest.approx(before, rel=0.05)
    assert not pace.learn("a", 1.0, 0.025, 25_000), "by now it is what is believed"


def test_one_who_is_new_changes_nothing_for_others_however_large_its_subtasks_become():
    pace = FunctionPace()
    for _ in range(50):
        pace.learn("a", 1.0, 0.1, 1000)
    for _ in range(5):
        pace.learn("b", 1.0, 0.01)
    assert not any(pace.learn("b", 1.0, 1e-5 * calls, calls) for calls in (100, 1000, 1000))
    assert pace.typical_s("a") == pytest.approx(1e-4)


def test_outcomes_of_large_subtasks_in_one_batch_do_not_make_calls_short():
    pace = learnt({"a": [0.08], "b": [0.08]})
    assert not pace.learn("a", 1.0, 2e-4, 1000), "it came with the one before it"
    assert pace.learn("a", 1.0, 2.0, 1000) and pace.typical_s("a") == pytest.approx(1e-3, rel=0.01)
    for _ in range(40):
        assert not any(pace.learn("a", 1.0, 2e-4, 8000) for _ in range(7)), "they came with the one before them"
        pace.learn("a", 1.0, 8.0, 1000)
    assert pace.typical_s("a") == pytest.approx(8.0014 / 57_000, rel=0.1)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0.0, 100.0), st.integers(1, 3)), max_size=60))
def test_sizes_that_are_much_the_same_say_nothing_of_all_devices_at_once(subtasks):
    pace = FunctionPace()
    assert MANY_MORE > 3 and not any(pace.learn(name, 1.0, took_s, calls) for name, took_s, calls in subtasks)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0.0, 100.0), st.integers(1, 10**6)), min_size=1))
def test_whatever_is_learnt_nothing_divides_by_nothing_and_speeds_survive_what_is_said_of_all(subtasks):
    pace = FunctionPace()
    for name, took_s, calls in subtasks:
        others = {other: pace.typical_s(other) / pace.typical_s("a") for other in "bc" if pace.typical_s("a")}
        if pace.learn(name, 1.0, took_s, calls):
            for other, ratio in others.items():
                if name not in ("a", other):
                    assert pace.typical_s(other) / pace.typical_s("a") == pytest.approx(ratio)
    assert pace.work > 0.0 and pace.calls >= 1.0 and 0.0 <= pace.spread <= 3.0
    assert all(pace.speed(name, 1.0) > 0.0 for name in "abc")


# ---- many functions ---------------------------------------------------------------------------------


def test_functions_with_a_name_share_what_is_learnt_and_memory_is_bounded():
    book = PaceBook()
    assert book.of("f") is book.of("f") and book.of("") is not book.of("")
    kept = book.of("f")
    for number in range(FUNCTIONS_LEARNT):
        book.of(f"g{number}")
    assert book.of("f") is not kept
    pace = FunctionPace()
    for number in range(DEVICES_LEARNT + 1):
        pace.learn(f"d{number}", 1.0, 1.0)
    assert pace.typical_s("d0") == 0.0 and pace.typical_s("d1") > 0.0
