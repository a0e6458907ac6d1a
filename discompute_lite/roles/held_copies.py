"""Hold what this node knows of other nodes' tasks, and say whether there is room for more of it.

Knows:   what each copy says, how large it is, and whose share of the room it takes.
Refuses: to decide who answers for a task, and to write lines (roles/copies.py does).
Read next: roles/copies.py (who holds them).

Each device that may send work has its share of places and bytes for certain, whatever others have left here before it
came. More than that it may have while as much again stays free.
"""

from __future__ import annotations

from typing import Any, Dict, Iterable, Tuple

from ..core.journal import OwnerNamed, TaskClosed, TaskDivided
from ..core.ownership import Claim
from ..model.errors import ParseError
from ..model.limits import Limits
from ..wire.strict_json import parse_strict
from .coordinated import CoordinatedTask


class HeldCopy:
    """Hold the copy of somebody else's task: what it says; its lines are on the disk."""

    __slots__ = ("claim", "record", "chain", "size", "is_own")

    def __init__(self, claim: Claim, record: CoordinatedTask, chain: int, size: int, *, is_own: bool) -> None:
        self.claim = claim
        self.record = record
        #: The number of its last line (core/journal.py), and the bytes of all of them.
        self.chain, self.size = chain, size
        #: It was submitted here: it takes nobody's share, and has room.
        self.is_own = is_own


def why_no_room(held: Dict[str, HeldCopy], claim: Claim, of_task: Tuple[str, int], limits: Limits, sharers: int) -> str:
    """Say why there is no room for the copy of a task with so many bytes, "" where there is: what is here may stay.

    `held` are all copies by task; `sharers` is the number of devices that may leave some here.
    """
    task_id, size = of_task
    there = held.get(task_id)
    before = there.size if there is not None and there.claim.owner_id == claim.owner_id else -1
    others = [each for other_id, each in held.items() if other_id != task_id and not each.is_own]
    senders = [each.size for each in others if each.claim.owner_id == claim.owner_id]
    bounds = (
        ("copies", before < 0, limits.tasks, len(senders) + 1, len(others) + 1),
        ("bytes of copies", size > before, limits.outcome_bytes, sum(senders) + size,
         sum(each.size for each in others) + size),
    )
    for what, is_more, most, its, all_together in bounds:
        # Rounded up, so that of more devices than places each has one.
        share = -(-most // max(1, sharers))
        if is_more and its > max(share, most - all_together):
            return f"this node keeps {share} {what} for each device"
    return ""


def names_owner(entries: Iterable[Any]) -> bool:
    """Whether any of these entries names a task's owner anew."""
    return any(isinstance(entry, OwnerNamed) for entry in entries)


def most_subtasks(entries: Iterable[Any]) -> int:
    """Return how many subtasks any of these entries gives a task, at most."""
    return max((len(entry.parts if isinstance(entry, TaskDivided) else entry.subtasks)
                for entry in entries if isinstance(entry, (TaskDivided, TaskClosed))), default=0)


def is_strict(lines: bytes) -> bool:
    """Whether lines of a journal say nothing that no message may say: whoever asks is told what is kept here."""
    try:
        for line in lines.splitlines():
            parse_strict(line)
    except ParseError:
        return False
    return True
