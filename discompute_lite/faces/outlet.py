"""Write to a stream without ever waiting for whoever reads it: a thread of its own waits instead.

Knows:   the texts that are still to be written, how many were left out, whether anybody is there at all.
Refuses: to grow with a reader that does not read, and to hold up the program's end.
Read next: faces/console.py, faces/node_commands.py (whose events come from the loop's thread).
"""

from __future__ import annotations

import os
import select
import sys
import threading
import time
from collections import deque
from typing import Any, Callable, Deque

#: Characters that wait for a reader; what comes on top of them is left out.
WAITING_CHARS = 256 * 1024
#: Seconds that its thread has to end once there is nothing left to write.
LAST_TURN_S = 0.2
#: Bytes that a pipe takes without blocking once it says that it takes any: the least that POSIX allows.
SAFE_BYTES = 512


class Outlet:
    """Stand in for a text stream; `write` never waits. What does not fit is left out, whole texts at a time."""

    def __init__(
        self, stream: Any, write: Callable[[Any, str], None], on_full: Callable[[], None] = lambda: None
    ) -> None:
        """`write(stream, text)` may wait; `on_full()` is called when a text is left out for the first time."""
        self._stream = stream
        self._write = write
        self._on_full = on_full
        self._waiting: Deque[str] = deque()
        self._waiting_chars = 0
        #: Texts that were left out.
        self.left_out = 0
        self._is_gone = False
        #: Guards what is above, and is told when a text has come or has been written.
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._serve, name="outlet", daemon=True)
        self._thread.start()

    def write(self, text: str) -> None:
        """Take a text, or leave it out."""
        with self._changed:
            is_full = self._waiting_chars + len(text) > WAITING_CHARS
            if not is_full and not self._is_gone:
                self._waiting.append(text)
                self._waiting_chars += len(text)
                self._changed.notify_all()
            is_news = is_full and not self.left_out
            self.left_out += is_full
        if is_news:
            self._on_full()

    def __getattr__(self, name: str) -> Any:
        """Answer as the stream does whether it is a terminal, and which letters it has; it may know none of it."""
        if name not in ("isatty", "fileno", "encoding"):
            raise AttributeError(name)
        return getattr(self._stream, name)

    def close(self, wait_s: float) -> None:
        """Give the reader so long to take what is left, and leave the rest."""
        until = time.monotonic() + wait_s
        with self._changed:
            while self._waiting and not self._is_gone and time.monotonic() < until:
                self._changed.wait(until - time.monotonic())
            self._is_gone = True
            self._changed.notify_all()
        # Gone at once, unless it waits for a reader: then it is left to find out.
        self._thread.join(LAST_TURN_S)

    def _serve(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._is_gone:
                    self._changed.wait()
                if self._is_gone:
                    return
                text = self._waiting[0]
            try:
                self._send(text)
            except (OSError, ValueError):
                # Nobody reads any more: a closed pipe or terminal.
                self._is_gone = True
            with self._changed:
                self._waiting.popleft()
                self._waiting_chars -= len(text)
                self._changed.notify_all()

    def _send(self, text: str) -> None:
        try:
            fd = self._stream.fileno() if sys.platform != "win32" else -1
        except (OSError, AttributeError, ValueError):
            fd = -1
        if fd < 0:
            self._write(self._stream, text)
            return
        # Past the stream: its lock, held by a thread that waits, would not let the interpreter end.
        data = memoryview(text.encode(getattr(self._stream, "encoding", None) or "utf-8", "replace"))
        while data and not self._is_gone:
            if select.select([], [fd], [], 1.0)[1]:
                data = data[os.write(fd, data[:SAFE_BYTES]):]
