"""Say what a piece of work weighs with all that it names, and whether a device has room for it.

Knows:   the data of a subtask and the blobs that its `lite` lists.
Refuses: to look into either.
Read next: roles/worker.py and roles/attempts.py (who ask, at both ends).
"""

from __future__ import annotations

from ..model.limits import MIB
from ..model.task import SubTask
from .blobs import needs_of


def weight_of(subtask: SubTask) -> int:
    """Return the bytes of a subtask and of the values that it names."""
    return len(subtask.subtask_data) + sum({need.sha256: need.size for need in needs_of(subtask.lite)}.values())


def too_heavy(weight: int, room: int) -> str:
    """Say that a device with so much room for work cannot take so much, "" where it can."""
    if weight <= room:
        return ""
    return (f"this piece weighs {weight / MIB:.0f} MB with what it names, and the device has {room / MIB:.0f} MB for"
            " work; make the pieces smaller, or it runs where there is room")
