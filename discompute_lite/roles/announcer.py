"""Announce this node by beacons, and hear those of others.

Knows:   when to send, how the interval stretches, whom to answer and how often, and who is told nothing at all.
Refuses: sockets (net/transports.py), formats (wire/beacon.py), beliefs (core/registry.py).
Read next: roles/discovery.py.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import Any, Deque, Dict, List, Optional

from ..core.events import BeaconHeard, DeviceTold, ForeignHeard, GoodbyeHeard
from ..core.pacing import Pace
from ..core.policy import TokenBucket
from ..model.deadlines import COMPANY_S
from ..model.device import Device, DeviceCapabilities, DeviceStatus
from ..model.errors import ProtocolError, Unauthenticated
from ..wire.beacon import (
    PRIVATE_BEACON_START, Beacon, decode_beacon, encode_beacon, interface_kind, interface_priority,
)
from ..wire.beacon_memory import BeaconMemory
from ..wire.private_beacon import PrivateBeacon, decode_private_beacon, encode_private_beacon
from .ports import LinkPort
from .sockets_port import TransportPort

#: Seconds of the first three beacons, sent with `reply`: one may be lost, and a phone's radio wakes slowly.
FIRST_BEACONS_S = (0.0, 0.3, 0.9)
#: Seconds within which answers come.
ANSWERS_COME_S = 0.5
#: Seconds for which a beacon that would go nowhere, since the system refuses all, may wait until the node is awake for
#: something else: on phones that is most of them.
NOWHERE_PATIENCE_S = COMPANY_S
#: Datagrams of our own that are known again when they come back, as broadcasts do: of each way, by each interface, one.
OWN_DATAGRAMS = 8
#: As little as can be said: not even whose device it is.
SENTENCE_HIDDEN = "Pair this device first: it does not show itself to strangers (its setting announce)."


def hides_from(node: Any, link: LinkPort) -> Optional[Unauthenticated]:
    """Return the refusal of a stranger who calls a node that is not to be announced, None where it may be shown.

    Whomever we dialled has been told who we are; the owner and the devices of our cluster are no strangers.
    """
    if node.settings.announce == "open" or link.is_dialled or node.belonging.is_trusted(link):
        return None
    return Unauthenticated(SENTENCE_HIDDEN)


class Announcer:
    """Send and hear the beacons of one node."""

    def __init__(self, node: Any, discovery: Any) -> None:
        self._node = node
        self._discovery = discovery
        self._seq = 0
        self._pace = Pace(node.settings.broadcast_interval, node.rng.random)
        self._memory = BeaconMemory()
        self._sent: Deque[bytes] = deque(maxlen=OWN_DATAGRAMS)
        #: Until then what is heard may be an answer to us: it says nothing of how often its sender speaks.
        self._answers_until = 0.0
        #: Those that are open altogether: an interrupt may come while one is being opened.
        self._open: List[TransportPort] = []
        most = node.settings_limits.beacon_replies_per_s
        self._replies = TokenBucket(most, most)

    def start(self) -> None:
        """Open the transports and announce three times, then regularly."""
        clock = self._node.clock
        for transport in self._node.transports:
            transport.open(self._datagram)
            self._open.append(transport)
        for delay_s in FIRST_BEACONS_S:
            clock.call_later(delay_s, self._announce_first)
        clock.call_later(FIRST_BEACONS_S[-1] + self._pace.wait_s(), self._announce_regularly)

    def stop(self) -> None:
        """Say goodbye and close the transports."""
        self.announce(False, kind="goodbye")
        for transport in self._node.transports:
            transport.close()

    def _announce_first(self) -> None:
        self.announce(self._pace.asks_again(self._discovery.registry.present))

    def _announce_regularly(self) -> None:
        if self._discovery.is_stopping:
            return
        speaking = self._speaking()
        targets = sum([len(transport.targets()) for transport in speaking])
        self._pace.next_interval(self._node.clock.now(), self._discovery.registry.present, targets)
        # First of all the next one: nothing that goes wrong in this one may be the end of announcing.
        due = self._node.clock.now() + self._pace.wait_s()
        patience_s = 0.0 if speaking else NOWHERE_PATIENCE_S
        self._node.clock.call_between(due, due + patience_s, self._announce_regularly)
        if speaking:
            self.announce(False)
        self._discovery.heartbeats.ask_the_silent()

    def announce(self, wants_reply: bool, kind: str = "discovery") -> None:
        """Send one beacon, or goodbye, by every transport."""
        if self._node.settings.announce == "off" or (self._discovery.is_stopping and kind != "goodbye"):
            return
        if self._node.settings.announce == "private" and not self._node.belonging.is_member:
            return  # There is nobody who could know whose it is.
        if self._node.twin.reason:
            return  # Another has this id.
        if wants_reply:
            self._answers_until = self._node.clock.now() + ANSWERS_COME_S
        for transport in self._speaking():
            datagram = self._beacon(wants_reply, kind, transport.interface_name)
            self._sent.append(datagram)
            transport.announce(datagram)

    def _speaking(self) -> List[TransportPort]:
        """Return the ways by which somebody can be reached just now."""
        return [each for each in self._open if each.reaches_anybody()]

    def _beacon(self, wants_reply: bool, kind: str, interface_name: str) -> bytes:
        self._seq += 1
        if self._node.settings.announce == "private":
            private = PrivateBeacon(self._node.port, self._node.boot, self._seq, kind == "goodbye")
            return encode_private_beacon(private, self._node.id, self._node.belonging.beacon_key())
        node, device = self._node, self._node.own_device()
        interface_type = interface_kind(interface_name)
        capabilities = device.capabilities
        beacon = Beacon(
            node_id=node.id, port=node.port, type=kind, model=node.hardware.model, chip=capabilities.chip,
            memory_mb=capabilities.memory_mb, fp32=capabilities.fp32_tflops, fp16=capabilities.fp16_tflops,
            int8=capabilities.int8_tflops, kind=device.type, priority=interface_priority(interface_type),
            interface_name=interface_name, interface_type=interface_type, timestamp=int(node.wall()),
            name=node.name, status=device.status.value, boot=node.boot, seq=self._seq, reply=wants_reply,
            every_s=self._pace.every_s, label=node.settings.device_id, cluster=node.belonging.cluster_name(),
            pair=node.belonging.desk.port,
        )
        return encode_beacon(beacon, node.settings_limits, node.belonging.beacon_key())

    def _datagram(self, data: bytes, source: str, via: str) -> None:
        if self._discovery.is_stopping or data in self._sent:
            return
        if data.startswith(PRIVATE_BEACON_START):
            self._private_datagram(data, source, via)
            return
        key = self._node.belonging.beacon_key()
        again = self._memory.recall(source, data, key)
        if again is not None:
            self._discovered(again.beacon, again.seq, again.note, source, via)
            return
        try:
            beacon = decode_beacon(data, self._node.settings_limits, key)
        except ProtocolError:
            self._node.count("bad_datagrams")
            return
        if beacon is None or (beacon.node_id == self._node.id and beacon.boot == self._node.boot):
            return
        if beacon.type != "goodbye":
            # A foreign beacon may name no port that could be called.
            address = f"{source.rpartition(':')[0]}:{beacon.port}" if beacon.port else ""
            device = _device_of(beacon, address)
            if beacon.foreign:
                self._discovery.apply(ForeignHeard(device, address, beacon.foreign, via))
                return
            self._memory.remember(source, data, beacon, device)
            self._discovered(beacon, beacon.seq, device, source, via)
        elif not self._is_forged(beacon):
            self._discovery.apply(GoodbyeHeard(beacon.node_id, beacon.boot))

    def _is_forged(self, beacon: Beacon) -> bool:
        """Whether somebody else may have sent this in the name of a device of our cluster."""
        return self._node.belonging.is_member_here(beacon.node_id) and not beacon.mac_ok

    def _discovered(self, beacon: Beacon, seq: int, device: Device, source: str, via: str) -> None:
        """Take the regular beacon of one of ours; `device` is what it says, `seq` its number."""
        if self._is_forged(beacon):
            # Or sealed with an older key, by one who was away: an address to try, where TLS tells which.
            self._node.count("unsealed_beacons")
            self._discovery.apply(DeviceTold(device, beacon.node_id))
            return
        self._node.belonging.desk.hosts.heard(beacon.node_id, beacon.name, source, beacon.pair)
        # Of a device to which there is a link, as of a phone's neighbours, nearly all beacons are no news.
        known = self._discovery.registry.get(beacon.node_id)
        if known is None or not known.hears_again(device.address, beacon.boot, seq):
            self._discovery.apply(BeaconHeard(device, device.address, beacon.boot, seq, beacon.every_s, via))
        self._discovery.heartbeats.beacon_heard(beacon.node_id, beacon.every_s)
        now = self._node.clock.now()
        if not beacon.reply:
            if now >= self._answers_until:
                self._pace.heard(beacon.every_s)
        elif self._answers(now):
            for transport in self._node.transports:
                if transport.name == via:
                    transport.answer(self._beacon(False, "discovery", transport.interface_name), source)

    def _answers(self, now: float) -> bool:
        """Whether somebody who asks is answered by us."""
        is_open = self._node.settings.announce == "open"
        return is_open and self._pace.answers(now, self._discovery.registry.present) and self._replies.take(now)

    def _private_datagram(self, data: bytes, source: str, via: str) -> None:
        """Take the beacon of a device of our cluster; those of others cannot be told from noise."""
        belonging = self._node.belonging
        beacon = decode_private_beacon(data, belonging.beacon_key())
        member = belonging.member_called(beacon.pseudonym) if beacon is not None else None
        if beacon is None or member is None:
            return
        if beacon.is_goodbye:
            self._discovery.apply(GoodbyeHeard(member.device_id, beacon.boot))
        elif (member.device_id, beacon.boot) != (self._node.id, self._node.boot):
            address = f"{source.rpartition(':')[0]}:{beacon.port}"
            device = replace(Device(), id=member.device_id, name=member.name, type=member.kind, address=address)
            every_s = self._node.settings.broadcast_interval
            self._discovery.apply(BeaconHeard(device, address, beacon.boot, beacon.seq, every_s, via))
            self._discovery.heartbeats.beacon_heard(member.device_id, every_s)


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
