"""Give memory for large attachments that costs as little as the machine allows.

Knows:   that filling fresh memory is bound by page faults, not by the socket.
Refuses: sizes; limits are checked before (wire/framing.py).
Read next: net/stream.py.

Measured, 64 MiB received over loopback, as a ratio to a reused buffer: into a fresh bytearray 1.9,
into a private anonymous map with huge pages 0.9. Smaller ones that come again and again, such as the pieces of an
average, go into memory that nobody uses any more: a tenth of a node's time went into fresh bytearrays of those.
"""

from __future__ import annotations

import mmap
import sys
from typing import List, Union

#: Huge pages are 2 MiB on the platforms that have them; below that a map only costs descriptors.
HUGE_PAGE_BYTES = 2 * 1024 * 1024
#: Memory of this size at least is used again; each connection keeps so much of it.
AGAIN_BYTES, KEPT_BYTES = 128 * 1024, 8 * 1024 * 1024


def allocate_attachment(size: int) -> Union[bytearray, memoryview]:
    """Return `size` bytes of writable memory; freed when the last view of it goes."""
    advice = getattr(mmap, "MADV_HUGEPAGE", None)
    if size < HUGE_PAGE_BYTES or advice is None:
        return bytearray(size)
    try:
        region = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        region.madvise(advice)
    except (OSError, ValueError):
        return bytearray(size)
    return memoryview(region)


class AttachmentMemory:
    """Give one connection its memory, over again when all references to it are gone."""

    def __init__(self) -> None:
        self._kept: List[bytearray] = []

    def allocate(self, size: int) -> Union[bytearray, memoryview]:
        """Return `size` bytes of writable memory, with whatever is in it."""
        if not AGAIN_BYTES <= size < HUGE_PAGE_BYTES or not hasattr(sys, "getrefcount"):
            return allocate_attachment(size)
        for index in range(len(self._kept)):
            if len(self._kept[index]) == size and _references(self._kept, index) == _ALONE:
                self._kept.append(self._kept.pop(index))
                return self._kept[-1]
        memory = bytearray(size)
        self._kept.append(memory)
        while sum(map(len, self._kept)) > KEPT_BYTES:
            del self._kept[0]
        return memory


def _references(kept: List[bytearray], index: int) -> int:
    """Return how many references there are to one of them, those of the list and of this call among them."""
    return sys.getrefcount(kept[index])


#: What that is where nobody else has one, nor a view of it.
_ALONE = _references([bytearray(1)], 0) if hasattr(sys, "getrefcount") else 0
