"""Hold what the scheduler knows about tasks, subtasks, attempts and devices, and the table of an attempt's states.

Knows:   facts and the invariants among them, written beside the fields.
Refuses: to decide; that is core/scheduler.py.
Read next: core/scheduler.py.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from enum import Enum
from typing import Deque, Dict, FrozenSet, NamedTuple, Optional, Tuple

from ..model.device import short_id
from ..model.task import TaskState
from .paces import FunctionPace
from .placement import places_in_advance, placement_cost

#: What a task demands and runs, (requirements, function key): tasks with equal ones share a pool.
PoolKey = Tuple[Tuple[str, ...], str]
#: (served, -priority, order, task id)
TaskRank = Tuple[float, int, int, str]
#: Devices that a task remembers as failing it, and that may be under suspicion: to choose among the others must not
#: cost more in a crowd.
FAULTS_KEPT = 256
#: Lines of a task's story that are kept; a task that goes well has three.
TOLD_LINES = 200
#: The way is an estimate: at least such a part of the time until an outcome is taken for work.
LEAST_WORK = 0.05
#: Subtasks that are over and of which is remembered what befell them; a task may get millions.
OVER_KEPT = 200


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
    #: The device gave it back: it was about to be stopped.
    RELEASED = "released"
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
    (AttemptState.LEASED, "released"): AttemptState.RELEASED,
    (AttemptState.LEASED, "device lost"): AttemptState.LOST,
    (AttemptState.LEASED, "lease ended"): AttemptState.EXPIRED,
    (AttemptState.LEASED, "stopped"): AttemptState.STOPPED,
}


class SubtaskState(Enum):
    """Say where one piece of a task is."""

    #: In its task's `pending` or `returned`.
    PENDING = "pending"
    #: Waits for a ("retry", task, index) deadline.
    RESTING = "resting"
    #: Has at least one live attempt.
    RUNNING = "running"
    #: Has its one result.
    DONE = "done"
    #: In an open task: cannot succeed any more.
    FAILED = "failed"
    #: In an open task: nobody wants it any longer.
    CANCELLED = "cancelled"


class Harm(NamedTuple):
    """Hold one attempt against its subtask."""

    device_id: str
    #: Whether the device lived on and told what broke.
    lived_on: bool
    sent_at: float
    #: What befell it, "" where that was not told.
    reason: str = ""
    #: Its process ended under it.
    is_death: bool = False


class TaskFault:
    """Remember that a task fails on a device: since it last succeeded there."""

    def __init__(self) -> None:
        #: Failures in a row, those of one moment counted once.
        self.failures = 0
        #: When the last that counted was; attempts sent before that tell nothing new.
        self.since = 0.0
        self.reason = ""
        #: Whether this task is counted in the device's `charges`, or was.
        self.is_charged = False


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
        self.window = 0
        #: Seconds to it and back, 0.0 for no way, and bytes a second on it, 0.0 where not measured.
        self.round_trip_s, self.bytes_s = 0.0, 0.0
        #: The attempts of `running` that have not begun, in order: sent in advance, so all slots are taken.
        self.waiting: OrderedDict[str, AttemptRecord] = OrderedDict()
        #: Calls in the subtasks of `waiting`, all together.
        self.waiting_calls = 0
        #: How many of `running` are of subtasks whose size is not known yet.
        self.unsized = 0
        #: pool key -> how many of `running` are of it; no zeros.
        self.kinds: Dict[PoolKey, int] = {}
        #: Attempts in a row that it refused; while `resting` there is a ("rest", id) deadline.
        self.refusals = 0
        self.resting = False
        #: Failures in a row, those of one moment counted once, and when the last that counted was.
        self.failures = 0
        self.failed_at = 0.0
        #: Different tasks in a row that failed here and succeeded elsewhere, of attempts sent since `cleared_at`:
        #: when it last did any work, or was last put in quarantine.
        self.charges = 0
        self.cleared_at = float("-inf")
        #: Why it rests, and until when, for people.
        self.rest_reason, self.rest_until = "", 0.0
        #: A lease ended here and no sign of life came since; there is a ("silent", id) deadline.
        self.silent = False
        #: When it last gave a sign of life. While it has attempts, `silence_s` > 0 and it is not `quiet` there
        #: is a ("quiet", id) deadline. Quiet: too long silent for new work, not long enough to take the old away.
        self.silence_s = 0.0
        self.heard_at = 0.0
        self.quiet = False
        #: Grows with every change that matters for placement: older heap entries are void.
        self.generation = 0

    @property
    def is_paused(self) -> bool:
        """Return whether it gets nothing just now, whatever its slots."""
        return self.resting or self.silent or self.quiet

    @property
    def free(self) -> int:
        """Return how many attempts it could begin now."""
        return 0 if self.is_paused else max(0, self.slots - len(self.running))

    def room(self, key: PoolKey, pace: FunctionPace, may_wait: bool) -> int:
        """Return how many attempts of this kind it may be given now, those that would wait there if they may."""
        if self.resting or self.silent or self.quiet:
            return 0
        places, taken = self.slots, len(self.running)
        # Nothing waits behind work of another kind, or of a size that is about to be told: nobody knows for how long.
        if may_wait and self.window > 0 and not self.unsized and self.kinds.get(key, 0) == taken:
            places *= 1 + places_in_advance(window=self.window, typical_s=pace.subtask_s(self.device_id))
        return places - taken if places > taken else 0

    def cost(self, speed: float) -> float:
        """Return its rank among devices for work that it does at this speed; needs `slots` > 0."""
        return placement_cost(running=len(self.running), slots=self.slots, speed=speed, load=self.load)


class ScheduledTask:
    """Remember one task and what of it is where."""

    def __init__(self, task_id: str, *, order: int, priority: int) -> None:
        self.task_id = task_id
        self.order = order
        self.priority = min(max(priority, 1), 10)
        self.requires: Tuple[str, ...] = ()
        self.max_devices = 0
        self.pure = False
        self.function = ""
        #: What is learnt of its function, shared by the tasks that name the same one.
        self.pace = FunctionPace()
        self.retries = 0
        #: Whose share of the devices it uses; "" for one of its own.
        self.party = ""
        #: What a subtask weighs on its way, about; and of an open task the calls that wait, here and at whoever adds.
        self.size_bytes, self.backlog = 0, 0
        #: Its story has told that it is kept from far devices.
        self.told_kept = False
        #: Seconds an attempt of it holds a slot, lately; a guess before the first has ended.
        self.turn_s = 1.0
        self.turns = 0
        #: Seconds of slots that it was given, divided by its priority: whoever has least is next.
        self.served = 0.0
        self.state = TaskState.RUNNING
        #: Whether its subtasks fail and are cancelled each alone, and whether none can be added (any more).
        self.is_open, self.is_sealed = False, True
        #: Subtasks ever; indexes go up to here. Each is one of `subtasks`, done, failed or cancelled.
        self.total = 0
        self.done = self.failed = self.cancelled = 0
        #: index -> subtask: exactly those that are not over. Empties when the task ends, and it ends when this is
        #: empty and it is sealed.
        self.subtasks: Dict[int, SubtaskRecord] = {}
        #: The last OVER_KEPT that are over, for people.
        self.over: Deque[SubtaskRecord] = deque(maxlen=OVER_KEPT)
        #: Indexes of exactly the PENDING subtasks: those that were never tried, in order, and those that were, in the
        #: order of their return.
        self.pending: OrderedDict[int, None] = OrderedDict()
        self.returned: OrderedDict[int, None] = OrderedDict()
        #: attempt id -> attempt: exactly the live attempts of this task.
        self.live: Dict[str, AttemptRecord] = {}
        #: device id -> how many of `live` are there; at most `max_devices` entries unless that is 0.
        self.devices: Dict[str, int] = {}
        #: device id -> what is held against it by this task; at most FAULTS_KEPT.
        self.faults: Dict[str, TaskFault] = {}
        #: device id -> until when: devices of `faults` that it leaves alone while others could take its work; there is
        #: an ("avoid", task, device) deadline for exactly these.
        self.avoids: Dict[str, float] = {}
        #: True while the task is in its pool's queue: it has pending subtasks, `max_devices` does not hold it up, and
        #: the pool has not set it aside.
        self.queued = False
        #: True while the last that its story told is that no device takes it.
        self.told_waiting = False
        self.lines: Deque[str] = deque(maxlen=TOLD_LINES)

    def add(self, count: int) -> None:
        """Enter so many pieces more, pending."""
        for index in range(self.total, self.total + count):
            self.subtasks[index] = SubtaskRecord(self, index)
            self.pending[index] = None
        self.total += count

    @property
    def waiting(self) -> int:
        """Return how many of its subtasks are PENDING."""
        return len(self.pending) + len(self.returned)

    @property
    def pool_key(self) -> PoolKey:
        """Return which pool it belongs to."""
        return self.requires, self.function

    def rank(self) -> TaskRank:
        """Return the sort key of whose turn it is: who was served least, then priority, then order of submission."""
        return self.served, -self.priority, self.order, self.task_id

    @property
    def at_device_limit(self) -> bool:
        """Return whether only devices that already work for it may be given more of it."""
        return 0 < self.max_devices <= len(self.devices)


class SubtaskRecord:
    """Remember one piece of a task."""

    __slots__ = (
        "task", "index", "state", "calls", "is_sized", "attempts", "failures", "raised", "misfits", "live", "told",
        "done_by", "tried", "harms",
    )

    def __init__(self, task: ScheduledTask, index: int) -> None:
        self.task = task
        self.index = index
        self.state = SubtaskState.PENDING
        #: Calls of its function that it holds.
        self.calls = 1
        #: False while that is a guess: the pieces of open tasks are cut when their device is known.
        self.is_sized = not task.is_open
        #: Attempts ever made: the last part of the next attempt's id is one more.
        self.attempts = 0
        #: Attempts that devices broke or refused; decides the rest before the next one.
        self.failures = 0
        #: Attempts whose own code raised.
        self.raised = 0
        #: Attempts for which it was too much for their device.
        self.misfits = 0
        #: attempt id -> attempt: not empty exactly while RUNNING; more than one only where the task is pure.
        self.live: Dict[str, AttemptRecord] = {}
        #: What befell its last attempt that ended badly, or how it ended without a result, for people.
        self.told = ""
        #: (attempt id, device id, seconds) of what became its result.
        self.done_by: Optional[Tuple[str, str, float]] = None
        #: Devices on which it was tried, in order; others come first.
        self.tried: Dict[str, None] = {}
        #: attempt id -> what happened: the attempts held against this subtask.
        self.harms: Dict[str, Harm] = {}


class AttemptRecord:
    """Remember one live attempt; exists only while LEASED."""

    __slots__ = (
        "attempt_id", "subtask", "device_id", "sent_at", "lease_until", "state", "began_at", "expected_end", "way_s"
    )

    def __init__(
        self, attempt_id: str, subtask: SubtaskRecord, device_id: str, *, sent_at: float, lease_until: float
    ) -> None:
        self.attempt_id = attempt_id
        self.subtask = subtask
        self.device_id = device_id
        self.sent_at = sent_at
        #: Renewals only push this forward; the deadline is corrected when it surfaces.
        self.lease_until = lease_until
        self.state = AttemptState.LEASED
        #: When it came to the head of its device's queue; None while it waits there. An estimate: the device knows.
        self.began_at: Optional[float] = None
        #: When it will be done if it is a typical one, as it seemed when it was started or last sized.
        self.expected_end = 0.0
        #: How long it seemed to be on its way, there and back, when it was sent.
        self.way_s = 0.0

    def work_s(self, now: float) -> float:
        """Return how long its work took, if it ends now: without what of the way was left when it came to its turn."""
        if self.began_at is None:
            return 0.0
        took_s = now - self.began_at
        way_s = max(0.0, self.way_s - (self.began_at - self.sent_at))
        return max(took_s - way_s, LEAST_WORK * took_s)

    def move(self, fact: str) -> None:
        """Move by the table."""
        after = ATTEMPT_MOVES.get((self.state, fact))
        assert after is not None, f"{fact!r} cannot happen to {self.story()}"
        self.state = after

    def story(self) -> str:
        """Return one line for errors and logs."""
        return f"attempt {self.attempt_id} on {short_id(self.device_id)}, {self.state.value}"
