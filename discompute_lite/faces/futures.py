"""Stand for calls that run on the devices: the futures that `Cluster` gives out, and what they raise.

Knows:   the states of `concurrent.futures.Future`, and how a running call is given up.
Refuses: to know the way to the devices (faces/dispatch.py does).
Read next: faces/api.py.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import CancelledError, Future, InvalidStateError
from typing import Any, Callable, Optional, Sequence, Tuple

from ..model.device import short_id
from ..model.errors import DiscomputeError, TaskCancelled, TaskFailed
from ..tasks.calls import CallOutcome, read_outcomes
from ..tasks.class_book import PICKLES_UNWANTED, PickleRule
from .direct import WAIT_HERE_S
from .dispatch import SentCall, has_raised


class CallEnded(TaskFailed):
    """A call was ended by what it did, down to its process, and with it whatever was in its unit."""

    #: What to do, where what befell it does not say so.
    advice = ""

    def __init__(self, said: str, call: str = "the call") -> None:
        """`said` is what befell "it", which is `call`."""
        text = f"{call}{said[2:]}" if said.startswith("it ") else said
        super().__init__(f"{text}; {self.advice}" if self.advice else text)
        self.said, self.call = said, call

    def __reduce__(self) -> Any:
        return type(self), (self.said, self.call)

    def named(
        self, call: str, device_id: str = "", with_names: Callable[[str], str] = lambda text: text,
    ) -> CallEnded:
        """Return the same of a call that people know by a name; with its device, where what befell it names none.

        `with_names` puts the names of devices into a text that has the beginnings of their ids.
        """
        name = short_id(device_id)
        where = f" on {name}" if name and name not in self.said else ""
        return type(self)(with_names(self.said), with_names(call + where))


class PoisonedSubtask(CallEnded):
    """A call took down several devices or processes, one after the other; the message says which, how often and how."""

    advice = "make that call in a plain Python to see why, then mend it or leave it out"


class CallOverLimit(CallEnded):
    """A call used more than its device gives to each; the message says of what, and what to do."""


class RemoteTimeout(CallEnded, TimeoutError):
    """A call ran longer than its `timeout` option allows, and was ended."""


class UnreadFailure(Exception):
    """Stand in a future for what its call raised, until somebody asks for that; it is never raised to anybody."""


class ClusterFuture(Future):
    """A `concurrent.futures.Future` that knows where its call ran, and whose `cancel` stops a call that runs."""

    def __init__(
        self, call_later: Callable[[Callable[[], Any]], None], give_up: Callable[[SentCall], None],
        wait_here: Callable[[SentCall, float], None] = lambda call, seconds: None,
    ) -> None:
        """`call_later(callback)` has it called on the thread for callbacks, `give_up(call)` ends a call.

        `wait_here(call, seconds)` gets the outcome of a short one with no help of another thread, where that can be.
        """
        super().__init__()
        #: Id of the device whose result this is, "" before there is one.
        self.device = ""
        #: How often the call was sent to a device.
        self.attempts = 0
        #: What carries it, until it is done.
        self._sent: Optional[SentCall] = None
        self._call_later = call_later
        self._give_up = give_up
        self._wait_here = wait_here
        #: What came back, and what was read of it when somebody asked.
        self._line, self._has_arrived = b"", False
        self._spaces: Sequence[str] = ()
        self._pickles = PICKLES_UNWANTED
        self._outcome: Optional[CallOutcome] = None
        self._cancel_lock, self._read_lock = threading.Lock(), threading.Lock()

    def __repr__(self) -> str:
        """Say as the standard futures do what state it is in, and of which type its outcome is."""
        state = "cancelled" if self.cancelled() else "running" if self.running() else "pending"
        if self.done() and not self.cancelled():
            error = self.exception()
            state = f"finished raised {type(error).__name__}" if error is not None else (
                f"finished returned {type(self.result()).__name__}")
        return f"<{type(self).__name__} at {id(self):#x} state={state}>"

    def cancel(self) -> bool:
        """Cancel the call, down to its process where it runs; False only when it is done."""
        with self._cancel_lock:
            if self.cancelled():
                return True
            if not super().cancel():
                return False
            # Whoever waits for it is told at once: nothing more will come.
            self.set_running_or_notify_cancel()
        sent, self._sent = self._sent, None
        if sent is not None:
            self._give_up(sent)
        return True

    def running(self) -> bool:
        """Whether the call is on a device just now."""
        sent = self._sent
        return not self.done() and sent is not None and sent.is_running

    def result(self, timeout: Optional[float] = None) -> Any:
        """Return what the call returned, or raise what it raised; TimeoutError when that is not there in time."""
        try:
            super().result(self._left_of(timeout))
        except UnreadFailure:
            pass
        outcome = self._read()
        if outcome.raised is not None:
            try:
                raise outcome.raised
            finally:
                # The traceback holds this frame: nothing is to hold the exception in return.
                del outcome, self
        return outcome.values[0]

    def exception(self, timeout: Optional[float] = None) -> Optional[BaseException]:
        """Return what the call raised, None where it returned something."""
        error = super().exception(self._left_of(timeout))
        return self._read().raised if error is None or type(error) is UnreadFailure else error

    def add_done_callback(self, fn: Callable[[Any], Any]) -> None:
        """Call `fn(future)` when it is done, on a thread that is there for that; here and now where it is done."""
        adding = [threading.get_ident()]

        def call(future: Any) -> None:
            if adding == [threading.get_ident()]:
                fn(future)
            else:
                self._call_later(lambda: fn(future))

        super().add_done_callback(call)
        adding.clear()

    @property
    def logs(self) -> str:
        """Return what the call printed, "" before it is done."""
        return self._read().printed if self._has_arrived else ""

    def carry(self, sent: SentCall) -> None:
        """Take note of what carries the call."""
        self._sent = sent
        if self.done():
            self._sent = None

    def settle(
        self, outcome: Any, spaces: Sequence[str], pickles: PickleRule = PICKLES_UNWANTED, name: str = ""
    ) -> None:
        """Take the outcome of the call of a function `name` (a `UnitOutcome`); nothing happens to what is done.

        The values in it are read when somebody asks, and on that thread.
        """
        self._sent = None
        self.device, self.attempts = outcome.device_id, outcome.attempts
        if outcome.blame == "cancelled":
            self.cancel()
            return
        if not outcome.error:
            self._line, self._spaces, self._pickles, self._has_arrived = outcome.line, spaces, pickles, True
        try:
            if outcome.error:
                call = f"the call of {name}" if name else "the call"
                self.set_exception(failure_of(outcome.error, outcome.blame, call))
            elif has_raised(outcome):
                # As an exception, for those who wait for the first one.
                self.set_exception(UnreadFailure())
            else:
                self.set_result(None)
        except InvalidStateError:
            # Cancelled a moment ago.
            self._line, self._has_arrived = b"", False

    def _left_of(self, timeout: Optional[float]) -> Optional[float]:
        """Wait as far as this thread can do that best, return what is left of the time."""
        sent = self._sent
        if sent is None or sent.direct is None:
            return timeout
        if timeout is None:
            self._wait_here(sent, WAIT_HERE_S)
            return None
        until = time.monotonic() + timeout
        self._wait_here(sent, min(timeout, WAIT_HERE_S))
        return max(0.0, until - time.monotonic())

    def _read(self) -> CallOutcome:
        with self._read_lock:
            if self._outcome is None:
                self._outcome = one_outcome(self._line, self._spaces, 1, self._pickles)
                self._line = b""
            return self._outcome

    def _get_snapshot(self) -> Tuple[bool, bool, Any, Optional[BaseException]]:
        """Return (done, cancelled, result, exception): what newer versions of asyncio ask for all at once."""
        if not self.done() or self.cancelled():
            return self.done(), self.cancelled(), None, None
        error = self.exception()
        return True, False, None if error is not None else self.result(), error


def one_outcome(line: bytes, spaces: Sequence[str], calls: int, pickles: PickleRule = PICKLES_UNWANTED) -> CallOutcome:
    """Return the outcome of one unit of so many calls; what cannot be read is an outcome too."""
    try:
        outcomes = list(read_outcomes(line, spaces, pickles))
    except DiscomputeError as problem:
        return CallOutcome([], problem, "")
    if len(outcomes) != 1:
        return CallOutcome([], TaskFailed("a device returned what is no outcome of a call"), "")
    outcome = outcomes[0]
    count = len(outcome.values)
    if count != calls if outcome.raised is None else count >= calls:
        return CallOutcome([], TaskFailed(f"a device returned {count} results for {calls} calls"), outcome.printed)
    return outcome


def failure_of(error: str, blame: str, call: str = "the call") -> BaseException:
    """Return the exception for a unit without an outcome."""
    kind = {"poison": PoisonedSubtask, "timeout": RemoteTimeout, "limit": CallOverLimit}.get(blame)
    if kind is not None:
        return kind(error, call)
    if blame == "cancelled":
        return CancelledError()
    return TaskCancelled(error) if blame == "stopped" else TaskFailed(error)
