"""Carry the calls of one function to the devices, as many at a time as is good, and give back what each came to.

Knows:   calls that wait, the chunks under way, how long a call takes on which device.
Refuses: to read arguments and results (tasks/calls.py does), to choose devices (core/scheduler.py does).
Read next: tasks/calls.py (the form of the calls), roles/attempts.py (the way there), faces/api.py (who makes calls).

Calls come in units: one call, or some of a `map` that belong together. A subtask of the scheduler is a chunk of
units, cut when its device is known: about half a second of work there, less towards the end, and one unit
while nobody knows how long a call takes. Every unit has one outcome, whatever happens to devices.

A unit that is known to be short goes the short way where that is open (roles/short_way.py): the scheduler never hears
of it, unless it ends badly there and becomes one of those that wait.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Callable, Deque, Dict, List, Optional, Set

from ..core.events import (
    AcceptResult, CancelAsked, FailSubtask, FailTask, StartAttempt, SubtaskCancelled, SubtasksAdded, SubtaskSized,
    TaskSealed, TaskSubmitted,
)
from ..model.device import short_id
from ..model.errors import TaskRejected
from ..model.task import SubTask
from ..tasks.calls import CallsTask, calls_data
from ..tasks.types import separate_data
from ..tasks.work import STREAM_MARK
from .attempts import Attempts
from .call_units import CallChunk, CallUnit, ShortPermit, StreamOptions, UnitOutcome, blamed_by
from .short_way import SHORT_S, ShortWay

#: Seconds of work in a chunk: long beside what sending it costs, short for whoever waits for the last one.
CHUNK_S = 0.5
#: A chunk takes at most such a part of its slot's share of what waits, by its speed, so that all slots end at the same
#: time though works differ; but not less than this, seconds, below which sending it costs more than waiting for it.
CHUNK_SHARE, CHUNK_LEAST_S = 0.25, 0.002
#: Most units and most bytes of data in one chunk.
CHUNK_UNITS, CHUNK_BYTES = 4096, 4 * 1024 * 1024
#: No call is taken for shorter: clocks are coarse.
SHORTEST_CALL_S = 1e-7
#: A chunk holds at most so many times the calls of the one before on any device: the first guesses may be far off.
CHUNK_GROWTH = 8


class CallStream:
    """Carry the calls of one function: an open task of the scheduler, and its owner (`TaskOwner`)."""

    def __init__(self, streams: Streams, task_id: str, line: bytes, options: StreamOptions) -> None:
        self.task_id = task_id
        self._streams = streams
        self._attempts = streams.attempts
        self._line = line
        self._options = options
        #: Units that no chunk has taken; some may be over.
        self._waiting: Deque[CallUnit] = deque()
        #: Calls of those with `waits`.
        self.waiting_calls = 0
        #: Indexes of the scheduler's subtasks that have no chunk yet, and how many subtasks it was given in all.
        self._blank: Set[int] = set()
        self._added = 0
        #: index -> chunk: exactly the subtasks with one that are not over.
        self._chunks: Dict[int, CallChunk] = {}
        self._short = ShortWay(streams, self, line, options)
        self._largest = 1
        #: Nothing will be added; and once everything has its outcome, the scheduler is told.
        self._is_sealed = self._is_told_sealed = False
        #: device id -> seconds that a call takes there, lately, without the way; and of the last call anywhere, on a
        #: device of score 1.
        self._call_s: Dict[str, float] = {}
        self.work_s = 0.0
        self._rates = 0.0  # Calls a second that a slot of each of these makes, all together.
        #: Why the whole stream ended, "" while it goes on.
        self.ended = ""

    @staticmethod
    def unit(data: bytes, calls: int, done: Callable[[CallUnit, UnitOutcome], None]) -> CallUnit:
        """Make a unit to be added; any thread may do this."""
        return CallUnit(data, calls, done)

    # ---- what callers ask, on the loop's thread -----------------------------------------------------

    def add(self, units: List[CallUnit]) -> None:
        """Have these run."""
        if self.ended:
            for unit in units:
                self.settle(unit, UnitOutcome(error=self.ended, blame="stopped"))
            return
        for unit in units:
            # One may have been cancelled on its way here.
            if not unit.is_over and not (len(units) == 1 and not self._waiting and self._goes_short(unit)):
                self._wait(unit)
                self._waiting.append(unit)
        self.go_on()

    def adopt(self, unit: CallUnit, work: Any) -> None:
        """Take over a call that the script has begun itself, by `permit`; `work` is its `WorkFuture`."""
        if self.ended:
            work.stop(self.ended)
            self.settle(unit, UnitOutcome(error=self.ended, blame="stopped"))
        else:
            self._short.adopt(unit, work)

    @property
    def permit(self) -> Optional[ShortPermit]:
        """Return by what the script's own threads may begin calls; any thread may ask."""
        return self._short.permit

    def cancel(self, unit: CallUnit) -> bool:
        """Do without a unit, return whether it was still wanted; what runs alone is stopped, down to its process."""
        if unit.is_over:
            return False
        self._leave(unit)
        chunk, unit.chunk, unit.is_over = unit.chunk, None, True
        if chunk is not None and chunk.work is not None:
            chunk.work.stop("it was cancelled")
        elif chunk is not None and all(other.is_over for other in chunk.units):
            self._chunks.pop(chunk.index, None)
            self._attempts.apply(SubtaskCancelled(self.task_id, chunk.index))
        self.go_on()
        return True

    def cancel_waiting(self) -> None:
        """Do without all that no device has yet."""
        waiting, self._waiting = self._waiting, deque()
        for unit in waiting:
            self.settle(unit, UnitOutcome(error="it was cancelled", blame="cancelled"))
        self.go_on()

    def seal(self) -> None:
        """Nothing will be added any more."""
        self._is_sealed = True
        self.go_on()

    def stop(self, reason: str) -> None:
        """End all of it now."""
        if not self.ended:
            # What is asked is answered by `cancelled`, now or when earlier facts have been told.
            self._attempts.apply(CancelAsked(self.task_id, reason))

    # ---- what the attempts ask (TaskOwner) ----------------------------------------------------------

    def begin(self, action: StartAttempt) -> Optional[SubTask]:
        """Return a chunk: that of this subtask, or one that is cut now for this device."""
        chunk = self._chunks.get(action.index)
        if chunk is None:
            if action.index not in self._blank:
                # All of it was cancelled a moment ago; the scheduler is just about to be told.
                return None
            self._blank.discard(action.index)
            chunk = self._cut(action.index, action.device_id)
            if chunk is None:
                self._attempts.apply(SubtaskCancelled(self.task_id, action.index))
                return None
            self._chunks[action.index] = chunk
            died_on = (self._streams.own_id,) * (chunk.units[0].short_trips if len(chunk.units) == 1 else 0)
            self._attempts.apply(SubtaskSized(self.task_id, action.index, chunk.calls, died_on))
            # A device that came may have room for more than the one subtask that waited for it.
            self.go_on()
        chunk.attempts += 1
        data = calls_data(self._line, [unit.data for unit in chunk.units])
        lite = self._streams.blobs.notes_for(data, action.device_id)
        if self._options.wall_s > 0:
            lite["wall_s"] = self._options.wall_s
        return SubTask(f"{self.task_id}/{action.index}", self.task_id, action.index, data, lite=lite)

    def task_type(self) -> str:
        """Return the type of all streams."""
        return CallsTask.name

    def accept(self, action: AcceptResult, done: SubTask) -> None:
        """Give each unit its outcome."""
        chunk = self._chunks.pop(action.index, None)
        if chunk is None:
            return
        self.learn(action.device_id, chunk.calls, done.lite.get("seconds"))
        lines = separate_data(bytes(done.result_data), len(chunk.units))
        if len(lines) != len(chunk.units):
            count = "more" if len(lines) > len(chunk.units) else str(len(lines))
            error = f"{short_id(action.device_id)} returned {count} outcomes for {len(chunk.units)} calls"
            self._give_all(chunk, UnitOutcome(error=error, blame="task", device_id=action.device_id))
        else:
            for unit, line in zip(chunk.units, lines):
                self.settle(unit, UnitOutcome(line, "", "", action.device_id, chunk.attempts + unit.short_trips))
        self.go_on()

    def attempt_failed(self, action: StartAttempt, done: SubTask) -> None:
        """Take note why; what it printed belongs to no call."""
        chunk = self._chunks.get(action.index)
        if chunk is not None:
            chunk.error_type = str(done.lite.get("error_type", ""))

    def subtask_failed(self, action: FailSubtask) -> None:
        """Try the units of a chunk one by one; what fails alone has failed, and so has what cannot be read there."""
        self._blank.discard(action.index)
        chunk = self._chunks.pop(action.index, None)
        if chunk is not None:
            is_for_all = action.blame == "task" and chunk.error_type == TaskRejected.__name__
            if len(chunk.units) == 1 or is_for_all:
                blame = blamed_by(chunk.error_type, action.blame)
                self._give_all(chunk, UnitOutcome(error=action.reason, blame=blame, attempts=chunk.attempts))
            else:
                for unit in reversed(chunk.units):
                    if not unit.is_over:
                        unit.chunk, unit.is_alone = None, True
                        self.put_back(unit)
        self.go_on()

    def finished(self) -> None:
        """It was sealed, and everything has its outcome."""
        self._end("the stream is closed", "stopped")

    def failed(self, action: FailTask) -> None:
        """None of it can succeed any more."""
        self._end(action.reason, "task")

    def cancelled(self, reason: str) -> None:
        """It was stopped."""
        self._end(reason, "stopped")

    def told(self, text: str) -> None:
        """Keep no story: there may be a million calls."""

    # ---- what the short way asks ----------------------------------------------------------------------

    def put_back(self, unit: CallUnit) -> None:
        """Let a unit be the next one of those that wait."""
        self._wait(unit)
        self._waiting.appendleft(unit)

    def go_on(self) -> None:
        """Have as many subtasks without a chunk as could begin now and find a unit, and one more that waits."""
        if self.ended or self._is_told_sealed:
            return
        if not self.waiting_calls:
            if self._is_sealed and not self._chunks and not len(self._short):
                # Not before: the units of a chunk that ends badly are put into others.
                self._is_told_sealed = True
                for index in sorted(self._blank):
                    self._attempts.apply(SubtaskCancelled(self.task_id, index))
                self._attempts.apply(TaskSealed(self.task_id))
            return
        wanted = min(len(self._waiting), 1 + self._attempts.scheduler.room_of(self.task_id)) - len(self._blank)
        if wanted > 0:
            self._blank.update(range(self._added, self._added + wanted))
            self._added += wanted
            first = self._waiting[0]
            size = len(self._line) + len(first.data)
            self._attempts.apply(
                SubtasksAdded(self.task_id, wanted, self.waiting_calls, size, first.calls, self.work_s))

    def learn(self, device_id: str, calls: int, seconds: Any) -> None:
        """Take note of how long so many calls took on a device, as that says."""
        if not isinstance(seconds, (int, float)) or not 0.0 <= seconds < 1e9:
            return
        call_s = max(SHORTEST_CALL_S, seconds / calls)
        before = self._call_s.get(device_id)
        # Half of what was known, half of what is new: works differ, and so do the chunks that they come in.
        self._call_s[device_id] = call_s if before is None else (before + call_s) / 2
        self._rates += 1.0 / self._call_s[device_id] - (0.0 if before is None else 1.0 / before)
        self.work_s = self._call_s[device_id] * (self._streams.score_of(device_id) or 1.0)

    def call_s_here(self) -> float:
        """Return how long a call takes on this device, as far as is known; `SHORT_S` where it is not."""
        return self._call_s.get(self._streams.own_id, SHORT_S)

    def settle(self, unit: CallUnit, outcome: UnitOutcome) -> None:
        """Give a unit its outcome."""
        if not unit.is_over:
            self._leave(unit)
            # Whoever keeps its future need not keep what was sent for it, and with what.
            unit.is_over, unit.data, unit.chunk = True, b"", None
            unit.done(unit, outcome)

    # ---- inside -------------------------------------------------------------------------------------

    def _goes_short(self, unit: CallUnit) -> bool:
        return not self._is_sealed and self._short.goes(unit)

    def _cut(self, index: int, device_id: str) -> Optional[CallChunk]:
        units: List[CallUnit] = []
        most, calls, size = self._calls_for(device_id), 0, 0
        while self._waiting and len(units) < CHUNK_UNITS:
            unit = self._waiting[0]
            if not unit.is_over:
                if units and (calls + unit.calls > most or size + len(unit.data) > CHUNK_BYTES or unit.is_alone):
                    break
                units.append(unit)
                calls += unit.calls
                size += len(unit.data)
                self._leave(unit)
            self._waiting.popleft()
            if units and units[-1].is_alone:
                break
        if not units:
            return None
        self._largest = max(self._largest, calls)
        chunk = CallChunk(index, units, calls)
        for unit in units:
            unit.chunk = chunk
        return chunk

    def _calls_for(self, device_id: str) -> int:
        """Return how many calls a chunk for this device may hold."""
        if not self.work_s or self._options.wall_s:
            return 1
        score = self._streams.score_of(device_id)
        if device_id not in self._call_s and not score:
            return 1  # It may be a phone a tenth as fast, which is to be through with each chunk in two seconds.
        call_s = self._call_s.get(device_id) or self.work_s / score
        # As many times the share of a slot of middling speed as this one is faster.
        part = CHUNK_SHARE * len(self._call_s) / (call_s * self._rates * max(1, self._streams.total_slots()))
        share = max(int(self.waiting_calls * part) + 1, int(CHUNK_LEAST_S / call_s))
        return max(1, min(int(CHUNK_S / call_s), share, self._largest * CHUNK_GROWTH))

    def _wait(self, unit: CallUnit) -> None:
        unit.waits = True
        self.waiting_calls += unit.calls

    def _leave(self, unit: CallUnit) -> None:
        if unit.waits:
            unit.waits = False
            self.waiting_calls -= unit.calls

    def _give_all(self, chunk: CallChunk, outcome: UnitOutcome) -> None:
        for unit in chunk.units:
            self.settle(unit, outcome)

    def _end(self, reason: str, blame: str) -> None:
        if self.ended:
            return
        self.ended = reason
        chunks, self._chunks = list(self._chunks.values()), {}
        waiting, self._waiting = self._waiting, deque()
        for chunk in [*chunks, *self._short.end()]:
            self._give_all(chunk, UnitOutcome(error=reason, blame=blame))
            if chunk.work is not None:
                chunk.work.stop(reason)
        for unit in waiting:
            self.settle(unit, UnitOutcome(error=reason, blame=blame))
        self._streams.forget(self)


