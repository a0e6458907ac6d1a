"""Map what trickles in: results of what is there go out while more is being waited for.

Knows:   that an ordinary `map` waits for its next item with results in its hands.
Refuses: to read ahead of the work without end: a few pieces of the file are kept, the rest stays where it is.
Read next: faces/items.py (lines), faces/map_command.py (who asks), faces/mapping.py (one map).

A thread reads. A second one begins a map with the first item that is there; the map draws items as it wants them, and
ends where none is there just now. Then the next item begins another, while the first is still at work. The results of
all of them follow each other in order. A file gives one map; somebody who types gives one for each line.
"""

from __future__ import annotations

import threading
from collections import deque
from queue import Empty, Full, Queue
from typing import Any, Callable, Deque, Iterable, Iterator, Optional

from .items import ItemReader

#: One read of the file, and so many that are kept ahead of the maps.
PIECE_BYTES, PIECES_AHEAD = 65536, 16
#: Seconds without an item after which a map is over.
PAUSE_S = 0.01
#: Maps that wait to give their results: beyond so many no more items are taken.
MAPS_AHEAD = 256
#: Seconds between two looks at whether the results are still wanted.
WANTED_EVERY_S = 0.5


class Trickle:
    """Give the results of `begin_map(items)` for the items of a file, in order; an iterator."""

    def __init__(self, read: Callable[[int], bytes], reader: ItemReader,
                 begin_map: Callable[[Iterable[Any]], Iterator[Any]]) -> None:
        """`read(count)` returns what is there, at most so many bytes, after waiting for the first; b"" at the end."""
        self._read = read
        self._reader = reader
        self._begin_map = begin_map
        self._pieces: Queue[Any] = Queue(PIECES_AHEAD)
        self._changed = threading.Condition()
        #: Guarded by `_changed`: maps begun and not yet given out, and whether the last was begun.
        self._maps: Deque[Iterator[Any]] = deque()
        self._is_complete = False
        #: What ended the reading, raised after the results of what came before.
        self._problem: Optional[BaseException] = None
        #: Nobody wants more; and there is no more to be had.
        self._is_closed = self._is_at_end = False
        #: Told when a map draws no more.
        self._has_drawn = threading.Event()
        self._current: Optional[Iterator[Any]] = None
        #: Items of pieces that were read and not yet drawn: of one thread at a time, the one that draws.
        self._items: Iterator[Any] = iter(())
        # Daemons: whoever types has not pressed the end of file when the command is over.
        for work, name in ((self._be_reader, "read"), (self._be_starter, "map")):
            threading.Thread(target=work, name=f"discompute-{name}", daemon=True).start()

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        """Return the next result; raise what its call or the file raised."""
        while True:
            if self._current is None:
                self._current = self._next_map()
                if self._current is None:
                    if self._problem is not None:
                        problem, self._problem = self._problem, None
                        raise problem
                    raise StopIteration
            try:
                return next(self._current)
            except StopIteration:
                self._current = None

    def close(self) -> None:
        """Do without what has not been given out."""
        with self._changed:
            self._is_closed = True
            maps, self._maps = [*self._maps], deque()
            self._changed.notify_all()
        self._has_drawn.set()
        try:
            self._pieces.put_nowait(b"")  # Wakes who waits for a piece.
        except Full:
            pass  # Nobody waits.
        for each in [*([self._current] if self._current is not None else []), *maps]:
            each.close()  # type: ignore[attr-defined]

    def _next_map(self) -> Optional[Iterator[Any]]:
        with self._changed:
            self._changed.wait_for(lambda: self._maps or self._is_complete)
            begun = self._maps.popleft() if self._maps else None
            self._changed.notify_all()
            return begun

    # ---- the thread that reads ----------------------------------------------------------------------

    def _be_reader(self) -> None:
        try:
            piece: Any = b" "
            while piece and not self._is_closed:
                piece = self._read(PIECE_BYTES)
                self._put(piece)
        except (OSError, ValueError) as problem:
            self._put(problem)

    def _put(self, piece: Any) -> None:
        while not self._is_closed:
            try:
                self._pieces.put(piece, timeout=WANTED_EVERY_S)
                return
            except Full:
                pass

    # ---- the thread that begins maps ------------------------------------------------------------------

    def _be_starter(self) -> None:
        try:
            while not self._is_closed and self._wait_for_item():
                self._has_drawn.clear()
                begun = self._begin_map(self._draw())
                with self._changed:
                    self._maps.append(begun)
                    self._changed.notify_all()
                self._has_drawn.wait()
                with self._changed:
                    self._changed.wait_for(lambda: len(self._maps) < MAPS_AHEAD or self._is_closed)
        except BaseException as problem:
            # Of the file, or what the first item of a map raised: it is for whoever takes the results.
            self._problem = problem
        with self._changed:
            self._is_complete = True
            self._changed.notify_all()

    def _wait_for_item(self) -> bool:
        """Wait until there is an item; False when there will be none."""
        while True:
            for item in self._items:
                self._items = _with_first(item, self._items)
                return True
            if not self._take_piece(None):
                return False

    def _draw(self) -> Iterator[Any]:
        """Yield items as long as they come without a pause."""
        try:
            while True:
                yield from self._items
                if not self._take_piece(PAUSE_S):
                    return
        except BaseException:
            # What is wrong with an item comes in its turn, and nothing after it.
            self._is_at_end, self._items = True, iter(())
            raise
        finally:
            self._has_drawn.set()

    def _take_piece(self, wait_s: Optional[float]) -> bool:
        """Make the next piece's items ready; False where there is none within `wait_s`, or at the end."""
        while not (self._is_closed or self._is_at_end):
            try:
                piece = self._pieces.get(timeout=WANTED_EVERY_S if wait_s is None else wait_s)
            except Empty:
                if wait_s is not None:
                    return False
                continue
            if isinstance(piece, BaseException):
                raise piece
            if not piece:
                self._is_at_end = True
                self._items = self._reader.last()
                return True
            self._items = self._reader.items(piece)
            return True
        return False


def _with_first(item: Any, others: Iterator[Any]) -> Iterator[Any]:
    yield item
    yield from others
