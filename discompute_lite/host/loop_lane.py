"""Talk to warm children without their slots' threads while all goes well: two changes of thread less, or all four.

Knows:   which slots have a request under way here, their pipes, and who may read each: one at a time.
Refuses: to start, judge, wait for or end a child: whatever is not plain goes to the slot's own thread, as far as it is.
Read next: host/process_executor.py (who asks), host/exchange.py (the steps and the claim), net/loop.py (who watches).

The loop reads an outcome when its watch tells that there is something to read. A thread that waits for that very
outcome may do so itself (`read_here`): it claims the exchange, takes it from the watch, and gives it back if it has not
come by then. So an exchange is always in one of four states, and only whoever has claimed it moves it on:

    claimed   somebody writes or reads, and it is not watched
    watched   nobody has claimed it, and the loop will when there is something to read
    done      its outcome was given out; claimed for ever
    handed    it is the slot's thread's: claimed for ever

A request that does not fit into the pipe at once, an outcome that is long or late, a pipe that ends, a frame that is
none: all that is left to the thread, which waits as it likes.
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

    @property
    def is_watching_for_all(self) -> bool:
        """Whether any thread may watch and unwatch."""

    def now(self) -> float:
        """Return monotonic seconds."""

    def watch(self, sock: Any, on_readable: Optional[Callable[..., None]], on_writable: Any) -> None:
        """Call back whenever a descriptor can be read."""

    def unwatch(self, sock: Any) -> None:
        """Stop that."""

    def call_later(self, delay_s: float, callback: Callable[..., None], *arguments: Any) -> Any:
        """Call back after so many seconds."""

    def post(self, callback: Callable[..., None], *arguments: Any) -> None:
        """Call back soon, on the loop's thread."""


