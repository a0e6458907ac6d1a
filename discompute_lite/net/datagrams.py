"""Keep UDP sockets alive and remember which destinations fail: what every way of announcing needs.

Knows:   how sockets die on phones, Macs and busy networks, and how to rebuild them without a busy loop.
Refuses: where announcements go (net/broadcast.py, net/mdns_transport.py) and what they say (wire/beacon.py).
Read next: net/transports.py.
"""

from __future__ import annotations

import logging
import socket
from typing import Any, Callable, Dict, List, Optional, Tuple

from ..model.limits import Limits
from .addresses import address_text, error_name
from .loop import Loop
from .sockets import new_socket, socket_address

#: (datagram, source host:port, name of the transport)
Heard = Callable[[bytes, str, str], None]
#: The largest datagram UDP can carry: longer than a beacon may be, so that too long ones are seen as such.
READ_DATAGRAM_BYTES = 65_535
#: Seconds between two looks at the interfaces, and between tries to rebuild a socket.
INTERFACES_EVERY_S = 15.0
REBUILD_FIRST_S, REBUILD_LAST_S = 0.1, 5.0
#: Back-off of one destination, seconds.
DESTINATION_RETRY_FIRST_S, DESTINATION_RETRY_LAST_S = 2.0, 60.0
#: What sending says when not the destination but the socket is at fault: apps lose theirs while they sleep.
DEAD_SOCKET = ("ENOTCONN", "EPIPE", "EBADF", "ENOTSOCK")
#: Seconds between two log lines about the same trouble.
COMPLAIN_EVERY_S = 60.0


class TransportOptions:
    """Hold what transports need to know of the settings."""

    def __init__(
        self, *, bind: str, port: int, interface: str, peers: Tuple[str, ...], interop: bool, limits: Limits
    ) -> None:
        self.bind = bind
        self.port = port
        self.interface = interface
        self.peers = peers
        self.interop = interop
        self.limits = limits


class Destinations:
    """Remember which destinations fail, and when to try them again."""

    def __init__(self) -> None:
        #: destination -> (time of the next try, present back-off); only failing ones.
        self._failing: Dict[Tuple[str, int], Tuple[float, float]] = {}
        self._complained: Dict[Tuple[Tuple[str, int], str], float] = {}

    def may_try(self, destination: Tuple[str, int], now: float) -> bool:
        """Whether it is time to send to this destination."""
        return now >= self._failing.get(destination, (now, 0.0))[0]

    def succeeded(self, destination: Tuple[str, int]) -> None:
        """Go back to normal."""
        self._failing.pop(destination, None)

    def failed(self, destination: Tuple[str, int], error: OSError, now: float) -> None:
        """Back off: 2, 4, ... 60 s; complain in the log once a minute."""
        before = self._failing.get(destination, (0.0, DESTINATION_RETRY_FIRST_S / 2))[1]
        wait_s = min(DESTINATION_RETRY_LAST_S, before * 2)
        self._failing[destination] = (now + wait_s, wait_s)
        about = (destination, error_name(error))
        if now >= self._complained.get(about, 0.0):
            self._complained[about] = now + COMPLAIN_EVERY_S
            logging.getLogger("discompute").info("cannot send to %s:%d: %s", *destination, error_name(error))

    def keep(self, destinations: List[Tuple[str, int]]) -> None:
        """Forget all others: networks come and go, and this must not grow with them."""
        kept = set(destinations)
        self._failing = {key: value for key, value in self._failing.items() if key in kept}
        self._complained = {key: value for key, value in self._complained.items() if key[0] in kept}

    def failing(self) -> List[str]:
        """Return the destinations that fail just now, for people."""
        return [f"{host}:{port}" for host, port in self._failing]


