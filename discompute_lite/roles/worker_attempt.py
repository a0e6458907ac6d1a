"""Hold one attempt of one subtask on this device, from when it comes until its outcome may be forgotten.

Knows:   who sent it, what bounds it, who waits for it, what came of it.
Refuses: to decide anything; roles/worker.py does.
Read next: roles/worker.py.
"""

from __future__ import annotations

from typing import Any, List, Optional, Tuple

from ..core.access import WorkRule
from ..core.allowance import Allowance
from ..model.errors import DiscomputeError, Forbidden, Unauthenticated, Unavailable
from ..model.task import SubTask
from ..tasks.work import WorkOutcome
from .methods import ExecuteSubtaskAnswer
from .ports import Later

#: What is said of an attempt that its device gives back: it may begin elsewhere at once, and nobody is to blame.
RELEASED = "released"
#: What is said of one that is too much for its device, before it has begun, or once it has outgrown a bound there.
UNFIT, OUTGROWN = "unfit", "outgrown"
#: Seconds that a device rests after a piece of work, at most, where it rests at all.
REST_MOST_S = 30.0
#: (the node that sent it, its id)
AttemptKey = Tuple[str, str]


class WorkerAttempt:
    """Hold one attempt of one subtask on this device."""

    __slots__ = ("id", "subtask", "sender", "lease_s", "bounds", "started_at", "future", "waiting", "outcome",
                 "blobs", "is_ruled", "silent_boot")

    def __init__(self, attempt_id: str, subtask: SubTask, sender: str, lease_s: float, bounds: WorkRule) -> None:
        self.id = attempt_id
        #: Without its data once it has ended.
        self.subtask = subtask
        #: The node that sent it; "" for this node itself and for clients.
        self.sender = sender
        self.lease_s = lease_s
        #: What this device's owner allows its sender.
        self.bounds = bounds
        self.started_at = 0
        #: The executor's future while it runs, else None.
        self.future: Any = None
        #: Callers to be answered.
        self.waiting: List[Later] = []
        #: The answer, once it has ended.
        self.outcome: Optional[ExecuteSubtaskAnswer] = None
        #: The blobs that it needs: kept here from when they have come until it ends.
        self.blobs: List[str] = []
        #: Whether the owner's rules apply to it: it is a device's of the cluster.
        self.is_ruled = False
        #: The life of its sender that fell silent while the outcome was kept; "" while it is heard.
        self.silent_boot = ""

    @property
    def key(self) -> AttemptKey:
        """Return what tells it from all others: two coordinators may give the same id to different work."""
        return self.sender, self.id


def seconds_asked(subtask: SubTask, name: str) -> float:
    """Return the seconds that its sender gives under a name of `lite`; 0.0 where that is none."""
    asked_s = subtask.lite.get(name)
    return float(asked_s) if isinstance(asked_s, (int, float)) and asked_s > 0 else 0.0


def rest_after(seconds: float, allowance: Allowance) -> float:
    """Return for how long nothing begins after so much work; 0.0 where the allowance asks for no rest."""
    if allowance.share >= 1.0 or not allowance.slots:
        return 0.0
    return min(REST_MOST_S, seconds * (1.0 / allowance.share - 1.0) / allowance.slots)


def outgrew(attempt: WorkerAttempt, work: WorkOutcome) -> bool:
    """Whether a piece was ended by a bound of this device's own: another may give it more."""
    asked_s, own_s = seconds_asked(attempt.subtask, "wall_s"), attempt.bounds.wall_s
    is_own_time = work.error_type == "TimedOut" and own_s > 0 and (not asked_s or own_s < asked_s)
    return is_own_time or work.error_type == "OverLimit"


def blame_of(done: SubTask) -> str:
    """Return what the scheduler is told of an attempt that has ended badly; what it does not know is the device's."""
    blame = next((each for each in (RELEASED, OUTGROWN) if done.lite.get(each) is True), done.lite.get("blame"))
    if blame in ("task", "refused", RELEASED, OUTGROWN):
        return str(blame)
    return "died" if done.lite.get("error_type") == "Died" else "device"


def blame_of_error(error: DiscomputeError) -> str:
    """Return the same of an attempt that was not taken."""
    if isinstance(error.data, dict) and error.data.get(UNFIT) is True:
        return UNFIT
    return "refused" if isinstance(error, (Unavailable, Forbidden, Unauthenticated)) else "device"
