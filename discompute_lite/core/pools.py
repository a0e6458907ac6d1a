"""Match tasks with equal requirements to the devices that meet them: two heaps, corrected as they surface.

Knows:   for one set of requirements, which devices are suitable, which is best, whose turn it is.
Refuses: to start anything; that is core/scheduler.py.
Read next: core/scheduler.py.
"""

from __future__ import annotations

import heapq
from typing import Container, Dict, List, Optional, Tuple

from .placement import is_suitable
from .records import DeviceRecord, ScheduledTask


class DevicePool:
    """Hold the devices suitable for one set of requirements, and the tasks that have it.

    A choice costs O(log devices). Entries of devices that changed stay in the heap until they surface, and the
    heap is rebuilt when they outnumber the living.
    """

    def __init__(self, requires: Tuple[str, ...]) -> None:
        self.requires = requires
        #: device id -> device: exactly the known devices that are suitable, free or not.
        self.members: Dict[str, DeviceRecord] = {}
        #: task id -> task: exactly the unfinished tasks with these requirements.
        self.tasks: Dict[str, ScheduledTask] = {}
        #: (cost, order, generation, device id): one living entry for each free member, and void ones.
        self._heap: List[Tuple[float, int, int, str]] = []
        #: Ranks of the tasks with `queued`, and void ones.
        self._queue: List[Tuple[int, int, str]] = []
        #: Somebody is to be told that nobody can be given work from here.
        self.stalled_news = False

    def consider(self, device: DeviceRecord) -> None:
        """Take note of a device that is new or changed, under its new generation."""
        if not is_suitable(self.requires, device.offers, device.slots):
            self.drop(device)
            return
        self.members[device.device_id] = device
        if device.free:
            heapq.heappush(self._heap, (device.cost(), device.order, device.generation, device.device_id))
            if len(self._heap) > 64 + 2 * len(self.members):
                self._heap = [entry for entry in self._heap if self._living(entry)]
                heapq.heapify(self._heap)

    def drop(self, device: DeviceRecord) -> None:
        """Forget a device that is gone or no longer suitable."""
        if self.members.pop(device.device_id, None) is not None and not self.members:
            self.stalled_news = True

    def queue(self, task: ScheduledTask) -> None:
        """Let a task take its turn, unless it does already or has nothing to place."""
        if task.pending and not task.queued:
            task.queued = True
            heapq.heappush(self._queue, task.rank())

    def next_task(self) -> Optional[ScheduledTask]:
        """Return whose turn it is, or None when nobody waits or no device is free."""
        while self._queue:
            task = self.tasks.get(self._queue[0][2])
            if task is not None and task.queued and task.rank() == self._queue[0]:
                if task.pending:
                    return task if self._best() is not None else None
                task.queued = False
            heapq.heappop(self._queue)
        return None

    def set_aside(self, task: ScheduledTask) -> None:
        """Take the task whose turn it is out of the queue; `queue` brings it back."""
        assert self._queue[0] == task.rank() and task.queued
        task.queued = False
        heapq.heappop(self._queue)

    def choose(self, tried: Container[str]) -> Optional[DeviceRecord]:
        """Return the best free device that is not in `tried`, or None; there may be many tried and few."""
        skipped = []
        device = self._best()
        while device is not None and device.device_id in tried:
            skipped.append(heapq.heappop(self._heap))
            device = self._best()
        for entry in skipped:
            heapq.heappush(self._heap, entry)
        return device

    def has_untried(self, tried: Dict[str, None]) -> bool:
        """Return whether some member, free or busy, is not in `tried`."""
        return sum(device_id in self.members for device_id in tried) < len(self.members)

    def _best(self) -> Optional[DeviceRecord]:
        while self._heap:
            if self._living(self._heap[0]):
                return self.members[self._heap[0][3]]
            heapq.heappop(self._heap)
        return None

    def _living(self, entry: Tuple[float, int, int, str]) -> bool:
        device = self.members.get(entry[3])
        return device is not None and device.generation == entry[2] and device.free > 0

    def check(self, devices: Dict[str, DeviceRecord]) -> None:
        """Assert the invariants written beside the fields."""
        suitable = {key for key, device in devices.items() if is_suitable(self.requires, device.offers, device.slots)}
        assert set(self.members) == suitable
        living = sorted(entry[3] for entry in self._heap if self._living(entry))
        assert living == sorted(key for key, device in self.members.items() if device.free)
        queued = {task.rank() for task in self.tasks.values() if task.queued}
        assert queued <= set(self._queue)
        assert len(self._heap) <= 65 + 2 * len(devices)
        assert all(not task.pending for task in self.tasks.values() if not task.queued and not task.max_devices)
