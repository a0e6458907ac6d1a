"""Serve the owner of one node in what concerns its cluster: letting devices in, joining, changing and removing.

Knows:   the invitation that is open here and what happened to it, who asks to be let in, hosts that let devices in.
Refuses: the exchange itself (roles/pairing.py), what statements mean (roles/own_cluster.py), screens.
Read next: roles/owner_methods.py (the surface), roles/belonging.py (what being a member means).
"""

from __future__ import annotations

from collections import deque
from typing import Any, Callable, Deque, Dict, List, Optional, Tuple

from ..model.device import short_id
from ..model.errors import DiscomputeError, Forbidden, InvalidParams, NotFound, ProtocolError, StateError
from ..model.statement import Statement
from ..wire.invitation import JoinWords, join_link, spaced_code
from ..wire.pairing import PairingAsked
from ..wire.pairing_grant import PairingGrant, read_backup, read_backup_addresses, write_backup
from .alarm import Alarm
from .audit_notes import host_part
from .bounds import ID_CHARS, NAME_CHARS
from .owner_methods import DeskEvent, OpenInvitation, PairingPlace
from .own_cluster import OwnCluster, found_cluster, restored_seat
from .pairing import InvitationTerms, Inviter, Joining
from .ports import Later

#: Hosts that let devices in and are remembered; whoever sends more beacons than that is not listened to.
PAIRING_HOSTS = 32
#: Seconds after which such a host, unheard, is forgotten.
PAIRING_HOST_S = 60.0
#: What happened to an invitation, as far back as a face may ask.
DESK_EVENTS = 256
#: Seconds for which a question to the desk waits at most.
LONGEST_DESK_WAIT_S = 60.0
#: Seconds after the last look of a face at its invitation, at which the invitation ends: whoever asked is gone.
UNWATCHED_S = 15.0


