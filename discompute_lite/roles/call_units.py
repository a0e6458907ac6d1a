"""Hold the calls of a stream on their way: units, the chunks that they travel in, and what they come to.

Knows:   records; the rules by which they change are in roles/streams.py.
Refuses: to do anything.
Read next: roles/streams.py.
"""

from __future__ import annotations

from typing import Any, Callable, List, NamedTuple, Optional, Tuple


class StreamOptions(NamedTuple):
    """Say how the calls of a stream are to be run."""

    #: Names what is run: speeds are learnt for each name.
    function: str = ""
    priority: int = 5
    requires: Tuple[str, ...] = ()
    max_devices: int = 0
    #: Making a call twice does no harm.
    pure: bool = False
    #: Seconds after which a call is ended, each in a chunk of its own; 0 for the device's own limit.
    wall_s: float = 0.0


class CallUnit:
    """Hold one call, or some that belong together, until it has its outcome."""

    __slots__ = ("data", "calls", "done", "chunk", "waits", "is_over", "is_alone", "short_trips")

    def __init__(self, data: bytes, calls: int, done: Callable[[CallUnit, UnitOutcome], None]) -> None:
        """`done(unit, outcome)` comes once, on the loop's thread, unless the unit is cancelled."""
        self.data = data
        self.calls = calls
        self.done = done
        #: What carries it; None while it waits, before it is added and when it is over.
        self.chunk: Optional[CallChunk] = None
        #: It waits in its stream, and counts in `waiting_calls`.
        self.waits = False
        self.is_over = False
        #: Its chunk ended badly once: whose fault it was shows when it travels alone.
        self.is_alone = False
        #: How often it was sent the short way, to no end.
        self.short_trips = 0


class UnitOutcome(NamedTuple):
    """Say what a unit came to: `line` is its outcome (tasks/calls.py), or `error` says why there is none."""

    line: bytes = b""
    error: str = ""
    #: "task", "poison", "timeout", "limit", "cancelled" or "stopped" where there is an error; by the second to the
    #: fourth of these one call of the unit took all others along.
    blame: str = ""
    device_id: str = ""
    attempts: int = 0


def blamed_by(error_type: str, blame: str) -> str:
    """Return the blame of an outcome whose process was ended for what it did, or `blame`."""
    return {"TimedOut": "timeout", "OverLimit": "limit"}.get(error_type, blame)


class CallChunk:
    """Hold the units of one subtask, or the one unit that goes the short way."""

    __slots__ = ("index", "units", "calls", "attempts", "error_type", "work")

    def __init__(self, index: int, units: List[CallUnit], calls: int) -> None:
        self.index = index
        self.units = units
        self.calls = calls
        self.attempts = 0
        #: What its last attempt that failed was ended by: "TimedOut", "TaskRejected" and so on.
        self.error_type = ""
        #: What stops it, where it goes the short way.
        self.work: Any = None


class ShortPermit:
    """Let the threads of a script begin short calls of one function themselves, in a free and warm slot of its own."""

    __slots__ = ("until", "line", "owner", "options", "device_id", "took_s")

    def __init__(self, until: float, line: bytes, owner: str, options: StreamOptions, device_id: str) -> None:
        #: Until when, monotonic seconds.
        self.until = until
        #: What each request begins with, whose it is, and how it is to be run.
        self.line = line
        self.owner = owner
        self.options = options
        #: Where it runs: this device.
        self.device_id = device_id
        #: Seconds that calls took which ended well: for the stream to learn from; threads of the script append.
        self.took_s: List[float] = []

    def outcome(self, line: bytes) -> UnitOutcome:
        """Return the outcome of a call that ended well at once."""
        return UnitOutcome(line, "", "", self.device_id, 1)
