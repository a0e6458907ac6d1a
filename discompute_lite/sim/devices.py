"""Behave as a device does: run attempts slot by slot, send heartbeats, sleep, slow down, vanish.

Knows:   what runs here and when it will be done, in virtual time.
Refuses: to know the scheduler or the network; sim/world.py carries the messages.
Read next: sim/world.py.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Dict, List, Tuple

from .scenario import SLOWED, DevicePlan

#: So soon an attempt fails on a device that is broken.
FAILING_S = 0.05


class SimDevice:
    """Run work of known size at one speed. `now` never goes back."""

    def __init__(self, plan: DevicePlan) -> None:
        self.plan = plan
        self.speed = plan.speed
        self.is_here = True
        self.is_asleep = False
        #: attempt id -> when it will be done; at most `slots`. While asleep these are pushed on.
        self.running: Dict[str, float] = {}
        #: attempt id -> work: sent here in advance, not begun.
        self.queue: OrderedDict[str, float] = OrderedDict()
        #: Outcomes that got lost on the way, sent again with the next heartbeat.
        self.outbox: List[str] = []
        #: Messages that came while it slept.
        self.inbox: List[Tuple[str, str, float]] = []
        #: Until then its link carries what was sent to it.
        self.link_until = 0.0
        #: True while its next heartbeat is in the world's queue.
        self.is_beating = False

    def take(self, attempt_id: str, work: float, now: float) -> List[Tuple[str, float]]:
        """Take an attempt; return (attempt, when done) of what begins now."""
        self.queue[attempt_id] = work
        return self._begin(now)

    def drop(self, attempt_id: str, now: float) -> List[Tuple[str, float]]:
        """End an attempt that is not wanted; return what begins in its place."""
        self.queue.pop(attempt_id, None)
        self.running.pop(attempt_id, None)
        if attempt_id in self.outbox:
            self.outbox.remove(attempt_id)
        return self._begin(now)

    def _begin(self, now: float) -> List[Tuple[str, float]]:
        begun = []
        while self.queue and len(self.running) < self.plan.slots:
            attempt_id, work = self.queue.popitem(last=False)
            self.running[attempt_id] = now + (FAILING_S if self.is_broken(now) else work / self.speed)
            begun.append((attempt_id, self.running[attempt_id]))
        return begun

    def is_broken(self, now: float) -> bool:
        """Return whether all that ends now fails."""
        return now >= self.plan.breaks_at

    def slow_down(self, now: float) -> None:
        """Become ten times slower, what runs included."""
        self.speed /= SLOWED
        for attempt_id, done_at in self.running.items():
            self.running[attempt_id] = now + (done_at - now) * SLOWED

    def fall_asleep(self, until: float, now: float) -> None:
        """Stop everything until then."""
        self.is_asleep = True
        for attempt_id in self.running:
            self.running[attempt_id] += until - now

    def vanish(self) -> None:
        """Lose everything."""
        self.is_here = self.is_asleep = False
        self.running, self.outbox, self.inbox = {}, [], []
        self.queue.clear()

    @property
    def known_attempts(self) -> Tuple[str, ...]:
        """Return what a heartbeat names: what runs, waits, or has an outcome that was not heard."""
        return (*self.running, *self.queue, *self.outbox)
