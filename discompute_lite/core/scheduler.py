"""Decide which device runs what, and what to do when one goes quiet.

Knows:   tasks, subtasks, attempts, leases, and the devices it was told about.
Refuses: sockets, clocks, chance, threads. `now` comes in, actions go out, `rng.random()` jitters pauses.
Read next: core/events.py (the words), core/records.py (what is remembered), roles/coordinator.py (who obeys).

One subtask has one result, whatever happens: an attempt's id, ``<task>/<index>.<number>``, is its fencing token, and
what is said of an attempt that is no longer live is ignored and counted. Every unfinished subtask is pending,
resting or running, so none is forgotten. Nothing here costs more than O(log devices) an event for each attempt it ends
or starts, times the number of different requirements in use, which is a handful.
"""

from __future__ import annotations

from itertools import islice
from typing import Any, Callable, Dict, List, Optional, Tuple

from ..model.device import short_id
from ..model.task import TaskState
from .events import (
    AcceptResult, AttemptFailed, AttemptSucceeded, CancelAsked, DeviceLost, DeviceReady, EndCancelled, FailTask,
    FinishTask, LeaseRenewed, StartAttempt, StopAttempt, TaskSubmitted, TellStory, Tick,
)
from .ledger import Ledger
from .pools import DevicePool
from .records import AttemptRecord, DeviceRecord, SubtaskState, ScheduledTask
from .retry import is_poison, retry_s

#: A subtask that only devices where it failed before would take now looks again after this; others will come free.
LOOK_AGAIN_S = 1.0
#: Devices that are named, each with its reason, where nobody takes a task.
REASONS_NAMED = 3


