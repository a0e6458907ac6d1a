"""Say for how long the other side of a connection has been silent, as far as we could hear it.

Knows:   when bytes last came or went, and since when we do not read, for a reason of our own.
Refuses: to conclude anything from silence (core/registry.py does), and to look at a clock.
Read next: net/stream.py (whose part this is), roles/heartbeats.py (who asks).

A message of hundreds of megabytes holds up the heartbeats behind it, and one that waits for room all of them. Neither
is silence: bytes that come or are taken are a sign of life, and what we do not read ourselves is no evidence.
"""

from __future__ import annotations

from typing import Callable, Optional


class Hearing:
    """Hold what one connection has heard of its other side; times are monotonic."""

    def __init__(self, now: float, most_unread_s: float) -> None:
        """Beyond `most_unread_s` without reading it counts as silence all the same: its end has to be seen one day."""
        self.heard_at = now
        self._most_unread_s = most_unread_s
        #: Since when nothing is read, though something may be there; None while we do read.
        self.unread_since: Optional[float] = None
        #: Called when that begins: whoever cannot hear may want to be heard.
        self.on_unread: Callable[[], None] = lambda: None

    def stop(self, now: float) -> None:
        """We read no more until `go_on`, and not because of the other side."""
        self.unread_since = now

    def go_on(self, now: float) -> None:
        """We read: the other side has to be heard from now on."""
        if self.unread_since is not None:
            self.unread_since, self.heard_at = None, now

    def silent_s(self, since: float, now: float) -> float:
        """Return for how many seconds nothing was heard that could have been, beginning with `since`."""
        if self.unread_since is not None and now < self.unread_since + self._most_unread_s:
            return 0.0
        return max(0.0, now - max(since, self.heard_at))
