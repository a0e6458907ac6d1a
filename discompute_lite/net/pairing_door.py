"""Open the pairing port and call those of others: sockets, and a TLS that trusts nobody.

Knows:   the listening socket of an invitation, its one-time certificate, handshakes, and how many may come at once.
Refuses: messages and codes (wire/pairing.py): who is at the other end is found out there, by the certificate that is
         handed on from here.
Read next: roles/pairing.py (`PairingDoor`, which this is), net/tls_channel.py.

The port is another one each time, and is open only as long as a person asked for it.
"""

from __future__ import annotations

import os
import socket
import tempfile
from collections import Counter
from functools import partial
from typing import Any, Callable, List, Optional, Set

from ..crypto.p256 import PrivateKey, pem, pkcs8_der
from ..model.errors import DiscomputeError, LinkClosed
from ..model.limits import KIB, Limits
from .addresses import address_text, host_of
from .links import Connector
from .listener import bind_host, open_ipv6_beside, open_listening_socket
from .loop import Loop, Timer
from .sockets import accept_from
from .tls import TlsPipe, bare_tls_context
from .tls_channel import TlsChannel

#: One read; the machine above bounds what it keeps.
_READ_BYTES = 64 * KIB
#: Seconds that the other side has to take the last words.
_LAST_WORDS_S = 2.0
_HUNG_UP = "The other device hung up. Look whether the code is still shown there, then try again."

#: answer(line) -> who listens to a line that was accepted; called(line, certificate, error) -> who listens to one that
#: we opened. A listener has `received(data)` and `ended()`.
PairingAnswer = Callable[[Any], Any]
PairingCalled = Callable[[Any, bytes, Optional[DiscomputeError]], Any]


class SocketPairingDoor:
    """Be one node's `PairingDoor`; all methods belong to the loop's thread."""

    def __init__(
        self, loop: Loop, limits: Limits, bind: str, *, loopback_only: bool,
        takes: Callable[[str], bool] = lambda host: True,
    ) -> None:
        """`takes(host)` says whether connections from an address are taken at all."""
        self._loop = loop
        self._limits = limits
        self._bind = bind
        self._takes = takes
        self._connector = Connector(loop, loopback_only=loopback_only)
        #: One of IPv4, and where all addresses are listened on one of IPv6; none while the port is closed.
        self._socks: List[socket.socket] = []
        self._context: Any = None
        self._answer: PairingAnswer = lambda line: None
        self._lines: Set[SocketPairingLine] = set()
        #: Connections that found no place.
        self.refused = 0

    def open(self, key: PrivateKey, certificate: bytes, answer: PairingAnswer) -> int:
        """Listen with this certificate; return the port. Raise StateError where this Python has no TLS."""
        self.close()
        self._context = _host_context(key, certificate)
        self._answer = answer
        self._socks = [open_listening_socket(bind_host(self._bind), 0, False)]
        port = int(self._socks[0].getsockname()[1])
        self._socks += open_ipv6_beside(self._bind, port)
        for sock in self._socks:
            self._loop.watch(sock, partial(self._acceptable, sock), None)
        return port

    def close(self) -> None:
        """Listen no more; lines that are open stay so."""
        for sock in self._socks:
            self._loop.unwatch(sock)
            sock.close()
        self._socks, self._context = [], None

    def close_all(self) -> None:
        """Listen no more, and hang up."""
        self.close()
        for line in list(self._lines):
            line.close()

    def call(self, address: str, called: PairingCalled) -> None:
        """Connect to host:port; `called` comes exactly once."""

        def connected(sock: Optional[socket.socket], error: Optional[DiscomputeError]) -> None:
            if sock is None:
                called(None, b"", error)
                return
            try:
                self._begin(sock, address, _joiner_context(), called, is_server=False)
            except (OSError, DiscomputeError) as problem:
                sock.close()
                called(None, b"", problem if isinstance(problem, DiscomputeError) else LinkClosed(_HUNG_UP))

        self._connector.open(address, 0, connected)

    def forget(self, line: SocketPairingLine) -> None:
        """A line is closed."""
        self._lines.discard(line)

    def _acceptable(self, listening: socket.socket) -> None:
        if listening not in self._socks:
            return  # Closed in this very turn.
        try:
            sock, address = accept_from(listening)
        except OSError:
            return  # It was gone before we looked, or no descriptor is left: the next one may find some.
        where = address_text(address)
        if not self._takes(host_of(where)) or not self._has_place_for(host_of(where)):
            self.refused += 1
            sock.close()
            return
        answer = self._answer
        try:
            sock.setblocking(False)
            self._begin(
                sock, where, self._context, lambda line, certificate, error: answer(line) if line else None,
                is_server=True,
            )
        except OSError:
            sock.close()

    def _has_place_for(self, host: str) -> bool:
        taken = Counter(host_of(line.remote_address) for line in self._lines)
        limits = self._limits
        return len(self._lines) < limits.pairing_lines and taken[host] < limits.pairing_lines_per_address

    def _begin(self, sock: socket.socket, where: str, context: Any, opened: PairingCalled, *, is_server: bool) -> None:
        deadline = self._loop.now() + self._limits.handshake_s
        pipe = _PairingPipe(context, self._limits, is_server=is_server, deadline=deadline)
        self._lines.add(SocketPairingLine(self, self._loop, sock, where, pipe, opened))


