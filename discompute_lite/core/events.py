"""Say every word of the deciding machines on one page: events come in, actions go out.

Knows:   what may happen (past tense) and what may be wished (imperative).
Refuses: behaviour. `apply(event, now) -> [action, ...]` lives in the machines.
Read next: core/registry.py (who is there), core/scheduler.py (who does what).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Tuple

from ..model.device import ComputeMetrics, Device, DeviceCapabilities, DeviceStatus


@dataclass(frozen=True)
class Tick:
    """Time has passed: what was due at `now` may be done; late where this process stood still and heard nobody."""
    is_late: bool = False


# ---- the registry: what happened ------------------------------------------------------------------


@dataclass(frozen=True)
class BeaconHeard:
    """A beacon came in by the transport `via`; `device` is what it says, `address` host:port to call, by its source."""

    device: Device
    address: str
    boot: str
    seq: int
    every_s: float  #: The sender's own interval, seconds; decides how much silence is too much.
    via: str


@dataclass(frozen=True)
class ForeignHeard:
    """A node of another program was heard (Go discompute, EXO): listed, never given work."""

    device: Device
    address: str
    #: The program's name, such as "discompute (Go)" or "EXO".
    program: str
    via: str


@dataclass(frozen=True)
class GoodbyeHeard:
    """A node said that it is leaving. Ignored when `boot` is not the one believed to be running."""

    device_id: str
    boot: str


@dataclass(frozen=True)
class DeviceTold:
    """A peer spoke of a third device: hearsay, good for an address to try and nothing else."""

    device: Device
    by: str


@dataclass(frozen=True)
class LinkOpened:
    """A connection to this device has completed its Hello: first-hand proof of life."""

    device_id: str
    name: str
    #: host:port under which it can be dialled, "" when only it can dial us.
    address: str
    boot: str
    verified: bool


@dataclass(frozen=True)
class LinkLost:
    """The last connection to this device ended; it may only have moved, so it is asked for at once."""

    device_id: str
    on_purpose: bool = False  #: We closed it ourselves, to save room: no reason to suspect anything.
    why: str = ""  #: What one side held against the other, "" where nothing was said.


@dataclass(frozen=True)
class DeviceDescribed:
    """A device described itself over its own link (RegisterDevice)."""

    device: Device


@dataclass(frozen=True)
class HeartbeatHeard:
    """A device, or its answer to our heartbeat, came over a link; None means *as before*."""

    device_id: str
    status: Optional[DeviceStatus] = None
    metrics: Optional[ComputeMetrics] = None
    capabilities: Optional[DeviceCapabilities] = None


@dataclass(frozen=True)
class HeartbeatMissed:
    """Nothing came over an open link when it was due; `silent_s` seconds have passed since it was."""

    device_id: str
    silent_s: float


@dataclass(frozen=True)
class RoundTripMeasured:
    """A call to `address` took `seconds`; addresses are ranked by it."""

    device_id: str
    address: str
    seconds: float


@dataclass(frozen=True)
class AddressFailed:
    """Dialling `address` did not reach this device: somebody else is there, or nobody, which `is_refused` proves."""

    device_id: str
    address: str
    reason: str
    is_refused: bool = False


# ---- the registry: what is wished -----------------------------------------------------------------


@dataclass(frozen=True)
class TellJoined:
    """A device is there that was not there before (or had died or left)."""

    device_id: str


@dataclass(frozen=True)
class TellRestarted:
    """A device is there again under a new `boot`: whatever ran on it is gone."""

    device_id: str


@dataclass(frozen=True)
class TellChanged:
    """A device's status, capabilities or reason changed."""

    device_id: str
    is_back: bool = False  #: It was a suspect, and speaks over its link again.


@dataclass(frozen=True)
class TellSuspect:
    """A device has been silent for too long: no new work, the rest waits."""

    device_id: str


@dataclass(frozen=True)
class TellDead:
    """A device is gone without a word."""

    device_id: str
    reason: str


@dataclass(frozen=True)
class TellLeft:
    """A device said goodbye."""

    device_id: str


@dataclass(frozen=True)
class TellDuplicateIdentity:
    """Another process, at `address`, uses this node's own id: a copied state folder. Told once a minute at most."""

    device_id: str
    address: str


@dataclass(frozen=True)
class Dial:
    """Open a link to this device, trying `addresses` in order."""

    device_id: str
    addresses: Tuple[str, ...]


# ---- the scheduler: what happened -----------------------------------------------------------------


@dataclass(frozen=True)
class TaskSubmitted:
    """A task was accepted, already split into `subtasks` pieces with indexes from 0; an open one may get more."""

    task_id: str
    subtasks: int
    priority: int = 5  #: 1 to 10, higher first.
    requires: Tuple[str, ...] = ()  #: What a device must offer: names out of `DeviceReady.offers`.
    max_devices: int = 0  #: At most so many devices at once; 0 for no limit.
    pure: bool = False  #: Running a subtask twice does no harm: a second attempt may run beside a slow or silent one.
    function: str = ""  #: What is run, such as a hash of its source; speeds are learnt for each name, "" for none.
    deadline_s: float = 0.0  #: Seconds from now in which it must end, else it fails; 0 for no limit.
    retries: int = 0  #: So often a subtask may raise and be tried again; 0: the first exception is final.
    is_open: bool = False  #: Subtasks may be added until it is sealed, and only then it ends; each fails alone.
    done: Tuple[int, ...] = ()  #: Subtasks whose results were kept from before.
    size_bytes: int = 0  #: What one of its subtasks weighs on the way to a device, about.
    party: str = ""  #: Whose share of the devices it uses, along with other tasks of that party; "" for one of its own.


