"""Tell why work is kept from devices that have room for it, and look again when more is known.

Knows:   what core/worth.py has weighed.
Refuses: to weigh.
Read next: core/scheduler.py (who asks), core/worth.py.
"""

from __future__ import annotations

from typing import Any, List

from .endings import tell_line
from .ledger import Ledger
from .pools import DevicePool
from .reasons import why_kept
from .records import ScheduledTask

#: While nobody knows how long a piece takes, what is kept is weighed again each time that what runs is twice as old,
#: and not sooner than this, seconds.
WEIGH_LEAST_S = 0.01


def note_kept(books: Ledger, pool: DevicePool, task: ScheduledTask, now: float, actions: List[Any]) -> None:
    """Tell, once a task, that it keeps to the fastest device, where the way to others is the reason."""
    keeping = pool.kept.get(task.task_id)
    if keeping is None:
        return
    if not task.pace.count:
        if ("weigh", pool.key) not in books.deadlines:
            age_s = pool.weigher.age_s(task, keeping.fastest_id, now)
            books.deadlines.set(("weigh", pool.key), now + max(WEIGH_LEAST_S, age_s))
    elif not task.told_kept and keeping.way_s > keeping.there_s / 2:
        task.told_kept = True
        tell_line(task, why_kept(keeping), actions)
