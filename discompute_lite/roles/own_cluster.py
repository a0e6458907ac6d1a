"""Hold this device's place in its cluster: who else belongs, and, on an admin device, who may join, stay or do what.

Knows:   how a cluster begins, how a device is let in, changed and removed, and what others' statements change.
Refuses: sockets, files and questions: `keep` is told what has to be on the disk, a person has said yes before.
Read next: core/membership.py (what holds), wire/pairing_grant.py (what a member has), roles/node.py.

Every change is kept before it is told to anybody, so that no device can know more than the one that decided. What
others have decided holds at once, whatever the disk here says: whoever was removed is not served until there is room.

A beacon key begins with a number of four bytes, and of two keys the larger holds, so that two admins agree on one
whoever speaks first. The number is never below that of the removals: an admin that knows of more makes a new key.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone
from typing import Callable, Iterable, List, Optional

from ..core.access import Sender
from ..core.membership import Membership
from ..crypto.certificates import (
    SERIAL_BYTES, ca_certificate, cluster_id, device_certificate, read_ca_certificate,
)
from ..crypto.p256 import CurvePoint, PrivateKey, device_id, generate_key
from ..model.device import short_id
from ..model.errors import (
    DiscomputeError, Forbidden, InvalidParams, NotFound, ProtocolError, StateError, Unauthenticated,
)
from ..model.limits import Limits
from ..model.statement import ROLES, SENDS_WORDS, Statement
from ..wire.pairing_grant import BEACON_KEY_BYTES, PairingGrant
from ..wire.statements import read_statement_line, sign_as_line

RandomBytes = Callable[[int], bytes]
#: Bytes of a beacon key's number, and by how much that of a cluster from a backup is larger: than of all keys since.
_KEY_NUMBER_BYTES, _RESTORED_STEP = 4, 1 << 16
#: The last second that `datetime` can write; a statement may claim any.
_LAST_SECOND = 253402300799
_REMOVED_SENTENCE = (
    "This device was removed from the cluster, for ever. Move its state folder away, so that it has a new identity, and"
    " pair it again."
)


def found_cluster(
    key: PrivateKey, name: str, kind: str, limits: Limits, random_bytes: RandomBytes, at: int
) -> PairingGrant:
    """Return what makes the device with this key the first admin of a cluster of its own."""
    ca = generate_key(random_bytes)
    me = device_id(key)
    added = Statement(cluster_id(ca.public), 1, "add", me, "admin", me, at, name, kind)
    return PairingGrant(
        ca_certificate(ca, serial=random_bytes(SERIAL_BYTES)),
        device_certificate(ca, key.public, serial=random_bytes(SERIAL_BYTES)),
        (sign_as_line(ca, added, limits),), _beacon_key(0, random_bytes), ca,
    )


def restored_seat(
    backup: PairingGrant, key: PrivateKey, described: Statement, limits: Limits, random_bytes: RandomBytes
) -> PairingGrant:
    """Return what makes the device with this key an admin of the cluster in `backup`, which has the cluster's key.

    `described` says the device's name and kind, and when. Raise Forbidden for a device that was removed.
    """
    ca, me = backup.ca_key, device_id(key)
    if ca is None:
        raise InvalidParams("This backup has no cluster's key in it. Use one that was made on an admin device.")
    known = Membership(cluster_id(ca.public), limits)
    known.merge(backup.statements)
    if known.is_revoked(me):
        raise Forbidden(_REMOVED_SENTENCE, {"rule": "membership"})
    added = replace(
        described, cluster=known.cluster, seq=known.next_seq(), what="add", device_id=me, role="admin", by=me,
    )
    known.merge([sign_as_line(ca, added, limits)])
    certificate = device_certificate(ca, key.public, serial=random_bytes(SERIAL_BYTES))
    return replace(
        backup, certificate=certificate, statements=tuple(known.statements()),
        beacon_key=_beacon_key(_key_number(backup.beacon_key) + _RESTORED_STEP, random_bytes),
    )


def _beacon_key(number: int, random_bytes: RandomBytes) -> bytes:
    most = (1 << 8 * _KEY_NUMBER_BYTES) - 1
    return min(number, most).to_bytes(_KEY_NUMBER_BYTES, "big") + random_bytes(BEACON_KEY_BYTES - _KEY_NUMBER_BYTES)


def _key_number(beacon_key: bytes) -> int:
    return int.from_bytes(beacon_key[:_KEY_NUMBER_BYTES], "big")


class OwnCluster:
    """Be one member's view of its cluster. `keep(grant)` has put everything on the disk when it returns."""

    def __init__(self, grant: PairingGrant, me: str, limits: Limits, keep: Callable[[PairingGrant], None]) -> None:
        self.me = me
        self._grant = grant
        self._limits = limits
        self._keep = keep
        self._ca_public = read_ca_certificate(grant.ca)
        self.membership = Membership(cluster_id(self._ca_public), limits)
        self.membership.merge(grant.statements)
        #: Statements that were no good: another cluster's, forged, of newer versions.
        self.refused = 0
        #: Why what others said is not on the disk yet, "" where it is.
        self.unkept = ""

    @property
    def grant(self) -> PairingGrant:
        """What this device has: keys, certificates, and the statements that hold now."""
        return replace(self._grant, statements=tuple(self.membership.statements()))

    @property
    def beacon_key(self) -> bytes:
        """What beacons are sealed with: asked for with each that is heard."""
        return self._grant.beacon_key

    @property
    def is_admin(self) -> bool:
        """Whether this device may change the cluster: its role says so, and it has the key."""
        return self._grant.ca_key is not None and self.membership.role_of(self.me) == "admin"

    # ---- who is who -------------------------------------------------------------------------------

    def sender(self, sender_id: str) -> Sender:
        """Return what the cluster says about a device whose certificate was verified."""
        holds = self.membership.statement_about(sender_id)
        if holds is None:
            return Sender(sender_id)
        return Sender(sender_id, holds.name, self.membership.role_of(sender_id), holds.sends)

    def other_senders(self) -> int:
        """Return how many others may send work, whether they are there or not."""
        return sum(each.role in ROLES[1:] and each.sends != "nobody" and each.device_id != self.me
                   for each in self.membership.members())

    def refusal(self, caller_id: str) -> Optional[DiscomputeError]:
        """Return why a device with a certificate of this cluster is sent away before a byte of it is read.

        One that nobody has spoken of here yet is not: it may bring the statement that makes it a member.
        """
        holds = self.membership.statement_about(caller_id)
        if holds is not None and holds.is_revocation:
            date = datetime.fromtimestamp(min(holds.at, _LAST_SECOND), timezone.utc).date().isoformat()
            return Unauthenticated(self.membership.removal_sentence(caller_id, date))
        return None

    def _name_of(self, any_id: str) -> str:
        holds = self.membership.statement_about(any_id)
        return holds.name if holds is not None and holds.name else short_id(any_id)

    # ---- what an admin does -----------------------------------------------------------------------

    def check_may_join(self, joiner_id: str) -> None:
        """Raise Forbidden where a device cannot be let in, before anybody is asked."""
        self.check_is_admin()
        if self.membership.is_revoked(joiner_id):
            raise Forbidden(_REMOVED_SENTENCE, {"rule": "membership"})

    def let_in(
        self, public: CurvePoint, added: Statement, random_bytes: RandomBytes, *, with_key: bool = False
    ) -> PairingGrant:
        """Return the grant of a device that a person let in; `added` says its role, name, kind and when.

        The statement is kept first. A member that joins again, because it never got its grant, is given another.
        `with_key` makes a second admin, who can do everything.
        """
        joiner_id = device_id(public)
        self.check_may_join(joiner_id)
        assert with_key == (added.role == "admin"), "an admin has the cluster's key, and nobody else has"
        self._state(replace(added, what="add", device_id=joiner_id))
        ca = self._key()
        return PairingGrant(
            self._grant.ca, device_certificate(ca, public, serial=random_bytes(SERIAL_BYTES)),
            tuple(self.membership.statements()), self._grant.beacon_key, ca if with_key else None,
        )

    def welcome(self, joiner_id: str, role: str, name: str, kind: str, at: int) -> Statement:
        """Return what `let_in` states about a new device."""
        return Statement(self.membership.cluster, 0, "add", joiner_id, role, self.me, at, name, kind)

    def change(self, of_device: str, what: str, value: str, at: int) -> Statement:
        """Give a member another role, name, or permission to send ("sends"); return what holds from now on."""
        self.check_is_admin()
        holds = self._member(of_device)
        if what == "name":
            return self._state(replace(holds, what=what, by=self.me, at=at, name=value))
        words = {"role": ROLES, "sends": SENDS_WORDS}.get(what, ())
        if value not in words:
            if not words:
                raise InvalidParams(f"a device has no {what!r}; change its name, role or sends")
            raise InvalidParams(f"{what} cannot be {value!r}; write one of {', '.join(words)}")
        if what == "role":
            if value == "admin" and holds.role != "admin":
                raise Forbidden(
                    "An admin needs the cluster's key, which travels only while a device is paired. Let it leave with"
                    " `devices --leave`, then pair it again with `invite --admin`.", {"rule": "role"},
                )
            self._check_other_admin(of_device, value)
            return self._state(replace(holds, what=what, by=self.me, at=at, role=value))
        return self._state(replace(holds, what=what, by=self.me, at=at, sends=value))

    def remove(self, of_device: str, at: int, random_bytes: RandomBytes) -> Statement:
        """Remove a device for ever, and seal beacons with a new key from now on; return the revocation."""
        self.check_is_admin()
        holds = self._member(of_device)
        self._check_other_admin(of_device, "")
        number = max(_key_number(self._grant.beacon_key), len(self.membership.removed())) + 1
        return self._state(replace(holds, what="revoke", by=self.me, at=at), _beacon_key(number, random_bytes))

    def _member(self, of_device: str) -> Statement:
        holds = self.membership.statement_about(of_device)
        if holds is None or holds.is_revocation:
            raise NotFound(f"{short_id(of_device)} is no device of this cluster. `devices` lists them.")
        return holds

    def check_is_admin(self) -> None:
        """Raise Forbidden, naming where to go, on a device that may not change the cluster."""
        if not self.is_admin:
            admins = sorted(self._name_of(each) for each in self.membership.admins())
            where = f"Do it on {' or '.join(admins)}." if admins else "No admin is left, so make a new cluster."
            raise Forbidden(f"Only an admin device changes the cluster. {where}", {"rule": "role"})

    def check_may_leave(self) -> None:
        """Raise Forbidden where a cluster of others would be left without any admin."""
        if self.membership.admins() == [self.me] and len(self.membership.members()) > 1:
            raise Forbidden(
                "This is the only admin, and without one the cluster can change no more. Pair another with"
                " `invite --admin` first, or take its key along: devices --leave --backup FILE", {"rule": "role"},
            )

    def _check_other_admin(self, of_device: str, role: str) -> None:
        if self.membership.admins() == [of_device] and role != "admin":
            raise Forbidden(
                "This is the only admin, and without one the cluster can change no more. Pair another with"
                " `invite --admin` first.", {"rule": "role"},
            )

    def _key(self) -> PrivateKey:
        assert self._grant.ca_key is not None, "only admins sign"
        return self._grant.ca_key

    def _state(self, statement: Statement, beacon_key: bytes = b"") -> Statement:
        """Let a statement hold from now on; where it cannot be kept it does not, and nobody hears of it."""
        signed = sign_as_line(self._key(), replace(statement, seq=self.membership.next_seq()), self._limits)
        before = self._grant, self.membership
        self._grant = replace(self._grant, beacon_key=beacon_key or self._grant.beacon_key)
        self.membership = self.membership.copy()
        self.membership.merge([signed])
        self._drop_key()
        try:
            self._keep(self.grant)
        except StateError:
            self._grant, self.membership = before
            raise
        return signed

    def _drop_key(self) -> None:
        """Give up the cluster's key where this device is no admin any more, and another is."""
        if self._grant.ca_key is not None and self.membership.admins() and not self.is_admin:
            self._grant = replace(self._grant, ca_key=None)

    # ---- what others say --------------------------------------------------------------------------

    def merge_lines(self, lines: Iterable[bytes], random_bytes: RandomBytes) -> List[str]:
        """Take statements that another member sent; return the ids of the devices about which something else holds.

        What is known already costs nothing, what is no good is counted in `refused`; never raises for either.
        """
        known = {each.line for each in self.membership.statements()}
        fresh: List[Statement] = []
        for line in lines:
            if line in known:
                continue
            try:
                fresh.append(read_statement_line(line, self._ca_public, self._limits))
            except ProtocolError:
                self.refused += 1
        changed = self.membership.merge(fresh)
        if changed:
            self._drop_key()
            removals = len(self.membership.removed())
            if self.is_admin and _key_number(self._grant.beacon_key) < removals:
                # Whoever was removed elsewhere may know the key that we have.
                self._grant = replace(self._grant, beacon_key=_beacon_key(removals, random_bytes))
            self.try_to_keep()
        return changed

    def take_beacon_key(self, beacon_key: bytes) -> None:
        """Seal beacons with the key of an admin, made after a removal, unless it is older than ours."""
        if len(beacon_key) != BEACON_KEY_BYTES:
            raise InvalidParams(f"a beacon key has {BEACON_KEY_BYTES} bytes")
        if bytes(beacon_key) > self._grant.beacon_key:
            self._grant = replace(self._grant, beacon_key=bytes(beacon_key))
            self.try_to_keep()

    def try_to_keep(self) -> None:
        """Put what holds on the disk, if that can be; what others say holds in any case, removals above all."""
        try:
            self._keep(self.grant)
            self.unkept = ""
        except StateError as error:
            self.unkept = error.message
