"""Hold what the scheduler knows about tasks, subtasks, attempts and devices, and the table of an attempt's states.

Knows:   facts and the invariants among them, written beside the fields.
Refuses: to decide; that is core/scheduler.py.
Read next: core/scheduler.py.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import Deque, Dict, FrozenSet, List, Tuple

from ..model.device import short_id
from ..model.task import TaskState
from .placement import placement_cost

#: Lines of a task's story that are kept; a task that goes well has three.
TOLD_LINES = 200


class AttemptState(Enum):
    """Say what became of one try of one subtask on one device."""

    LEASED = "leased"
    SUCCEEDED = "succeeded"
    #: Its own code raised.
    FAILED = "failed"
    #: The device broke under it, or vanished with it.
    LOST = "lost"
    #: The device would not take it.
    REFUSED = "refused"
    #: The device gave no sign of life for the time of the lease.
    EXPIRED = "expired"
    #: We wanted it no longer.
    STOPPED = "stopped"


#: (state, fact) -> state. An attempt that is not LEASED is forgotten at once, and what is said of it later is
#: ignored and counted; so a pair that is missing is a mistake of ours, and asserted.
ATTEMPT_MOVES: Dict[Tuple[AttemptState, str], AttemptState] = {
    (AttemptState.LEASED, "renewed"): AttemptState.LEASED,
    (AttemptState.LEASED, "succeeded"): AttemptState.SUCCEEDED,
    (AttemptState.LEASED, "blames task"): AttemptState.FAILED,
    (AttemptState.LEASED, "blames device"): AttemptState.LOST,
    (AttemptState.LEASED, "refused"): AttemptState.REFUSED,
    (AttemptState.LEASED, "device lost"): AttemptState.LOST,
    (AttemptState.LEASED, "lease ended"): AttemptState.EXPIRED,
    (AttemptState.LEASED, "stopped"): AttemptState.STOPPED,
}


class SubtaskState(Enum):
    """Say where one piece of a task is."""

    #: In its task's `pending`.
    PENDING = "pending"
    #: Waits for a ("retry", task, index) deadline.
    RESTING = "resting"
    #: Has at least one live attempt.
    RUNNING = "running"
    #: Has its one result.
    DONE = "done"


class DeviceRecord:
    """Remember one device that may be given work."""

    def __init__(self, device_id: str, order: int) -> None:
        self.device_id = device_id
        #: The order of appearance settles ties, so that two runs of one seed agree.
        self.order = order
        self.slots = 0
        self.speed = 0.0
        self.load = 0.0
        self.offers: FrozenSet[str] = frozenset()
        self.reason = ""
        self.lease_s = 15.0
        #: attempt id -> attempt: exactly the live attempts here. May exceed `slots` after these shrank.
        self.running: Dict[str, AttemptRecord] = {}
        #: Attempts in a row that it broke or refused; while `resting` there is a ("rest", id) deadline.
        self.failures = 0
        self.resting = False
        #: A lease ended here and no sign of life came since; there is a ("silent", id) deadline.
        self.silent = False
        #: Grows with every change that matters for placement: older heap entries are void.
        self.generation = 0

    @property
    def free(self) -> int:
        """Return how many attempts it may be given now."""
        return 0 if self.resting or self.silent else max(0, self.slots - len(self.running))

    def cost(self) -> float:
        """Return its rank among devices; needs `slots` > 0."""
        return placement_cost(running=len(self.running), slots=self.slots, speed=self.speed, load=self.load)


class ScheduledTask:
    """Remember one task and what of it is where."""

    def __init__(self, task_id: str, subtasks: int, *, order: int, priority: int) -> None:
        self.task_id = task_id
        self.order = order
        self.priority = min(max(priority, 1), 10)
        self.requires: Tuple[str, ...] = ()
        self.max_devices = 0
        self.state = TaskState.RUNNING
        self.total = subtasks
        #: Subtasks without a result: 0 exactly when COMPLETED.
        self.left = subtasks
        #: All pieces by index; emptied when the task ends.
        self.subtasks: List[SubtaskRecord] = [SubtaskRecord(self, index) for index in range(subtasks)]
        #: Heap of the indexes of exactly the PENDING subtasks. (A sorted list is a heap.)
        self.pending: List[int] = list(range(subtasks))
        #: attempt id -> attempt: exactly the live attempts of this task.
        self.live: Dict[str, AttemptRecord] = {}
        #: device id -> how many of `live` are there; at most `max_devices` entries unless that is 0.
        self.devices: Dict[str, int] = {}
        #: True while the task is in its pool's queue: it has pending subtasks and `max_devices` does not hold it up.
        self.queued = False
        #: True while the last that its story told is that no device takes it.
        self.told_waiting = False
        self.lines: Deque[str] = deque(maxlen=TOLD_LINES)

    def rank(self) -> Tuple[int, int, str]:
        """Return the sort key of whose turn it is: priority, then order of submission."""
        return -self.priority, self.order, self.task_id

    @property
    def at_device_limit(self) -> bool:
        """Return whether only devices that already work for it may be given more of it."""
        return 0 < self.max_devices <= len(self.devices)


class SubtaskRecord:
    """Remember one piece of a task."""

    def __init__(self, task: ScheduledTask, index: int) -> None:
        self.task = task
        self.index = index
        self.state = SubtaskState.PENDING
        #: Attempts ever made: the last part of the next attempt's id is one more.
        self.attempts = 0
        #: Attempts that devices broke or refused; decides the rest before the next one.
        self.failures = 0
        #: attempt id -> attempt: not empty exactly while RUNNING.
        self.live: Dict[str, AttemptRecord] = {}
        #: Devices on which it was tried, in order; others come first.
        self.tried: Dict[str, None] = {}
        #: attempt id -> (device id, whether the device lived on): the attempts held against this subtask.
        self.harms: Dict[str, Tuple[str, bool]] = {}


class AttemptRecord:
    """Remember one live attempt; exists only while LEASED."""

    def __init__(self, attempt_id: str, subtask: SubtaskRecord, device_id: str, lease_until: float) -> None:
        self.attempt_id = attempt_id
        self.subtask = subtask
        self.device_id = device_id
        #: Renewals only push this forward; the deadline is corrected when it surfaces.
        self.lease_until = lease_until
        self.state = AttemptState.LEASED

    def move(self, fact: str) -> None:
        """Move by the table."""
        after = ATTEMPT_MOVES.get((self.state, fact))
        assert after is not None, f"{fact!r} cannot happen to {self.story()}"
        self.state = after

    def story(self) -> str:
        """Return one line for errors and logs."""
        return f"attempt {self.attempt_id} on {short_id(self.device_id)}, {self.state.value}"
