"""Decide which node answers for a task, and which other one keeps a copy in case that node is gone.

Knows:   terms: whoever takes a task over answers for it in the next one.
Refuses: to count votes: two owners at once are harmless, since results are kept by subtask, so two devices are enough.
Read next: roles/copies.py (who obeys), core/journal.py (what is copied).
"""

from __future__ import annotations

from typing import List, NamedTuple, Optional, Sequence

#: Characters of a device's id; a requirement of this length names a device, and its task goes nowhere else.
DEVICE_ID_CHARS = 52


class Claim(NamedTuple):
    """Say who answers for a task, in which of its terms."""

    term: int
    owner_id: str


class KeeperCandidate(NamedTuple):
    """Describe a device that could keep a copy: one that may be given work."""

    device_id: str
    is_phone: bool = False


def outranks(claim: Claim, other: Claim) -> bool:
    """Whether the first of two owners stays one: that of the later term; of one term, the smaller id."""
    return (-claim.term, claim.owner_id) < (-other.term, other.owner_id)


def named_devices(requires: Sequence[str]) -> List[str]:
    """Return the devices that a task's requirements name by their whole ids."""
    return [name for name in requires if len(name) == DEVICE_ID_CHARS]


def choose_keeper(
    candidates: Sequence[KeeperCandidate], claim: Claim, first_owner_id: str, requires: Sequence[str]
) -> Optional[str]:
    """Return the device that is to keep the copy of a task, None where none may.

    Best is where it was submitted: its result is asked for there. A phone comes last. What is bound to devices by its
    requirements is private to them and to where it was submitted: its copy goes to one of these or nowhere.
    """
    named = named_devices(requires)
    allowed = [
        each for each in candidates
        if each.device_id != claim.owner_id and (not named or each.device_id in (*named, first_owner_id))
    ]
    allowed.sort(key=lambda each: (each.device_id != first_owner_id, each.is_phone, each.device_id))
    return allowed[0].device_id if allowed else None
