"""Match tasks of one kind to the devices that may run them: heaps, corrected as they surface.

Knows:   for one set of requirements and one function: which devices are suitable, which is best, whose turn it is.
Refuses: to start anything; that is core/scheduler.py.
Read next: core/scheduler.py, core/leading.py (the attempts that may get a second beside them).
"""

from __future__ import annotations

import heapq
from typing import Callable, Container, Dict, List, Optional, Tuple

from .leading import LeadingAttempts
from .paces import FunctionPace
from .placement import is_suitable
from .records import DeviceRecord, PoolKey, ScheduledTask, TaskRank


class DeviceHeap:
    """Find the best of the devices that have room, by lazily deleted entries: a choice costs O(log devices)."""

    def __init__(self, members: Dict[str, DeviceRecord], room: Callable[[DeviceRecord], int]) -> None:
        self._members = members
        self._room = room
        #: (cost, order, generation, device id): one living entry for each member with room, and void ones.
        self.entries: List[Tuple[float, int, int, str]] = []

    def consider(self, device: DeviceRecord, cost: float) -> None:
        """Take note of a member that is new or changed, under its new generation."""
        if self._room(device) > 0:
            heapq.heappush(self.entries, (cost, device.order, device.generation, device.device_id))
            # Void entries stay until they surface; when they outnumber the living all are dropped.
            if len(self.entries) > 64 + 2 * len(self._members):
                self.entries = [entry for entry in self.entries if self.is_living(entry)]
                heapq.heapify(self.entries)

    def best(self) -> Optional[DeviceRecord]:
        """Return the best device, or None when none has room."""
        while self.entries:
            if self.is_living(self.entries[0]):
                return self._members[self.entries[0][3]]
            heapq.heappop(self.entries)
        return None

    def choose(self, tried: Container[str]) -> Optional[DeviceRecord]:
        """Return the best device that is not in `tried`, or None; there may be many tried and few."""
        skipped = []
        device = self.best()
        while device is not None and device.device_id in tried:
            skipped.append(heapq.heappop(self.entries))
            device = self.best()
        for entry in skipped:
            heapq.heappush(self.entries, entry)
        return device

    def is_living(self, entry: Tuple[float, int, int, str]) -> bool:
        """Return whether an entry says what is so."""
        device = self._members.get(entry[3])
        # A device that was lost and came back has a new record, with a new order, and counts from the beginning.
        return device is not None and (device.order, device.generation) == entry[1:3] and self._room(device) > 0


class DevicePool:
    """Hold the devices suitable for one kind of task, and the tasks of that kind."""

    def __init__(self, key: PoolKey, pace: FunctionPace) -> None:
        self.key = key
        self.requires = key[0]
        #: What is learnt of the function; of "" nothing, so that devices rank by their measured scores.
        self.pace = pace
        #: device id -> device: exactly the known devices that are suitable, free or not.
        self.members: Dict[str, DeviceRecord] = {}
        #: task id -> task: exactly the unfinished tasks of this kind.
        self.tasks: Dict[str, ScheduledTask] = {}
        #: Members with room for an attempt of this kind, waiting places included, and those that could begin one at
        #: once, which is what a second attempt asks for. The latter are kept up once there was a pure task.
        self.roomy = DeviceHeap(self.members, lambda device: device.room(self.key, self.pace))
        self.idle = DeviceHeap(self.members, lambda device: device.free)
        self.leading = LeadingAttempts()
        #: False while nothing has changed since the idle were last compared with what runs, to no end.
        self.is_to_compare = False
        self._is_idle_kept = False
        #: Ranks of the tasks with `queued`, and void ones.
        self._queue: List[TaskRank] = []
        #: Somebody is to be told that nobody can be given work from here.
        self.stalled_news = False

    def consider(self, device: DeviceRecord) -> None:
        """Take note of a device that is new or changed, under its new generation."""
        if not is_suitable(self.requires, device.offers, device.slots):
            self.drop(device)
            return
        self.members[device.device_id] = device
        cost = self.cost(device)
        self.roomy.consider(device, cost)
        if self._is_idle_kept and device.free:
            self.idle.consider(device, cost)
            self.is_to_compare = True

    def cost(self, device: DeviceRecord) -> float:
        """Return a device's rank for work of this kind."""
        return device.cost(self.pace.speed(device.device_id, device.speed))

    def keep_idle(self) -> None:
        """Know from now on who could begin something at once; O(devices), once in the life of a pool."""
        if not self._is_idle_kept:
            self._is_idle_kept = True
            for device in self.members.values():
                self.idle.consider(device, self.cost(device))

    def drop(self, device: DeviceRecord) -> None:
        """Forget a device that is gone or no longer suitable."""
        if self.members.pop(device.device_id, None) is not None and not self.members:
            self.stalled_news = True

    def queue(self, task: ScheduledTask, served_at_least: float) -> None:
        """Let a task take its turn, unless it does already or has nothing to place.

        Who had nothing to place meanwhile has saved nothing up: it is taken to have been served as others were.
        """
        if task.pending and not task.queued:
            task.queued = True
            task.served = max(task.served, served_at_least)
            heapq.heappush(self._queue, task.rank())

    def queue_crews_of(self, device: DeviceRecord, served_at_least: float) -> None:
        """Let tasks that may use no other devices than those they have take their turn: this one may have room."""
        if device.room(self.key, self.pace):
            for attempt in device.running.values():
                if attempt.subtask.task.max_devices and attempt.subtask.task.task_id in self.tasks:
                    self.queue(attempt.subtask.task, served_at_least)

    def serve(self, task: ScheduledTask, seconds: float) -> None:
        """Book slot seconds on the task whose turn it was, and let it queue up again behind those served less."""
        self.set_aside(task)
        task.served += seconds / task.priority
        self.queue(task, 0.0)

    def next_task(self) -> Optional[ScheduledTask]:
        """Return whose turn it is, or None when nobody waits or no device has room."""
        while self._queue:
            task = self.tasks.get(self._queue[0][3])
            if task is not None and task.queued and task.rank() == self._queue[0]:
                if task.pending:
                    return task if self.roomy.best() is not None else None
                task.queued = False
            heapq.heappop(self._queue)
        return None

    def set_aside(self, task: ScheduledTask) -> None:
        """Take the task whose turn it is out of the queue; `queue` brings it back."""
        assert self._queue[0] == task.rank() and task.queued
        task.queued = False
        heapq.heappop(self._queue)

    def has_untried(self, tried: Dict[str, None]) -> bool:
        """Return whether some member, free or busy, is not in `tried`."""
        return sum(device_id in self.members for device_id in tried) < len(self.members)

    def check(self, devices: Dict[str, DeviceRecord]) -> None:
        """Assert the invariants written beside the fields."""
        suitable = {key for key, device in devices.items() if is_suitable(self.requires, device.offers, device.slots)}
        assert set(self.members) == suitable
        roomy = sorted(key for key, device in self.members.items() if device.room(self.key, self.pace))
        assert roomy == sorted(entry[3] for entry in self.roomy.entries if self.roomy.is_living(entry))
        if self._is_idle_kept:
            idle = sorted(key for key, device in self.members.items() if device.free)
            assert idle == sorted(entry[3] for entry in self.idle.entries if self.idle.is_living(entry))
        queued = {task.rank() for task in self.tasks.values() if task.queued}
        assert queued <= set(self._queue)
        assert max(len(self.roomy.entries), len(self.idle.entries)) <= 65 + 2 * len(devices)
        assert all(not task.pending for task in self.tasks.values() if not task.queued and not task.max_devices)
        self.leading.check(self.tasks.values())
