"""Keep one timer for somebody who has many deadlines, at the earliest of them.

Knows:   when it will ring.
Refuses: to know what is due then; its owner looks, and sets it anew.
Read next: model/deadlines.py (the many deadlines), roles/discovery.py (an owner).
"""

from __future__ import annotations

from typing import Callable, Optional

from .ports import Clock, TimerPort

#: An alarm that is later than this was held up by a sleep of the machine, or of this process.
LATE_S = 1.0


class Alarm:
    """Ring once, no later than at the earliest time that it was set to since it rang last.

    It is never put off: an owner whose deadline moved is woken once for nothing, which costs less than a new timer
    each time that something is heard.
    """

    def __init__(self, clock: Clock, ring: Callable[[float], None]) -> None:
        """`ring(late_s)` is called when it is time, with the seconds by which that came too late."""
        self._clock = clock
        self._ring = ring
        #: When the timer rings; both are set or neither is.
        self._due: Optional[float] = None
        self._timer: Optional[TimerPort] = None

    def set(self, due: Optional[float]) -> None:
        """Ring at `due` at the latest; None asks for nothing."""
        if due is None or (self._due is not None and self._due <= due):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._due, self._timer = due, self._clock.call_at(due, self._rung)

    def _rung(self) -> None:
        assert self._due is not None
        late_s = self._clock.now() - self._due
        self._due = self._timer = None
        self._ring(late_s)
