"""Keep a copy of each task on a second node, and take a task over when the node that answers for it is gone.

Knows:   where the copies of our tasks are and how much of them is there; the copies that others keep here.
Refuses: to decide who may keep or own what (core/ownership.py does).
Read next: roles/durability.py (our own journals), roles/coordinator.py (who adopts a task).

A copy is a journal of its own, sent by `KeepTask` piece by piece, one call at a time: whole at first, then what is new.
"""

from __future__ import annotations

from collections import defaultdict
from functools import partial
from typing import Any, DefaultDict, Dict, List, Optional, Set

from ..core.journal import JournalWriter, read_journal
from ..core.ownership import Claim, KeeperCandidate, choose_keeper, next_term, outranks
from ..model.codec import from_json
from ..model.device import PHONE_TYPES, short_id
from ..model.errors import DiscomputeError, LinkClosed, Unavailable
from ..model.task import TaskState
from .claims import Claims, refusal_of_claim
from .coordinated import CoordinatedTask, problem_in
from .durability import COPY_MARK, entries_of, journal_name, restored_task, retell
from .held_copies import HeldCopy, is_strict, most_subtasks, names_owner, why_no_room
from .keeping_methods import KeepTaskAnswer, NeedCopiesAnswer
from .lost_owners import LostOwners
from .methods import ExplainTaskAnswer
from .ports import Later

#: Seconds in which the copy of a task that went on to another node has come, or goes to where it was submitted.
COPY_COMES_S = 10.0
#: Seconds after which a copy whose link ended goes by another link to that device, if there is one.
OTHER_LINK_S = 1.0


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


