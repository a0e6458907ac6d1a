"""Accept connections within caps.

Knows:   the listening socket, how many connections there are, and from where.
Refuses: to read a byte; each connection reads its own (net/stream.py).
Read next: net/stream.py.
"""

from __future__ import annotations

import logging
import socket
from typing import Callable, Dict, List, Optional, Set, Tuple

from ..model.errors import DiscomputeError, SettingsError
from ..model.limits import Limits
from .addresses import OWNER_HOSTS, address_text, error_name, error_words, host_of, is_loopback_host, split_address
from .loop import Loop
from .receiver import Receiver
from .sockets import accept_from, new_socket, socket_address
from .stream import Connection
from .tls_door import FAILING_HOSTS, FAILURES_S, TlsDoor

#: Connections accepted before the others get their turn.
ACCEPTS_A_TURN = 64
#: Seconds without accepting after the system had no descriptor left for us.
EXHAUSTED_PAUSE_S = 0.5
#: The kernel's queue of connections not yet accepted.
BACKLOG = 128
#: Ports tried after the default one, before any free port is taken.
FALLBACK_PORTS = range(8081, 8100)


def open_listening_socket(host: str, port: int, may_move: bool) -> socket.socket:
    """Return a listening socket on `port`, or, where `may_move`, on the next free of 8081-8099, else any.

    Raise `SettingsError` when the port is taken and must not change, or the address is not ours.
    """
    choices: List[int] = [port]
    if may_move and port:
        choices += [other for other in FALLBACK_PORTS if other != port] + [0]
    for choice in choices:
        try:
            return listen_on(host, choice)
        except OSError as error:
            if error_name(error) == "EACCES" and 0 < choice < 1024:
                raise SettingsError(f"port {choice} is for the system's programs; choose one from 1024 on") from None
            if error_name(error) not in ("EADDRINUSE", "EACCES", "WSAEADDRINUSE", "WSAEACCES"):
                raise SettingsError(
                    f"cannot listen on {host or 'any address'} ({error_words(error)}); give one of this machine's"
                    " addresses to --bind, or 127.0.0.1"
                ) from None
    raise SettingsError(f"port {port} is in use; stop the program that uses it or choose another with --port")


def listen_on(host: str, port: int) -> socket.socket:
    """Return a listening socket; raise OSError as the system does."""
    sock = new_socket(host)
    try:
        if ":" in host:
            # Its IPv4 has a socket of its own: where one has both, other programs may take the half of it.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        exclusive = getattr(socket, "SO_EXCLUSIVEADDRUSE", None)
        if exclusive is not None:
            # On Windows SO_REUSEADDR would let another program take our port over.
            sock.setsockopt(socket.SOL_SOCKET, exclusive, 1)
        else:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(socket_address(host, port))
        sock.listen(BACKLOG)
        sock.setblocking(False)
        return sock
    except OSError:
        sock.close()
        raise


def open_ipv6_beside(bind: str, port: int) -> List[socket.socket]:
    """Return a listening socket of IPv6 on the same port, where `bind` means all addresses and this system has IPv6.

    None where the port is another's there: it is a second way to the node, and not worth another port.
    """
    try:
        return [listen_on("::", port)] if bind == "all" else []
    except (OSError, AttributeError) as error:
        logging.getLogger("discompute").info("not listening on IPv6, port %d: %s", port, error)
        return []


