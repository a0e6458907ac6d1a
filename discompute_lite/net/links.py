"""Dial addresses: from host:port to an open connection, or a reason.

Knows:   names, addresses, non-blocking connects and how long to wait for them; members are dialled with TLS.
Refuses: to choose among addresses or to try again (core/registry.py does); to say Hello (roles/discovery.py).
Read next: net/stream.py.
"""

from __future__ import annotations

import errno
import os
import socket
import threading
from typing import Any, Callable, Optional

from ..model.errors import DiscomputeError, NothingListens, Unreachable
from ..model.limits import Limits
from .addresses import error_name, error_words, is_link_local, is_loopback_host, is_numeric_host, split_address
from .first_words import FirstWords
from .loop import Loop, Timer
from .receiver import Receiver
from .sockets import new_socket, socket_address
from .stream import Connection
from .tls_door import TlsDoor

OnDialled = Callable[[Optional[Connection], Optional[DiscomputeError]], None]
#: called(socket, None) or called(None, error), exactly once, later.
OnConnected = Callable[[Optional[socket.socket], Optional[DiscomputeError]], None]
#: called(socket, 0) or called(None, errno), exactly once, later.
OnAttempted = Callable[[Optional[socket.socket], int], None]
#: Seconds for a connect: a LAN answers in milliseconds, a phone waking up takes two or three seconds.
DIAL_S = 4.0
#: What `connect_ex` says while it is still trying, on Unix and on Windows.
IN_PROGRESS = (0, errno.EINPROGRESS, errno.EWOULDBLOCK, getattr(errno, "WSAEWOULDBLOCK", errno.EINPROGRESS))


class Dialler:
    """Open connections for one node."""

    def __init__(
        self, loop: Loop, receiver: Optional[Receiver], limits: Limits, *, loopback_only: bool,
        door: Optional[TlsDoor] = None,
    ) -> None:
        """`receiver` may be set later: a node needs its dialler before it can receive."""
        self._loop = loop
        self._door = door
        self.receiver: Any = receiver
        self._limits = limits
        self._connector = Connector(loop, loopback_only=loopback_only)

    def open(self, address: str, default_port: int, on_dialled: OnDialled) -> None:
        """Connect to host:port; `on_dialled(connection, error)` comes exactly once, later."""
        self._connector.open(
            address, default_port, lambda sock, error: self._connected(sock, error, on_dialled)
        )

    def _connected(
        self, sock: Optional[socket.socket], error: Optional[DiscomputeError], on_dialled: OnDialled
    ) -> None:
        if sock is None:
            on_dialled(None, error)
            return
        is_encrypted = self._door is not None and self._door.is_member
        receiver: Any = FirstWords(self.receiver, on_dialled) if is_encrypted else self.receiver
        try:
            connection = Connection(self._loop, sock, receiver, self._limits, is_dialled=True, door=self._door)
        except (OSError, DiscomputeError):
            sock.close()
            on_dialled(None, Unreachable("the other side hung up at once; is the node there running?"))
            return
        if not is_encrypted:
            on_dialled(connection, None)


class Connector:
    """Turn addresses into connected sockets."""

    def __init__(self, loop: Loop, *, loopback_only: bool) -> None:
        self._loop = loop
        self._loopback_only = loopback_only

    def open(self, address: str, default_port: int, on_connected: OnConnected) -> None:
        """Connect to host:port; `on_connected(socket, error)` comes exactly once, later."""
        try:
            host, port = split_address(address, default_port)
        except DiscomputeError as error:
            self._loop.post(on_connected, None, error)
            return
        if is_numeric_host(host):
            self._connect(host, port, on_connected)
        else:
            # Name resolution blocks, for seconds when the name server is away: never on the loop's thread.
            threading.Thread(
                target=self._resolve, args=(host, port, on_connected), name="discompute-resolve", daemon=True
            ).start()

    def _resolve(self, host: str, port: int, on_connected: OnConnected) -> None:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            numeric = min(found, key=lambda entry: entry[0] != socket.AF_INET)[4][0]
        except (OSError, ValueError):
            error = Unreachable(f"no device is called {host} on this network; give its address instead")
            self._loop.post(on_connected, None, error)
            return
        self._loop.post(self._connect, str(numeric), port, on_connected)

    def _connect(self, host: str, port: int, on_connected: OnConnected) -> None:
        if self._loopback_only and not is_loopback_host(host):
            text = f"{host} is another machine, and --bind keeps this node to its own; start it without --bind"
            self._loop.post(on_connected, None, Unreachable(text))
            return

        def ended(sock: Optional[socket.socket], number: int) -> None:
            on_connected(sock, None if sock is not None else _unreachable(host, port, number))

        connect_to(self._loop, host, port, DIAL_S, ended)


def connect_to(loop: Loop, host: str, port: int, timeout_s: float, ended: OnAttempted) -> None:
    """Connect to a numeric address; `ended(socket, 0)` or `ended(None, errno)` comes exactly once, later."""
    try:
        sock = new_socket(host)
    except OSError as error:
        # No descriptor is left, or this system has no IPv6.
        loop.post(ended, None, error.errno or errno.EINVAL)
        return
    sock.setblocking(False)
    try:
        outcome = sock.connect_ex(socket_address(host, port))
    except (OSError, OverflowError, ValueError) as error:
        outcome = getattr(error, "errno", None) or errno.EINVAL
    if outcome not in IN_PROGRESS:
        sock.close()
        loop.post(ended, None, outcome)
        return
    attempt = _Attempt(loop, sock, ended)
    attempt.timer = loop.call_later(timeout_s, attempt.finish, errno.ETIMEDOUT)
    loop.watch(sock, None, attempt.writable)


class _Attempt:
    """Hold one connect in progress."""

    def __init__(self, loop: Loop, sock: socket.socket, ended: OnAttempted) -> None:
        self._loop = loop
        self._sock = sock
        self._ended = ended
        self._is_over = False
        self.timer: Timer

    def writable(self) -> None:
        self.finish(self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))

    def finish(self, outcome: int) -> None:
        if self._is_over:
            return
        self._is_over = True
        self._loop.unwatch(self._sock)
        self.timer.cancel()
        if outcome:
            self._sock.close()
        self._ended(None if outcome else self._sock, outcome)


def _unreachable(host: str, port: int, number: int) -> Unreachable:
    error = OSError(number, os.strerror(number))
    name = error_name(error)
    if number == errno.EINVAL and is_link_local(host):
        plain = host.partition("%")[0]
        text = f"{plain} is an address of one link; say which interface leads there, such as [{plain}%eth0]:{port}"
        return Unreachable(text)
    if name == "ECONNREFUSED":
        return NothingListens(f"nothing listens on {host}:{port}; is the node there running?")
    if name in ("ETIMEDOUT", "EHOSTDOWN"):
        return Unreachable(f"{host}:{port} does not answer; is the device awake and on this network?")
    return Unreachable(
        f"{host}:{port} cannot be reached ({error_words(error)}); check the address and this device's network"
    )
