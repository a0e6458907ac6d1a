"""Hold one slot of a process executor: its child, how that was used, and what lies ahead in its pipe.

Knows:   when a child is worn, what may follow the request that it is busy with, and how that is taken back.
Refuses: to start or end a child, and to choose what it is given; host/process_executor.py does, under its lock.
Read next: host/ahead.py (the states of what lies ahead), host/process_executor.py.
"""

from __future__ import annotations

from typing import Any, Optional

from ..model.limits import Limits
from ..tasks.work import WorkRequest
from .ahead import Ahead, write_ahead
from .child_process import ChildProcess
from .exchange import Exchange
from .executors import WorkSlot
from .process_tree import resident_bytes

#: Requests between two looks at a child's memory, which take as long as a request of a moment.
MEMORY_EVERY = 64


class ProcessSlot(WorkSlot):
    """Hold a slot's child as well, and how it was used."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.child: Optional[ChildProcess] = None
        #: Killed, not yet buried: its successor is to be at work first. The slot's thread's alone.
        self.replaced: Optional[ChildProcess] = None
        #: What is under way: with the loop's lane, or with the thread, which then has `current` in its inbox.
        self.exchange: Optional[Exchange] = None
        #: What the child has been given already for when that is over; only where the lane has begun that.
        self.ahead: Optional[Ahead] = None
        #: When the lane's last request ended; the requests that the child has served; and the bytes that it held after
        #: the first of them, 0 where that cannot be seen.
        self.used_at = 0.0
        self.served = 0
        self.first_bytes = 0

    def note_served(self) -> None:
        """Take note of a request that the child has served."""
        self.served += 1
        if self.served == 1:
            self.first_bytes = self._held_bytes()

    def is_worn(self, limits: Limits) -> bool:
        """Whether the child has served its time, or holds far more memory than after its first request."""
        if self.served >= limits.child_requests:
            return True
        if not self.first_bytes or self.served % MEMORY_EVERY:
            return False
        return self._held_bytes() > max(limits.child_rest_bytes, 2 * self.first_bytes)

    def may_be_followed(self, request: WorkRequest, limits: Limits) -> bool:
        """Whether a request may lie behind the one that the child is busy with."""
        child, served = self.child, self.served + 1
        return (
            request.may_repeat and self.current is not None and self.exchange is not None and self.ahead is None
            and not self.is_reserved and child is not None and child.serves(request)
            # Neither before the child's memory is looked at, nor where it may be replaced after that.
            and 1 < served < limits.child_requests and served % MEMORY_EVERY != 0
        )

    def write_ahead(self, future: Any, wall_s: float) -> bool:
        """Give the child a request for when it is done; return False where that is not done in a moment."""
        if self.child is not None and self.exchange is not None:
            self.ahead = write_ahead(self.child, self.exchange, future, wall_s)
        return self.ahead is not None

    def take_back(self) -> Any:
        """Return the future of what lies ahead, which the child will not begin any more; None where it has begun it."""
        ahead = self.ahead
        if ahead is None or not ahead.child.take_back(ahead.exchange.sent_bytes):
            return None
        self.ahead = None
        return ahead.future

    def _held_bytes(self) -> int:
        return 0 if self.child is None else resident_bytes([self.child.pid]) or 0
