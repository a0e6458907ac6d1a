"""Settle who answers for a task that two nodes took for theirs, each while it could not see the other.

Knows:   which tasks are told to whom, and what follows from an answer.
Refuses: to decide which of two claims counts (core/ownership.py does).
Read next: roles/copies.py (who takes a task over, and asks here).

A copy alone does not settle it: two owners may have their copies at two devices, and one whose task is over sends no
more. So each tells the other what it answers for as soon as they can call each other, and everybody when it takes over:
everybody who may know of the task, whose id is all that it takes to cancel it. To be believed it takes more: a proof of
having had the task as its owner or its copy, which no worker can give and nobody who may merely send work.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Dict, List, Optional

from ..core.ownership import MOST_TERM, Claim, is_believed, is_proven, may_answer_for, outranks, proof_of
from ..model.codec import from_json
from ..model.errors import DiscomputeError
from .coordinated import CoordinatedTask
from .keeping_methods import CompareOwnersAnswer, OwnerSaid


#: What is proved where a task's result was shown.
SHOWN = "shown"


class Claims:
    """Compare what one node answers for with what others do."""

    def __init__(self, node: Any, coordinator: Any) -> None:
        self._node = node
        self._coordinator = coordinator
        #: Tasks taken over of which nobody has been told: of an owner that is gone there may be hundreds.
        self._taken_over: List[CoordinatedTask] = []

    def secret_of(self, task_id: str) -> str:
        """Return the secret of a task of this id that is submitted here, for ever the same, so that its copy is known.

        It is "" where nobody else will ever have a copy.
        """
        node = self._node
        return proof_of(node.identity.token, task_id, node.id) if node.world.trust is not None else ""

    def is_own(self, record: CoordinatedTask) -> bool:
        """Whether a task was submitted here: it is this device's own work, wherever it has been since."""
        node = self._node
        return (record.first_owner_id or node.id) == node.id and is_proven(
            record.secret, node.identity.token, record.task.task_id, node.id)

    def refusal_here(
        self, owner_id: str, record: CoordinatedTask, *, is_noted: bool = True
    ) -> Optional[DiscomputeError]:
        """Return why this device may not go on with a task that this other node answers for, None where it may."""
        task = record.task
        if self.is_own(record) or record.is_over:
            return None
        pieces = [task.task_data, *(each.subtask_data for each in record.subtasks)]
        refusal: Optional[DiscomputeError] = self._node.rules.refusal_of_task(
            owner_id, task.task_type, map(bytes, pieces), is_noted=is_noted)
        return refusal

    def compare(self, device_id: str, records: List[CoordinatedTask]) -> None:
        """Tell a device that can be called which tasks this node answers for, and hear of those it does no more."""
        link = self._node.link_for_work(device_id)
        told = {
            record.task.task_id: record for record in records if link is not None and may_answer_for(
                device_id, record.first_owner_id or self._node.id, record.task.required_capabilities)
        }
        if link is not None and told:
            terms = {task_id: record.term for task_id, record in told.items()}
            proofs = {key: proof_of(told[key].secret, key, term, self._node.id) for key, term in terms.items()}
            link.call("CompareOwners", {"terms": terms, "proofs": proofs}, partial(self._answered, device_id, terms))

    def took_over(self, record: CoordinatedTask) -> None:
        """Tell everybody of a task that this node answers for from now on: who did before may be known to some."""
        if not self._taken_over:
            self._node.clock.post(self._tell_taken_over)
        self._taken_over.append(record)

    def _tell_taken_over(self) -> None:
        """Tell each device of all that were taken over at once, in one call."""
        taken, self._taken_over = self._taken_over, []
        ours = [record for record in taken if self._coordinator.own_record(record.task.task_id) is record]
        for known in list(self._node.discovery.registry.devices()):
            self.compare(known.device_id, ours)

    def compared(self, sender: str, terms: Dict[str, int], proofs: Dict[str, str]) -> CompareOwnersAnswer:
        """Give up what the sender answers for by now, and say of which of its tasks it knows too little."""
        answer, copies = CompareOwnersAnswer(), self._coordinator.copies
        for task_id, term in terms.items():
            theirs, record = Claim(term, sender), self._coordinator.own_record(task_id)
            known = record or copies.record_of(task_id)
            if known is None:
                continue
            if not is_believed(theirs, proofs.get(task_id, ""), known.secret, task_id):
                self._node.count("unproven_claims")
                continue
            if record is not None and self._coordinator.was_shown(record):
                answer.shown.append(task_id)
                answer.shown_proofs[task_id] = proof_of(known.secret, task_id, SHOWN, self._node.id)
                continue
            other = copies.claim_of(task_id) if record is None else Claim(record.term, self._node.id)
            if other is None or other.owner_id == sender:
                continue
            if outranks(other, theirs):
                proof = proof_of(known.secret, task_id, *other)
                answer.others.append(OwnerSaid(task_id, other.term, other.owner_id, proof))
            elif record is not None:
                self._coordinator.give_up(record, theirs)
        return answer

    def _answered(
        self, device_id: str, asked: Dict[str, int], result: Any, error: Optional[DiscomputeError]
    ) -> None:
        try:
            said = from_json(CompareOwnersAnswer, result, "the answer to CompareOwners") if error is None else None
        except DiscomputeError:
            said = None
        if said is None:
            return
        for task_id in said.shown:
            record, proof = self._asked_about(task_id, asked), said.shown_proofs.get(task_id, "")
            if record is not None and is_proven(proof, record.secret, task_id, SHOWN, device_id):
                self._coordinator.acknowledge(task_id, is_elsewhere=True)
        for other in said.others:
            record, claim = self._asked_about(other.task_id, asked), Claim(other.term, other.owner_id)
            if (
                record is not None and is_believed(claim, other.proof, record.secret, other.task_id)
                and outranks(claim, Claim(record.term, self._node.id))
            ):
                self._coordinator.give_up(record, claim)

    def _asked_about(self, task_id: str, asked: Dict[str, int]) -> Optional[CoordinatedTask]:
        record: Optional[CoordinatedTask] = self._coordinator.own_record(task_id) if task_id in asked else None
        return record


def refusal_of_claim(claim: Claim, known: Optional[CoordinatedTask], told: CoordinatedTask) -> str:
    """Say why nobody is believed to answer for a task by what it sends of it, "" where it is.

    Of a task that is known here its other owners had a copy, and with it the secret.
    """
    if not 1 <= claim.term <= MOST_TERM:
        return f"a task has terms from 1 to {MOST_TERM}"
    return "another task has this id here" if known is not None and told.secret != known.secret else ""
