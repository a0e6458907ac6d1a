"""Keep a copy of each task on a second node, and take a task over when the node that answers for it is gone.

Knows:   where the copies of our tasks are and how much of them is there; the copies that others keep here.
Refuses: to decide who may keep or own what (core/ownership.py does).
Read next: roles/durability.py (our own journals), roles/coordinator.py (who adopts a task).

A copy is a journal of its own, sent by `KeepTask` piece by piece, one call at a time: whole at first, then what is new.
"""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Tuple

from ..core.journal import JournalWriter, read_journal
from ..core.ownership import Claim, KeeperCandidate, choose_keeper, outranks
from ..model.codec import from_json
from ..model.device import PHONE_TYPES, short_id
from ..model.errors import DiscomputeError, Unavailable
from .coordinated import CoordinatedTask
from .durability import COPY_MARK, entries_of, journal_name, restored_task, retell
from .keeping_methods import KeepTaskAnswer
from .ports import Later

#: Seconds between two looks whether the copy of a task has come that another node has taken over; and how many.
COPY_LOOK_S, COPY_LOOKS = 0.1, 100


class SentCopy:
    """Hold how much of one of our tasks another node has."""

    __slots__ = ("device_id", "writer", "entries", "is_whole", "is_busy")

    def __init__(self, device_id: str) -> None:
        self.device_id = device_id
        self.writer = JournalWriter()
        #: What is new since the last call; nothing counts while the whole is to be sent.
        self.entries: List[Any] = []
        self.is_whole = True
        self.is_busy = False


class HeldCopy:
    """Hold the copy of somebody else's task: what it says; its lines are on the disk."""

    __slots__ = ("claim", "record", "chain")

    def __init__(self, claim: Claim, record: CoordinatedTask, chain: int) -> None:
        self.claim = claim
        self.record = record
        #: The number of its last line (core/journal.py).
        self.chain = chain