@dataclass(frozen=True)
class SubtasksAdded:
    """An open task got `count` pieces more; their indexes go on from the last. Ignored where nothing can be added."""

    task_id: str
    count: int
    backlog: int = 0  #: Calls that wait at whoever adds, those of these pieces included.
    size_bytes: int = 0  #: What a piece weighs on its way, at least.
    calls: int = 1  #: How many calls it holds, at least.
    call_s: float = 0.0  #: Seconds that one of these takes on the reference machine, 0.0 where nobody knows.


@dataclass(frozen=True)
class TaskSealed:
    """Nothing will be added to an open task any more: it finishes when all its subtasks are over."""

    task_id: str


@dataclass(frozen=True)
class SubtaskCancelled:
    """Somebody wants one subtask of an open task no longer: it is over. Others are cancelled as a whole only."""

    task_id: str
    index: int


@dataclass(frozen=True)
class SubtaskSized:
    """A subtask holds so many calls, of which one was assumed; speeds are learnt for each call.

    Told after the StartAttempt of its first attempt, where the piece is cut to suit the device.
    """

    task_id: str
    index: int
    calls: int
    #: Devices, one for each time, whose process its work has taken down before it was a subtask.
    died_on: Tuple[str, ...] = ()


@dataclass(frozen=True)
class DeviceReady:
    """A device may be given work, as from now with these properties (repeated on every change)."""

    device_id: str
    #: Attempts at once; 0 means none just now, and `reason` says why.
    slots: int
    speed: float = 0.0  #: Measured score of one slot, 1.0 for the reference machine; 0 where not measured.
    load: float = 0.0  #: 0 to 1: how busy it is with other things.
    offers: Tuple[str, ...] = ()
    reason: str = ""
    #: Seconds that an attempt may live here without a sign of life: 15, phones 30.
    lease_s: float = 15.0
    #: So many attempts more for each slot may wait here in advance, of functions known to be short.
    window: int = 0
    #: Without a sign of life for so long its pure attempts get a second beside them; 0 for never. Less than `lease_s`.
    silence_s: float = 0.0
    #: Seconds to it and back, 0 for no way at all; and bytes a second on that way, 0 where nobody has measured it.
    round_trip_s: float = 0.0
    bytes_s: float = 0.0


@dataclass(frozen=True)
class DeviceLost:
    """A device is gone: all its attempts are lost at once."""

    device_id: str
    reason: str
    #: True when it went in good order (a goodbye, a drain): not held against the work that ran on it.
    clean: bool = False


@dataclass(frozen=True)
class LeaseRenewed:
    """A device reported, by heartbeat, that these attempts still run."""

    device_id: str
    attempts: Tuple[str, ...]


@dataclass(frozen=True)
class AttemptSucceeded:
    """The outcome of an attempt is here and right."""

    attempt_id: str
    size_bytes: int = 0  #: What the outcome weighs.


@dataclass(frozen=True)
class AttemptFailed:
    """An attempt ended badly; `blame` says what follows.

    "task": its own code raised: final, unless the task asked for `retries`. "device": the device could not do it: tried
    elsewhere, and held against all of them (core/blame.py). "died": the same, its process ended under it. "refused": it
    would not take it (busy, low battery): tried elsewhere, nothing is counted. "released": the same, at once. "unfit":
    too much for that device: the same, for this piece alone. "outgrown": so it turned out: final the third time.
    """

    attempt_id: str
    blame: str
    reason: str


@dataclass(frozen=True)
class CancelAsked:
    """Somebody cancelled a task."""

    task_id: str
    reason: str


# ---- the scheduler: what is wished ----------------------------------------------------------------


@dataclass(frozen=True)
class StartAttempt:
    """Send this subtask to this device; `attempt_id` is ``<task>/<index>.<number>``, the fencing token."""

    attempt_id: str
    task_id: str
    index: int
    device_id: str
    lease_s: float


@dataclass(frozen=True)
class StopAttempt:
    """Tell the device to end an attempt that is no longer wanted (best effort)."""

    attempt_id: str
    device_id: str
    reason: str


@dataclass(frozen=True)
class AcceptResult:
    """Keep this attempt's outcome as the one result of its subtask; happens once a subtask."""

    task_id: str
    index: int
    attempt_id: str
    device_id: str


@dataclass(frozen=True)
class FailSubtask:
    """A subtask of an open task cannot succeed any more; its task goes on, and what ran of it has been stopped."""

    task_id: str
    index: int
    reason: str
    #: "poison": it took down three devices or processes, or one with several calls in it. "task": its own code raised.
    blame: str


@dataclass(frozen=True)
class FinishTask:
    """Every subtask has its result: merge them. An open task: it is sealed, and every subtask is over."""

    task_id: str


@dataclass(frozen=True)
class FailTask:
    """The task cannot succeed any more; what ran of it has been stopped."""

    task_id: str
    reason: str
    #: The subtask that ended it, -1 for none in particular.
    index: int = -1


@dataclass(frozen=True)
class EndCancelled:
    """The task is cancelled; what ran of it has been stopped."""

    task_id: str
    reason: str


@dataclass(frozen=True)
class TellStory:
    """Write one line of a task's story, for `status` and for people."""

    task_id: str
    text: str
