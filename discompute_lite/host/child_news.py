"""Hear from the system what became of a child: that it ended, was stopped by a signal, or goes on after that.

Knows:   that each of these is told to a parent once, and how systems differ in telling it.
Refuses: to judge; host/child_process.py says what follows from an end, host/process_executor.py what from a stop.
Read next: host/child_process.py.

A process that somebody has stopped (SIGSTOP) looks from its pipe like one that computes, and it may go on at any time.
The system knows better. A stop counts from when it is first seen here. Who stops and goes on all the time, as programs
do that hold others to a share of the processor, is never stopped for long: each stop is news, and counts anew.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from typing import Any, Callable, Optional


class ChildNews:
    """Be told of one child of this process; any thread may ask."""

    def __init__(self, process: Any, lock: threading.Lock, now: Callable[[], float] = time.monotonic) -> None:
        """`process` is a `Popen`; under `lock` its number may be given back to the system."""
        self._process = process
        self._lock = lock
        self._now = now
        #: Since when it has been stopped, as far as is known here, and by which signal.
        self._stopped_at: Optional[float] = None
        self._signal = 0

    def has_ended(self) -> bool:
        """Whether it has ended; where the system can tell, without giving its number back."""
        if not hasattr(os, "waitid"):
            with self._lock:
                return self._has_ended_here()
        told = os.WSTOPPED | os.WCONTINUED
        try:
            news = os.waitid(os.P_PID, self._process.pid, os.WEXITED | told | os.WNOWAIT | os.WNOHANG)
            if news is None:
                return False
            if news.si_code not in (os.CLD_STOPPED, os.CLD_CONTINUED):
                return True
            # Taken, so that the next one is news again; another thread may have been faster.
            news = os.waitid(os.P_PID, self._process.pid, told | os.WNOHANG)
        except ChildProcessError:
            return True
        if news is not None:
            self._note(news.si_status if news.si_code == os.CLD_STOPPED else 0)
        return False

    def stopped_s(self) -> float:
        """Return for how many seconds it has been seen stopped, 0.0 while it is not; as of the last `has_ended`."""
        since = self._stopped_at
        return 0.0 if since is None else max(1e-6, self._now() - since)

    @property
    def stop_signal(self) -> str:
        """Return the signal that has stopped it, in words."""
        return named_signal(self._signal)

    def _has_ended_here(self) -> bool:
        """Ask as every POSIX lets one ask, by which the number of a child that has ended is given back."""
        process = self._process
        if process.returncode is not None or sys.platform == "win32":
            return process.poll() is not None
        try:
            pid, status = os.waitpid(process.pid, os.WNOHANG | os.WUNTRACED | os.WCONTINUED)
        except ChildProcessError:
            return process.poll() is not None
        if not pid:
            return False
        if os.WIFSTOPPED(status) or os.WIFCONTINUED(status):
            self._note(os.WSTOPSIG(status) if os.WIFSTOPPED(status) else 0)
            return False
        process.returncode = os.waitstatus_to_exitcode(status)
        return True

    def _note(self, stop_signal: int) -> None:
        """Take note that it was stopped, or with 0 that it goes on."""
        self._stopped_at, self._signal = (self._now(), stop_signal) if stop_signal else (None, 0)


def named_signal(number: int) -> str:
    """Return a signal's number and name, with what it means where the name does not say so."""
    try:
        name, words = signal.Signals(number).name, (signal.strsignal(number) or "").lower()
    except ValueError:
        return f"signal {number}"
    return f"signal {number} ({name}{'' if words in ('', 'killed') or 'signal' in words else ', ' + words})"