class DatagramSocket:
    """Keep one UDP socket alive: rebuild it when it dies, read it no faster than is useful."""

    def __init__(
        self, loop: Loop, address: Tuple[str, int], limits: Limits, on_datagram: Callable[[bytes, str], None],
        prepare: Callable[[socket.socket], None] = lambda sock: None,
    ) -> None:
        """`prepare(sock)` is called with each new socket once it is bound; what it raises is the socket's failure.

        It is of IPv6 where `address` is.
        """
        self._loop = loop
        self._address = address
        self._limits = limits
        self._on_datagram = on_datagram
        self._prepare = prepare
        self._sock: Optional[socket.socket] = None
        #: What the socket was bound to, as the system says.
        self._bound: Any = None
        self._rebuild_s = REBUILD_FIRST_S
        self._is_open = True
        #: Datagrams that may still be read in the present tenth of a second.
        self._allowance = self._allowance_each = max(1, limits.datagrams_per_s // 10)
        self._allowance_until = 0.0
        self._build()

    @property
    def is_alive(self) -> bool:
        """Whether there is a socket just now."""
        return self._sock is not None

    def send(self, data: bytes, destination: Tuple[str, int]) -> None:
        """Send one datagram; raise OSError as the system does."""
        if self._sock is None:
            raise OSError(0, "the socket is being rebuilt")
        try:
            self._sock.sendto(data, socket_address(*destination))
        except OSError as error:
            if error_name(error) in DEAD_SOCKET:
                self._drop()
                self._rebuild_later(error)
            raise

    def look(self) -> None:
        """Try the socket, though nothing was heard of it: a dead one says so now, and is rebuilt."""
        self._readable()

    def renew(self) -> None:
        """Take a new socket at once: the old one may be dead in ways that it does not say."""
        self._drop()
        self._rebuild_s = REBUILD_FIRST_S
        self._build()

    def close(self) -> None:
        """Close for good."""
        self._is_open = False
        self._drop()

    def _build(self) -> None:
        if not self._is_open or self._sock is not None:
            return
        try:
            sock = new_socket(self._address[0], socket.SOCK_DGRAM)
        except OSError as error:
            self._rebuild_later(error)  # No descriptor is left.
            return
        try:
            if self._address[1]:
                # Several nodes of one machine share the discovery port.
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if hasattr(socket, "SO_REUSEPORT"):
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if ":" in self._address[0]:
                # Another socket hears IPv4.
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            else:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            sock.setblocking(False)
            sock.bind(socket_address(*self._address))
            self._prepare(sock)
        except OSError as error:
            sock.close()
            self._rebuild_later(error)
            return
        self._sock, self._bound = sock, sock.getsockname()
        self._loop.watch(sock, self._readable, None)

    def _readable(self) -> None:
        """Read one datagram: mostly there is no other, and if there is, the loop says so again."""
        if self._sock is None:
            return
        now = self._loop.now()
        if now >= self._allowance_until:
            self._allowance, self._allowance_until = self._allowance_each, now + 0.1
        if not self._allowance:
            # A flood: what the kernel cannot keep until we read again is its to drop.
            self._loop.unwatch(self._sock)
            self._loop.call_at(self._allowance_until, self._read_again, self._sock)
            return
        try:
            data, source = self._sock.recvfrom(READ_DATAGRAM_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            # Windows reports an unreachable peer of an earlier send here; the socket is well.
            if error_name(error) not in ("ECONNRESET", "ECONNREFUSED", "EMSGSIZE", "WSAECONNRESET"):
                self._drop()
                self._rebuild_later(error)
            return
        self._allowance -= 1
        self._rebuild_s = REBUILD_FIRST_S
        self._on_datagram(data, address_text(source))

    def _read_again(self, sock: socket.socket) -> None:
        if sock is self._sock:
            self._loop.watch(sock, self._readable, None)

    def _drop(self) -> None:
        if self._sock is not None:
            self._loop.put_away(self._sock, self._bound)
            self._sock = None

    def _rebuild_later(self, error: OSError) -> None:
        if self._is_open:
            logging.getLogger("discompute").info("UDP socket on %s:%d: %s", *self._address, error_name(error))
            self._loop.call_later(self._rebuild_s, self._build)
            self._rebuild_s = min(REBUILD_LAST_S, self._rebuild_s * 2)
