"""Split and merge the tasks of this node, in processes of this device, and say what that waits for.

Knows:   what the executor is asked for a task as a whole, and which tasks are being split or merged.
Refuses: to know what becomes of a task (roles/coordinator.py does), and to choose where it runs: the executor keeps a
         slot for this beside those for pieces (host/executors.py).
Read next: roles/coordinator.py, tasks/work.py (the phases).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Callable, Dict, List

from ..model.device import short_id
from ..model.task import SubTaskStatus, wishes_of
from ..tasks.work import WorkOutcome, WorkRequest, merge_data
from .coordinated import CoordinatedTask

#: Seconds after which is tried again what this device could not begin for want of room.
WHOLE_AGAIN_S = 2.0
#: Processes that may end amid the same split or merge before that is what ends them, as with pieces.
WHOLE_TRIES = 3
#: What an executor calls it when a process ended, or was given up, before it had answered (host/child_process.py).
DIED = "Died"
#: Tasks that are named as those for which another waits.
NAMED_AHEAD = 3

OnWholeDone = Callable[[CoordinatedTask, WorkOutcome], None]


class WholeWork:
    """Have what concerns tasks as a whole done here."""

    def __init__(self, node: Any) -> None:
        self._node = node
        #: task id -> "split" or "merged", of those that the executor has, in the order of asking.
        self._under_way: Dict[str, str] = {}

    def split(self, record: CoordinatedTask, done: OnWholeDone) -> None:
        """Have a task split: for as long as the task may take at most; `done(record, outcome)` comes later."""
        task = record.task
        self._run(record, WorkRequest(
            phase="split", task_type=task.task_type, data=bytes(task.task_data), attempt_id=task.task_id,
            target=record.target or 4 * max(1, self._node.total_slots()), wall_s=wishes_of(task).deadline_s,
            may_repeat=wishes_of(task).pure,
        ), "split", done)

    def merge(self, record: CoordinatedTask, done: OnWholeDone) -> None:
        """Have the results of a task merged; `done(record, outcome)` comes later."""
        task = record.task
        results = [subtask.result_data for subtask in record.subtasks]
        self._run(record, WorkRequest(
            phase="merge", task_type=task.task_type, data=merge_data(bytes(task.task_data), results),
            attempt_id=task.task_id, may_repeat=wishes_of(task).pure,
        ), "merged", done)

    def again(self, callback: Callable[[CoordinatedTask], None], record: CoordinatedTask) -> None:
        """Try later what could not be begun, which may be over in a moment."""
        self._node.clock.call_later(WHOLE_AGAIN_S, callback, record)

    def why(self, record: CoordinatedTask, records: Dict[str, CoordinatedTask]) -> str:
        """Say what a task that is not split yet waits for; `records` are those of this node."""
        task_id, where = record.task.task_id, self._node.name
        if record.running is None:
            return f"it waits to be split on {where}, which has no room for that just now; it is tried again and again"
        if record.running.running():
            return f"it is being split on {where}{self.why_still(record)}"
        before = [f"{short_id(other)} is being {what}" for other, what in self._under_way.items()
                  if other != task_id and other in records and records[other].running.running()]
        busy = [short_id(other) for other, each in records.items() if self._runs_here(each)]
        slots = f"{self._node.worker.running} of {self._node.slots} are busy with {_named(busy)}"
        first = " and ".join(before) or "more comes first"
        return f"it waits for a free slot on {where} to be split: {slots}, and {first}"

    def why_still(self, record: CoordinatedTask) -> str:
        """Say what keeps a split or a merge from going on, as an end of a sentence; "" where nothing does."""
        standstill = getattr(record.running, "standstill", "")
        return f": {standstill}, and what it does must not be done twice" if standstill else ""

    def _runs_here(self, record: CoordinatedTask) -> bool:
        return any(
            each.status is SubTaskStatus.RUNNING and each.assigned_device_id == self._node.id
            for each in record.subtasks
        )

    def _run(
        self, record: CoordinatedTask, request: WorkRequest, what: str, done: OnWholeDone, tries: int = 1
    ) -> None:
        task_id = record.task.task_id

        def ended(future: Any) -> None:
            record.running = None
            self._under_way.pop(task_id, None)
            outcome = future.result()
            if outcome.error_type == DIED and not record.is_over:
                # Whatever ended the process: all that the task has done is not given up for one that did.
                if tries < WHOLE_TRIES:
                    self._node.coordinator.tell(record, f"it is {what} once more: {outcome.error}")
                    self._run(record, request, what, done, tries + 1)
                    return
                outcome = replace(outcome, error=f"{tries} processes ended amid it, the last: {outcome.error}")
            done(record, outcome)

        self._under_way[task_id] = what
        record.running = self._node.executor.submit(request)
        record.running.add_done_callback(lambda future: self._node.clock.post(ended, future))


def _named(task_ids: List[str]) -> str:
    """Name the first of these tasks."""
    if not task_ids:
        return "the work of other devices"
    more = f" and {len(task_ids) - NAMED_AHEAD} more" if len(task_ids) > NAMED_AHEAD else ""
    return ", ".join(task_ids[:NAMED_AHEAD]) + more
