"""Remember what is due when: a heap of deadlines with lazy deletion.

Knows:   absolute monotonic times and the values that are due then.
Refuses: to know what time it is; `now` comes in as an argument.
Read next: net/loop.py (turns deadlines into timers), core/scheduler.py (leases).
"""

from __future__ import annotations

import heapq
from typing import Any, Dict, Hashable, KeysView, List, Optional, Tuple


class Deadlines:
    """Hold at most one deadline a key; setting it again replaces it.

    O(log n) a change; replaced and cancelled entries stay in the heap until they surface, and the
    heap is rebuilt when they outnumber the living, so memory stays within twice the need.
    """

    def __init__(self) -> None:
        self._heap: List[Tuple[float, int, Hashable]] = []
        #: key -> (when, number) of its living entry; exactly one heap entry matches each.
        self._alive: Dict[Hashable, Tuple[float, int]] = {}
        self._number = 0

    def set(self, key: Hashable, when: float) -> None:
        """Let `key` be due at `when`, instead of whenever it was due before."""
        self._number += 1
        self._alive[key] = (when, self._number)
        heapq.heappush(self._heap, (when, self._number, key))
        self._rebuild_when_mostly_dead()

    def cancel(self, key: Hashable) -> None:
        """Forget `key`; unknown keys are fine."""
        if self._alive.pop(key, None) is not None:
            self._rebuild_when_mostly_dead()

    def when(self, key: Hashable) -> Optional[float]:
        """Return when `key` is due, or None."""
        alive = self._alive.get(key)
        return alive[0] if alive is not None else None

    def next(self) -> Optional[float]:
        """Return when the earliest key is due, or None."""
        if self._heap:
            self._drop_dead()
        return self._heap[0][0] if self._heap else None

    def pop_due(self, now: float) -> List[Any]:
        """Take out and return all keys due at `now`, earliest first, equal ones in order of setting."""
        due: List[Any] = []
        while True:
            self._drop_dead()
            if not self._heap or self._heap[0][0] > now:
                return due
            key = heapq.heappop(self._heap)[2]
            del self._alive[key]
            due.append(key)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._alive

    def keys(self) -> KeysView[Hashable]:
        """Return all keys, as they are from now on: for whoever asks for many, which by name costs a call each."""
        return self._alive.keys()

    def __len__(self) -> int:
        return len(self._alive)

    def _rebuild_when_mostly_dead(self) -> None:
        if len(self._heap) > 64 + 2 * len(self._alive):
            self._heap = [(when, number, key) for key, (when, number) in self._alive.items()]
            heapq.heapify(self._heap)

    def _drop_dead(self) -> None:
        heap, alive = self._heap, self._alive
        while heap and alive.get(heap[0][2]) != (heap[0][0], heap[0][1]):
            heapq.heappop(heap)
