"""Hold what this device's owner lets others run here, and apply it to work before it is taken.

Knows:   the owner's rules, in the state folder and in the setting `accept`; which code a subtask brings.
Refuses: to decide (core/access.py does), and to ask: a refusal that a person here could lift is told once.
Read next: core/access.py.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from datetime import datetime
from typing import Any, Iterable, Optional

from ..core.access import (
    AccessDecision, OfferedWork, Sender, WorkPolicy, code_hash, decide_work, policy_to_json, read_policy,
)
from ..model.device import PHONE_TYPES
from ..model.errors import DiscomputeError, Forbidden, StateError, TaskError
from ..model.task import SubTask
from ..tasks.calls import CallsTask
from ..tasks.types import TASK_TYPES

#: The document in the state folder.
POLICY_FILE = "policy.json"
#: Questions that were put to the person here and need not be put again while this node runs.
QUESTIONS_KEPT = 256


class OwnRules:
    """Keep the rules of one device."""

    def __init__(self, node: Any) -> None:
        self._node = node
        self.policy = WorkPolicy()
        #: Questions already told, the oldest first.
        self._asked: OrderedDict[str, None] = OrderedDict()

    def start(self) -> None:
        """Read the rules; raise `SettingsError` for some that would not mean what they say.

        Rules that cannot be read are a `StateError`: without them anybody's work might run that was forbidden.
        """
        document = self._node.store.read_json(POLICY_FILE, {}, is_vital=True)
        self.policy = read_policy(document if isinstance(document, dict) else {})
        # The setting is for everybody; what is kept for one sender stands instead of it.
        settings, is_phone = self._node.settings, self._node.hardware.type in PHONE_TYPES
        if settings.accept or not document:
            accept = settings.accept or ("ask" if is_phone else "any")
            self.policy = replace(self.policy, everybody=replace(self.policy.everybody, accept=accept))
        if self.what_does_not_hold():
            self._node.tell("warning", self.what_does_not_hold())

    def keep(self, policy: WorkPolicy) -> None:
        """Let these rules hold from now on, for what runs too; raise StateError where they cannot be kept."""
        self._node.store.write_json(POLICY_FILE, policy_to_json(policy))
        self.policy = policy
        self._asked.clear()
        self._node.worker.rules_changed()
        self._node.coordinator.copies.owners.look_again()
        # Whoever sends work here learns how much of this device it has now.
        self._node.discovery.own_description_changed()

    def what_does_not_hold(self) -> str:
        """Say which rules nobody can hold work to on this device, "" where there are none."""
        rules = [self.policy.everybody, *self.policy.senders.values()]
        bounds = [name for name in ("wall_s", "memory_mb") if any(getattr(rule, name) for rule in rules)]
        if self._node.executor.holds_to_bounds or not bounds:
            return ""
        return (f"{' and '.join(bounds)} of the policy cannot be held to here, where tasks do not run in processes of"
                " this node, which could be ended; use accept, hours or slots")

    def approve(self, device_id: str) -> None:
        """Let a sender's work run where it would be asked about; until the next start where that cannot be kept."""
        policy = self.policy.approving_sender(device_id)
        try:
            self.keep(policy)
        except StateError as error:
            self.policy = policy
            self._node.tell("warning", error.message)

    def refusal(self, sender: Sender, subtask: SubTask, *, is_noted: bool = True) -> Optional[DiscomputeError]:
        """Return why a subtask of this sender may not run here, None where it may; `is_noted` when work is refused."""
        try:
            decision = self.decide(sender, subtask)
        except TaskError as error:
            return Forbidden(f"This work cannot be read: {error.message}", {"rule": "unreadable"})
        if decision.allowed:
            return None
        if is_noted:
            self._note(sender, subtask, decision)
        return decision.error()

    def _note(self, sender: Sender, subtask: SubTask, decision: AccessDecision) -> None:
        task_type = str(subtask.lite.get("task_type", ""))
        self._node.world.audit.refused(decision.rule, sender.device_id, {"type": task_type})
        if decision.question and decision.question not in self._asked:
            self._asked[decision.question] = None
            while len(self._asked) > QUESTIONS_KEPT:
                self._asked.popitem(last=False)
            self._node.tell("question", decision.question, sender=sender.device_id)

    def refusal_of_data(self, sender: Sender) -> Optional[DiscomputeError]:
        """Return why this device keeps no data for a sender's work, None where it does."""
        at = datetime.fromtimestamp(self._node.wall())
        decision = decide_work(self.policy, sender, OfferedWork(CallsTask.name), at.hour * 60 + at.minute)
        return None if decision.allowed else decision.error()

    def refusal_of_task(
        self, sender_id: str, task_type: str, pieces: Iterable[bytes], *, is_noted: bool
    ) -> Optional[DiscomputeError]:
        """Return why a task may not go on here that another device answered for, None where it may.

        It would be split and merged here whatever it brings, and go to others as work of this device.
        """
        cluster = self._node.belonging.cluster
        if cluster is None:
            return None
        sender, lite = cluster.sender(sender_id), {"task_type": task_type}
        refusals = (
            self.refusal(sender, SubTask(subtask_data=piece, lite=lite), is_noted=is_noted) for piece in pieces)
        return next((refusal for refusal in refusals if refusal is not None), None)

    def decide(self, sender: Sender, subtask: SubTask) -> AccessDecision:
        """Decide about one subtask; raise `TaskRejected` for data that no task type reads."""
        task_type = str(subtask.lite.get("task_type", ""))
        kind = TASK_TYPES.get(task_type)
        rule, name, code = self.policy.rule_for(sender.device_id), "", ""
        if kind is not None and (rule.accept != "any" or sender.sends != "any"):
            # Most devices take any work: then nobody needs to know what is in it.
            name, source = kind.code_in(bytes(subtask.subtask_data))
            code = code_hash(task_type, name, source) if source else ""
        at = datetime.fromtimestamp(self._node.wall())
        work = OfferedWork(task_type, name, code, len(subtask.subtask_data))
        return decide_work(self.policy, sender, work, at.hour * 60 + at.minute)