class SocketPairingLine:
    """Be one connection of a pairing port; `opened` is told when its handshake is over, and says who listens."""

    def __init__(
        self, door: SocketPairingDoor, loop: Loop, sock: socket.socket, where: str, pipe: _PairingPipe,
        opened: PairingCalled,
    ) -> None:
        self.remote_address = where
        self._door = door
        self._loop = loop
        self._sock = sock
        self._pipe = pipe
        self._opened: Optional[PairingCalled] = opened
        #: None until the handshake is over, and once it is finished.
        self._listener: Any = None
        self._unsent = bytearray()
        self._is_finishing = self._is_closed = False
        self._channel = TlsChannel(sock, pipe, self._open, lambda: None)
        self._timer: Optional[Timer] = loop.call_at(pipe.deadline, self._fail)
        self._watch()

    def send(self, data: bytes) -> None:
        """Send these bytes."""
        self._unsent += data
        self._flush()

    def finish(self) -> None:
        """Send what there is, then close; `ended` is not called any more."""
        self._listener, self._is_finishing = None, True
        self._set_timer(_LAST_WORDS_S)
        self._flush()

    def close(self) -> None:
        """Close now."""
        if not self._is_closed:
            self._is_closed = True
            self._set_timer(None)
            self._loop.unwatch(self._sock)
            self._channel.close()
            self._door.forget(self)

    # ---- inside -----------------------------------------------------------------------------------

    def _open(self) -> None:
        """The handshake is over, and nothing inside it has been read."""
        opened, self._opened = self._opened, None
        assert opened is not None, "a handshake is over once"
        self._set_timer(None)
        self._listener = opened(self, self._pipe.certificate, None)

    def _readable(self) -> None:
        is_more = True
        try:
            while is_more and not self._is_closed:
                data = self._channel.recv(_READ_BYTES)
                if not data:
                    self._fail()
                elif self._listener is not None:
                    self._listener.received(data)
                # The socket will not tell again of what TLS has read of it already.
                is_more = bool(data) and self._channel.has_received
        except BlockingIOError:
            pass
        except OSError:
            self._fail()

    def _flush(self) -> None:
        try:
            while self._unsent and not self._is_closed:
                count = self._channel.send(bytes(self._unsent))
                del self._unsent[:count]
            if self._is_finishing and not self._is_closed:
                # What the other side still sends is read, not answered by a reset: that would take our words with it.
                self._channel.shutdown(socket.SHUT_WR)
        except BlockingIOError:
            pass
        except OSError:
            self._fail()
        self._watch()

    def _watch(self) -> None:
        if not self._is_closed:
            self._loop.watch(self._sock, self._readable, self._flush if self._unsent else None)

    def _fail(self) -> None:
        """The other side is gone, or was too slow."""
        opened, listener, self._opened, self._listener = self._opened, self._listener, None, None
        self.close()
        if opened is not None:
            opened(None, b"", LinkClosed(_HUNG_UP))
        elif listener is not None:
            listener.ended()

    def _set_timer(self, seconds: Optional[float]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if seconds is None else self._loop.call_later(seconds, self._fail)


class _PairingPipe(TlsPipe):
    """Hold one side of a TLS connection in which nobody has vouched for anybody."""

    #: DER of what the other side has shown; b"" where it need not show any.
    certificate = b""

    def _identify(self, certificate: bytes) -> None:
        self.certificate, self.state = certificate, "open"


def _pairing_context(*, is_server: bool) -> Any:
    context = bare_tls_context(is_server=is_server)
    import ssl

    # The code proves who it is, bound to the certificate (wire/pairing.py); before that there is nobody to believe.
    context.verify_mode = ssl.CERT_NONE
    return context


def _joiner_context() -> Any:
    return _pairing_context(is_server=False)


def _host_context(key: PrivateKey, certificate: bytes) -> Any:
    context = _pairing_context(is_server=True)
    # `ssl` reads files only. This key is good for one invitation, and its file is gone before the port is open.
    descriptor, path = tempfile.mkstemp(prefix="discompute-")
    try:
        with open(descriptor, "w", encoding="ascii") as file:
            file.write(pem("PRIVATE KEY", pkcs8_der(key)) + pem("CERTIFICATE", certificate))
        context.load_cert_chain(path)
    finally:
        os.unlink(path)
    return context
