"""Name the methods about tasks that are kept: what `roles/methods.py` is for the rest.

Knows:   each method's name, parameters, answer and who may call it.
Refuses: to do the work.
Read next: roles/durability.py (what is kept).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..core.ownership import Claim
from .methods import method
from .ports import LinkPort


@dataclass(frozen=True)
class AcknowledgeResultAnswer:
    """Say whether there was something to delete."""

    success: bool = False
    message: str = ""


@dataclass(frozen=True)
class KeepTaskAnswer:
    """Say whether it is kept; if another node answers for the task by now, `owner_id` is that one."""

    success: bool = False
    message: str = ""
    owner_id: str = ""


@method("KeepTask", level="work")
def keep_task(
    node: Any, link: LinkPort, task_id: str = "", term: int = 0, lines: bytes = b"", is_whole: bool = False,
    is_over: bool = False,
) -> KeepTaskAnswer:
    """Keep the copy of a task for the calling node: its journal's lines, all or the next ones, or none any more."""
    if not link.peer.node_id:
        return KeepTaskAnswer(False, "only a node can leave the copy of a task; say Hello with your node_id first")
    if is_over:
        return node.coordinator.copies.drop(link.peer.node_id, task_id)
    return node.coordinator.copies.keep(Claim(term, link.peer.node_id), task_id, bytes(lines), is_whole)


@method("AcknowledgeResult", level="work")
def acknowledge_result(node: Any, link: LinkPort, task_id: str = "") -> AcknowledgeResultAnswer:
    """Say that a result has arrived: it is deleted from the disk now, and from memory ten minutes later."""
    # Of the devices, the one that keeps the task's copy: where it was submitted, if another took it over.
    if link.verified_id and not node.coordinator.copies.is_kept_at(task_id, link.verified_id):
        return AcknowledgeResultAnswer(False, "this device keeps no copy of such a task; say it where it was submitted")
    return node.coordinator.acknowledge(task_id)
