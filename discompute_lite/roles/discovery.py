"""Meet the other nodes and keep believing in them: beacons, Hello, registration, heartbeats.

Knows:   when to announce, whom to dial, what to tell, and which links are open.
Refuses: to decide who is alive (core/registry.py does), to move bytes (transports and links do).
Read next: core/registry.py, wire/beacon.py.

Ways of meeting, all feeding one registry: beacons over UDP; addresses that the user gave or that are remembered
(`Hello` over TCP); devices that peers speak of; on loopback, `Hello` to the neighbouring ports.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

from ..core.events import (
    AddressFailed, BeaconHeard, DeviceDescribed, DeviceTold, Dial, ForeignHeard, GoodbyeHeard, HeartbeatHeard,
    HeartbeatMissed, LinkLost, LinkOpened, RoundTripMeasured, Tick,
)
from ..core.policy import TokenBucket
from ..core.registry import DeviceRegistry
from ..model.codec import from_json, to_json
from ..model.deadlines import Deadlines
from ..model.device import ComputeMetrics, Device, DeviceCapabilities, DeviceStatus
from ..model.errors import DiscomputeError, NotFound, ProtocolError
from ..wire.beacon import Beacon, decode_beacon, encode_beacon, interface_kind, interface_priority
from .methods import Greeting, HeartbeatAnswer, RegisterDeviceAnswer
from .ports import LinkPort, OnReply

#: Seconds of the first three beacons, sent with `reply`: one may be lost, and a phone's radio wakes slowly.
FIRST_BEACONS_S = (0.0, 0.3, 0.9)
#: The whole network stays under 100 datagrams a second; the interval stretches to keep to this much of it.
NETWORK_DATAGRAMS_PER_S = 80.0
#: Heartbeats: over an idle link; with attempts under way; the same on loopback and wire.
IDLE_BEAT_S, BUSY_BEAT_S, BUSY_NEAR_BEAT_S = 15.0, 1.0, 0.25
#: An answer to a heartbeat that takes longer than this is told to the registry as silence.
BEAT_ANSWER_S = 2.0
#: Seconds between two rounds of Hello to addresses that nobody answers at, while nobody is known / otherwise.
SEED_ALONE_S, SEED_KNOWN_S = 5.0, 30.0
#: Seconds allowed for Hello and RegisterDevice.
GREETING_S = 5.0
#: Addresses remembered for the next start.
REMEMBERED = 64


class Discovery:
    """Run one node's meeting and membership; `node` is the composition that it belongs to."""

    def __init__(self, node: Any, registry: DeviceRegistry) -> None:
        self._node = node
        self.registry = registry
        #: Open links of each device, the preferred one first; no empty lists, no closed links.
        self.links: Dict[str, List[LinkPort]] = {}
        self._seq = 0
        self._every_s = node.settings.broadcast_interval
        self._replies = TokenBucket(node.settings_limits.beacon_replies_per_s, node.settings_limits.beacon_replies_per_s)
        #: device id -> when its next heartbeat is due; exactly the devices in `links`.
        self._beats = Deadlines()
        #: device id -> when the heartbeat without an answer was sent.
        self._beats_sent: Dict[str, float] = {}
        #: Addresses being dialled without knowing whose they are.
        self._seeds_dialled: Dict[str, bool] = {}
        self._timers: List[Any] = []
        self._wake: Any = None
        self._is_stopping = False

    # ---- life -------------------------------------------------------------------------------------

    def start(self) -> None:
        """Open the transports, announce three times, say Hello to known addresses."""
        clock = self._node.clock
        for transport in self._node.transports:
            transport.open(self._datagram)
        for delay_s in FIRST_BEACONS_S:
            clock.call_later(delay_s, self._announce, True)
        clock.call_later(FIRST_BEACONS_S[-1] + self._jittered(self._every_s), self._announce_regularly)
        self._greet_seeds()
        self._schedule()

    def stop(self) -> None:
        """Say goodbye and close the links."""
        self._is_stopping = True
        self._announce(False, kind="goodbye")
        self._remember()
        for links in list(self.links.values()):
            for link in list(links):
                link.notify("Goodbye", {"is_leaving": True})
                link.finish()
        for transport in self._node.transports:
            transport.close()

    # ---- what the node and its methods ask ------------------------------------------------------------

    def list_devices(self, most: int) -> List[Device]:
        """Return this device and then all known ones, at most `most`."""
        wall, now = self._node.wall(), self._node.clock.now()
        known = [device.to_device(wall, now) for device in self.registry.devices()[: most - 1]]
        return [self._node.own_device(), *known]

    def link_to(self, device_id: str) -> Optional[LinkPort]:
        """Return the best open link to a device, or None."""
        links = self.links.get(device_id)
        return links[0] if links else None

    def call(self, device_id: str, method: str, params: Any, on_reply: OnReply, timeout_s: Optional[float] = None) -> None:
        """Call a device over its link; without one, `on_reply` gets `NotFound`."""
        link = self.link_to(device_id)
        if link is None:
            self._node.clock.post(on_reply, None, NotFound("there is no link to that device just now; try again"))
        else:
            link.call(method, params, on_reply, timeout_s=timeout_s)

    def greeted(self, link: LinkPort, greeting: Greeting) -> None:
        """Take note of a node that said Hello to us, or answered ours, and let the link be one."""
        node_id = greeting.node_id
        link.peer.node_id = node_id
        link.peer.boot = greeting.boot
        link.is_link = True
        host = link.remote_address.rpartition(":")[0]
        address = link.remote_address if link.is_dialled else f"{host}:{greeting.port}" if greeting.port else ""
        self.links.setdefault(node_id, []).append(link)
        now = self._node.clock.now()
        if node_id not in self._beats:
            self._beats.set(node_id, now + self._beat_s(node_id))
        self._apply(LinkOpened(node_id, greeting.name, address, greeting.boot, verified=False))
        self._node.link_opened(node_id)
        self._close_idle_links()

    def register(self, link: LinkPort, device: Device) -> str:
        """Take a device's own description; return what is wrong with it, or ""."""
        peer = link.peer
        if not device.id or len(device.id) > 64:
            return "a device needs an id of 1 to 64 characters"
        if peer.node_id and device.id != peer.node_id:
            return "a device may describe itself only: the id is not the one given in Hello"
        if peer.node_id:
            self._apply(DeviceDescribed(device))
        elif device.id != self._node.id:
            # A client written from the protocol page alone registers without a Hello: it is known as if by beacon.
            now = self._node.clock.now()
            boot = str(device.lite.get("boot", ""))
            self._apply(BeaconHeard(device, device.address, boot, int(now * 1000), IDLE_BEAT_S, "register"))
        return ""

    def heartbeat(
        self, link: LinkPort, device_id: str, capabilities: DeviceCapabilities, status: DeviceStatus, metrics: ComputeMetrics
    ) -> HeartbeatAnswer:
        """Take a heartbeat; answer with what changed since this caller was last told."""
        peer = link.peer
        device_id = peer.node_id or device_id
        known = self.registry.get(device_id)
        if known is None or (known.linked and not peer.node_id):
            # Unknown; or somebody without a Hello speaks for a device that speaks for itself.
            return HeartbeatAnswer(success=False)
        self._apply(HeartbeatHeard(device_id, status, metrics, capabilities))
        changed: List[Device] = []
        if peer.told_version != self.registry.version:
            wall, now = self._node.wall(), self._node.clock.now()
            changed = [
                entry.to_device(wall, now) for entry in self.registry.changed_since(peer.told_version)
                if entry.device_id != device_id
            ][: self._node.settings_limits.devices_per_answer]
            peer.told_version = self.registry.version
        return HeartbeatAnswer(True, changed, [], self._node.heartbeat_notes(device_id))

    def link_closed(self, link: LinkPort) -> None:
        """Forget a closed link; the registry decides whether its device is gone."""
        node_id = link.peer.node_id
        links = self.links.get(node_id, [])
        if link not in links:
            return
        links.remove(link)
        if not links:
            del self.links[node_id]
            self._beats.cancel(node_id)
            self._beats_sent.pop(node_id, None)
            if not self._is_stopping:
                self._apply(LinkLost(node_id, on_purpose=link.peer.is_retired))
            self._node.link_ended(node_id)

    def drop_links(self, device_id: str) -> None:
        """Close what is still open to a device that is believed dead: a half-open link helps nobody."""
        for link in list(self.links.get(device_id, [])):
            link.close("the device does not answer")

    def said_goodbye(self, link: LinkPort, is_leaving: bool) -> None:
        """The peer of this link closes it: it is leaving, or only makes room for other links."""
        if not link.peer.node_id:
            return
        link.peer.is_retired = True
        if is_leaving:
            self._apply(GoodbyeHeard(link.peer.node_id, link.peer.boot))

    def own_state_changed(self) -> None:
        """Tell everybody at once: our status, name or address is another."""
        self._announce(False)
        for node_id in list(self.links):
            self._beat(node_id)

    def work_began(self, device_id: str) -> None:
        """Exchange heartbeats with this device often from now on."""
        if device_id in self.links:
            self._beats.set(device_id, self._node.clock.now() + self._beat_s(device_id))
            self._schedule()

    # ---- beacons ----------------------------------------------------------------------------------

    def _announce_regularly(self) -> None:
        if self._is_stopping:
            return
        self._announce(False)
        targets = sum(len(transport.targets()) for transport in self._node.transports)
        nodes = 1 + sum(1 for device in self.registry.devices() if device.present)
        # All destinations of all nodes together, were they all as we are.
        self._every_s = max(self._node.settings.broadcast_interval, nodes * max(1, targets) / NETWORK_DATAGRAMS_PER_S)
        self._node.clock.call_later(self._jittered(self._every_s), self._announce_regularly)

    def _jittered(self, seconds: float) -> float:
        return seconds * (0.8 + 0.4 * self._node.rng.random())

    def _announce(self, wants_reply: bool, kind: str = "discovery") -> None:
        if self._node.settings.announce == "off" or (self._is_stopping and kind != "goodbye"):
            return
        for transport in self._node.transports:
            transport.announce(self._beacon(wants_reply, kind, transport.interface_name))

    def _beacon(self, wants_reply: bool, kind: str, interface_name: str) -> bytes:
        self._seq += 1
        node, device = self._node, self._node.own_device()
        interface_type = interface_kind(interface_name)
        capabilities = device.capabilities
        beacon = Beacon(
            node_id=node.id, port=node.port, type=kind, model=node.hardware.model, chip=capabilities.chip,
            memory_mb=capabilities.memory_mb, fp32=capabilities.fp32_tflops, fp16=capabilities.fp16_tflops,
            int8=capabilities.int8_tflops, kind=device.type, priority=interface_priority(interface_type),
            interface_name=interface_name, interface_type=interface_type, timestamp=int(node.wall()),
            name=node.name, status=device.status.value, boot=node.boot, seq=self._seq, reply=wants_reply,
            every_s=self._every_s, label=node.settings.device_id,
        )
        return encode_beacon(beacon, node.settings_limits)

    def _datagram(self, data: bytes, source: str, via: str) -> None:
        if self._is_stopping:
            return
        try:
            beacon = decode_beacon(data, self._node.settings_limits)
        except ProtocolError:
            self._node.count("bad_datagrams")
            return
        if beacon is None or (beacon.node_id == self._node.id and beacon.boot == self._node.boot):
            return
        if beacon.type == "goodbye":
            self._apply(GoodbyeHeard(beacon.node_id, beacon.boot))
            return
        address = f"{source.rpartition(':')[0]}:{beacon.port}"
        device = _device_of(beacon, address)
        if beacon.foreign:
            self._apply(ForeignHeard(device, address, beacon.foreign, via))
            return
        self._apply(BeaconHeard(device, address, beacon.boot, beacon.seq, beacon.every_s, via))
        if beacon.reply and self._replies.take(self._node.clock.now()) and self._node.settings.announce != "off":
            for transport in self._node.transports:
                if transport.name == via:
                    transport.answer(self._beacon(False, "discovery", transport.interface_name), source)

    # ---- dialling ---------------------------------------------------------------------------------

    def _greet_seeds(self) -> None:
        """Say Hello where somebody may be: given and remembered addresses, and on loopback the neighbours."""
        if self._is_stopping:
            return
        nobody = not self.links
        for address in self._node.seeds(nobody):
            if address not in self._seeds_dialled and not self._has_link_to(address):
                self._seeds_dialled[address] = True
                self._dial(address, "", lambda error, address=address: self._seeds_dialled.pop(address, None))
        self._node.clock.call_later(SEED_ALONE_S if nobody else SEED_KNOWN_S, self._greet_seeds)

    def _has_link_to(self, address: str) -> bool:
        return any(link.remote_address == address for links in self.links.values() for link in links)

    def _dial_device(self, device_id: str, addresses: Sequence[str]) -> None:
        if not addresses or device_id in self.links:
            return

        def dialled(error: Optional[DiscomputeError]) -> None:
            if error is not None:
                self._apply(AddressFailed(device_id, addresses[0], error.message))
                self._dial_device(device_id, addresses[1:])

        self._dial(addresses[0], device_id, dialled)

    def _dial(self, address: str, device_id: str, done: Callable[[Optional[DiscomputeError]], None]) -> None:
        """Connect, say Hello, register; `done(error)` once. `device_id` "" accepts whoever answers."""

        def connected(link: Optional[LinkPort], error: Optional[DiscomputeError]) -> None:
            if link is None or self._is_stopping:
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

        self._node.dialler.open(address, 8080, connected)

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
                self._apply(DeviceTold(Device(id=greeting.node_id, address=link.remote_address), by=greeting.node_id))
            return
        self._node.check_answered_token(link, greeting.auth)
        self.greeted(link, greeting)
        self._apply(RoundTripMeasured(greeting.node_id, link.remote_address, self._node.clock.now() - sent_at))
        link.call(
            "RegisterDevice", {"device": to_json(self._node.own_device())},
            lambda result, error: self._registered(greeting.node_id, result, error), timeout_s=GREETING_S,
        )
        done(None)

    def _registered(self, node_id: str, result: Any, error: Optional[DiscomputeError]) -> None:
        if error is not None or self._is_stopping:
            return
        try:
            answer = from_json(RegisterDeviceAnswer, result, "the answer to RegisterDevice")
        except DiscomputeError:
            return
        for device in answer.known_devices:
            if device.id == node_id:
                self._apply(DeviceDescribed(device))
            else:
                self._told(device, node_id)

    def _told(self, device: Device, by: str) -> None:
        is_reachable = device.address and device.status is not DeviceStatus.OFFLINE and not device.lite.get("foreign")
        if device.id and device.id != self._node.id and is_reachable:
            self._apply(DeviceTold(device, by))

    # ---- heartbeats -------------------------------------------------------------------------------

    def _beat_s(self, device_id: str) -> float:
        if not self._node.has_work_with(device_id):
            return self._jittered(IDLE_BEAT_S)
        link = self.link_to(device_id)
        return BUSY_NEAR_BEAT_S if link is not None and link.is_loopback else BUSY_BEAT_S

    def _beat(self, device_id: str) -> None:
        link, now = self.link_to(device_id), self._node.clock.now()
        if link is None:
            return
        self._beats.set(device_id, now + self._beat_s(device_id))
        sent_at = self._beats_sent.get(device_id)
        if sent_at is not None:
            if now - sent_at > BEAT_ANSWER_S:
                self._beats.set(device_id, now + 1.0)
                self._apply(HeartbeatMissed(device_id, now - sent_at))
            return
        self._beats_sent[device_id] = now
        device = self._node.own_device()
        params: Dict[str, Any] = {
            "device_id": device.id, "capabilities": to_json(device.capabilities), "status": device.status.value,
            "metrics": to_json(device.compute_metrics),
        }
        notes = self._node.heartbeat_notes_for(device_id)
        if notes:
            params["lite"] = notes
        link.call("Heartbeat", params, lambda result, error: self._beat_answered(device_id, link, now, result, error))

    def _beat_answered(
        self, device_id: str, link: LinkPort, sent_at: float, result: Any, error: Optional[DiscomputeError]
    ) -> None:
        self._beats_sent.pop(device_id, None)
        if error is not None or self._is_stopping:
            return
        self._apply(RoundTripMeasured(device_id, self._address_of(link), self._node.clock.now() - sent_at))
        try:
            answer = from_json(HeartbeatAnswer, result, "the answer to Heartbeat")
            status = from_json(DeviceStatus, answer.lite.get("status"), "lite.status") if answer.lite else None
        except DiscomputeError:
            return
        self._apply(HeartbeatHeard(device_id, status))
        self._node.heartbeat_notes_heard(device_id, answer.lite)
        for device in answer.updated_devices:
            self._told(device, device_id)

    def _address_of(self, link: LinkPort) -> str:
        return link.remote_address if link.is_dialled else ""

    # ---- inside -----------------------------------------------------------------------------------

    def _apply(self, event: Any) -> None:
        """Give the registry a fact and do what it wishes."""
        for action in self.registry.apply(event, self._node.clock.now()):
            if isinstance(action, Dial):
                self._dial_device(action.device_id, action.addresses)
            else:
                self._node.membership_changed(action)
        self._schedule()

    def _schedule(self) -> None:
        """Keep one timer, at the earliest of the registry's and the heartbeats' deadlines."""
        dues = [due for due in (self.registry.next_deadline(), self._beats.next()) if due is not None]
        if self._is_stopping or not dues:
            return
        due = min(dues)
        if self._wake is None or due < self._wake[0]:
            if self._wake is not None:
                self._wake[1].cancel()
            self._wake = (due, self._node.clock.call_at(due, self._woken))

    def _woken(self) -> None:
        self._wake = None
        if self._is_stopping:
            return
        now = self._node.clock.now()
        for device_id in self._beats.pop_due(now):
            self._beat(device_id)
        self._apply(Tick())

    def _close_idle_links(self) -> None:
        """Keep at most `idle_links`; knowing a device needs no link, beacons carry on."""
        most = self._node.settings_limits.idle_links
        idle = [node_id for node_id in self.links if not self._node.has_work_with(node_id)]
        for node_id in idle[: max(0, len(idle) - most)]:
            for link in list(self.links.get(node_id, [])):
                link.peer.is_retired = True
                link.notify("Goodbye", {"is_leaving": False})
                link.finish()

    def _remember(self) -> None:
        addresses = [
            address for device in self.registry.devices() if device.linked
            for address in self.registry.addresses(device.device_id)[:1]
        ]
        if addresses:
            self._node.store.write_json("peers.json", {"addresses": addresses[:REMEMBERED]})


def _device_of(beacon: Beacon, address: str) -> Device:
    """Return what a beacon says of its device; a beacon says less than the device itself will."""
    lite: Dict[str, Any] = {"model": beacon.model}
    if beacon.label:
        lite["label"] = beacon.label
    capabilities = DeviceCapabilities(
        memory_mb=beacon.memory_mb, chip=beacon.chip, fp32_tflops=beacon.fp32, fp16_tflops=beacon.fp16,
        int8_tflops=beacon.int8, has_gpu=beacon.fp32 > 0, gpu_type=beacon.chip if beacon.fp32 > 0 else "",
    )
    try:
        status = DeviceStatus(beacon.status)
    except ValueError:
        status = DeviceStatus.UNKNOWN
    name = beacon.name or beacon.model or beacon.node_id
    return replace(Device(), id=beacon.node_id, name=name, type=beacon.kind, address=address,
                   capabilities=capabilities, status=status, lite=lite)
