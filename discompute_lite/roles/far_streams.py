"""Be to a script what a node's streams are, though the node that carries its calls is another process.

Knows:   every call without an outcome, with all that it takes to make it again; who carries them just now.
Refuses: to look for a node or to start one (beside.py does); to decide where a call runs (the node does).
Read next: roles/script_calls.py (the other end), roles/streams.py (whose shape this has), beside.py.

Whoever carries the calls may go away: the node was stopped, killed, started anew. Then whatever has no outcome waits
for the next one: the node when it is there again, or one of the script's own. No call is lost by that and each has one
outcome, but one that was under way is made again.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, Iterable, List, Optional, Protocol, Set

from ..model.codec import from_json
from ..model.errors import DiscomputeError, LinkError
from ..tasks.raw_pieces import join_texts
from ..tasks.types import separate_data
from .call_units import UnitOutcome
from .ports import Later, LinkPort

#: Units, and bytes of their data, that travel in one message.
SENT_UNITS, SENT_BYTES = 1024, 4 * 1024 * 1024
#: Lines together of such a size stand in the message itself.
SHORT_BYTES = 4096


def lines_to_send(lines: List[bytes], name: str = "lines") -> Dict[str, Any]:
    """Return the parameter for some lines: as bytes they are an attachment; short ones are told in the message."""
    joined = join_texts(lines)
    is_text = len(joined) <= SHORT_BYTES and joined.isascii()
    return {"text": joined.decode("ascii")} if is_text else {name: joined}


class FarUnit:
    """Hold one call, or some that belong together, until it has its outcome."""

    __slots__ = ("data", "calls", "done", "number", "chunk", "is_over", "carried")

    def __init__(self, data: bytes, calls: int, done: Callable[[FarUnit, UnitOutcome], None]) -> None:
        """`done(unit, outcome)` comes once, on the loop's thread, unless the unit is cancelled."""
        self.data = data
        self.calls = calls
        self.done = done
        #: Its number in its stream, once it was added.
        self.number = 0
        #: True while it is on a device, None while it is not, as far as was told.
        self.chunk: Optional[bool] = None
        self.is_over = False
        #: What stands for it at who carries it.
        self.carried: Any = None


class FarStream:
    """Hold one stream of a script's calls."""

    unit = FarUnit

    def __init__(self, streams: FarStreams, number: int, line: bytes, named: Dict[str, Any]) -> None:
        self.number = number
        #: What it takes to open it again.
        self.line, self.named = line, named
        self._streams = streams
        #: number -> unit: exactly those that were added and are not over, in the order in which they came.
        self.units: Dict[int, FarUnit] = {}
        self._added = 0
        #: What stands for it at who carries it.
        self.carried: Any = None
        self.is_sealed = False
        #: Seconds that a call takes on a device of score 1, 0.0 while nobody knows.
        self.work_s = 0.0
        #: Why nothing of it can be done any more.
        self.ended: Optional[UnitOutcome] = None

    def add(self, units: Iterable[FarUnit]) -> None:
        """Have these run."""
        added = []
        for unit in units:
            # One may have been cancelled on its way here.
            if not unit.is_over:
                self._added += 1
                unit.number = self._added
                self.units[unit.number] = unit
                added.append(unit)
        if self.ended is not None:
            self.end(self.ended)
        elif added and self._streams.carrier is not None:
            self._streams.carrier.add(self, added)

    def cancel(self, unit: FarUnit) -> bool:
        """Do without a unit, return whether it was still wanted."""
        if unit.is_over:
            return False
        unit.is_over = True
        if self.units.pop(unit.number, None) is not None and self._streams.carrier is not None:
            self._streams.carrier.cancel(self, unit)
        self.forget_if_over()
        return True

    def cancel_waiting(self) -> Optional[Later]:
        """Do without all that no device has yet; where that takes a moment, return what tells when it is done."""
        if self._streams.carrier is not None:
            return self._streams.carrier.cancel_waiting(self)
        for number in list(self.units):
            self.settle(number, UnitOutcome(error="it was cancelled", blame="cancelled"))
        return None

    def seal(self) -> None:
        """Nothing will be added any more."""
        self.is_sealed = True
        if self._streams.carrier is not None:
            self._streams.carrier.seal(self)
        self.forget_if_over()

    # ---- what carriers tell -----------------------------------------------------------------------

    def settle(self, number: int, outcome: UnitOutcome) -> None:
        """A unit has its outcome, unless it was cancelled."""
        unit = self.units.pop(number, None)
        if unit is not None:
            unit.is_over, unit.data, unit.chunk, unit.carried = True, b"", None, None
            unit.done(unit, outcome)
            self.forget_if_over()

    def end(self, outcome: UnitOutcome) -> None:
        """Nothing of it can be done: this is the outcome of all that has none, now and later."""
        self.ended = outcome
        for number in list(self.units):
            self.settle(number, outcome)

    def forget_if_over(self) -> None:
        """Let go of a stream to which nothing comes any more."""
        if self.is_sealed and not self.units:
            self._streams.forget(self)


