"""Keep what calls returned until their script is through, so that a script that runs again need not make them again.

Knows:   the calls of one run, each by what is called, with what, and its number among equal ones; what they returned.
Refuses: to keep what raised or failed: whoever runs the script again wants to see whether it works now. Plain calls
         never come here.
Read next: roles/streams.py (whose place this takes), core/journal.py (the entries), faces/api.py (`durable`).

A journal has two lines for a call: that it was begun, and what it returned. Nobody gets a result before both are on
the disk. The whole of it goes when the script has come to its end.
"""

from __future__ import annotations

import hashlib
import heapq
import json
from typing import Any, Callable, Dict, List, Tuple

from ..core.journal import CallBegun, CallKept, JournalWriter, read_journal
from ..tasks.calls import has_line_raised
from ..tasks.raw_pieces import parts_of_value
from .call_units import CallUnit, UnitOutcome
from .durability import keep_damaged
from .ports import JournalsPort

#: Bytes of what names a call.
CALL_BYTES = 16

OnOutcome = Callable[[CallUnit, UnitOutcome], None]


def text_of_function(line: bytes) -> bytes:
    """Return what a function's line says of what it does: not where in its file it stands, nor for which Pythons."""
    plain = json.loads(line)
    plan = plain.get("plan", {})
    texts = [text[-1] for text in plan.get("texts", ())]
    told = {**plan, "texts": texts, "python": 0, "name": plain.get("name")}
    return json.dumps(told, sort_keys=True).encode("ascii")


def text_of_unit(data: bytes) -> bytes:
    """Return a unit with its sets in an order of their own: as they come, it differs from process to process.

    Pieces of memory are named by what is in them then: their numbers go by that order too.
    """
    text, *pieces = parts_of_value(data)
    if b'set"' not in bytes(text):
        return data

    def ordered(plain: Dict[str, Any]) -> Dict[str, Any]:
        if plain.get("$t") == "raw":
            plain["v"] = hashlib.sha256(pieces[plain["v"]]).hexdigest()
        elif plain.get("$t") in ("set", "frozenset") and type(plain.get("v")) is list:
            plain["v"] = sorted(plain["v"], key=json.dumps)
        return plain

    return json.dumps(json.loads(bytes(text), object_hook=ordered)).encode("ascii")


class KeptCalls:
    """Be to one run what `Streams` is to calls that live as long as their script."""

    def __init__(
        self, streams: Any, port: JournalsPort, name: str, data: bytes, tell: Callable[[str, str], None]
    ) -> None:
        """`name` is the journal's, `data` what it holds, already read; what is good of it is taken up."""
        self._streams = streams
        self._port = port
        self._name = name
        self._tell = tell
        reading = read_journal(data)
        if reading.damage:
            keep_damaged(port, tell, name, data, reading, "the journal of kept calls")
        if reading.good_bytes < len(data):
            port.replace(name, data[:reading.good_bytes])
        self._writer = JournalWriter(reading.chain)
        #: (call, number) -> the outcome of an earlier life that nobody has asked for yet, and whose it is.
        self._results: Dict[Tuple[bytes, int], Tuple[bytes, str]] = {}
        begun = set()
        for entry in reading.entries:
            if isinstance(entry, CallKept):
                self._results[entry.call, entry.number] = entry.outcome, entry.device
            elif isinstance(entry, CallBegun):
                begun.add((entry.call, entry.number))
        #: Outcomes that were there, and calls that were under way when the run was cut off.
        self.found, self.interrupted = len(self._results), len(begun - self._results.keys())
        if begun:
            tell("note", f"results of the run before: {self.found}; calls that it was cut off in, to be made again:"
                         f" {self.interrupted}")
        #: call -> the number of its next equal one; and numbers that were given back, the smallest first.
        self._next: Dict[bytes, int] = {}
        self._free: Dict[bytes, List[int]] = {}
        self._told_problem = ""

    def open(self, line: bytes, **named: Any) -> KeptStream:
        """Begin a stream of calls of the function that `line` holds, as `Streams.open` does."""
        return KeptStream(self, self._streams.open(line, **named), hashlib.sha256(text_of_function(line)).digest())

    def total_slots(self) -> int:
        """Return the slots of all devices that may be given work."""
        return int(self._streams.total_slots())

    def end(self) -> None:
        """The script is through: nothing of its run is kept any more, and what follows is another run."""
        self._port.remove(self._name)
        self._writer = JournalWriter()
        self._results.clear()

    # ---- what its streams ask -----------------------------------------------------------------------

    def number(self, call: bytes) -> int:
        """Return the number of one call more among equal ones."""
        free = self._free.get(call)
        if free:
            return heapq.heappop(free)
        number = self._next.get(call, 0)
        self._next[call] = number + 1
        return number

    def give_back(self, call: bytes, number: int) -> None:
        """A call came to nothing: the next equal one takes its number."""
        heapq.heappush(self._free.setdefault(call, []), number)

    def take(self, call: bytes, number: int) -> Tuple[bytes, str]:
        """Return, once, the outcome that an earlier life has left of a call and its device, b"" where there is none."""
        return self._results.pop((call, number), (b"", ""))

    def begun(self, call: bytes, number: int) -> None:
        """Write down that a call is to be made."""
        self._port.append(self._name, self._writer.lines(CallBegun(call, number)))

    def returned(self, call: bytes, number: int, outcome: UnitOutcome, then: Callable[[], None]) -> None:
        """Write down what a call returned, and go on when that is on the disk."""
        self._port.append(self._name, self._writer.lines(CallKept(call, number, outcome.line, outcome.device_id)))

        def written(problem: str) -> None:
            if not problem:
                self._told_problem = ""
                then()
                return
            if problem != self._told_problem:
                self._told_problem = problem
                self._tell("warning", f"results of calls wait until they can be kept: {problem}")
            self._port.when_written(written)

        self._port.when_written(written)


