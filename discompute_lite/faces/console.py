"""Write for people: colour, width and progress where the terminal has them, plain text where not.

Knows:   streams that have only `write`, terminals, NO_COLOR, phones' consoles of 40 columns.
Refuses: to let text from the network command the terminal: control characters are shown, not sent.
Read next: faces/listing.py.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from typing import Any

#: Colours by what they mean.
STYLES = {"good": "32", "bad": "31", "warn": "33", "quiet": "2", "strong": "1", "accent": "36"}
#: Columns where the terminal does not say.
DEFAULT_WIDTH = 80


class Console:
    """Own standard output and error of one command."""

    def __init__(self, *, is_json: bool = False, is_quiet: bool = False, out: Any = None, err: Any = None) -> None:
        self.is_json = is_json
        self.is_quiet = is_quiet
        self._out = out if out is not None else sys.stdout
        self._err = err if err is not None else sys.stderr
        self._has_progress = False
        self.width = shutil.get_terminal_size((DEFAULT_WIDTH, 24)).columns or DEFAULT_WIDTH

    def print(self, text: str = "", style: str = "") -> None:
        """Write one line of the result to standard output."""
        self.end_progress()
        self._write(self._out, self._styled(self._out, text, style) + "\n")

    def note(self, text: str, style: str = "quiet") -> None:
        """Write one line beside the result: to standard error, and not at all when quiet."""
        if not self.is_quiet:
            self.end_progress()
            self._write(self._err, self._styled(self._err, text, style) + "\n")

    def error(self, text: str) -> None:
        """Write the one line that says what went wrong and what to do."""
        self.end_progress()
        self._write(self._err, self._styled(self._err, f"discompute: {printable(text, keep_lines=True)}", "bad") + "\n")

    def json(self, value: Any) -> None:
        """Write one JSON document, on one line, to standard output."""
        self._write(self._out, json.dumps(value, ensure_ascii=False) + "\n")

    def progress(self, share: float, text: str) -> None:
        """Draw a bar over the last one; only on a terminal, and not when quiet or for programs."""
        if self.is_quiet or self.is_json or not _is_terminal(self._err):
            return
        room = max(8, min(30, self.width - len(text) - 10))
        filled = int(room * min(1.0, max(0.0, share)))
        bar = "█" * filled + "░" * (room - filled)
        self._write(self._err, f"\r\x1b[K{bar} {share * 100:3.0f} % {text}"[: self.width + 4])
        self._has_progress = True

    def end_progress(self) -> None:
        """Take the bar away."""
        if self._has_progress:
            self._has_progress = False
            self._write(self._err, "\r\x1b[K")

    def _styled(self, stream: Any, text: str, style: str) -> str:
        if not style or os.environ.get("NO_COLOR") or not _is_terminal(stream):
            return text
        return f"\x1b[{STYLES[style]}m{text}\x1b[0m"

    def _write(self, stream: Any, text: str) -> None:
        try:
            stream.write(text)
        except UnicodeEncodeError:
            stream.write(text.encode("ascii", "replace").decode("ascii"))
        flush = getattr(stream, "flush", None)
        if flush is not None:
            flush()


def printable(text: str, *, keep_lines: bool = False) -> str:
    """Return text with control characters, escape sequences and direction marks made visible."""
    return "".join(
        mark if mark.isprintable() or (keep_lines and mark in "\n\t") else f"\\x{ord(mark):02x}" for mark in text
    )


def _is_terminal(stream: Any) -> bool:
    try:
        return bool(stream.isatty()) and os.environ.get("TERM", "") not in ("", "dumb")
    except (AttributeError, ValueError):
        return False
