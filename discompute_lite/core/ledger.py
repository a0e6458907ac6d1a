"""Keep the scheduler's books: every index of tasks, attempts, devices and deadlines, changed together.

Knows:   which attempt is whose, who is free, what is due when, and the invariants among these.
Refuses: to decide what to run where or what a failure means; that is core/scheduler.py.
Read next: core/scheduler.py.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Dict, Optional

from ..model.deadlines import Deadlines
from ..model.task import TaskState
from .events import TaskSubmitted
from .paces import PaceBook
from .pools import DevicePool
from .records import (
    FAULTS_KEPT, AttemptRecord, AttemptState, DeviceRecord, PoolKey, ScheduledTask, SubtaskRecord, SubtaskState,
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
        #: while the pool has devices idle that are to be compared again with what runs.
        self.deadlines = Deadlines()
        #: device id -> device: those of the resting ones that are in quarantine.
        self.quarantined: Dict[str, DeviceRecord] = {}
        #: device id: what failed already is not tried there, while others could take it; at most FAULTS_KEPT.
        self.suspects: Dict[str, None] = {}
        self.paces = PaceBook()
        #: What the task that was last served had been served before: new tasks begin there, and not at nothing.
        self.served = 0.0
        self._submitted = 0
        self._appeared = 0

    # ---- tasks ------------------------------------------------------------------------------------

    def open_task(self, event: TaskSubmitted, now: float) -> ScheduledTask:
        """Enter a task whose pieces are all pending."""
        task = ScheduledTask(event.task_id, event.subtasks, order=self._submitted, priority=event.priority)
        task.requires = tuple(sorted(set(event.requires)))
        task.max_devices = max(0, event.max_devices)
        task.pure, task.function, task.retries = event.pure, event.function, event.retries
        self._submitted += 1
        self.tasks[task.task_id] = task
        pool = self.pools.get(task.pool_key)
        if pool is None:
            pool = self.pools[task.pool_key] = DevicePool(task.pool_key, self.paces.of(task.function), self.suspects)
            # O(devices), but once for a kind of task and not for an event of a running one.
            for device in self.devices.values():
                pool.consider(device)
        # Tasks that name no function share a pool, and yet each learns of its own subtasks what is typical.
        task.pace = pool.pace if task.function else self.paces.of("")
        if task.pure:
            pool.keep_idle()
        pool.tasks[task.task_id] = task
        pool.queue(task, self.served)
        pool.stalled_news = pool.stalled_news or not pool.members
        if event.deadline_s > 0.0:
            self.deadlines.set(("deadline", task.task_id), now + event.deadline_s)
        return task

    def close_task(self, task: ScheduledTask, state: TaskState) -> None:
        """Enter the end of a task without live attempts; what is left of it is its story."""
        assert not task.live
        for subtask in task.subtasks:
            if subtask.state is SubtaskState.RESTING:
                self.deadlines.cancel(("retry", task.task_id, subtask.index))
        self.deadlines.cancel(("deadline", task.task_id))
        for device_id in task.avoids:
            self.deadlines.cancel(("avoid", task.task_id, device_id))
        task.state = state
        task.subtasks, task.avoids, task.faults = [], {}, {}
        task.pending.clear()
        task.returned.clear()
        pool = self.pools[task.pool_key]
        pool.forget(task)
        del self.tasks[task.task_id]
        if not pool.tasks:
            self.deadlines.cancel(("look", task.pool_key))
            del self.pools[task.pool_key]
        self.finished[task.task_id] = task
        if len(self.finished) > FINISHED_STORIES:
            self.finished.popitem(last=False)

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
            taken = subtask.task.pending.popleft()
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
        subtask.state = SubtaskState.RUNNING
        subtask.tried[device.device_id] = None
        if not device.running:
            # An idle device sends few heartbeats: its silence counts from now.
            device.heard_at = max(device.heard_at, now)
        self.attempts[attempt_id] = attempt
        subtask.live[attempt_id] = task.live[attempt_id] = device.running[attempt_id] = attempt
        device.waiting[attempt_id] = attempt
        device.kinds[task.pool_key] = device.kinds.get(task.pool_key, 0) + 1
        task.devices[device.device_id] = task.devices.get(device.device_id, 0) + 1
        typical_s = task.pace.work / task.pace.speed(device.device_id, device.speed)
        self.begin_waiting(device, now)
        attempt.expected_end = now + typical_s * (1.0 + len(device.waiting) / max(1, device.slots))
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
            device.waiting.pop(attempt.attempt_id, None)
            device.kinds[task.pool_key] -= 1
            if not device.kinds[task.pool_key]:
                del device.kinds[task.pool_key]
            self.begin_waiting(device, now)
            self.device_changed(device)

    def begin_waiting(self, device: DeviceRecord, now: float) -> None:
        """Take it that a device begins what waits there as its slots come free, in order."""
        while device.waiting and len(device.running) - len(device.waiting) < device.slots:
            _, attempt = device.waiting.popitem(last=False)
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

    # ---- checking ---------------------------------------------------------------------------------

    def check(self) -> None:
        """Assert every invariant written beside a field; costs O(everything), for tests and the simulator."""
        deadlines = sum(device.resting + device.silent for device in self.devices.values()) + len(self.attempts)
        assert all(key in self.devices and ("suspect", key) in self.deadlines for key in self.suspects)
        deadlines += len(self.suspects)
        deadlines += sum(("quiet", key) in self.deadlines for key in self.devices)
        deadlines += sum(("look", key) in self.deadlines for key in self.pools)
        deadlines += sum(("deadline", key) in self.deadlines for key in self.tasks)
        for task in self.tasks.values():
            deadlines += self._check_task(task)
        assert all(self.devices[key] is each and each.resting for key, each in self.quarantined.items())
        assert deadlines == len(self.deadlines)
        assert sum(len(task.live) for task in self.tasks.values()) == len(self.attempts)
        assert sum(len(device.running) for device in self.devices.values()) == len(self.attempts)
        for device in self.devices.values():
            assert (("rest", device.device_id) in self.deadlines) == device.resting
            assert (("silent", device.device_id) in self.deadlines) == device.silent
            self._check_device(device)
        for key, attempt in self.attempts.items():
            assert attempt.state is AttemptState.LEASED and ("lease", key) in self.deadlines, attempt.story()
            assert self.devices[attempt.device_id].running[key] is attempt, attempt.story()
            assert attempt.subtask.live[key] is attempt and attempt.subtask.task.live[key] is attempt
        assert set(self.pools) == {task.pool_key for task in self.tasks.values()}
        for pool in self.pools.values():
            assert set(pool.tasks) == {key for key, task in self.tasks.items() if task.pool_key == pool.key}
            pool.check(self.devices)
        assert len(self.finished) <= FINISHED_STORIES
        assert not any(task.live or task.devices for task in self.finished.values())

    def _check_device(self, device: DeviceRecord) -> None:
        kinds: Dict[PoolKey, int] = {}
        for attempt in device.running.values():
            key = attempt.subtask.task.pool_key
            kinds[key] = kinds.get(key, 0) + 1
            assert (attempt.began_at is None) == (attempt.attempt_id in device.waiting)
            is_quiet = attempt.attempt_id in self.pools[key].leading.quiet
            assert is_quiet == (device.quiet and attempt.attempt_id in self.pools[key].leading.alone)
        assert kinds == device.kinds and all(key in device.running for key in device.waiting)
        assert not device.waiting or len(device.running) - len(device.waiting) >= device.slots
        if device.running and device.silence_s > 0.0 and not device.quiet:
            assert ("quiet", device.device_id) in self.deadlines

    def _check_task(self, task: ScheduledTask) -> int:
        """Check one unfinished task; return how many deadlines it has for resting subtasks and avoided devices."""
        assert task.state is TaskState.RUNNING and task.left > 0
        assert task.left == sum(subtask.state is not SubtaskState.DONE for subtask in task.subtasks)
        pending = [subtask.index for subtask in task.subtasks if subtask.state is SubtaskState.PENDING]
        assert sorted([*task.pending, *task.returned]) == pending and list(task.pending) == sorted(task.pending)
        assert not any(task.subtasks[index].tried for index in task.pending)
        assert all(task.subtasks[index].tried for index in task.returned)
        assert sum(task.devices.values()) == len(task.live)
        assert not task.max_devices or len(task.devices) <= task.max_devices
        resting = len(task.avoids)
        assert set(task.avoids) <= set(task.faults) and len(task.faults) <= FAULTS_KEPT
        assert all(("avoid", task.task_id, device_id) in self.deadlines for device_id in task.avoids)
        for subtask in task.subtasks:
            assert bool(subtask.live) == (subtask.state is SubtaskState.RUNNING)
            assert len(subtask.live) == 1 or task.pure or not subtask.live
            rests = subtask.state is SubtaskState.RESTING
            assert (("retry", task.task_id, subtask.index) in self.deadlines) == rests
            resting += rests
        return resting
