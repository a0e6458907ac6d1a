"""Announce beacons by multicast DNS, so that networks that carry nothing else than Bonjour still let devices meet.

Knows:   one socket a place, on the port that all of a machine's responders share, and how a beacon fits into a TXT
         record.
Refuses: loopback (nothing is multicast there, and `bind 127.0.0.1` keeps a node to it), and to belong to the system's
         own responder: both hear everything, and each answers for what is its own.
Read next: net/mdns_places.py (where it is spoken), wire/mdns_responder.py and wire/mdns_browser.py (the protocol).

The TXT record of a service holds its node's id for people, and the beacon in pieces:

    txtvers=1  id=k3fq9zt2…  b0={"type":"discovery","node_id":"k3fq…  b1=…
"""

from __future__ import annotations

import logging
import random
import secrets
import socket
import struct
from collections import deque
from dataclasses import replace
from typing import Any, Deque, Dict, List, Optional, Tuple

from ..model.errors import ProtocolError
from ..wire.beacon import Beacon, decode_beacon, encode_beacon
from ..wire.beacon_memory import beacon_pieces
from ..wire.dns import MDNS_GROUP, MDNS_IPV6_GROUP, MDNS_PORT, SERVICE, decode_dns, txt_data
from ..wire.mdns_browser import MdnsBrowser, MdnsFound, MdnsLost
from ..wire.mdns_responder import MdnsResponder
from .addresses import error_name, split_address
from .datagrams import INTERFACES_EVERY_S, DatagramSocket, Heard, TransportOptions
from .interfaces import choose_interfaces, list_interfaces, list_ipv6
from .listener import stays_on_loopback
from .loop import Loop, Timer
from .mdns_places import MdnsPlace, mdns_places
from .sockets import join_ipv6_group

#: Seconds between two announcements of a device of which nothing has changed. Records live four times as long, and a
#: device that is known by this way alone is missed after as long.
MDNS_EVERY_S = 30.0
#: Bytes of a beacon in one string of a TXT record: 255 less the key.
_PIECE_BYTES = 250
#: Of what we sent lately, to know it again: every socket hears its own words, and those of its brothers.
_SENT_KEPT = 64
#: Linux: a socket hears only the groups that it has joined itself.
_IP_MULTICAST_ALL = 49


def beacon_txt(beacon: Beacon, datagram: bytes) -> bytes:
    """Return the data of the TXT record that carries a beacon."""
    pieces = [datagram[at:at + _PIECE_BYTES] for at in range(0, len(datagram), _PIECE_BYTES)]
    items = [("txtvers", b"1"), ("id", beacon.node_id.encode("utf-8", "replace")[:_PIECE_BYTES])]
    return txt_data(items + [(f"b{number}", piece) for number, piece in enumerate(pieces)])


def txt_beacon(txt: Dict[str, bytes]) -> bytes:
    """Return the datagram in a TXT record, b"" where there is none."""
    pieces: List[bytes] = []
    while f"b{len(pieces)}" in txt:
        pieces.append(txt[f"b{len(pieces)}"])
    return b"".join(pieces)


