"""Open links: connect, say Hello, register; with known devices, and with whoever may be at an address.

Knows:   the first two calls of a link, and where somebody may be.
Refuses: to choose whom to dial (core/registry.py wishes it), to connect (net/links.py does).
Read next: roles/discovery.py.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, Optional, Sequence, Tuple

from ..core.events import AddressFailed, DeviceDescribed, DeviceTold, RoundTripMeasured
from ..model.codec import from_json, to_json
from ..model.device import Device
from ..model.errors import DiscomputeError, ProtocolError
from .methods import Greeting, RegisterDeviceAnswer
from .ports import LinkPort

#: Seconds between two rounds of Hello to addresses that nobody answers at, while nobody is known / otherwise.
SEED_ALONE_S, SEED_KNOWN_S = 5.0, 30.0
#: Seconds allowed for Hello and RegisterDevice.
GREETING_S = 5.0
#: The port of an address that names none.
USUAL_PORT = 8080


class Greeter:
    """Open the links of one node."""

    def __init__(self, node: Any, discovery: Any) -> None:
        self._node = node
        self._discovery = discovery
        #: Addresses being dialled without knowing whose they are.
        self._seeds_dialled: Dict[str, bool] = {}

    def greet_seeds(self) -> None:
        """Say Hello where somebody may be: given and remembered addresses, and on loopback the neighbours."""
        if self._discovery.is_stopping:
            return
        nobody = not self._discovery.links
        for address in self._node.seeds(nobody):
            if address not in self._seeds_dialled and not self._has_link_to(address):
                self._seeds_dialled[address] = True
                self._dial(address, "", lambda error, address=address: self._seeds_dialled.pop(address, None))
        self._node.clock.call_later(SEED_ALONE_S if nobody else SEED_KNOWN_S, self.greet_seeds)

    def _has_link_to(self, address: str) -> bool:
        return any(link.remote_address == address for links in self._discovery.links.values() for link in links)

    def dial_device(self, device_id: str, addresses: Sequence[str]) -> None:
        """Open a link to a device, trying its addresses in order; each that fails is told to the registry."""
        if not addresses or device_id in self._discovery.links:
            return

        def dialled(error: Optional[DiscomputeError]) -> None:
            if error is not None:
                self._discovery.apply(AddressFailed(device_id, addresses[0], error.message))
                self.dial_device(device_id, addresses[1:])

        self._dial(addresses[0], device_id, dialled)

    def _dial(self, address: str, device_id: str, done: Callable[[Optional[DiscomputeError]], None]) -> None:
        """Connect, say Hello, register; `done(error)` once. `device_id` "" accepts whoever answers."""

        def connected(link: Optional[LinkPort], error: Optional[DiscomputeError]) -> None:
            if link is None or self._discovery.is_stopping:
                if link is not None:
                    link.close("stopping")
                done(error)
                return
            sent_at = self._node.clock.now()
            link.call(
                "Hello", to_json(self._node.greeting_for(link)),
                lambda result, error: self._hello_answered(link, device_id, (result, error), sent_at, done),
                timeout_s=GREETING_S,
            )

        self._node.dialler.open(address, USUAL_PORT, connected)

    def _hello_answered(
        self, link: LinkPort, device_id: str, reply: Tuple[Any, Optional[DiscomputeError]], sent_at: float,
        done: Callable[[Optional[DiscomputeError]], None],
    ) -> None:
        result, error = reply
        try:
            if error is not None:
                raise error
            greeting = from_json(Greeting, result, "the answer to Hello")
            if not 1 <= len(greeting.node_id) <= 64:
                raise ProtocolError("the answer to Hello names no node")
        except DiscomputeError as problem:
            link.close("no Hello")
            done(problem)
            return
        is_other = bool(device_id) and greeting.node_id != device_id
        if greeting.node_id == self._node.id or is_other:
            link.close("another device answers here")
            done(ProtocolError("another device answers at this address"))
            if is_other and greeting.node_id != self._node.id:
                self._discovery.apply(DeviceTold(Device(id=greeting.node_id, address=link.remote_address), by=greeting.node_id))
            return
        self._node.check_answered_token(link, greeting.auth)
        self._discovery.greeted(link, greeting)
        self._discovery.apply(RoundTripMeasured(greeting.node_id, link.remote_address, self._node.clock.now() - sent_at))
        link.call(
            "RegisterDevice", {"device": to_json(self._node.own_device())},
            lambda result, error: self._registered(greeting.node_id, result, error), timeout_s=GREETING_S,
        )
        done(None)

    def _registered(self, node_id: str, result: Any, error: Optional[DiscomputeError]) -> None:
        if error is not None or self._discovery.is_stopping:
            return
        try:
            answer = from_json(RegisterDeviceAnswer, result, "the answer to RegisterDevice")
        except DiscomputeError:
            return
        for device in answer.known_devices:
            if device.id == node_id:
                self._discovery.apply(DeviceDescribed(device))
            else:
                self._discovery.told(device, node_id)
