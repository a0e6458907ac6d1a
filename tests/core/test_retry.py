"""Pauses double, are capped and jittered; poison is counted fairly."""

from hypothesis import given
from hypothesis import strategies as st

from discompute_lite.core.retry import backoff_s, is_poison, redial_s, refused_s, retry_s


def test_pauses_double_from_two_seconds_to_a_minute():
    assert [redial_s(failures, 0.5) for failures in (1, 2, 3, 4, 5, 6, 7, 5000)] == [2, 4, 8, 16, 32, 60, 60, 60]


def test_what_failed_rests_for_half_a_second_first_and_what_was_refused_never_for_long():
    assert [retry_s(failures, 0.5) for failures in (1, 2, 3, 8, 99)] == [0.5, 1, 2, 60, 60]
    assert [refused_s(failures, 0.5) for failures in (1, 2, 3, 8, 99)] == [0.5, 1, 2, 5, 5]


@given(st.integers(0, 10**6), st.floats(0, 1))
def test_jitter_stays_within_a_fifth(failures, roll):
    plain = backoff_s(failures, 0.5, 60.0, 0.5)
    assert 0.5 <= plain <= 60.0
    assert 0.79 * plain <= backoff_s(failures, 0.5, 60.0, roll) <= 1.21 * plain


def test_three_vanished_devices_make_poison_but_one_device_vanishing_often_does_not():
    assert is_poison([("a", False), ("b", False), ("c", False)])
    assert not is_poison([("a", False), ("b", False), ("b", False), ("a", False)])


def test_crashes_reported_by_a_living_device_count_each():
    assert not is_poison([("a", True), ("a", True)])
    assert is_poison([("a", True), ("a", True), ("a", True)])
    assert is_poison([("a", True), ("a", False), ("b", False)])