class MdnsInterface:
    """Speak multicast DNS on one interface."""

    def __init__(self, transport: MdnsTransport, place: MdnsPlace) -> None:
        self.place = place
        self._transport = transport
        self._loop = transport.loop
        # Chance only spreads what many do at once; it protects nothing.
        rng = random.Random(secrets.randbits(64))
        self.responder = MdnsResponder(SERVICE, place.records(), rng)
        self.browser = MdnsBrowser(SERVICE, rng, transport.options.limits.devices)
        self._timer: Optional[Timer] = None
        host, join = ("::", self._join_ipv6) if place.is_ipv6 else ("", self._join)
        self.socket = DatagramSocket(self._loop, (host, MDNS_PORT), transport.options.limits, self._heard, join)
        self.browser.start(self._loop.now())

    def _join(self, sock: socket.socket) -> None:
        """Prepare a socket that is to speak and hear on this interface alone."""
        here = socket.inet_aton(self.place.address)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, here)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 255)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)
        membership = struct.pack("=4s4s", socket.inet_aton(MDNS_GROUP), here)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
        try:
            sock.setsockopt(socket.IPPROTO_IP, _IP_MULTICAST_ALL, 0)
        except OSError:
            pass  # Elsewhere that is so anyway.

    def _join_ipv6(self, sock: socket.socket) -> None:
        join_ipv6_group(sock, MDNS_IPV6_GROUP, self.place.name)

    def go_on(self) -> None:
        """Send what there is to send, tell what was found, and see when the next thing is due."""
        for machine in (self.responder, self.browser):
            while True:
                datagram = machine.next_datagram()
                if datagram is None:
                    break
                group = MDNS_IPV6_GROUP if self.place.is_ipv6 else MDNS_GROUP
                self._transport.send(self.socket, datagram.data, datagram.destination or (group, MDNS_PORT))
        while True:
            event = self.browser.next_event()
            if event is None:
                break
            self._transport.tell(event, self.place)
        due = [when for when in (self.responder.next_deadline(), self.browser.next_deadline()) if when is not None]
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(min(due), self._woken) if due else None

    def close(self, *, is_leaving: bool) -> None:
        """Leave, with a goodbye where the node ends: an interface that goes is no device that left."""
        if is_leaving:
            self.responder.withdraw()
            self.go_on()
        if self._timer is not None:
            self._timer.cancel()
        self.socket.close()

    def _woken(self) -> None:
        now = self._loop.now()
        self.responder.handle_deadline(now)
        self.browser.handle_deadline(now)
        self.go_on()

    def _heard(self, data: bytes, source: str) -> None:
        try:
            message = decode_dns(data)
        except ProtocolError:
            return
        # Our own words on another interface of the same network would contradict us: the address is not the same.
        if (message.is_response or message.authorities) and data in self._transport.sent:
            return
        now, sender = self._loop.now(), split_address(source)
        # A socket of IPv6 hears its group on all interfaces on which anybody here has joined it.
        if "%" in sender[0] and sender[0].partition("%")[2] != self.place.name:
            return
        self.responder.receive(message, sender, now)
        self.browser.receive(message, sender, now)
        self.go_on()