class Copies:
    """Send and hold the copies of one node."""

    def __init__(self, node: Any, coordinator: Any) -> None:
        self._node = node
        self._coordinator = coordinator
        #: task id -> where our task's copy is.
        self._sent: Dict[str, SentCopy] = {}
        #: task id -> where older copies of it are, which are kept until the newest has come.
        self._former: DefaultDict[str, Set[str]] = defaultdict(set)
        #: task id -> the copy that is here; never of a task that we answer for.
        self._held: Dict[str, HeldCopy] = {}
        self.claims = Claims(node, coordinator)
        self.owners = LostOwners(node, coordinator, self._held, self._remove)

    # ---- our tasks ----------------------------------------------------------------------------------

    def changed(self, record: CoordinatedTask, entry: Any) -> None:
        """A task of ours has one entry more, or with None is another as a whole."""
        copy = self._sent.get(record.task.task_id) or self._choose(record)
        if copy is not None:
            if entry is None:
                copy.is_whole = True
            copy.entries.append(entry)
            self._send(record, copy)

    def forgotten(self, task_id: str, but_at: str = "") -> None:
        """A task of ours is kept no longer: nor are its copies, but at the device that has another use for its own."""
        copy = self._sent.pop(task_id, None)
        if copy is not None:
            self._former[task_id].add(copy.device_id)
        self._forget_former(task_id, but_at)

    def _forget_former(self, task_id: str, but_at: str = "") -> None:
        for device_id in sorted(self._former.pop(task_id, set()) - {but_at}):
            link = self._node.link_for_work(device_id)
            if link is not None:
                link.call("KeepTask", {"task_id": task_id, "is_over": True}, lambda result, error: None)

    def moved(self, record: CoordinatedTask, claim: Claim) -> None:
        """A task of ours goes on at another node: what is known of it here is told until its copy comes.

        Where it was submitted somebody waits for it: there it is known however long that takes, and goes on from what
        is known if that other node is gone too.
        """
        task_id, known = record.task.task_id, restored_task(entries_of(record, self._node.id))
        assert known is not None
        known.owner_id = claim.owner_id
        # Where it was submitted the new owner may be out of reach, and who waits there asks by way of this node.
        self.forgotten(task_id, but_at=record.first_owner_id)
        held = self._hold(claim, known, 0, 0)
        is_awaited = record.first_owner_id in ("", self._node.id)
        kept_s = self._node.settings_limits.result_kept_s if is_awaited else COPY_COMES_S
        self._node.clock.call_later(kept_s, self.owners.expired, task_id, held)
        if self._node.link_for_work(claim.owner_id) is None:
            self.owners.missed(claim.owner_id)

    def is_kept_at(self, task_id: str, device_id: str) -> bool:
        """Whether the copy of a task of ours is at this device."""
        copy = self._sent.get(task_id)
        return copy is not None and copy.device_id == device_id

    def link_opened(self, device_id: str) -> None:
        """A device can be called: it may keep copies, and may have been missed as their owner."""
        self.owners.is_back(device_id)
        self.claims.compare(device_id, self._coordinator.kept_records())
        for record in self._coordinator.kept_records():
            record.refused_by.discard(device_id)
            copy = self._sent.get(record.task.task_id)
            if copy is None or device_id in (copy.device_id, record.first_owner_id):
                if copy is not None:
                    del self._sent[record.task.task_id]
                    self._former[record.task.task_id].add(copy.device_id)
                self.changed(record, None)

    def device_lost(self, device_id: str) -> None:
        """A device is gone: with it the copies that it had, and the owner of those that are here."""
        for task_id in [key for key, copy in self._sent.items() if copy.device_id == device_id]:
            del self._sent[task_id]
        for record in self._coordinator.kept_records():
            if record.task.task_id not in self._sent:
                self.changed(record, None)
        self.owners.missed(device_id)

    def _choose(self, record: CoordinatedTask) -> Optional[SentCopy]:
        candidates = [
            KeeperCandidate(known.device_id, known.device.type in PHONE_TYPES)
            for known in self._node.discovery.registry.devices()
            if known.device_id not in record.refused_by and self._node.link_for_work(known.device_id) is not None
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
        link.call("KeepTask", params, partial(self._answered, record, copy, is_whole))

    def _answered(
        self, record: CoordinatedTask, copy: SentCopy, was_whole: bool, result: Any, error: Optional[DiscomputeError]
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
            self._forget_former(task_id, copy.device_id)
            if copy.entries or copy.is_whole:
                self._send(record, copy)
        elif answer.is_shown:
            self._coordinator.acknowledge(task_id, is_elsewhere=True)
        elif answer.owner_id:
            # In which of its terms it does is not said; seldom in this one, with the smaller id.
            self._coordinator.give_up(record, Claim(next_term(record.term), answer.owner_id))
        elif error is None and was_whole:
            # It may have no room, or rules against it, or think that another task has this id.
            record.refused_by.add(copy.device_id)
            del self._sent[task_id]
            self._former[task_id].add(copy.device_id)
            self.changed(record, None)
        else:
            # It has lost what was sent, or its link: all of it, when it can be called again.
            copy.is_whole = True
            if error is None:
                self._send(record, copy)
            elif isinstance(error, LinkClosed):
                # Of another link that was open all the time nobody will tell.
                self._node.clock.call_later(OTHER_LINK_S, self._send_again, record, copy)

    def _send_again(self, record: CoordinatedTask, copy: SentCopy) -> None:
        if self._sent.get(record.task.task_id) is copy and copy.is_whole:
            self._send(record, copy)

    # ---- the tasks of others ------------------------------------------------------------------------

    def keep(self, claim: Claim, task_id: str, lines: bytes, is_whole: bool) -> KeepTaskAnswer:
        """Keep the copy of a task, or refuse it by the name of its later owner."""
        sender, record, held = claim.owner_id, self._coordinator.own_record(task_id), self._held.get(task_id)
        if not is_whole and (held is None or held.claim != claim):
            return KeepTaskAnswer(False, "this node has not the beginning of it")
        size = len(lines) if is_whole or held is None else held.size + len(lines)
        no_room = self._why_no_room(claim, task_id, size)
        if no_room:
            return KeepTaskAnswer(False, no_room)
        if not is_strict(lines):
            return KeepTaskAnswer(False, "these lines say what nobody could be told")
        reading = read_journal(lines, 0 if is_whole or held is None else held.chain)
        most = self._node.settings_limits.subtasks
        if most_subtasks(reading.entries) > most:
            # Before any is made.
            return KeepTaskAnswer(False, f"a task has {most} subtasks at most")
        told = restored_task(reading.entries) if is_whole or held is None else held.record
        if reading.good_bytes < len(lines) or told is None or told.task.task_id != task_id:
            return KeepTaskAnswer(False, "these lines are not the next ones of this task's journal")
        if is_whole and Claim(told.term, told.owner_id) != claim or not is_whole and names_owner(reading.entries):
            # By the rules for whom it would go on here after a restart.
            return KeepTaskAnswer(False, "these lines name another owner")
        known = record or (held.record if held is not None and held.claim.owner_id != sender else None)
        refusal = refusal_of_claim(claim, known, told) if is_whole else ""
        if refusal:
            self._node.count("unproven_claims")
            return KeepTaskAnswer(False, refusal)
        if record is not None and self._coordinator.was_shown(record):
            return KeepTaskAnswer(False, "its result was shown here", is_shown=True)
        if record is not None and outranks(Claim(record.term, self._node.id), claim):
            return KeepTaskAnswer(False, "this node has taken it over", self._node.id)
        if held is not None and held.claim.owner_id != sender and outranks(held.claim, claim):
            return KeepTaskAnswer(False, "another node has taken it over", held.claim.owner_id)
        problem = problem_in(told.task) if is_whole else ""
        unwanted = self.claims.refusal_here(sender, told) if is_whole and not problem else None
        if problem or unwanted is not None:
            return KeepTaskAnswer(False, problem or str(unwanted))
        if record is not None:
            self._coordinator.give_up(record, claim)
            held = self._held.get(task_id)
        name, port = COPY_MARK + journal_name(task_id), self._node.world.journals
        if is_whole:
            port.replace(name, lines)
            if held is not None and held.record.state is TaskState.COMPLETED:
                # Whoever asks has its result now, though the other node comes to it once more.
                told = held.record
            self._hold(claim, told, reading.chain, size)
        else:
            port.append(name, lines)
            retell(told, reading.entries)
            self._held[task_id].chain, self._held[task_id].size = reading.chain, size
        if held is not None:
            held.record.wake_watchers()
        return KeepTaskAnswer(True, "kept")

    def drop(self, sender: str, task_id: str) -> KeepTaskAnswer:
        """Keep the copy no longer, if it is the sender's."""
        held = self._held.get(task_id)
        if held is not None and held.claim.owner_id == sender:
            self._remove(task_id)
        return KeepTaskAnswer(True, "forgotten")

    def restore(self, record: CoordinatedTask, chain: int, size: int) -> None:
        """Hold a copy of an earlier life, and see whether its owner is still there."""
        self._hold(Claim(record.term, record.owner_id), record, chain, size)
        self.owners.missed(record.owner_id)

    def owned_here(self, task_id: str) -> None:
        """This node answers for a task by now: its own journal, on its way to the disk, stands for the copy."""
        if task_id in self._held:
            self._remove(task_id)

    def record_of(self, task_id: str) -> Optional[CoordinatedTask]:
        """Return a task of another node, as far as it is known here."""
        held = self._held.get(task_id)
        return None if held is None else held.record

    def claim_of(self, task_id: str) -> Optional[Claim]:
        """Return who answers for a task of another node, as far as it is known here."""
        held = self._held.get(task_id)
        return None if held is None else held.claim

    def ask_owner(self, method: str, kind: Any, task_id: str, **params: Any) -> Any:
        """Have the node that answers for a task do something; `kind` is the answer where there is no such task."""
        held = self._held.get(task_id)
        if held is None:
            return kind(False, "this node knows no such task; it may have been forgotten")
        link = self._node.link_for_work(held.claim.owner_id)
        if link is None:
            owner = short_id(held.claim.owner_id)
            raise Unavailable(f"{owner}, which answers for this task, cannot be reached; try again in a moment")
        later = Later()
        link.call(method, {"task_id": task_id, **params}, lambda result, error: (
            later.fail(error) if error is not None else later.resolve(result)))
        return later

    def explain(self, task_id: str, index: int) -> Any:
        """Have the node that answers for a task say why it is where it is; say here that this node is gone."""
        why = self.owners.why_waiting(task_id)
        return ExplainTaskAnswer(True, why) if why else self.ask_owner(
            "ExplainTask", ExplainTaskAnswer, task_id, index=index)

    def task_ids(self) -> List[str]:
        """Return the tasks whose copies are here."""
        return list(self._held)

    def _hold(self, claim: Claim, record: CoordinatedTask, chain: int, size: int) -> HeldCopy:
        held = HeldCopy(claim, record, chain, size, is_own=self.claims.is_own(record))
        self._held[record.task.task_id] = held
        return held

    def _why_no_room(self, claim: Claim, task_id: str, size: int) -> str:
        node, known = self._node, self._coordinator.own_record(task_id) or self.record_of(task_id)
        if known is not None and self.claims.is_own(known):
            return ""
        sharers = 1 if node.belonging.cluster is None else node.belonging.cluster.other_senders()
        return why_no_room(self._held, claim, (task_id, size), node.settings_limits, sharers)

    def _remove(self, task_id: str) -> None:
        self._held.pop(task_id).record.wake_watchers()
        self._node.world.journals.remove(COPY_MARK + journal_name(task_id))

    def needs_of(self, sender: str, task_ids: List[str]) -> NeedCopiesAnswer:
        """Say which copies at another device may be all that is left one day, and which are that already."""
        coordinator, needed, lost = self._coordinator, [], []
        for task_id in task_ids:
            record, copy = coordinator.own_record(task_id), self._sent.get(task_id)
            if record is None:
                held = self._held.get(task_id)
                if held is None and coordinator.durability.has_lost(task_id):
                    lost.append(task_id)
                elif held is not None and held.record.first_owner_id == sender:
                    needed.append(task_id)
            elif coordinator.durability.has(record) and (
                copy is None or sender in (copy.device_id, record.first_owner_id) or copy.is_busy or copy.is_whole
            ):
                needed.append(task_id)
                self._former[task_id].add(sender)
        return NeedCopiesAnswer(needed, lost)
