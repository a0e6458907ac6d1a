"""The books of blobs: nobody waits in a circle, and bounds hold."""

from hypothesis import given
from hypothesis import strategies as st

from discompute_lite.core.blobs import FANOUT, BlobShelf, BlobTakers


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
