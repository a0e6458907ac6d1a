"""Match tasks of one kind to the devices that may run them: heaps, corrected as they surface.

Knows:   for one set of requirements and one function: which devices are suitable, which is best, whose turn it is.
Refuses: to start anything; that is core/scheduler.py.
Read next: core/scheduler.py, core/leading.py (the attempts that may get a second beside them).
"""

from __future__ import annotations

import heapq
from itertools import islice
from typing import Callable, Collection, Container, Dict, List, Optional, Tuple

from .leading import LeadingAttempts
from .paces import FunctionPace
from .placement import is_suitable
from .records import DeviceRecord, PoolKey, ScheduledTask, SubtaskRecord, TaskRank
from .worth import Keeping, Weigher

#: So many of the subtasks that were tried before are looked at for one that suits a free device.
RETURNED_LOOKED_AT = 7


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

    def living(self) -> List[str]:
        """Return the devices of all living entries, sorted."""
        return sorted([entry[3] for entry in self.entries if self.is_living(entry)])

    def is_living(self, entry: Tuple[float, int, int, str]) -> bool:
        """Return whether an entry says what is so."""
        device = self._members.get(entry[3])
        # A device that was lost and came back has a new record, with a new order, and counts from the beginning. It had
        # room when this was entered, and whoever changes that gives it a new generation.
        return device is not None and device.generation == entry[2] and device.order == entry[1]


