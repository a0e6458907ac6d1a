"""Know which tasks share one part of the devices: those of a script, say, however many functions it calls.

Knows:   the unfinished tasks of each party.
Refuses: to say whose turn it is; core/pools.py does.
Read next: core/scheduler.py (where slot seconds are booked), roles/streams.py (whose tasks have a party).
"""

from __future__ import annotations

from itertools import islice
from typing import Dict

from .records import ScheduledTask

#: Tasks of one party that are looked at to tell how many share its part: a script has a handful at work.
PARTY_LOOKED_AT = 64


class Parties:
    """Hold the tasks of parties; a task without one has a part of its own."""

    def __init__(self) -> None:
        #: party -> task id -> task: no empty ones.
        self.tasks: Dict[str, Dict[str, ScheduledTask]] = {}

    def enter(self, task: ScheduledTask) -> None:
        """Take in a new task."""
        if task.party:
            self.tasks.setdefault(task.party, {})[task.task_id] = task

    def leave(self, task: ScheduledTask) -> None:
        """Forget a task that has ended."""
        party = self.tasks.get(task.party, {})
        party.pop(task.task_id, None)
        if not party:
            self.tasks.pop(task.party, None)

    def sharers_of(self, task: ScheduledTask) -> int:
        """Return how many tasks with something to do share this one's part, itself included.

        What a task is given is booked so many times on it: so its party gets no more than one task alone would.
        """
        others = islice(self.tasks.get(task.party, {}).values(), PARTY_LOOKED_AT)
        return 1 + sum(1 for each in others if each is not task and (each.live or each.waiting))
