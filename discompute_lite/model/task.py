"""Describe work: what a person submits, and the pieces that are placed on devices.

Knows:   the messages `ComputeTask` and `SubTask` of the original service, field for field; ours under `lite`.
Refuses: to split, place or run anything; see tasks/types.py and core/scheduler.py.
Read next: model/codec.py (to and from JSON).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Dict, List, NamedTuple


class SubTaskStatus(Enum):
    """Say how far a subtask is."""

    PENDING = "PENDING"
    ASSIGNED = "ASSIGNED"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


class TaskState(Enum):
    """Say how far a task is; travels as ``lite.state`` of a `ComputeTask`."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


#: Whoever wants more tries for ever.
RETRIES_MOST = 100
#: States that a task does not leave.
FINAL_STATES = (TaskState.COMPLETED, TaskState.FAILED, TaskState.CANCELLED)


@dataclass(frozen=True)
class ComputeTask:
    """Hold what a person submits; `task_data` is the JSON text that its task type documents."""

    task_id: str = ""
    task_type: str = ""
    task_data: bytes = b""
    metadata: Dict[str, str] = field(default_factory=dict)
    required_capabilities: List[str] = field(default_factory=list)
    estimated_duration_seconds: int = 0
    #: 1 to 10, higher is more important; 0 (not given) counts as 5.
    priority: int = 0
    lite: Dict[str, Any] = field(default_factory=dict)


def is_private(task: ComputeTask) -> bool:
    """Whether a task, its results and its journal's copy are to stay where it was submitted and on devices it names."""
    return task.metadata.get("private", "").lower() == "true"


class TaskWishes(NamedTuple):
    """Say how a task is to be run, beside what the original's fields say; travels in `lite` of a `ComputeTask`."""

    #: So often a subtask that raises is tried again.
    retries: int = 0
    #: Seconds from when it is split in which it must end, else it fails; 0.0 for no limit.
    deadline_s: float = 0.0
    #: False where running a piece twice would do harm: then a slow one is not tried elsewhere beside.
    pure: bool = True


def wishes_of(task: ComputeTask) -> TaskWishes:
    """Read the wishes of a task; what makes no sense counts as not said."""
    retries, deadline_s = task.lite.get("retries"), task.lite.get("deadline_s")
    return TaskWishes(
        retries if type(retries) is int and 0 <= retries <= RETRIES_MOST else 0,
        float(deadline_s) if isinstance(deadline_s, (int, float)) and deadline_s > 0 else 0.0,
        task.lite.get("pure") is not False,
    )


@dataclass(frozen=True)
class SubTask:
    """Hold the piece of a task that is placed on one device. Times are Unix seconds, 0 for not yet."""

    subtask_id: str = ""
    parent_task_id: str = ""
    subtask_index: int = 0
    subtask_data: bytes = b""
    assigned_device_id: str = ""
    status: SubTaskStatus = SubTaskStatus.PENDING
    started_at: int = 0
    completed_at: int = 0
    result_data: bytes = b""
    error_message: str = ""
    lite: Dict[str, Any] = field(default_factory=dict)
