"""Learn how fast each device is at each function, from how long attempts took: measured scores are only the start.

Knows:   per function the typical work of a call, how much works differ, and per device the typical time.
Refuses: to choose devices (core/pools.py), and to trust one measurement: what is far off moves a mean a little.
Read next: core/placement.py (uses speeds), core/speculation.py (uses works and speeds).

Work is in seconds of the reference machine. A subtask is one call unless it was said to hold several. Only + - * / are
used, so every Python computes the same.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Dict, Tuple

from .placement import believed_speed

#: Functions remembered after their last task, and devices of each; what was learnt about longest ago goes first.
FUNCTIONS_LEARNT, DEVICES_LEARNT = 256, 20_000
#: One duration counts at most as so many times the mean, and at least as its inverse: works are heavy-tailed.
FAR_OFF = 3.0
#: Weight of the newest duration, after the first few: of a device, which may heat up, and of a function's works.
DEVICE_WEIGHT, WORK_WEIGHT = 0.1, 0.02
#: Durations of less than this part of the typical are learnt together with the next, as their mean: outcomes that
#: arrive in one batch look as if the first had taken long and the others no time. So many at most.
#: A subtask of so many times the calls of those before says more of a call than they do, where it says less than that
#: part: the start of a process was in what a lone call took, and every subtask has a share that does not grow.
LEAST_PART, MOST_BANKED, MANY_MORE = 0.1, 64, 4.0
#: No attempt is taken for shorter, seconds: clocks are coarse, and speeds divide by this.
SHORTEST_S = 1e-6


class FunctionPace:
    """Remember one function: exponentially weighted means, robust against single far-off durations."""

    def __init__(self) -> None:
        #: Typical work of a call, and how many subtasks were measured; no meaning while that is 0.
        self.work = 0.0
        self.count = 0
        #: Mean deviation of works as a fraction of the mean, 0 for equal works, at most FAR_OFF.
        self.spread = 0.0
        #: How many calls a subtask held, as a mean of those that `work` rests on.
        self.calls = 0.0
        #: What the outcome of a call weighs, in bytes, as a mean.
        self.outcome_bytes = 0.0
        #: device id -> (typical seconds of a call there, how many subtasks were measured, at least 1, and how many
        #: calls these held, as a mean).
        self._devices: Dict[str, Tuple[float, int, float]] = {}
        #: device id -> (how many, their calls, seconds) of short ones that are learnt together with the next.
        self._banked: Dict[str, Tuple[int, int, float]] = {}
        #: device id -> how many calls the last subtask held that was sized there; at most DEVICES_LEARNT.
        self._calls: Dict[str, int] = {}

    def size(self, device_id: str, calls: int) -> bool:
        """Take note that subtasks hold so many calls on a device now; return whether that is news."""
        if self._calls.get(device_id, 1) == calls:
            return False
        self._calls[device_id] = calls
        if len(self._calls) > DEVICES_LEARNT:
            del self._calls[next(iter(self._calls))]
        return True

    def learn(self, device_id: str, score: float, took_s: float, calls: int = 1) -> bool:
        """Take note that a subtask of so many calls took so long on a device of this measured score.

        Return whether it showed that calls are far shorter on all devices than was believed.
        """
        start = believed_speed(score)
        typical_s, measured, held = self._devices.get(device_id, (self.work / start, 0, 0.0))
        count, many, seconds = self._banked.pop(device_id, (0, 0, 0.0))
        count, many, seconds = count + 1, many + calls, seconds + took_s
        call_s, size, before = max(seconds / many, SHORTEST_S), many / count, max(self.calls, held)
        # What took no time beside a subtask of those before came in one batch with another.
        is_news = size >= MANY_MORE * before and call_s < LEAST_PART * typical_s <= seconds / max(1, before)
        if is_news:
            # How fast devices are beside each other stays. That is seldom, since sizes have grown so much each time.
            part = call_s / typical_s
            self.work, self.calls, held = self.work * part, size, size
            self._devices = {key: (each[0] * part, *each[1:]) for key, each in self._devices.items()}
            typical_s = call_s
        elif measured and count * seconds < LEAST_PART * typical_s * many and count < MOST_BANKED:
            self._banked[device_id] = (count, many, seconds)
            return False
        if not self.count:
            self.work = call_s * start
        self.count += 1
        weight = max(WORK_WEIGHT, 1.0 / self.count)
        self.work += weight * (_within_reach(call_s * start, self.work) - self.work)
        self.calls += weight * (size - self.calls)
        if not measured:
            typical_s = self.work / start
        # Half of the first duration is believed, so that one large subtask does not make a device slow.
        pull = max(DEVICE_WEIGHT, 1.0 / (measured + 2))
        typical_s += pull * (_within_reach(call_s, typical_s) - typical_s)
        self._devices.pop(device_id, None)
        self._devices[device_id] = (typical_s, measured + 1, held + pull * (size - held))
        self.spread += weight * (min(abs(call_s / typical_s - 1.0), FAR_OFF) - self.spread)
        if len(self._devices) > DEVICES_LEARNT:
            device_id = next(iter(self._devices))
            del self._devices[device_id]
            self._banked.pop(device_id, None)
        return is_news

    def weigh(self, size_bytes: float) -> None:
        """Take note what the outcome of a call weighed."""
        weight = max(WORK_WEIGHT, 1.0 / (self.count + 1))
        self.outcome_bytes += weight * (max(0, size_bytes) - self.outcome_bytes)

    def speed(self, device_id: str, score: float) -> float:
        """Return how fast a device is at this, 1.0 for the reference machine: as learnt, else as measured."""
        known = self._devices.get(device_id)
        return believed_speed(score) if known is None else believed_speed(self.work / known[0])

    def typical_s(self, device_id: str) -> float:
        """Return how long a call typically takes on this device, 0.0 where none has been measured there."""
        known = self._devices.get(device_id)
        return 0.0 if known is None else known[0]

    def subtask_s(self, device_id: str) -> float:
        """Return how long a subtask of the size last sent there takes, 0.0 where no call has been measured."""
        return self.typical_s(device_id) * self._calls.get(device_id, 1)


class PaceBook:
    """Hold the paces of functions by their keys."""

    def __init__(self) -> None:
        self._functions: OrderedDict[str, FunctionPace] = OrderedDict()

    def of(self, function: str) -> FunctionPace:
        """Return what is learnt of a function; "" names none, and gets a pace of its own each time."""
        if not function:
            return FunctionPace()
        pace = self._functions.setdefault(function, FunctionPace())
        self._functions.move_to_end(function)
        if len(self._functions) > FUNCTIONS_LEARNT:
            self._functions.popitem(last=False)
        return pace


def _within_reach(value: float, mean: float) -> float:
    return min(max(value, mean / FAR_OFF), mean * FAR_OFF)
