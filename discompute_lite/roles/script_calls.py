"""Make the calls of scripts that run beside this node, and bring each its outcomes over its own connection.

Knows:   which scripts there are, their streams and blobs, and what they have not been told yet.
Refuses: to choose devices or to know what calls are: streams like those of a script's own node do that.
Read next: roles/script_methods.py (what scripts ask), roles/far_streams.py (the other end), roles/streams.py.

A script shows the control token, as commands do: it is this node's owner. What it has under way lives as long as its
connection: when that ends, all of it is cancelled, down to the processes, what it had put is deleted, and devices
forget the trainings that it led.
"""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Set

from ..model.errors import DiscomputeError, InvalidParams, InvalidRequest, LocalProtocolError
from ..tasks.types import separate_data
from .call_units import CallChunk, CallUnit, UnitOutcome
from .far_streams import lines_to_send
from .offers import ELSEWHERE, DeviceOffer, all_offers
from .ports import LinkPort
from .script_methods import CallsToOpen, ServeScriptAnswer
from .script_trainings import ScriptTrainings

#: Outcomes are sent when so many wait, or so many bytes of them, or of errors, which are part of a line of JSON.
TOLD_UNITS, TOLD_BYTES, TOLD_TEXT_BYTES = 4096, 4 * 1024 * 1024, 256 * 1024
#: Seconds after which a script is told that a call runs, or waits again: most are over by then, and few ask.
BEGUN_TOLD_S = 0.001


#: Seconds for which the number of slots is taken to be the same while outcomes are told.
SLOTS_TOLD_EVERY_S = 0.1


class ScriptUnit(CallUnit):
    """Hold a unit of a script, whose stream is told when it begins to run."""

    __slots__ = ("number", "stream", "_chunk")

    def __init__(self, stream: ScriptStream, number: int, data: bytes, calls: int) -> None:
        self.stream = stream
        self.number = number
        self._chunk: Optional[CallChunk] = None
        super().__init__(data, calls, stream.came)

    @property  # type: ignore[override]
    def chunk(self) -> Optional[CallChunk]:
        """What carries it now."""
        return self._chunk

    @chunk.setter
    def chunk(self, chunk: Optional[CallChunk]) -> None:
        if chunk is not self._chunk:
            self._chunk = chunk
            self.stream.began(self)


