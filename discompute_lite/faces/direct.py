"""Make a short call on the caller's own thread from end to end; the node's, which would be woken twice, sleeps on.

Knows:   what a stream permits for a while, and the door of the executor for whoever waits for moments only.
Refuses: to deal with what does not end well, or not soon: that is the node's, as if it had gone there at once.
Read next: faces/dispatch.py (who asks), roles/short_way.py (who permits), host/process_executor.py (that door).
"""

from __future__ import annotations

import threading
import time
from functools import partial
from typing import Any, Callable, Dict, Optional, Protocol

from ..tasks.blob_values import blobs_in
from ..tasks.calls import CallsTask, calls_data
from ..tasks.types import separate_data
from ..tasks.work import WorkOutcome, WorkRequest

#: Seconds for which a caller's thread waits for an outcome itself: as long as a call is called short.
WAIT_HERE_S = 0.005
#: Seconds of these for which it stays awake: to fall asleep and to be woken would take as long as a call of moments.
AWAKE_S = 0.0002
#: Where that was in vain so often in a row, calls take longer or have no processor besides: it stays awake for none
#: within so many seconds.
IN_VAIN_MOST, PAUSE_AWAKE_S = 3, 0.1


class WarmExecutor(Protocol):
    """Be what runs requests in warm processes."""

    def begin_warm(self, request: WorkRequest, on_long: Callable[[Any], None]) -> Any:
        """Begin a request now and return its future, or None; `on_long(future)` may come before that."""

    def finish_here(self, future: Any, seconds: float, awake_s: float) -> bool:
        """Wait so long for its outcome on this thread, so much of it awake; return whether it is there."""


class DirectCall:
    """Hold one call that was begun on its caller's thread, until somebody deals with what it came to."""

    __slots__ = ("work", "permit", "waiter", "_takers")

    def __init__(self, permit: Any) -> None:
        self.permit = permit
        #: The executor's future.
        self.work: Any = None
        #: The thread that waits in `finish_here`, 0 while there is none.
        self.waiter = 0
        #: Under the one key there is, who deals with it.
        self._takers: Dict[str, object] = {}

    def outcome(self, line: bytes) -> Any:
        """Return what the call came to (a `UnitOutcome`) by its outcome's line."""
        return self.permit.outcome(line)

    def take(self, who: object) -> bool:
        """Let `who` deal with it, unless somebody else does; any thread may ask. Return whether it is theirs."""
        # One step of the interpreter: of two threads one comes first, and Ctrl-C comes before it or after.
        return self._takers.setdefault("", who) is who

    def is_taken_by(self, who: object) -> bool:
        """Whether it is theirs: `take` may have been interrupted before it could say so."""
        return self._takers.get("") is who


class DirectWay:
    """Begin calls, and finish them."""

    def __init__(self, executor: WarmExecutor, now: Callable[[], float] = time.monotonic) -> None:
        self._executor = executor
        self._now = now
        #: When it is worth while to stay awake, and how often in a row it was not.
        self._awake_from, self._in_vain = 0.0, 0

    def begin(self, permit: Any, data: bytes, hand_on: Callable[[DirectCall], None]) -> Optional[DirectCall]:
        """Begin the call of a unit, where `permit` (`ShortPermit`, or None) lets that be and a process is free.

        `hand_on(direct)` is called, on any thread, when somebody else has to deal with it.
        """
        if permit is None or self._now() >= permit.until or blobs_in(data):
            return None
        data = calls_data(permit.line, [data])
        direct = DirectCall(permit)
        options = permit.options
        request = WorkRequest(
            "run", CallsTask.name, data, permit.owner, options.wall_s, may_repeat=options.pure)
        direct.work = self._executor.begin_warm(request, partial(self._is_long, direct, hand_on))
        if direct.work is None:
            return None
        direct.work.add_done_callback(partial(self._done, direct, hand_on))
        return direct

    def finish(self, direct: DirectCall, seconds: float) -> bytes:
        """Wait for a call on this thread; return its outcome's line, b"" where it does not end well within moments.

        Whoever called has to deal with it then, or to have others do so, whatever is returned.
        """
        direct.waiter = threading.get_ident()
        began = self._now()
        awake_s = AWAKE_S if began >= self._awake_from else 0.0
        try:
            is_there = self._executor.finish_here(direct.work, seconds, awake_s)
        finally:
            direct.waiter = 0
        if awake_s:
            self._note_waking(began, self._now())
        outcome: Optional[WorkOutcome] = direct.work.result() if is_there else None
        lines = separate_data(outcome.data) if outcome is not None and outcome.ok else []
        if outcome is None or len(lines) != 1:
            return b""
        direct.permit.took_s.append(outcome.seconds)
        return lines[0]

    def _note_waking(self, began: float, ended: float) -> None:
        self._in_vain = self._in_vain + 1 if ended - began >= AWAKE_S else 0
        if self._in_vain >= IN_VAIN_MOST:
            self._awake_from, self._in_vain = ended + PAUSE_AWAKE_S, 0

    @staticmethod
    def _is_long(direct: DirectCall, hand_on: Callable[[DirectCall], None], work: Any) -> None:
        # Perhaps on another thread before it is known on its own.
        direct.work = work
        hand_on(direct)

    @staticmethod
    def _done(direct: DirectCall, hand_on: Callable[[DirectCall], None], work: Any) -> None:
        if direct.waiter != threading.get_ident():
            hand_on(direct)


def direct_way(executor: Any) -> Optional[DirectWay]:
    """Return the way that goes by an executor of the node's, None by one without warm processes."""
    return DirectWay(executor) if hasattr(executor, "begin_warm") else None
