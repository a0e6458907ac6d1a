"""Find out what a connection speaks, and whether it speaks it inside TLS.

Knows:   first bytes, the handshake of one connection, who says the first word inside it.
Refuses: everything after that: the session is the connection's (net/stream.py).
Read next: net/tls_door.py, wire/sniff.py.

The first bytes choose the session: `{` or `[` RPC, an ASCII letter HTTP, 0x16 TLS, in which ALPN chooses. Nobody
peeks: the bytes that were looked at are given to the session that was chosen. Inside TLS whoever was called says
`Hello` first, or why the caller may not stay, before it has read anything: a refusal that is written after the
caller has written is often lost.
"""

from __future__ import annotations

import logging
import socket
from typing import Any, Optional

from ..model.errors import DiscomputeError, InvalidRequest
from ..model.limits import Limits
from ..wire.http import HttpSession
from ..wire.rpc import RpcSession
from ..wire.sniff import sniff
from .addresses import host_of
from .loop import Loop
from .room import ConnectionRoom
from .tls import ALPN_HTTP, TlsPipe
from .tls_channel import TlsChannel
from .tls_door import TlsDoor

#: A TLS alert "handshake_failure", for a TLS client of a node that has no TLS, or no place: better than silence.
TLS_REFUSAL = b"\x15\x03\x01\x00\x02\x02\x28"


class Opening:
    """Begin one connection, a net/stream.py `Connection`."""

    def __init__(
        self, connection: Any, loop: Loop, sock: socket.socket, limits: Limits, door: Optional[TlsDoor]
    ) -> None:
        self._connection = connection
        self._limits = limits
        self._loop = loop
        self._sock = sock
        self._door = door
        #: Bytes that came before they told which session they are for.
        self._start = b""
        self._pipe: Optional[TlsPipe] = None
        self._channel: Optional[TlsChannel] = None

    def call(self) -> None:
        """Begin as the one who has dialled: with TLS where this node belongs to a cluster."""
        if self._door is not None and self._door.is_member:
            self._encrypt(self._door.calling_pipe())
        else:
            self._choose("rpc")

    def take(self, data: bytes) -> None:
        """Take the first bytes of the other side; over TLS, those inside it come to the session at once."""
        connection = self._connection
        start, self._start = self._start + data, b""
        kind = sniff(start)
        if kind is None:
            self._start = start
        elif kind in ("rpc", "http"):
            self._choose(kind).receive_data(start)
        elif kind == "tls":
            self._answer_tls(start)
        elif kind == "http2":
            connection.end_politely("it speaks HTTP/2, as EXO does")
        else:
            refusal = InvalidRequest("send JSON-RPC 2.0, one message a line, or HTTP")
            self._choose("rpc").close_with(refusal)

    def _answer_tls(self, start: bytes) -> None:
        pipe = self._door.answering_pipe(self._host()) if self._door is not None else None
        if pipe is None:
            self._connection.send([TLS_REFUSAL])
            self._connection.end_politely("it speaks TLS, and this node has none, or no place for it just now")
            return
        channel = self._encrypt(pipe)
        try:
            channel.take(start)
        except OSError as error:
            self._connection.failed(error)

    def _encrypt(self, pipe: TlsPipe) -> TlsChannel:
        self._pipe = pipe
        self._channel = TlsChannel(self._sock, pipe, self._encrypted, self._handshake_over)
        self._connection.use_channel(self._channel, pipe.deadline)
        return self._channel

    def _handshake_over(self) -> None:
        if self._door is not None and self._pipe is not None and self._pipe.is_server:
            self._door.knock_over(self._host(), self._pipe)

    def _encrypted(self) -> None:
        """The handshake has succeeded, and nothing inside it has been read."""
        connection, pipe, door = self._connection, self._pipe, self._door
        assert pipe is not None and door is not None
        connection.verified_id = pipe.device_id
        connection.use_channel(self._channel, self._loop.now() + self._limits.first_message_s)
        refusal = door.refusal(pipe.device_id)
        session = self._choose("http" if pipe.protocol == ALPN_HTTP else "rpc")
        if pipe.protocol == ALPN_HTTP:
            if refusal is not None:
                connection.end_politely(refusal.message)
        elif refusal is not None:
            session.close_with(refusal)
            connection.flush()
        elif pipe.is_server:
            connection.notify("Hello", door.greeting())

    def _choose(self, kind: str) -> Any:
        connection, limits = self._connection, self._limits
        if kind == "http":
            connection.http = HttpSession(
                limits, admit=lambda head: connection.receiver.admit_request(connection, head))
            return connection.http
        connection.rpc = RpcSession(
            limits,
            on_answer=connection.answered,
            admit=lambda method: connection.receiver.admit_call(connection, method),
            allocate=lambda size: self._loop.attachments.allocate(size, limits.receive_kept_bytes),
            repeated=connection.receiver.repeated_methods,
            room=ConnectionRoom(
                self._loop.room, limits.receiving_bytes, limits.message_s, on_room=connection.resume,
                missing=lambda: connection.rpc.missing_bytes, on_stalled=self._expel),
        )
        return connection.rpc

    def _expel(self, error: DiscomputeError) -> None:
        """Tell the other side why it may not stay, as far as it reads, and close."""
        connection = self._connection
        if connection.is_closed or connection.rpc.is_closing:
            return
        connection.broken_by = error
        if connection.is_dialled:  # Of those who call the listener tells, and not each time.
            logging.getLogger("discompute").info("%s: %s", connection.remote_address, error)
        connection.rpc.close_with(error)
        connection.send(connection.rpc.data_to_send())
        connection.end_politely(error.message)

    def _host(self) -> str:
        return host_of(self._connection.remote_address)
