"""Own the tasks that were submitted here: split, place, collect, merge, and answer for them.

Knows:   each task's data, parts and results; which attempt is where.
Refuses: to choose devices (core/scheduler.py does), to run code (workers do, this device's own included).
Read next: core/scheduler.py, roles/worker.py.
"""

from __future__ import annotations

import hashlib
from collections import deque
from dataclasses import replace
from typing import Any, Callable, Deque, Dict, List, Optional, Tuple

from ..core.events import (
    AcceptResult, AttemptFailed, AttemptSucceeded, CancelAsked, DeviceLost, DeviceReady, EndCancelled, FailTask,
    FinishTask, LeaseRenewed, StartAttempt, StopAttempt, TaskSubmitted, TellStory, Tick,
)
from ..core.scheduler import Scheduler
from ..model.codec import from_json, to_json
from ..model.device import short_id
from ..model.errors import DiscomputeError, Forbidden, LinkError, Unauthenticated, Unavailable
from ..model.task import ComputeTask, SubTask, TaskState
from ..tasks.types import TASK_TYPES
from ..tasks.work import WorkOutcome, WorkRequest, merge_data, split_parts
from .alarm import Alarm
from .coordinated import CoordinatedTask
from .methods import (
    CancelTaskAnswer, ExecuteSubtaskAnswer, GetTaskResultAnswer, GetTaskStatusAnswer, ListTasksAnswer, SubmitTaskAnswer,
)
from .ports import Later

#: Priority of a task that names none.
NORMAL_PRIORITY = 5


