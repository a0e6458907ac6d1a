"""Say whether giving a piece of work to a device brings the end nearer, or whether it is better left to the fastest.

Knows:   what a piece weighs, how long and how broad the way is, how fast devices are, who does most in a second.
Refuses: to choose a device (core/pools.py does) and to tell anybody (core/keeping.py does).
Read next: core/pools.py (who asks), core/paces.py (where a device's time is learnt, without the way).

The promise is that work spread over devices is never slower than the fastest of them alone. A piece that would come
back from a device only when the fastest one had done all that waits, that piece included, is kept for the fastest one:
as long as that one works for this very task, so that it is known to come free for it.

A piece is one call, or the calls of a unit that go together: way, work and what comes back are those of all of them.
A chunk may hold several units, which are not reckoned with: it is cut for its device, as a small part of what waits.
"""

from __future__ import annotations

from typing import Collection, Dict, NamedTuple, Optional, Tuple

from .paces import FunctionPace
from .records import DeviceRecord, ScheduledTask

#: Bytes a second taken for a link that was not measured: slow on purpose, since it is measured before work needs it.
UNMEASURED_BYTES_S = 250_000.0
#: Seconds of the reference machine that a piece is taken for while none has ended, before its age says more.
FIRST_GUESS_S = 0.001


class Keeping(NamedTuple):
    """Say why a piece that waits is not given to a device that has room: times are seconds."""

    device_id: str
    #: When it would be back from there, and how much of that is the way.
    there_s: float
    way_s: float
    #: Who would have done all that waits by then, and in which time.
    fastest_id: str
    alone_s: float


def way_s(*, size_bytes: float, round_trip_s: float, bytes_s: float, sharing: int) -> float:
    """Return how long a piece is on its way, there and back, on a link that `sharing` others use at the same time.

    No round trip is no way: it is this very device, or another process of the same machine.
    """
    if not round_trip_s > 0.0:
        return 0.0
    return round_trip_s + size_bytes * (1 + max(0, sharing)) / (bytes_s if bytes_s > 0.0 else UNMEASURED_BYTES_S)


def there_s(*, piece_s: float, way: float, running: int, slots: int) -> float:
    """Return when a piece of `piece_s` would be back from a device with so many attempts for its slots (> 0)."""
    return way + piece_s * (1.0 + max(0, running + 1 - slots) / slots)


def alone_s(*, piece_s: float, waiting: float, running_s: float, slots: int) -> float:
    """Return when a device with so many slots (> 0) alone would have done all that waits.

    `running_s` is how long all that it runs now takes together; half of that is taken to be done.
    """
    return piece_s * max(1.0, waiting / slots) + 0.5 * running_s / slots


class Weigher:
    """Weigh, for one kind of work, what the devices that may run it are worth."""

    def __init__(self, pace: FunctionPace, members: Dict[str, DeviceRecord]) -> None:
        self._pace = pace
        self._members = members
        #: What a piece weighs, how many calls it holds, and the work of one of these, 0.0 where that is not known: as
        #: the last task that was entered or added to says.
        self.size_bytes, self.calls, self.call_s = 0, 1, 0.0
        #: The member that does most in a second as far as it was seen, and how much.
        self._fastest: Tuple[float, Optional[DeviceRecord]] = (0.0, None)
        #: Work that a piece is taken for while none has ended.
        self.guess = FIRST_GUESS_S

    def way(self, device: DeviceRecord) -> float:
        """Return the seconds to a device and back with a piece, beside those that it has."""
        if not device.round_trip_s:
            return 0.0
        size = self.size_bytes + self._pace.outcome_bytes * self.calls
        return way_s(
            size_bytes=size, round_trip_s=device.round_trip_s, bytes_s=device.bytes_s, sharing=len(device.running)
        )

    def work(self, pace: FunctionPace) -> float:
        """Return how much work a piece is.

        Of many calls that is what whoever made the piece says: in the pace is what came with each piece before, such as
        the start of a process, which is not so many times as much now.
        """
        told = self.call_s * self.calls if self.calls > 1 else 0.0
        return told or pace.work * self.calls or self.guess

    def consider(self, device: DeviceRecord) -> None:
        """Take note of a member that is new or changed."""
        rate = 0.0 if device.is_paused else self._rate(device)
        if device is self._fastest[1]:
            self._fastest = rate, device
            if not rate:
                self.look_again()
        elif rate > self._fastest[0]:
            self._fastest = rate, device

    def look_again(self) -> None:
        """Find the fastest anew, since it is gone or paused; O(members)."""
        rates = ((0.0 if device.is_paused else self._rate(device), device) for device in self._members.values())
        self._fastest = max(rates, key=lambda each: each[0], default=(0.0, None))

    @property
    def fastest(self) -> Optional[DeviceRecord]:
        """Return who does most."""
        return self._fastest[1]

    def why_keep(
        self, task: ScheduledTask, device: DeviceRecord, besides: Collection[str]
    ) -> Optional[Keeping]:
        """Return why a piece is better left to the fastest device than given to this one, None where it is not.

        `besides` are devices that are not to get it.
        """
        fastest, pace = self._fastest[1], task.pace
        if fastest is None or fastest is device or fastest.device_id not in task.devices:
            return None
        if fastest.device_id in besides:
            return None
        way = self.way(device)
        if task.pure and not way:
            return None  # What runs on a slow device may run on the fastest one as well, once that has nothing else.
        there = self._there(device, pace)
        fast_s = self._piece_s(fastest, pace)
        running_s = len(fastest.running) * (pace.subtask_s(fastest.device_id) or fast_s)
        if not pace.count and self.guess > FIRST_GUESS_S:
            running_s = 0.0  # By such a guess it ends at this moment.
        waiting = max(task.waiting, task.backlog / self.calls)
        alone = alone_s(piece_s=fast_s, waiting=waiting, running_s=running_s, slots=fastest.slots)
        if there <= alone:
            return None
        return Keeping(device.device_id, there, way, fastest.device_id, alone)

    def is_sooner_done(self, other: DeviceRecord, device: DeviceRecord) -> bool:
        """Return whether a piece would be back from `other` before it would be from the far `device`."""
        return self._there(other, self._pace) < self._there(device, self._pace)

    def _piece_s(self, device: DeviceRecord, pace: FunctionPace) -> float:
        return self.work(pace) / pace.speed(device.device_id, device.speed)

    def _there(self, device: DeviceRecord, pace: FunctionPace) -> float:
        piece_s = self._piece_s(device, pace)
        return there_s(piece_s=piece_s, way=self.way(device), running=len(device.running), slots=device.slots)

    def age_s(self, task: ScheduledTask, device_id: str, now: float) -> float:
        """Return the age of the oldest attempt of a task that runs on a device, 0.0 where there is none."""
        device = self._members.get(device_id)
        running = () if device is None else device.running.values()
        began = (now if each.began_at is None else each.began_at for each in running if each.subtask.task is task)
        return now - min(began, default=now)

    def guess_by_age(self, task: ScheduledTask, device_id: str, now: float) -> None:
        """Take the age of the oldest call that runs for the work of each: less it cannot be.

        So what is kept while nobody knows how long a piece takes is not kept for ever; and what is worth its way then
        is worth it however long the pieces turn out to be, since it grows by what each of those that wait grows by.
        """
        device = self._members.get(device_id)
        if device is not None:
            age_s = self.age_s(task, device_id, now)
            self.guess = max(self.guess, age_s * self._pace.speed(device_id, device.speed))

    def _rate(self, device: DeviceRecord) -> float:
        return device.slots / (self._piece_s(device, self._pace) + self.way(device))
