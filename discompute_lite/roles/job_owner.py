"""Answer for one submitted task to the attempts that are made of it.

Knows:   the task's record and its coordinator.
Refuses: to decide anything; it passes on what happened.
Read next: roles/attempts.py (who tells), roles/coordinator.py (who is told).
"""

from __future__ import annotations

import re
from typing import Any

from ..core.events import AcceptResult, FailSubtask, FailTask, StartAttempt
from ..model.device import short_id
from ..model.task import SubTask, TaskState
from .coordinated import CoordinatedTask

#: How a line of the scheduler's story begins that is about one subtask (core/reasons.py, `told_of`).
ABOUT_SUBTASK = re.compile(r"subtask (\d{1,9}): ")


class JobOwner:
    """Answer for one submitted task to the attempts (`TaskOwner`)."""

    def __init__(self, coordinator: Any, record: CoordinatedTask) -> None:
        self._coordinator = coordinator
        self._record = record

    def begin(self, action: StartAttempt) -> SubTask:
        """Return a subtask, with its device."""
        self._record.begin(action.index, action.device_id, self._coordinator.wall())
        number = int(action.attempt_id.rpartition(".")[2])
        self._coordinator.tell_event(
            self._record, "placed", f"subtask {action.index}: attempt {number} goes to {short_id(action.device_id)}",
            subtask=action.index, attempt=number, device_id=action.device_id,
        )
        return self._record.subtasks[action.index]

    def task_type(self) -> str:
        """Return the task's type."""
        return self._record.task.task_type

    def accept(self, action: AcceptResult, done: SubTask) -> None:
        """Keep a result."""
        record, before = self._record, int(self._record.percentage())
        record.accept(action.index, action.device_id, done, self._coordinator.wall())
        self._coordinator.durability.finished(record, action.index)
        done_now, total = record.completed, len(record.subtasks)
        if int(record.percentage()) > before or done_now == total:
            # Some hundred for each task, however many subtasks it has.
            self._coordinator.tell_event(
                record, "progress", f"{done_now} of {total} subtasks are done", done=done_now, total=total,
                percentage=round(record.percentage(), 1),
            )
        record.wake_watchers()

    def attempt_failed(self, action: StartAttempt, done: SubTask) -> None:
        """Keep what it printed."""
        self._record.keep_printed("run", action.device_id, done.lite.get("output"))

    def subtask_failed(self, action: FailSubtask) -> None:
        """Only of open tasks."""
        raise AssertionError(f"{action.task_id} is not open, so it fails as a whole")

    def finished(self) -> None:
        """Merge the results."""
        self._coordinator.merge(self._record)

    def failed(self, action: FailTask) -> None:
        """End the task."""
        if action.index >= 0:
            self._record.fail(action.index, action.reason)
        self._coordinator.end(self._record, TaskState.FAILED, action.reason, is_told=True)

    def cancelled(self, reason: str) -> None:
        """End the task."""
        self._coordinator.end(self._record, TaskState.CANCELLED, f"cancelled {reason}", is_told=True)

    def told(self, text: str) -> None:
        """Add to the task's story, unless another node goes on with it: what ends here is no end."""
        if self._record.moved_to:
            return
        about = ABOUT_SUBTASK.match(text)
        facts = {"subtask": int(about.group(1))} if about else {}
        self._coordinator.tell(self._record, text, **facts)
