"""Find out whether a listener of our own still takes connections: by making one.

Knows:   a connection that the listener knows to be ours, and closes at once.
Refuses: to send a byte; no other proof is as good, and none is as cheap.
Read next: net/listener.py (who answers), core/upkeep.py (who wants to know).

A dead listener may look well from inside: it goes on waiting, while the system refuses all who come. That another
program has our port by now would show as well: there nobody expects us.
"""

from __future__ import annotations

import errno
import os
import socket
from typing import Any, Callable, Optional

from .addresses import address_text, error_words
from .links import IN_PROGRESS
from .loop import Loop, Timer
from .sockets import new_socket, socket_address

#: called("") when the listener took the connection, (reason) when it did not, (None) where that cannot be known.
OnKnocked = Callable[[Optional[str]], None]
#: Seconds that a connection within this machine may take.
KNOCK_S = 1.0
#: What says that nobody listens; all else may be said of our own end.
_NOBODY = (errno.ECONNREFUSED, errno.ECONNRESET, getattr(errno, "WSAECONNREFUSED", errno.ECONNREFUSED))


def knock_at(loop: Loop, listener: Any, limit_s: float, on_knocked: OnKnocked) -> None:
    """Connect to a listener; `on_knocked` comes exactly once, later."""
    _OwnCall(loop, listener, limit_s, on_knocked)


class _OwnCall:
    """Hold one connection to ourselves."""

    def __init__(self, loop: Loop, listener: Any, limit_s: float, on_knocked: OnKnocked) -> None:
        self._loop = loop
        self._listener = listener
        self._on_knocked: Optional[OnKnocked] = on_knocked
        #: How many connections the listener had taken before: whoever takes others is alive, if late.
        self._taken_before = listener.taken
        self._sock: Optional[socket.socket] = None
        self._timer: Timer = loop.call_later(limit_s, self._too_late)
        host, port = listener.where_called()
        try:
            self._sock = new_socket(host)
            self._sock.setblocking(False)
            outcome = self._sock.connect_ex(socket_address(host, port))
            listener.expect(address_text(self._sock.getsockname()), self._arrived)
        except OSError as error:
            outcome = error.errno or errno.EINVAL
        if outcome in IN_PROGRESS and self._sock is not None:
            loop.watch(self._sock, None, self._connected)
        else:
            loop.post(self._failed, outcome)

    def _connected(self) -> None:
        if self._sock is None or self._on_knocked is None:
            return  # It was taken in this very turn of the loop.
        self._loop.unwatch(self._sock)
        outcome = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if outcome:
            self._failed(outcome)

    def _arrived(self) -> None:
        self._end("")

    def _failed(self, number: int) -> None:
        self._end(error_words(OSError(number, os.strerror(number))) if number in _NOBODY else None)

    def _too_late(self) -> None:
        is_busy = self._listener.is_paused or self._listener.taken != self._taken_before
        self._end(None if is_busy else "nobody takes connections there")

    def _end(self, outcome: Optional[str]) -> None:
        on_knocked, self._on_knocked = self._on_knocked, None
        if on_knocked is None:
            return
        self._timer.cancel()
        self._listener.expect("", None)
        if self._sock is not None:
            self._loop.unwatch(self._sock)
            self._sock.close()
        on_knocked(outcome)
