"""Decide which node answers for a task, and which other one keeps a copy in case that node is gone.

Knows:   terms: whoever takes a task over answers for it in the next one; who may say so: whoever had a copy.
Refuses: to count votes: two owners at once are harmless, since results are kept by subtask, so two devices are enough.
Read next: roles/copies.py (who obeys), core/journal.py (what is copied).
"""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import List, NamedTuple, Optional, Sequence

#: Characters of a device's id; a requirement of this length names a device, and its task goes nowhere else.
DEVICE_ID_CHARS = 52
#: The last term there is: half a year in which owners are lost every 15 s. Who names a later one has counted nothing.
MOST_TERM = 1_000_000


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


def next_term(term: int) -> int:
    """Return the term of whoever takes over from an owner in this one."""
    return min(term + 1, MOST_TERM)


def proof_of(secret: str, task_id: str, *said: object) -> str:
    """Return what only they can say who know a task's secret: its owners and those who had its copy, nobody else.

    Its workers know its id, and whoever may send work can call everybody; but what they say of it proves nothing. A
    task of a version that had no secrets has "", and everybody is believed.
    """
    words = json.dumps([task_id, *said]).encode("ascii")
    return hmac.new(secret.encode("ascii", "replace"), words, hashlib.sha256).hexdigest() if secret else ""


def is_proven(proof: str, secret: str, task_id: str, *said: object) -> bool:
    """Whether whoever said this about a task knows its secret."""
    return hmac.compare_digest(proof.encode(), proof_of(secret, task_id, *said).encode()) or not secret


def is_believed(claim: Claim, proof: str, secret: str, task_id: str) -> bool:
    """Whether a claim to answer for a task may count: in a term that can be, from somebody who had the task."""
    return 1 <= claim.term <= MOST_TERM and is_proven(proof, secret, task_id, *claim)


def named_devices(requires: Sequence[str]) -> List[str]:
    """Return the devices that a task's requirements name by their whole ids."""
    return [name for name in requires if len(name) == DEVICE_ID_CHARS]


def may_answer_for(device_id: str, first_owner_id: str, requires: Sequence[str]) -> bool:
    """Whether a task may be known to a device at all: one bound to devices is theirs, and of where it was submitted."""
    named = named_devices(requires)
    return not named or device_id in (*named, first_owner_id)


def choose_keeper(
    candidates: Sequence[KeeperCandidate], claim: Claim, first_owner_id: str, requires: Sequence[str]
) -> Optional[str]:
    """Return the device that is to keep the copy of a task, None where none may.

    Best is where it was submitted: its result is asked for there. A phone comes last. What is bound to devices by its
    requirements is private to them and to where it was submitted: its copy goes to one of these or nowhere.
    """
    allowed = [
        each for each in candidates
        if each.device_id != claim.owner_id and may_answer_for(each.device_id, first_owner_id, requires)
    ]
    allowed.sort(key=lambda each: (each.device_id != first_owner_id, each.is_phone, each.device_id))
    return allowed[0].device_id if allowed else None
