"""Offer the owner of a node what concerns its cluster: invite, join, list, change, remove, rules.

Knows:   the methods, their parameters and answers; all are the owner's.
Refuses: to do the work: roles/front_desk.py does.
Read next: roles/methods.py (how a method is made), faces/cluster_commands.py (who calls).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional

from ..core.access import policy_to_json, read_policy
from ..core.audit_log import verify_audit_lines
from ..model.device import short_id
from ..model.errors import InvalidParams, NotFound
from ..wire.invitation import JoinWords, read_join_words
from .methods import method
from .pairing import InvitationTerms
from .ports import LinkPort

#: Seconds for which a host is looked for.
HOST_WAIT_S = 10.0
#: Joins and seconds of one invitation.
MOST_JOINS, LONGEST_INVITATION_S = 1000, 86400.0


@dataclass(frozen=True)
class PairingPlace:
    """Say where a device lets others in; nothing of it is proved."""

    device_id: str = ""
    name: str = ""
    #: host:port of its pairing port.
    address: str = ""


@dataclass(frozen=True)
class DeskEvent:
    """Say what happened to an invitation; `kind` is said, question, let-in, joined or closed."""

    number: int = 0
    kind: str = ""
    text: str = ""
    device_id: str = ""


@dataclass(frozen=True)
class OpenInvitation:
    """Say what the owner passes on, and for how long it is good."""

    success: bool = False
    message: str = ""
    #: As people read it: "4821 9903", or a token.
    code: str = ""
    #: For scripts and pictures; only where there is a token.
    link: str = ""
    address: str = ""
    open_s: float = 0.0
    cluster: str = ""
    #: Whether the cluster began with this invitation.
    is_new_cluster: bool = False
    #: What to watch from.
    next_event: int = 0


@dataclass(frozen=True)
class WatchInviteAnswer:
    """List what happened since `from_event`; ask again from `next_event` on."""

    events: List[DeskEvent] = field(default_factory=list)
    next_event: int = 0
    is_open: bool = False


@dataclass(frozen=True)
class DoneAnswer:
    """Say that it is done."""

    success: bool = False
    message: str = ""
    cluster: str = ""


@dataclass(frozen=True)
class JoinAnswer:
    """Name the cluster, or list the devices among which a person has to choose."""

    success: bool = False
    message: str = ""
    cluster: str = ""
    hosts: List[PairingPlace] = field(default_factory=list)


@dataclass(frozen=True)
class FindHostsAnswer:
    """List devices that let others in just now, as they say themselves."""

    hosts: List[PairingPlace] = field(default_factory=list)


@dataclass(frozen=True)
class MemberEntry:
    """Describe one device of the cluster; `state` is here, away, removed, or paired (and not yet seen)."""

    id: str = ""
    name: str = ""
    kind: str = ""
    role: str = ""
    sends: str = ""
    state: str = ""


@dataclass(frozen=True)
class ListMembersAnswer:
    """List the cluster's devices, this one first; `cluster` is "" where this device is alone."""

    cluster: str = ""
    is_admin: bool = False
    members: List[MemberEntry] = field(default_factory=list)


@dataclass(frozen=True)
class BackUpAnswer:
    """Hold a backup: whoever has it can do everything in the cluster."""

    backup: bytes = b""
    cluster: str = ""


@dataclass(frozen=True)
class ReadAuditAnswer:
    """Hold the audit log, a JSON line for each event, and the number of its first line that was changed, 0 for none."""

    lines: bytes = b""
    good: int = 0
    bad_line: int = 0
    head: str = ""


@dataclass(frozen=True)
class PolicyAnswer:
    """Hold the rules of this device's owner."""

    policy: Dict[str, Any] = field(default_factory=dict)
    #: What of them does not hold here, and why; "" where all do.
    message: str = ""


@method("Invite", level="owner")
def invite(
    node: Any, link: LinkPort, with_token: bool = False, asks_nobody: bool = False, with_key: bool = False,
    joins: int = 1, open_s: float = 0.0,
) -> OpenInvitation:
    """Let devices in: open the pairing port and return the code, or with `with_token` a link that needs no person.

    `asks_nobody` lets in whoever knows it, `with_key` makes admins, `joins` devices may come within `open_s` seconds. A
    device that is alone makes its cluster first. The invitation ends where nobody watches it for a while.
    """
    usual_s = node.settings_limits.pairing_open_s
    if not 1 <= joins <= MOST_JOINS or not 0.0 <= open_s <= LONGEST_INVITATION_S:
        raise InvalidParams(f"an invitation is for 1 to {MOST_JOINS} devices and at most {LONGEST_INVITATION_S:.0f} s")
    return node.belonging.desk.invite(InvitationTerms(with_token, asks_nobody, with_key, joins, open_s or usual_s))


@method("WatchInvite", level="owner")
def watch_invite(node: Any, link: LinkPort, from_event: int = 0, wait_s: float = 0.0) -> WatchInviteAnswer:
    """Tell what happened to the invitation from `from_event` on; wait up to `wait_s` seconds for something."""
    return node.belonging.desk.watch(from_event, wait_s, WatchInviteAnswer)


@method("AnswerInvite", level="owner")
def answer_invite(node: Any, link: LinkPort, device_id: str = "", is_welcome: bool = False) -> DoneAnswer:
    """Say yes or no to a device that knows the code and asks to be let in."""
    node.belonging.desk.answer(device_id, is_welcome)
    return DoneAnswer(True)


