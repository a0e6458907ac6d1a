"""Hold one task that was submitted here, and say how far it is.

Knows:   a task's data, parts, results and story.
Refuses: to change itself but by its coordinator.
Read next: roles/coordinator.py.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import Deque, Dict, List

from ..model.task import FINAL_STATES, ComputeTask, SubTask, SubTaskStatus, TaskState
from .methods import GetTaskResultAnswer, GetTaskStatusAnswer
from .ports import Later

#: Lines of a task's story that are kept.
KEPT_STORY_LINES = 200


class CoordinatedTask:
    """Hold one task from submission until it is forgotten."""

    def __init__(self, task: ComputeTask, max_devices: int, target: int) -> None:
        self.task = task
        self.max_devices = max_devices
        self.target = target
        self.state = TaskState.PENDING
        #: Why it failed or was cancelled.
        self.message = ""
        self.subtasks: List[SubTask] = []
        #: Subtasks with a result; equals the number of COMPLETED ones.
        self.completed = 0
        self.result_data = b""
        self.story: Deque[str] = deque(maxlen=KEPT_STORY_LINES)
        self.submitted_at = 0.0
        self.finished_at = 0.0
        #: Those who wait for the task to be split, and for something new to happen.
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

    def described(self) -> ComputeTask:
        """Return the task as it is told: without its data, with its state."""
        lite = {**self.task.lite, "state": self.state.value, "percentage": round(self.percentage(), 1),
                "submitted_at": int(self.submitted_at)}
        if self.message:
            lite["message"] = self.message
        return replace(self.task, task_data=b"", lite=lite)

    def listed(self) -> List[SubTask]:
        """Return the subtasks as they are told: without their data and results."""
        return [replace(subtask, subtask_data=b"", result_data=b"") for subtask in self.subtasks]

    def status(self, wall_now: float) -> GetTaskStatusAnswer:
        """Say how far it is, where its subtasks are and what happened to it."""
        by_device: Dict[str, int] = {}
        for subtask in self.subtasks:
            if subtask.status is SubTaskStatus.COMPLETED:
                by_device[subtask.assigned_device_id] = by_device.get(subtask.assigned_device_id, 0) + 1
        lite = {"message": self.message, "story": list(self.story), "devices": by_device}
        return GetTaskStatusAnswer(
            True, self.described(), self.listed(), self.percentage(), self.expected_end(wall_now), lite
        )

    def result_from(self, from_index: int) -> GetTaskResultAnswer:
        """Return the merged result and the parts from `from_index` on that are there."""
        parts: List[SubTask] = []
        for subtask in self.subtasks[max(0, from_index):]:
            if subtask.status is not SubTaskStatus.COMPLETED:
                break
            parts.append(subtask)
        message = self.message or f"{self.completed} of {len(self.subtasks)} subtasks are done"
        return GetTaskResultAnswer(
            True, message, self.state.value, self.result_data, parts, max(0, from_index) + len(parts)
        )

    def expected_end(self, wall_now: float) -> int:
        """Return when it will probably be done, Unix seconds, 0 while nothing can be said."""
        if self.is_over or not self.completed:
            return int(self.finished_at)
        spent_s = wall_now - self.submitted_at
        return int(self.submitted_at + spent_s * len(self.subtasks) / self.completed)
