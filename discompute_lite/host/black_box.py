"""Keep what a child's code has printed where its death leaves it: in memory that belongs to a file of its folder.

Knows:   how the text lies in that file, and that only its end is kept.
Refuses: to cost a request that prints nothing anything, or one that prints a system call.
Read next: host/child.py (who fills it), host/process_executor.py (who reads it when the child is gone).

    8 bytes   how many bytes have been written since the request began, big-endian
    the rest  the text, round and round: byte n of it lies at n modulo the length
"""

from __future__ import annotations

import os
import threading
from typing import Optional

#: The file in a child's folder, and as much of a text's end as it keeps.
BLACK_BOX_FILE, BLACK_BOX_BYTES = ".printed", 64 * 1024
_COUNT_BYTES = 8
_NOTHING = bytes(_COUNT_BYTES)


class BlackBox:
    """Be the child's end: any thread may add."""

    def __init__(self, folder: str) -> None:
        """Make the file; raise OSError where that cannot be, ImportError where Python has no such memory."""
        import mmap

        with open(os.path.join(folder, BLACK_BOX_FILE), "wb+") as file:
            # Written rather than left as a hole: on a full disk a hole would kill whoever prints into it.
            file.write(bytes(_COUNT_BYTES + BLACK_BOX_BYTES))
            file.flush()
            self._map = mmap.mmap(file.fileno(), 0)
        self._lock = threading.Lock()

    def add(self, data: bytes) -> None:
        """Keep what was printed."""
        with self._lock:
            # Not counted in this object: processes that were forked off print into the same.
            count = int.from_bytes(self._map[:_COUNT_BYTES], "big")
            end, last = count + len(data), data[-BLACK_BOX_BYTES:]
            at = (end - len(last)) % BLACK_BOX_BYTES
            first = last[: BLACK_BOX_BYTES - at]
            self._map[_COUNT_BYTES + at: _COUNT_BYTES + at + len(first)] = first
            self._map[_COUNT_BYTES: _COUNT_BYTES + len(last) - len(first)] = last[len(first):]
            self._map[:_COUNT_BYTES] = end.to_bytes(_COUNT_BYTES, "big")

    def clear(self) -> None:
        """Forget what has arrived by the usual way."""
        if self._map[:_COUNT_BYTES] != _NOTHING:
            self._map[:_COUNT_BYTES] = _NOTHING


def open_black_box(folder: str) -> Optional[BlackBox]:
    """Return one for this process; None where the system has none to give: then a death takes the text along."""
    try:
        return BlackBox(folder)
    except (OSError, ValueError, ImportError):
        return None


def read_black_box(folder: str) -> str:
    """Return what a child that is gone had printed in its last request, "" where that was nothing."""
    try:
        with open(os.path.join(folder, BLACK_BOX_FILE), "rb") as file:
            body = file.read(_COUNT_BYTES + BLACK_BOX_BYTES)
    except OSError:
        return ""
    if len(body) < _COUNT_BYTES + BLACK_BOX_BYTES:
        return ""  # The task's code has cut it.
    count, text = int.from_bytes(body[:_COUNT_BYTES], "big"), body[_COUNT_BYTES:]
    if count <= len(text):
        return text[:count].decode("utf-8", "replace")
    at = count % BLACK_BOX_BYTES
    kept = (text[at:] + text[:at]).decode("utf-8", "replace")
    return f"[{count - BLACK_BOX_BYTES} bytes were printed before what follows]\n{kept}"