class Scheduler:
    """Place subtasks on devices. Feed `apply`; call it with `Tick` at `next_deadline()`."""

    def __init__(self, rng: Any) -> None:
        self._random = rng.random
        self._books = Ledger()
        #: Outcomes and renewals of attempts that were no longer live.
        self.late = 0

    # ---- asking -----------------------------------------------------------------------------------

    def story(self, task_id: str) -> List[str]:
        """Return what befell a task, a line each, and at the end what it waits for just now, if it does."""
        task = self._books.tasks.get(task_id) or self._books.finished.get(task_id)
        if task is None:
            return []
        lines = list(task.lines)
        if self._is_stalled(task) and self._why_waiting(task) not in lines[-1:]:
            lines.append(self._why_waiting(task))
        return lines

    def task(self, task_id: str) -> Optional[ScheduledTask]:
        """Return a task, finished ones while their story is kept, to read and not to change."""
        return self._books.tasks.get(task_id) or self._books.finished.get(task_id)

    def next_deadline(self) -> Optional[float]:
        """Return when `apply(Tick(), ...)` is next worth calling, or None."""
        return self._books.deadlines.next()

    # ---- taking facts -----------------------------------------------------------------------------

    def apply(self, event: Any, now: float) -> List[Any]:
        """Take one fact; return what must now be done, in order. `now` never goes back."""
        actions: List[Any] = []
        self._TAKES[type(event)](self, event, now, actions)
        self._place(now, actions)
        return actions

    def _on_tick(self, _event: Tick, now: float, actions: List[Any]) -> None:
        for key in self._books.deadlines.pop_due(now):
            kind = key[0]
            if kind == "lease":
                self._on_lease_due(key[1], now, actions)
            elif kind == "retry":
                task = self._books.tasks.get(key[1])
                # A task that an earlier lease of this very tick ended takes its retries with it.
                if task is not None:
                    self._books.make_pending(task.subtasks[key[2]])
            elif key not in self._books.deadlines:  # A lease that ended in this very tick may have set it again.
                self._books.wake_device(self._books.devices[key[1]], kind)

    def _on_submitted(self, event: TaskSubmitted, _now: float, actions: List[Any]) -> None:
        if self.task(event.task_id) is not None:
            return
        task = self._books.open_task(
            event.task_id, event.subtasks,
            priority=event.priority, requires=event.requires, max_devices=event.max_devices,
        )
        self._tell(task, f"submitted: {event.subtasks} subtasks, priority {task.priority}", actions)
        if not event.subtasks:
            self._finish(task, actions)

    def _on_ready(self, event: DeviceReady, _now: float, _actions: List[Any]) -> None:
        device = self._books.open_device(event.device_id)
        device.slots = max(0, event.slots)
        device.speed, device.load = event.speed, event.load
        device.offers = frozenset(event.offers)
        device.reason, device.lease_s = event.reason, event.lease_s
        self._books.wake_device(device, "silent")
        self._books.device_changed(device)

    def _on_device_lost(self, event: DeviceLost, now: float, actions: List[Any]) -> None:
        device = self._books.close_device(event.device_id)
        if device is None:
            return
        for attempt in list(device.running.values()):
            if attempt.attempt_id in self._books.attempts:  # Poison may have ended its task a moment ago.
                self._books.end_attempt(attempt, "device lost")
                harm = None if event.clean else (device.device_id, False)
                self._go_on(attempt, f"lost with its device: {event.reason}", harm, 0.0, now, actions)

    def _on_renewed(self, event: LeaseRenewed, now: float, actions: List[Any]) -> None:
        device = self._books.devices.get(event.device_id)
        if device is not None:
            self._books.wake_device(device, "silent")
        for attempt_id in event.attempts:
            attempt = self._books.attempts.get(attempt_id)
            if attempt is not None and attempt.device_id == event.device_id and device is not None:
                attempt.move("renewed")
                attempt.lease_until = now + device.lease_s
            else:
                self._on_late(attempt_id)
                if attempt is None:
                    actions.append(StopAttempt(attempt_id, event.device_id, "it is no longer wanted"))

    def _on_succeeded(self, event: AttemptSucceeded, _now: float, actions: List[Any]) -> None:
        attempt = self._books.attempts.get(event.attempt_id)
        if attempt is None:
            self._on_late(event.attempt_id)
            return
        self._books.end_attempt(attempt, "succeeded")
        device, subtask = self._books.devices[attempt.device_id], attempt.subtask
        device.failures = 0
        self._books.wake_device(device, "silent")
        self._books.wake_device(device, "rest")
        self._stop_attempts(list(subtask.live.values()), "another attempt was faster", actions)
        subtask.state = SubtaskState.DONE
        task = subtask.task
        task.left -= 1
        actions.append(AcceptResult(task.task_id, subtask.index, attempt.attempt_id, attempt.device_id))
        if not task.left:
            self._finish(task, actions)

    def _on_failed(self, event: AttemptFailed, now: float, actions: List[Any]) -> None:
        attempt = self._books.attempts.get(event.attempt_id)
        if attempt is None:
            self._on_late(event.attempt_id)
            return
        task, device, subtask = attempt.subtask.task, self._books.devices[attempt.device_id], attempt.subtask
        self._books.wake_device(device, "silent")
        if event.blame == "task":
            self._books.end_attempt(attempt, "blames task")
            self._fail(task, event.reason, subtask.index, actions)
            return
        refused = event.blame == "refused"
        self._books.end_attempt(attempt, "refused" if refused else "blames device")
        device.failures += 1
        self._books.rest_device(device, "rest", now + retry_s(device.failures, self._random()))
        subtask.failures += 1
        pause = retry_s(subtask.failures, self._random())
        told = f"refused: {event.reason}" if refused else f"failed there: {event.reason}"
        self._go_on(attempt, told, None if refused else (device.device_id, True), pause, now, actions)

    def _on_cancel(self, event: CancelAsked, _now: float, actions: List[Any]) -> None:
        task = self._books.tasks.get(event.task_id)
        if task is not None:
            self._close(task, TaskState.CANCELLED, f"cancelled: {event.reason}", actions)
            actions.append(EndCancelled(task.task_id, event.reason))

    _TAKES: Dict[type, Callable[..., None]] = {
        Tick: _on_tick, TaskSubmitted: _on_submitted, DeviceReady: _on_ready, DeviceLost: _on_device_lost,
        LeaseRenewed: _on_renewed, AttemptSucceeded: _on_succeeded, AttemptFailed: _on_failed,
        CancelAsked: _on_cancel,
    }

    def _on_lease_due(self, attempt_id: str, now: float, actions: List[Any]) -> None:
        attempt = self._books.attempts.get(attempt_id)
        if attempt is None:
            return  # Its task ended a moment ago, within this very tick.
        if attempt.lease_until > now:
            self._books.deadlines.set(("lease", attempt_id), attempt.lease_until)
            return
        device = self._books.devices[attempt.device_id]
        self._books.rest_device(device, "silent", now + device.lease_s)
        self._books.end_attempt(attempt, "lease ended")
        actions.append(StopAttempt(attempt_id, device.device_id, "its lease ended"))
        told = f"its lease ended after {device.lease_s:.0f} s without a sign of life"
        self._go_on(attempt, told, (device.device_id, False), 0.0, now, actions)

    def _on_late(self, attempt_id: str) -> None:
        """Ignore and count what is said of an attempt that is not live, and learn that it killed nobody."""
        self.late += 1
        task_id, _, rest = attempt_id.rpartition("/")
        task, index = self._books.tasks.get(task_id), rest.partition(".")[0]
        # Ids come from outside; eight digits are more than any task has subtasks.
        known = len(index) <= 8 and index.isascii() and index.isdigit()
        if task is not None and known and int(index) < len(task.subtasks):
            harms = task.subtasks[int(index)].harms
            if attempt_id in harms and not harms[attempt_id][1]:
                del harms[attempt_id]

    # ---- attempts and subtasks --------------------------------------------------------------------

    def _place(self, now: float, actions: List[Any]) -> None:
        """Start whatever can be started, by priority and then by order of submission."""
        while True:
            best: Optional[ScheduledTask] = None
            for pool in self._books.pools.values():
                task = pool.next_task()
                if task is not None and (best is None or task.rank() < best.rank()):
                    best = task
            if best is None:
                break
            self._place_one(best, self._books.pools[best.requires], now, actions)
        for pool in self._books.pools.values():
            if pool.stalled_news:
                pool.stalled_news = False
                for task in pool.tasks.values():
                    if self._is_stalled(task):
                        task.told_waiting = True
                        self._tell(task, self._why_waiting(task), actions)

    def _place_one(self, task: ScheduledTask, pool: DevicePool, now: float, actions: List[Any]) -> None:
        tried = task.subtasks[task.pending[0]].tried
        if task.at_device_limit:
            device = self._choose_in_crew(task, pool, tried)
            if device is None:
                pool.set_aside(task)
                return
        else:
            device = pool.choose(tried)
            if device is None and pool.has_untried(tried):
                self._books.rest_subtask(self._books.take_pending(task), now + LOOK_AGAIN_S)
                return
            device = device or pool.choose(())
        assert device is not None, "a task has its turn only while a device is free"
        attempt = self._books.open_attempt(self._books.take_pending(task), device, now)
        index, number = attempt.subtask.index, attempt.subtask.attempts
        if number > 1 or task.told_waiting:
            task.told_waiting = False
            self._tell(task, f"subtask {index}: attempt {number} goes to {short_id(device.device_id)}", actions)
        actions.append(StartAttempt(attempt.attempt_id, task.task_id, index, device.device_id, device.lease_s))

    def _choose_in_crew(self, task: ScheduledTask, pool: DevicePool, tried: Dict[str, None]) -> Optional[DeviceRecord]:
        """Return the best free device of those that already work for a task; few, since a person set the limit."""
        members = (pool.members.get(device_id) for device_id in task.devices)
        free = [device for device in members if device is not None and device.free]
        return min(free, key=lambda d: (d.device_id in tried, d.cost(), d.order), default=None)

    def _go_on(
        self, attempt: AttemptRecord, told: str, harm: Optional[Tuple[str, bool]],
        pause: float, now: float, actions: List[Any],
    ) -> None:
        """Decide what becomes of a subtask whose attempt was lost: again, after a pause, or never."""
        subtask, task = attempt.subtask, attempt.subtask.task
        line = f"subtask {subtask.index}: attempt {subtask.attempts} on {short_id(attempt.device_id)} {told}"
        self._tell(task, line, actions)
        if harm is not None:
            subtask.harms[attempt.attempt_id] = harm
        if is_poison(subtask.harms.values()):
            names = ", ".join(dict.fromkeys(short_id(device_id) for device_id, _ in subtask.harms.values()))
            poison = f"Subtask {subtask.index} is poison: it took down {names}, the last time it was {told}."
            self._fail(task, poison, subtask.index, actions)
        elif pause > 0.0:
            self._books.rest_subtask(subtask, now + pause)
        else:
            self._books.make_pending(subtask)

    def _stop_attempts(self, attempts: List[AttemptRecord], reason: str, actions: List[Any]) -> None:
        for attempt in attempts:
            self._books.end_attempt(attempt, "stopped")
            actions.append(StopAttempt(attempt.attempt_id, attempt.device_id, reason))

    # ---- the ends of a task -----------------------------------------------------------------------

    def _finish(self, task: ScheduledTask, actions: List[Any]) -> None:
        self._close(task, TaskState.COMPLETED, "every subtask has its result", actions)
        actions.append(FinishTask(task.task_id))

    def _fail(self, task: ScheduledTask, reason: str, index: int, actions: List[Any]) -> None:
        self._close(task, TaskState.FAILED, f"failed in subtask {index}: {reason}", actions)
        actions.append(FailTask(task.task_id, reason, index))

    def _close(self, task: ScheduledTask, state: TaskState, line: str, actions: List[Any]) -> None:
        self._stop_attempts(list(task.live.values()), "its task has ended", actions)
        self._tell(task, line, actions)
        self._books.close_task(task, state)

    # ---- words for people -------------------------------------------------------------------------

    def _tell(self, task: ScheduledTask, line: str, actions: List[Any]) -> None:
        task.lines.append(line)
        actions.append(TellStory(task.task_id, line))

    def _is_stalled(self, task: ScheduledTask) -> bool:
        pool = self._books.pools.get(task.requires)
        return bool(task.pending) and not task.live and pool is not None and not pool.members

    def _why_waiting(self, task: ScheduledTask) -> str:
        """Say why no device may be given a task, device by device for the first few."""
        if not self._books.devices:
            return "waits: no device takes work here yet"
        reasons = []
        for device in islice(self._books.devices.values(), REASONS_NAMED):
            missing = [name for name in task.requires if name not in device.offers]
            why = f"does not offer {', '.join(missing)}" if missing else device.reason or "has no slots"
            reasons.append(f"{short_id(device.device_id)} {why}")
        more = len(self._books.devices) - REASONS_NAMED
        rest = [f"and {more} more"] if more > 0 else []
        return "waits for a device: " + "; ".join([*reasons, *rest])

    def check(self) -> None:
        """Assert every invariant; costs O(everything), for tests and the simulator."""
        self._books.check()
        # Whoever could be given work now has been: `_place` leaves no task's turn behind.
        assert all(pool.next_task() is None for pool in self._books.pools.values())
