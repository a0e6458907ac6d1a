"""Send the scheduler's attempts to their devices, and bring it what comes of them.

Knows:   which attempt is where, which outcomes have arrived and may be forgotten there.
Refuses: to choose devices (core/scheduler.py does) and to know what a task is for: its `TaskOwner` does.
Read next: core/scheduler.py, roles/coordinator.py and roles/streams.py (the owners), roles/worker.py (the other end).
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import Any, Callable, Deque, Dict, List, Optional, Protocol, Set, Tuple

from ..core.events import (
    AcceptResult, AttemptFailed, AttemptSucceeded, DeviceLost, DeviceReady, EndCancelled, FailSubtask, FailTask,
    FinishTask, LeaseRenewed, StartAttempt, StopAttempt, TellStory, Tick,
)
from ..core.scheduler import Scheduler
from ..model.codec import from_json, to_json
from ..model.device import short_id
from ..model.errors import DiscomputeError, LinkError
from ..model.limits import MIB
from ..model.task import SubTask
from .alarm import LATE_S, Alarm
from .blob_weight import too_heavy, weight_of
from .methods import ExecuteSubtaskAnswer
from .worker_attempt import UNFIT, blame_of, blame_of_error


#: Characters of why an attempt stands still, as its device says; and attempts that are named at once.
STILL_CHARS, STILL_NAMED = 200, 3


class TaskOwner(Protocol):
    """Answer for one task of the scheduler."""

    def begin(self, action: StartAttempt) -> Optional[SubTask]:
        """Return the subtask to be sent, its `lite` without what attempts add; None when nothing is left of it."""

    def task_type(self) -> str:
        """Return what the worker is to run it as."""

    def accept(self, action: AcceptResult, done: SubTask) -> None:
        """Take the one result of a subtask."""

    def attempt_failed(self, action: StartAttempt, done: SubTask) -> None:
        """Take note of an attempt that ended badly, whatever becomes of its subtask."""

    def subtask_failed(self, action: FailSubtask) -> None:
        """One subtask of an open task cannot succeed."""

    def finished(self) -> None:
        """Every subtask has its result."""

    def failed(self, action: FailTask) -> None:
        """The task cannot succeed any more."""

    def cancelled(self, reason: str) -> None:
        """The task is cancelled; what ran of it has been stopped."""

    def told(self, text: str) -> None:
        """Keep one line of the task's story."""


