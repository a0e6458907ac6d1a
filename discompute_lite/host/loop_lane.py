"""Let the loop's own thread talk to warm children while all goes well: two changes of thread less for each request.

Knows:   which slots have a request under way here, and their pipes.
Refuses: to start, judge, wait for or end a child: whatever is not plain goes to the slot's own thread, as far as it is.
Read next: host/process_executor.py (who asks), host/exchange.py (the steps), net/loop.py (whose `watch` this is).

A request that does not fit into the pipe at once, an outcome that is long or late, a pipe that ends, a frame that is
none: all that is left to the thread, which waits as it likes. Methods are for the loop's thread only, but `give_up` is
for whoever ends the loop as well.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Callable, List, Optional, Protocol

from ..tasks.work import WorkOutcome
from .exchange import Exchange

#: Seconds after which a request is the thread's: it knows when one is overdue and when a child has ended in silence,
#: and whoever waited that long does not mind waiting for two threads more. Looked at twice in that time.
LANE_S = 1.0
#: Bytes of an outcome that are still to come, beyond which the loop has better things to do than to read them.
LANE_BYTES = 1 << 20


class LanePort(Protocol):
    """Be the loop."""

    def now(self) -> float:
        """Return monotonic seconds."""

    def watch(self, sock: Any, on_readable: Optional[Callable[..., None]], on_writable: Any) -> None:
        """Call back whenever a descriptor can be read."""

    def unwatch(self, sock: Any) -> None:
        """Stop that."""

    def call_later(self, delay_s: float, callback: Callable[..., None], *arguments: Any) -> Any:
        """Call back after so many seconds."""


class LoopLane:
    """Carry the exchanges of slots whose child is warm."""

    def __init__(
        self, loop: LanePort, on_done: Callable[[Any, WorkOutcome], None], hand_over: Callable[[Any], None]
    ) -> None:
        """`on_done(slot, outcome)` takes an outcome, `hand_over(slot)` what is to go on in the slot's thread."""
        self._loop = loop
        self._on_done = on_done
        self._hand_over = hand_over
        #: Exactly the slots whose `exchange` is under way here.
        self._slots: List[Any] = []
        self._is_looking = False

    def begin(self, slot: Any) -> None:
        """Send the request of `slot.exchange` to `slot.child`."""
        try:
            slot.exchange.write(slot.child.request_fd)
        except OSError:
            # Full: the rest takes longer than a glance. Or dead.
            self._hand_over(slot)
            return
        self._slots.append(slot)
        self._loop.watch(slot.child.outcome_fd, partial(self._readable, slot), None)
        if not self._is_looking:
            self._is_looking = True
            self._loop.call_later(LANE_S / 2, self._look)

    def give_up(self) -> None:
        """Leave everything to the threads."""
        for slot in list(self._slots):
            self._leave(slot)
            self._hand_over(slot)

    def _readable(self, slot: Any) -> None:
        exchange: Exchange = slot.exchange
        outcome = None
        try:
            outcome = exchange.read(slot.child.outcome_fd)
            if outcome is None and exchange.left_bytes <= LANE_BYTES:
                return
        except (OSError, EOFError, ValueError) as problem:
            exchange.problem = problem
        self._leave(slot)
        if outcome is None:
            self._hand_over(slot)
        else:
            self._on_done(slot, outcome)

    def _leave(self, slot: Any) -> None:
        self._slots.remove(slot)
        self._loop.unwatch(slot.child.outcome_fd)

    def _look(self) -> None:
        """Leave to the threads what takes long."""
        for slot in [each for each in self._slots if self._loop.now() - each.exchange.began_at >= LANE_S / 2]:
            self._leave(slot)
            self._hand_over(slot)
        self._is_looking = bool(self._slots)
        if self._is_looking:
            self._loop.call_later(LANE_S / 2, self._look)
