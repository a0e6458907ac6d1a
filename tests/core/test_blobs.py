"""The books of blobs: each byte is asked for until it is here, nobody waits in a circle, and bounds hold."""

from hypothesis import given
from hypothesis import strategies as st

from discompute_lite.core.blobs import FANOUT, RANGES_AHEAD, BlobFetch, BlobShelf, BlobTakers

CONTENT = bytes(range(256)) * 40


def cut(ask):
    return CONTENT[ask.offset:ask.offset + ask.size]


@given(st.integers(1, 500), st.integers(1, 60), st.lists(st.integers(0, 5), max_size=200))
def test_a_blob_is_complete_and_right_while_one_source_is_left(size, range_bytes, choices):
    fetch = BlobFetch(size, range_bytes, "abcd")
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
    fetch = BlobFetch(10, 3, ["a", "b"])
    first = fetch.next_asks()
    assert [tuple(ask) for ask in first] == [("a", 0, 3), ("a", 3, 3)] and RANGES_AHEAD == 2
    assert fetch.next_asks() == []
    # The second comes first: it is kept, and counts as long as it waits.
    assert fetch.arrived(first[1], cut(first[1])) == [] and fetch.next_asks() == []
    assert fetch.arrived(first[0], cut(first[0])) == [CONTENT[:3], CONTENT[3:6]]
    assert [ask.offset for ask in fetch.next_asks()] == [6, 9]


def test_a_source_that_vanishes_in_the_middle_is_replaced_and_nothing_is_asked_twice():
    fetch = BlobFetch(9, 3, ["a", "b"])
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
    fetch = BlobFetch(6, 3, ["a", "b"])
    first, _ = fetch.next_asks()
    assert fetch.arrived(first, b"long enough") == []
    assert {ask.source for ask in fetch.next_asks()} == {"b"}


def test_wrong_bytes_are_forgotten_with_whoever_gave_them():
    fetch = BlobFetch(6, 3, ["a", "b"])
    for ask in fetch.next_asks():
        fetch.arrived(ask, cut(ask))
    assert fetch.is_complete
    fetch.begin_anew()
    assert fetch.received == 0 and [tuple(ask) for ask in fetch.next_asks()] == [("b", 0, 3), ("b", 3, 3)]


def test_where_several_gave_bytes_the_owner_is_asked_once_more_and_alone():
    fetch = BlobFetch(6, 3, ["a", "b", "owner"])
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


@given(st.lists(st.tuples(st.sampled_from("abcdefghij"), st.booleans()), max_size=60))
def test_whoever_is_asked_was_there_before(steps):
    takers, order = BlobTakers("owner"), []
    for device, is_lost in steps:
        if is_lost:
            takers.lost(device)
            order = [each for each in order if each != device]
            continue
        if device not in order:
            order.append(device)
        sources = takers.sources_for(device)
        assert sources[-1] == "owner" or sources[0] == "owner"
        assert len(set(sources)) == len(sources) and device not in sources
        assert set(sources) - {"owner"} <= set(order[:order.index(device)])
    firsts = [takers.sources_for(device)[0] for device in order]
    assert all(firsts.count(source) <= FANOUT for source in firsts)


HASHES = st.sampled_from("abcdefgh")
STEPS = st.lists(st.one_of(
    st.tuples(st.just("place"), HASHES, st.integers(1, 40)), st.tuples(st.just("use"), HASHES, st.just(0)),
    st.tuples(st.just("own"), HASHES, st.integers(0, 2)), st.tuples(st.just("release"), HASHES, st.just(0)),
    st.tuples(st.just("disown"), HASHES, st.integers(0, 2)), st.tuples(st.just("leave"), HASHES, st.integers(0, 2)),
), max_size=80)


@given(STEPS)
def test_a_shelf_keeps_its_bounds_and_what_is_used(steps):
    shelf, uses = BlobShelf(100, 4), {}
    for what, sha256, number in steps:
        if what == "place" and sha256 not in shelf.blobs:
            going = shelf.place(sha256, number)
            if going is not None:
                uses[sha256] = 1
                assert not any(uses.pop(each, 0) for each in going)
        elif sha256 in shelf.blobs and what == "use":
            shelf.use(sha256)
            uses[sha256] += 1
        elif sha256 in shelf.blobs and what == "own":
            shelf.blobs[sha256].owners.add(str(number))
        elif uses.get(sha256) and what == "release":
            uses[sha256] -= 1
            shelf.release(sha256)
        elif what == "disown":
            shelf.disown(str(number), sha256)
        elif what == "leave":
            shelf.disown(str(number))
        shelf.check()
        assert all(shelf.blobs[each].uses == count for each, count in uses.items() if count)


def test_what_was_used_longest_ago_goes_first():
    shelf = BlobShelf(100, 10)
    for sha256 in "abc":
        shelf.place(sha256, 30)
        shelf.blobs[sha256].owners.add("x")
        shelf.release(sha256)
    shelf.use("a")
    shelf.release("a")
    assert shelf.place("d", 40) == ["b"]
    assert shelf.place("e", 90) is None and list(shelf.blobs) == ["c", "a", "d"]