class ScriptStream:
    """Hold one stream of a script: its units under way, and what the script is to be told next."""

    def __init__(self, script: Script, number: int) -> None:
        self.number = number
        self._script = script
        #: A `CallStream`, set before anything is added.
        self.stream: Any = None
        #: number -> unit: exactly those without an outcome.
        self.units: Dict[int, ScriptUnit] = {}
        #: Units that began, or went back to waiting, since that was last told; in order.
        self._begun: Dict[int, ScriptUnit] = {}
        self._is_closed = False
        self._begin_anew()

    def _forget_if_over(self) -> None:
        if self._is_closed and not self.units:
            self._script.streams.pop(self.number, None)

    def _begin_anew(self) -> None:
        self._numbers: List[int] = []
        self._lines: List[bytes] = []
        self._attempts: List[int] = []
        #: device id -> its place in what is told, and the place for each outcome.
        self._devices: Dict[str, int] = {}
        self._at: List[int] = []
        self._failed: List[List[Any]] = []
        self._bytes = self._text_bytes = 0

    # ---- what the script asks ---------------------------------------------------------------------

    def add(self, numbers: List[int], counts: List[int], lines: List[bytes]) -> None:
        """Have these units run; """
        if not len(numbers) == len(counts) == len(lines):
            raise InvalidParams("numbers, counts and the lines of units are as many; send them again")
        units = []
        for number, calls, line in zip(numbers, counts, lines):
            self.units[number] = unit = ScriptUnit(self, number, line, max(1, calls))
            units.append(unit)
        self.stream.add(units)

    def cancel(self, numbers: List[int]) -> None:
        """Do without some units; the script hears no more of them."""
        for number in numbers:
            unit = self.units.pop(number, None)
            if unit is not None:
                self.stream.cancel(unit)
        self._forget_if_over()

    def close(self) -> None:
        """Take nothing more, and be forgotten when everything has its outcome."""
        self._is_closed = True
        self.stream.seal()
        self._forget_if_over()

    # ---- what the stream tells --------------------------------------------------------------------

    def came(self, unit: CallUnit, outcome: UnitOutcome) -> None:
        """Take an outcome."""
        assert isinstance(unit, ScriptUnit)
        self.units.pop(unit.number, None)
        self._forget_if_over()
        if outcome.error:
            self._failed.append([unit.number, outcome.error, outcome.blame, outcome.device_id, outcome.attempts])
            self._text_bytes += len(outcome.error)
        else:
            self._numbers.append(unit.number)
            self._lines.append(outcome.line)
            self._attempts.append(outcome.attempts)
            self._at.append(self._devices.setdefault(outcome.device_id, len(self._devices)))
            self._bytes += len(outcome.line)
        is_much = self._bytes > TOLD_BYTES or self._text_bytes > TOLD_TEXT_BYTES
        # With nothing else under way nothing comes in this moment.
        is_all = not self.units or len(self._numbers) + len(self._failed) >= TOLD_UNITS
        self._script.has_news(self, is_much or is_all)

    def began(self, unit: ScriptUnit) -> None:
        """Take note that a unit is on a device, or waits again."""
        if not unit.is_over:
            self._begun[unit.number] = unit
            self._script.has_begun(self)

    # ---- what is told -----------------------------------------------------------------------------

    def tell(self) -> None:
        """Tell the script the outcomes that are there."""
        numbers, failed = self._numbers, self._failed
        if not numbers and not failed:
            return
        trusts = self._script.node.belonging.may_send_pickles
        params = {
            "stream": self.number, "numbers": numbers, "attempts": self._attempts, "at": self._at,
            "devices": [[each, trusts(each)] for each in self._devices], "failed": failed,
            "work_s": self.stream.work_s, "slots": self._script.slots_of_late(), **lines_to_send(self._lines),
        }
        size = self._bytes
        self._begin_anew()
        try:
            self._script.link.notify("CallsCame", params)
        except LocalProtocolError:
            # More than a message holds: of one unit, since no more are put together than a message holds.
            error = f"what it returned has {size} bytes, which is more than travels at once; return less, or write it"
            self._script.link.notify("CallsCame", {
                **params, "numbers": [], "lines": b"", "text": "", "attempts": [], "at": [],
                "failed": [*failed, *([number, error, "task", "", 1] for number in numbers)]})

    def tell_begun(self) -> None:
        """Tell the script which units began and are not over, and which wait again."""
        begun, self._begun = self._begun, {}
        changed = [[number, unit.chunk is not None] for number, unit in begun.items() if not unit.is_over]
        for first in range(0, len(changed), TOLD_UNITS):
            self._script.link.notify(
                "CallsBegan", {"stream": self.number, "units": changed[first:first + TOLD_UNITS]})


class Script:
    """Hold one script that runs beside this node."""

    def __init__(self, node: Any, link: LinkPort, number: int) -> None:
        self.node = node
        self.link = link
        #: Tells its work apart from that of other scripts: a process serves one of them only.
        self.mark = f"-{number}"
        #: This machine's own cores are left out.
        self.is_elsewhere = False
        self.streams: Dict[int, ScriptStream] = {}
        self.blobs: Set[str] = set()
        self.trainings = ScriptTrainings(node)
        #: Streams with outcomes, and with units that began, of which it has not been told.
        self._news: Dict[ScriptStream, None] = {}
        self._begun: Dict[ScriptStream, None] = {}
        self._is_over = False
        self._slots, self._slots_due = 0, 0.0

    def slots(self) -> int:
        """Return the slots of all devices that may be given its work."""
        own = self.node.worker.allowance().slots if self.is_elsewhere else 0
        return int(self.node.total_slots()) - int(own)

    def slots_of_late(self) -> int:
        """Return what `slots` did a moment ago: there may be many devices, and many outcomes a second."""
        now = self.node.clock.now()
        if now >= self._slots_due:
            self._slots, self._slots_due = self.slots(), now + SLOTS_TOLD_EVERY_S
        return self._slots

    def stream(self, number: int) -> ScriptStream:
        """Return a stream by its number; """
        stream = self.streams.get(number)
        if stream is None:
            raise InvalidParams("there is no such stream of calls on this connection; open it first")
        return stream

    def has_news(self, stream: ScriptStream, is_much: bool) -> None:
        """An outcome is there: it is told with all that come in this moment, or at once where it is much."""
        if self._is_over:
            return
        if is_much:
            self._news.pop(stream, None)
            stream.tell()
            return
        if not self._news:
            self.node.clock.post(self._tell)
        self._news[stream] = None

    def has_begun(self, stream: ScriptStream) -> None:
        """A unit of a stream began."""
        if not self._begun and not self._is_over:
            self.node.clock.call_later(BEGUN_TOLD_S, self._tell_begun)
        self._begun[stream] = None

    def end(self, reason: str) -> None:
        """Cancel all that it has under way, and delete what it has put, and what its trainings left anywhere."""
        self._is_over = True
        for stream in list(self.streams.values()):
            stream.stream.stop(reason)
        self.streams.clear()
        for sha256 in self.blobs:
            self.node.blobs.release_own(sha256)
        self.blobs.clear()
        self.trainings.end()

    def _tell(self) -> None:
        news, self._news = self._news, {}
        for stream in news:
            if not self._is_over:
                stream.tell()

    def _tell_begun(self) -> None:
        begun, self._begun = self._begun, {}
        for stream in begun:
            if not self._is_over:
                stream.tell_begun()