class PairingHosts:
    """Remember who lets devices in just now."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        #: Device id -> place and when it was heard of.
        self._places: Dict[str, Tuple[PairingPlace, float]] = {}
        #: Called when there is one more.
        self.found: Callable[[], None] = lambda: None

    def heard(self, device_id: str, name: str, address: str, port: int) -> None:
        """A device at this address (host:port, whatever the port) says its pairing port, 0 for none."""
        if not port:
            self._places.pop(device_id, None)
            return
        if device_id not in self._places and len(self.places()) >= PAIRING_HOSTS:
            return
        place = PairingPlace(device_id[:ID_CHARS], name[:NAME_CHARS], f"{address.rpartition(':')[0]}:{port}")
        is_new = self._places.get(device_id, (None,))[0] != place
        self._places[device_id] = place, self._now()
        if is_new:
            self.found()

    def places(self) -> List[PairingPlace]:
        """Return those that were heard of lately."""
        since = self._now() - PAIRING_HOST_S
        self._places = {key: value for key, value in self._places.items() if value[1] >= since}
        return [place for place, _ in self._places.values()]

    def clear(self) -> None:
        """Forget all."""
        self._places.clear()


class FrontDesk:
    """Be the desk of one node."""

    def __init__(self, node: Any) -> None:
        self._node = node
        self.hosts = PairingHosts(node.clock.now)
        self.hosts.found = lambda: self._wake(self._seekers)
        self._inviter: Optional[Inviter] = None
        self._joining: Optional[Joining] = None
        self._events: Deque[DeskEvent] = deque(maxlen=DESK_EVENTS)
        self._next_event = 1
        #: Who wants to be let in, by device id: what to call with the answer.
        self._questions: Dict[str, Callable[[bool], None]] = {}
        #: Faces that wait for the next event, and for a host.
        self._watchers: List[Callable[[], None]] = []
        self._seekers: List[Callable[[], None]] = []
        self._watched_until = 0.0
        self._alarm = Alarm(node.clock, lambda late_s: self._stop_unwatched())

    @property
    def port(self) -> int:
        """Return the pairing port, 0 while nobody is let in."""
        return self._inviter.port if self._inviter is not None else 0

    def seen(self, device_id: str) -> None:
        """A device of the cluster is here: it has its certificate."""
        if self._inviter is not None:
            self._inviter.unseen.discard(device_id)

    def is_unseen(self, device_id: str) -> bool:
        """Whether a device was given a certificate and has not been seen since."""
        return self._inviter is not None and device_id in self._inviter.unseen

    # ---- inviting -------------------------------------------------------------------------------------

    def invite(self, terms: InvitationTerms) -> OpenInvitation:
        """Let devices in; a device that is alone makes its cluster first. Raise Forbidden, or StateError."""
        node = self._node
        inviter = self._inviter or self._make_inviter()
        is_new = not node.belonging.is_member
        if is_new:
            self._check_speaks_tls()
            self._found()
        cluster: OwnCluster = node.belonging.cluster
        invitation = inviter.invite(cluster, terms)
        self._questions.clear()
        self._watched(LONGEST_DESK_WAIT_S)
        node.discovery.look_again()
        addresses = [f"{host}:{inviter.port}" for host in node.world.own_hosts()]
        return OpenInvitation(
            True, "", spaced_code(invitation.code),
            join_link(invitation.code, addresses) if terms.with_token else "", addresses[0], terms.open_s,
            node.belonging.cluster_name(), is_new, self._next_event,
        )

    def stop(self) -> None:
        """Let nobody in any more."""
        if self._inviter is not None:
            self._inviter.stop()

    def watch(self, from_event: int, wait_s: float, show: Callable[[List[DeskEvent], int, bool], Any]) -> Later:
        """Answer with `show(events, next number, is open)`: at once where there are events, else within `wait_s`."""
        wait_s = min(LONGEST_DESK_WAIT_S, max(0.0, wait_s))
        self._watched(wait_s + UNWATCHED_S)
        later = Later()

        def answer() -> None:
            events = [event for event in self._events if event.number >= from_event]
            later.resolve(show(events, self._next_event, bool(self.port)))

        self._wait(self._watchers, answer, wait_s, self._next_event > from_event or not self.port)
        return later

    def answer(self, device_id: str, is_welcome: bool) -> None:
        """Say yes or no to a device that asks; raise NotFound where it asks no more."""
        reply = self._questions.pop(device_id, None)
        if reply is None:
            raise NotFound("That device asks no more. Let it join again, with a new code from `invite`.")
        reply(is_welcome)

    def _make_inviter(self) -> Inviter:
        node, trust = self._node, self._node.world.trust
        if trust is None or node.world.pairing_door is None:
            raise Forbidden("This node cannot belong to a cluster. Start one with a --state-dir.", {"rule": "state"})
        inviter = Inviter(
            node.world.pairing_door, node.clock, node.wall, node.settings_limits, trust.random_bytes, self._told,
            self._ask,
        )
        inviter.let_in, inviter.stored, inviter.closed = self._let_in, self._stored, self._closed
        inviter.turned_away = self._turned_away
        self._inviter = inviter
        return inviter

    def _found(self) -> None:
        node, trust = self._node, self._node.world.trust
        grant = found_cluster(
            trust.key, node.name, node.hardware.type, node.settings_limits, trust.random_bytes, int(node.wall())
        )
        trust.keep(grant)
        node.belonging.enter(grant)
        node.world.audit.note("founded", {"cluster": node.belonging.cluster.membership.cluster})

    def _told(self, kind: str, sentence: str) -> None:
        self._happened("said", sentence)
        self._node.tell(kind, sentence)

    def _ask(self, asked: PairingAsked, answer: Callable[[bool], None]) -> None:
        self._questions[asked.device_id] = answer
        text = f'Pair "{asked.name}" ({short_id(asked.device_id)}, {asked.kind})?'
        self._happened("question", text, asked.device_id)
        self._node.tell("question", text)

    def _let_in(self, asked: PairingAsked) -> None:
        node = self._node
        node.world.audit.note("let-in", {"device": asked.device_id, "name": asked.name, "kind": asked.kind})
        self._happened("let-in", f"{asked.name} ({short_id(asked.device_id)}) was let in.", asked.device_id)
        node.belonging.tell_all([asked.device_id])

    def _stored(self, device_id: str, name: str) -> None:
        self._happened("joined", f"{name} ({short_id(device_id)}) has joined the cluster", device_id)

    def _turned_away(self, address: str, was_wrong_code: bool, sentence: str) -> None:
        rule = "code" if was_wrong_code else "pairing"
        self._node.world.audit.refused(rule, host_part(address), {"reason": sentence})

    def _closed(self) -> None:
        self._questions.clear()
        self._happened("closed", "Nobody is let in any more.")
        self._node.discovery.look_again()

    def _happened(self, kind: str, text: str, device_id: str = "") -> None:
        self._events.append(DeskEvent(self._next_event, kind, text, device_id))
        self._next_event += 1
        self._wake(self._watchers)

    def _watched(self, seconds: float) -> None:
        self._watched_until = max(self._watched_until, self._node.clock.now() + seconds)
        self._alarm.set(self._watched_until)

    def _stop_unwatched(self) -> None:
        if self._questions:
            # A person thinks about it; that ends with the invitation at the latest.
            self._watched(UNWATCHED_S)
        elif self._node.clock.now() < self._watched_until:
            self._alarm.set(self._watched_until)
        else:
            self.stop()

    # ---- joining ----------------------------------------------------------------------------------------

    def find_hosts(self, wait_s: float, show: Callable[[List[PairingPlace]], Any]) -> Later:
        """Answer with `show(places)`, which may be a promise; wait up to `wait_s` for the first place."""
        later = Later()

        def answer() -> None:
            try:
                shown = show(self.hosts.places())
            except DiscomputeError as error:
                later.fail(error)
                return
            if isinstance(shown, Later):
                shown.then(lambda result, error: later.fail(error) if error else later.resolve(result))
            else:
                later.resolve(shown)

        self._node.discovery.look_again()
        self._wait(self._seekers, answer, min(LONGEST_DESK_WAIT_S, wait_s), bool(self.hosts.places()))
        return later

    def _check_speaks_tls(self) -> None:
        if not self._node.settings.tls:
            raise Forbidden("This device was started with tls false, which is for one that stays alone. Start it"
                            " without that, then pair it.", {"rule": "tls"})
        # Before anything is kept: half a membership would stand in the way of the next Python.
        problem = self._node.world.trust.why_no_tls()
        if problem:
            raise Forbidden(problem, {"rule": "tls"})

    def join(self, words: JoinWords, done: Callable[[str], Any]) -> Later:
        """Join the cluster of whoever gave us these words, which have an address; answer with `done(cluster)`."""
        self.check_is_alone()
        self._check_speaks_tls()
        node, trust, door = self._node, self._node.world.trust, self._node.world.pairing_door
        if self._joining is not None:
            raise Forbidden("This device is joining a cluster already. Wait until that has ended.", {"rule": "joining"})
        later = Later()
        describe = {"name": node.name, "kind": node.hardware.type}
        self._joining = Joining(words, trust.key, describe, door, node.clock, node.settings_limits, trust.random_bytes)
        self._joining.start(
            trust.keep, node.tell, lambda grant, error: self._joined(grant, error, later, done)
        )
        return later

    def _joined(
        self, grant: Optional[PairingGrant], error: Optional[DiscomputeError], later: Later, done: Callable[[str], Any]
    ) -> None:
        self._joining, node = None, self._node
        try:
            if grant is None:
                raise error or StateError("joining ended without a reason", "try again")
            node.belonging.enter(grant)
        except DiscomputeError as problem:
            node.world.audit.note("not-joined", {"reason": problem.message})
            later.fail(problem)
            return
        membership = node.belonging.cluster.membership
        node.world.audit.note("joined", {"cluster": membership.cluster})
        # Whose invitation was accepted here need not be asked about again.
        node.rules.approve(membership.statement_about(node.id).by)
        node.tell("pairing", f"this device belongs to cluster {node.belonging.cluster_name()} now")
        node.discovery.look_again()
        later.resolve(done(node.belonging.cluster_name()))

    @staticmethod
    def _wake(waiting: List[Callable[[], None]]) -> None:
        woken = list(waiting)
        waiting.clear()
        for wake in woken:
            wake()

    def _wait(
        self, waiting: List[Callable[[], None]], answer: Callable[[], None], wait_s: float, is_ready: bool
    ) -> None:
        """Call `answer` at once where it is ready, else when whoever is in `waiting` is woken, or time is over."""
        if is_ready or wait_s <= 0.0:
            answer()
        else:
            waiting.append(answer)
            self._node.clock.call_later(wait_s, self._wait_over, waiting, answer)

    @staticmethod
    def _wait_over(waiting: List[Callable[[], None]], answer: Callable[[], None]) -> None:
        # Those who were woken are in no list any more, and heard all that they asked for.
        if answer in waiting:
            waiting.remove(answer)
            answer()

    # ---- changing ---------------------------------------------------------------------------------------

    def change(self, of_device: str, what: str, value: str) -> None:
        """Give a device another role, name or permission to send, on an admin device."""
        cluster = self.cluster()
        cluster.change(of_device, what, value, int(self._node.wall()))
        self._node.world.audit.note("changed", {"device": of_device, "field": what, "value": value})
        self._node.belonging.tell_all([of_device])

    def revoke(self, of_device: str) -> None:
        """Remove a device for ever, on an admin device."""
        cluster = self.cluster()
        cluster.remove(of_device, int(self._node.wall()), self._node.world.trust.random_bytes)
        self._node.world.audit.note("removed", {"device": of_device})
        self._node.belonging.tell_all([of_device])

    def leave(self, is_backed_up: bool) -> None:
        """Be alone from now on; the others go on listing this device until an admin removes it."""
        cluster = self.cluster()
        if not is_backed_up:
            cluster.check_may_leave()
        self._node.world.audit.note("left", {"cluster": cluster.membership.cluster})
        self._node.belonging.leave()

    # ---- the backup -------------------------------------------------------------------------------------

    def back_up(self) -> bytes:
        """Return what the cluster lives on from when its admins are lost; on an admin device."""
        cluster = self.cluster()
        cluster.check_is_admin()
        self._node.world.audit.note("backed-up", {"cluster": cluster.membership.cluster})
        addresses = self._node.discovery.first_addresses(lambda device: device.verified)
        return write_backup(cluster.grant, self._node.settings_limits, addresses)

    def restore(self, data: bytes) -> str:
        """Become an admin of the cluster in a backup; return what it is called."""
        self.check_is_alone()
        self._check_speaks_tls()
        node, trust = self._node, self._node.world.trust
        described = Statement("", 0, "add", "", "admin", "", int(node.wall()), node.name, node.hardware.type)
        try:
            backup = read_backup(data, node.settings_limits)
        except ProtocolError as error:
            raise InvalidParams(
                f"This is no whole backup of a cluster: {error.message}. Take one that `devices --backup` made."
            ) from None
        grant = restored_seat(backup, trust.key, described, node.settings_limits, trust.random_bytes)
        trust.keep(grant)
        node.belonging.enter(grant)
        node.world.audit.note("restored", {"cluster": node.belonging.cluster.membership.cluster})
        node.tell("pairing", f"this device is an admin of cluster {node.belonging.cluster_name()} now")
        node.discovery.look_again()
        # They cannot read our beacons, nor we theirs, until we have met: the key of these is another now.
        node.discovery.meet(read_backup_addresses(data), lambda outcomes: None)
        return str(node.belonging.cluster_name())

    def check_is_alone(self) -> None:
        """Raise Forbidden where this device cannot join anything because it belongs somewhere, or cannot at all."""
        node = self._node
        if node.world.trust is None or node.world.pairing_door is None:
            raise Forbidden("This node cannot belong to a cluster. Start one with a --state-dir.", {"rule": "state"})
        if node.belonging.is_member:
            raise Forbidden(
                f"This device belongs to cluster {node.belonging.cluster_name()} already. To join another, let it leave"
                " first: devices --leave", {"rule": "membership"},
            )

    def cluster(self) -> OwnCluster:
        """Return our place in our cluster; raise Forbidden while this device is alone."""
        cluster: Optional[OwnCluster] = self._node.belonging.cluster
        if cluster is None:
            raise Forbidden("This device is alone. Make a cluster with `invite`, or `join` one.", {"rule": "alone"})
        return cluster
