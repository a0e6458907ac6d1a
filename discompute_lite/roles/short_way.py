"""Make calls that are known to be short on this device at once: to find the best one, and the way there, takes as long.

Knows:   which calls of one stream run here past the scheduler, and for how long a script may begin such calls itself.
Refuses: to judge one that ends badly: it becomes one of those that wait, and the scheduler finds out.
Read next: roles/streams.py (whose calls these are), faces/direct.py (who begins some on a thread of its own).
"""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Optional

from ..tasks.blob_values import blobs_in
from ..tasks.calls import CallsTask, calls_data
from ..tasks.types import separate_data
from ..tasks.work import BLAME_TASK, WorkOutcome, WorkRequest
from .call_units import CallChunk, CallUnit, ShortPermit, StreamOptions, UnitOutcome, blamed_by

#: A call that takes less than this, seconds, is made here at once where a slot is free.
SHORT_S = 0.005
#: Seconds for which a script may begin short calls itself, before it has to ask again by sending one: what was a reason
#: against it meanwhile (others' work that waits, an owner's rule, a low battery) is noticed no later.
PERMIT_S = 0.1


class ShortWay:
    """Be the short way of one stream."""

    def __init__(self, streams: Any, stream: Any, line: bytes, options: StreamOptions) -> None:
        """`stream` is asked for `call_s_here`, and to `learn`, `settle`, `put_back` and `go_on`."""
        self._streams = streams
        self._stream = stream
        self._line = line
        self._options = options
        #: Those that go this way, and what carries each.
        self._chunks: Dict[CallUnit, CallChunk] = {}
        #: What any thread of the script may read, without a lock; None where calls are not to go this way.
        self.permit: Optional[ShortPermit] = None

    def __len__(self) -> int:
        """Return how many calls go this way just now."""
        return len(self._chunks)

    def goes(self, unit: CallUnit) -> bool:
        """Run a unit here now, where it is short and a slot is free."""
        if self._options.requires or self._stream.call_s_here() * unit.calls >= SHORT_S:
            return False
        data = calls_data(self._line, [unit.data])
        blobs = self._streams.blobs.lend(blobs_in(data))
        task_id, wall_s = self._stream.task_id, self._options.wall_s
        request = WorkRequest(
            "run", CallsTask.name, data, f"{task_id}/", wall_s, blobs=blobs, may_repeat=self._options.pure)
        chunk = CallChunk(-1, [unit], unit.calls)
        chunk.work = self._streams.worker.run_at_once(request, self._came_to(unit))
        if chunk.work is None:
            return False
        unit.chunk = self._chunks[unit] = chunk
        return True

    def adopt(self, unit: CallUnit, work: Any) -> None:
        """Take over a call that the script has begun itself: it has ended badly, takes long, or nobody waits for it."""
        chunk = unit.chunk = self._chunks[unit] = CallChunk(-1, [unit], unit.calls)
        chunk.work = work
        self._streams.worker.adopt(work, self._came_to(unit))

    def end(self) -> List[CallChunk]:
        """Forget all that goes this way, and return it."""
        chunks, self.permit = list(self._chunks.values()), None
        self._chunks.clear()
        return chunks

    def _renew_permit(self) -> None:
        """Learn from the calls that the script has begun, and let it begin more, unless something speaks against it."""
        stream, worker, own_id = self._stream, self._streams.worker, self._streams.own_id
        taken = list(self.permit.took_s) if self.permit is not None else []
        worker.done_elsewhere(len(taken))
        for seconds in taken:
            stream.learn(own_id, 1, seconds)
        until = worker.lend_slots(PERMIT_S) if stream.call_s_here() < SHORT_S else 0.0
        permit = ShortPermit(until, self._line, f"{stream.task_id}/", self._options, own_id)
        self.permit = permit if until else None

    def _came_to(self, unit: CallUnit) -> Callable[[WorkOutcome], None]:
        return lambda outcome: self._came(unit, outcome)

    def _came(self, unit: CallUnit, outcome: WorkOutcome) -> None:
        chunk, stream, own_id = self._chunks.pop(unit, None), self._stream, self._streams.own_id
        lines = separate_data(outcome.data) if outcome.ok else []
        trips = unit.short_trips + 1
        if len(lines) == 1:
            stream.learn(own_id, unit.calls, outcome.seconds)
            stream.settle(unit, UnitOutcome(lines[0], "", "", own_id, trips))
            self._renew_permit()
        elif outcome.blame == BLAME_TASK:
            blame = blamed_by(outcome.error_type, "task")
            stream.settle(unit, UnitOutcome(error=outcome.error, blame=blame, attempts=trips))
        elif not unit.is_over and chunk is not None:
            # Whose fault it was, and what is to be done about it, is for the scheduler to find out.
            unit.chunk, unit.is_alone, unit.short_trips = None, True, trips
            stream.put_back(unit)
        stream.go_on()
