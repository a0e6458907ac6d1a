"""End a TCP connection so that the last words arrive.

Knows:   that closing a socket with unread data resets the connection, and the other side may then lose
         what it was told. (RFC 9112, 9.6)
Refuses: to wait for ever, and to keep anything of what still comes.
Read next: net/stream.py.
"""

from __future__ import annotations

import socket
from typing import Any, Callable

from .loop import Loop

#: Seconds that the other side has to take what was sent and to stop sending.
LINGER_S = 2.0
#: One read of what is thrown away.
THROWN_AWAY_BYTES = 64 * 1024


class Farewell:
    """Send the end of the stream, then throw away what comes until the other side ends it too, or time is up."""

    def __init__(self, loop: Loop, sock: socket.socket, channel: Any) -> None:
        """`channel` is the socket itself, or what encrypts what goes through it (net/tls_channel.py)."""
        self._loop, self._sock, self._channel = loop, sock, channel
        self._on_over: Callable[[], None] = sock.close

    def begin(self, on_over: Callable[[], None]) -> None:
        """Begin; `on_over()` is to close the socket, may come at once and, harmlessly, twice."""
        self._on_over = on_over
        try:
            self._channel.shutdown(socket.SHUT_WR)
        except OSError:
            on_over()
            return
        self._loop.watch(self._sock, self._throw_away, None)
        self._loop.call_later(LINGER_S, on_over)

    def _throw_away(self) -> None:
        try:
            if self._channel.recv(THROWN_AWAY_BYTES):
                return
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            pass
        self._on_over()
