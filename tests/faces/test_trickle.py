"""Items that come now and then: each is on its way at once, and the results keep their order."""

import itertools
import queue
import threading

import pytest

from discompute_lite.faces.items import ItemReader, WrongItem
from discompute_lite.faces.trickle import Trickle


@pytest.fixture(autouse=True)
def nothing_is_left():
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(10.0)
        assert not thread.is_alive()


class Typed:
    """What somebody types: a read waits for the next piece."""

    def __init__(self, *pieces):
        self.pieces = queue.SimpleQueue()
        for piece in pieces:
            self.pieces.put(piece)

    def read(self, count):
        return self.pieces.get()


def doubled(items):
    """Begin a map that draws two items at once, as a real one draws some ahead."""
    rows = iter(items)
    ahead = list(itertools.islice(rows, 2))

    def results():
        for item in itertools.chain(ahead, rows):
            yield item * 2

    return results()


def test_a_result_comes_while_the_next_item_is_not_there_yet():
    typed = Typed(b"1\n2\n3\n")
    results = Trickle(typed.read, ItemReader("it"), doubled)
    assert [next(results) for _ in range(3)] == [2, 4, 6]
    typed.pieces.put(b"4\n5")
    assert next(results) == 8
    typed.pieces.put(b"")
    assert list(results) == [10]
    results.close()


def test_many_pieces_make_one_row_in_order():
    pieces = [b"".join(b"%d\n" % number for number in range(start, start + 100)) for start in range(0, 5000, 100)]
    results = Trickle(Typed(*pieces, b"").read, ItemReader("it"), doubled)
    assert list(results) == [2 * number for number in range(5000)]
    results.close()


def test_what_is_wrong_with_an_item_comes_in_its_turn():
    results = Trickle(Typed(b"1\n2\n3\nx\n5\n", b"").read, ItemReader("it"), doubled)
    assert [next(results) for _ in range(3)] == [2, 4, 6]
    with pytest.raises(WrongItem, match="line 4"):
        next(results)
    assert list(results) == []
    results.close()


def test_a_file_that_cannot_be_read_and_a_map_that_cannot_begin_are_told():
    def broken(count):
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        next(Trickle(broken, ItemReader("it"), doubled))

    def refuse(items):
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        next(Trickle(Typed(b"1\n", b"").read, ItemReader("it"), refuse))


def test_nothing_is_read_when_nobody_wants_it():
    typed = Typed(*[b"1\n"] * 3)
    results = Trickle(typed.read, ItemReader("it"), doubled)
    assert next(results) == 2
    results.close()
    typed.pieces.put(b"")
    assert list(Trickle(Typed(b"").read, ItemReader("it"), doubled)) == []