class Carrier(Protocol):
    """Carry calls to devices, and tell their streams what comes of them."""

    def open(self, stream: FarStream) -> None:
        """Begin a stream; what it holds is added next."""

    def add(self, stream: FarStream, units: List[FarUnit]) -> None:
        """Have units run."""

    def cancel(self, stream: FarStream, unit: FarUnit) -> None:
        """Do without a unit."""

    def cancel_waiting(self, stream: FarStream) -> Optional[Later]:
        """Do without all that no device has; return what tells when that is done, None where it is."""

    def seal(self, stream: FarStream) -> None:
        """Nothing more is added."""

    def total_slots(self) -> int:
        """Return the slots of all devices that may be given work."""


class FarStreams:
    """Hold the streams of one script; all methods belong to the loop's thread."""

    def __init__(self) -> None:
        #: None while nobody carries them.
        self.carrier: Optional[Carrier] = None
        #: number -> stream: those that may still be given something, or have something under way.
        self.streams: Dict[int, FarStream] = {}
        self._opened = 0
        self._slots = 0
        #: Outcomes that have come, by which one sees that whoever carries does so.
        self.outcomes = 0
        self._ended: Optional[UnitOutcome] = None

    def open(self, line: bytes, **named: Any) -> FarStream:
        """Begin a stream of calls of the function that `line` holds; `named` are `StreamOptions`."""
        self._opened += 1
        stream = self.streams[self._opened] = FarStream(self, self._opened, line, named)
        stream.ended = self._ended
        if self.carrier is not None:
            self.carrier.open(stream)
        return stream

    def total_slots(self) -> int:
        """Return the slots of all devices that may be given work, as was told last."""
        if self.carrier is not None:
            self._slots = self.carrier.total_slots()
        return self._slots

    # ---- who carries ------------------------------------------------------------------------------

    def carry_by(self, carrier: Carrier) -> None:
        """Let somebody carry the calls from now on: all that has no outcome begins anew."""
        self.carrier = carrier
        for stream in list(self.streams.values()):
            if stream.ended is not None:
                continue
            carrier.open(stream)
            units = list(stream.units.values())
            for unit in units:
                unit.chunk = unit.carried = None
            if units:
                carrier.add(stream, units)
            if stream.is_sealed:
                carrier.seal(stream)

    def put_down(self) -> None:
        """Nobody carries the calls: they wait for the next one."""
        self.carrier = None
        for stream in self.streams.values():
            for unit in stream.units.values():
                unit.chunk = None

    def give_up(self, reason: str) -> None:
        """Nobody will carry any calls: all of them have that for an outcome, those that come later too."""
        self.carrier, self._ended = None, UnitOutcome(error=reason, blame="stopped")
        for stream in list(self.streams.values()):
            stream.end(self._ended)

    def forget(self, stream: FarStream) -> None:
        """A stream is over."""
        self.streams.pop(stream.number, None)


