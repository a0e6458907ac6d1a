"""Try for a checkup what the network lets through: ports, broadcast, multicast, datagrams, calls; and who is heard.

Knows:   sockets as the node would open them, and a datagram of our own that every node drops.
Refuses: to judge (core/diagnosis.py does), to answer anybody, to stay longer than `CHECK_S` and one more call.
Read next: model/checkup.py (the facts), net/prober.py (calls).

Everything is tried at once, on one loop, and what has not come back at the end counts as unheard or silent; but whoever
is heard late has as long to answer as all others.
"""

from __future__ import annotations

import secrets
import socket
import struct
import time
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, List, Optional, Tuple

from ..model.checkup import BeaconFact, NetworkFacts, PeerFact, Trial
from ..model.errors import ProtocolError
from ..model.interface import Interface
from ..model.limits import Limits
from ..wire.beacon import decode_beacon
from ..wire.dns import DNS_PTR, MDNS_GROUP, MDNS_IPV6_GROUP, MDNS_PORT, SERVICE, DnsMessage, DnsQuestion, encode_dns
from .addresses import address_text, error_name, host_of, is_numeric_host
from .broadcast import LOOPBACK_BROADCAST
from .datagrams import READ_DATAGRAM_BYTES
from .interfaces import choose_interfaces, list_interfaces, list_ipv6
from .listener import FALLBACK_PORTS, bind_host, listen_on, open_ipv6_beside, stays_on_loopback
from .loop import Loop
from .prober import Prober
from .sockets import join_ipv6_group, new_socket

#: Seconds of a checkup: whoever announces itself every 2.5 s, a fifth more or less, is heard once.
CHECK_S = 3.2
#: Seconds until what was sent is sent once more: a datagram may be lost.
SEND_AGAIN_S = 0.5
#: Seconds that an address has to answer; a phone that sleeps takes two.
CHECK_TRY_S = 2.5
#: Begins what we send: no node takes it for a beacon.
TRIAL_MARK = b"discompute-lite checkup "
#: Devices that are remembered, and of which those that were heard are called.
HEARD_DEVICES, CALLED_DEVICES = 64, 8


@dataclass(frozen=True)
class CheckOptions:
    """Hold what a checkup needs to know of the settings and of the node that runs here, if one does."""

    bind: str
    interface: str
    port: int
    discovery_port: int
    limits: Limits
    #: What is not to be heard: our own identity under the boot of our own node.
    own_id: str = ""
    own_boot: str = ""
    #: Where the node that runs here takes commands, at 127.0.0.1; 0 where none runs.
    control_port: int = 0
    #: Addresses to call, host:port -> typed or remembered.
    peers: Dict[str, str] = field(default_factory=dict)
    #: The router and some neighbours, host:port.
    neighbours: Tuple[str, ...] = ()


def check_network(options: CheckOptions) -> NetworkFacts:
    """Try everything; takes `CHECK_S` seconds, and what the last calls take."""
    loop = Loop()
    check = NetworkCheck(loop, options, Prober(loop, options.bind, options.interface))
    try:
        check.begin()
        loop.call_later(CHECK_S, check.end)
        loop.run()
    finally:
        check.close()
        loop.close()
    return check.facts()


def interfaces_of(bind: str, wanted: str) -> List[Interface]:
    """Return the interfaces that a node with these settings uses."""
    if stays_on_loopback(bind):
        return [item for item in list_interfaces() if item.is_loopback]
    found = choose_interfaces(list_interfaces(), wanted)
    chosen = [item for item in found if item.is_loopback or bind in ("all", item.address)]
    if all(item.is_loopback for item in chosen):
        # Nothing is judged by IPv6 where there is IPv4: what fails by one of them works by the other.
        found = [item for item in choose_interfaces(list_ipv6(), wanted) if not item.is_loopback]
        chosen += [item for item in found if bind in ("all", item.address)]
    return chosen