class ScriptCalls:
    """Hold the scripts that run beside one node."""

    def __init__(self, node: Any) -> None:
        self._node = node
        self._scripts: Dict[LinkPort, Script] = {}
        self._served = 0

    # ---- what methods ask -------------------------------------------------------------------------

    def serve(self, link: LinkPort, is_elsewhere: bool) -> ServeScriptAnswer:
        """Serve the script at the other end of a connection."""
        if not self._node.peer_of(link).can_be_called:
            raise InvalidRequest("outcomes of calls come over the caller's own connection: speak JSON lines, not HTTP")
        script = self._scripts.get(link)
        if script is None:
            self._served += 1
            script = self._scripts[link] = Script(self._node, link, self._served)
            script.is_elsewhere = is_elsewhere
            # A script never half-closes, and stays while it computes for itself.
            link.is_link = True
        return ServeScriptAnswer(script.slots())

    def script_of(self, link: LinkPort) -> Script:
        """Return the script at the other end of a connection; raise InvalidParams."""
        script = self._scripts.get(link)
        if script is None:
            raise InvalidParams("no script is served over this connection; call ServeScript first")
        return script

    def open(self, link: LinkPort, calls: CallsToOpen) -> None:
        """Begin a stream of calls."""
        script = self.script_of(link)
        if calls.stream in script.streams:
            raise InvalidParams("there is a stream of that number; give each one its own")
        made = script.streams[calls.stream] = ScriptStream(script, calls.stream)
        made.stream = self._node.streams.open(
            bytes(calls.line), script=script.mark, function=calls.function, priority=calls.priority,
            requires=(*calls.requires, ELSEWHERE) if script.is_elsewhere else calls.requires,
            max_devices=calls.max_devices, pure=calls.pure, wall_s=calls.wall_s,
        )

    def make(self, link: LinkPort, number: int, numbers: List[int], counts: List[int], units: bytes) -> None:
        """Have units of a stream run."""
        try:
            self.script_of(link).stream(number).add(numbers, counts, separate_data(units))
        except DiscomputeError as error:
            # It waits for no answer, and yet for these.
            link.notify("CallsCame", {
                "stream": number, "failed": [[each, error.message, "task", "", 0] for each in numbers]})

    def cancel(self, link: LinkPort, number: int, numbers: List[int], waiting: bool) -> None:
        """Do without some units of a stream, or without all that no device has."""
        stream = self.script_of(link).stream(number)
        stream.cancel(numbers)
        if waiting:
            stream.stream.cancel_waiting()
            # Before the answer.
            stream.tell()

    def close(self, link: LinkPort, number: int) -> None:
        """Nothing will be added to a stream any more."""
        self.script_of(link).stream(number).close()

    def keep_blob(self, link: LinkPort, sha256: str, size: int, offset: int, data: bytes) -> None:
        """Take the next range of a blob of a script's; raise StateError where there is no room."""
        script = self.script_of(link)
        if sha256 in script.blobs or not offset:
            script.blobs.add(sha256)
            self._node.blobs.keep_own(sha256, size, offset, data)

    def release_blob(self, link: LinkPort, sha256: str) -> None:
        """A script needs a blob no more."""
        script = self.script_of(link)
        if sha256 in script.blobs:
            script.blobs.remove(sha256)
            self._node.blobs.release_own(sha256)

    def offers(self, link: LinkPort) -> List[DeviceOffer]:
        """Return what each device offers for the work of a script."""
        own, *others = all_offers(self._node)
        if self.script_of(link).is_elsewhere:
            own = DeviceOffer(own.device, "takes no work: the script leaves it out (local=False)")
        return [own, *others]

    # ---- what the node tells ----------------------------------------------------------------------

    def connection_closed(self, link: LinkPort) -> None:
        """A connection ended: so has its script, or has given this node up."""
        script = self._scripts.pop(link, None)
        if script is not None:
            script.end("its script has ended")

    def stop(self) -> None:
        """Let scripts go: not told of any end, they see that this node is gone and go on elsewhere."""
        scripts, self._scripts = self._scripts, {}
        for link, script in scripts.items():
            script.end("the node was stopped")
            link.finish()