class DevicePool:
    """Hold the devices suitable for one kind of task, and the tasks of that kind."""

    def __init__(self, key: PoolKey, pace: FunctionPace, suspects: Dict[str, None]) -> None:
        self.key = key
        self.requires = key[0]
        #: What is learnt of the function; of "" nothing, so that devices rank by their measured scores.
        self.pace = pace
        #: The ledger's, of devices suitable and not.
        self.suspects = suspects
        #: device id -> device: exactly the known devices that are suitable, free or not.
        self.members: Dict[str, DeviceRecord] = {}
        #: device id: exactly the members that get nothing just now.
        self.paused: Dict[str, None] = {}
        #: task id -> task: exactly the unfinished tasks of this kind.
        self.tasks: Dict[str, ScheduledTask] = {}
        #: Members with room for an attempt of this kind, waiting places included, and those that could begin one at
        #: once, which is what a second attempt asks for. The latter are kept up once there was a pure task.
        self.roomy = DeviceHeap(self.members, lambda device: self.room(device))
        self.idle = DeviceHeap(self.members, lambda device: device.free)
        self.leading = LeadingAttempts()
        #: task id: exactly those of `tasks` that have a limit of devices, and the pure ones that are not sealed.
        self.limited: Dict[str, None] = {}
        self.unsealed: Dict[str, None] = {}
        #: task id: exactly those of `tasks` that are not pure. While there are any, nothing is sent in advance: what
        #: waits behind a long one could be begun elsewhere only by doing it twice.
        self.impure: Dict[str, None] = {}
        #: False while nothing has changed since the idle were last compared with what runs, to no end.
        self.is_to_compare = False
        #: True when that was put off long enough.
        self.is_look_due = False
        self._is_idle_kept = False
        #: Ranks of the tasks with `queued`, and void ones.
        self._queue: List[TaskRank] = []
        #: task id -> task: with pending subtasks, and not queued since no device that has room now suits them.
        self.aside: Dict[str, ScheduledTask] = {}
        #: task id -> why: exactly those of `aside` that are kept from the best device that has room.
        self.kept: Dict[str, Keeping] = {}
        self.weigher = Weigher(pace, self.members)
        #: Somebody is to be told that nobody can be given work from here.
        self.stalled_news = False

    def consider(self, device: DeviceRecord) -> None:
        """Take note of a device that is new or changed, under its new generation."""
        if not is_suitable(self.requires, device.offers, device.slots):
            self.drop(device)
            return
        was_alone = device.device_id not in self.members and self._has_lone_window()
        self.members[device.device_id] = device
        if device.is_paused:
            self.paused[device.device_id] = None
        elif self.paused:
            self.paused.pop(device.device_id, None)
        self.weigher.consider(device)
        cost = self.cost(device)
        if was_alone:
            self.rank_anew()
        else:
            self.roomy.consider(device, cost)
        if self.aside:
            self._recall_for(device)
        if self._is_idle_kept and device.free:
            self.idle.consider(device, cost)
            self.is_to_compare = True

    def room(self, device: DeviceRecord) -> int:
        """Return how many attempts of this kind a device may be given now.

        With a window of one, which hides moments, nothing waits that another device could have had.
        """
        may_wait = not self.impure and (device.window > 1 or self._has_lone_window())
        return device.room(self.key, self.pace, may_wait)

    def _has_lone_window(self) -> bool:
        """Whether there is one member only, with a place in advance that it has as long as this is so."""
        return len(self.members) == 1 and next(iter(self.members.values())).window == 1

    def cost(self, device: DeviceRecord) -> float:
        """Return a device's rank for work of this kind."""
        cost = device.cost(self.pace.speed(device.device_id, device.speed))
        return cost + self.weigher.way(device) / self.weigher.work(self.pace) if device.round_trip_s else cost

    def keep_idle(self) -> None:
        """Know from now on who could begin something at once; O(devices), once in the life of a pool."""
        if not self._is_idle_kept:
            self._is_idle_kept = True
            for device in self.members.values():
                self.idle.consider(device, self.cost(device))

    def drop(self, device: DeviceRecord) -> None:
        """Forget a device that is gone or no longer suitable."""
        if self.members.pop(device.device_id, None) is not None:
            self.paused.pop(device.device_id, None)
            if device is self.weigher.fastest:
                self.weigher.look_again()
            if self._has_lone_window():
                self.rank_anew()
            self.stalled_news = self.stalled_news or not self.members
            self.recall()  # It may have been the last other.

    def recall(self) -> None:
        """Let all tasks that were set aside take their turn."""
        for task in list(self.aside.values()):
            self.queue(task, 0.0)

    def on_time(self, kind: str, now: float) -> None:
        """Compare again what was put off ("look"), or weigh again what is kept ("weigh")."""
        if kind == "look":
            self.is_to_compare = self.is_look_due = True
        else:
            for task_id, keeping in self.kept.items():
                self.weigher.guess_by_age(self.tasks[task_id], keeping.fastest_id, now)
            self.recall()

    def look_again(self, task: ScheduledTask) -> None:
        """Let a task take its turn that was set aside and has now something else to place, or nothing."""
        if self.aside.pop(task.task_id, None) is not None:
            self.kept.pop(task.task_id, None)
            self.queue(task, 0.0)

    def _recall_for(self, device: DeviceRecord) -> None:
        """Let tasks that were set aside take their turn where a device has room for them, or was the last other."""
        has_room = self.room(device) > 0
        for task in list(self.aside.values()):
            is_kept = task.task_id in self.kept
            if is_kept or device.is_paused or (has_room and device.device_id not in task.avoids):
                self.queue(task, 0.0)

    def enter(self, task: ScheduledTask) -> None:
        """Take in a task of this kind."""
        if task.pure:
            self.keep_idle()
            if not task.is_sealed:
                self.unsealed[task.task_id] = None
        else:
            self._set_impure(task.task_id, True)
        if task.max_devices:
            self.limited[task.task_id] = None
        self.weigh(task.size_bytes)
        self.tasks[task.task_id] = task

    def seal(self, task: ScheduledTask) -> None:
        """Take note that nothing will be added to a task, so that idle devices may well run what runs already."""
        if task.task_id in self.unsealed:
            del self.unsealed[task.task_id]
            self.is_to_compare = True

    def forget(self, task: ScheduledTask) -> None:
        """Forget a task that has ended."""
        del self.tasks[task.task_id]
        if not task.pure:
            self._set_impure(task.task_id, False)
        self.limited.pop(task.task_id, None)
        self.unsealed.pop(task.task_id, None)
        self.aside.pop(task.task_id, None)
        self.kept.pop(task.task_id, None)

    def _set_impure(self, task_id: str, is_impure: bool) -> None:
        was_empty = not self.impure
        if is_impure:
            self.impure[task_id] = None
        else:
            del self.impure[task_id]
        if was_empty != (not self.impure):
            # Everybody's room is another now; once for the first such task and once for the last.
            self.rank_anew()

    def weigh(self, size_bytes: int, calls: int = 1, call_s: float = 0.0) -> None:
        """Take note of what a piece weighs and holds; where that is very different from before, all rank anew."""
        weigher = self.weigher
        before, held = weigher.size_bytes, weigher.calls
        weigher.size_bytes, weigher.calls, weigher.call_s = size_bytes, calls, call_s
        if not (before / 2 <= size_bytes <= before * 2 and held / 2 <= calls <= held * 2):
            self.rank_anew()

    def rank_anew(self) -> None:
        """Rank all members; O(devices), for what happens a few times a task at most, and not for each of its events."""
        self.roomy.entries = []
        self.weigher.look_again()
        for device in self.members.values():
            self.roomy.consider(device, self.cost(device))

    def queue(self, task: ScheduledTask, served_at_least: float) -> None:
        """Let a task take its turn, unless it does already or has nothing to place.

        Who had nothing to place meanwhile has saved nothing up: it is taken to have been served as others were.
        """
        if task.waiting and not task.queued:
            self.aside.pop(task.task_id, None)
            self.kept.pop(task.task_id, None)
            task.queued = True
            task.served = max(task.served, served_at_least)
            heapq.heappush(self._queue, task.rank())

    def queue_crews_of(self, device: DeviceRecord, served_at_least: float) -> None:
        """Let tasks that may use no other devices than those they have take their turn: this one may have room."""
        if self.limited and self.room(device):
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
        task = self.first_waiting()
        return task if task is not None and self.roomy.best() is not None else None

    def first_waiting(self) -> Optional[ScheduledTask]:
        """Return who is next once a device has room, or None when nobody waits."""
        while self._queue:
            task = self.tasks.get(self._queue[0][3])
            if task is not None and task.queued and task.rank() == self._queue[0]:
                if task.waiting:
                    return task
                task.queued = False
            heapq.heappop(self._queue)
        return None

    def choose(self, task: ScheduledTask) -> Optional[Tuple[SubtaskRecord, DeviceRecord]]:
        """Return which subtask of the task whose turn it is goes where; else set the task aside and return None.

        It is better to wait than to go where the task fails or the subtask failed, as long as others may come free.
        """
        chosen, keeping = self._look_for(task)
        if chosen is None:
            self.set_aside(task)
            if keeping is not None:
                self.kept[task.task_id] = keeping
            if keeping is not None or task.avoids or not task.at_device_limit:
                self.aside[task.task_id] = task
        return chosen

    def _look_for(
        self, task: ScheduledTask
    ) -> Tuple[Optional[Tuple[SubtaskRecord, DeviceRecord]], Optional[Keeping]]:
        keeping: Optional[Keeping] = None
        avoided: Collection[str] = task.avoids if task.avoids and self.has_other(task.avoids) else ()
        for index in [*islice(task.returned, RETURNED_LOOKED_AT), *islice(task.pending, 1)]:
            subtask = task.subtasks[index]
            if task.at_device_limit:
                device = self._choose_in_crew(task, subtask.tried, avoided)
            else:
                device = self._choose_for(subtask, avoided)
            if device is not None:
                besides = {*subtask.tried, *avoided} if subtask.tried or avoided else avoided
                device = self._nearer(task, device, besides)
                keeping = self.weigher.why_keep(task, device, besides)
                if keeping is None:
                    return (subtask, device), None
        return None, keeping

    def _nearer(self, task: ScheduledTask, device: DeviceRecord, besides: Collection[str]) -> DeviceRecord:
        """Return the fastest device instead of a far one that ranked first while less was known of the way."""
        fastest = self.weigher.fastest
        if not device.round_trip_s or fastest is None or fastest is device or fastest.device_id in besides:
            return device
        if task.at_device_limit and fastest.device_id not in task.devices:
            return device
        return fastest if self.room(fastest) and self.weigher.is_sooner_done(fastest, device) else device

    def _choose_for(self, subtask: SubtaskRecord, avoided: Collection[str]) -> Optional[DeviceRecord]:
        if not subtask.tried and not avoided:
            return self.roomy.best()
        besides = {*subtask.tried, *avoided}
        # What has failed once shall not be what finds out which devices are broken: three such, and it would be poison.
        trusted = {*besides, *self.suspects} if subtask.harms and self.suspects else besides
        for skipped in (trusted, besides):
            if self.has_other(skipped):
                return self.roomy.choose(skipped)
        return self.roomy.choose(avoided)

    def _choose_in_crew(
        self, task: ScheduledTask, tried: Container[str], avoided: Container[str]
    ) -> Optional[DeviceRecord]:
        """Return the best free device of those that already work for a task; few, since a person set the limit."""
        crew = (self.members.get(device_id) for device_id in task.devices if device_id not in avoided)
        free = [device for device in crew if device is not None and self.room(device)]
        return min(free, key=lambda d: (d.device_id in tried, self.cost(d), d.order), default=None)

    def room_for(self, task: ScheduledTask) -> int:
        """Return how many subtasks more, not tried yet, a task of this kind could start now; O(members).

        With a limit of devices this is the most: which others join is decided by their ranks and not by their room.
        """
        if self.roomy.best() is None:
            return 0
        avoided: Collection[str] = task.avoids if task.avoids and self.has_other(task.avoids) else ()
        rooms = {
            key: self.room(device) for key, device in self.members.items() if key not in avoided
        }
        if not task.max_devices:
            return sum(rooms.values())
        crew = sum(rooms.pop(device_id, 0) for device_id in task.devices)
        return crew + sum(heapq.nlargest(task.max_devices - len(task.devices), rooms.values()))

    def set_aside(self, task: ScheduledTask) -> None:
        """Take the task whose turn it is out of the queue; `queue` brings it back."""
        assert self._queue[0] == task.rank() and task.queued
        task.queued = False
        heapq.heappop(self._queue)

    def has_other(self, besides: Collection[str]) -> bool:
        """Return whether a device that may be given work now, or once it comes free, is not in `besides`."""
        named = sum(device_id in self.members and device_id not in self.paused for device_id in besides)
        return len(self.paused) + named < len(self.members)
