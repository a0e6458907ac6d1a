"""Hold one task that was submitted here, and say how far it is.

Knows:   a task's data, parts, results and story.
Refuses: to change itself but by its coordinator.
Read next: roles/coordinator.py.
"""

from __future__ import annotations

import hashlib
from collections import deque
from dataclasses import replace
from typing import Any, Deque, Dict, List, Optional, Set

from ..core.ownership import named_devices
from ..model.device import short_id
from ..model.errors import DiscomputeError, Unavailable
from ..model.task import FINAL_STATES, ComputeTask, SubTask, SubTaskStatus, TaskState, is_private
from ..tasks.types import TASK_TYPES
from ..tasks.work import STREAM_MARK
from .bounds import bounded_output
from .methods import GetTaskResultAnswer, GetTaskStatusAnswer, PrintedText, SubmitTaskAnswer
from .ports import Later

#: Subtasks that one answer lists, some 500 bytes each: a line has 1 MiB.
LISTED_SUBTASKS = 1024
#: Parts of a result in one answer, each perhaps an attachment, of which a message has 256; and so many characters of
#: what was printed, or a few more.
PARTS_TOLD, OUTPUT_TOLD_CHARS = 100, 64 * 1024
#: Characters that are kept of what split, merge and failed attempts print: a task that is tried often says the same
#: again and again. Beyond: dropped, and said so once.
KEPT_PRINTED_CHARS = 512 * 1024
PRINTED_TOO_MUCH = "[what is printed from here on, beside results, is not kept]\n"
#: What is told of a task that is accepted and has no subtasks yet.
SPLIT_LATER = "it is to be split"
#: Lines of a task's story that are kept.
KEPT_STORY_LINES = 200
#: States in which a subtask stays.
ENDED_STATES = (SubTaskStatus.COMPLETED, SubTaskStatus.FAILED, SubTaskStatus.CANCELLED)


def problem_in(task: ComputeTask) -> str:
    """Say what is wrong with a task as it was submitted, wherever that is; "" where nothing is."""
    if task.task_type not in TASK_TYPES:
        return f"there is no task type {task.task_type!r}; choose one of {', '.join(TASK_TYPES.names())}"
    if len(task.task_id) > 64 or "/" in task.task_id or STREAM_MARK in task.task_id:
        return f"a task_id has at most 64 characters, no slash and no {STREAM_MARK}"
    if is_private(task) and not named_devices(task.required_capabilities):
        return "A private task stays on the device that it names. Name one: submit --private --requires DEVICE"
    return ""


def shutting_down(task_id: str) -> Unavailable:
    """Tell whoever waits for a task that its node stops."""
    return Unavailable(f"this node is shutting down; once it runs again: submit --resume {task_id}")


