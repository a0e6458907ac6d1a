"""Tell why work is kept from devices that have room for it, and look again when more is known.

Knows:   what core/worth.py has weighed.
Refuses: to weigh.
Read next: core/scheduler.py (who asks), core/worth.py.
"""

from __future__ import annotations

from typing import Any, Iterable, List

from .endings import tell_line
from .ledger import Ledger
from .pools import DevicePool
from .reasons import is_stalled, why_kept, why_no_device
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


def tell_stalled(books: Ledger, tasks: Iterable[ScheduledTask], actions: List[Any]) -> None:
    """Tell of each task that nobody can be given work of that this is so."""
    for task in tasks:
        if is_stalled(books, task):
            task.told_waiting = True
            tell_line(task, why_no_device(books, task), actions)


def tell_stalled_news(books: Ledger, actions: List[Any]) -> None:
    """Tell the same where nobody has been suitable for tasks of a kind since it was looked at last."""
    for pool in books.pools.values():
        if pool.stalled_news:
            pool.stalled_news = False
            tell_stalled(books, pool.tasks.values(), actions)