class LinkCarrier:
    """Carry calls by the connection to the node that runs on this machine."""

    def __init__(self, link: LinkPort, streams: FarStreams, slots: int) -> None:
        self._link = link
        self._streams = streams
        self.slots = slots
        #: Devices whose pickles may be read, as the node says.
        self.trusted: Set[str] = set()

    def open(self, stream: FarStream) -> None:
        """Begin a stream at the node; where it refuses, all calls of the stream fail with its reason."""

        def answered(result: Any, error: Optional[DiscomputeError]) -> None:
            # Where the connection is gone somebody else carries them.
            if error is not None and not isinstance(error, LinkError):
                stream.end(UnitOutcome(error=error.message, blame="task"))

        named = {**stream.named, "requires": list(stream.named.get("requires", ()))}
        self._link.call("OpenCalls", {"stream": stream.number, "line": stream.line, **named}, answered)

    def add(self, stream: FarStream, units: List[FarUnit]) -> None:
        """Send units, in messages of some size."""
        first = size = 0
        for index, unit in enumerate(units):
            if index > first and (size + len(unit.data) > SENT_BYTES or index - first >= SENT_UNITS):
                self._send(stream, units[first:index])
                first, size = index, 0
            size += len(unit.data)
        self._send(stream, units[first:])

    def cancel(self, stream: FarStream, unit: FarUnit) -> None:
        """Do without a unit."""
        self._link.notify("CancelCalls", {"stream": stream.number, "numbers": [unit.number]})

    def cancel_waiting(self, stream: FarStream) -> Optional[Later]:
        """Do without all that no device has; the node says first which these were, and then that it is done."""
        later = Later()
        self._link.call("CancelCalls", {"stream": stream.number, "waiting": True},
                        lambda result, error: later.resolve(None))
        return later

    def seal(self, stream: FarStream) -> None:
        """Nothing more is added."""
        self._link.notify("CloseCalls", {"stream": stream.number})

    def total_slots(self) -> int:
        """Return the slots that the node told last."""
        return self.slots

    def told(self, method: str, params: Any) -> None:
        """Take what the node tells; raise LookupError, TypeError, ValueError or InvalidParams for what is none."""
        stream = self._streams.streams.get(params["stream"])
        if stream is None:
            return
        if method == "CallsBegan":
            for number, is_begun in params["units"]:
                unit = stream.units.get(number)
                if unit is not None:
                    unit.chunk = True if is_begun else None
            return
        self.slots = int(params.get("slots", self.slots))
        stream.work_s = float(params.get("work_s", stream.work_s))
        devices = params.get("devices", [])
        for device_id, is_trusted in devices:
            (self.trusted.add if is_trusted else self.trusted.discard)(device_id)
        text = params.get("text", "")
        lines = separate_data(text.encode("utf-8") if text else from_json(bytes, params.get("lines", b""), "lines"))
        numbers, attempts, at = params.get("numbers", []), params.get("attempts", []), params.get("at", [])
        if not len(lines) == len(numbers) == len(attempts) == len(at):
            raise ValueError("outcomes, their numbers and their devices are as many")
        self._streams.outcomes += 1
        for number, line, tries, place in zip(numbers, lines, attempts, at):
            stream.settle(number, UnitOutcome(line, "", "", devices[place][0], tries))
        for number, error, blame, device_id, tries in params.get("failed", []):
            stream.settle(number, UnitOutcome(b"", error, blame, device_id, tries))

    def _send(self, stream: FarStream, units: List[FarUnit]) -> None:
        params = {
            "stream": stream.number, "numbers": [unit.number for unit in units],
            "counts": [unit.calls for unit in units], **lines_to_send([unit.data for unit in units], "units"),
        }
        try:
            self._link.notify("MakeCalls", params)
        except DiscomputeError as error:
            # One unit that is larger than a message may be.
            for unit in units:
                stream.settle(unit.number, UnitOutcome(error=f"its arguments cannot be sent: {error.message}",
                                                       blame="task"))


class OwnCarrier:
    """Carry calls by the streams of a node of the script's own."""

    def __init__(self, streams: Any) -> None:
        """`streams` are the node's, of the same thread."""
        self._streams = streams

    def open(self, stream: FarStream) -> None:
        """Begin a stream there."""
        stream.carried = self._streams.open(stream.line, **stream.named)

    def add(self, stream: FarStream, units: List[FarUnit]) -> None:
        """Have units run."""
        carried = stream.carried

        def came(_unit: Any, outcome: UnitOutcome, number: int) -> None:
            stream.work_s = carried.work_s
            stream.settle(number, outcome)

        for unit in units:
            unit.carried = carried.unit(
                unit.data, unit.calls, lambda own, outcome, number=unit.number: came(own, outcome, number))
        carried.add([unit.carried for unit in units])

    def cancel(self, stream: FarStream, unit: FarUnit) -> None:
        """Do without a unit."""
        stream.carried.cancel(unit.carried)

    def cancel_waiting(self, stream: FarStream) -> Optional[Later]:
        """Do without all that no device has."""
        stream.carried.cancel_waiting()
        return None

    def seal(self, stream: FarStream) -> None:
        """Nothing more is added."""
        stream.carried.seal()

    def total_slots(self) -> int:
        """Return the slots of all devices that may be given work."""
        return int(self._streams.total_slots())
