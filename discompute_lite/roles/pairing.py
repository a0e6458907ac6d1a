"""Invite devices and join clusters: drive the pairing exchange over ports, and tell and ask people.

Knows:   when the pairing port opens and closes, who is asked, what is kept before what is sent, when to try again.
Refuses: TLS and sockets (a `PairingDoor` has them), screens (`tell` and `ask` do), what statements say.
Read next: wire/pairing.py (the messages), roles/own_cluster.py (what letting in means).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Dict, Optional, Set

from ..crypto.certificates import SERIAL_BYTES, pairing_certificate
from ..crypto.p256 import PrivateKey, generate_key
from ..model.device import PHONE_TYPES, short_id
from ..model.errors import (
    CallError, CallTimeout, DiscomputeError, Forbidden, LinkError, NothingListens, StateError, Unavailable,
)
from ..model.limits import Limits
from ..wire.invitation import PAIRING_REST_S, Invitation, JoinWords, draw_code, draw_token
from ..wire.pairing import (
    PairingAsked, PairingBroken, PairingEvent, PairingGranted, PairingHost, PairingJoiner, PairingWaits,
    PairingSession, PairingStored,
)
from ..wire.pairing_grant import PairingGrant
from .alarm import Alarm
from .own_cluster import OwnCluster, RandomBytes
from .ports import Clock, PairingDoor, PairingLine, PairingListener


#: What a joiner is told whom the host would let in, and cannot.
_CANNOT_LET_IN = "The other device cannot let anybody in just now. Mend what it says on its screen, then try again."


class PairingRun:
    """Carry one exchange over one line, and hold it to its deadline."""

    def __init__(
        self, machine: PairingSession, line: PairingLine, clock: Clock,
        told: Callable[[PairingRun, PairingEvent], None],
    ) -> None:
        self.machine = machine
        self.line = line
        self._clock = clock
        self._told = told
        self._alarm = Alarm(clock, lambda late_s: self.time_out())
        self.is_finished = False
        #: The host's side: who wants to join and what it calls itself, "" until it is known.
        self.device_id = self.name = ""
        # Whoever makes it keeps it first, and then hears of it.
        clock.post(self.go_on)

    def received(self, data: bytes) -> None:
        """Take bytes as they came."""
        self.machine.receive_data(data)
        self.go_on()

    def ended(self) -> None:
        """Take note that the line is gone."""
        self.machine.receive_end(self._clock.now())
        self.go_on()

    def go_on(self) -> None:
        """Tell what happened, send what is to be sent, and close when it is over."""
        event = self.machine.next_event(self._clock.now())
        while event is not None:
            self._told(self, event)
            event = self.machine.next_event(self._clock.now())
        if self.is_finished:
            return
        data = self.machine.data_to_send()
        if data:
            self.line.send(data)
        if self.machine.is_closing:
            self.is_finished = True
            self.line.finish()
        elif self.machine.deadline < float("inf"):
            self._alarm.set(self.machine.deadline)

    def time_out(self) -> None:
        """End it where its time is over."""
        self.machine.time_out(self._clock.now())
        self.go_on()


@dataclass(frozen=True)
class InvitationTerms:
    """Say what an invitation offers."""

    #: A token of 130 bits instead of eight digits: for links, scripts and classrooms.
    with_token: bool = False
    #: Let in who knows the code, without asking.
    asks_nobody: bool = False
    #: Make the device an admin, who has the cluster's key.
    with_key: bool = False
    joins: int = 1
    open_s: float = 300.0


class Inviter:
    """Be the host of one invitation after the other; all methods belong to the loop's thread."""

    def __init__(
        self, door: PairingDoor, clock: Clock, wall: Callable[[], float], limits: Limits, random_bytes: RandomBytes,
        tell: Callable[[str, str], None], ask: Callable[[PairingAsked, Callable[[bool], None]], None],
    ) -> None:
        """`ask(asked, answer)` shows who wants to join, and calls `answer(True)` or `answer(False)`, now or later."""
        self._door = door
        self._clock = clock
        self._wall = wall
        self._limits = limits
        self._random_bytes = random_bytes
        self._tell = tell
        self._ask = ask
        self._alarm = Alarm(clock, lambda late_s: self._close_if_over())
        self._cluster: Optional[OwnCluster] = None
        self._terms = InvitationTerms()
        self.invitation: Optional[Invitation] = None
        #: The port of the open invitation, 0 where there is none: what beacons and `Hello` say as `pair`.
        self.port = 0
        self._runs: Set[PairingRun] = set()
        #: Devices that were given a certificate and have not said that they kept it, nor been seen since.
        self.unseen: Set[str] = set()
        #: Told of each device that was given a certificate: it belongs to the cluster from then on.
        self.let_in: Callable[[PairingAsked], None] = lambda asked: None
        #: Told of each that has said that it kept it, with its name.
        self.stored: Callable[[str, str], None] = lambda device_id, name: None
        #: Told of each that was not let in, with the address, whether the code was wrong, and a sentence.
        self.turned_away: Callable[[str, bool, str], None] = lambda address, was_wrong_code, sentence: None
        #: Told when an invitation ended.
        self.closed: Callable[[], None] = lambda: None

    def invite(self, cluster: OwnCluster, terms: InvitationTerms) -> Invitation:
        """Open the pairing port; an invitation that is open ends. Raise Forbidden where this is no admin device."""
        cluster.check_is_admin()
        self.stop()
        draw = draw_token if terms.with_token else draw_code
        invitation = Invitation(
            draw(self._random_bytes), self._limits, expires_at=self._clock.now() + terms.open_s, joins=terms.joins,
        )
        key = generate_key(self._random_bytes)
        certificate = pairing_certificate(key, serial=self._random_bytes(SERIAL_BYTES))

        def answer(line: PairingLine) -> PairingListener:
            machine = PairingHost(invitation, certificate, self._limits, self._random_bytes, self._clock.now())
            run = PairingRun(machine, line, self._clock, self._happened)
            self._runs = {each for each in self._runs if not each.is_finished} | {run}
            return run

        self.port = self._door.open(key, certificate, answer)
        self._cluster, self._terms, self.invitation = cluster, terms, invitation
        self._alarm.set(invitation.expires_at)
        return invitation

    def stop(self) -> None:
        """Close the pairing port, and send away whoever has not been let in yet."""
        was_open = self.invitation is not None
        if self.invitation is not None:
            self.invitation.expires_at = min(self.invitation.expires_at, self._clock.now())
            self._door.close()
        self.invitation, self.port = None, 0
        for run in list(self._runs):
            run.time_out()
        if was_open:
            self.closed()

    def _happened(self, run: PairingRun, event: PairingEvent) -> None:
        if isinstance(event, PairingAsked):
            run.device_id, run.name = event.device_id, event.name
            self._consider(run, event)
        elif isinstance(event, PairingStored):
            self.unseen.discard(event.device_id)
            self._tell("pairing", f"{run.name} ({short_id(event.device_id)}) has joined the cluster")
            self.stored(event.device_id, run.name)
        elif isinstance(event, PairingBroken):
            self._tell("pairing", self._broken_sentence(run, event))
            self.turned_away(run.line.remote_address, event.was_wrong_code, event.error.message)
        self._close_if_over()

    def _broken_sentence(self, run: PairingRun, event: PairingBroken) -> str:
        where = f"A device at {run.line.remote_address}"
        if event.was_wrong_code:
            assert isinstance(run.machine, PairingHost), "only a host finds a code wrong"
            left = run.machine.invitation.tries_left
            return f"{where} used a wrong code; tries left: {left}. If that was not you, press Ctrl-C."
        if run.device_id in self.unseen:
            return (
                f"{short_id(run.device_id)} was let in and went before it said so: it counts as paired, not yet seen."
                " Let it join again, or `revoke` it."
            )
        return f"{where} did not join: {event.error.message}"

    def _consider(self, run: PairingRun, asked: PairingAsked) -> None:
        """Ask whether the device may join, unless it never can or nobody is to be asked."""
        cluster, terms = self._cluster, self._terms
        assert cluster is not None and isinstance(run.machine, PairingHost), "only an open invitation is asked for"
        host = run.machine

        def answer(is_welcome: bool) -> None:
            now = self._clock.now()
            try:
                if host.awaits_decision(now) and is_welcome:
                    host.admit(self._grant(cluster, terms, asked), now)
                    self.unseen.add(asked.device_id)
                    self.let_in(asked)
                else:
                    host.refuse(now)
            except (CallError, StateError) as error:
                # The reason is for the person here.
                self._tell("pairing", error.message)
                host.refuse(now, Forbidden(_CANNOT_LET_IN, {"rule": "state"}))
            run.go_on()
            self._close_if_over()

        try:
            cluster.check_may_join(asked.device_id)
        except CallError as error:
            host.refuse(self._clock.now(), error)
            return
        if terms.asks_nobody:
            answer(True)
        else:
            self._ask(asked, answer)

    def _grant(self, cluster: OwnCluster, terms: InvitationTerms, asked: PairingAsked) -> PairingGrant:
        # A phone runs others' work and sends none, unless an admin says otherwise later.
        role = "admin" if terms.with_key else "worker" if asked.kind in PHONE_TYPES else "member"
        added = cluster.welcome(asked.device_id, role, asked.name, asked.kind, int(self._wall()))
        return cluster.let_in(asked.public, added, self._random_bytes, with_key=terms.with_key)

    def _close_if_over(self) -> None:
        invitation = self.invitation
        over = invitation.why_over(self._clock.now()) if invitation is not None else None
        if invitation is not None and over is not None:
            if invitation.joins_left:
                self._tell("pairing", over.message)
            self.stop()


