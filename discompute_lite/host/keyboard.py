"""Hear what is typed where a node runs: `q` and return to end it, anything else for whoever is told.

Knows:   standard inputs that can be watched, such as a-Shell's and a terminal's, and who may read a terminal.
Refuses: to read one that can only be waited for (Pythonista's, Pyto's): a thread that waits there outlives the node and
         takes the next line that a person types for another script. Such an app has a stop button.
Read next: run.py (who asks), roles/typed_lines.py (what other lines mean), host/stop_signals.py (other ways to end).
"""

from __future__ import annotations

import os
from typing import Any, Callable

#: What ends a node, and how many letters of a line are looked at: nobody types more by mistake.
QUIT_WORDS = ("q", "quit", "exit")
TYPED_MOST = 1024


class Keyboard:
    """Watch one standard input on the loop's thread."""

    def __init__(
        self, stdin: Any, loop: Any, *, on_quit: Callable[[], None], on_line: Callable[[str], Any],
        may_read: Callable[[int], bool] = lambda number: True,
    ) -> None:
        """The `loop` watches; `may_read(file number)` says whether what is typed is meant for us."""
        self._loop, self._on_quit, self._on_line, self._may_read = loop, on_quit, on_line, may_read
        self._typed = b""
        self._number = -1
        try:
            number = int(stdin.fileno())
            if not may_read(number):
                return
            loop.watch(number, self._read, None)
        except (AttributeError, TypeError, ValueError, OSError):
            return  # None at all, or one that cannot be watched: no keyboard.
        self._number = number

    @property
    def is_heard(self) -> bool:
        """Whether what is typed comes here."""
        return self._number >= 0

    def stop(self) -> None:
        """Listen no more."""
        if self._number >= 0:
            self._loop.unwatch(self._number)
            self._number = -1

    def _read(self) -> None:
        if not self._may_read(self._number):
            self.stop()  # What is typed now is for another program, and whoever reads it is stopped by the system.
            return
        try:
            came = os.read(self._number, TYPED_MOST)
        except BlockingIOError:
            return
        except OSError:
            came = b""
        if not came:
            self.stop()  # Its end would be readable for ever.
            return
        *lines, rest = (self._typed + came).replace(b"\r", b"\n").split(b"\n")
        self._typed = rest[-TYPED_MOST:]
        for line in (raw.decode("utf-8", "replace").strip() for raw in lines):
            if line.lower() in QUIT_WORDS:
                self._on_quit()
                return
            if line:
                self._on_line(line)


def is_in_foreground(number: int) -> bool:
    """Whether this descriptor is a terminal whose typing goes to us: a job in the background may not read it."""
    try:
        return os.isatty(number) and os.tcgetpgrp(number) == os.getpgrp()
    except (AttributeError, OSError):
        return False  # Windows, whose consoles cannot be watched either.
