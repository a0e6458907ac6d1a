"""Own the tasks that were submitted here: split, place, collect, merge, and answer for them.

Knows:   each task's data, parts and results; which attempt is where.
Refuses: to choose devices (core/scheduler.py does), to run code (workers do, this device's own included).
Read next: core/scheduler.py, roles/worker.py.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import Any, Deque, Dict, List, Optional

from ..core.events import CancelAsked, TaskSubmitted, Tick
from ..core.ownership import Claim, proof_of
from ..model.deadlines import Deadlines
from ..model.device import short_id
from ..model.errors import DiscomputeError, Unavailable
from ..model.task import ComputeTask, SubTaskStatus, TaskState, wishes_of
from ..tasks.work import BLAME_REFUSED, WorkOutcome, split_parts
from .alarm import Alarm
from .attempts import Attempts
from .bounds import tasks_that_fit
from .coordinated import CoordinatedTask, problem_in, shutting_down
from .copies import Copies
from .durability import Durability, unkept_sentence
from .job_owner import JobOwner
from .keeping_methods import AcknowledgeResultAnswer
from .methods import (
    CancelTaskAnswer, ExplainTaskAnswer, GetTaskResultAnswer, GetTaskStatusAnswer, ListTasksAnswer, SubmitTaskAnswer,
)
from .ports import Later
from .whole_work import WholeWork

#: Priority of a task that names none.
NORMAL_PRIORITY = 5


class Coordinator:
    """Coordinate the tasks of one node."""

    def __init__(self, node: Any, attempts: Attempts) -> None:
        self._node = node
        self._attempts = attempts
        self._records: Dict[str, CoordinatedTask] = {}
        self._finished: Deque[str] = deque()
        self.durability = Durability(node)
        self.copies = self.durability.copies = Copies(node, self)
        self._whole = WholeWork(node)
        #: When tasks that are over are forgotten.
        self._deadlines = Deadlines()
        self._alarm = Alarm(node.clock, self._woken)
        self._submitted = 0
        self._is_stopping = False

    # ---- what methods ask -------------------------------------------------------------------------

    def submit(self, task: ComputeTask, max_devices: int, target: int, at_once: bool = False) -> Later:
        """Accept a task; the answer comes when it is split, or `at_once`, when it is kept."""
        later = Later()
        record = self._records.get(task.task_id) if task.task_id else None
        if record is not None:
            is_known = record.state is not TaskState.PENDING and not record.splitting
            record.splitting.append(later)
            if is_known or (at_once and self.durability.has(record)):
                self.durability.then_tell(record.answer_submissions)
            return later
        problem = self._problem_with(task)
        if problem:
            later.resolve(SubmitTaskAnswer(False, problem, task.task_id))
            return later
        if not task.task_id:
            self._submitted += 1
            # Nobody may foresee it, and be first with a copy of his own.
            seed = f"{self._node.boot}/{self._submitted}"
            task = replace(task, task_id=proof_of(self._node.identity.token, seed, self._node.id)[:12])
        record = self._records[task.task_id] = CoordinatedTask(task, max(0, max_devices), max(0, target))
        record.submitted_at, record.secret = self._node.wall(), self.copies.claims.secret_of(task.task_id)
        record.splitting.append(later)
        if at_once:
            # Whoever does not wait for the split is told of it by the task, whose journal says all that is known.
            self.durability.write(record)
            self.durability.when_kept(lambda problem: self._accepted(record, problem))
        name = task.metadata.get("name") or task.task_type
        self.tell(record, f"submitted: {name}, {len(task.task_data)} bytes of data")
        self._split(record)
        return later

    def _split(self, record: CoordinatedTask) -> None:
        if not record.is_over and not self._is_stopping:
            self._whole.split(record, self._split_done)

    def restore(self) -> None:
        """Go on with the tasks of earlier lives of this node."""
        for record in self.durability.restore():
            self._go_on(record, "restored")

    def adopt(self, record: CoordinatedTask) -> None:
        """Answer for a task whose owner is gone, in a new term."""
        self._attempts.scheduler.forget(record.task.task_id)
        self.durability.write(record)
        self._go_on(record, "taken over")

    def give_up(self, record: CoordinatedTask, claim: Claim) -> None:
        """Let another node answer for a task; what ran of it here is stopped."""
        task_id, owner_id = record.task.task_id, claim.owner_id
        record.moved_to = owner_id
        self.durability.let_go(task_id)
        self._records.pop(task_id, None)
        self.copies.moved(record, claim)
        self._node.tell("note", f"task {short_id(task_id)} goes on at {short_id(owner_id)}")
        self._drop(record, f"it goes on at {short_id(owner_id)}")

    def _drop(self, record: CoordinatedTask, why: str) -> None:
        if self._attempts.scheduler.task(record.task.task_id) is not None:
            self._attempts.apply(CancelAsked(record.task.task_id, f"here: {why}"))
        if not record.is_over:
            self.end(record, TaskState.CANCELLED, why)

    def kept_records(self) -> List[CoordinatedTask]:
        """Return the tasks of ours that have a journal."""
        return [record for record in self._records.values() if self.durability.has(record)]

    def own_record(self, task_id: str) -> Optional[CoordinatedTask]:
        """Return a task that this node answers for."""
        return self._records.get(task_id)

    def was_shown(self, record: CoordinatedTask) -> bool:
        """Whether a task of ours is over and its result came to whoever submitted it: nobody needs it any more."""
        return record.is_over and not self.durability.has(record)

    def _go_on(self, record: CoordinatedTask, how: str) -> None:
        self._records[record.task.task_id] = record
        self.copies.owned_here(record.task.task_id)
        if record.is_over:
            kept_s = self._node.settings_limits.result_kept_s
            self._keep_for(record, record.finished_at + kept_s - self._node.wall())
        elif record.state is TaskState.PENDING:
            self.tell(record, f"{how}, to be split again")
            self._split(record)
        else:
            self.tell(record, f"{how}: {record.completed} of {len(record.subtasks)} subtasks are done")
            self._begin(record)

    def _find(self, task_id: str) -> Optional[CoordinatedTask]:
        """Return a task of ours, or another node's whose copy is here."""
        return self._records.get(task_id) or self.copies.record_of(task_id)

    def status(self, task_id: str) -> GetTaskStatusAnswer:
        """Say how far a task is; `success` is false when it is not known here."""
        record = self._find(task_id)
        if record is None:
            return GetTaskStatusAnswer(lite={"message": "this node knows no such task; it may have been forgotten"})
        return record.status(self._node.wall())

    def result(self, task_id: str, from_index: int, from_printed: int, wait_s: float) -> Any:
        """Return what is there of result, parts and printed texts, waiting up to `wait_s` for something new."""
        record = self._find(task_id)
        if record is None:
            return GetTaskResultAnswer(False, "this node knows no such task; it may have been forgotten")
        most = self._node.settings_limits.message_bytes
        answer = record.result_from(from_index, from_printed, most)
        if answer.parts or answer.printed or record.is_over or wait_s <= 0:
            return answer
        later, waiting = Later(), Later()
        record.watching.append(waiting)
        timer = self._node.clock.call_later(wait_s, waiting.resolve, None)

        def woken(result: Any, error: Optional[DiscomputeError]) -> None:
            timer.cancel()
            if waiting in record.watching:
                record.watching.remove(waiting)
            if self._is_stopping and not record.is_over:
                later.fail(shutting_down(task_id))
            else:
                later.resolve((self._find(task_id) or record).result_from(from_index, from_printed, most))

        waiting.then(woken)
        return later

    def cancel(self, task_id: str) -> Any:
        """Cancel a task."""
        record = self._records.get(task_id)
        if record is None:
            return self.copies.ask_owner("CancelTask", CancelTaskAnswer, task_id)
        if record.is_over:
            return CancelTaskAnswer(False, f"the task is over already: {record.state.value}")
        if record.state is TaskState.PENDING or record.completed == len(record.subtasks):
            self.end(record, TaskState.CANCELLED, "cancelled by its owner")
        else:
            self._attempts.apply(CancelAsked(task_id, "by its owner"))
        return CancelTaskAnswer(True, "cancelled")

    def acknowledge(self, task_id: str, *, is_elsewhere: bool = False) -> Any:
        """Delete a result from the disk, and soon from memory: whoever wanted it has it, perhaps from elsewhere."""
        record = self._records.get(task_id)
        if record is None:
            return self.copies.ask_owner("AcknowledgeResult", AcknowledgeResultAnswer, task_id)
        if not record.is_over and not is_elsewhere:
            return AcknowledgeResultAnswer(False, "the task is not over; acknowledge its result when it is there")
        if not record.is_over:
            self._drop(record, "its result was shown on another device")
        self.durability.forget(task_id)
        self._keep_for(record, self._node.settings_limits.acknowledged_kept_s)
        return AcknowledgeResultAnswer(True, "its result is deleted")

    def explain(self, task_id: str, index: int) -> Any:
        """Say why a task, or with `index` not negative one subtask, is where it is."""
        record = self._records.get(task_id)
        if record is None:
            return self.copies.explain(task_id, index)
        if index >= len(record.subtasks) and index >= 0:
            count = len(record.subtasks)
            return ExplainTaskAnswer(False, f"there is no subtask {index}; it has {count}, counted from 0")
        if record.state is TaskState.PENDING:
            return ExplainTaskAnswer(True, self._whole.why(record, self._records))
        if index >= 0 and record.has_ended(index):
            return ExplainTaskAnswer(True, record.end_of(index))
        self._attempts.apply(Tick())
        if self._attempts.scheduler.task(task_id) is None or record.is_over:
            return ExplainTaskAnswer(True, f"it is over: {record.message or record.state.value.lower()}")
        if index < 0 and record.completed == len(record.subtasks):
            still = self._whole.why_still(record)
            return ExplainTaskAnswer(True, f"every subtask is done; their results are being merged{still}")
        why = self._attempts.scheduler.why(task_id, index if index >= 0 else None)
        return ExplainTaskAnswer(True, why + self._attempts.why_still(task_id, max(index, -1)))

    def list_tasks(self) -> ListTasksAnswer:
        """List all tasks, the newest first."""
        others = [self.copies.record_of(task_id) for task_id in self.copies.task_ids()]
        records = [*reversed(self._records.values()), *(record for record in others if record is not None)]
        told = (record.described() for record in sorted(records, key=lambda each: -each.submitted_at))
        return ListTasksAnswer(tasks_that_fit(told, self._node.settings_limits), self._node.told_rounds.newest())

    def wall(self) -> float:
        """Return Unix seconds."""
        return float(self._node.wall())

    def stop(self) -> None:
        """End all tasks that are not over, but for those that are kept: they go on when the node starts again."""
        self._is_stopping = True
        for record in list(self._records.values()):
            if self.durability.keeps(record):
                record.wake_watchers()
                record.answer_submissions(shutting_down(record.task.task_id))
            elif not record.is_over:
                self.end(record, TaskState.CANCELLED, "the node that coordinated it was stopped")
        self.durability.stop()

    # ---- the life of a task -----------------------------------------------------------------------

    def _problem_with(self, task: ComputeTask) -> str:
        limits = self._node.settings_limits
        if self._is_stopping:
            raise Unavailable("this node is shutting down; submit to another one", {"retry_after": 5.0})
        if self._node.twin.reason:
            raise Unavailable(self._node.twin.reason)
        if task.task_id and self._attempts.scheduler.task(task.task_id) is not None:
            # Its attempts' ids are used up: an outcome of then must not be taken for one of now.
            return "a task of this id has ended here and its result is not kept any more; submit it under another id"
        if self.durability.problem:
            return unkept_sentence(self.durability.problem)
        if sum(1 for record in self._records.values() if not record.is_over) >= limits.tasks:
            raise Unavailable(f"{limits.tasks} tasks are under way here; wait for one to end", {"retry_after": 5.0})
        return problem_in(task)

    def _split_done(self, record: CoordinatedTask, outcome: WorkOutcome) -> None:
        is_kept = self.durability.has(record)
        if record.is_over or (self._is_stopping and is_kept):
            return
        if outcome.blame == BLAME_REFUSED and is_kept:
            # It is accepted: that is not given up for what may be over in a moment.
            self.tell(record, f"it waits to be split: {outcome.error}")
            self._whole.again(self._split, record)
            return
        record.keep_printed("split", self._node.id, outcome.output)
        most = self._node.settings_limits.subtasks
        parts = split_parts(outcome) if outcome.ok else []
        if not outcome.ok:
            self.end(record, TaskState.FAILED, f"it could not be split: {outcome.error}")
        elif len(parts) > most:
            self.end(record, TaskState.FAILED, f"{len(parts)} subtasks are more than {most}; make them larger")
        else:
            record.divide(parts)
            if is_kept:
                self.durability.divided(record)
                self.durability.then_tell(record.answer_submissions)
            else:
                self.durability.write(record)
                # Nobody is told that it is accepted before it is kept.
                self.durability.when_kept(lambda problem: self._accepted(record, problem))
            self.tell(record, f"split into {len(parts)} subtasks")
            self._begin(record)

    def _begin(self, record: CoordinatedTask) -> None:
        """Have the subtasks run that have no result yet; with the last one comes the merge."""
        task, subtasks, wishes = record.task, record.subtasks, wishes_of(record.task)
        if not subtasks:
            self.merge(record)
            return
        priority = task.priority if 1 <= task.priority <= 10 else NORMAL_PRIORITY
        self._attempts.own(task.task_id, JobOwner(self, record))
        self._attempts.apply(TaskSubmitted(
            task.task_id, len(subtasks), priority, tuple(task.required_capabilities), record.max_devices,
            wishes.pure, record.function, wishes.deadline_s, wishes.retries,
            done=tuple(each.subtask_index for each in subtasks if each.status is SubTaskStatus.COMPLETED),
            size_bytes=sum(len(each.subtask_data) for each in subtasks) // len(subtasks),
        ))

    def _accepted(self, record: CoordinatedTask, problem: str) -> None:
        if problem and not record.is_over:
            record.is_refused = True
            self.end(record, TaskState.FAILED, unkept_sentence(problem))
            self._attempts.apply(CancelAsked(record.task.task_id, "since it cannot be kept"))
            self.durability.forget(record.task.task_id)
        record.answer_submissions()

    def merge(self, record: CoordinatedTask) -> None:
        """Merge a task whose subtasks are all done; one that is over by now is left alone."""
        if record.is_over or self._is_stopping:
            return
        self._whole.merge(record, self._merged)

    def _merged(self, record: CoordinatedTask, outcome: WorkOutcome) -> None:
        if record.is_over:
            return
        if outcome.blame == BLAME_REFUSED:
            # All its work is done: that is not given up for what may be over in a moment.
            self.tell(record, f"its results wait to be merged: {outcome.error}")
            self._whole.again(self.merge, record)
            return
        record.keep_printed("merge", self._node.id, outcome.output)
        if outcome.ok:
            record.result_data = outcome.data
            self.end(record, TaskState.COMPLETED, "")
        else:
            self.end(record, TaskState.FAILED, f"its results could not be merged: {outcome.error}")

    def end(self, record: CoordinatedTask, state: TaskState, message: str, *, is_told: bool = False) -> None:
        """End a task; `is_told` where the scheduler has told its story to the end."""
        is_pending = record.state is TaskState.PENDING
        record.close(state, message, self._node.wall())
        if record.running is not None:
            record.running.stop(f"its task is {state.value.lower()}")
        self._attempts.disown(record.task.task_id)
        if record.moved_to:
            record.wake_watchers()
            return
        word, line = state.value.lower(), message.partition("\n")[0]
        text = line if line.startswith(word) else f"{word}: {line}" if line else word
        if not is_told:
            self._note(record, text)
        self.durability.closed(record)
        if not is_told:
            self.tell_event(record, "task", text)
        self._keep_for(record, self._node.settings_limits.result_kept_s)
        if is_pending or record.is_refused:
            record.answer_submissions()
        record.wake_watchers()
        self._node.load_changed()

    def _keep_for(self, record: CoordinatedTask, seconds: float) -> None:
        """Keep a task that is over for so long, unless too many others end meanwhile."""
        task_id = record.task.task_id
        if task_id not in self._deadlines:
            self._finished.append(task_id)
        self._deadlines.set(task_id, self._node.clock.now() + max(0.0, seconds))
        while len(self._finished) > self._node.settings_limits.finished_tasks:
            self._forget(self._finished[0])
        self._alarm.set(self._deadlines.next())

    def _forget(self, task_id: str) -> None:
        self._finished.remove(task_id)
        self._deadlines.cancel(task_id)
        self._records.pop(task_id, None)
        self.durability.forget(task_id)

    def _woken(self, late_s: float) -> None:
        for task_id in self._deadlines.pop_due(self._node.clock.now()):
            self._forget(task_id)
        self._alarm.set(self._deadlines.next())

    # ---- inside -----------------------------------------------------------------------------------

    def tell(self, record: CoordinatedTask, text: str, **facts: Any) -> None:
        """Add a line to a task's story, and tell of it."""
        self._note(record, text)
        self.tell_event(record, "task", text, **facts)

    def _note(self, record: CoordinatedTask, text: str) -> None:
        since_s = self._node.wall() - record.submitted_at
        record.story.append(f"{since_s:7.2f} s  {text}")

    def tell_event(self, record: CoordinatedTask, kind: str, text: str, **facts: Any) -> None:
        """Tell of a task, when all that this can be about is kept; in the order of what happened."""
        task_id = record.task.task_id
        facts.update(task_id=task_id, state=record.state.value)
        sentence = f"task {short_id(task_id)}: {text}"
        self.durability.then_tell(lambda: self._node.tell(kind, sentence, **facts))