class Joining:
    """Join the cluster of whoever gave us these words; tries every address, and again where others are in turn."""

    def __init__(
        self, words: JoinWords, key: PrivateKey, describe: Dict[str, str], door: PairingDoor, clock: Clock,
        limits: Limits, random_bytes: RandomBytes,
    ) -> None:
        """`describe` has this device's `name` and `kind`; `words` have at least one address."""
        self._words = words
        self._key = key
        self._describe = describe
        self._door = door
        self._clock = clock
        self._limits = limits
        self._random_bytes = random_bytes
        self._keep: Callable[[PairingGrant], None] = lambda grant: None
        self._tell: Callable[[str, str], None] = lambda kind, sentence: None
        self._done: Callable[[Optional[PairingGrant], Optional[DiscomputeError]], Any] = lambda grant, error: None
        self._gives_up_at = clock.now() + limits.pairing_open_s
        self._address = 0
        self._is_over = False
        self._error: DiscomputeError = CallTimeout("Nobody answered. Look whether the code is still shown, then try.")

    def start(
        self, keep: Callable[[PairingGrant], None], tell: Callable[[str, str], None],
        done: Callable[[Optional[PairingGrant], Optional[DiscomputeError]], Any],
    ) -> None:
        """Begin. `keep(grant)` puts it on the disk; `done(grant, error)` comes exactly once."""
        self._keep, self._tell, self._done = keep, tell, done
        self._call()

    def _call(self) -> None:
        if self._address >= len(self._words.addresses):
            self._end(None, self._error)
            return
        self._door.call(self._words.addresses[self._address], self._called)

    def _called(
        self, line: Optional[PairingLine], certificate: bytes, error: Optional[DiscomputeError]
    ) -> Optional[PairingListener]:
        if line is None:
            if isinstance(error, NothingListens):
                where = self._words.addresses[self._address]
                error = NothingListens(
                    f"nobody is let in at {where} any more: the code or link was used, or its time is over; have"
                    " `invite` or `share --invite` make a new one there")
            self._try_next(error or self._error)
            return None
        machine = PairingJoiner(
            self._words.code, self._key, self._describe, certificate, self._limits, self._random_bytes,
            self._clock.now(),
        )
        return PairingRun(machine, line, self._clock, self._happened)

    def _happened(self, run: PairingRun, event: PairingEvent) -> None:
        if self._is_over:
            return
        if isinstance(event, PairingWaits):
            self._tell("pairing", "If the code is right, the other device asks now: say yes there.")
        elif isinstance(event, PairingGranted):
            assert isinstance(run.machine, PairingJoiner), "only joiners are granted anything"
            try:
                self._keep(event.grant)
            except StateError as error:
                self._end(None, error)
                run.machine.receive_end(self._clock.now())
                return
            run.machine.confirm_stored()
            self._end(event.grant, None)
        elif isinstance(event, PairingBroken):
            self._broken(event.error)

    def _broken(self, error: DiscomputeError) -> None:
        if isinstance(error, Unavailable) and self._clock.now() < self._gives_up_at:
            self._clock.call_later(PAIRING_REST_S, self._call)
        elif isinstance(error, LinkError):
            self._try_next(error)
        else:
            # It was the right place, and no: another address of the same host would say the same, and cost a try.
            self._end(None, error)

    def _try_next(self, error: DiscomputeError) -> None:
        self._error = error
        self._address += 1
        self._call()

    def _end(self, grant: Optional[PairingGrant], error: Optional[DiscomputeError]) -> None:
        self._is_over = True
        self._done(grant, error)
