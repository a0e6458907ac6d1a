"""Choose among devices: which may run a subtask at all, and which of those is best.

Knows:   what a device offers, how fast and how busy it is.
Refuses: to remember anything; these functions are pure, and the scheduler keeps their answers in heaps.
Read next: core/scheduler.py (asks), core/pools.py (the heaps).
"""

from __future__ import annotations

from typing import Container, Iterable

#: Seconds of work that may wait in advance on a slot: enough for any round trip, and little to lose. One subtask may
#: wait also where it is longer, up to the other bound.
WORK_IN_ADVANCE_S, ONE_IN_ADVANCE_S = 0.1, 0.5
#: Speed taken for a device that was never measured: the reference machine's.
UNMEASURED_SPEED = 1.0
#: Speeds outside these bounds are errors of measurement, or lies; they must not decide everything.
SLOWEST_SPEED, FASTEST_SPEED = 0.001, 1000.0


def is_suitable(requires: Iterable[str], offers: Container[str], slots: int) -> bool:
    """Return whether a device with `offers` and `slots` may be given work that `requires` these names."""
    return slots > 0 and (not requires or all(name in offers for name in requires))


def placement_cost(*, running: int, slots: int, speed: float, load: float) -> float:
    """Return how long, relatively, the next subtask would take on a device: the smallest is the best.

    A device with `running` of its `slots` (> 0) taken and `load` from 0 to 1 shares its caches, memory
    and heat among them, so an idle device comes before a full one of the same speed, and a device
    of twice the speed is filled before a slow one is asked.
    """
    if not load > 0.0:
        load = 0.0
    return (1.0 + running / slots) * (1.0 + min(load, 1.0)) / believed_speed(speed)


def believed_speed(speed: float) -> float:
    """Return a measured speed within what is possible; not measured, negative or no number counts as the reference."""
    if not speed > 0.0:
        return UNMEASURED_SPEED
    return min(max(speed, SLOWEST_SPEED), FASTEST_SPEED)


def places_in_advance(*, window: int, typical_s: float) -> int:
    """Return how many attempts more than it can run a slot may be given, so that the next is there when one ends.

    Only of work known to be short (`typical_s` > 0): what waits on a slow device could have been begun elsewhere. A
    window of one hides moments and no way, which is worth nothing beside what is longer.
    """
    if not typical_s > 0.0 or window <= 0 or typical_s > (ONE_IN_ADVANCE_S if window > 1 else WORK_IN_ADVANCE_S):
        return 0
    return min(window, max(1, int(WORK_IN_ADVANCE_S / typical_s)))