class LoopLane:
    """Carry the exchanges of slots whose child is warm; for the loop's thread, or where `is_for_all` for any."""

    def __init__(
        self, loop: LanePort, on_done: Callable[[Any, Exchange, WorkOutcome], None], hand_over: Callable[[Any], None]
    ) -> None:
        """`on_done(slot, exchange, outcome)` takes an outcome; it comes twice where Ctrl-C came amid the first time.
        `hand_over(slot)` takes what is to go on in the slot's thread."""
        self._loop = loop
        self.is_for_all = loop.is_watching_for_all
        self._on_done = on_done
        self._hand_over = hand_over
        #: Exactly the slots whose `exchange` is under way here. Lists are safe: each use is one step.
        self._slots: List[Any] = []
        #: Since the last look something was begun; a look is asked for; and its timer runs.
        self._is_used = self._is_looking = self._is_looking_later = False
        #: Everything goes to the threads from now on.
        self._is_closed = False

    def expect(self, slot: Any) -> None:
        """Look after `slot.exchange` from now on: first of all, since a look finds what Ctrl-C leaves undone."""
        if slot not in self._slots:
            self._slots.append(slot)
        self._is_used = True
        if not self._is_looking:
            self._loop.post(self._look_later)
            self._is_looking = True

    def begin(self, slot: Any) -> None:
        """Send the request of `slot.exchange` to `slot.child`."""
        exchange, who = slot.exchange, object()
        self.expect(slot)
        try:
            if exchange.claim(who):
                exchange.write(slot.child.request_fd)
                self._give_back(slot, exchange)
        except OSError:
            # Full: the rest takes longer than a glance. Or dead.
            self._end(slot, exchange, None)
        except BaseException:
            if exchange.is_claimed_by(who) and not exchange.has_left:
                self._spoil(slot, exchange)
            raise

    def read_here(self, slot: Any, exchange: Exchange, seconds: float, awake_s: float = 0.0) -> None:
        """Wait on this thread for so long, so much of it awake, and give the outcome out on it; unless somebody else
        reads it already."""
        who, until, is_reading = object(), self._loop.now() + seconds, False
        try:
            if not exchange.claim(who):
                return
            self._unwatch(slot, exchange)
            while not exchange.has_left and slot.child.wait_outcome(until - self._loop.now(), awake_s):
                is_reading = True
                self._read(slot, exchange)
                is_reading = False
        finally:
            # Also after Ctrl-C, which may come anywhere.
            if exchange.is_claimed_by(who) and not exchange.has_left:
                if is_reading:
                    self._spoil(slot, exchange)
                else:
                    self._give_back(slot, exchange)

    def _spoil(self, slot: Any, exchange: Exchange) -> None:
        """Have a child end of which it is not known how much it was sent, or how much was read of its outcome."""
        exchange.problem = EOFError()
        slot.child.kill()
        self._end(slot, exchange, None)

    def give_up(self) -> None:
        """Leave everything to the threads."""
        self._is_closed = True
        for slot in list(self._slots):
            self._take_over(slot)

    def _give_back(self, slot: Any, exchange: Exchange) -> None:
        """Let the loop watch for an outcome."""
        exchange.is_watched = True
        self._loop.watch(slot.child.outcome_fd, partial(self._readable, slot, exchange), None)
        exchange.release()
        if self._is_closed:
            self._take_over(slot)

    def _unwatch(self, slot: Any, exchange: Exchange) -> None:
        if exchange.is_watched:
            self._loop.unwatch(slot.child.outcome_fd)
            exchange.is_watched = False

    def _readable(self, slot: Any, exchange: Exchange) -> None:
        # What is not to be claimed, somebody else has just taken from the watch.
        if exchange.claim(object()) and not exchange.has_left:
            self._read(slot, exchange)
            if not exchange.has_left:
                exchange.release()

    def _read(self, slot: Any, exchange: Exchange) -> None:
        """Read what there is; of a claimed exchange, which is over here if that was all, or no good."""
        outcome = None
        if exchange.has_left:
            return
        try:
            # The rest is mostly there by now: to come back for it would be another turn of the loop.
            while outcome is None and exchange.left_bytes <= LANE_BYTES:
                outcome = exchange.read(slot.child.outcome_fd)
        except BlockingIOError:
            return  # Not yet; or the loop was told before another thread read.
        except (OSError, EOFError, ValueError) as problem:
            exchange.problem = problem
        self._end(slot, exchange, outcome)

    def _end(self, slot: Any, exchange: Exchange, outcome: Optional[WorkOutcome]) -> None:
        """Be done with a claimed exchange: by its outcome, or by leaving the rest to the slot's thread."""
        self._unwatch(slot, exchange)
        if exchange.has_left:
            return
        try:
            exchange.has_left = True
            self._leave(slot, exchange, outcome)
        except BaseException:
            # Ctrl-C. Nobody else comes back to it.
            exchange.has_left = True
            self._loop.post(self._leave, slot, exchange, outcome)
            raise

    def _leave(self, slot: Any, exchange: Exchange, outcome: Optional[WorkOutcome]) -> None:
        """Have an exchange go on elsewhere; where that was interrupted, what is left to do of it."""
        if slot.exchange is exchange:
            if slot in self._slots:
                self._slots.remove(slot)
            if outcome is None:
                self._hand_over(slot)
        if outcome is not None:
            self._on_done(slot, exchange, outcome)

    def _take_over(self, slot: Any) -> None:
        """Leave an exchange to the slot's thread, unless somebody reads it just now."""
        exchange: Optional[Exchange] = slot.exchange
        if exchange is not None and exchange.claim(object()) and not exchange.has_left:
            self._end(slot, exchange, None)

    def _look_later(self) -> None:
        if not self._is_looking_later:
            self._is_looking_later = True
            self._loop.call_later(LANE_S / 2, self._look)

    def _look(self) -> None:
        """Leave to the threads what takes long."""
        self._is_looking_later = False
        for slot in list(self._slots):
            exchange: Optional[Exchange] = slot.exchange
            age_s = 0.0 if exchange is None else self._loop.now() - exchange.began_at
            if age_s >= LANE_S / 2:
                self._take_over(slot)
            if exchange is not None and age_s >= 2 * LANE_S and not exchange.has_left:
                # Nobody waits here for so long: whoever claimed it was interrupted in the midst of giving it back.
                self._spoil(slot, exchange)
        # In this order: whoever begins something after the second line asks for another look.
        self._is_looking = False
        if self._is_used or self._slots:
            self._is_used, self._is_looking = False, True
            self._look_later()
