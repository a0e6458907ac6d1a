"""Run a `map`: draw items as they are wanted, send them in units of a sensible size, give the results back in order.

Knows:   the items drawn and not yet returned, and how many may be.
Refuses: to draw a million items because somebody has them: what is not near is left in its iterator.
Read next: faces/api.py (who calls), faces/dispatch.py (where units go).
"""

from __future__ import annotations

import concurrent.futures
import sys
import threading
import time
from itertools import chain, islice
from reprlib import Repr
from typing import Any, Callable, Dict, Generator, Iterator, List, NamedTuple, Optional, Sequence, Tuple, Union

from ..model.errors import TaskRejected
from ..tasks.calls import CallOutcome, items_unit, rows_unit
from .futures import CallEnded

#: Seconds of work in one unit, of which a device gets several at a time.
UNIT_S = 0.05
#: Seconds of work for each slot that are drawn ahead of whoever takes the results.
AHEAD_S = 3.0
#: Items in one unit, and items drawn ahead, at most; a `chunksize` of the caller's own may be more. The way of a unit
#: there and back takes most of a millisecond of processor time here, as much as some thousand trivial calls.
UNIT_ITEMS, AHEAD_ITEMS = 25_000, 200_000
#: Seconds that drawing pauses once there is a unit of many items for every slot. The interpreter takes a thread that
#: computes off the processor only after 5 ms: so long the node's thread would not get round to sending them.
HAND_OVER_S = 0.0003
#: Units for each slot while nobody knows how long an item takes, and always at least.
AHEAD_UNITS = 4
#: Seconds after which items that are slow to come hold up nothing else: neither those drawn before them, which are sent
#: as a unit, nor a result that is there. And so many are drawn between two looks at the clock.
DRAW_S, DRAW_ITEMS = 0.05, 64
#: A unit that was ended by one of its calls is tried again in so many parts, and these again, until that one is alone.
PARTS = 8
#: An item whose unit is longer, in bytes, is not kept to be named in a message.
NAMED_BYTES = 65536


class MapWishes(NamedTuple):
    """Say how the results of a map are wanted; see `Cluster.map`."""

    timeout: Optional[float] = None
    chunksize: Optional[int] = None
    ordered: bool = True
    #: So many items may have been drawn and their results not taken; None for as many as suit the devices.
    buffersize: Optional[int] = None
    progress: bool = False
    #: Shows what calls printed; None for standard output.
    show: Optional[Callable[[str], Any]] = None


def unit_of_rows(rows: Sequence[Any], is_single: bool) -> bytes:
    """Return the unit of a call for each row, or for each item where `is_single`."""
    return items_unit(rows) if is_single else rows_unit(rows)


class MapPorts(NamedTuple):
    """Say how a map reaches the devices."""

    #: send(data, calls, done) -> what carries it; `done(came, error)` comes once, from another thread: what came back,
    #: for `read`, or why nothing did. Raises RuntimeError where nothing is taken any more.
    send: Callable[[bytes, int, Callable[..., None]], Any]
    #: Does without what carries a unit.
    cancel: Callable[[Any], None]
    #: read(came, calls)
    read: Callable[[Any, int], CallOutcome]
    slots: Callable[[], int]
    #: Seconds that a call takes, 0.0 while nobody knows.
    work_s: Callable[[], float]
    #: Shows what the calls of a unit printed.
    show: Callable[[str], Any]
    #: unit(rows, is_single); raises `TaskRejected` for what cannot travel.
    unit: Callable[[Sequence[Any], bool], bytes] = unit_of_rows
    #: Monotonic seconds.
    now: Callable[[], float] = time.monotonic
    #: What people call the function.
    name: str = "the function"


class UnitRows(NamedTuple):
    """Hold the rows of a unit on its way: they may have to be sent again."""

    #: The number of the first, and how many there are.
    first: int
    size: int
    #: None are kept of a unit of one that is large.
    rows: Sequence[Any]


class Appetite(NamedTuple):
    """Say how much of the items suits the devices."""

    #: Items in a unit, and items drawn whose results have not been taken, all together.
    unit: int
    ahead: int