class KeptStream:
    """Carry the calls of one function as `CallStream` does, but for those whose results are there."""

    #: What is kept has to be written down, on the loop's thread.
    permit = None

    def __init__(self, kept: KeptCalls, stream: Any, function: bytes) -> None:
        self._kept = kept
        self._stream = stream
        self._function = function
        #: unit -> (call, number): exactly those that were sent and have not been given out.
        self._under_way: Dict[CallUnit, Tuple[bytes, int]] = {}

    @property
    def work_s(self) -> float:
        """Return how long a call takes on a device of score 1, 0.0 while nobody knows."""
        return float(self._stream.work_s)

    def unit(self, data: bytes, calls: int, done: OnOutcome) -> CallUnit:
        """Make a unit to be added."""
        unit: CallUnit = self._stream.unit(data, calls, lambda unit, outcome: self._came(unit, outcome, done))
        return unit

    def add(self, units: List[CallUnit]) -> None:
        """Have these run, or give out what they returned in an earlier life."""
        missing = []
        for unit in units:
            if unit.is_over:
                continue
            call = hashlib.sha256(self._function + text_of_unit(unit.data)).digest()[:CALL_BYTES]
            number = self._kept.number(call)
            outcome, device_id = self._kept.take(call, number)
            if outcome:
                unit.is_over, unit.data = True, b""
                unit.done(unit, UnitOutcome(outcome, device_id=device_id))
            else:
                self._under_way[unit] = call, number
                self._kept.begun(call, number)
                missing.append(unit)
        self._stream.add(missing)

    def cancel(self, unit: CallUnit) -> bool:
        """Do without a unit, return whether it was still wanted."""
        known = self._under_way.pop(unit, None)
        if known is not None:
            self._kept.give_back(*known)
        return bool(self._stream.cancel(unit))

    def cancel_waiting(self) -> Any:
        """Do without all that no device has yet."""
        return self._stream.cancel_waiting()

    def seal(self) -> None:
        """Nothing will be added any more."""
        self._stream.seal()

    def _came(self, unit: CallUnit, outcome: UnitOutcome, done: OnOutcome) -> None:
        known = self._under_way.get(unit)
        if known is None:
            # It was there already.
            done(unit, outcome)
        elif outcome.error or has_line_raised(outcome.line):
            del self._under_way[unit]
            self._kept.give_back(*known)
            done(unit, outcome)
        else:
            self._kept.returned(*known, outcome, lambda: self._written(unit, outcome, done))

    def _written(self, unit: CallUnit, outcome: UnitOutcome, done: OnOutcome) -> None:
        # Whoever cancelled it meanwhile wants to hear no more of it.
        if self._under_way.pop(unit, None) is not None:
            done(unit, outcome)
