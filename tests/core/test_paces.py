"""Speeds are learnt from durations, start at the measured score, and are not thrown by one large subtask."""

import random

import pytest

from discompute_lite.core.paces import DEVICES_LEARNT, FUNCTIONS_LEARNT, FunctionPace, PaceBook


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