class NetworkCheck:
    """Hold one checkup under way."""

    def __init__(self, loop: Loop, options: CheckOptions, prober: Prober) -> None:
        self._loop = loop
        self._options = options
        self._prober = prober
        self._is_local = stays_on_loopback(options.bind)
        self._interfaces = interfaces_of(options.bind, options.interface)
        self._sockets: List[socket.socket] = []
        self._port_error = self._udp_error = ""
        #: kind -> where -> what came of it, in the order of trying.
        self._trials: Dict[str, Dict[str, Trial]] = {"broadcast": {}, "multicast": {}, "unicast": {}}
        #: What was sent -> which trial it is.
        self._sent: Dict[bytes, Tuple[str, str]] = {}
        self._dials: Dict[str, Dict[str, Trial]] = {"self": {}, "neighbour": {}, "peer": {}}
        self._known_by: Dict[str, str] = {}
        self._beacons: Dict[Tuple[str, str], BeaconFact] = {}
        #: Calls under way, and whether the end waits for these alone.
        self._calls, self._is_ending = 0, False

    def begin(self) -> None:
        """Open all sockets, send and call."""
        for where in self._own_addresses():
            self._dial("self", address_text(where))
        shared = self._udp(LOOPBACK_BROADCAST if self._is_local else "", self._options.discovery_port)
        for host in self._broadcast_hosts():
            self._send("broadcast", host, (host, self._options.discovery_port), self._udp("", 0), shared)
        for item in self._interfaces:
            if ":" in item.address:
                self._try_multicast_ipv6(item)
            elif not item.is_loopback:
                self._try_multicast(item)
                receiver = self._udp("", 0)
                where = (item.address, receiver.getsockname()[1] if receiver else 0)
                self._send("unicast", item.address, where, self._udp("", 0), receiver)
        for address in self._options.neighbours:
            self._dial("neighbour", address)
        for address, known_by in self._options.peers.items():
            self._call(address, known_by)

    def end(self) -> None:
        """Stop once nobody is being called; nobody else will be."""
        self._is_ending = True
        if not self._calls:
            self._loop.stop()

    def facts(self) -> NetworkFacts:
        """Return what was found out."""
        dials = {kind: tuple(trials.values()) for kind, trials in self._dials.items()}
        sent = {kind: tuple(trials.values()) for kind, trials in self._trials.items()}
        names = [item.name for item in [*list_interfaces(), *list_ipv6()] if item.name and not item.is_loopback]
        return NetworkFacts(
            tuple(self._interfaces),
            self._port_error, self._udp_error, dials["self"], sent["broadcast"], sent["multicast"], sent["unicast"],
            dials["neighbour"], tuple(PeerFact(trial, self._known_by[trial.where]) for trial in dials["peer"]),
            tuple(self._beacons.values()), tuple(dict.fromkeys(names)),
        )

    def close(self) -> None:
        """Close all sockets."""
        for sock in self._sockets:
            self._loop.unwatch(sock)
            sock.close()

    # ---- connections ----------------------------------------------------------------------------------

    def _own_addresses(self) -> List[Tuple[str, int]]:
        """Return where we can be called, 127.0.0.1 first: at the node that runs, else at sockets as it would have."""
        bind, port, control_port = self._options.bind, self._options.port, self._options.control_port
        if not control_port:
            port, self._port_error = self._listen(bind_host(bind), port)
            self._sockets += open_ipv6_beside(bind, port)
            # Commands call 127.0.0.1, whatever else a node is bound to.
            control_port = port if bind in ("all", "127.0.0.1") else self._listen("127.0.0.1", port)[0]
        own = [item.address for item in self._interfaces if not item.is_loopback] if bind == "all" else [bind]
        found = [("127.0.0.1", control_port), *((host, port) for host in own if host != "127.0.0.1")]
        return [(host, number) for host, number in found if number]

    def _listen(self, host: str, wanted: int) -> Tuple[int, str]:
        """Return the port on which we listen, 0 for none: this one, or one that a node takes instead; and why not this
        one, "" where it is."""
        trouble = ""
        for port in (wanted, *FALLBACK_PORTS, 0):
            try:
                sock = listen_on(host, port)
            except OSError as error:
                trouble = trouble or error_name(error)
            else:
                self._sockets.append(sock)
                return int(sock.getsockname()[1]), trouble
        return 0, trouble

    def _call(self, address: str, known_by: str) -> None:
        if is_numeric_host(host_of(address)) and address not in self._known_by:
            self._known_by[address] = known_by
            self._dial("peer", address)

    def _dial(self, kind: str, address: str) -> None:
        self._dials[kind][address] = Trial(address, "silent")
        self._calls += 1

        def tried(outcome: str, error: str, seconds: float) -> None:
            self._dials[kind][address] = Trial(address, outcome, error, seconds)
            self._calls -= 1
            if self._is_ending:
                self.end()

        self._prober.probe(address, CHECK_TRY_S, tried)

    # ---- datagrams ------------------------------------------------------------------------------------

    def _broadcast_hosts(self) -> List[str]:
        if self._is_local:
            return [LOOPBACK_BROADCAST]
        found = [item for item in self._interfaces if ":" not in item.address]
        is_ipv6_alone = len(found) < len(self._interfaces)
        limited = ["255.255.255.255"] if self._options.interface == "all" and not is_ipv6_alone else []
        return list(dict.fromkeys([item.broadcast for item in found if item.broadcast] + limited))

    def _udp(self, host: str, port: int, prepare: Callable[[socket.socket], None] = lambda sock: None) -> Any:
        """Return a socket that hears what comes to this port; None where that cannot be had."""
        sock = new_socket(host, socket.SOCK_DGRAM)
        try:
            if port:
                for name in ("SO_REUSEADDR", "SO_REUSEPORT"):
                    if hasattr(socket, name):
                        sock.setsockopt(socket.SOL_SOCKET, getattr(socket, name), 1)
            if sock.family == socket.AF_INET:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            else:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.setblocking(False)
            sock.bind((host, port))
            prepare(sock)
        except OSError as error:
            sock.close()
            if port == self._options.discovery_port:
                self._udp_error = error_name(error)
            return None
        self._sockets.append(sock)
        self._loop.watch(sock, lambda: self._readable(sock), None)
        return sock

    def _try_multicast(self, item: Interface) -> None:
        here = socket.inet_aton(item.address)

        def join(sock: socket.socket) -> None:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, here)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)
            membership = struct.pack("=4s4s", socket.inet_aton(MDNS_GROUP), here)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)

        self._ask_by_multicast(item, MDNS_GROUP, self._udp("", MDNS_PORT, join))

    def _try_multicast_ipv6(self, item: Interface) -> None:
        if item.name and (item.name not in self._trials["multicast"]):
            sock = self._udp("::", MDNS_PORT, lambda sock: join_ipv6_group(sock, MDNS_IPV6_GROUP, item.name))
            self._ask_by_multicast(item, MDNS_IPV6_GROUP, sock)

    def _ask_by_multicast(self, item: Interface, group: str, sock: Any) -> None:
        # A question that multicast DNS really has: who offers our service?
        question = DnsMessage(int.from_bytes(secrets.token_bytes(2), "big"), 0, (DnsQuestion(SERVICE, DNS_PTR),))
        self._send("multicast", item.name or item.address, (group, MDNS_PORT), sock, sock, encode_dns(question))

    def _send(
        self, kind: str, where: str, destination: Tuple[str, int], sender: Optional[socket.socket],
        receiver: Optional[socket.socket], data: bytes = b"",
    ) -> None:
        data = data or TRIAL_MARK + f"{kind} {where} ".encode() + secrets.token_hex(8).encode()
        self._trials[kind][where] = Trial(where, "unheard")
        self._sent[data] = kind, where
        if sender is None:
            self._trials[kind][where] = Trial(where, "refused", "EADDRINUSE")
            return
        for delay_s in (0.0, SEND_AGAIN_S):
            self._loop.call_later(delay_s, self._send_now, data, destination, sender)

    def _send_now(self, data: bytes, destination: Tuple[str, int], sender: socket.socket) -> None:
        kind, where = self._sent[data]
        try:
            sender.sendto(data, destination)
        except OSError as error:
            if self._trials[kind][where].outcome != "heard":
                self._trials[kind][where] = Trial(where, "refused", error_name(error))

    def _readable(self, sock: socket.socket) -> None:
        try:
            data, source = sock.recvfrom(READ_DATAGRAM_BYTES)
        except OSError:
            return
        if data in self._sent:
            kind, where = self._sent[data]
            self._trials[kind][where] = Trial(where, "heard")
        elif sock.getsockname()[1] == self._options.discovery_port:
            self._heard(data, address_text(source))

    def _heard(self, data: bytes, source: str) -> None:
        try:
            beacon = decode_beacon(data, self._options.limits)
        except ProtocolError:
            return
        is_enough = self._is_ending or len(self._beacons) >= HEARD_DEVICES
        if beacon is None or beacon.foreign or beacon.type == "goodbye" or is_enough:
            return
        if beacon.node_id == self._options.own_id and beacon.boot == self._options.own_boot:
            return
        address = f"{source.rpartition(':')[0]}:{beacon.port}"
        fact = BeaconFact(beacon.node_id, beacon.boot, beacon.name, address, beacon.timestamp - time.time())
        is_new = self._beacons.setdefault((beacon.node_id, beacon.boot), fact) is fact
        if is_new and beacon.port and len(self._known_by) < CALLED_DEVICES + len(self._options.peers):
            self._call(address, "heard")
