"""Decide whether a device of the cluster may do something here: yes or no, by which rule, and what to do about it.

Knows:   roles, what the cluster lets a device send, and this device's own rules: whose work, which kinds, when and
         how much.
Refuses: identities (the TLS certificate says who asks), questions (a face asks its person), clocks (`minute` comes in).
Read next: core/membership.py (roles), core/policy.py (strangers and the owner; battery).

    for all senders, or for one:  accept    nobody, named, hash, ask, any
                                  types     which named task types; all where none is named
                                  hours     "22:00-06:30", local time; always where there are none
                                  slots, wall_s, memory_mb    at once, and for one piece; 0: the device's own limits

Work is *named* when it is a task type that is installed here already, with data as its arguments; everything else
brings code. Each refusal names its rule, which travels as `data.rule` of −32003.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field, replace
from typing import Any, Dict, Mapping, Tuple

from ..model.codec import from_json, to_json
from ..model.device import short_id
from ..model.errors import Forbidden, InvalidParams, SettingsError
from ..model.settings import ACCEPT_WORDS
from ..model.statement import ROLES

#: Approvals of code, and of senders, that are remembered; the oldest is asked about again.
APPROVALS_KEPT = 1024
#: What an operation asks of its caller's role: any device of the cluster, one that sends work, one that changes it.
OPERATION_LEVELS = {"device": ROLES, "member": ROLES[1:], "admin": ROLES[2:]}

_HOURS = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])-([01][0-9]|2[0-3]):([0-5][0-9])")
_CODE_HASH = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Sender:
    """Say who sends work or asks for something: facts of its certificate and of the cluster's statements."""

    device_id: str
    name: str = ""
    #: One of ROLES, "" for who is no member.
    role: str = ""
    #: One of SENDS_WORDS.
    sends: str = "any"

    @property
    def title(self) -> str:
        """What people call it."""
        return f"{self.name} ({short_id(self.device_id)})" if self.name else short_id(self.device_id)


@dataclass(frozen=True)
class OfferedWork:
    """Describe work before it is taken."""

    task_type: str
    #: What the code is called, such as "primes.py" or "score"; "" for named types.
    name: str = ""
    #: `code_hash` of it; "" for named types, which bring none.
    code: str = ""
    size: int = 0


@dataclass(frozen=True)
class WorkRule:
    """Say what one sender, or everybody, may run here."""

    accept: str = "any"
    types: Tuple[str, ...] = ()
    hours: Tuple[str, ...] = ()
    slots: int = 0
    wall_s: float = 0.0
    memory_mb: int = 0


@dataclass(frozen=True)
class WorkPolicy:
    """Hold what this device's owner decided; a rule for one sender stands instead of the one for everybody."""

    everybody: WorkRule = WorkRule()
    #: Device id -> its rule.
    senders: Mapping[str, WorkRule] = field(default_factory=dict)
    #: `code_hash` of code that may run where `accept` is "hash"; the newest last.
    approved_code: Tuple[str, ...] = ()
    #: Devices that were asked about and need not be again; the newest last.
    approved_senders: Tuple[str, ...] = ()

    def rule_for(self, device_id: str) -> WorkRule:
        """Return the rule that holds for a sender; its limits are the worker's to hold to."""
        return self.senders.get(device_id, self.everybody)

    def approving_sender(self, device_id: str) -> WorkPolicy:
        """Return the policy with this sender approved: it is asked about once."""
        return replace(self, approved_senders=_newest((*self.approved_senders, device_id)))


@dataclass(frozen=True)
class AccessDecision:
    """Say yes or no. `sentence` is for whoever was refused; `question` is set where a person here could say yes."""

    allowed: bool
    rule: str = ""
    sentence: str = ""
    question: str = ""

    def error(self) -> Forbidden:
        """Return the refusal as it travels."""
        return Forbidden(self.sentence, {"rule": self.rule})


def code_hash(module: str, name: str, source: str) -> str:
    """Return what is approved by hash: the same source under another name is other code."""
    digest = hashlib.sha256()
    for part in (module, name, source):
        data = part.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()


# ---- decisions --------------------------------------------------------------------------------------


def decide_operation(level: str, sender: Sender) -> AccessDecision:
    """Decide by role alone; `level` is a key of OPERATION_LEVELS."""
    if sender.role in OPERATION_LEVELS[level]:
        return AccessDecision(True, "role")
    if sender.role not in ROLES:
        return AccessDecision(False, "membership", "Pair this device first: it does not belong to this cluster.")
    wanted = "an admin" if level == "admin" else "a member"
    return AccessDecision(
        False, "role",
        f"This device is {'an' if sender.role == 'admin' else 'a'} {sender.role} of the cluster, and only"
        f" {wanted} may do this. Do it on another device, or ask an admin to change this one's role.",
    )


