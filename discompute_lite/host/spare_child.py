"""Have one child ready before it is needed: a task then begins without the time in which a Python starts.

Knows:   when one is laid ready, whom it suits, and when it is let go.
Refuses: to give it work; host/process_executor.py does, whose lock it shares.
Read next: host/process_executor.py, host/child_process.py.
"""

from __future__ import annotations

import threading
import time
from typing import Callable, Optional

from ..model.errors import StateError
from .child_process import ChildProcess

#: Seconds after which one is laid ready, once one was needed: what has just begun has the processor until then.
SPARE_AFTER_S = 0.5
#: Seconds after which it is let go, once nothing runs, unless it is kept: what a script at rest holds is what it needs.
SPARE_IDLE_S = 2.0


class SpareChild:
    """Hold a child that has served nobody, for whoever needs one next."""

    def __init__(
        self, lock: threading.Lock, start: Callable[[int], ChildProcess], is_closed: Callable[[], bool]
    ) -> None:
        """`start` starts a child that is held to so many bytes of memory; `is_closed` is asked under the lock."""
        self._lock = lock
        self._start = start
        self._is_closed = is_closed
        self.child: Optional[ChildProcess] = None
        #: When it was laid ready; when the next one is to be, 0 for never; and whether it stays where nothing runs.
        self._laid_at = self.due = 0.0
        self._is_kept = False

    def keep(self) -> None:
        """Lay one ready soon, though none was needed yet, and do not let it go."""
        with self._lock:
            self._is_kept, self.due = True, time.monotonic() + SPARE_AFTER_S

    def is_due_soon(self) -> bool:
        """Whether one is to be laid ready."""
        return self.due > 0.0

    def take(self, memory_bytes: int) -> Optional[ChildProcess]:
        """Return the one that is ready, if it is held to so much memory; another is laid ready in its place later."""
        with self._lock:
            child, self.due = self.child, time.monotonic() + SPARE_AFTER_S
            if child is None or child.memory_bytes != memory_bytes or not child.is_ready():
                return None
            self.child = None
            return child

    def lay(self, memory_bytes: int) -> None:
        """Start one, if it is time to."""
        with self._lock:
            if not self.due or time.monotonic() < self.due:
                return
            self.due = 0.0
            spare = self.child
            if self._is_closed() or (spare is not None and spare.memory_bytes == memory_bytes and spare.is_ready()):
                return
        self.end()
        try:
            spare = self._start(memory_bytes)
        except (OSError, StateError):
            return  # Whoever needs one says why there is none.
        with self._lock:
            self.child, self._laid_at = spare, time.monotonic()
            is_late = self._is_closed()
        if is_late:
            self.end()

    def let_go(self) -> None:
        """End it where nothing runs, if nobody has needed it for a while."""
        if not self._is_kept and time.monotonic() - self._laid_at >= SPARE_IDLE_S:
            self.end()

    def end(self) -> None:
        """End it now."""
        with self._lock:
            spare, self.child = self.child, None
        if spare is not None:
            spare.end()

    def look_again_s(self) -> float:
        """Return the seconds until there is something to do about it, at most until it may be let go."""
        due = self.due
        if due:
            return max(0.0, due - time.monotonic())
        return threading.TIMEOUT_MAX if self.child is None or self._is_kept else SPARE_IDLE_S