class Copies:
    """Send and hold the copies of one node."""

    def __init__(self, node: Any, coordinator: Any) -> None:
        self._node = node
        self._coordinator = coordinator
        #: task id -> where our task's copy is.
        self._sent: Dict[str, SentCopy] = {}
        #: task id -> the copy that is here; never of a task that we answer for.
        self._held: Dict[str, HeldCopy] = {}

    # ---- our tasks ----------------------------------------------------------------------------------

    def changed(self, record: CoordinatedTask, entry: Any) -> None:
        """A task of ours has one entry more, or with None is another as a whole."""
        copy = self._sent.get(record.task.task_id) or self._choose(record)
        if copy is not None:
            if entry is None:
                copy.is_whole = True
            copy.entries.append(entry)
            self._send(record, copy)

    def forgotten(self, task_id: str) -> None:
        """A task of ours is kept no longer: nor is its copy."""
        copy = self._sent.pop(task_id, None)
        link = None if copy is None else self._node.link_for_work(copy.device_id)
        if link is not None:
            link.call("KeepTask", {"task_id": task_id, "is_over": True}, lambda result, error: None)

    def is_kept_at(self, task_id: str, device_id: str) -> bool:
        """Whether the copy of a task of ours is at this device."""
        copy = self._sent.get(task_id)
        return copy is not None and copy.device_id == device_id

    def link_opened(self, device_id: str) -> None:
        """A device can be called: it may keep copies, and may have been missed as their owner."""
        for held in self._held.values():
            if held.claim.owner_id == device_id:
                held.record.owner_lost_at = 0.0
        for record in self._coordinator.kept_records():
            copy = self._sent.get(record.task.task_id)
            if copy is None or device_id in (copy.device_id, record.first_owner_id):
                self._sent.pop(record.task.task_id, None)
                self.changed(record, None)

    def device_lost(self, device_id: str) -> None:
        """A device is gone: with it the copies that it had, and the owner of those that are here."""
        for task_id in [key for key, copy in self._sent.items() if copy.device_id == device_id]:
            del self._sent[task_id]
        for record in self._coordinator.kept_records():
            if record.task.task_id not in self._sent:
                self.changed(record, None)
        self._await_owner(device_id)

    def _choose(self, record: CoordinatedTask) -> Optional[SentCopy]:
        candidates = [
            KeeperCandidate(known.device_id, known.device.type in PHONE_TYPES)
            for known in self._node.discovery.registry.devices()
            if self._node.link_for_work(known.device_id) is not None
        ]
        claim = Claim(record.term, self._node.id)
        first_owner_id = record.first_owner_id or self._node.id
        device_id = choose_keeper(candidates, claim, first_owner_id, record.task.required_capabilities)
        if device_id is None:
            return None
        copy = self._sent[record.task.task_id] = SentCopy(device_id)
        return copy

    def _send(self, record: CoordinatedTask, copy: SentCopy) -> None:
        link = self._node.link_for_work(copy.device_id)
        if copy.is_busy or link is None:
            return
        is_whole, entries = copy.is_whole, copy.entries
        if is_whole:
            copy.writer, entries = JournalWriter(), entries_of(record, self._node.id)
        copy.entries, copy.is_whole, copy.is_busy = [], False, True
        params = {"task_id": record.task.task_id, "term": record.term, "lines": copy.writer.lines(*entries),
                  "is_whole": is_whole}
        link.call("KeepTask", params, lambda result, error: self._answered(record, copy, result, error))

    def _answered(
        self, record: CoordinatedTask, copy: SentCopy, result: Any, error: Optional[DiscomputeError]
    ) -> None:
        task_id = record.task.task_id
        if self._sent.get(task_id) is not copy:
            return
        try:
            answer = from_json(KeepTaskAnswer, result, "the answer to KeepTask") if error is None else KeepTaskAnswer()
        except DiscomputeError:
            answer = KeepTaskAnswer()
        copy.is_busy = False
        if answer.success:
            if copy.entries or copy.is_whole:
                self._send(record, copy)
        elif answer.owner_id:
            del self._sent[task_id]
            self._coordinator.give_up(record, answer.owner_id)
        else:
            # It has lost what was sent, or its link: all of it, when it can be called again.
            copy.is_whole = True

    # ---- the tasks of others ------------------------------------------------------------------------

    def keep(self, claim: Claim, task_id: str, lines: bytes, is_whole: bool) -> KeepTaskAnswer:
        """Keep the copy of a task, or refuse it by the name of its later owner."""
        sender, record = claim.owner_id, self._coordinator.own_record(task_id)
        if record is not None:
            own = Claim(record.term, self._node.id)
            if outranks(own, claim):
                return KeepTaskAnswer(False, "this node has taken it over", self._node.id)
            self._coordinator.give_up(record, sender)
        held = self._held.get(task_id)
        if held is not None and held.claim.owner_id != sender and outranks(held.claim, claim):
            return KeepTaskAnswer(False, "another node has taken it over", held.claim.owner_id)
        name, port = COPY_MARK + journal_name(task_id), self._node.world.journals
        if held is None and len(self._held) >= self._node.settings_limits.tasks:
            return KeepTaskAnswer(False, "this node keeps as many copies as it may")
        if not is_whole and (held is None or held.claim != claim):
            return KeepTaskAnswer(False, "this node has not the beginning of it")
        reading = read_journal(lines, 0 if is_whole or held is None else held.chain)
        record = restored_task(reading.entries) if is_whole or held is None else held.record
        if reading.good_bytes < len(lines) or record is None or record.task.task_id != task_id:
            return KeepTaskAnswer(False, "these lines are not the next ones of this task's journal")
        if is_whole:
            port.replace(name, lines)
            self._held[task_id] = HeldCopy(claim, record, reading.chain)
        else:
            port.append(name, lines)
            retell(record, reading.entries)
            self._held[task_id].chain = reading.chain
        if held is not None:
            held.record.wake_watchers()
        return KeepTaskAnswer(True, "kept")

    def drop(self, sender: str, task_id: str) -> KeepTaskAnswer:
        """Keep the copy no longer, if it is the sender's."""
        held = self._held.get(task_id)
        if held is not None and held.claim.owner_id == sender:
            self._remove(task_id)
        return KeepTaskAnswer(True, "forgotten")

    def restore(self, record: CoordinatedTask, chain: int) -> None:
        """Hold a copy of an earlier life, and see whether its owner is still there."""
        self._held[record.task.task_id] = HeldCopy(Claim(record.term, record.owner_id), record, chain)
        self._await_owner(record.owner_id)

    def owned_here(self, task_id: str) -> None:
        """This node answers for a task by now: its own journal, on its way to the disk, stands for the copy."""
        if task_id in self._held:
            self._remove(task_id)

    def record_of(self, task_id: str) -> Optional[CoordinatedTask]:
        """Return a task of another node, as far as it is known here."""
        held = self._held.get(task_id)
        return None if held is None else held.record

    def answer_when_here(
        self, later: Later, task_id: str, wanted: Tuple[int, int, int], looks: int = COPY_LOOKS
    ) -> None:
        """Answer what is `wanted` of a task's result, which has gone to another node, when its copy has come here.

        The copy goes to where the task was submitted first, and there somebody may be waiting for it.
        """
        record = self._coordinator.own_record(task_id) or self.record_of(task_id)
        if record is not None:
            later.resolve(record.result_from(*wanted))
        elif looks:
            self._node.clock.call_later(COPY_LOOK_S, self.answer_when_here, later, task_id, wanted, looks - 1)
        else:
            later.fail(Unavailable(f"the task goes on at another node; see it with: submit --resume {task_id}"))

    def owner_of(self, task_id: str) -> str:
        """Return who answers for a task that is kept here, "" for others."""
        held = self._held.get(task_id)
        return "" if held is None else held.claim.owner_id

    def task_ids(self) -> List[str]:
        """Return the tasks whose copies are here."""
        return list(self._held)

    def _remove(self, task_id: str) -> None:
        self._held.pop(task_id).record.wake_watchers()
        self._node.world.journals.remove(COPY_MARK + journal_name(task_id))

    def _await_owner(self, device_id: str) -> None:
        waiting = [held.record for held in self._held.values() if held.claim.owner_id == device_id]
        for record in waiting:
            record.owner_lost_at = record.owner_lost_at or self._node.wall()
        if waiting:
            self._node.clock.call_later(self._node.settings_limits.owner_lease_s, self._lease_over, device_id)

    def _lease_over(self, device_id: str) -> None:
        if self._node.link_for_work(device_id) is not None:
            return
        for task_id, held in list(self._held.items()):
            record = held.record
            if held.claim.owner_id != device_id:
                continue
            if record.is_over:
                kept_s = self._node.settings_limits.result_kept_s
                self._node.clock.call_later(kept_s, self._expired, task_id, held)
            else:
                record.term, record.owner_lost_at = held.claim.term + 1, 0.0
                self._node.tell("note", f"task {short_id(task_id)} goes on here: {short_id(device_id)} is gone")
                self._coordinator.adopt(record)

    def _expired(self, task_id: str, held: HeldCopy) -> None:
        """Nobody has asked for this result, and its owner has not come back."""
        if self._held.get(task_id) is held:
            self._remove(task_id)