class MdnsTransport:
    """Announce this node as a service of the network, and find others."""

    name = "mdns"
    #: A beacon that is kept in a record goes to everybody, whatever the interface.
    interface_name = ""

    def __init__(self, loop: Loop, options: TransportOptions) -> None:
        self.loop = loop
        self.options = options
        self._report: Optional[Heard] = None
        self._interfaces: Dict[MdnsPlace, MdnsInterface] = {}
        self._next_look: Optional[Timer] = None
        #: The beacon on offer, and when it was last renewed.
        self._beacon: Optional[Beacon] = None
        #: What stays the same of the last one that was announced.
        self._pieces: Tuple[bytes, ...] = ()
        self._txt = b""
        self._renewed_at = 0.0
        self.sent: Deque[bytes] = deque(maxlen=_SENT_KEPT)
        #: service's name -> its last beacon, to be taken back when it says goodbye.
        self._known: Dict[str, Tuple[Beacon, str]] = {}

    def open(self, heard: Heard) -> None:
        """Listen; `heard(datagram, source, transport)` comes for every beacon."""
        self._report = heard
        self._look()

    def reaches_anybody(self) -> bool:
        """Whether this is spoken at all: on loopback it is not."""
        return not stays_on_loopback(self.options.bind)

    def announce(self, datagram: bytes) -> None:
        """Offer what a beacon says; it is multicast when that has changed, and every 30 s."""
        now, (pieces, _) = self.loop.now(), beacon_pieces(datagram)
        if pieces and pieces == self._pieces and now < self._renewed_at + MDNS_EVERY_S:
            return  # It says what the last one said, and need not be read to see that.
        beacon = decode_beacon(datagram, self.options.limits)
        if beacon is None or beacon.type != "discovery":
            return
        self._pieces = pieces
        facts = replace(beacon, seq=0, timestamp=0, reply=False, every_s=MDNS_EVERY_S)
        if facts == self._beacon and now < self._renewed_at + MDNS_EVERY_S:
            return
        self._beacon, self._renewed_at = facts, now
        self._txt = self._txt_of(replace(facts, seq=beacon.seq, timestamp=beacon.timestamp))
        for each in self._interfaces.values():
            self._offer(each)

    def answer(self, datagram: bytes, address: str) -> None:
        """Nobody asks by this way: records are there for everybody."""

    def targets(self) -> List[Any]:
        """Return no destinations: of regular beacons only few are sent this way."""
        return []

    def trouble(self) -> List[str]:
        """Say in words what does not work just now."""
        well = {each.place.name or each.place.address for each in self._interfaces.values() if each.socket.is_alive}
        ill = [each.place.name or each.place.address for each in self._interfaces.values() if not each.socket.is_alive]
        return [
            f"multicast DNS is refused on {where}; the system or another program keeps port {MDNS_PORT}"
            for where in dict.fromkeys(ill) if where not in well
        ]

    def look(self) -> None:
        """Try the sockets: dead ones are rebuilt."""
        for each in list(self._interfaces.values()):
            each.socket.look()

    def renew(self) -> None:
        """Begin anew: a group that a system has left in our name cannot be told from one that is silent."""
        if self._next_look is None:
            return
        self._next_look.cancel()
        for each in list(self._interfaces.values()):
            each.socket.renew()
            each.browser.start(self.loop.now())
        self._look()
        for each in self._interfaces.values():
            self._offer(each)

    def close(self) -> None:
        """Take back what was offered, and stop."""
        if self._next_look is not None:
            self._next_look.cancel()
        for each in self._interfaces.values():
            each.close(is_leaving=True)
        self._interfaces.clear()
        self._report = None

    # ---- what interfaces ask ------------------------------------------------------------------------

    def send(self, sock: DatagramSocket, data: bytes, destination: Tuple[str, int]) -> None:
        """Send one datagram; one that is lost is asked for again."""
        self.sent.append(data)
        try:
            sock.send(data, destination)
        except OSError as error:
            logging.getLogger("discompute").debug("cannot multicast: %s", error_name(error))

    def tell(self, event: Any, place: MdnsPlace) -> None:
        """Report what a browser found at a place."""
        if isinstance(event, MdnsFound):
            self._found(event, place.hosts(event.addresses))
        elif isinstance(event, MdnsLost):
            beacon, source = self._known.pop(event.name, (None, ""))
            if event.is_goodbye and beacon is not None and self._report is not None:
                goodbye = encode_beacon(replace(beacon, type="goodbye"), self.options.limits)
                self._report(goodbye, source, self.name)

    # ---- inside -------------------------------------------------------------------------------------

    def _found(self, event: MdnsFound, hosts: List[str]) -> None:
        """Report a device once for each of its addresses: what is heard last is tried first."""
        datagram = txt_beacon(event.txt)
        if not datagram or not hosts or self._report is None:
            return
        sources = [f"{host}:{MDNS_PORT}" for host in hosts]
        try:
            beacon = decode_beacon(datagram, self.options.limits)
        except ProtocolError:
            beacon = None
        if beacon is not None and not beacon.foreign:
            self._known[event.name] = beacon, sources[-1]
        for source in sources:
            self._report(datagram, source, self.name)

    def _txt_of(self, beacon: Beacon) -> bytes:
        return beacon_txt(beacon, encode_beacon(beacon, self.options.limits))

    def _offer(self, interface: MdnsInterface) -> None:
        if self._beacon is not None:
            beacon = self._beacon
            interface.responder.offer(
                beacon.name, f"discompute-{beacon.node_id[:8]}", beacon.port, self._txt, self.loop.now()
            )
        interface.go_on()

    def _look(self) -> None:
        """Speak on the interfaces that are there now, and look again later."""
        wanted: List[MdnsPlace] = []
        if not stays_on_loopback(self.options.bind):
            found = choose_interfaces(list_interfaces() + list_ipv6(), self.options.interface)
            wanted = mdns_places([item for item in found if not item.is_loopback
                                  and self.options.bind in ("all", item.address)])
        for place in [place for place in self._interfaces if place not in wanted]:
            self._interfaces.pop(place).close(is_leaving=False)
        for place in wanted:
            if place not in self._interfaces:
                interface = self._interfaces[place] = MdnsInterface(self, place)
                self._offer(interface)
        self._next_look = self.loop.call_later(INTERFACES_EVERY_S, self._look)
