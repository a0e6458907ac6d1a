"""Keep what happened on this node, for whoever listens: the one source of all that faces tell.

Knows:   the last events, numbered from 1 in each life of the node; who wants to be woken by new ones.
Refuses: to send anything (roles/web_events.py does), to keep a place for each reader: readers know their own.
Read next: roles/web_events.py, the table of events in discompute_lite/README.md.

A reader that is slow costs nothing here: it asks for what follows its place, and is told how many are not kept now.
"""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import Any, Callable, Deque, Dict, List, Mapping, NamedTuple, Optional, Tuple

#: Events that come often and that programs want: they are not shown to people by `start`.
QUIET_EVENTS = ("changed", "placed", "progress", "round")
#: Characters of an event's sentence; a text message has 2 KiB. Beyond: cut.
EVENT_TEXT_CHARS = 4096


class NodeEvent(NamedTuple):
    """Hold one thing that happened."""

    number: int
    kind: str
    #: One sentence for people.
    text: str
    #: Unix seconds.
    at: float
    #: What programs want to know of it, such as `task_id` and `device_id`.
    facts: Mapping[str, Any]


class EventLog:
    """Number events, keep the last `kept` of them, and wake those who watch."""

    def __init__(self, boot: str, wall: Callable[[], float], kept: int, show: Callable[..., None]) -> None:
        """`show(kind, text, **facts)` is for people; quiet events are kept from it."""
        self._boot = boot
        self._wall = wall
        self._events: Deque[NodeEvent] = deque(maxlen=kept)
        self._show = show
        #: How many of each kind there were.
        self.counts: Dict[str, int] = {}
        #: The number of the newest event, 0 before the first.
        self.last = 0
        #: Called after each event.
        self.watchers: List[Callable[[], None]] = []

    def tell(self, kind: str, text: str, **facts: Any) -> None:
        """Something happened: keep it, show it to people unless it is a quiet one, wake who watches."""
        self.last += 1
        self.counts[kind] = self.counts.get(kind, 0) + 1
        self._events.append(NodeEvent(self.last, kind, text[:EVENT_TEXT_CHARS], self._wall(), facts))
        if kind not in QUIET_EVENTS:
            self._show(kind, text, **facts)
        for wake in list(self.watchers):
            wake()

    def after(self, number: int, most: int) -> Tuple[int, List[NodeEvent]]:
        """Return how many events behind `number` are not kept any more, and the first `most` of those that are."""
        first = self.last - len(self._events) + 1
        begin = max(number + 1, first)
        return begin - number - 1, list(islice(self._events, begin - first, begin - first + most))

    def id_of(self, number: int) -> str:
        """Return what names an event beyond this life of the node."""
        return f"{self._boot}.{number}"

    def number_of(self, event_id: str) -> Optional[int]:
        """Return the number of an event of this life, None for one of another, or of nobody's."""
        boot, _, number = event_id.rpartition(".")
        is_number = len(number) <= 15 and number.isascii() and number.isdigit()
        return int(number) if boot == self._boot and is_number and int(number) <= self.last else None
