"""Keep the scheduler's books: every index of tasks, attempts, devices and deadlines, changed together.

Knows:   which attempt is whose, who is free, what is due when, and the invariants among these.
Refuses: to decide what to run where or what a failure means; that is core/scheduler.py.
Read next: core/scheduler.py.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from typing import Dict, Optional, Tuple

from ..model.deadlines import Deadlines
from ..model.task import TaskState
from .pools import DevicePool
from .records import AttemptRecord, AttemptState, DeviceRecord, SubtaskRecord, SubtaskState, ScheduledTask

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
        #: requirements -> pool: exactly those of unfinished tasks.
        self.pools: Dict[Tuple[str, ...], DevicePool] = {}
        #: ("lease", attempt) for each live attempt, ("retry", task, index) for each RESTING subtask,
        #: ("rest", device) for each resting and ("silent", device) for each silent device.
        self.deadlines = Deadlines()
        self._submitted = 0
        self._appeared = 0

    # ---- tasks ------------------------------------------------------------------------------------

    def open_task(
        self, task_id: str, subtasks: int, *, priority: int, requires: Tuple[str, ...], max_devices: int
    ) -> ScheduledTask:
        """Enter a task whose pieces are all pending."""
        task = ScheduledTask(task_id, subtasks, order=self._submitted, priority=priority)
        task.requires = tuple(sorted(set(requires)))
        task.max_devices = max(0, max_devices)
        self._submitted += 1
        self.tasks[task_id] = task
        pool = self.pools.get(task.requires)
        if pool is None:
            pool = self.pools[task.requires] = DevicePool(task.requires)
            # O(devices), but once for a set of requirements and not for an event of a running task.
            for device in self.devices.values():
                pool.consider(device)
        pool.tasks[task_id] = task
        pool.queue(task)
        pool.stalled_news = pool.stalled_news or not pool.members
        return task

    def close_task(self, task: ScheduledTask, state: TaskState) -> None:
        """Enter the end of a task without live attempts; what is left of it is its story."""
        assert not task.live
        for subtask in task.subtasks:
            if subtask.state is SubtaskState.RESTING:
                self.deadlines.cancel(("retry", task.task_id, subtask.index))
        task.state = state
        task.subtasks, task.pending = [], []
        pool = self.pools[task.requires]
        del self.tasks[task.task_id], pool.tasks[task.task_id]
        if not pool.tasks:
            del self.pools[task.requires]
        self.finished[task.task_id] = task
        if len(self.finished) > FINISHED_STORIES:
            self.finished.popitem(last=False)

    def rest_subtask(self, subtask: SubtaskRecord, until: float) -> None:
        """Let a subtask without live attempts wait."""
        subtask.state = SubtaskState.RESTING
        self.deadlines.set(("retry", subtask.task.task_id, subtask.index), until)

    def make_pending(self, subtask: SubtaskRecord) -> None:
        """Let a subtask without live attempts take its turn."""
        subtask.state = SubtaskState.PENDING
        heapq.heappush(subtask.task.pending, subtask.index)
        self.pools[subtask.task.requires].queue(subtask.task)

    def take_pending(self, task: ScheduledTask) -> SubtaskRecord:
        """Return the pending subtask of the lowest index; the caller starts it or lets it rest."""
        return task.subtasks[heapq.heappop(task.pending)]

    # ---- attempts ---------------------------------------------------------------------------------

    def open_attempt(self, subtask: SubtaskRecord, device: DeviceRecord, now: float) -> AttemptRecord:
        """Enter the next attempt of a subtask just taken from `pending`."""
        task = subtask.task
        subtask.attempts += 1
        attempt_id = f"{task.task_id}/{subtask.index}.{subtask.attempts}"
        attempt = AttemptRecord(attempt_id, subtask, device.device_id, now + device.lease_s)
        subtask.state = SubtaskState.RUNNING
        subtask.tried[device.device_id] = None
        self.attempts[attempt_id] = attempt
        subtask.live[attempt_id] = task.live[attempt_id] = device.running[attempt_id] = attempt
        task.devices[device.device_id] = task.devices.get(device.device_id, 0) + 1
        self.deadlines.set(("lease", attempt_id), attempt.lease_until)
        self.device_changed(device)
        return attempt

    def end_attempt(self, attempt: AttemptRecord, fact: str) -> None:
        """Take an attempt out of every index; the caller says what becomes of its subtask."""
        attempt.move(fact)
        subtask, task = attempt.subtask, attempt.subtask.task
        del self.attempts[attempt.attempt_id], subtask.live[attempt.attempt_id], task.live[attempt.attempt_id]
        self.deadlines.cancel(("lease", attempt.attempt_id))
        task.devices[attempt.device_id] -= 1
        if not task.devices[attempt.device_id]:
            del task.devices[attempt.device_id]
        self.pools[task.requires].queue(task)
        device = self.devices.get(attempt.device_id)
        if device is not None:
            del device.running[attempt.attempt_id]
            self.device_changed(device)

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
            self.deadlines.cancel(("rest", device_id))
            self.deadlines.cancel(("silent", device_id))
            for pool in self.pools.values():
                pool.drop(device)
        return device

    def device_changed(self, device: DeviceRecord) -> None:
        """Let placement see a device anew, and tasks that may use no other device take their turn."""
        device.generation += 1
        for pool in self.pools.values():
            pool.consider(device)
        if device.free:
            for attempt in device.running.values():
                self.pools[attempt.subtask.task.requires].queue(attempt.subtask.task)

    def rest_device(self, device: DeviceRecord, kind: str, until: float) -> None:
        """Give a device nothing until then: "rest" since it failed, or "silent" since its lease ended."""
        self._set_pause(device, kind, True)
        self.deadlines.set((kind, device.device_id), until)

    def wake_device(self, device: DeviceRecord, kind: str) -> None:
        """End such a pause, if there is one."""
        if device.resting if kind == "rest" else device.silent:
            self.deadlines.cancel((kind, device.device_id))
            self._set_pause(device, kind, False)

    def _set_pause(self, device: DeviceRecord, kind: str, paused: bool) -> None:
        if kind == "rest":
            device.resting = paused
        else:
            device.silent = paused
        self.device_changed(device)

    # ---- checking ---------------------------------------------------------------------------------

    def check(self) -> None:
        """Assert every invariant written beside a field; costs O(everything), for tests and the simulator."""
        deadlines = sum(device.resting + device.silent for device in self.devices.values()) + len(self.attempts)
        for task in self.tasks.values():
            deadlines += self._check_task(task)
        assert deadlines == len(self.deadlines)
        assert sum(len(task.live) for task in self.tasks.values()) == len(self.attempts)
        assert sum(len(device.running) for device in self.devices.values()) == len(self.attempts)
        for device in self.devices.values():
            assert (("rest", device.device_id) in self.deadlines) == device.resting
            assert (("silent", device.device_id) in self.deadlines) == device.silent
        for key, attempt in self.attempts.items():
            assert attempt.state is AttemptState.LEASED and ("lease", key) in self.deadlines, attempt.story()
            assert self.devices[attempt.device_id].running[key] is attempt, attempt.story()
            assert attempt.subtask.live[key] is attempt and attempt.subtask.task.live[key] is attempt
        assert set(self.pools) == {task.requires for task in self.tasks.values()}
        for pool in self.pools.values():
            assert set(pool.tasks) == {key for key, task in self.tasks.items() if task.requires == pool.requires}
            pool.check(self.devices)
        assert len(self.finished) <= FINISHED_STORIES
        assert not any(task.live or task.devices for task in self.finished.values())

    def _check_task(self, task: ScheduledTask) -> int:
        """Check one unfinished task; return how many deadlines its resting subtasks have."""
        assert task.state is TaskState.RUNNING and task.left > 0
        assert task.left == sum(subtask.state is not SubtaskState.DONE for subtask in task.subtasks)
        pending = [subtask.index for subtask in task.subtasks if subtask.state is SubtaskState.PENDING]
        assert sorted(task.pending) == pending
        assert sum(task.devices.values()) == len(task.live)
        assert not task.max_devices or len(task.devices) <= task.max_devices
        resting = 0
        for subtask in task.subtasks:
            assert bool(subtask.live) == (subtask.state is SubtaskState.RUNNING)
            rests = subtask.state is SubtaskState.RESTING
            assert (("retry", task.task_id, subtask.index) in self.deadlines) == rests
            resting += rests
        return resting
