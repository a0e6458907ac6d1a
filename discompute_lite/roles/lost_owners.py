"""Notice that a node is gone whose tasks are kept here, go on with them, and let them rest where the rules say so.

Knows:   since when an owner is missed, what rests here and why, and what an owner that is back needs no more.
Refuses: to decide who answers for a task (core/ownership.py) and whose work runs here (roles/own_rules.py).
Read next: roles/copies.py (whose copies these are).

What rests is looked at again whenever the rules here change, and one such task at each look at the device
(roles/feelings.py): the hour of the day may allow it by now.
"""

from __future__ import annotations

from typing import Any, Callable, Dict

from ..core.ownership import next_term
from ..model.codec import from_json
from ..model.device import short_id
from ..model.errors import DiscomputeError
from .held_copies import HeldCopy
from .keeping_methods import NeedCopiesAnswer
from .ports import TimerPort


class LostOwners:
    """Go on with the tasks of others that are gone."""

    def __init__(
        self, node: Any, coordinator: Any, held: Dict[str, HeldCopy], remove: Callable[[str], None]
    ) -> None:
        self._node = node
        self._coordinator = coordinator
        #: The copies that are here, by task: those of roles/copies.py; `remove` takes one away.
        self._held, self._remove = held, remove
        #: device id -> when its tasks are taken over: of owners that are gone.
        self._leases: Dict[str, TimerPort] = {}

    def why_waiting(self, task_id: str) -> str:
        """Say what a task waits for whose own node is gone, or has lost it; "" where that node itself can say it."""
        held = self._held.get(task_id)
        is_there = held is not None and self._is_there(held)
        if held is None or (is_there and not held.record.rests):
            return ""
        record, lease_s = held.record, self._node.settings_limits.owner_lease_s
        later = self._why_it_rests(held) or f"once it is gone for {lease_s:g} s, this node goes on with the task"
        if record.is_over:
            later = f"the task is over: {record.message or record.state.value.lower()}"
        return f"its node {short_id(held.claim.owner_id)} {'has lost it' if is_there else 'cannot be reached'}; {later}"

    def _is_there(self, held: HeldCopy) -> bool:
        return self._node.link_for_work(held.claim.owner_id) is not None

    def missed(self, device_id: str) -> None:
        """A device is gone: so is the owner of what is here of its tasks."""
        waiting = [held for held in self._held.values() if held.claim.owner_id == device_id]
        for held in waiting:
            if not held.record.owner_lost_at:
                held.record.owner_lost_at, held.record.rests = self._node.wall(), self._why_it_rests(held)
        if waiting and device_id not in self._leases:
            lease_s = self._node.settings_limits.owner_lease_s
            self._leases[device_id] = self._node.clock.call_later(lease_s, self._lease_over, device_id)

    def is_back(self, device_id: str) -> None:
        """A device can be called that may have been missed: what it needs no more is kept no more."""
        lease = self._leases.pop(device_id, None)
        if lease is not None:
            lease.cancel()
        held = {task_id: each for task_id, each in self._held.items() if each.claim.owner_id == device_id}
        for each in held.values():
            each.record.owner_lost_at, each.record.rests = 0.0, ""
        link = self._node.link_for_work(device_id) if held else None
        if link is not None:
            link.call("NeedCopies", {"task_ids": list(held)}, lambda result, error: (
                None if error is not None else self._needs_known(held, result)))

    def _needs_known(self, asked: Dict[str, HeldCopy], result: Any) -> None:
        try:
            needs = from_json(NeedCopiesAnswer, result, "the answer to NeedCopies")
        except DiscomputeError:
            return
        for task_id, held in asked.items():
            if self._held.get(task_id) is not held:
                continue
            if task_id in needs.lost and not held.record.is_over:
                self._take_over(held, "has lost it")
            elif task_id not in (*needs.needed, *needs.lost):
                self._remove(task_id)

    def look_again(self, *, is_all: bool = True) -> None:
        """Go on with tasks that rest here, where the rules allow that by now: other rules may, or the hour of the day.

        Without `is_all` the first that still rests is the last that is looked at; the next time it comes last.
        """
        for task_id, held in [each for each in self._held.items() if each[1].record.rests]:
            if held.claim.owner_id not in self._leases:
                self._take_over(held, "has lost it" if self._is_there(held) else "is gone", is_noted=is_all)
            if held.record.rests and not is_all:
                self._held[task_id] = self._held.pop(task_id)
                break

    def _lease_over(self, device_id: str) -> None:
        self._leases.pop(device_id, None)
        if self._node.link_for_work(device_id) is not None:
            return
        for task_id, held in list(self._held.items()):
            record = held.record
            if held.claim.owner_id != device_id:
                continue
            if record.is_over:
                kept_s = self._node.settings_limits.result_kept_s
                self._node.clock.call_later(kept_s, self.expired, task_id, held)
            else:
                self._take_over(held, "is gone")

    def _take_over(self, held: HeldCopy, why: str, *, is_noted: bool = True) -> None:
        record, owner = held.record, f"{short_id(held.claim.owner_id)} {why}"
        task_id = short_id(record.task.task_id)
        record.rests = self._why_it_rests(held, is_noted=is_noted)
        if not record.rests:
            record.term, record.owner_lost_at = next_term(held.claim.term), 0.0
            self._node.tell("note", f"task {task_id} goes on here: {owner}")
            self._coordinator.adopt(record)
            self._coordinator.copies.claims.took_over(record)
        elif is_noted:
            self._node.tell("note", f"task {task_id} rests: {owner}, whose work this device's rules refuse")

    def _why_it_rests(self, held: HeldCopy, *, is_noted: bool = False) -> str:
        owner_id = held.claim.owner_id
        refusal = self._coordinator.copies.claims.refusal_here(owner_id, held.record, is_noted=is_noted)
        if refusal is None:
            return ""
        owner, rule = short_id(owner_id), refusal.data.get("rule")
        back = "" if self._is_there(held) else f", or {owner} once it is back"
        return f"it rests, as the rule {rule!r} keeps work of {owner} from here: this node goes on once it may{back}"

    def expired(self, task_id: str, held: HeldCopy) -> None:
        """Nobody has asked for this result, and its owner has not come back."""
        if self._held.get(task_id) is held:
            self._remove(task_id)
