"""Be one node: receive every call, check who may make it, and hand it to the role whose work it is.

Knows:   its identity, its roles, and what it was given to reach the world (roles/ports.py).
Refuses: sockets, threads, files, clocks; whatever happens comes in as a call of one of its methods.
Read next: roles/methods.py (the surface), roles/discovery.py, roles/coordinator.py, roles/worker.py.

One call, end to end: a connection gives `call_received`; the method is looked up, the caller's access
checked, the parameters read by the method's signature; its role answers now or `Later`; the answer is
encoded and goes out on the same connection.
"""

from __future__ import annotations

import hmac
import logging
from dataclasses import dataclass, replace
from typing import Any, Dict, Optional

from ..core.events import (
    TellChanged, TellDead, TellDuplicateIdentity, TellJoined, TellLeft, TellRestarted, TellSuspect,
)
from ..core.policy import access
from ..core.registry import DeviceRegistry
from ..model.codec import to_json
from ..model.device import Device, DeviceStatus, Hardware
from ..model.errors import DiscomputeError, InternalError, InvalidRequest, MethodNotFound, Unauthenticated, Unavailable
from ..model.limits import Limits
from ..wire.rpc import CallReceived
from .announcer import hides_from
from .attempts import Attempts
from .audit_notes import note_refusal
from .averaging import Averaging
from .belonging import Belonging
from .blobs import Blobs
from .coordinator import Coordinator
from .device_events import device_event
from .discovery import Discovery
from .event_log import EventLog
from .feelings import Feelings
from .methods import METHODS, REPEATED_METHODS, Greeting
from .peer import Peer
from .ports import ClockAndWorld, Later, LinkPort
from .link_speed import LinkSpeeds
from .offers import own_offer, peer_offer, total_offer
from .own_rules import OwnRules
from .own_device import describe_own_device, own_status, score_of
from .post import PostOffice
from .script_calls import ScriptCalls
from .sharing import Sharing
from .streams import Streams
from .told_rounds import ToldRounds
from .twin import Twin
from .web import admit_web_request, answer_web_request
from .web_events import EventReaders
from .worker import Worker


@dataclass(frozen=True)
class Identity:
    """Say who this node is."""

    id: str
    #: Random for each start of the process.
    boot: str
    name: str
    version: str
    #: Whoever shows it over loopback is the owner.
    token: str


