"""Choose among devices: which may run a subtask at all, and which of those is best.

Knows:   what a device offers, how fast and how busy it is.
Refuses: to remember anything; both functions are pure, and the scheduler keeps their answers in heaps.
Read next: core/scheduler.py (asks), core/pools.py (the heaps).
"""

from __future__ import annotations

from typing import Container, Iterable

#: Speed taken for a device that was never measured: the reference machine's.
UNMEASURED_SPEED = 1.0
#: Speeds outside these bounds are errors of measurement, or lies; they must not decide everything.
SLOWEST_SPEED, FASTEST_SPEED = 0.001, 1000.0


def is_suitable(requires: Iterable[str], offers: Container[str], slots: int) -> bool:
    """Return whether a device with `offers` and `slots` may be given work that `requires` these names."""
    return slots > 0 and all(name in offers for name in requires)


def placement_cost(*, running: int, slots: int, speed: float, load: float) -> float:
    """Return how long, relatively, the next subtask would take on a device: the smallest is the best.

    A device with `running` of its `slots` (> 0) taken and `load` from 0 to 1 shares its caches, memory
    and heat among them, so an idle device comes before a full one of the same speed, and a device
    of twice the speed is filled before a slow one is asked.
    """
    if not speed > 0.0:
        speed = UNMEASURED_SPEED
    if not load > 0.0:
        load = 0.0
    speed = min(max(speed, SLOWEST_SPEED), FASTEST_SPEED)
    return (1.0 + running / slots) * (1.0 + min(load, 1.0)) / speed
