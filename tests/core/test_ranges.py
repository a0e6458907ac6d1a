"""Ranges: each byte is asked for until it is here, of one source after the other, and wrong ones begin anew."""

from hypothesis import given
from hypothesis import strategies as st

from discompute_lite.core.ranges import RANGES_AHEAD, SOURCES_KNOWN, RangeFetch

CONTENT = bytes(range(256)) * 40


def cut(ask):
    return CONTENT[ask.offset:ask.offset + ask.size]


@given(st.integers(1, 500), st.integers(1, 60), st.lists(st.integers(0, 5), max_size=200))
def test_a_thing_is_complete_and_right_while_one_source_is_left(size, range_bytes, choices):
    fetch = RangeFetch(size, range_bytes, "abcd")
    asked, received = [], b""
    for choice in [*choices, *[3] * 1000]:
        asked += fetch.next_asks()
        fetch.check()
        if fetch.is_complete:
            break
        if choice == 0 and len(fetch._sources) > 1:
            gone = fetch._sources[0]
            fetch.failed(gone)
            asked = [ask for ask in asked if ask.source != gone]
        elif asked:
            ask = asked.pop(-1 if choice == 1 else 0)
            received += b"".join(fetch.arrived(ask, cut(ask)))
        fetch.check()
    assert fetch.is_complete and received == CONTENT[:size]


def test_ranges_are_asked_of_one_source_and_few_at_once():
    fetch = RangeFetch(10, 3, ["a", "b"])
    first = fetch.next_asks()
    assert [tuple(ask) for ask in first] == [("a", 0, 3), ("a", 3, 3)] and RANGES_AHEAD == 2
    assert fetch.next_asks() == []
    # The second comes first: it is kept, and counts as long as it waits.
    assert fetch.arrived(first[1], cut(first[1])) == [] and fetch.next_asks() == []
    assert fetch.arrived(first[0], cut(first[0])) == [CONTENT[:3], CONTENT[3:6]]
    assert [ask.offset for ask in fetch.next_asks()] == [6, 9]


def test_a_source_that_vanishes_in_the_middle_is_replaced_and_nothing_is_asked_twice():
    fetch = RangeFetch(9, 3, ["a", "b"])
    first, second = fetch.next_asks()
    fetch.arrived(first, cut(first))
    fetch.failed("a")
    assert fetch.arrived(second, cut(second)) == []  # Too late: b is asked by now, or will be.
    assert [tuple(ask) for ask in fetch.next_asks()] == [("b", 3, 3), ("b", 6, 3)]
    fetch.failed("b")
    assert fetch.is_hopeless
    fetch.add_sources(["c"])
    assert not fetch.is_hopeless and fetch.next_asks()[0].source == "c"


def test_an_answer_of_another_length_counts_as_none():
    fetch = RangeFetch(6, 3, ["a", "b"])
    first, _ = fetch.next_asks()
    assert fetch.arrived(first, b"long enough") == []
    assert {ask.source for ask in fetch.next_asks()} == {"b"}


def test_wrong_bytes_are_forgotten_with_whoever_gave_them():
    fetch = RangeFetch(6, 3, ["a", "b"])
    for ask in fetch.next_asks():
        fetch.arrived(ask, cut(ask))
    assert fetch.is_complete
    fetch.begin_anew()
    assert fetch.received == 0 and [tuple(ask) for ask in fetch.next_asks()] == [("b", 0, 3), ("b", 3, 3)]


def test_where_several_gave_bytes_the_owner_is_asked_once_more_and_alone():
    fetch = RangeFetch(6, 3, ["a", "b", "owner"])
    first, _ = fetch.next_asks()
    fetch.arrived(first, cut(first))
    fetch.failed("a")
    (second,) = fetch.next_asks()
    fetch.failed("b")
    (second,) = fetch.next_asks()
    fetch.arrived(second, cut(second))
    assert fetch.is_complete and second.source == "owner"
    for is_hopeless in (False, True):
        fetch.begin_anew()
        assert fetch.is_hopeless == is_hopeless
        for ask in fetch.next_asks():
            assert ask.source == "owner"
            fetch.arrived(ask, cut(ask))


def test_what_was_asked_is_asked_anew_where_somebody_brought_bytes_meanwhile():
    fetch = RangeFetch(12, 3, ["a"])
    first, second = fetch.next_asks()
    fetch.arrived(second, cut(second))
    fetch.put(4)
    fetch.check()
    assert fetch.arrived(first, cut(first)) == []
    received = CONTENT[:4]
    while not fetch.is_complete:
        for ask in fetch.next_asks():
            received += b"".join(fetch.arrived(ask, cut(ask)))
    assert received == CONTENT[:12]


def test_of_more_sources_than_anybody_has_the_first_are_known():
    fetch = RangeFetch(3, 3, [f"device {number}" for number in range(10 * SOURCES_KNOWN)])
    for number in range(SOURCES_KNOWN):
        assert fetch.next_asks()[0].source == f"device {number}"
        fetch.failed(f"device {number}")
    assert fetch.is_hopeless


def test_whoever_was_asked_is_not_blamed_for_bytes_that_somebody_brought_before():
    fetch = RangeFetch(20, 10, ["owner"])
    fetch.put(10)
    (ask,) = fetch.next_asks()
    assert fetch.arrived(ask, bytes(10)) and fetch.is_complete
    fetch.begin_anew()
    assert not fetch.is_hopeless and [each.offset for each in fetch.next_asks()] == [0, 10]
    fetch.check()
