"""Keep a node out of reach of an app's stop button, which raises in whatever the script's thread does just then.

Knows:   how a script waits for its node in a thread of its own, and how the node sees that it does so no more.
Refuses: to know what a node is; to trust that a thread which is stopped runs what stands in its `finally`.
Read next: app_registry.py (a second start), faces/node_commands.py (who asks).

In a node's own thread the exception could come between a connection that the system has accepted and the object that
closes it, which then stays open as long as the app runs, or within the writing of a file.
"""

from __future__ import annotations

import _thread
import threading
import time
from typing import Any, Callable, Optional

from ..model.deadlines import COMPANY_S
from .app_registry import TURN_S
from .probe import Probe

#: Seconds after which a script that waits looks by itself whether it is to be stopped, or its node has ended: until the
#: node looks at it, which wakes it up, and afterwards where that fails to come; and while its node is about to end.
SCRIPT_WAIT_S, SCRIPT_WAIT_MOST_S, SCRIPT_END_WAIT_S = 0.5, 5.0, 0.1
#: Seconds between two looks of a node at its script: about one, where the node is awake as often for something else.
#: The stop button is heeded at the next one, since an exception comes into Python's code only, and a wait is none.
SCRIPT_LOOK_S, SCRIPT_LOOK_MOST_S = 1.0, COMPANY_S
#: The same once a look has found that the script has not moved, and how many in a row may find that: a task that
#: computes without a pause keeps other threads waiting.
SCRIPT_MISSED_S, MISSED_SCRIPT_LOOKS = 1.0, 3

#: How often a script waits for a node's thread to begin.
BIRTH_WAITS = 8


class AppScript:
    """Stand for the thread of a script: it waits while its node works in another one, and ends it when it is stopped.

    Where a process is there for the node alone, there is no such button, and no other thread.
    """

    def __init__(self, probe: Optional[Probe] = None) -> None:
        is_main = threading.current_thread() is threading.main_thread()
        self._is_in_app = not is_main or (probe or Probe()).inside_ios()
        #: Grows as long as the script's thread waits.
        self._beats = 0
        #: Free when the script's thread may go on: each look of its node frees it, so that both are awake at a time.
        self._turn = _thread.allocate_lock()
        self._turn.acquire()
        self._has_begun = self._has_ended = self._is_stopped = False
        self._problem: Optional[BaseException] = None
        self._stop: Callable[[], None] = lambda: None
        self._clock: Any = None

    def run(self, work: Callable[[], None]) -> None:
        """Do the work to its end, be it that the script is stopped; raise what the work raises.

        A KeyboardInterrupt has done what it is for when the work has ended; other exceptions that stop a script, such
        as SystemExit, are raised then, since they are for the app too.
        """
        if not self._is_in_app:
            work()
            return
        thread = threading.Thread(target=self._work, args=(work,), name="discompute-loop", daemon=True)
        own = vars(threading.current_thread())
        if "script_path" in own:
            # Pyto shows what a thread prints where this says, and gives it to those only that the script's own starts.
            vars(thread)["script_path"] = own["script_path"]
        try:
            # Started by a thread that nobody stops. Before Python 3.12 an exception for whoever starts a thread comes
            # into the new one as long as that has not begun: it never does then, and its `start` waits for ever.
            _thread.start_new_thread(thread.start, ())
            # Not `join`: on some Pythons it takes a thread for ended when it is interrupted.
            while not self._has_ended:
                self._beats += 1
                self._turn.acquire(True, SCRIPT_WAIT_S if self._clock is None else SCRIPT_WAIT_MOST_S)
                if not self._has_begun and self._beats > BIRTH_WAITS:
                    raise KeyboardInterrupt  # It has come into the thread that was to start it.
        except BaseException as stopped:
            self._end_work()
            if not (self._has_ended and isinstance(stopped, KeyboardInterrupt)):
                raise
        if self._problem is not None:
            raise self._problem

    def watch(self, stop: Callable[[], None], clock: Any) -> None:
        """Call `stop()` when the script has been stopped, or its thread ended without a word; `clock` is a loop.

        For the work, on its own thread; `stop` may come from any.
        """
        if self._is_in_app:
            self._stop, self._clock = stop, clock
            if self._is_stopped:
                stop()
            self._look(self._beats - 1, 0)

    def _work(self, work: Callable[[], None]) -> None:
        # The script may have been stopped while this thread began: then one of the two sees what the other has set.
        self._has_begun = True
        try:
            if not self._is_stopped:
                work()
        except BaseException as problem:
            self._problem = problem
        finally:
            self._has_ended = True
            self._wake_script()

    def _wake_script(self) -> None:
        """Let the script's thread see what there is; for the work's thread, no other one frees the lock."""
        if self._turn.locked():
            self._turn.release()

    def _end_work(self) -> None:
        self._is_stopped = True
        self._stop()
        until = time.monotonic() + TURN_S
        while self._has_begun and not self._has_ended and time.monotonic() < until:
            time.sleep(SCRIPT_END_WAIT_S)

    def _look(self, beats: int, missed: int) -> None:
        # Looks are counted, not seconds: an app that was suspended wakes up long after, and any thread may come first.
        missed, beats = missed + 1 if self._beats == beats else 0, self._beats
        self._wake_script()
        if missed > MISSED_SCRIPT_LOOKS:
            self._stop()
        else:
            now = self._clock.now()
            first, last = (SCRIPT_MISSED_S,) * 2 if missed else (SCRIPT_LOOK_S, SCRIPT_LOOK_MOST_S)
            self._clock.call_between(now + first, now + last, self._look, beats, missed)
