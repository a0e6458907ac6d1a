"""Addresses are ranked by how they answered and never lost for a bad hour."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discompute_lite.core.addresses import AddressBook, is_address


def ranked(book):
    return [entry.address for entry in book.ranked()]


def test_measured_come_before_unmeasured_and_failing_come_last():
    book = AddressBook(8)
    for host in ("slow", "fast", "new", "bad"):
        book.heard(f"{host}:1")
    book.measured("slow:1", 0.2)
    book.measured("fast:1", 0.01)
    book.failed("bad:1", now=0.0, roll=0.5)
    assert ranked(book) == ["fast:1", "slow:1", "new:1", "bad:1"]


def test_a_failing_address_backs_off_and_is_normal_again_after_success():
    book = AddressBook(8)
    book.heard("a:1")
    for _ in range(3):
        book.failed("a:1", now=100.0, roll=0.5)
    assert book.due(107.9) == [] and book.next_try() == 108.0
    assert book.due(108.0) == ["a:1"]
    book.answered("a:1")
    assert book.due(0.0) == ["a:1"]
    book.failed("a:1", now=200.0, roll=0.5)
    assert book.next_try() == 202.0


def test_a_device_that_wants_no_link_rests_ever_longer_whatever_address_it_answers_at():
    book = AddressBook(8)
    assert book.next_try() is None
    book.heard("a:1")
    book.heard("b:1")
    for rest_s in (2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0):
        book.answered("a:1")
        book.refused(now=100.0, roll=0.5)
        assert book.rests(99.9 + rest_s) and book.due(99.9 + rest_s) == [] and book.next_try() == 100.0 + rest_s
        assert not book.rests(100.0 + rest_s) and book.due(100.0 + rest_s) == ["a:1", "b:1"]


@pytest.mark.parametrize("news", [AddressBook.welcome, AddressBook.forgive])
def test_with_news_of_a_device_that_wanted_no_link_its_rest_is_over(news):
    book = AddressBook(8)
    book.heard("a:1")
    book.refused(now=100.0, roll=0.5)
    book.refused(now=100.0, roll=0.5)
    news(book)
    assert book.due(100.0) == ["a:1"] and book.next_try() == 0.0
    book.refused(now=100.0, roll=0.5)
    assert book.next_try() == 102.0


def test_the_least_promising_makes_room_but_proven_ones_never_for_unproven_ones():
    book = AddressBook(2)
    book.measured("proven:1", 0.1)
    book.heard("old:1")
    book.heard("new:1")
    assert ranked(book) == ["proven:1", "new:1"]
    book.measured("new:1", 0.2)
    assert not book.heard("newest:1")
    assert ranked(book) == ["proven:1", "new:1"]


def test_hearsay_takes_free_room_only_and_ranks_behind_what_was_heard():
    book = AddressBook(2)
    assert book.told("said:1")
    book.heard("heard:1")
    assert ranked(book) == ["heard:1", "said:1"]
    assert not book.told("more:1")


def test_round_trips_are_smoothed_and_nonsense_is_ignored():
    book = AddressBook(2)
    book.measured("a:1", 0.08)
    book.measured("a:1", 0.16)
    for nonsense in (math.nan, math.inf, -1.0):
        book.measured("a:1", nonsense)
    assert book.ranked()[0].round_trip_s == pytest.approx(0.09)


def test_all_failed_since_asks_for_failures_after_the_loss():
    book = AddressBook(4)
    assert not book.all_failed_since(0.0)
    book.heard("a:1")
    book.heard("b:1")
    book.failed("a:1", 5.0, 0.5)
    book.failed("b:1", 9.0, 0.5)
    assert book.all_failed_since(5.0) and not book.all_failed_since(6.0)


@pytest.mark.parametrize("text", ["", "a", ":80", "a:", "a:0", "a:65536", "a:٣", "a:-1", None, 7, "x" * 300 + ":1"])
def test_what_cannot_be_dialled_is_no_address(text):
    assert not is_address(text)


def test_names_and_both_kinds_of_numbers_are_addresses():
    assert is_address("10.0.0.2:8080") and is_address("[::1]:1") and is_address("mac.local:65535")


@given(st.lists(st.tuples(st.sampled_from("htmaf"), st.integers(0, 9), st.floats(0, 100)), max_size=80))
def test_the_book_keeps_its_size_and_its_promises(steps):
    book = AddressBook(4)
    for now, (step, host, number) in enumerate(steps):
        address = f"h{host}:1"
        if step == "f":
            book.failed(address, float(now), 0.5)
        elif step == "m":
            book.measured(address, number)
        else:
            {"h": book.heard, "t": book.told, "a": book.answered}[step](address)
        book.check()
        assert (book.next_try() is None) == (len(book) == 0)
        if len(book):
            assert book.due(book.next_try())


def test_a_device_that_comes_from_where_it_was_never_measured_is_called_there_first():
    book = AddressBook(4)
    book.measured("old:1", 0.001)
    book.heard("new:1")
    assert ranked(book) == ["old:1", "new:1"]
    book.answered("new:1")
    assert ranked(book) == ["new:1", "old:1"]


def test_a_link_to_a_measured_address_says_nothing_against_the_others():
    book = AddressBook(4)
    book.measured("slow:1", 0.010)
    book.measured("fast:1", 0.001)
    book.answered("slow:1")
    assert ranked(book) == ["fast:1", "slow:1"]


def test_an_address_that_names_an_interface_is_nobody_elses():
    """Heard first-hand it is where a device is; told by others, or by the device itself, it is one of theirs."""
    book = AddressBook(4)
    assert not book.told("[fe80::1%eth0]:8080") and book.told("[fd00::1]:8080")
    assert book.heard("[fe80::1%eth0]:8080") and book.due(0.0)[0] == "[fe80::1%eth0]:8080"
