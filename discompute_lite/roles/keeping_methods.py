"""Name the methods about tasks that are kept: what `roles/methods.py` is for the rest.

Knows:   each method's name, parameters, answer and who may call it.
Refuses: to do the work.
Read next: roles/durability.py (what is kept).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional

from ..core.ownership import Claim
from .methods import ExplainTaskAnswer, method
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
    #: Nobody needs it any more: its result came to whoever submitted it.
    is_shown: bool = False


@dataclass(frozen=True)
class NeedCopiesAnswer:
    """Name the tasks whose copies are still needed, and those of which the copy is all that is left."""

    needed: List[str] = field(default_factory=list)
    lost: List[str] = field(default_factory=list)


@dataclass(frozen=True)
class OwnerSaid:
    """Say who answers for a task, in which of its terms, with the proof of having had it (core/ownership.py)."""

    task_id: str = ""
    term: int = 0
    owner_id: str = ""
    proof: str = ""


@dataclass(frozen=True)
class CompareOwnersAnswer:
    """Name the tasks that others than the caller answer for, and those whose results were shown here, with proofs."""

    others: List[OwnerSaid] = field(default_factory=list)
    shown: List[str] = field(default_factory=list)
    shown_proofs: Dict[str, str] = field(default_factory=dict)


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


@method("NeedCopies", level="device")
def need_copies(node: Any, link: LinkPort, task_ids: Optional[List[str]] = None) -> NeedCopiesAnswer:
    """Say of tasks of ours that the caller keeps copies of whether we still need these, or have nothing else left."""
    return node.coordinator.copies.needs_of(link.peer.node_id, task_ids or [])


@method("CompareOwners", level="work")
def compare_owners(
    node: Any, link: LinkPort, terms: Optional[Dict[str, int]] = None, proofs: Optional[Dict[str, str]] = None
) -> CompareOwnersAnswer:
    """Hear which tasks the caller answers for, in which terms, and by which proof; name those that others do by now."""
    if not link.peer.node_id:
        return CompareOwnersAnswer()
    return node.coordinator.copies.claims.compared(link.peer.node_id, terms or {}, proofs or {})


@method("ExplainTask", level="device")
def explain_task(node: Any, link: LinkPort, task_id: str = "", index: int = -1) -> ExplainTaskAnswer:
    """Say in words why a task, or the subtask `index` of it, waits, is where it is, or was tried again."""
    if link.verified_id and not node.coordinator.copies.is_kept_at(task_id, link.verified_id):
        return ExplainTaskAnswer(False, "this device keeps no copy of such a task; ask where it was submitted")
    return node.coordinator.explain(task_id, index)


@method("AcknowledgeResult", level="work")
def acknowledge_result(node: Any, link: LinkPort, task_id: str = "") -> AcknowledgeResultAnswer:
    """Say that a result has arrived: it is deleted from the disk now, and from memory ten minutes later."""
    # Of the devices, the one that keeps the task's copy: where it was submitted, if another took it over.
    if link.verified_id and not node.coordinator.copies.is_kept_at(task_id, link.verified_id):
        return AcknowledgeResultAnswer(False, "this device keeps no copy of such a task; say it where it was submitted")
    return node.coordinator.acknowledge(task_id, is_elsewhere=bool(link.verified_id))
