"""Keep the lines of the audit log: appended, readable by their owner alone, bounded.

Knows:   the file that grows, and the one before it.
Refuses: what lines say and how they are sealed (core/audit_log.py).
Read next: member_parts.py (who writes).
"""

from __future__ import annotations

import os

from ..model.limits import MIB
from .files import SAFE_OPEN_FLAGS, read_small_file, remove_file, state_errors, write_whole

#: A file of the log; with the one before it, which is kept too, it tells of some ten to twenty thousand events.
AUDIT_BYTES = 4 * MIB


class AuditFile:
    """Own the log's files in a state folder; who writes holds the folder's lock."""

    def __init__(self, folder: str) -> None:
        """`folder` is "" where nothing can be written: then nothing is kept."""
        self._path = os.path.join(folder, "audit") if folder else ""
        self._size = 0

    def open(self) -> bytes:
        """Return the last line, b"" where there is none; half a line, which a cut left, is taken away."""
        data = read_small_file(self._path) or b"" if self._path else b""
        whole = data[:data.rfind(b"\n") + 1]
        if whole != data:
            with state_errors(self._path):
                os.truncate(self._path, len(whole))
        self._size = len(whole)
        lines = whole.splitlines()
        return lines[-1] if lines else b""

    @property
    def is_full(self) -> bool:
        """Whether the next line begins a new file."""
        return self._size >= AUDIT_BYTES

    def turn(self) -> None:
        """Begin a new file; the one before is kept, and the one before that is not."""
        with state_errors(self._path):
            os.replace(self._path, self._path + ".old")
        self._size = 0

    def set_aside(self) -> None:
        """Keep a file that cannot be gone on with as `audit.damaged`."""
        with state_errors(self._path):
            os.replace(self._path, self._path + ".damaged")
            remove_file(self._path + ".old")
        self._size = 0

    def append(self, line: bytes) -> None:
        """Add a line, or nothing of it. It is with the system on return, and on the disk soon: nothing waits for it."""
        if not self._path:
            return
        with state_errors(self._path):
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | SAFE_OPEN_FLAGS, 0o600)
            try:
                write_whole(descriptor, line + b"\n")
                self._size += len(line) + 1
            except OSError:
                # What a full disk has taken of it would spoil the next line.
                os.ftruncate(descriptor, self._size)
                raise
            finally:
                os.close(descriptor)

    def lines(self) -> bytes:
        """Return all lines that are kept, the oldest first."""
        if not self._path:
            return b""
        return (read_small_file(self._path + ".old") or b"") + (read_small_file(self._path) or b"")
