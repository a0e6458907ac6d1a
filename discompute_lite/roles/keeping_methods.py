"""Name the methods about tasks that are kept: what `roles/methods.py` is for the rest.

Knows:   each method's name, parameters, answer and who may call it.
Refuses: to do the work.
Read next: roles/durability.py (what is kept).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .methods import method
from .ports import LinkPort


@dataclass(frozen=True)
class AcknowledgeResultAnswer:
    """Say whether there was something to delete."""

    success: bool = False
    message: str = ""


@method("AcknowledgeResult", level="owner")
def acknowledge_result(node: Any, link: LinkPort, task_id: str = "") -> AcknowledgeResultAnswer:
    """Say that a result has arrived: it is deleted from the disk now, and from memory ten minutes later."""
    return node.coordinator.acknowledge(task_id)