@method("StopInvite", level="owner")
def stop_invite(node: Any, link: LinkPort) -> DoneAnswer:
    """Let nobody in any more."""
    node.belonging.desk.stop()
    return DoneAnswer(True)


@method("FindHosts", level="owner")
def find_hosts(node: Any, link: LinkPort, wait_s: float = 0.0) -> FindHostsAnswer:
    """List devices on the network that let others in just now; wait up to `wait_s` seconds for the first one."""
    return node.belonging.desk.find_hosts(wait_s, FindHostsAnswer)


@method("Join", level="owner")
def join(node: Any, link: LinkPort, words: str = "") -> JoinAnswer:
    """Join a cluster: `words` are a code, CODE@host:port or a join link; answered when the other side has decided.

    For a code alone the host is looked for; where several let others in, the answer lists them and nothing was tried.
    """
    desk, read = node.belonging.desk, read_join_words(words)
    desk.check_is_alone()

    def joined(cluster: str) -> JoinAnswer:
        return JoinAnswer(True, "", cluster)

    if read.addresses:
        return desk.join(read, joined)

    def choose(hosts: List[PairingPlace]) -> Any:
        if not hosts:
            raise NotFound(
                "No device on this network lets others in just now. Run `invite` there, or write CODE@host:port."
            )
        if len(hosts) > 1:
            return JoinAnswer(False, "several devices let others in; write which one: CODE@host:port", "", hosts)
        return desk.join(JoinWords(read.code, (hosts[0].address,)), joined)

    return desk.find_hosts(HOST_WAIT_S, choose)


@method("ListMembers", level="owner")
def list_members(node: Any, link: LinkPort) -> ListMembersAnswer:
    """List the devices of this node's cluster, those that were removed last."""
    cluster = node.belonging.cluster
    if cluster is None:
        return ListMembersAnswer()

    def entry(holds: Any) -> MemberEntry:
        if holds.is_revocation:
            state = "removed"
        elif holds.device_id == node.id or node.discovery.link_to(holds.device_id) is not None:
            state = "here"
        else:
            state = "paired" if node.belonging.desk.is_unseen(holds.device_id) else "away"
        return MemberEntry(holds.device_id, holds.name, holds.kind, holds.role, holds.sends, state)

    known = sorted(
        cluster.membership.statements(), key=lambda holds: (holds.is_revocation, holds.device_id != node.id, holds.name)
    )
    return ListMembersAnswer(short_id(cluster.membership.cluster), cluster.is_admin, [entry(holds) for holds in known])


@method("ChangeMember", level="owner")
def change_member(node: Any, link: LinkPort, device_id: str = "", what: str = "", value: str = "") -> DoneAnswer:
    """Give a device of the cluster another `role`, `name`, or permission to send (`sends`); on an admin device."""
    node.belonging.desk.change(device_id, what, value)
    return DoneAnswer(True)


@method("Revoke", level="owner")
def revoke(node: Any, link: LinkPort, device_id: str = "") -> DoneAnswer:
    """Remove a device from the cluster, for ever; on an admin device."""
    node.belonging.desk.revoke(device_id)
    return DoneAnswer(True)


@method("LeaveCluster", level="owner")
def leave_cluster(node: Any, link: LinkPort, is_backed_up: bool = False) -> DoneAnswer:
    """Let this device be alone again; nothing of the cluster is kept on it.

    The only admin of others may leave only where its owner says that there is a backup.
    """
    node.belonging.desk.leave(is_backed_up)
    return DoneAnswer(True)


@method("BackUpCluster", level="owner")
def back_up_cluster(node: Any, link: LinkPort) -> BackUpAnswer:
    """Return the cluster's key with all that is known of it, to be kept where nobody finds it; on an admin device."""
    backup = node.belonging.desk.back_up()
    return BackUpAnswer(backup, node.belonging.cluster_name())


@method("RestoreCluster", level="owner")
def restore_cluster(node: Any, link: LinkPort, backup: bytes = b"") -> DoneAnswer:
    """Make this device, which is alone, an admin of the cluster in a backup; its other devices believe it."""
    return DoneAnswer(True, "", node.belonging.desk.restore(bytes(backup)))


@method("GetPolicy", level="owner")
def get_policy(node: Any, link: LinkPort) -> PolicyAnswer:
    """Return what this device's owner lets others run here."""
    return PolicyAnswer(policy_to_json(node.rules.policy), node.rules.what_does_not_hold())


@method("SetPolicy", level="owner")
def set_policy(node: Any, link: LinkPort, policy: Optional[Dict[str, Any]] = None) -> PolicyAnswer:
    """Let these rules hold from now on; fields that are left out stay as they are."""
    node.rules.keep(read_policy({**policy_to_json(node.rules.policy), **(policy or {})}))
    node.world.audit.note("rules", {"accept": node.rules.policy.everybody.accept})
    return PolicyAnswer(policy_to_json(node.rules.policy), node.rules.what_does_not_hold())


@method("ReadAudit", level="owner")
def read_audit(node: Any, link: LinkPort) -> ReadAuditAnswer:
    """Return the audit log and whether it is as it was written: who was let in, changed or removed, whose work ran."""
    lines = node.world.audit.lines()
    verdict = verify_audit_lines(lines.splitlines())
    return ReadAuditAnswer(lines, verdict.good, verdict.bad_line, verdict.head)