class MapRun:
    """Iterate over the results of one `map`; one thread at a time."""

    def __init__(
        self, rows: Union[Iterator[Any], range], is_single: bool, ports: MapPorts, wishes: MapWishes,
        deadline: Optional[float], first: int = 0,
    ) -> None:
        """`is_single`: each row is the one argument, and only then may they be a range.

        `deadline` is by `ports.now`, in place of `wishes.timeout`; `first` is the first row's number for people.
        """
        self._rows = rows
        self._is_single = is_single
        self._ports = ports
        self._is_ordered = wishes.ordered
        self._chunksize = wishes.chunksize
        self._buffersize = wishes.buffersize
        self._deadline = deadline
        self._changed = threading.Condition()
        #: Number of the next unit to be sent, and of the next to be returned where order matters.
        self._sent = self._returned = 0
        #: unit number -> what carries it: exactly those without an outcome. And (came, error) of those with one.
        self._under_way: Dict[int, Any] = {}
        self._arrived: Dict[int, Any] = {}
        #: unit number -> its rows, of units sent whose results have not been taken; and how many these are.
        self._out: Dict[int, UnitRows] = {}
        self._items_out = 0
        #: The number of the next row.
        self._drawn = first
        #: Seconds that the items took to come.
        self._drawing_s = 0.0
        self._is_drained = False
        #: Why nothing more could be drawn or sent: raised when all that was sent has been returned.
        self._last: Optional[BaseException] = None

    def begin(self) -> None:
        """Send the first units, raise at once what keeps the very first item from being sent.

        What is known now says how many, and not how soon the first of them are done: nobody has asked for more.
        """
        appetite, slots = self._appetite(), self._ports.slots()
        self._send_units(lambda: appetite, lambda: self._sent >= slots)
        if self._last is not None and not self._sent:
            raise self._last

    def feed(self) -> None:
        """Send units until enough is under way, or until drawing them would hold up a result that is there."""
        self._send_units(self._appetite, self._is_next_here)

    def _send_units(self, appetite: Callable[[], Appetite], may_pause: Callable[[], bool]) -> None:
        pause_at = self._drawing_s + DRAW_S
        while not self._is_drained:
            most, ahead = appetite()
            room = ahead - self._items_out
            if room <= 0 or (self._drawing_s >= pause_at and may_pause()):
                return
            rows, data = self._next_data(most if self._buffersize is None else min(most, room))
            count = len(rows)
            if not count:
                return
            number = self._sent
            try:
                carried = self._ports.send(
                    data, count, lambda came, error, number=number: self._came(number, came, error))
            except RuntimeError as problem:
                # Shut down meanwhile: what is under way still comes.
                self._end_with(problem)
                return
            self._sent += 1
            self._items_out += count
            is_kept = count > 1 or len(data) <= NAMED_BYTES
            self._out[number] = UnitRows(self._drawn - count, count, rows if is_kept else ())
            with self._changed:
                if number not in self._arrived:
                    self._under_way[number] = carried
                if self._sent == self._ports.slots() and count > 1 and type(self._rows) is not range:
                    self._changed.wait(HAND_OVER_S)

    def results(self) -> MapResults:
        """Return the results, raise what a call raised when its turn comes; what is not taken is cancelled."""
        return MapResults(self._batches())

    def _batches(self) -> Generator[List[Any], None, None]:
        try:
            while True:
                self.feed()
                if not self._out:
                    if self._last is not None:
                        raise self._last
                    return
                outcome = self._next_outcome()
                if isinstance(outcome, MapRun):
                    yield from outcome._batches()
                    continue
                if outcome.printed:
                    self._ports.show(outcome.printed)
                yield outcome.values
                if outcome.raised is not None:
                    raise outcome.raised
        finally:
            self.close()

    def close(self) -> None:
        """Do without what has not been returned."""
        self._is_drained = True
        self._rows, self._last = iter(()), None
        with self._changed:
            carried, self._under_way = list(self._under_way.values()), {}
            self._arrived.clear()
        self._out.clear()
        for each in carried:
            self._ports.cancel(each)

    # ---- drawing --------------------------------------------------------------------------------------

    def _next_data(self, most: int) -> Tuple[Sequence[Any], bytes]:
        """Return the next rows, up to `most`, and their unit; none when there are no more."""
        rows: Any = []
        if type(self._rows) is range:
            # Drawn where its items are used: here it would be made into items, and these into text.
            rows, self._rows = self._rows[:most], self._rows[most:]
            self._is_drained = not self._rows
        else:
            try:
                self._draw(rows, most)
            except Exception as problem:
                # The iterator's own. What came before it is worth having.
                self._end_with(problem)
        self._drawn += len(rows)
        try:
            return rows, self._unit_of(rows)
        except Exception as problem:
            fitting = self._rows_that_travel(rows, problem)
            self._drawn -= len(rows) - len(fitting)
            return fitting, self._unit_of(fitting)

    def _draw(self, rows: List[Any], most: int) -> None:
        """Add items to `rows`: `most`, or fewer where they are slow to come or there are no more."""
        begun = self._ports.now()
        took_s = 0.0
        while len(rows) < most and (took_s < DRAW_S or self._chunksize is not None):
            wanted = min(most, len(rows) + min(len(rows) + 1, DRAW_ITEMS))
            rows.extend(islice(self._rows, wanted - len(rows)))
            took_s = self._ports.now() - begun
            if len(rows) < wanted:
                self._is_drained = True
                break
        self._drawing_s += took_s

    def _unit_of(self, rows: Sequence[Any]) -> bytes:
        return self._ports.unit(rows, self._is_single)

    def _rows_that_travel(self, rows: Sequence[Any], problem: Exception) -> Sequence[Any]:
        """Return the rows before the first that cannot travel; `problem` is about all of them together."""
        for index, row in enumerate(rows):
            try:
                self._unit_of([row])
            except Exception as culprit:
                problem = culprit
                if isinstance(culprit, TaskRejected):
                    # Of a unit's only item; whoever reads it has to find it among all.
                    number = self._drawn - len(rows) + index
                    problem = TaskRejected(culprit.message.replace("items[0]", f"items[{number}]", 1))
                rows = rows[:index]
                break
        else:
            rows = []
        self._end_with(problem)
        return rows

    def _end_with(self, problem: BaseException) -> None:
        self._is_drained = True
        self._last = self._last or problem

    def _unit_items(self) -> int:
        if self._chunksize is not None:
            return self._chunksize
        work_s = self._ports.work_s()
        most = min(UNIT_ITEMS, AHEAD_ITEMS // (AHEAD_UNITS * max(1, self._ports.slots())))
        return max(1, min(most, int(UNIT_S / work_s))) if work_s else 1

    def _appetite(self) -> Appetite:
        slots, unit = max(1, self._ports.slots()), self._unit_items()
        if self._buffersize is not None:
            return Appetite(unit, self._buffersize)
        work_s = self._ports.work_s()
        by_time = int(AHEAD_S * slots / work_s) if work_s else 0
        return Appetite(unit, max(AHEAD_UNITS * slots * unit, min(AHEAD_ITEMS, by_time)))

    # ---- taking ---------------------------------------------------------------------------------------

    def _next_outcome(self) -> Union[CallOutcome, MapRun]:
        """Wait for the next unit, return what came of it: where one of its calls ended it, the same again in parts."""
        number, (came, error) = self._next_arrived()
        self._returned = number + 1
        unit = self._out.pop(number)
        self._items_out -= unit.size
        if error is None:
            return self._ports.read(came, unit.size)
        if isinstance(error, CallEnded):
            if unit.size > 1:
                wishes = MapWishes(chunksize=-(-unit.size // PARTS), ordered=self._is_ordered)
                parts = MapRun(iter(unit.rows), self._is_single, self._ports, wishes, self._deadline, unit.first)
                parts.begin()
                return parts
            error = error.named(self._call_of(unit))
        return CallOutcome([], error, "")

    def _call_of(self, unit: UnitRows) -> str:
        """Return what people know the call of a single row by."""
        row = unit.rows[0] if unit.rows else ...
        words = _short_text(row) if self._is_single or row is ... else ", ".join(map(_short_text, row))
        return f"{self._ports.name}({words}), item {unit.first} of its map,"

    def _next_arrived(self) -> Tuple[int, Any]:
        """Return the number and (came, error) of the next unit; raise TimeoutError when it is not there in time."""
        while True:
            with self._changed:
                number = self._returned if self._is_ordered else next(iter(self._arrived), -1)
                if number in self._arrived:
                    return number, self._arrived.pop(number)
                left_s = None if self._deadline is None else self._deadline - self._ports.now()
                is_late = left_s is not None and left_s <= 0
                if not is_late:
                    self._changed.wait(left_s)
            if is_late:
                self.close()
                # Before Python 3.11 the standard library has one of its own.
                raise concurrent.futures.TimeoutError("not every result of this map is there within its timeout")
            # By now it may be known how short the calls are: while one takes long, others shall not lie idle.
            self.feed()

    def _is_next_here(self) -> bool:
        with self._changed:
            return self._returned in self._arrived if self._is_ordered else bool(self._arrived)

    def _came(self, number: int, came: Any, error: Optional[BaseException]) -> None:
        with self._changed:
            self._under_way.pop(number, None)
            self._arrived[number] = (came, error)
            self._changed.notify()


class MapResults:
    """Iterate over results that come in batches; nothing in Python is done for each, since there may be many."""

    def __init__(self, batches: Generator[List[Any], None, None]) -> None:
        self._batches = batches
        self._values: Iterator[Any] = chain.from_iterable(batches)

    def __iter__(self) -> Iterator[Any]:
        return self._values

    def __next__(self) -> Any:
        return next(self._values)

    def close(self) -> None:
        """Do without what has not been taken."""
        self._batches.close()
        self._values = iter(())


def _short_text(value: Any) -> str:
    """Return a value as people would write it, cut short; whatever its own text does."""
    if value is ...:
        return "..."
    try:
        return _SHORT.repr(value)
    except Exception:
        # A person's code.
        return type(value).__name__


_SHORT = Repr()
_SHORT.maxstring = _SHORT.maxother = 60


def write_out(text: str) -> None:
    """Write to standard output as it is now."""
    sys.stdout.write(text)
