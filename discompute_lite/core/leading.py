"""Order the attempts that run alone or on slow devices, so that the few that deserve company are found at once.

Knows:   of each running subtask of a pure task the attempt that leads, since when, and when it was expected to end.
Refuses: to weigh them; that is core/speculation.py.
Read next: core/speculation.py.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from itertools import islice
from typing import Callable, Dict, Iterable, List, Optional, Set, Tuple

from .records import AttemptRecord, ScheduledTask

#: So many heads of each order are compared, three levels of a heap: nearly exact in a household, and the same work in
#: a crowd.
HEADS = 7


class AttemptHeap:
    """Order some of the attempts in `members` by a number, smallest first, by lazily deleted entries."""

    def __init__(
        self, members: Dict[str, AttemptRecord], is_true: Callable[[float, AttemptRecord], bool] = lambda *_: True
    ) -> None:
        self._members = members
        self._is_true = is_true
        #: (number, attempt id): at least one for each attempt that was added and is a member, and void ones: of those
        #: that are members no more, and the older ones of those that were reordered.
        self.entries: List[Tuple[float, str]] = []

    def add(self, number: float, attempt: AttemptRecord) -> None:
        """Enter an attempt, or enter it again: it leads anew, or was expected to end at another time."""
        heapq.heappush(self.entries, (number, attempt.attempt_id))
        if len(self.entries) > 64 + 2 * len(self._members):
            self.entries = [entry for entry in self.entries if self.is_living(entry)]
            heapq.heapify(self.entries)

    def is_living(self, entry: Tuple[float, str]) -> bool:
        """Return whether an entry says what is so."""
        attempt = self._members.get(entry[1])
        return attempt is not None and self._is_true(entry[0], attempt)

    def heads(self) -> List[AttemptRecord]:
        """Return the very first that is a member still, and those of the next few that stand near it in the heap."""
        while self.entries and not self.is_living(self.entries[0]):
            heapq.heappop(self.entries)
        return [self._members[entry[1]] for entry in self.entries[:HEADS] if self.is_living(entry)]


class LeadingAttempts:
    """Hold one attempt of each running subtask of pure tasks: the newest, which is on the fastest of its devices."""

    def __init__(self) -> None:
        #: attempt id -> attempt, in order of start: exactly those that run alone.
        self.alone: OrderedDict[str, AttemptRecord] = OrderedDict()
        #: Those of them on devices that are quiet, in the order in which these fell quiet.
        self.quiet: OrderedDict[str, AttemptRecord] = OrderedDict()
        #: attempt id -> attempt: exactly the newest of each subtask that has several.
        self.ahead: Dict[str, AttemptRecord] = {}
        self._by_end = AttemptHeap(self.alone, lambda number, attempt: number == -attempt.expected_end)
        self._by_speed = AttemptHeap(self.ahead)

    def add(self, attempt: AttemptRecord, *, is_alone: bool, is_quiet: bool, speed: float) -> None:
        """Take note of who leads a subtask now, on a device of this speed."""
        if not is_alone:
            self.ahead[attempt.attempt_id] = attempt
            self._by_speed.add(speed, attempt)
            return
        self.alone[attempt.attempt_id] = attempt
        self._by_end.add(-attempt.expected_end, attempt)
        if is_quiet:
            self.quiet[attempt.attempt_id] = attempt

    def remove(self, attempt: AttemptRecord) -> None:
        """Forget an attempt that has ended or no longer leads; others are fine."""
        self.alone.pop(attempt.attempt_id, None)
        self.quiet.pop(attempt.attempt_id, None)
        self.ahead.pop(attempt.attempt_id, None)

    def reorder(self, attempt: AttemptRecord) -> None:
        """Take note that an attempt is expected to end at another time; others than those alone are fine."""
        if attempt.attempt_id in self.alone:
            self._by_end.add(-attempt.expected_end, attempt)

    def oldest(self) -> Optional[AttemptRecord]:
        """Return what runs longest, alone if there is such, or None when nothing runs."""
        return next(iter(self.alone.values()), None) or next(iter(self.ahead.values()), None)

    def quiet_heads(self) -> List[AttemptRecord]:
        """Return the first few that run alone on devices that fell quiet."""
        return list(islice(self.quiet.values(), HEADS))

    def heads(self) -> List[AttemptRecord]:
        """Return the few that may deserve it most: running longest, expected to end last, ahead on slow devices."""
        found = dict(islice(self.alone.items(), HEADS))
        for attempt in self._by_end.heads() + self._by_speed.heads():
            found[attempt.attempt_id] = attempt
        return list(found.values())

    def check(self, tasks: Iterable[ScheduledTask]) -> None:
        """Assert the invariants written beside the fields."""
        alone: Set[str] = set()
        ahead: Set[str] = set()
        for task in tasks:
            for each in task.live.values() if task.pure else ():
                live = each.subtask.live
                (alone if len(live) == 1 else ahead).add(next(reversed(live)))
        assert self.alone.keys() == alone and self.ahead.keys() == ahead
        assert set(self.quiet) <= alone
        assert set(self.alone) == {entry[1] for entry in self._by_end.entries if self._by_end.is_living(entry)}
        assert set(self.ahead) == {entry[1] for entry in self._by_speed.entries if self._by_speed.is_living(entry)}