class Streams:
    """Hold the streams of one node."""

    def __init__(self, node: Any, attempts: Attempts) -> None:
        self._node = node
        self.attempts = attempts
        self.own_id, self.blobs = str(node.id), node.blobs
        self.worker = node.worker
        self._streams: Dict[str, CallStream] = {}
        self._opened = 0
        #: Why no stream is carried any more.
        self._stopped = ""

    def open(self, line: bytes, *, script: str = "", **named: Any) -> CallStream:
        """Begin a stream of calls of the function that `line` holds.

        A process serves the streams of one `script`, and they share that script's part of the devices.
        """
        options = StreamOptions(**named)
        self._opened += 1
        task_id = f"calls-{self._node.boot}{script}{STREAM_MARK}{self._opened}"
        stream = CallStream(self, task_id, line, options)
        if self._stopped:
            stream.ended = self._stopped
            return stream
        self._streams[task_id] = stream
        self.attempts.own(task_id, stream)
        self.attempts.apply(TaskSubmitted(
            task_id, 0, options.priority, options.requires, options.max_devices, options.pure, options.function,
            is_open=True, party=f"calls{script}",
        ))
        return stream

    def stop(self, reason: str) -> None:
        """End all streams, now and for ever."""
        self._stopped = reason
        for stream in list(self._streams.values()):
            stream.stop(reason)

    def forget(self, stream: CallStream) -> None:
        """A stream has ended."""
        self._streams.pop(stream.task_id, None)
        self.attempts.disown(stream.task_id)

    def total_slots(self) -> int:
        """Return the slots of all devices that may be given work."""
        return int(self._node.total_slots())

    def score_of(self, device_id: str) -> float:
        """Return the measured score of a device, 0.0 where it is not known."""
        return float(self._node.score_of(device_id))
