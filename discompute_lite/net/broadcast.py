"""Announce beacons by broadcast on every interface, and by unicast to addresses that the user gave.

Knows:   broadcast addresses, and which sockets hear what.
Refuses: what a datagram says (wire/beacon.py), when to send one (roles/announcer.py).
Read next: net/datagrams.py (the sockets), roles/announcer.py.

A transport hears on two sockets: the shared one on the discovery port, which gets broadcasts, and its
own on a free port, from which it sends and to which answers come (a unicast to the shared port reaches only
one of the sockets that share it). A destination that fails backs off and is never dropped for good;
a socket that dies is rebuilt, slowly; a flood is left to the kernel.
"""

from __future__ import annotations

import logging
from typing import List, Optional, Tuple

from .addresses import error_name, is_loopback_host, is_numeric_host, split_address
from .datagrams import INTERFACES_EVERY_S, DatagramSocket, Destinations, Heard, TransportOptions
from .interfaces import choose_interfaces, list_interfaces, list_ipv6
from .listener import bind_host, stays_on_loopback
from .loop import Loop

#: EXO of the Python era announces itself here.
EXO_PORT = 5678
LOOPBACK_BROADCAST = "127.255.255.255"


class BroadcastTransport:
    """Announce to every interface's own broadcast address and to 255.255.255.255."""

    name = "broadcast"

    def __init__(self, loop: Loop, options: TransportOptions) -> None:
        self._loop = loop
        self._options = options
        self._destinations = Destinations()
        self._sockets: List[DatagramSocket] = []
        self._heard: Optional[Heard] = None
        self._targets: List[Tuple[str, int]] = []
        self._targets_until = 0.0
        #: The name of the interface that leads to the others, for the beacon.
        self.interface_name = ""

    def open(self, heard: Heard) -> None:
        """Listen; `heard(datagram, source, transport)` comes for every datagram."""
        self._heard = heard
        options = self._options
        is_local = stays_on_loopback(options.bind)
        # A socket bound to 127.0.0.1 hears no broadcast; one bound to the broadcast address does, on Linux.
        shared_host = LOOPBACK_BROADCAST if is_local else ""
        self._own = DatagramSocket(self._loop, (bind_host(options.bind), 0), options.limits, self._take)
        self._sockets = [self._own]
        if ":" in options.bind:
            return  # IPv6 has no broadcast: what it has in its place is multicast DNS.
        self._sockets.append(DatagramSocket(self._loop, (shared_host, options.port), options.limits, self._take))
        if options.interop:
            self._sockets.append(DatagramSocket(self._loop, (shared_host, EXO_PORT), options.limits, self._take))

    def reaches_anybody(self) -> bool:
        """Whether there is a destination that is not backing off: on phones there mostly is none."""
        now = self._loop.now()
        return any(self._destinations.may_try(destination, now) for destination in self.targets())

    def announce(self, datagram: bytes) -> None:
        """Send to every destination that is not backing off."""
        for destination in self.targets():
            self._send(datagram, destination)

    def answer(self, datagram: bytes, address: str) -> None:
        """Send to one node's own socket; it is lost on failure, as a datagram may be: addresses of strangers are
        not remembered."""
        try:
            self._own.send(datagram, split_address(address))
        except OSError as error:
            logging.getLogger("discompute").debug("cannot answer %s: %s", address, error_name(error))

    def look(self) -> None:
        """Try the sockets: dead ones are rebuilt."""
        for item in self._sockets:
            item.look()

    def renew(self) -> None:
        """Begin anew: with other sockets, for the interfaces that are there now, and without grudges."""
        self._destinations = Destinations()
        self._targets_until = 0.0
        for item in self._sockets:
            item.renew()

    def close(self) -> None:
        """Stop listening."""
        for item in self._sockets:
            item.close()

    def targets(self) -> List[Tuple[str, int]]:
        """Return the destinations of an announcement, by what the interfaces are now."""
        now = self._loop.now()
        if now >= self._targets_until:
            self._targets_until = now + INTERFACES_EVERY_S
            ports = [self._options.port] + ([EXO_PORT] if self._options.interop else [])
            self._targets = [(host, port) for host in self._hosts() for port in ports]
            self._destinations.keep(self._targets)
        return self._targets

    def trouble(self) -> List[str]:
        """Say in words what does not work just now."""
        lines = [f"broadcast to {where} is refused by the system" for where in self._destinations.failing()]
        if any(not item.is_alive for item in self._sockets):
            lines.append(f"UDP port {self._options.port} cannot be opened; another program may hold it")
        return lines

    def _hosts(self) -> List[str]:
        if ":" in self._options.bind:
            return []
        if stays_on_loopback(self._options.bind):
            return [LOOPBACK_BROADCAST]
        found = choose_interfaces(list_interfaces(), self._options.interface)
        if self._options.bind != "all":
            found = [item for item in found if item.address == self._options.bind]
        useful = [item for item in found if item.broadcast]
        self.interface_name = useful[0].name if useful else ""
        # Where IPv6 is all that there is, no broadcast can be sent, and its refusal is no news.
        is_ipv6_alone = all(item.is_loopback for item in found) and any(not item.is_loopback for item in list_ipv6())
        limited = ["255.255.255.255"] if self._options.interface == "all" and not is_ipv6_alone else []
        return list(dict.fromkeys([item.broadcast for item in useful] + limited))

    def _take(self, data: bytes, source: str) -> None:
        if self._heard is not None:
            self._heard(data, source, self.name)

    def _send(self, datagram: bytes, destination: Tuple[str, int]) -> None:
        now = self._loop.now()
        if not self._destinations.may_try(destination, now):
            return
        try:
            self._own.send(datagram, destination)
        except BlockingIOError:
            return  # The queue is full; the next announcement is due soon enough.
        except OSError as error:
            self._destinations.failed(destination, error, now)
        else:
            self._destinations.succeeded(destination)


class SeedTransport(BroadcastTransport):
    """Announce by unicast to the addresses that the user gave, on their discovery port."""

    name = "peers"

    def open(self, heard: Heard) -> None:
        """Listen on an own socket only: answers come to it."""
        self._heard = heard
        self._own = DatagramSocket(self._loop, (bind_host(self._options.bind), 0), self._options.limits, self._take)
        self._sockets = [self._own]

    def _hosts(self) -> List[str]:
        hosts = [split_address(peer)[0] for peer in self._options.peers]
        if stays_on_loopback(self._options.bind):
            hosts = [host for host in hosts if is_loopback_host(host)]
        # Names are looked up for TCP only, away from this thread; and nobody listens for datagrams of IPv6.
        return [host for host in hosts if is_numeric_host(host) and ":" not in host + self._options.bind]
