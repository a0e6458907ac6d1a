"""Turn Ctrl-C, SIGTERM and a closed terminal into one call on the loop's thread.

Knows:   which signals ask a program to end, and who may listen to them.
Refuses: to run anything inside a signal's own call: it may come while this very thread holds a lock.
Read next: run.py.
"""

from __future__ import annotations

import signal
import socket
import sys
from typing import Any, Callable, Dict, Optional

#: Windows has no SIGHUP, which is the closed terminal.
STOP_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")


class StopSignals:
    """Listen to the signals, from the main thread; elsewhere (an app's console) this does nothing."""

    def __init__(self, watch: Callable[..., None], on_stop: Callable[[], None]) -> None:
        """`watch(socket, on_readable, None)` is the loop's; `on_stop()` comes on its thread, once."""
        # A byte through a socket wakes the loop and takes no lock.
        self._bell, self._button = socket.socketpair()
        self._button.setblocking(False)
        self._before: Dict[int, Any] = {}
        self._wakes: Optional[int] = None

        def ring() -> None:
            # Nobody takes the byte: a loop that listened on would do nothing else until its goodbyes are said.
            watch(self._bell, None, None)
            on_stop()

        watch(self._bell, ring, None)
        for name in STOP_SIGNALS:
            number = getattr(signal, name, None)
            try:
                # `nohup` wants a closed terminal to be ignored, and gets it.
                if number is not None and (name != "SIGHUP" or signal.getsignal(number) != signal.SIG_IGN):
                    self._before[number] = signal.signal(number, self._push)
            except (ValueError, OSError, RuntimeError):
                pass  # Not the main thread.
        if self._before and sys.platform == "win32":
            # There a wait for sockets goes on when Ctrl-C comes, and `_push` would be called after it: the interpreter
            # writes this byte at once.
            self._wakes = signal.set_wakeup_fd(self._button.fileno(), warn_on_full_buffer=False)

    def restore(self) -> None:
        """Give the signals back to whoever had them; after the loop has ended."""
        for number, previous in self._before.items():
            signal.signal(number, previous if previous is not None else signal.SIG_DFL)
        if self._wakes is not None:
            signal.set_wakeup_fd(self._wakes)
            self._wakes = None
        self._bell.close()
        self._button.close()

    def _push(self, *_: Any) -> None:
        try:
            self._button.send(b"\0")
        except OSError:
            pass  # Full: it has been pushed often enough.
