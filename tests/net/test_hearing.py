"""Silence is what could have been heard and was not."""

from __future__ import annotations

import pytest

from discompute_lite.net.hearing import Hearing

#: Seconds for which whoever does not read may say that silence is no evidence.
MOST_S = 600.0


@pytest.fixture
def hearing():
    return Hearing(100.0, MOST_S)


@pytest.mark.parametrize("since, heard_at, silent_s", [
    (100.0, 90.0, 20.0),    # asked, and nothing since
    (100.0, 117.0, 3.0),    # asked, and something else came since
    (119.5, 117.0, 0.5),    # asked only now
    (125.0, 117.0, 0.0),
])
def test_silence_begins_with_the_question_or_with_what_came_last(hearing, since, heard_at, silent_s):
    hearing.heard_at = heard_at
    assert hearing.silent_s(since, 120.0) == silent_s


def test_what_we_do_not_read_is_no_silence_and_what_we_read_again_has_to_come_from_then_on(hearing):
    hearing.stop(101.0)
    assert hearing.silent_s(100.0, 160.0) == 0.0
    hearing.go_on(160.0)
    assert hearing.silent_s(100.0, 163.0) == 3.0


def test_whoever_reads_nothing_for_ever_hears_of_an_end_all_the_same(hearing):
    hearing.stop(101.0)
    assert hearing.silent_s(100.0, 101.0 + MOST_S - 1.0) == 0.0
    assert hearing.silent_s(100.0, 101.0 + MOST_S) == 1.0 + MOST_S


def test_to_go_on_without_a_pause_says_nothing_of_the_other_side(hearing):
    hearing.go_on(130.0)
    assert hearing.silent_s(100.0, 130.0) == 30.0
