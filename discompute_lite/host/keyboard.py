"""Hear a `q` and return typed at the console of a phone's app, whose other ways to end a program may be hard to find.

Knows:   standard inputs that can be watched, such as a-Shell's.
Refuses: to read one that can only be waited for (Pythonista's): a thread that waits there outlives the node and takes
         the next line that a person types for another script. Such an app has a stop button.
Read next: faces/node_commands.py (who asks), host/stop_signals.py (the other ways to end).
"""

from __future__ import annotations

import os
from typing import Any, Callable

#: What ends a node, and how many letters of a line are looked at: nobody types more by mistake.
QUIT_WORDS = (b"q", b"quit", b"exit")
TYPED_MOST = 1024


class Keyboard:
    """Watch one standard input on the loop's thread."""

    def __init__(
        self, stdin: Any, watch: Callable[..., None], unwatch: Callable[[Any], None], on_quit: Callable[[], None]
    ) -> None:
        """`watch(file number, on_readable, None)` and `unwatch(file number)` are the loop's."""
        self._unwatch, self._on_quit = unwatch, on_quit
        self._typed = b""
        self._number = -1
        try:
            number = int(stdin.fileno())
            watch(number, self._read, None)
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
            self._unwatch(self._number)
            self._number = -1

    def _read(self) -> None:
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
        if any(line.strip().lower() in QUIT_WORDS for line in lines):
            self._on_quit()
