"""Open links: connect, say Hello, register; with known devices, and with whoever may be at an address.

Knows:   the first two calls of a link, and where somebody may be.
Refuses: to choose whom to dial (core/registry.py wishes it), to connect (net/links.py does).
Read next: roles/discovery.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, Callable, Dict, List, Optional, Sequence, Set

from ..core.events import AddressFailed, RoundTripMeasured
from ..core.own_events import LinkRefused
from ..model.codec import from_json, to_json
from ..model.device import Device
from ..model.errors import DiscomputeError, NothingListens, ProtocolError, Unauthenticated, Unavailable
from .bounds import ID_CHARS
from .meeting_methods import MetAddress
from .methods import Greeting, RegisterDeviceAnswer
from .own_device import own_device_for
from .ports import Later, LinkPort

#: Seconds between two rounds of Hello to addresses that nobody answers at, while nobody is known / otherwise.
SEED_ALONE_S, SEED_KNOWN_S = 5.0, 30.0
#: The part of these after which a node that is awake for something else does it too.
SEED_EARLIER = 0.8
#: Seconds allowed for Hello and RegisterDevice.
GREETING_S = 5.0
#: Addresses typed while a node runs that it goes on calling; more are called once.
TYPED_ADDRESSES = 64
#: The port of an address that names none.
USUAL_PORT = 8080


@dataclass(frozen=True)
class DialledHello:
    """Hold one Hello of ours that waits for its answer."""

    link: LinkPort
    address: str
    #: Who is expected there, "" for whoever answers.
    device_id: str
    #: Monotonic.
    sent_at: float
    #: Told once how it ended.
    done: Callable[[Optional[DiscomputeError]], None]


class Greeter:
    """Open the links of one node."""

    def __init__(self, node: Any, discovery: Any) -> None:
        self._node = node
        self._discovery = discovery
        #: Dials, and calls on new links, that have not ended.
        self.open_questions = 0
        #: Addresses being dialled without knowing whose they are, with whoever is to be told how that ends.
        self._seeds_dialled: Dict[str, List[Callable[[Optional[DiscomputeError]], None]]] = {}
        #: Links on which our Hello waits for its answer: whoever has read it believes that we are there.
        self._unanswered: Set[LinkPort] = set()
        #: Addresses of the settings of which people were told that nobody answers there.
        self._missed: Set[str] = set()
        #: Addresses that its owner typed while the node runs, in order.
        self._typed: Dict[str, None] = {}
        #: Where others were when this node last ended, None until it was read: nobody writes it meanwhile.
        self._remembered: Optional[List[str]] = None
        #: address -> who answered there last: a name, or an address without a port, is no link's own address.
        self._answered_by: Dict[str, str] = {}

    def greet_seeds(self) -> None:
        """Say Hello where somebody may be: given and remembered addresses, and on loopback the neighbours."""
        if self._discovery.is_stopping:
            return
        nobody = not self._discovery.links
        for address in self.seeds(nobody):
            if not self._linked_at(address) and not self._rests_at(address):
                self._try(address, partial(self._seed_ended, address))
        now, again_s = self._node.clock.now(), SEED_ALONE_S if nobody else SEED_KNOWN_S
        self._node.clock.call_between(now + again_s * SEED_EARLIER, now + again_s, self.greet_seeds)

    def meet(self, addresses: Sequence[str], show: Callable[[List[MetAddress]], Any]) -> Later:
        """Say Hello at these addresses, now and until somebody answers; `show(outcomes)` once all were tried."""
        later, outcomes = Later(), {address: self._met_at(address, self._linked_at(address)) for address in addresses}
        waiting = {address for address, outcome in outcomes.items() if not outcome.device_id}

        def tried(address: str, error: Optional[DiscomputeError]) -> None:
            answered = self._answered_by.get(address, "")
            is_met = error is None or answered == self._node.id
            outcomes[address] = self._met_at(address, answered if is_met else "", error.message if error else "")
            waiting.discard(address)
            if not waiting:
                later.resolve(show(list(outcomes.values())))

        for address in sorted(waiting):
            if len(self._typed) < TYPED_ADDRESSES:
                self._typed[address] = None
            self._try(address, partial(tried, address))
        if not waiting:
            later.resolve(show(list(outcomes.values())))
        return later

    def _met_at(self, address: str, device_id: str, message: str = "") -> MetAddress:
        """Return how it went to call an address; this node's own is one at which nobody is met."""
        if device_id and device_id == self._node.id:
            self._typed.pop(address, None)
            return MetAddress(address, "", "this device itself answers at this address", is_own=True)
        return MetAddress(address, device_id, message)

    def greet_everybody(self) -> None:
        """Say Hello once more to all who are known and to whom no link is open: what they are may have changed."""
        known = [
            self._discovery.registry.addresses(device.device_id)[:1]
            for device in self._discovery.registry.devices() if device.device_id not in self._discovery.links
        ][: self._node.settings_limits.idle_links]
        for address in dict.fromkeys([*self.seeds(True), *(each for addresses in known for each in addresses)]):
            if not self._linked_at(address):
                self._try(address, partial(self._seed_ended, address))

    def seeds(self, nobody_known: bool) -> List[str]:
        """Return addresses to say Hello to: the user's, the remembered, and on loopback the neighbours'."""
        node, found = self._node, list(self._typed)
        if "peers" in node.settings.discovery:
            found += [*node.settings.peers, *self.remembered()]
        if nobody_known and "broadcast" in node.settings.discovery:
            # A loopback may have none; this stands in for it.
            own = f"127.0.0.1:{node.port}", f"[::1]:{node.port}"
            found += [address for address in node.world.neighbours if address not in own]
        return list(dict.fromkeys(found))

    def remembered(self) -> List[str]:
        """Return where others were when this node last ended."""
        if self._remembered is None:
            document = self._node.store.read_json("peers.json", {})
            remembered = document.get("addresses") if isinstance(document, dict) else None
            self._remembered = [
                each for each in (remembered if isinstance(remembered, list) else []) if isinstance(each, str)]
        return self._remembered

    def greet_found(self, address: str, done: Callable[[Optional[DiscomputeError]], None]) -> None:
        """Say Hello to whoever listens at an address that a sweep has found."""
        if address in self._seeds_dialled or self._linked_at(address):
            self._node.clock.post(done, None)
        else:
            self._dial(address, "", done)

    def _try(self, address: str, done: Callable[[Optional[DiscomputeError]], None]) -> None:
        """Say Hello to whoever is at an address; of one that is being called already only wait how that ends."""
        if address in self._seeds_dialled:
            self._seeds_dialled[address].append(done)
        else:
            self._seeds_dialled[address] = [done]
            self._dial(address, "", partial(self._tried, address))

    def _tried(self, address: str, error: Optional[DiscomputeError]) -> None:
        for done in self._seeds_dialled.pop(address):
            done(error)

    def _seed_ended(self, address: str, error: Optional[DiscomputeError]) -> None:
        is_news = address in self._node.settings.peers and address not in self._missed
        if error is not None and is_news and not self._answered_by.get(address) and not self._discovery.is_stopping:
            self._missed.add(address)
            self._node.tell("note", f"nobody answers at {address} yet, it is called again and again: {error.message}")

    def say_goodbye(self) -> None:
        """Take leave of those who may have read our Hello, and have not answered it yet."""
        for link in list(self._unanswered):
            link.notify("Goodbye", {"is_leaving": True})
            link.finish()

    def _linked_at(self, address: str) -> str:
        """Return who answered at this address, by whatever name, and is linked or ourselves; "" for nobody."""
        answered = self._answered_by.get(address, "")
        if answered in (self._node.id, *self._discovery.links):
            return answered
        links = self._discovery.links.items()
        return next((who for who, open_to in links if any(link.remote_address == address for link in open_to)), "")

    def _rests_at(self, address: str) -> bool:
        """Return whether who answered at this address wanted no link with us, and is left alone for a while."""
        device = self._discovery.registry.get(self._answered_by.get(address, ""))
        return device is not None and device.addresses.rests(self._node.clock.now())

    def dial_device(self, device_id: str, addresses: Sequence[str]) -> None:
        """Open a link to a device, trying its addresses in order; each that fails is told to the registry."""
        if not addresses or device_id in self._discovery.links:
            return

        def dialled(error: Optional[DiscomputeError]) -> None:
            if error is not None:
                self._discovery.apply(AddressFailed(
                    device_id, addresses[0], error.message, isinstance(error, NothingListens)))
                self.dial_device(device_id, addresses[1:])

        self._dial(addresses[0], device_id, dialled)

    def say_hello(self, address: str, device_id: str) -> None:
        """Say Hello to a device at an address, whatever becomes of it."""
        self._dial(address, device_id, lambda error: None)

    def _dial(self, address: str, device_id: str, done: Callable[[Optional[DiscomputeError]], None]) -> None:
        """Connect, say Hello, register; `done(error)` once. `device_id` "" accepts whoever answers."""
        if self._node.twin.reason and device_id != self._node.id:
            self._node.clock.post(done, Unavailable(self._node.twin.reason))
            return
        self.open_questions += 1

        def ended(error: Optional[DiscomputeError]) -> None:
            self.open_questions -= 1
            done(error)

        def connected(link: Optional[LinkPort], error: Optional[DiscomputeError]) -> None:
            if link is None or self._discovery.is_stopping:
                if link is not None:
                    link.close("stopping")
                ended(error)
                return
            self._unanswered.add(link)
            hello = DialledHello(link, address, device_id, self._node.clock.now(), ended)
            link.call(
                "Hello", to_json(self._node.greeting(link)),
                lambda result, error: self._hello_answered(hello, result, error), timeout_s=GREETING_S,
            )

        self._node.dialler.open(address, USUAL_PORT, connected)

    def _hello_answered(self, hello: DialledHello, result: Any, error: Optional[DiscomputeError]) -> None:
        link = hello.link
        self._unanswered.discard(link)
        try:
            if error is not None:
                raise error
            greeting = from_json(Greeting, result, "the answer to Hello")
            if not 1 <= len(greeting.node_id) <= ID_CHARS:
                raise ProtocolError("the answer to Hello names no node")
        except DiscomputeError as problem:
            link.close("no Hello")
            hello.done(problem)
            return
        node_id = greeting.node_id
        self._node.belonging.desk.hosts.heard(node_id, greeting.name, link.remote_address, greeting.pair)
        if not hello.device_id:
            self._answered_by[hello.address] = node_id
        is_other = node_id != self._node.id and hello.device_id not in ("", node_id)
        if node_id == self._node.id or is_other:
            link.close("another device answers here")
            who = "another device" if is_other else "this device itself"
            hello.done(ProtocolError(f"{who} answers at this address"))
            if is_other:
                self._discovery.told(Device(id=node_id, address=link.remote_address), by=node_id)
            else:
                self._node.twin.met(link, greeting, hello.sent_at)
            return
        seconds = self._node.clock.now() - hello.sent_at
        if self._node.belonging.is_unheard(link):
            self._node.belonging.hear_out(link, lambda refusal: self._judged(hello, greeting, seconds, refusal))
        else:
            self._judged(hello, greeting, seconds, None)

    def _judged(
        self, hello: DialledHello, greeting: Greeting, seconds: float, refusal: Optional[DiscomputeError]
    ) -> None:
        """Whoever answered our Hello is believed to be that device, unless it is refused."""
        link = hello.link
        if refusal is None and self._discovery.greeted(link, greeting):
            self._discovery.apply(RoundTripMeasured(greeting.node_id, link.remote_address, seconds))
            self.register_at(link, greeting.node_id)
        else:
            link.close("nobody trusted answers here")
        hello.done(refusal)

    def register_at(self, link: LinkPort, node_id: str) -> None:
        """Describe this device to the node at the other end of a link, and learn whom it knows."""
        self.open_questions += 1
        link.call(
            "RegisterDevice", {"device": to_json(own_device_for(self._node, link))},
            lambda result, error: self._registered(link, node_id, result, error), timeout_s=GREETING_S,
        )

    def _registered(self, link: LinkPort, node_id: str, result: Any, error: Optional[DiscomputeError]) -> None:
        self.open_questions -= 1
        if isinstance(error, Unauthenticated):
            # It belongs to a cluster and we do not, so it closes the link: it has not gone.
            link.peer.is_retired = True
            self._discovery.apply(LinkRefused(node_id))
        if error is not None or self._discovery.is_stopping:
            return
        try:
            answer = from_json(RegisterDeviceAnswer, result, "the answer to RegisterDevice")
        except DiscomputeError:
            return
        for device in answer.known_devices:
            if device.id == node_id:
                self._discovery.described(device)
            elif "exchange" in self._node.settings.discovery:
                self._discovery.told(device, node_id)
        known_there = {device.id for device in answer.known_devices}
        if all(device.device_id in known_there for device in self._discovery.registry.devices() if device.present):
            # Whoever has just told us of all whom we know need not be told of them.
            link.peer.told_version = self._discovery.registry.version