class CoordinatedTask:
    """Hold one task from submission until it is forgotten."""

    def __init__(self, task: ComputeTask, max_devices: int, target: int) -> None:
        self.task = task
        self.max_devices = max_devices
        self.target = target
        #: Names what is run: speeds are learnt for each name, from one task to the next.
        self.function = f"{task.task_type} {hashlib.sha256(task.task_data).hexdigest()}"
        self.state = TaskState.PENDING
        #: Why it failed or was cancelled.
        self.message = ""
        #: Who answers for it, in which term, and where it was submitted; "" for this node (core/ownership.py).
        self.term, self.owner_id, self.first_owner_id = 1, "", ""
        #: What its owners and those who keep its copy know, and its workers do not; "" where nobody drew one.
        self.secret = ""
        #: Since when the node that answers for it is gone, Unix seconds; 0.0 while it is there, or is this one.
        self.owner_lost_at = 0.0
        #: Why this node does not go on with it though its own is gone; "" where it does.
        self.rests = ""
        #: Another node answers for it from now on; "" while this one does.
        self.moved_to = ""
        #: Devices that did not take its copy, and are asked again when they can be called anew.
        self.refused_by: Set[str] = set()
        #: It ended before its submission was acknowledged.
        self.is_refused = False
        self.subtasks: List[SubTask] = []
        #: Subtasks with a result; equals the number of COMPLETED ones.
        self.completed = 0
        self.result_data = b""
        #: What was printed where no result carries it: by split, merge and attempts that failed.
        self.printed: List[PrintedText] = []
        self._printed_chars = 0
        #: The executor's future while the task is split or merged, else None.
        self.running: Any = None
        self.story: Deque[str] = deque(maxlen=KEPT_STORY_LINES)
        self.submitted_at = 0.0
        #: When a subtask had its result last.
        self.finished_last_at = 0.0
        self.finished_at = 0.0
        #: Those who wait for the task to be split, or accepted, and for something new to happen.
        self.splitting: List[Later] = []
        self.watching: List[Later] = []

    @property
    def is_over(self) -> bool:
        """Whether nothing will change any more."""
        return self.state in FINAL_STATES

    def percentage(self) -> float:
        """Return how much is done, 0 to 100; 100 only when merged."""
        if self.state is TaskState.COMPLETED:
            return 100.0
        return 99.9 * self.completed / len(self.subtasks) if self.subtasks else 0.0

    # ---- what its coordinator does to it ------------------------------------------------------------

    def divide(self, parts: List[bytes]) -> None:
        """It was split into these pieces."""
        task_id = self.task.task_id
        self.subtasks = [SubTask(f"{task_id}/{index}", task_id, index, part) for index, part in enumerate(parts)]
        self.state = TaskState.RUNNING

    def begin(self, index: int, device_id: str, wall_now: float) -> None:
        """A subtask is given to a device."""
        self.subtasks[index] = replace(
            self.subtasks[index], status=SubTaskStatus.RUNNING, assigned_device_id=device_id, started_at=int(wall_now)
        )

    def accept(self, index: int, device_id: str, done: SubTask, wall_now: float) -> None:
        """A subtask has its one result."""
        self.subtasks[index] = replace(
            self.subtasks[index], status=SubTaskStatus.COMPLETED, assigned_device_id=device_id, subtask_data=b"",
            completed_at=int(wall_now), result_data=bytes(done.result_data), error_message="",
            lite={key: done.lite[key] for key in ("seconds", "output") if key in done.lite},
        )
        self.completed += 1
        self.finished_last_at = max(self.finished_last_at, wall_now)

    def fail(self, index: int, reason: str) -> None:
        """A subtask has ended the whole task."""
        self.subtasks[index] = replace(self.subtasks[index], status=SubTaskStatus.FAILED, error_message=reason)

    def keep_printed(self, phase: str, device_id: str, output: Any) -> None:
        """Something was printed on a device, and no result carries it; `output` may be anything that a device says."""
        if output and isinstance(output, str) and self._printed_chars < KEPT_PRINTED_CHARS:
            text = bounded_output(output)
            self._printed_chars += len(text)
            self.printed.append(PrintedText(phase, device_id, text))
            if self._printed_chars >= KEPT_PRINTED_CHARS:
                self.printed.append(PrintedText(phase, device_id, PRINTED_TOO_MUCH))
            self.wake_watchers()

    def answer_submissions(self, error: Optional[DiscomputeError] = None) -> None:
        """Tell those who wait for it to be accepted what is known, or why nothing is."""
        waiting, self.splitting = self.splitting, []
        for later in waiting:
            if error is None:
                later.resolve(self.submitted())
            else:
                later.fail(error)

    def wake_watchers(self) -> None:
        """There is something new."""
        watching, self.watching = self.watching, []
        for later in watching:
            later.resolve(None)

    def close(self, state: TaskState, message: str, wall_now: float) -> None:
        """The task is over; what went into it, which may be large, is kept no longer."""
        self.state, self.message, self.finished_at = state, message, wall_now
        self.task = replace(self.task, task_data=b"")
        self.subtasks = [
            replace(subtask, subtask_data=b"", status=subtask.status if subtask.status in ENDED_STATES
                    else SubTaskStatus.CANCELLED)
            for subtask in self.subtasks
        ]

    # ---- how it is told ---------------------------------------------------------------------------

    def has_ended(self, index: int) -> bool:
        """Whether nothing more will befall a subtask."""
        return self.subtasks[index].status in ENDED_STATES

    def end_of(self, index: int) -> str:
        """Say what became of a subtask that has ended, and in further lines what the story tells of it."""
        subtask = self.subtasks[index]
        if subtask.status is SubTaskStatus.COMPLETED:
            took_s = subtask.lite.get("seconds")
            took = f" took {took_s:.2f} s" if isinstance(took_s, (int, float)) else ""
            said = f"subtask {index} is done: {short_id(subtask.assigned_device_id)}{took}"
        elif subtask.status is SubTaskStatus.FAILED:
            said = f"subtask {index} failed: {subtask.error_message or self.message}"
        else:
            said = f"subtask {index} ended with its task: {self.message}"
        return "\n".join([said, *(line for line in self.story if f" subtask {index}: " in line)])

    def submitted(self) -> SubmitTaskAnswer:
        """Answer its submission, once it is known how it was split."""
        is_refused = self.is_refused or not self.subtasks
        failed = self.state in (TaskState.FAILED, TaskState.CANCELLED) and is_refused
        is_pending = self.state is TaskState.PENDING
        message = self.message if failed else SPLIT_LATER if is_pending else f"{len(self.subtasks)} subtasks"
        return SubmitTaskAnswer(not failed, message, self.task.task_id, self.listed())

    def described(self) -> ComputeTask:
        """Return the task as it is told: without its data, with its state."""
        lite = {**self.task.lite, "state": self.state.value, "percentage": round(self.percentage(), 1),
                "submitted_at": int(self.submitted_at)}
        if self.message:
            lite["message"] = self.message
        if not self.is_over:
            lite["last_sign_at"] = int(max(self.submitted_at, self.finished_last_at))
            if self.owner_lost_at:
                lite["owner_id"], lite["owner_lost_at"] = self.owner_id, int(self.owner_lost_at)
                lite.update({"rests": self.rests} if self.rests else {})
        return replace(self.task, task_data=b"", lite=lite)

    def listed(self) -> List[SubTask]:
        """Return the first subtasks as they are told: without their data, results and what they printed."""
        return [
            replace(subtask, subtask_data=b"", result_data=b"",
                    lite={key: value for key, value in subtask.lite.items() if key != "output"})
            for subtask in self.subtasks[:LISTED_SUBTASKS]
        ]

    def status(self, wall_now: float) -> GetTaskStatusAnswer:
        """Say how far it is, where its subtasks are and what happened to it."""
        by_device: Dict[str, int] = {}
        counts: Dict[str, int] = {}
        for subtask in self.subtasks:
            counts[subtask.status.value] = counts.get(subtask.status.value, 0) + 1
            if subtask.status is SubTaskStatus.COMPLETED:
                by_device[subtask.assigned_device_id] = by_device.get(subtask.assigned_device_id, 0) + 1
        lite = {"message": self.message, "story": list(self.story), "devices": by_device, "counts": counts}
        return GetTaskStatusAnswer(
            True, self.described(), self.listed(), self.percentage(), self.expected_end(wall_now), lite
        )

    def result_from(self, from_index: int, from_printed: int, most_bytes: int) -> GetTaskResultAnswer:
        """Return the merged result, and what is there from two places on, as much as one answer carries.

        Beside large parts the result may find no room; past the last part it is alone, and fits as it came.
        """
        from_index, from_printed = max(0, from_index), max(0, from_printed)
        parts: List[SubTask] = []
        printed: List[PrintedText] = []
        chars, size, is_full = 0, 0, False
        for subtask in self.subtasks[from_index:]:
            size += len(subtask.result_data)
            is_full = len(parts) >= PARTS_TOLD or chars >= OUTPUT_TOLD_CHARS or (size > most_bytes and bool(parts))
            if is_full or subtask.status is not SubTaskStatus.COMPLETED:
                break
            chars += len(str(subtask.lite.get("output", "")))
            parts.append(subtask)
        for text in self.printed[from_printed:]:
            # What merge printed follows what the last part did.
            if len(printed) >= PARTS_TOLD or chars >= OUTPUT_TOLD_CHARS or (is_full and text.phase == "merge"):
                break
            chars += len(text.text)
            printed.append(text)
        message = self.message or f"{self.completed} of {len(self.subtasks)} subtasks are done"
        if self.state is TaskState.PENDING:
            message = SPLIT_LATER
        size = sum(len(part.result_data) for part in parts)
        result_data = self.result_data if size + len(self.result_data) <= most_bytes else b""
        if self.result_data and not result_data:
            message = f"the result has no room beside these parts; ask again from_index {from_index + len(parts)}"
        return GetTaskResultAnswer(
            True, message, self.state.value, result_data, parts, from_index + len(parts), printed,
            from_printed + len(printed),
        )

    def expected_end(self, wall_now: float) -> int:
        """Return when it will probably be done, Unix seconds, 0 while nothing can be said."""
        if self.is_over or not self.completed:
            return int(self.finished_at)
        spent_s = wall_now - self.submitted_at
        return int(self.submitted_at + spent_s * len(self.subtasks) / self.completed)
