"""Give memory for large attachments that costs as little as the machine allows.

Knows:   that filling fresh memory is bound by page faults, not by the socket.
Refuses: sizes; limits are checked before (wire/framing.py).
Read next: net/stream.py.

Measured, 64 MiB received over loopback, as a ratio to a reused buffer: into a fresh bytearray 1.9,
into a private anonymous map with huge pages 0.9. Smaller ones that come again and again, such as the pieces of an
average, go into memory that nobody uses any more: a tenth of a node's time went into fresh bytearrays of those. What
was given last is given again first, being still in the processor's caches: in an average of 40 MB the system took a
fifth less time than with what was given longest ago. All connections of a node share it, since a phone has not the
memory for some of each, and so does what a node computes to be sent.
"""

from __future__ import annotations

import sys
from typing import Any, Callable, List, Union

#: Huge pages are 2 MiB on the platforms that have them; below that a map only costs descriptors.
HUGE_PAGE_BYTES = 2 * 1024 * 1024
#: Memory of this size at least is used again.
AGAIN_BYTES = 128 * 1024
#: Seconds for which it is kept for that: messages that come again and again come sooner.
KEPT_IDLE_S = 10.0


def allocate_attachment(size: int) -> Union[bytearray, memoryview]:
    """Return `size` bytes of writable memory; freed when the last view of it goes."""
    if size < HUGE_PAGE_BYTES:
        return bytearray(size)
    try:
        import mmap  # Absent in some Pythons, as huge pages are.

        region = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        region.madvise(mmap.MADV_HUGEPAGE)
    except (ImportError, AttributeError, OSError, ValueError):
        return bytearray(size)
    return memoryview(region)


class AttachmentMemory:
    """Give a node memory for what it receives and sends, over again when nobody refers to it; one thread's."""

    def __init__(self, now: Callable[[], float], call_later: Callable[..., Any]) -> None:
        self._now, self._call_later = now, call_later
        #: In the order in which they were last given, those in use among them.
        self._kept: List[_Piece] = []
        self._is_look_due = False

    def allocate(self, size: int, most_bytes: int) -> Union[bytearray, memoryview]:
        """Return `size` bytes of writable memory, with whatever is in it; all that is kept are `most_bytes`."""
        if not AGAIN_BYTES <= size < HUGE_PAGE_BYTES or size > most_bytes or not hasattr(sys, "getrefcount"):
            return allocate_attachment(size)
        for index in reversed(range(len(self._kept))):
            if len(self._kept[index].memory) == size and _references(self._kept[index]) == _ALONE:
                piece = self._kept.pop(index)
                break
        else:
            piece = _Piece(bytearray(size))
        piece.given_at = self._now()
        self._kept.append(piece)
        while self.kept_bytes > most_bytes:
            del self._kept[0]
        self._look_later()
        return piece.memory

    @property
    def kept_bytes(self) -> int:
        """Return how much is kept, all together."""
        return sum(len(piece.memory) for piece in self._kept)

    def _look_later(self) -> None:
        if self._kept and not self._is_look_due:
            self._is_look_due = True
            self._call_later(KEPT_IDLE_S, self._look)

    def _look(self) -> None:
        """Give back what was not wanted for a while."""
        self._is_look_due = False
        since = self._now() - KEPT_IDLE_S
        self._kept = [piece for piece in self._kept if piece.given_at > since]
        self._look_later()


class _Piece:
    """Hold a piece of memory that may be given again."""

    __slots__ = ("memory", "given_at")

    def __init__(self, memory: bytearray) -> None:
        self.memory = memory
        self.given_at = 0.0


def _references(piece: _Piece) -> int:
    """Return how many references there are to its memory, its own and this call's among them."""
    return sys.getrefcount(piece.memory)


#: What that is where nobody else has one, nor a view of it.
_ALONE = _references(_Piece(bytearray(1))) if hasattr(sys, "getrefcount") else 0
