"""Keep the scheduler's books: every index of tasks, attempts, devices and deadlines, changed together.

Knows:   which attempt is whose, who is free, what is due when, and the invariants among these.
Refuses: to decide what to run where or what a failure means; that is core/scheduler.py.
Read next: core/scheduler.py, core/audit.py (the invariants, asserted).
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Dict, Optional

from ..model.deadlines import Deadlines
from ..model.task import TaskState
from .events import SubtasksAdded, TaskSubmitted
from .paces import PaceBook
from .parties import Parties
from .pools import DevicePool
from .records import (
    FAULTS_KEPT, AttemptRecord, DeviceRecord, PoolKey, ScheduledTask, SubtaskRecord, SubtaskState,
)

#: Stories of finished tasks that are kept; the oldest goes first (the results are the coordinator's).
FINISHED_STORIES = 64


class Ledger:
    """Hold the records, and move them so that every index stays true. Read its fields freely, change none."""

    def __init__(self) -> None:
        #: task id -> task: exactly the unfinished ones, in order of submission.
        self.tasks: Dict[str, ScheduledTask] = {}
        #: task id -> task: the last FINISHED_STORIES ended ones, for their stories.
        self.finished: OrderedDict[str, ScheduledTask] = OrderedDict()
        #: device id -> device, in order of appearance: exactly those told ready and not lost since.
        self.devices: Dict[str, DeviceRecord] = {}
        #: attempt id -> attempt: exactly the live ones; each is in its subtask's, its task's and its device's too.
        self.attempts: Dict[str, AttemptRecord] = {}
        #: (requirements, function) -> pool: exactly those of unfinished tasks.
        self.pools: Dict[PoolKey, DevicePool] = {}
        #: ("lease", attempt) for each live attempt, ("retry", task, index) for each RESTING subtask,
        #: ("avoid", task, device) for each device that a task leaves alone, ("suspect", device) for each of `suspects`,
        #: ("rest", device) for each resting and ("silent", device) for each silent device, ("quiet", device) for each
        #: that has attempts, may fall quiet and is not, ("deadline", task) where there is one, and ("look", pool key)
        #: while the pool has devices idle that are to be compared again with what runs, ("weigh", pool key) while
        #: nobody knows how long its pieces take and one is kept from a device.
        self.deadlines = Deadlines()
        #: device id -> device: those of the resting ones that are in quarantine.
        self.quarantined: Dict[str, DeviceRecord] = {}
        #: device id: what failed already is not tried there, while others could take it; at most FAULTS_KEPT.
        self.suspects: Dict[str, None] = {}
        self.paces = PaceBook()
        self.parties = Parties()
        #: What the task that was last served had been served before: new tasks begin there, and not at nothing.
        self.served = 0.0
        self._submitted = 0
        self._appeared = 0

    # ---- tasks ------------------------------------------------------------------------------------

    def open_task(self, event: TaskSubmitted, now: float) -> ScheduledTask:
        """Enter a task whose pieces are all pending."""
        task = ScheduledTask(event.task_id, order=self._submitted, priority=event.priority)
        task.is_open, task.is_sealed = event.is_open, not event.is_open
        task.add(max(0, event.subtasks))
        task.requires = tuple(sorted(set(event.requires)))
        task.max_devices = max(0, event.max_devices)
        task.pure, task.function, task.retries = event.pure, event.function, event.retries
        task.size_bytes, task.party = max(0, event.size_bytes), event.party
        self.parties.enter(task)
        self._submitted += 1
        self.tasks[task.task_id] = task
        pool = self.pools.get(task.pool_key)
        if pool is None:
            pool = self.pools[task.pool_key] = DevicePool(task.pool_key, self.paces.of(task.function), self.suspects)
            pool.weigh(task.size_bytes)
            # O(devices), but once for a kind of task and not for an event of a running one.
            for device in self.devices.values():
                pool.consider(device)
        # Tasks that name no function share a pool, and yet each learns of its own subtasks what is typical.
        task.pace = pool.pace if task.function else self.paces.of("")
        pool.enter(task)
        pool.queue(task, self.served)
        pool.stalled_news = pool.stalled_news or not pool.members
        if event.deadline_s > 0.0:
            self.deadlines.set(("deadline", task.task_id), now + event.deadline_s)
        return task

    def close_task(self, task: ScheduledTask, state: TaskState) -> None:
        """Enter the end of a task without live attempts; what is left of it is its story."""
        assert not task.live
        for subtask in task.subtasks.values():
            if subtask.state is SubtaskState.RESTING:
                self.deadlines.cancel(("retry", task.task_id, subtask.index))
        self.deadlines.cancel(("deadline", task.task_id))
        for device_id in task.avoids:
            self.deadlines.cancel(("avoid", task.task_id, device_id))
        task.state = state
        task.subtasks, task.avoids, task.faults = {}, {}, {}
        task.pending.clear()
        task.returned.clear()
        task.over.clear()
        self.parties.leave(task)
        pool = self.pools[task.pool_key]
        pool.forget(task)
        del self.tasks[task.task_id]
        if not pool.tasks:
            self.deadlines.cancel(("look", task.pool_key))
            self.deadlines.cancel(("weigh", task.pool_key))
            del self.pools[task.pool_key]
        self.finished[task.task_id] = task
        if len(self.finished) > FINISHED_STORIES:
            self.finished.popitem(last=False)

    def add_subtasks(self, task: ScheduledTask, event: SubtasksAdded) -> None:
        """Enter some pieces more of a task."""
        task.add(event.count)
        task.backlog, task.size_bytes = max(0, event.backlog), max(0, event.size_bytes)
        self.pools[task.pool_key].weigh(task.size_bytes, max(1, event.calls), event.call_s)
        self.pools[task.pool_key].queue(task, self.served)

    def seal_task(self, task: ScheduledTask) -> None:
        """Enter that nothing will be added to a task."""
        task.is_sealed = True
        self.pools[task.pool_key].seal(task)

    def forget_subtask(self, subtask: SubtaskRecord, state: SubtaskState) -> None:
        """Enter that a subtask without live attempts is over, in whatever way."""
        task = subtask.task
        if subtask.state is SubtaskState.RESTING:
            self.deadlines.cancel(("retry", task.task_id, subtask.index))
        elif subtask.state is SubtaskState.PENDING:
            (task.returned if subtask.index in task.returned else task.pending).pop(subtask.index)
            self.pools[task.pool_key].look_again(task)
        subtask.state = state
        del task.subtasks[subtask.index]
        task.over.append(subtask)

    def enter_done(self, subtask: SubtaskRecord) -> None:
        """Enter that a pending subtask has a result from before its task was submitted here."""
        subtask.told = f"subtask {subtask.index} is done: its result was kept from before"
        self.forget_subtask(subtask, SubtaskState.DONE)
        subtask.task.done += 1

    def size_subtask(self, subtask: SubtaskRecord, calls: int) -> None:
        """Enter how many calls a subtask holds, and expect its attempts to end accordingly."""
        more, subtask.calls = calls - subtask.calls, calls
        was_sized, subtask.is_sized = subtask.is_sized, True
        if not was_sized:
            subtask.task.backlog = max(0, subtask.task.backlog - calls)
        pace, pool = subtask.task.pace, self.pools[subtask.task.pool_key]
        for attempt in subtask.live.values():
            device = self.devices[attempt.device_id]
            waits = attempt.began_at is None
            device.waiting_calls += more * waits
            device.unsized -= not was_sized
            if pace.size(device.device_id, calls) or not was_sized:
                self.device_changed(device)
            if more:
                ahead = device.waiting_calls / max(1, device.slots) if waits else 0.0
                typical_s = pace.work / pace.speed(device.device_id, device.speed)
                began_at = attempt.sent_at if attempt.began_at is None else attempt.began_at
                attempt.expected_end = began_at + typical_s * (calls + ahead)
                pool.leading.reorder(attempt)
                pool.is_to_compare = True

    def rest_subtask(self, subtask: SubtaskRecord, until: float) -> None:
        """Let a subtask without live attempts wait."""
        subtask.state = SubtaskState.RESTING
        self.deadlines.set(("retry", subtask.task.task_id, subtask.index), until)

    def make_pending(self, subtask: SubtaskRecord) -> None:
        """Let a subtask that was tried and has no live attempts take its turn."""
        subtask.state = SubtaskState.PENDING
        subtask.task.returned[subtask.index] = None
        self.pools[subtask.task.pool_key].queue(subtask.task, self.served)

    def avoid(self, task: ScheduledTask, device_id: str, until: float) -> None:
        """Let a task leave a device alone until then, while others could take its work."""
        task.avoids[device_id] = until
        self.deadlines.set(("avoid", task.task_id, device_id), until)

    def end_avoiding(self, task: ScheduledTask, device_id: str) -> None:
        """End that, if it is so."""
        if task.avoids.pop(device_id, None) is not None:
            self.deadlines.cancel(("avoid", task.task_id, device_id))
            self.pools[task.pool_key].queue(task, self.served)

    def take_pending(self, subtask: SubtaskRecord) -> None:
        """Take out a pending subtask that the pool has chosen; the caller starts it."""
        if subtask.index in subtask.task.returned:
            del subtask.task.returned[subtask.index]
        else:
            taken, _ = subtask.task.pending.popitem(last=False)
            assert taken == subtask.index, "those that were never tried go in order"

    # ---- attempts ---------------------------------------------------------------------------------

    def open_attempt(self, subtask: SubtaskRecord, device: DeviceRecord, now: float) -> AttemptRecord:
        """Enter the next attempt of a subtask, just taken from `pending` or running elsewhere."""
        task = subtask.task
        subtask.attempts += 1
        attempt_id = f"{task.task_id}/{subtask.index}.{subtask.attempts}"
        attempt = AttemptRecord(
            attempt_id, subtask, device.device_id, sent_at=now, lease_until=now + device.lease_s
        )
        attempt.way_s = self.pools[task.pool_key].weigher.way(device)
        subtask.state = SubtaskState.RUNNING
        subtask.tried[device.device_id] = None
        if not device.running:
            # An idle device sends few heartbeats: its silence counts from now.
            device.heard_at = max(device.heard_at, now)
        self.attempts[attempt_id] = attempt
        subtask.live[attempt_id] = task.live[attempt_id] = device.running[attempt_id] = attempt
        device.waiting[attempt_id] = attempt
        device.waiting_calls += subtask.calls
        device.unsized += not subtask.is_sized
        device.kinds[task.pool_key] = device.kinds.get(task.pool_key, 0) + 1
        task.devices[device.device_id] = task.devices.get(device.device_id, 0) + 1
        typical_s = task.pace.work / task.pace.speed(device.device_id, device.speed)
        self.begin_waiting(device, now)
        calls = subtask.calls + device.waiting_calls / max(1, device.slots)
        attempt.expected_end = now + attempt.way_s + typical_s * calls
        self.deadlines.set(("lease", attempt_id), attempt.lease_until)
        self.watch_for_silence(device)
        if task.pure:
            self._note_leading(subtask)
        self.device_changed(device)
        return attempt

    def end_attempt(self, attempt: AttemptRecord, fact: str, now: float) -> None:
        """Take an attempt out of every index; the caller says what becomes of its subtask."""
        attempt.move(fact)
        subtask, task = attempt.subtask, attempt.subtask.task
        del self.attempts[attempt.attempt_id], subtask.live[attempt.attempt_id], task.live[attempt.attempt_id]
        self.deadlines.cancel(("lease", attempt.attempt_id))
        task.devices[attempt.device_id] -= 1
        if not task.devices[attempt.device_id]:
            del task.devices[attempt.device_id]
        pool = self.pools[task.pool_key]
        pool.queue(task, self.served)
        pool.leading.remove(attempt)
        if task.pure:
            self._note_leading(subtask)
        device = self.devices.get(attempt.device_id)
        if device is not None:
            del device.running[attempt.attempt_id]
            device.unsized -= not subtask.is_sized
            if device.waiting.pop(attempt.attempt_id, None) is not None:
                device.waiting_calls -= subtask.calls
            device.kinds[task.pool_key] -= 1
            if not device.kinds[task.pool_key]:
                del device.kinds[task.pool_key]
            self.begin_waiting(device, now)
            self.device_changed(device)

    def learn(self, attempt: AttemptRecord, size_bytes: int, now: float) -> None:
        """Take note how long an attempt took that ends well now, and what its outcome weighs."""
        pace, device = attempt.subtask.task.pace, self.devices[attempt.device_id]
        if attempt.began_at is not None:
            pace.weigh(size_bytes / attempt.subtask.calls)
            if pace.learn(attempt.device_id, device.speed, attempt.work_s(now), attempt.subtask.calls):
                for pool in self.pools.values():
                    pool.rank_anew()
                    pool.recall()

    def begin_waiting(self, device: DeviceRecord, now: float) -> None:
        """Take it that a device begins what waits there as its slots come free, in order."""
        while device.waiting and len(device.running) - len(device.waiting) < device.slots:
            _, attempt = device.waiting.popitem(last=False)
            device.waiting_calls -= attempt.subtask.calls
            attempt.began_at = now

    def _note_leading(self, subtask: SubtaskRecord) -> None:
        """Let the newest attempt of a pure subtask lead, since it is on the fastest of its devices."""
        pool = self.pools[subtask.task.pool_key]
        newest: Optional[AttemptRecord] = None
        for attempt in subtask.live.values():
            pool.leading.remove(attempt)
            newest = attempt
        if newest is not None:
            device = self.devices.get(newest.device_id)
            is_quiet = device is not None and device.quiet
            speed = 0.0 if device is None else subtask.task.pace.speed(device.device_id, device.speed)
            pool.leading.add(newest, is_alone=len(subtask.live) == 1, is_quiet=is_quiet, speed=speed)
            pool.is_to_compare = True

    # ---- devices ----------------------------------------------------------------------------------

    def open_device(self, device_id: str) -> DeviceRecord:
        """Return a device's record, made when there is none; call `device_changed` after changing it."""
        device = self.devices.get(device_id)
        if device is None:
            device = self.devices[device_id] = DeviceRecord(device_id, self._appeared)
            self._appeared += 1
        return device

    def close_device(self, device_id: str) -> Optional[DeviceRecord]:
        """Forget a device; its attempts are still live and the caller ends each."""
        device = self.devices.pop(device_id, None)
        if device is not None:
            self.quarantined.pop(device_id, None)
            self.end_suspicion(device)
            self.deadlines.cancel(("rest", device_id))
            self.deadlines.cancel(("silent", device_id))
            self.deadlines.cancel(("quiet", device_id))
            for pool in self.pools.values():
                pool.drop(device)
        return device

    def device_changed(self, device: DeviceRecord) -> None:
        """Let placement see a device anew, and tasks that may use no other device take their turn."""
        device.generation += 1
        for pool in self.pools.values():
            pool.consider(device)
        if not device.is_paused and len(device.running) < device.slots * (1 + device.window):
            for key in device.kinds:
                self.pools[key].queue_crews_of(device, self.served)

    def rest_device(self, device: DeviceRecord, kind: str, until: float) -> None:
        """Give a device nothing until then: "rest" since it failed or refused, or "silent" since its lease ended."""
        self._set_pause(device, kind, True)
        self.deadlines.set((kind, device.device_id), until)

    def wake_device(self, device: DeviceRecord, kind: str) -> None:
        """End such a pause, if there is one."""
        if device.resting if kind == "rest" else device.silent:
            self.deadlines.cancel((kind, device.device_id))
            self._set_pause(device, kind, False)

    def suspect(self, device: DeviceRecord, until: float) -> None:
        """Let nothing that failed elsewhere be tried here until then, while others could take it."""
        if device.device_id in self.suspects or len(self.suspects) < FAULTS_KEPT:
            self.suspects[device.device_id] = None
            self.deadlines.set(("suspect", device.device_id), until)
            for pool in self.pools.values():
                pool.recall()

    def end_suspicion(self, device: DeviceRecord) -> None:
        """End that, if it is so."""
        if device.device_id in self.suspects:
            del self.suspects[device.device_id]
            self.deadlines.cancel(("suspect", device.device_id))
            for pool in self.pools.values():
                pool.recall()

    def heard(self, device: DeviceRecord, now: float) -> None:
        """Take note of a sign of life."""
        device.heard_at = now
        self.wake_device(device, "silent")
        if device.quiet:
            device.quiet = False
            for attempt in device.running.values():
                self.pools[attempt.subtask.task.pool_key].leading.quiet.pop(attempt.attempt_id, None)
            self.watch_for_silence(device)
            self.device_changed(device)

    def on_silence(self, device: DeviceRecord, now: float) -> None:
        """Let a device that has work fall quiet, if nothing was heard of it since its silence was last looked at."""
        if not device.running or device.silence_s <= 0.0:
            return
        if device.heard_at + device.silence_s > now:
            self.watch_for_silence(device)
            return
        device.quiet = True
        for attempt in device.running.values():
            pool = self.pools[attempt.subtask.task.pool_key]
            if attempt.attempt_id in pool.leading.alone:
                pool.leading.quiet[attempt.attempt_id] = attempt
                pool.is_to_compare = True
        self.device_changed(device)

    def forgive_silence(self, now: float) -> None:
        """Begin every lease and every silence anew: it was this process that could hear nobody; O(attempts)."""
        for device in self.devices.values():
            device.heard_at = now
        for attempt in self.attempts.values():
            attempt.lease_until = now + self.devices[attempt.device_id].lease_s

    def watch_for_silence(self, device: DeviceRecord) -> None:
        """Look at a device's silence once it has lasted `silence_s`, if it has work."""
        if device.running and device.silence_s > 0.0 and not device.quiet:
            key = ("quiet", device.device_id)
            if key not in self.deadlines:
                self.deadlines.set(key, device.heard_at + device.silence_s)

    def _set_pause(self, device: DeviceRecord, kind: str, paused: bool) -> None:
        if kind == "rest":
            device.resting = paused
            if not paused:
                self.quarantined.pop(device.device_id, None)
        else:
            device.silent = paused
        self.device_changed(device)