class Node:
    """Compose the roles of one node; all methods belong to the clock's thread."""

    repeated_methods = REPEATED_METHODS

    def __init__(
        self, identity: Identity, settings: Any, limits: Limits, hardware: Hardware, world: ClockAndWorld
    ) -> None:
        self.identity = identity
        self.id, self.boot = identity.id, identity.boot
        self.name, self.version = identity.name, identity.version
        self.settings, self.settings_limits = settings, limits
        self.hardware, self.world = hardware, world
        self.clock, self.wall, self.rng = world.clock, world.wall, world.rng
        self.dialler, self.transports = world.dialler, world.transports
        self.executor, self.store = world.executor, world.store
        self.events = EventLog(self.boot, world.wall, limits.events_kept, world.tell)
        #: tell(kind, sentence, **facts): something happened here (roles/event_log.py).
        self.tell = self.events.tell
        self.slots = world.slots
        self.port = 0
        #: What this device measured of itself, as it is listed; {} until measured.
        self.measured: Dict[str, Any] = {}
        self.counters: Dict[str, int] = {}
        #: The face that others see; None when something in it changed.
        self._own_device: Optional[Device] = None
        self._told_status = DeviceStatus.AVAILABLE
        self.discovery = Discovery(self, DeviceRegistry(self.id, self.boot, limits, self.rng))
        self.belonging, self.rules = Belonging(self), OwnRules(self)
        self.twin, self.blobs, self.worker = Twin(self), Blobs(self), Worker(self)
        self.feelings = Feelings(self)
        self.attempts, self.link_speeds, self.averaging = Attempts(self), LinkSpeeds(self), Averaging(self)
        self.coordinator = Coordinator(self, self.attempts)
        self.streams, self.scripts, self.sharing = Streams(self, self.attempts), ScriptCalls(self), Sharing(self)
        self.post_office, self.event_readers = PostOffice(self), EventReaders(self)
        self.told_rounds = ToldRounds(self.tell)
        self.is_stopping = False

    # ---- life -------------------------------------------------------------------------------------

    def start(self, port: int) -> None:
        """Begin to meet others; calls are answered from now on at `port`."""
        self.port = port
        self.rules.start()
        self.belonging.start()
        self._offer_own_slots()
        self.coordinator.restore()
        self.discovery.start()
        self.feelings.start()

    def stop(self) -> None:
        """End tasks and attempts, say goodbye, close links; the loop should run a moment longer."""
        if not self.is_stopping:
            self.is_stopping = True
            self.scripts.stop()
            self.streams.stop("the node was stopped")
            self.coordinator.stop()
            self.attempts.stop()
            self.worker.stop()
            self.discovery.stop()
            self.event_readers.stop()

    # ---- what connections give (net/stream.py: Receiver) ------------------------------------------------

    def call_received(self, link: LinkPort, call: CallReceived) -> None:
        """Answer one call, now or later."""
        peer = link.peer or self.peer_of(link)
        method = METHODS.get(call.method)
        if method is None:
            call.refuse(MethodNotFound(f"there is no method {call.method!r}; rpc.discover lists them"))
            return
        if peer.cleared_in != self.belonging.version:
            peer.cleared, peer.cleared_in = set(), self.belonging.version
        if method.level not in peer.cleared:
            refusal = self._refusal(link, method.level)
            if refusal is not None:
                note_refusal(self, link, call.method, refusal)
                call.refuse(refusal)
                link.finish()
                return
            peer.cleared.add(method.level)
        try:
            if call.params is peer.memo_params and method is peer.memo_method:
                arguments = peer.memo_arguments
            else:
                arguments = method.read(call.params)
                if method.is_repeated:
                    peer.memo_method, peer.memo_params, peer.memo_arguments = method, call.params, arguments
            result = method.function(self, link, **arguments)
        except DiscomputeError as error:
            call.refuse(error)
            if isinstance(error, Unauthenticated):
                note_refusal(self, link, call.method, error)
                link.finish()
        except Exception:
            # One of three places for a broad except: a bug in one method must not end the node.
            logging.getLogger("discompute").exception("the method %s failed", call.method)
            call.refuse(InternalError("this node made a mistake; its log says which"))
        else:
            if type(result) is dict:
                # It is JSON already.
                call.answer(result)
            elif isinstance(result, Later):
                result.then(lambda value, error: call.refuse(error) if error else call.answer(to_json(value)))
            else:
                call.answer(to_json(result))

    def admit_call(self, link: LinkPort, name: str) -> Optional[DiscomputeError]:
        """Refuse attachments of whoever may not make this call, before any memory is taken for them."""
        method = METHODS.get(name)
        level = method.level if method is not None and self.belonging.is_trusted(link) else "owner"
        refusal = self._refusal(link, level)
        if refusal is not None:
            note_refusal(self, link, name, refusal)
            return refusal
        return MethodNotFound(f"there is no method {name!r}; rpc.discover lists them") if method is None else None

    def request_received(self, connection: Any, request: Any) -> None:
        """Answer one HTTP request, now or later."""
        answer_web_request(self, connection, request)

    def admit_request(self, connection: Any, head: Any) -> Any:
        """Refuse an HTTP request by its head, before its body is read."""
        return admit_web_request(self, connection, head)

    def connection_closed(self, link: LinkPort, reason: str) -> None:
        """Forget a connection."""
        self.world.connection_closed(link)
        self.event_readers.connection_closed(link)
        self.scripts.connection_closed(link)
        if link.peer is not None:
            self.discovery.link_closed(link)

    # ---- greeting -----------------------------------------------------------------------------------

    def greet(self, link: LinkPort, greeting: Greeting) -> Any:
        """Answer a Hello, now or `Later`; refuse a wrong token, and strangers where we are not announced."""
        peer = self.peer_of(link)
        if greeting.auth:
            if not (link.is_loopback and self.owns(greeting.auth)):
                raise Unauthenticated(
                    "The control token is wrong or came from another machine: use the one in this node's state folder,"
                    " from the same machine.", {"rule": "token"},
                )
            peer.is_owner = True
        if greeting.node_id and peer.can_be_called and self.belonging.is_unheard(link):
            return self.belonging.once_heard(link, lambda: self.greet(link, greeting))
        refusal = hides_from(self, link)
        if refusal is not None:
            raise refusal
        if len(greeting.node_id) > 64:
            raise InvalidRequest("a node_id has at most 64 characters")
        if greeting.node_id == self.id:
            self.twin.met(link, greeting, self.clock.now())
        elif greeting.node_id and self.twin.reason:
            raise Unavailable(self.twin.reason)
        elif greeting.node_id and not peer.node_id and peer.can_be_called and self._may_link(link):
            self.discovery.greeted(link, greeting)
        return self.greeting(link)

    def greeting(self, link: Optional[LinkPort] = None) -> Greeting:
        """Return our own Hello; the token is its owner's to show, never ours."""
        is_own = link is not None and link.verified_id == self.id
        age_ms = self.twin.age_ms(self.clock.now()) if is_own else 0
        pair = self.belonging.desk.port
        return Greeting(self.id, self.name, self.version, self.port, self.boot, pair=pair, age_ms=age_ms)

    # ---- this device ----------------------------------------------------------------------------------

    def own_device(self) -> Device:
        """Return this device as others see it."""
        if self._own_device is None:
            self._own_device = describe_own_device(self, self.is_stopping)
        return replace(self._own_device, last_seen=int(self.wall()))

    @property
    def reading(self) -> Any:
        """Return how this device felt when last looked at."""
        return self.feelings.reading

    def description_changed(self) -> None:
        """What others see of this device may have changed."""
        self._own_device = None

    def load_changed(self) -> None:
        """The number of running attempts changed: so may have the status."""
        self._own_device = None
        self.feelings.load_changed()
        status = own_status(self, self.is_stopping)
        if status is not self._told_status and not self.is_stopping:
            self._told_status = status
            self.clock.post(self.discovery.own_state_changed)

    def set_measured(self, measured: Dict[str, Any]) -> None:
        """Take the outcome of a measurement of this device."""
        self.measured = measured
        self.offers_changed()

    def offers_changed(self) -> None:
        """This device takes other work than before, or has another speed."""
        self._own_device = None
        self._offer_own_slots()
        self.discovery.own_description_changed()

    def total_slots(self) -> int:
        """Return the slots of all devices that may be given work, this one included."""
        return total_offer(self)

    # ---- what discovery tells -----------------------------------------------------------------------------

    def membership_changed(self, action: Any) -> None:
        """Tell people and the scheduler about a device that came, changed or went."""
        device_id = action.device_id
        self.tell(*device_event(action, self.discovery.registry), device_id=device_id)
        if isinstance(action, TellDuplicateIdentity):
            self.twin.suspected(action.address)
        if isinstance(action, TellRestarted):
            self.attempts.device_lost(device_id, "it was restarted")
        if isinstance(action, (TellDead, TellLeft)):
            reason = action.reason if isinstance(action, TellDead) else "it left"
            self.attempts.device_lost(device_id, reason, is_clean=isinstance(action, TellLeft))
            self.discovery.drop_links(device_id)
            self.coordinator.copies.device_lost(device_id)
        elif isinstance(action, (TellJoined, TellChanged, TellRestarted, TellSuspect)):
            self._offer_slots_of(device_id)
        self.worker.membership_changed(action)
        if isinstance(action, (TellRestarted, TellDead, TellLeft)):
            self.blobs.device_lost(device_id)
        self.averaging.membership_changed(action)

    def link_opened(self, device_id: str) -> None:
        """A link to a device is ready for calls."""
        self._offer_slots_of(device_id)
        self.attempts.link_opened(device_id)
        self.coordinator.copies.link_opened(device_id)
        self.belonging.link_opened(device_id)

    def device_changed(self, device_id: str) -> None:
        """A device said again what it is, or a link to it ended: its slots and speed may be others, or out of reach."""
        self._offer_slots_of(device_id)

    def heartbeat_notes(self, sender: str) -> Dict[str, Any]:
        """Return what our answers to heartbeats say of ours: status, and the sender's attempts that run here.

        `sender` is "" for those who cannot have any.
        """
        device = self._own_device or self.own_device()
        notes: Dict[str, Any] = {"status": device.status.value}
        if sender:
            self.worker.heard_from(sender)
            attempts = self.worker.running_for(sender)
            if attempts:
                notes["attempts"] = list(attempts)
                still = {attempt_id: why for attempt_id, why in attempts.items() if why}
                notes.update({"still": still} if still else {})
        return notes

    def heartbeat_notes_for(self, device_id: str) -> Dict[str, Any]:
        """Return what our heartbeats say of ours."""
        done = self.attempts.acknowledgements_for(device_id)
        return {"done": done} if done else {}

    def heartbeat_notes_received(self, device_id: str, notes: Dict[str, Any]) -> None:
        """Take the notes of somebody's heartbeat."""
        done = notes.get("done")
        if isinstance(done, list):
            self.worker.acknowledged(device_id, [attempt for attempt in done if isinstance(attempt, str)])

    def heartbeat_notes_heard(self, device_id: str, notes: Dict[str, Any]) -> None:
        """Take the notes of an answer to our heartbeat."""
        attempts = notes.get("attempts", [])
        if isinstance(attempts, list) and self.attempts.has_work_with(device_id):
            # A sign of life also where nothing is listed: what was sent may still be on its way.
            listed = tuple(item for item in attempts if isinstance(item, str))
            self.attempts.lease_renewed(device_id, listed, notes.get("still"))

    def has_work_with(self, device_id: str) -> bool:
        """Whether attempts run between that device and this one, in either direction, or an average of both."""
        work = self.attempts.has_work_with, self.worker.running_for, self.averaging.has_average_with
        return any(is_busy(device_id) for is_busy in work)

    def count(self, what: str) -> None:
        """Count something odd, for `status` and for tests."""
        self.counters[what] = self.counters.get(what, 0) + 1

    # ---- inside -----------------------------------------------------------------------------------

    def peer_of(self, link: LinkPort) -> Peer:
        """Return what is remembered of the other end of a link, from its first use on."""
        if link.peer is None:
            link.peer = Peer()
        peer: Peer = link.peer
        return peer

    def _may_link(self, link: LinkPort) -> bool:
        """Whether a device that says Hello is more to us than a stranger, who is told who we are and no more."""
        return not self.belonging.is_member or self.belonging.is_trusted(link)

    def _refusal(self, link: LinkPort, level: str) -> Optional[DiscomputeError]:
        refusal = access(level, self.belonging.caller(link), alone=not self.belonging.is_member)
        return refusal or (hides_from(self, link) if level == "alone" else None)

    def owns(self, token: str) -> bool:
        """Whether `token` is this node's control token."""
        own = self.identity.token
        return bool(own) and hmac.compare_digest(token.encode("utf-8"), own.encode("utf-8"))

    def link_for_work(self, device_id: str) -> Optional[LinkPort]:
        """Return a link by which a device may be given work, or None."""
        return self.discovery.greeted_link_to(device_id, self.belonging.may_work_over)

    def score_of(self, device_id: str) -> float:
        """Return the measured score of a device, 0.0 where there is none."""
        known = self.discovery.registry.get(device_id)
        return score_of(known.device) if known is not None else float(self.measured.get("score", 0.0))

    def _offer_own_slots(self) -> None:
        self.attempts.device_ready(own_offer(self))

    def _offer_slots_of(self, device_id: str) -> None:
        known = self.discovery.registry.get(device_id)
        if known is not None and not known.foreign:
            self.attempts.device_ready(peer_offer(self, known))