def decide_work(policy: WorkPolicy, sender: Sender, work: OfferedWork, minute: int) -> AccessDecision:
    """Decide whether work of `sender` may run here; `minute` is the local time, in minutes since midnight.

    First what the cluster says about the sender, then what the owner of this device says.
    """
    by_role = decide_operation("member", sender)
    if not by_role.allowed:
        return by_role
    if sender.sends == "nobody" or (sender.sends == "named" and work.code):
        what = "named task types only" if sender.sends == "named" else "no work at all"
        return AccessDecision(
            False, "sends", f"The cluster lets this device send {what}. Ask an admin to change that.",
        )
    rule = policy.rule_for(sender.device_id)
    if rule.accept == "nobody":
        return AccessDecision(
            False, "accept", "That device takes no work from you: its owner set it so. Ask them, or use other devices.",
        )
    if rule.hours and not any(_is_within(hours, minute) for hours in rule.hours):
        return AccessDecision(
            False, "hours",
            f"That device takes work at {' and '.join(rule.hours)} only. Try again then, or use other devices.",
        )
    return _decide_kind(policy, rule, sender, work)


def _decide_kind(policy: WorkPolicy, rule: WorkRule, sender: Sender, work: OfferedWork) -> AccessDecision:
    if not work.code:
        if rule.types and work.task_type not in rule.types:
            return AccessDecision(
                False, "types",
                f"That device runs only these named task types: {', '.join(rule.types)}. Use one of them, or ask its"
                " owner.",
            )
        if rule.accept in ("named", "hash"):
            return AccessDecision(True, rule.accept)
    elif rule.accept == "named":
        return AccessDecision(
            False, "named",
            "That device runs named task types only, and this work brings code. Ask its owner, or use other devices.",
        )
    elif rule.accept == "hash" and work.code not in policy.approved_code:
        return AccessDecision(
            False, "hash",
            f"That device runs only code that its owner approved. Ask them to approve {work.code[:12]}.",
            question=_question(sender, work, work.code),
        )
    if rule.accept == "ask" and sender.device_id not in policy.approved_senders:
        return AccessDecision(
            False, "ask", "That device asks its owner first, who has not said yes. Ask them, or use other devices.",
            question=_question(sender, work, short_id(sender.device_id)),
        )
    return AccessDecision(True, rule.accept)


def _question(sender: Sender, work: OfferedWork, yes: str) -> str:
    """Return what the owner is asked, and how to say yes to `yes`: a sender, or code by its whole hash."""
    what = f"{work.task_type} {work.name}".strip()
    code = f", {work.size:,} bytes of code ({work.code[:12]})" if work.code else ""
    return f"May {sender.title} run {what} here{code}? To say yes: policy --approve {yes}"


def _is_within(hours: str, minute: int) -> bool:
    begin_h, begin_m, end_h, end_m = map(int, re.findall("[0-9]{2}", hours))
    begin, end = 60 * begin_h + begin_m, 60 * end_h + end_m
    # "22:00-06:30" goes through midnight; "00:00-00:00" is the whole day.
    return begin <= minute < end if begin < end else minute >= begin or minute < end


# ---- the file ---------------------------------------------------------------------------------------


def policy_to_json(policy: WorkPolicy) -> Dict[str, Any]:
    """Return the policy as it is kept."""
    return to_json(policy)


def read_policy(document: Any) -> WorkPolicy:
    """Return the policy in a JSON document; raise `SettingsError` for rules that would not mean what they say."""
    try:
        policy = from_json(WorkPolicy, document, "policy")
    except InvalidParams as error:
        raise SettingsError(f"{error.message}. Mend policy.json in the state folder.") from None
    for rule in (policy.everybody, *policy.senders.values()):
        _check_rule(rule)
    if not all(_CODE_HASH.fullmatch(each) for each in policy.approved_code):
        raise SettingsError("approved_code of the policy is a list of SHA-256 hashes. Mend policy.json.")
    return replace(
        policy, approved_code=_newest(policy.approved_code), approved_senders=_newest(policy.approved_senders)
    )


def _check_rule(rule: WorkRule) -> None:
    if rule.accept not in ACCEPT_WORDS:
        raise SettingsError(f"accept of the policy cannot be {rule.accept!r}. Write one of {', '.join(ACCEPT_WORDS)}.")
    for hours in rule.hours:
        if not _HOURS.fullmatch(hours):
            raise SettingsError(f"hours of the policy cannot be {hours!r}. Write them like 22:00-06:30.")
    if min(rule.slots, rule.wall_s, rule.memory_mb) < 0:
        raise SettingsError(
            "slots, wall_s and memory_mb of the policy cannot be below 0. Write 0 to leave it to the device."
        )


def _newest(approved: Tuple[str, ...]) -> Tuple[str, ...]:
    """Return the approvals that are kept, each once, where it was given last."""
    return tuple(dict.fromkeys(reversed(approved)))[:APPROVALS_KEPT][::-1]
