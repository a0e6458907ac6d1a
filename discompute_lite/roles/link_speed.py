"""Measure how long and how broad the way to other devices is, before work is sent there.

Knows:   how long a heartbeat takes that carries nothing, and how much longer one that carries padding.
Refuses: to judge what that means for work (core/worth.py does), and to measure where there is no work.
Read next: roles/offers.py (who tells the scheduler).

Each link is measured once, when there is the first task for it: three small calls. Within one machine there is no way.
"""

from __future__ import annotations

from typing import Any, Dict, Optional

from ..model.errors import DiscomputeError
from .ports import LinkPort

#: Padding, in bytes: a second of a very slow link; and, where the first took less than `ENOUGH_S` more than a call
#: without any, a quarter of a second of a common one.
PADDINGS, ENOUGH_S = (32 * 1024, 256 * 1024), 0.05
#: A difference is not taken for shorter: clocks are coarse, and bytes are divided by it.
LEAST_MORE_S = 1e-4


class LinkSpeeds:
    """Measure the links of one node."""

    def __init__(self, node: Any) -> None:
        self._node = node

    def measure(self) -> None:
        """Measure the links over which work may go and that were not measured yet."""
        for device_id in list(self._node.discovery.links):
            link = self._node.link_for_work(device_id)
            if link is not None and not link.is_loopback and not link.peer.is_measured:
                link.peer.is_measured = True
                self._ask(link, 0, lambda trip_s, link=link, device_id=device_id: self._met(link, device_id, trip_s))

    def _ask(self, link: LinkPort, padding: int, done: Any) -> None:
        """Send a heartbeat with padding; `done(seconds)` comes with its answer, and never where the link is lost."""
        sent_at = self._node.clock.now()
        params: Dict[str, Any] = {"device_id": self._node.id}
        if padding:
            params["lite"] = {"padding": "." * padding}

        def answered(result: Any, error: Optional[DiscomputeError]) -> None:
            if error is None:
                done(self._node.clock.now() - sent_at)

        link.call("Heartbeat", params, answered)

    def _met(self, link: LinkPort, device_id: str, trip_s: float) -> None:
        link.peer.round_trip_s = trip_s
        small, large = PADDINGS

        def took(padding: int, seconds: float) -> None:
            more_s = max(seconds - trip_s, LEAST_MORE_S)
            link.peer.bytes_s = padding / more_s
            if padding == small and more_s < ENOUGH_S:
                self._ask(link, large, lambda seconds: took(large, seconds))
            else:
                self._node.device_changed(device_id)

        self._ask(link, small, lambda seconds: took(small, seconds))