class Guests:
    """Count a node's accepted connections, whichever of its listeners took them."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        #: The open ones, and how many each remote host has; both without zeros.
        self.connections: Set[Connection] = set()
        self.by_host: Dict[str, int] = {}

    def add(self, connection: Connection) -> None:
        """Count one."""
        host = host_of(connection.remote_address)
        self.connections.add(connection)
        self.by_host[host] = self.by_host.get(host, 0) + 1

    def remove(self, connection: Connection) -> None:
        """Take one that is counted out of the count."""
        host = host_of(connection.remote_address)
        self.connections.remove(connection)
        self.by_host[host] -= 1
        if not self.by_host[host]:
            del self.by_host[host]

    def has_place_for(self, host: str) -> bool:
        """Whether one more from this host may come."""
        limits, taken = self._limits, self.by_host
        if taken.get(host, 0) >= limits.connections_per_address:
            return False
        if host in OWNER_HOSTS:
            return len(self.connections) < limits.connections
        kept = min(limits.connections_for_owner, limits.connections // 2)
        free_for_owner = max(0, kept - sum(taken.get(own, 0) for own in OWNER_HOSTS))
        return len(self.connections) < limits.connections - free_for_owner


class Listener:
    """Own one listening socket."""

    def __init__(
        self, loop: Loop, sock: socket.socket, receiver: Receiver, limits: Limits, door: Optional[TlsDoor] = None,
        guests: Optional[Guests] = None,
    ) -> None:
        """`guests` where another listener counts with this one."""
        self._loop = loop
        self._door = door
        self._sock = sock
        #: Where it listens: a dead socket does not say so any more.
        self._address = sock.getsockname()
        self._receiver = receiver
        self._limits = limits
        self._guests = guests if guests is not None else Guests(limits)
        self.refused = 0
        #: How many connections were taken, those that were closed at once included.
        self.taken = 0
        #: Until when the log says no more of a host that breaks the protocol.
        self._complained: Dict[str, float] = {}
        #: No descriptor was left: nothing is taken for a moment.
        self.is_paused = False
        #: Called with the reason when the socket says that it is dead; without anybody who repairs it, it is tried on.
        self.on_failed: Callable[[str], None] = lambda reason: self._pause()
        #: The address from which we call ourselves just now, and who waits for that.
        self._expected: Tuple[str, Optional[Callable[[], None]]] = ("", None)
        self._is_open = True
        loop.watch(sock, self._acceptable, None)

    @property
    def port(self) -> int:
        """Return the port that peers may call."""
        return int(self._address[1])

    def connections(self) -> List[Connection]:
        """Return the open connections that were accepted here."""
        return list(self._guests.connections)

    def close(self) -> None:
        """Stop listening; connections stay."""
        self._is_open = False
        self._loop.put_away(self._sock, self._address)

    def where_called(self) -> Tuple[str, int]:
        """Return where this machine itself can call this listener."""
        host, port = split_address(address_text(self._address))
        return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), port

    def expect(self, address: str, arrived: Optional[Callable[[], None]]) -> None:
        """Call `arrived` for a connection from this address, which is our own, instead of taking it; "" for none."""
        self._expected = address, arrived

    def rebuild(self) -> None:
        """Open the same port with a new socket; raise OSError where that cannot be, and listen to nobody then."""
        self._loop.put_away(self._sock, self._address)
        if self._is_open:
            self._sock = listen_on(*split_address(address_text(self._address)))
            self._loop.watch(self._sock, self._acceptable, None)

    def forget(self, connection: Connection) -> None:
        """Take a closed connection out of the count."""
        if connection in self._guests.connections:
            self._guests.remove(connection)
            if connection.rpc is not None and connection.broken_by is not None:
                self._complain(host_of(connection.remote_address), connection.broken_by)

    def _complain(self, host: str, error: DiscomputeError) -> None:
        """Say in the log what a host did wrong, once a minute: whoever likes could fill it otherwise."""
        now = self._loop.now()
        if now < self._complained.get(host, now):
            return
        if len(self._complained) >= FAILING_HOSTS:
            self._complained.clear()
        self._complained[host] = now + FAILURES_S
        logging.getLogger("discompute").info("%s: %s", host, error)

    def _acceptable(self) -> None:
        errors = 0
        for _ in range(ACCEPTS_A_TURN):
            try:
                sock, address = accept_from(self._sock)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if not self._is_open:
                    return  # Closed in this very turn: the node is stopping.
                if error_name(error) in ("EMFILE", "ENFILE", "ENOBUFS", "ENOMEM"):
                    self._pause()
                    return
                if error_name(error) in ("ECONNABORTED", "EPROTO", "EPERM"):
                    errors += 1
                    continue
                self._failed(error_name(error))
                return
            self.taken += 1
            expected, arrived = self._expected
            if arrived is not None and address_text(address) == expected:
                sock.close()
                arrived()
            else:
                self._take(sock, host_of(address_text(address)))
            errors = 0
        if errors == ACCEPTS_A_TURN:
            # Nobody gives up so often: the socket is dead, and will say the same for ever.
            self._failed("ECONNABORTED")

    def _failed(self, reason: str) -> None:
        logging.getLogger("discompute").info("the listening socket failed: %s", reason)
        self._loop.unwatch(self._sock)
        self.on_failed(reason)

    def _take(self, sock: socket.socket, host: str) -> None:
        if self._door is not None and not self._door.takes(host):
            self._door.on_refused("address", host, {})
            self.refused += 1
            sock.close()
            return
        if not self._guests.has_place_for(host):
            self.refused += 1
            sock.close()
            return
        try:
            connection = Connection(
                self._loop, sock, self._receiver, self._limits, is_dialled=False, door=self._door)
        except (OSError, DiscomputeError):
            sock.close()  # It was gone before we looked.
            return
        self._guests.add(connection)

    def _pause(self) -> None:
        self.is_paused = True
        self._loop.unwatch(self._sock)
        self._loop.call_later(EXHAUSTED_PAUSE_S, self._resume)

    def _resume(self) -> None:
        self.is_paused = False
        if self._is_open and self._sock.fileno() >= 0:
            self._loop.watch(self._sock, self._acceptable, None)


def bind_host(bind: str) -> str:
    """Return the address to give to `socket.bind` for the setting `bind`."""
    return "" if bind == "all" else bind


def stays_on_loopback(bind: str) -> bool:
    """Whether the setting `bind` keeps the node, discovery included, to this machine."""
    return is_loopback_host(bind)