class Coordinator:
    """Coordinate the tasks of one node."""

    def __init__(self, node: Any) -> None:
        self._node = node
        self.scheduler = Scheduler(node.rng)
        self._records: Dict[str, CoordinatedTask] = {}
        self._finished: Deque[str] = deque()
        #: attempt id -> (action, device) of attempts sent out and not yet ended.
        self._sent: Dict[str, StartAttempt] = {}
        #: device id -> how many of `_sent` it has; no zeros.
        self._sent_by_device: Dict[str, int] = {}
        #: device id -> outcomes that have arrived and may be forgotten there.
        self._to_acknowledge: Dict[str, List[str]] = {}
        #: The outcome that the scheduler is being told of.
        self._arrived: Tuple[str, SubTask] = ("", SubTask())
        self._submitted = 0
        self._alarm = Alarm(node.clock, self._woken)
        self._is_stopping = False

    # ---- what methods ask -------------------------------------------------------------------------

    def submit(self, task: ComputeTask, max_devices: int, target: int) -> Later:
        """Accept a task and split it; the answer comes when its subtasks are known."""
        later = Later()
        record = self._records.get(task.task_id) if task.task_id else None
        if record is not None:
            self._answer_submit(later, record)
            return later
        problem = self._problem_with(task)
        if problem:
            later.resolve(SubmitTaskAnswer(False, problem, task.task_id))
            return later
        if not task.task_id:
            self._submitted += 1
            seed = f"{self._node.id}/{self._node.boot}/{self._submitted}"
            task = replace(task, task_id=hashlib.sha256(seed.encode()).hexdigest()[:12])
        record = self._records[task.task_id] = CoordinatedTask(task, max(0, max_devices), max(0, target))
        record.submitted_at = self._node.wall()
        record.splitting.append(later)
        self._tell(record, f"submitted: {task.task_type}, {len(task.task_data)} bytes of data")
        wanted = record.target or 4 * max(1, self._node.total_slots())
        request = WorkRequest(
            phase="split", task_type=task.task_type, data=bytes(task.task_data), attempt_id=task.task_id, target=wanted
        )
        self._run_here(record, request, self._split_done)
        return later

    def status(self, task_id: str) -> GetTaskStatusAnswer:
        """Say how far a task is; `success` is false when it is not known here."""
        record = self._records.get(task_id)
        if record is None:
            return GetTaskStatusAnswer(lite={"message": "this node knows no such task; it may have been forgotten"})
        return record.status(self._node.wall())

    def result(self, task_id: str, from_index: int, from_printed: int, wait_s: float) -> Any:
        """Return what is there of result, parts and printed texts, waiting up to `wait_s` for something new."""
        record = self._records.get(task_id)
        if record is None:
            return GetTaskResultAnswer(False, "this node knows no such task; it may have been forgotten")
        answer = record.result_from(from_index, from_printed)
        if answer.parts or answer.printed or record.is_over or wait_s <= 0:
            return answer
        later, waiting = Later(), Later()
        record.watching.append(waiting)
        timer = self._node.clock.call_later(wait_s, waiting.resolve, None)

        def woken(result: Any, error: Optional[DiscomputeError]) -> None:
            timer.cancel()
            if waiting in record.watching:
                record.watching.remove(waiting)
            later.resolve(record.result_from(from_index, from_printed))

        waiting.then(woken)
        return later

    def cancel(self, task_id: str) -> CancelTaskAnswer:
        """Cancel a task."""
        record = self._records.get(task_id)
        if record is None:
            return CancelTaskAnswer(False, "this node knows no such task")
        if record.is_over:
            return CancelTaskAnswer(False, f"the task is over already: {record.state.value}")
        if record.state is TaskState.PENDING or record.completed == len(record.subtasks):
            self._end(record, TaskState.CANCELLED, "cancelled by its owner")
        else:
            self._apply(CancelAsked(task_id, "by its owner"))
        return CancelTaskAnswer(True, "cancelled")

    def list_tasks(self) -> ListTasksAnswer:
        """List all tasks, the newest first."""
        return ListTasksAnswer([record.described() for record in reversed(list(self._records.values()))])

    # ---- what the node tells ----------------------------------------------------------------------

    def device_ready(self, ready: DeviceReady) -> None:
        """A device may be given work, as described."""
        if not self._is_stopping:
            self._apply(ready)

    def device_lost(self, device_id: str, reason: str, is_clean: bool = False) -> None:
        """A device is gone, with everything that ran on it."""
        for attempt_id in [key for key, sent in self._sent.items() if sent.device_id == device_id]:
            self._no_longer_sent(attempt_id)
        self._to_acknowledge.pop(device_id, None)
        if not self._is_stopping:
            self._apply(DeviceLost(device_id, reason, clean=is_clean))

    def link_opened(self, device_id: str) -> None:
        """A device can be called again: ask anew for attempts whose answer may have been lost with the last link."""
        for sent in [sent for sent in self._sent.values() if sent.device_id == device_id]:
            self._send(sent)

    def lease_renewed(self, device_id: str, attempts: Tuple[str, ...]) -> None:
        """A device reported which attempts run there."""
        self._apply(LeaseRenewed(device_id, attempts))

    def has_work_with(self, device_id: str) -> bool:
        """Whether attempts of ours are on this device."""
        return device_id in self._sent_by_device

    def acknowledgements_for(self, device_id: str) -> List[str]:
        """Return, once, the outcomes that this device may forget."""
        return self._to_acknowledge.pop(device_id, [])

    def stop(self) -> None:
        """End all tasks that are not over."""
        for record in list(self._records.values()):
            if not record.is_over:
                self._end(record, TaskState.CANCELLED, "the node that coordinated it was stopped")
        self._is_stopping = True

    # ---- the life of a task -----------------------------------------------------------------------

    def _problem_with(self, task: ComputeTask) -> str:
        limits = self._node.settings_limits
        if self._is_stopping:
            raise Unavailable("this node is shutting down; submit to another one", {"retry_after": 5.0})
        if task.task_type not in TASK_TYPES:
            return f"there is no task type {task.task_type!r}; choose one of {', '.join(TASK_TYPES.names())}"
        if len(task.task_id) > 64 or "/" in task.task_id:
            return "a task_id has at most 64 characters, and no slash"
        if task.task_id and self.scheduler.task(task.task_id) is not None:
            # Its attempts' ids are used up: an outcome of then must not be taken for one of now.
            return "a task of this id has ended here and its result is not kept any more; submit it under another id"
        if sum(1 for record in self._records.values() if not record.is_over) >= limits.tasks:
            raise Unavailable(f"{limits.tasks} tasks are under way here; wait for one to end", {"retry_after": 5.0})
        return ""

    def _split_done(self, record: CoordinatedTask, outcome: WorkOutcome) -> None:
        if record.is_over:
            return
        record.keep_printed("split", self._node.id, outcome.output)
        most = self._node.settings_limits.subtasks
        parts = split_parts(outcome) if outcome.ok else []
        if not outcome.ok:
            self._end(record, TaskState.FAILED, f"it could not be split: {outcome.error}")
        elif len(parts) > most:
            self._end(record, TaskState.FAILED, f"{len(parts)} subtasks are more than {most}; make them larger")
        else:
            task = record.task
            record.subtasks = [
                SubTask(f"{task.task_id}/{index}", task.task_id, index, part) for index, part in enumerate(parts)
            ]
            record.state = TaskState.RUNNING
            self._tell(record, f"split into {len(parts)} subtasks")
            if parts:
                priority = task.priority if 1 <= task.priority <= 10 else NORMAL_PRIORITY
                self._apply(TaskSubmitted(
                    task.task_id, len(parts), priority, tuple(task.required_capabilities), record.max_devices
                ))
            else:
                self._merge(record)
        for later in record.splitting:
            self._answer_submit(later, record)
        record.splitting = []

    def _answer_submit(self, later: Later, record: CoordinatedTask) -> None:
        if record.state is TaskState.PENDING:
            record.splitting.append(later)
        else:
            later.resolve(record.submitted())

    def _merge(self, record: CoordinatedTask) -> None:
        results = [subtask.result_data for subtask in record.subtasks]
        request = WorkRequest(
            phase="merge", task_type=record.task.task_type, data=merge_data(bytes(record.task.task_data), results),
            attempt_id=record.task.task_id,
        )
        self._run_here(record, request, self._merged)

    def _merged(self, record: CoordinatedTask, outcome: WorkOutcome) -> None:
        if record.is_over:
            return
        record.keep_printed("merge", self._node.id, outcome.output)
        if outcome.ok:
            record.result_data = outcome.data
            self._end(record, TaskState.COMPLETED, "")
        else:
            self._end(record, TaskState.FAILED, f"its results could not be merged: {outcome.error}")

    def _end(self, record: CoordinatedTask, state: TaskState, message: str, *, is_told: bool = False) -> None:
        """End a task; `is_told` where the scheduler has told its story to the end."""
        record.close(state, message, self._node.wall())
        word, line = state.value.lower(), message.partition("\n")[0]
        if not is_told:
            self._tell(record, line if line.startswith(word) else f"{word}: {line}" if line else word)
        if record.running is not None:
            record.running.stop(f"its task is {state.value.lower()}")
        self._finished.append(record.task.task_id)
        while len(self._finished) > self._node.settings_limits.finished_tasks:
            self._records.pop(self._finished.popleft(), None)
        for later in record.splitting:
            self._answer_submit(later, record)
        record.splitting = []
        record.wake_watchers()
        self._node.task_ended(record)

    # ---- attempts ---------------------------------------------------------------------------------

    def _apply(self, event: Any) -> None:
        """Give the scheduler a fact and do what it wishes."""
        for action in self.scheduler.apply(event, self._node.clock.now()):
            self._OBEY[type(action)](self, action)
        self._alarm.set(self.scheduler.next_deadline())

    def _woken(self, late_s: float) -> None:
        if not self._is_stopping:
            self._apply(Tick())

    def _start(self, action: StartAttempt) -> None:
        self._records[action.task_id].begin(action.index, action.device_id, self._node.wall())
        self._sent[action.attempt_id] = action
        self._sent_by_device[action.device_id] = self._sent_by_device.get(action.device_id, 0) + 1
        self._node.discovery.work_began(action.device_id)
        self._send(action)

    def _send(self, action: StartAttempt) -> None:
        record = self._records[action.task_id]
        lite = {"attempt": action.attempt_id, "lease_s": action.lease_s, "task_type": record.task.task_type}
        subtask = replace(record.subtasks[action.index], lite=lite)
        if action.device_id == self._node.id:
            self._node.worker.execute(self._node.id, subtask).then(
                lambda result, error: self._node.clock.post(self._answered, action, result, error)
            )
            return
        link = self._node.link_for_work(action.device_id)
        if link is None:
            # It was there when the device was chosen: it comes back (`link_opened`), or the lease ends.
            return
        params = {"subtask": to_json(subtask), "executing_device_id": action.device_id}
        link.call("ExecuteSubtask", params, lambda result, error: self._answered(action, result, error))

    def _answered(self, action: StartAttempt, result: Any, error: Optional[DiscomputeError]) -> None:
        if self._is_stopping:
            return
        if error is None:
            # It is here, wanted or not: nobody will ask for it again.
            self._acknowledge(action)
        if action.attempt_id not in self._sent:
            return
        if isinstance(error, LinkError) and action.device_id != self._node.id:
            # The attempt may still run there: the registry finds out whether the device does, and either
            # `link_opened` asks again or `device_lost` gives it up.
            return
        self._no_longer_sent(action.attempt_id)
        if error is not None:
            is_refusal = isinstance(error, (Unavailable, Forbidden, Unauthenticated))
            self._apply(AttemptFailed(action.attempt_id, "refused" if is_refusal else "device", error.message))
            return
        try:
            answer = result if isinstance(result, ExecuteSubtaskAnswer) else from_json(
                ExecuteSubtaskAnswer, result, "the answer to ExecuteSubtask"
            )
        except DiscomputeError as problem:
            self._apply(AttemptFailed(action.attempt_id, "device", problem.message))
            return
        done = answer.completed_subtask
        record = self._records[action.task_id]
        if answer.success:
            # Laid ready here; `AcceptResult` makes it the subtask's one result.
            self._arrived = (action.attempt_id, done)
            self._apply(AttemptSucceeded(action.attempt_id))
        else:
            record.keep_printed("run", action.device_id, done.lite.get("output"))
            blame = done.lite.get("blame")
            blame = blame if blame in ("task", "refused") else "device"
            self._apply(AttemptFailed(action.attempt_id, blame, done.error_message or answer.message))

    def _acknowledge(self, action: StartAttempt) -> None:
        if action.device_id == self._node.id:
            self._node.worker.acknowledged(self._node.id, [action.attempt_id])
        else:
            self._to_acknowledge.setdefault(action.device_id, []).append(action.attempt_id)

    def _accept(self, action: AcceptResult) -> None:
        record = self._records[action.task_id]
        attempt_id, done = self._arrived
        assert attempt_id == action.attempt_id, "a result is accepted when it arrives, and at no other time"
        record.accept(action.index, action.device_id, done, self._node.wall())
        self._arrived = ("", SubTask())
        record.wake_watchers()

    def _stop(self, action: StopAttempt) -> None:
        self._no_longer_sent(action.attempt_id)
        if action.device_id == self._node.id:
            self._node.worker.cancel(self._node.id, action.attempt_id)
            return
        link = self._node.link_for_work(action.device_id)
        if link is not None:
            link.call("CancelTask", {"attempt": action.attempt_id}, lambda result, error: None)

    def _no_longer_sent(self, attempt_id: str) -> None:
        sent = self._sent.pop(attempt_id, None)
        if sent is not None:
            self._sent_by_device[sent.device_id] -= 1
            if not self._sent_by_device[sent.device_id]:
                del self._sent_by_device[sent.device_id]

    def _finish(self, action: FinishTask) -> None:
        self._merge(self._records[action.task_id])

    def _fail(self, action: FailTask) -> None:
        record = self._records[action.task_id]
        if action.index >= 0:
            record.fail(action.index, action.reason)
        self._end(record, TaskState.FAILED, action.reason, is_told=True)

    def _end_cancelled(self, action: EndCancelled) -> None:
        self._end(self._records[action.task_id], TaskState.CANCELLED, f"cancelled {action.reason}", is_told=True)

    def _tell_story(self, action: TellStory) -> None:
        record = self._records.get(action.task_id)
        if record is not None:
            self._tell(record, action.text.partition("\n")[0])

    #: What is done for each wish of the scheduler.
    _OBEY: Dict[type, Callable[..., None]] = {
        StartAttempt: _start, StopAttempt: _stop, AcceptResult: _accept, FinishTask: _finish, FailTask: _fail,
        EndCancelled: _end_cancelled, TellStory: _tell_story,
    }

    # ---- inside -----------------------------------------------------------------------------------

    def _run_here(self, record: CoordinatedTask, request: WorkRequest, done: Any) -> None:
        """Split or merge in a process of this device; `done(record, outcome)`."""

        def ended(future: Any) -> None:
            record.running = None
            done(record, future.result())

        record.running = self._node.executor.submit(request)
        record.running.add_done_callback(lambda future: self._node.clock.post(ended, future))

    def _tell(self, record: CoordinatedTask, text: str) -> None:
        since_s = self._node.wall() - record.submitted_at
        record.story.append(f"{since_s:7.2f} s  {text}")
        self._node.tell("task", f"task {short_id(record.task.task_id)}: {text}")