class Attempts:
    """Obey one node's scheduler."""

    def __init__(self, node: Any) -> None:
        self._node = node
        self.scheduler = Scheduler(node.rng)
        #: task id -> who answers for it: all that the scheduler may still speak of.
        self._owners: Dict[str, TaskOwner] = {}
        #: attempt id -> (its wish, what was sent) of attempts sent out and not yet ended.
        self._sent: Dict[str, Tuple[StartAttempt, SubTask]] = {}
        #: attempt id -> why it stands still on its device, "" where it does not: of `_sent`, what devices told.
        self._still: Dict[str, str] = {}
        #: device id -> how many of `_sent` it has; no zeros.
        self._sent_by_device: Dict[str, int] = {}
        #: device id -> outcomes that have arrived and may be forgotten there.
        self._to_acknowledge: Dict[str, List[str]] = {}
        #: Attempts of which nothing was left to send, until the scheduler has been told.
        self._unsent: Set[str] = set()
        #: Attempts whose outcome has arrived, until the scheduler has been told.
        self._landed: List[StartAttempt] = []
        #: attempt id -> outcome, while the scheduler is being told of it.
        self._arrived: Dict[str, SubTask] = {}
        #: Facts that came up while wishes were being obeyed: told once these are done, in order.
        self._facts: Deque[Any] = deque()
        self._is_obeying = False
        self._alarm = Alarm(node.clock, self._woken)
        self._is_stopping = False

    # ---- what owners ask --------------------------------------------------------------------------

    def own(self, task_id: str, owner: TaskOwner) -> None:
        """Let `owner` answer for a task from now on."""
        self._owners[task_id] = owner
        self._node.link_speeds.measure()
        self._node.discovery.want_links_for_work()

    def disown(self, task_id: str) -> None:
        """Forget a task that has ended."""
        self._owners.pop(task_id, None)

    def apply(self, event: Any) -> None:
        """Give the scheduler a fact and do what it wishes; while that is being done, the fact waits its turn."""
        if self._is_stopping:
            return
        self._facts.append(event)
        if self._is_obeying:
            return
        self._is_obeying = True
        try:
            while self._facts:
                for action in self.scheduler.apply(self._facts.popleft(), self._node.clock.now()):
                    self._OBEY[type(action)](self, action)
        finally:
            self._is_obeying = False
            # What the scheduler did not want came too late.
            self._arrived.clear()
            self._unsent.clear()
        self._acknowledge_landed()
        self._alarm.set(self.scheduler.next_deadline())

    # ---- what the node tells ----------------------------------------------------------------------

    def device_ready(self, ready: DeviceReady) -> None:
        """A device may be given work, as described."""
        if self._owners:
            self._node.link_speeds.measure()
            if self._node.belonging.is_member_here(ready.device_id):
                self._node.discovery.want_link(ready.device_id)
        self.apply(ready)

    def device_lost(self, device_id: str, reason: str, is_clean: bool = False) -> None:
        """A device is gone, with everything that ran on it."""
        for attempt_id in [key for key, (sent, _) in self._sent.items() if sent.device_id == device_id]:
            self._no_longer_sent(attempt_id)
        self._to_acknowledge.pop(device_id, None)
        self.apply(DeviceLost(device_id, reason, clean=is_clean))

    def link_opened(self, device_id: str) -> None:
        """A device can be called again: ask anew for attempts whose answer may have been lost with the last link."""
        for action, subtask in list(self._sent.values()):
            if action.device_id == device_id:
                self._send(action, subtask)

    def lease_renewed(self, device_id: str, attempts: Tuple[str, ...], still: Any = None) -> None:
        """A device reported which attempts run there, and `still` which of them stand still and why, if any."""
        self.apply(LeaseRenewed(device_id, attempts))
        for attempt_id in attempts:
            action, subtask = self._sent.get(attempt_id, (None, None))
            if action is None or subtask is None or action.device_id != device_id:
                continue
            why = still.get(attempt_id) if isinstance(still, dict) else ""
            why = why[:STILL_CHARS] if isinstance(why, str) else ""
            if why and not self._still.get(attempt_id):
                self._owners[action.task_id].told(f"subtask {action.index}: {_stands_still(action, why)}")
            self._still[attempt_id] = why

    def still_there(self, device_id: str) -> None:
        """A device lives, and cannot say just now which attempts run there: all that it was sent may."""
        if device_id in self._sent_by_device:
            sent = (key for key, (action, _) in self._sent.items() if action.device_id == device_id)
            self.apply(LeaseRenewed(device_id, tuple(sent)))

    def why_still(self, task_id: str, index: int = -1) -> str:
        """Return which attempts of a task, or of one subtask of it, stand still on their devices, and why."""
        found = [
            _stands_still(action, self._still[key]) for key, (action, _) in self._sent.items()
            if action.task_id == task_id and index in (-1, action.index) and self._still.get(key)
        ]
        return "".join(f"; {words}" for words in found[:STILL_NAMED])

    def has_work_with(self, device_id: str) -> bool:
        """Whether attempts of ours are on this device."""
        return device_id in self._sent_by_device

    @property
    def is_at_work(self) -> bool:
        """Whether attempts of ours are under way, wherever."""
        return bool(self._sent)

    def acknowledgements_for(self, device_id: str) -> List[str]:
        """Return, once, the outcomes that this device may forget."""
        return self._to_acknowledge.pop(device_id, [])

    def stop(self) -> None:
        """Obey no more."""
        self._is_stopping = True

    # ---- wishes of the scheduler ------------------------------------------------------------------

    def _woken(self, late_s: float) -> None:
        self.apply(Tick(is_late=late_s > LATE_S))

    def _start(self, action: StartAttempt) -> None:
        owner = self._owners[action.task_id]
        subtask = owner.begin(action)
        if subtask is None:
            self._unsent.add(action.attempt_id)
            return
        lite = {**subtask.lite, "attempt": action.attempt_id, "lease_s": action.lease_s, "task_type": owner.task_type()}
        task = self.scheduler.task(action.task_id)
        if task is not None and task.pure:
            lite["pure"] = True
        subtask = replace(subtask, lite=lite)
        heavy = too_heavy(weight_of(subtask), self._room_on(action.device_id))
        if heavy:
            self._unsent.add(action.attempt_id)
            self.apply(AttemptFailed(action.attempt_id, UNFIT, heavy))
            return
        self._sent[action.attempt_id] = action, subtask
        self._sent_by_device[action.device_id] = self._sent_by_device.get(action.device_id, 0) + 1
        self._node.discovery.work_began(action.device_id)
        self._send(action, subtask)

    def _room_on(self, device_id: str) -> int:
        """Return the bytes that a piece of work may have on a device, with all that it names."""
        known = self._node.discovery.registry.get(device_id)
        room_mb = known.device.lite.get("work_memory_mb") if known is not None else None
        return room_mb * MIB if type(room_mb) is int and room_mb > 0 else self._node.settings_limits.work_bytes

    def _send(self, action: StartAttempt, subtask: SubTask) -> None:
        if action.device_id == self._node.id:
            self._node.worker.execute(self._node.id, subtask).then(
                lambda result, error: self._answered(action, result, error)
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
            self._landed.append(action)
        if action.attempt_id not in self._sent:
            self._acknowledge_landed()
            return
        if isinstance(error, LinkError) and action.device_id != self._node.id:
            # The attempt may still run there: the registry finds out whether the device does, and either
            # `link_opened` asks again or `device_lost` gives it up.
            return
        self._no_longer_sent(action.attempt_id)
        if error is not None:
            self.apply(AttemptFailed(action.attempt_id, blame_of_error(error), error.message))
            return
        try:
            answer = result if isinstance(result, ExecuteSubtaskAnswer) else from_json(
                ExecuteSubtaskAnswer, result, "the answer to ExecuteSubtask"
            )
        except DiscomputeError as problem:
            self.apply(AttemptFailed(action.attempt_id, "device", problem.message))
            return
        done = answer.completed_subtask
        if answer.success:
            # Laid ready here; `AcceptResult` makes it the subtask's one result.
            self._arrived[action.attempt_id] = done
            self.apply(AttemptSucceeded(action.attempt_id, len(done.result_data)))
        else:
            self._owners[action.task_id].attempt_failed(action, done)
            self.apply(AttemptFailed(action.attempt_id, blame_of(done), done.error_message or answer.message))

    def _acknowledge_landed(self) -> None:
        """Let devices forget what is here, wanted or not, as soon as what was wanted of it is kept."""
        if self._landed and not self._is_obeying:
            landed, self._landed = self._landed, []
            self._node.coordinator.durability.when_kept(lambda problem: self._kept(landed, problem))

    def _kept(self, landed: List[StartAttempt], problem: str) -> None:
        if problem and not self._is_stopping:
            self._node.coordinator.durability.when_kept(lambda problem: self._kept(landed, problem))
            return
        for action in landed:
            self._acknowledge(action)

    def _acknowledge(self, action: StartAttempt) -> None:
        if action.device_id == self._node.id:
            self._node.worker.acknowledged(self._node.id, [action.attempt_id])
        else:
            self._to_acknowledge.setdefault(action.device_id, []).append(action.attempt_id)

    def _accept(self, action: AcceptResult) -> None:
        # A result is accepted when it arrives, and at no other time.
        self._owners[action.task_id].accept(action, self._arrived[action.attempt_id])

    def _stop_attempt(self, action: StopAttempt) -> None:
        self._no_longer_sent(action.attempt_id)
        if action.attempt_id in self._unsent:
            return
        if action.device_id == self._node.id:
            self._node.worker.cancel(self._node.id, action.attempt_id)
        else:
            link = self._node.link_for_work(action.device_id)
            if link is not None:
                link.call("CancelTask", {"attempt": action.attempt_id}, lambda result, error: None)

    def _no_longer_sent(self, attempt_id: str) -> None:
        sent = self._sent.pop(attempt_id, None)
        self._still.pop(attempt_id, None)
        if sent is not None:
            device_id = sent[0].device_id
            self._sent_by_device[device_id] -= 1
            if not self._sent_by_device[device_id]:
                del self._sent_by_device[device_id]

    def _fail_subtask(self, action: FailSubtask) -> None:
        self._owners[action.task_id].subtask_failed(action)

    def _finish(self, action: FinishTask) -> None:
        self._owners[action.task_id].finished()

    def _fail(self, action: FailTask) -> None:
        self._owners[action.task_id].failed(action)

    def _end_cancelled(self, action: EndCancelled) -> None:
        owner = self._owners.get(action.task_id)
        # A task that could not be kept is over already, and what ran of it is stopped with this.
        if owner is not None:
            owner.cancelled(action.reason)

    def _tell(self, action: TellStory) -> None:
        owner = self._owners.get(action.task_id)
        if owner is not None:
            owner.told(action.text.partition("\n")[0])

    #: What is done for each wish of the scheduler.
    _OBEY: Dict[type, Callable[..., None]] = {
        StartAttempt: _start, StopAttempt: _stop_attempt, AcceptResult: _accept, FailSubtask: _fail_subtask,
        FinishTask: _finish, FailTask: _fail, EndCancelled: _end_cancelled, TellStory: _tell,
    }


def _stands_still(action: StartAttempt, why: str) -> str:
    number = action.attempt_id.rpartition(".")[2]
    return (f"attempt {number} on {short_id(action.device_id)} stands still ({why}); since its task is not pure"
            " it is not begun anew: let that process go on, or cancel the task")
