"""Remember what is due when: a heap of deadlines with lazy deletion.

Knows:   absolute monotonic times and the values that are due then.
Refuses: to know what time it is; `now` comes in as an argument.
Read next: net/loop.py (turns deadlines into timers), core/scheduler.py (leases).
"""

from __future__ import annotations

import heapq
from typing import Any, Dict, Hashable, KeysView, List, Optional, Tuple

#: Seconds within which a node that has a neighbour is awake for its next beacon: 2.5 s, a fifth more at most, and some
#: for the way. What may wait as long is done then, and wakes up nobody.
COMPANY_S = 3.25
#: Dead entries of a heap for which it is not made anew.
DEAD_SPARED = 64


class Deadlines:
    """Hold at most one deadline a key; setting it again replaces it.

    O(log n) a change; replaced and cancelled entries stay in the heap until they surface, and the
    heap is rebuilt when they outnumber the living, so memory stays within twice the need. They are numbers:
    a key that is forgotten is let go at once, with all that hangs on it (a call with its attachments, say).
    """

    def __init__(self) -> None:
        self._heap: List[Tuple[float, int]] = []
        #: The number of each living entry -> its key, and its key -> itself; exactly one heap entry matches each.
        self._keys: Dict[int, Hashable] = {}
        self._alive: Dict[Hashable, Tuple[float, int]] = {}
        self._number = 0

    def set(self, key: Hashable, when: float) -> None:
        """Let `key` be due at `when`, instead of whenever it was due before."""
        replaced = self._alive.get(key)
        if replaced is not None:
            del self._keys[replaced[1]]
        self._number += 1
        entry = self._alive[key] = (when, self._number)
        self._keys[self._number] = key
        heapq.heappush(self._heap, entry)
        if len(self._heap) > DEAD_SPARED:
            self._rebuild_when_mostly_dead()

    def cancel(self, key: Hashable) -> None:
        """Forget `key`; unknown keys are fine."""
        entry = self._alive.pop(key, None)
        if entry is not None:
            del self._keys[entry[1]]
            if len(self._heap) > DEAD_SPARED:
                self._rebuild_when_mostly_dead()

    def when(self, key: Hashable) -> Optional[float]:
        """Return when `key` is due, or None."""
        alive = self._alive.get(key)
        return alive[0] if alive is not None else None

    def next(self) -> Optional[float]:
        """Return when the earliest key is due, or None."""
        heap = self._heap
        if heap and heap[0][1] not in self._keys:
            self._drop_dead()
        return heap[0][0] if heap else None

    def pop_due(self, now: float) -> List[Any]:
        """Take out and return all keys due at `now`, earliest first, equal ones in order of setting."""
        due: List[Any] = []
        heap = self._heap
        while heap and heap[0][0] <= now:
            number = heapq.heappop(heap)[1]
            if number in self._keys:
                key = self._keys.pop(number)
                del self._alive[key]
                due.append(key)
        return due

    def __contains__(self, key: Hashable) -> bool:
        return key in self._alive

    def keys(self) -> KeysView[Hashable]:
        """Return all keys, as they are from now on: for whoever asks for many, which by name costs a call each."""
        return self._alive.keys()

    def __len__(self) -> int:
        return len(self._alive)

    def _rebuild_when_mostly_dead(self) -> None:
        if len(self._heap) > DEAD_SPARED + 2 * len(self._alive):
            self._heap = list(self._alive.values())
            heapq.heapify(self._heap)

    def _drop_dead(self) -> None:
        heap, keys = self._heap, self._keys
        while heap and heap[0][1] not in keys:
            heapq.heappop(heap)
