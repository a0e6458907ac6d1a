"""Belong to a cluster, or to none: who is trusted over which link, and how statements reach everybody.

Knows:   this device's place in its cluster, which links lead to its devices, and what they know of it.
Refuses: to decide what statements mean (core/membership.py does), files and TLS (a `TrustPort` has them).
Read next: roles/own_cluster.py, core/policy.py (the levels), roles/pairing.py (how a device gets here).

Statements spread by comparison: whoever opens a link, and whoever has learnt something, tells the digest of all that
it knows. Where the other's is another, it answers with all its statements, and gets ours if they are still different.

A device with a certificate of the cluster of which nobody has spoken here yet, because its admin was not met since, is
heard first: it brings the statement about itself, and is a member or a stranger by that. It gets no other answer.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Optional

from ..core.access import Sender
from ..core.policy import SENTENCE_UNHEARD, Caller
from ..model.codec import from_json
from ..model.device import short_id
from ..model.errors import DiscomputeError, SettingsError, StateError, Unauthenticated
from ..model.statement import ROLES, Statement
from ..wire.pairing_grant import PairingGrant
from ..wire.private_beacon import beacon_pseudonym
from .alarm import Alarm
from .audit_notes import note_news
from .cluster_methods import SyncClusterAnswer
from .front_desk import FrontDesk
from .own_cluster import OwnCluster
from .ports import Later, LinkPort

#: Seconds allowed for an exchange of statements.
SYNC_S = 10.0
#: Statements about itself that a device may bring which nobody knows here: it has one, and each costs 5 ms to check.
STATEMENTS_HEARD = 1
#: Seconds until what could not be kept is tried again, as journals are.
KEEP_AGAIN_S = 2.0


class Belonging:
    """Hold one node's membership, which may begin and end while it runs."""

    def __init__(self, node: Any) -> None:
        self._node = node
        #: None while this device is alone.
        self.cluster: Optional[OwnCluster] = None
        #: Grows with every change: what callers were allowed before is looked at again.
        self.version = 0
        #: pseudonym -> member, and the version and beacon key that they were made for.
        self._pseudonyms: Dict[bytes, Statement] = {}
        self._pseudonyms_of = (-1, b"")
        #: Why what was heard is not on the disk, as people were told, "" where it is; and when that is tried again.
        self._told_unkept = ""
        self._alarm = Alarm(node.clock, lambda late_s: self._keep_again())
        #: Where the owner lets devices in, and has this one let in.
        self.desk = FrontDesk(node)

    @property
    def is_member(self) -> bool:
        """Whether this device belongs to a cluster."""
        return self.cluster is not None

    # ---- beginning and end --------------------------------------------------------------------------

    def start(self) -> None:
        """Take up the membership that was kept; raise StateError for one that is damaged, SettingsError without TLS."""
        trust = self._node.world.trust
        grant = trust.load() if trust is not None else None
        if grant is not None and not self._node.settings.tls:
            raise SettingsError("tls false is for a device that is alone, and this one belongs to a cluster; leave that"
                                " out, or leave the cluster: devices --leave --tls true")
        if grant is not None:
            try:
                self.enter(grant)
            except StateError as error:
                # This Python has no TLS, without which nobody is believed.
                self._node.tell("warning", error.message)
        if self._node.settings.announce == "private" and not self.is_member:
            self._node.tell("warning", "announce private shows this device to its cluster only, and it belongs to none:"
                            " nothing is announced; pair it, or set announce to open")

    def enter(self, grant: PairingGrant) -> None:
        """Belong to the cluster of this grant, which has been kept already; raise StateError."""
        trust = self._node.world.trust
        cluster = OwnCluster(grant, self._node.id, self._node.settings_limits, trust.keep)
        trust.enter(grant, cluster.refusal)
        self.cluster = cluster
        self.desk.hosts.clear()
        self._changed()
        # Who was let in as a stranger has nothing to do here any more.
        for link in self._links():
            if not self.is_trusted(link):
                self._node.discovery.retire(link)

    def leave(self) -> None:
        """Be alone from now on: nothing of the cluster is kept. Raise StateError where it cannot be removed."""
        trust = self._node.world.trust
        if trust is not None and self.cluster is not None:
            trust.forget()
            self._be_alone()

    def _be_alone(self) -> None:
        self.desk.stop()
        self._node.world.trust.leave()
        self.cluster = None
        self._changed()
        for link in self._links():
            self._node.discovery.retire(link)

    # ---- who is who -----------------------------------------------------------------------------------

    def may_send_pickles(self, device_id: str) -> bool:
        """Whether a device's pickles may be read: no worker's, and in a cluster no stranger's or former member's."""
        if self.cluster is None or device_id == self._node.id:
            return True
        return self.cluster.membership.role_of(device_id) in ROLES[1:]

    def role_of(self, link: LinkPort) -> str:
        """Return the role of the device at the other end, by its certificate; "" for strangers and while alone."""
        return self.cluster.sender(link.verified_id).role if self.cluster is not None and link.verified_id else ""

    def sender_of(self, link: LinkPort) -> Optional[Sender]:
        """Return what the cluster says of the device at the other end; None where that is the owner of this node."""
        return self.cluster.sender(link.verified_id) if self.cluster is not None and link.verified_id else None

    def caller(self, link: LinkPort) -> Caller:
        """Return what is known for certain of the other end."""
        return Caller(
            link.is_loopback, self._node.peer_of(link).is_owner, self.role_of(link), self.is_certified(link)
        )

    def is_trusted(self, link: LinkPort) -> bool:
        """Whether the other end is a device of this cluster, or this node's owner."""
        return (link.is_loopback and self._node.peer_of(link).is_owner) or bool(self.role_of(link))

    def is_unheard(self, link: LinkPort) -> bool:
        """Whether the other end has a certificate of this cluster, and nobody has said here who it is."""
        known = self.cluster.membership.statement_about(link.verified_id) if self.cluster is not None else None
        return self.is_certified(link) and known is None

    def is_certified(self, link: LinkPort) -> bool:
        """Whether the other end proved to have a certificate of this cluster, which was not revoked."""
        cluster = self.cluster
        return cluster is not None and bool(link.verified_id) and not cluster.membership.is_revoked(link.verified_id)

    def may_work_over(self, link: LinkPort) -> bool:
        """Whether work of ours may go to the other end."""
        return self.may_send_work() and bool(self.role_of(link))

    def may_send_work(self) -> bool:
        """Whether this device's role in its cluster lets it send work."""
        return self.cluster is not None and self.cluster.membership.role_of(self._node.id) in ROLES[1:]

    def beacon_key(self) -> bytes:
        """Return what beacons are sealed with, b"" while alone."""
        return self.cluster.beacon_key if self.cluster is not None else b""

    def is_member_here(self, device_id: str) -> bool:
        """Whether this is a device of our cluster, as far as is known here."""
        return self.cluster is not None and bool(self.cluster.membership.role_of(device_id))

    def cluster_name(self) -> str:
        """Return the beginning of the cluster's id, "" while alone."""
        return short_id(self.cluster.membership.cluster) if self.cluster is not None else ""

    def member_called(self, pseudonym: bytes) -> Optional[Statement]:
        """Return what the cluster says of the device behind a private beacon, None where it is nobody's."""
        key = self.beacon_key()
        if self.cluster is None:
            return None
        if (self.version, key) != self._pseudonyms_of:
            members = self.cluster.membership.members()
            self._pseudonyms = {beacon_pseudonym(each.device_id, key): each for each in members}
            self._pseudonyms_of = self.version, key
        return self._pseudonyms.get(pseudonym)

    # ---- statements -----------------------------------------------------------------------------------

    def link_opened(self, device_id: str) -> None:
        """A link is ready: see whether its device knows the same of the cluster."""
        self.desk.seen(device_id)
        for link in self._links():
            if link.verified_id == device_id:
                self._compare(link)

    def hear_out(self, link: LinkPort, judged: Callable[[Optional[DiscomputeError]], None]) -> None:
        """Let a device of which nobody has spoken here bring its statement; `judged` is told why it may not stay."""

        def answered(result: Any, error: Optional[DiscomputeError]) -> None:
            self._answered(link, True, result, error)
            judged(Unauthenticated(SENTENCE_UNHEARD) if not self.role_of(link) else None)

        assert self.cluster is not None
        link.call("SyncCluster", {"digest": self.cluster.membership.digest()}, answered, timeout_s=SYNC_S)

    def once_heard(self, link: LinkPort, answer: Callable[[], Any]) -> Later:
        """Return what `answer` gives once the other end was heard and is a member; else it is refused, and closed."""
        later = Later()

        def judged(refusal: Optional[DiscomputeError]) -> None:
            if refusal is None:
                later.resolve(answer())
            else:
                later.fail(refusal)
                link.finish()

        self.hear_out(link, judged)
        return later

    def tell_all(self, changed: List[str]) -> None:
        """Something about these devices has changed here: act on it, and tell every device that can be reached."""
        if self.cluster is None or not changed:
            return
        self._changed()
        membership = self.cluster.membership
        if membership.is_revoked(self._node.id):
            self._node.tell("warning", "this device was removed from its cluster and is alone again; it keeps its"
                            " identity, which that cluster never takes back")
            try:
                self.leave()
            except StateError as error:
                self._node.tell("warning", f"what it knows of that cluster cannot be removed: {error.message}")
                self._be_alone()
            return
        for device_id in changed:
            holds = membership.statement_about(device_id)
            if holds is not None and holds.is_revocation:
                name = holds.name or short_id(device_id)
                self._node.tell("removed", f"{name} was removed from the cluster", device_id=device_id)
        for link in self._links():
            if link.verified_id and membership.is_revoked(link.verified_id):
                # So that it knows as well; from here on nothing that it asks for is done.
                self._compare(link, with_statements=True)
                link.finish()
            elif link.verified_id:
                self._compare(link)
        for device_id in changed:
            if membership.is_revoked(device_id):
                self._node.attempts.device_lost(device_id, "it was removed from the cluster", is_clean=True)
        # With another role of our own we may send work to all others, or to none any more.
        is_own = self._node.id in changed
        everybody = [each.device.id for each in self._node.discovery.registry.devices()] if is_own else []
        for device_id in dict.fromkeys([*changed, *everybody]):
            self._node.device_changed(device_id)

    def compared(self, link: LinkPort, digest: str, statements: bytes, beacon_key: bytes) -> SyncClusterAnswer:
        """Take what another device of the cluster says of it; answer with what it lacks."""
        if self.cluster is not None:
            self._take(link, statements, beacon_key)
        if self.cluster is None:
            return SyncClusterAnswer(False, "this device belongs to no cluster; pair it first")
        own = self.cluster.membership.digest()
        if not self.is_trusted(link):
            return SyncClusterAnswer(True, "", own, self._line_about(self._node.id))
        return SyncClusterAnswer(True, "", own, b"" if digest == own else self._lines(), self._own_key())

    def _compare(self, link: LinkPort, with_statements: bool = False) -> None:
        assert self.cluster is not None
        params: Dict[str, Any] = {"digest": self.cluster.membership.digest(), "beacon_key": self._own_key()}
        if with_statements:
            params["statements"] = self._lines()
        link.call("SyncCluster", params, lambda result, error: self._answered(link, with_statements, result, error),
                  timeout_s=SYNC_S)

    def _answered(self, link: LinkPort, is_last: bool, result: Any, error: Optional[DiscomputeError]) -> None:
        if error is not None or self.cluster is None or link.is_closed:
            return
        try:
            answer = from_json(SyncClusterAnswer, result, "the answer to SyncCluster")
            self._take(link, answer.statements, answer.beacon_key)
        except DiscomputeError:
            return
        if self.cluster is not None and answer.digest != self.cluster.membership.digest() and not is_last:
            self._compare(link, with_statements=True)

    def _take(self, link: LinkPort, statements: bytes, beacon_key: bytes) -> None:
        assert self.cluster is not None
        if beacon_key and self.role_of(link) == "admin":
            self.cluster.take_beacon_key(beacon_key)
        lines = bytes(statements).splitlines()
        if not self.is_trusted(link):
            about_it = b'"id":"%s"' % link.verified_id.encode("ascii")
            lines = [line for line in lines if about_it in line][:STATEMENTS_HEARD]
        if lines:
            changed = self.cluster.merge_lines(lines, self._node.world.trust.random_bytes)
            note_news(self._node, changed)
            self.tell_all(changed)
        self._see_that_it_is_kept()

    def _see_that_it_is_kept(self) -> None:
        """Say once that what was heard is not on the disk, and try until it is; a restart before that asks again."""
        unkept = self.cluster.unkept if self.cluster is not None else ""
        if unkept and not self._told_unkept:
            self._node.tell("warning", f"what others say of the cluster holds, but cannot be kept: {unkept}")
        self._told_unkept = unkept
        self._alarm.set(self._node.clock.now() + KEEP_AGAIN_S if unkept else None)

    def _keep_again(self) -> None:
        if self.cluster is not None:
            self.cluster.try_to_keep()
        self._see_that_it_is_kept()

    def _lines(self) -> bytes:
        assert self.cluster is not None
        return b"\n".join(each.line for each in self.cluster.membership.statements())

    def _line_about(self, device_id: str) -> bytes:
        assert self.cluster is not None
        known = self.cluster.membership.statement_about(device_id)
        return known.line if known is not None else b""

    def _own_key(self) -> bytes:
        """Return the beacon key on an admin device, which alone is believed when it says so."""
        return self.beacon_key() if self.cluster is not None and self.cluster.is_admin else b""

    # ---- inside ---------------------------------------------------------------------------------------

    def _links(self) -> List[LinkPort]:
        return [link for links in list(self._node.discovery.links.values()) for link in list(links)]

    def _changed(self) -> None:
        self.version += 1
        self._node.worker.rules_changed()
        self._node.coordinator.copies.owners.look_again()
