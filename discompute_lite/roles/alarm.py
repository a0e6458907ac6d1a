"""Keep one timer for somebody who has many deadlines, at the earliest of them.

Knows:   when it will ring.
Refuses: to know what is due then; its owner looks, and sets it anew.
Read next: model/deadlines.py (the many deadlines), roles/discovery.py (an owner).
"""

from __future__ import annotations

from typing import Callable, Optional, Tuple

from .ports import Clock, TimerPort

#: An alarm that is later than this was held up by a sleep of the machine, or of this process.
LATE_S = 1.0


class Alarm:
    """Ring once, no later than at the earliest time that it was set to since it rang last, or was cleared.

    Setting it never puts it off: an owner whose deadline moved is woken once for nothing, which costs less than a new
    timer each time that something is heard.
    """

    def __init__(self, clock: Clock, ring: Callable[[float], None]) -> None:
        """`ring(late_s)` is called when it is time, with the seconds by which that came too late."""
        self._clock = clock
        self._ring = ring
        #: Between what times the timer rings, and that timer; None while there is none.
        self._due: Optional[Tuple[float, float]] = None
        self._timer: Optional[TimerPort] = None

    def set(self, due: Optional[float], patience_s: float = 0.0) -> None:
        """Ring at `due` at the latest; None asks for nothing.

        With patience it is so much later at the latest, and from `due` on when the node is awake for something else.
        """
        if due is None:
            return
        first, last = due, due + patience_s
        if self._due is not None and self._timer is not None:
            if self._due[0] <= first and self._due[1] <= last:
                return
            self._timer.cancel()
            first, last = min(first, self._due[0]), min(last, self._due[1])
        self._due, self._timer = (first, last), self._clock.call_between(first, last, self._rung)

    def clear(self) -> None:
        """Forget what it was set to: for an owner that knows that this is not worth waking up for."""
        if self._timer is not None:
            self._timer.cancel()
        self._due = self._timer = None

    def _rung(self) -> None:
        assert self._due is not None
        late_s = self._clock.now() - self._due[1]
        self._due = self._timer = None
        self._ring(late_s)
